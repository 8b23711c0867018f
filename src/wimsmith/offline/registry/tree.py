"""Keys and values by offset: the tree that cells, lists and records make together.

Each key names its parent, and only the root has none. As that is checked on the way down, and as
no list may have a key twice, no damaged list can lead in a circle or to one place on two ways:
every walk from the root ends, after as many steps as there are keys.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from wimsmith.errors import DamagedHive, NotSupported
from wimsmith.offline.registry import records
from wimsmith.offline.registry.cells import NOWHERE, Cells
from wimsmith.offline.registry.index import SubkeyIndex, list_cells, read_subkeys
from wimsmith.offline.registry.names import utf16_size_bytes
from wimsmith.offline.registry.records import KeyNode, ValueNode
from wimsmith.offline.registry.security import SecurityRing
from wimsmith.offline.upcase import upcase

_FIRST_ROOM = 4


class KeyTree:
    """Keys by the offset of their node, with the lookups that paths need.

    `touched` are the keys whose time of last write is due, in order of their first edit.
    """

    __slots__ = (
        "_children", "_counted", "_indexes", "_values", "cells", "minor", "ring", "root", "touched"
    )  # fmt: skip

    def __init__(self, cells: Cells, minor: int, ring: SecurityRing, root: int) -> None:
        self.cells = cells
        self.minor = minor
        self.ring = ring
        self.root = root
        self.touched: dict[int, None] = {}
        self._children: dict[int, dict[str, int]] = {}
        self._counted = False
        self._indexes: dict[int, SubkeyIndex] = {}
        self._values: dict[int, dict[str, int]] = {}

    def node(self, offset: int) -> KeyNode:
        """Fields of a key as they are now."""
        return records.read_key(self.cells, offset)

    def subkeys(self, offset: int) -> Iterator[tuple[str, int]]:
        """Names and offsets of the subkeys, in stored order.

        Raises:
            DamagedHive: a list or a subkey is broken, or the subkey belongs to another key.
        """
        node = self.node(offset)
        for child in read_subkeys(self.cells, node.subkey_list, node.subkey_count):
            child_node = records.read_key(self.cells, child)
            if child_node.parent != offset or child == self.root:
                raise DamagedHive(f"key at {child:#x} does not belong to the key at {offset:#x}")
            yield records.key_name(self.cells, child, child_node), child

    def child(self, offset: int, name: str) -> int | None:
        """Offset of the subkey with this name, if there is one."""
        return self._children_of(offset).get(upcase(name))

    def value_offsets(self, offset: int) -> tuple[int, ...]:
        """Offsets of the values of a key, in stored order."""
        node = self.node(offset)
        if node.flags & records.KEY_PREDEFINED or not node.value_count:
            return ()  # a predefined handle keeps its number where others count values
        offsets = self.cells.offsets(node.value_list, node.value_count)
        if self.cells.claim(node.value_list, offset):
            for item in offsets:
                if not self.cells.claim(item, offset):
                    raise DamagedHive(f"the key at {offset:#x} lists a value twice")
        return offsets

    def value(self, offset: int, name: str) -> int | None:
        """Offset of the value with this name, if there is one."""
        return self._values_of(offset).get(upcase(name))

    def add_key(self, parent: int, name: str, security: bytes | None, class_name: str) -> int:
        """Add a subkey that is not there yet; without `security` it shares its parent's."""
        above = self.node(parent)
        if security is None:
            descriptor = self.ring.share(above.security)
        else:
            descriptor = self.ring.acquire(security)
        offset = records.make_key(
            self.cells, name, parent=parent, security=descriptor, class_name=class_name
        )
        index = self._index_of(parent)
        index.insert(name, offset)
        self._children_of(parent)[upcase(name)] = offset
        self._put(parent, records.AT_SUBKEY_COUNT, above.subkey_count + 1)
        self._put(parent, records.AT_SUBKEY_LIST, index.list_offset)
        # Since Vista the upper half of this field holds flags.
        self._at_least(parent, records.AT_MAX_SUBKEY_NAME, utf16_size_bytes(name), 0xFFFF)
        self._at_least(parent, records.AT_MAX_SUBKEY_CLASS, utf16_size_bytes(class_name))
        if above.max_subkey_name & records.VIRTUALIZATION_PASSED_ON:
            passed_on = above.max_subkey_name & records.VIRTUALIZATION
            self._put(offset, records.AT_MAX_SUBKEY_NAME, passed_on, records.VIRTUALIZATION)
        self.touched.update({parent: None, offset: None})
        return offset

    def remove_key(self, parent: int, name: str) -> None:
        """Remove a subkey that is there, with all below it."""
        offset = self._children_of(parent)[upcase(name)]
        stored_name = records.key_name(self.cells, offset, self.node(offset))
        count = self.node(parent).subkey_count
        index = self._index_of(parent)
        index.remove(stored_name, offset)
        del self._children_of(parent)[upcase(name)]
        self._put(parent, records.AT_SUBKEY_COUNT, count - 1)
        self._put(parent, records.AT_SUBKEY_LIST, index.list_offset)
        if count == 1:
            self._put(parent, records.AT_MAX_SUBKEY_NAME, 0, 0xFFFF)
            self._put(parent, records.AT_MAX_SUBKEY_CLASS, 0)
        self.touched[parent] = None
        for below in reversed(list(self.below(offset))):
            self._free_key(below)

    def rename_key(self, parent: int, name: str, new_name: str) -> None:
        """Give a subkey that is there another name, which no other subkey has."""
        offset = self._children_of(parent)[upcase(name)]
        stored_name = records.key_name(self.cells, offset, self.node(offset))
        index = self._index_of(parent)
        index.remove(stored_name, offset)
        values = self.value_offsets(offset)
        moved = records.rename_key(self.cells, offset, new_name)
        if moved != offset:
            self._follow(offset, moved, values)
        index.insert(new_name, moved)
        known = self._children_of(parent)
        del known[upcase(name)]
        known[upcase(new_name)] = moved
        self._put(parent, records.AT_SUBKEY_LIST, index.list_offset)
        self._at_least(parent, records.AT_MAX_SUBKEY_NAME, utf16_size_bytes(new_name), 0xFFFF)
        self.touched.update({parent: None, moved: None})

    def set_value(self, key: int, name: str, value_type: int, data: bytes) -> None:
        """Set a value; one that is there keeps its place and the case of its name.

        A value that has this type and these data already is left alone, and so is the time of its
        key, as Windows does it.
        """
        if self.node(key).flags & records.KEY_PREDEFINED:
            raise NotSupported("registry-key", "this key stands for a predefined handle")
        offset = self.value(key, name)
        if offset is None:
            self._add_value(key, name, value_type, data)
        else:
            node = records.read_value(self.cells, offset)
            before = records.read_data(self.cells, offset, node, self.minor)
            if (node.type, before) == (value_type, data):
                return
            records.replace_value(self.cells, offset, value_type, data, minor=self.minor)
        self._at_least(key, records.AT_MAX_VALUE_DATA, len(data))
        self.touched[key] = None

    def remove_value(self, key: int, name: str) -> None:
        """Remove a value that is there."""
        offset = self._values_of(key).pop(upcase(name))
        node = self.node(key)
        left = node.value_count - 1
        if left:
            listed = self.cells.read(node.value_list, node.value_count * 4)
            place = _place_of(offset, listed)
            self.cells.write(node.value_list, listed[place + 4 :], place)
        else:
            self.cells.free(node.value_list)
            for at in (records.AT_MAX_VALUE_NAME, records.AT_MAX_VALUE_DATA):
                self._put(key, at, 0)
            self._put(key, records.AT_VALUE_LIST, NOWHERE)
        self._put(key, records.AT_VALUE_COUNT, left)
        self._free_value(offset)
        self.touched[key] = None

    def count_users(self) -> None:
        """Before the first edit: correct the counts of security records, which go with their users.

        Programs of other systems leave counts that are too low; Windows corrects them, too.
        """
        if not self._counted:
            self._counted = True
            self.ring.correct(Counter(self.node(key).security for key in self.below(self.root)))

    def set_security(self, key: int, security: bytes) -> None:
        """Give a key another security descriptor."""
        before = self.node(key).security
        self._put(key, records.AT_SECURITY, self.ring.acquire(security))
        self.ring.release(before)
        self.touched[key] = None

    def stamp(self, written: int) -> None:
        """Write the time of last write into all touched keys."""
        for offset in self.touched:
            self.cells.write(offset, written.to_bytes(8, "little"), records.AT_WRITTEN)

    def _children_of(self, offset: int) -> dict[str, int]:
        known = self._children.get(offset)
        if known is None:
            known = {}
            for name, child in self.subkeys(offset):
                known.setdefault(upcase(name), child)
            self._children[offset] = known
        return known

    def _values_of(self, offset: int) -> dict[str, int]:
        known = self._values.get(offset)
        if known is None:
            known = {}
            for item in self.value_offsets(offset):
                name = records.value_name(self.cells, item, records.read_value(self.cells, item))
                known.setdefault(upcase(name), item)
            self._values[offset] = known
        return known

    def _index_of(self, offset: int) -> SubkeyIndex:
        index = self._indexes.get(offset)
        if index is None:
            children = list(self.subkeys(offset))
            index = SubkeyIndex(self.cells, self.node(offset).subkey_list, children, self.minor)
            self._indexes[offset] = index
        return index

    def _add_value(self, key: int, name: str, value_type: int, data: bytes) -> None:
        offset = records.make_value(self.cells, name, value_type, data, minor=self.minor)
        node = self.node(key)
        value_list, count = node.value_list, node.value_count
        if count == 0:
            value_list = self.cells.allocate(b"", _FIRST_ROOM * 4)
            self.cells.claim(value_list, key)
        elif self.cells.size_bytes(value_list) < (count + 1) * 4:
            record = self.cells.read(value_list, count * 4)
            self.cells.free(value_list)
            value_list = self.cells.allocate(record, count * 2 * 4)
            self.cells.claim(value_list, key)
        self.cells.claim(offset, key)
        self.cells.put_u32(value_list, count * 4, offset)
        self._values_of(key)[upcase(name)] = offset
        self._put(key, records.AT_VALUE_LIST, value_list)
        self._put(key, records.AT_VALUE_COUNT, count + 1)
        self._at_least(key, records.AT_MAX_VALUE_NAME, utf16_size_bytes(name))

    def _follow(self, offset: int, moved: int, values: Sequence[int]) -> None:
        """Let all that names a key by its offset name the place that it has moved to."""
        node = self.node(moved)
        for child in read_subkeys(self.cells, node.subkey_list, node.subkey_count):
            self._put(child, records.AT_PARENT, moved)
        if values:
            self.cells.disclaim(node.value_list)
        for value in values:
            self.cells.disclaim(value)
        if node.class_name != NOWHERE and node.class_size_bytes:
            self.cells.disclaim(node.class_name)
        self._forget(offset)

    def below(self, offset: int) -> Iterator[int]:
        """A key and all keys below it, each before its subkeys."""
        pending = [offset]
        while pending:
            yield (current := pending.pop())
            pending.extend(child for _, child in self.subkeys(current))

    def _free_key(self, offset: int) -> None:
        node = self.node(offset)
        values = self.value_offsets(offset)
        for value in values:
            self._free_value(value)
        if values:
            self.cells.free(node.value_list)
        if node.subkey_count:
            leaves, root = list_cells(self.cells, node.subkey_list)
            for item in (*leaves, *((root,) if root else ())):
                self.cells.free(item.offset)
        if node.class_name != NOWHERE and node.class_size_bytes:
            self.cells.free(node.class_name)
        self.ring.release(node.security)
        self.cells.free(offset)
        self._forget(offset)

    def _forget(self, offset: int) -> None:
        for known in (self._children, self._values, self._indexes, self.touched):
            known.pop(offset, None)

    def _free_value(self, offset: int) -> None:
        node: ValueNode = records.read_value(self.cells, offset)
        records.free_data(self.cells, node, self.minor)
        self.cells.free(offset)

    def _put(self, key: int, at: int, number: int, mask: int = 0xFFFFFFFF) -> None:
        kept = self.cells.u32(key, at) & ~mask
        self.cells.put_u32(key, at, kept | number)

    def _at_least(self, key: int, at: int, number: int, mask: int = 0xFFFFFFFF) -> None:
        if number > self.cells.u32(key, at) & mask:
            self._put(key, at, number, mask)


def _place_of(offset: int, listed: bytes) -> int:
    """Where in a list of 32-bit numbers one of them begins, in bytes."""
    wanted = offset.to_bytes(4, "little")
    place = listed.index(wanted)
    while place % 4:
        place = listed.index(wanted, place + 1)
    return place
