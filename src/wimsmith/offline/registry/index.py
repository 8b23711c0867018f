"""Subkey lists: leaves (`li`, `lf`, `lh`) and the root (`ri`) above several of them.

Leaves hold the offsets of key nodes sorted by upper-case name; `lf` adds the start of the name,
`lh` a hash of it. All kinds are read and edited; new lists are `lf` up to version 1.4, then `lh`.
"""

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from wimsmith.errors import DamagedHive
from wimsmith.offline.registry.cells import CELL_HEADER_BYTES, NOWHERE, Cells
from wimsmith.offline.registry.names import name_hash, name_hint, sort_key

LEAF_MAX_ENTRIES = 507
"""As many as fit a cell in a bin of 4 KiB."""

_HEADER_BYTES = 4
_ROOT = b"ri"
_ENTRY_BYTES = {b"li": 4, b"lf": 8, b"lh": 8, _ROOT: 4}
_HASH_LEAF_SINCE_MINOR = 5
_FIRST_ROOM = 4
_MIN_KEY_CELL_BYTES = 80


@dataclass(slots=True)
class _List:
    """One cell of entries: a leaf, or the root."""

    offset: int
    kind: bytes
    count: int


def read_subkeys(cells: Cells, list_offset: int, count: int) -> tuple[int, ...]:
    """Offsets of all key nodes in a subkey list, in its order.

    Raises:
        DamagedHive: the list is not one, does not have `count` entries or has one of them twice.
    """
    if count == 0:
        return ()
    if count * _MIN_KEY_CELL_BYTES > len(cells.data):
        raise DamagedHive(f"subkey list at {list_offset:#x} claims {count} entries")
    found: list[int] = []
    for leaf in list_cells(cells, list_offset)[0]:
        found.extend(_offsets(cells, leaf))
        if len(found) > count:
            break
    if len(found) != count:
        raise DamagedHive(f"subkey list at {list_offset:#x} does not have {count} entries")
    if len(set(found)) != count:
        # A key in two places of a list in every key of a path would be met 2 to the power of its
        # depth times.
        raise DamagedHive(f"subkey list at {list_offset:#x} has a key twice")
    return tuple(found)


def list_cells(cells: Cells, list_offset: int) -> tuple[list[_List], _List | None]:
    """The leaves of a subkey list, and its root if it has one."""
    top = _read_list(cells, list_offset)
    if top.kind != _ROOT:
        return [top], None
    leaves = [_read_list(cells, offset) for offset in _offsets(cells, top)]
    if any(leaf.kind == _ROOT for leaf in leaves):
        raise DamagedHive(f"subkey list at {list_offset:#x} is nested")
    return leaves, top


def entry_marks(cells: Cells, list_offset: int) -> list[tuple[bytes, int, int]]:
    """Kind of leaf, offset and hint or hash (0 for `li`) of every entry of a subkey list."""
    marks: list[tuple[bytes, int, int]] = []
    for leaf in list_cells(cells, list_offset)[0]:
        words = cells.offsets(leaf.offset, leaf.count * _words(leaf.kind), _HEADER_BYTES)
        if leaf.kind == b"li":
            marks.extend((leaf.kind, offset, 0) for offset in words)
        else:
            marks.extend(
                (leaf.kind, offset, mark)
                for offset, mark in zip(words[::2], words[1::2], strict=True)
            )
    return marks


def entry_mark(kind: bytes, name: str) -> int:
    """The hint or hash that a leaf of this kind keeps of a name."""
    if kind == b"lh":
        return name_hash(name)
    return name_hint(name) if kind == b"lf" else 0


class SubkeyIndex:
    """The subkey list of one key, open for editing.

    `list_offset` is the cell to which the key points, `NOWHERE` while the list is empty.
    """

    __slots__ = ("_cells", "_kind", "_leaves", "_names", "_root", "list_offset")

    def __init__(
        self, cells: Cells, list_offset: int, children: Iterable[tuple[str, int]], minor: int
    ) -> None:
        """Open a list whose entries are `children` (name and offset), in its order."""
        self._cells = cells
        self._kind = b"lh" if minor >= _HASH_LEAF_SINCE_MINOR else b"lf"
        self._leaves: list[_List] = []
        self._names: list[list[bytes]] = []
        self._root: _List | None = None
        self.list_offset = NOWHERE
        self._open(list_offset, list(children))

    def _open(self, list_offset: int, children: list[tuple[str, int]]) -> None:
        if not children:
            return  # an empty key may still name a list that is long gone
        names = [sort_key(name) for name, _ in children]
        self._leaves, self._root = list_cells(self._cells, list_offset)
        if names != sorted(names) or not all(leaf.count for leaf in self._leaves):
            self._rebuild(children)
            return
        self.list_offset = list_offset
        self._kind = self._leaves[0].kind
        start = 0
        for leaf in self._leaves:
            self._names.append(names[start : start + leaf.count])
            start += leaf.count

    def _rebuild(self, children: list[tuple[str, int]]) -> None:
        for item in [*self._leaves, *([self._root] if self._root else [])]:
            self._cells.free(item.offset)
        self._leaves, self._root = [], None
        for name, offset in sorted(children, key=lambda child: sort_key(child[0])):
            self.insert(name, offset)

    def insert(self, name: str, offset: int) -> None:
        """Add the key node at `offset`; equal names are the caller's business."""
        key = sort_key(name)
        if not self._leaves:
            self._add_leaf(0, [], [])
        number = self._leaf_for(key)
        position = bisect_right(self._names[number], key)
        number, position = self._make_room(number, position)
        leaf = self._leaves[number]
        words = [offset, entry_mark(leaf.kind, name)][: _words(leaf.kind)]
        self._put(leaf, position, struct.pack(f"<{len(words)}I", *words))
        self._names[number].insert(position, key)

    def remove(self, name: str, offset: int) -> None:
        """Take out the key node at `offset`.

        Raises:
            DamagedHive: it is not listed under `name`.
        """
        number, position = self._position(sort_key(name), offset)
        leaf = self._leaves[number]
        self._take_out(leaf, position)
        del self._names[number][position]
        if leaf.count == 0:
            self._drop_leaf(number)
        else:
            self._merge(number)

    def _leaf_for(self, key: bytes) -> int:
        if len(self._leaves) == 1:
            return 0
        return max(bisect_right(self._names, key, key=_first) - 1, 0)

    def _position(self, key: bytes, offset: int) -> tuple[int, int]:
        # Equal names may lie on both sides of where one leaf ends and the next begins.
        number = max(bisect_left(self._names, key, key=_first) - 1, 0)
        while number < len(self._leaves) and self._names[number][0] <= key:
            leaf, names = self._leaves[number], self._names[number]
            position = bisect_left(names, key)
            while position < leaf.count and names[position] == key:
                at = _HEADER_BYTES + position * _ENTRY_BYTES[leaf.kind]
                if self._cells.u32(leaf.offset, at) == offset:
                    return number, position
                position += 1
            number += 1
        raise DamagedHive(f"key at {offset:#x} is not in the list of its parent")

    def _merge(self, number: int) -> None:
        """Join a leaf with a neighbour if both together half fill one."""
        for left in (number - 1, number):
            pair = self._leaves[max(left, 0) : left + 2]
            if (
                len(pair) == 2
                and pair[0].kind == pair[1].kind
                and pair[0].count + pair[1].count <= LEAF_MAX_ENTRIES // 2
            ):
                self._join(left, *pair)
                return

    def _join(self, number: int, leaf: _List, behind: _List) -> None:
        size = _ENTRY_BYTES[leaf.kind]
        count = leaf.count + behind.count
        if self._room(leaf) < count:
            self._enlarge(leaf, LEAF_MAX_ENTRIES)
        entries = self._cells.read(behind.offset, _HEADER_BYTES + behind.count * size)
        self._cells.write(leaf.offset, entries[_HEADER_BYTES:], _HEADER_BYTES + leaf.count * size)
        self._set_count(leaf, count)
        self._names[number].extend(self._names[number + 1])
        self._drop_leaf(number + 1)

    def _make_room(self, number: int, position: int) -> tuple[int, int]:
        leaf = self._leaves[number]
        if leaf.count < min(self._room(leaf), LEAF_MAX_ENTRIES):
            return number, position
        if leaf.count < LEAF_MAX_ENTRIES:
            self._enlarge(leaf, min(leaf.count * 2, LEAF_MAX_ENTRIES))
            return number, position
        return self._split(number, position)

    def _split(self, number: int, position: int) -> tuple[int, int]:
        leaf, size = self._leaves[number], _ENTRY_BYTES[self._leaves[number].kind]
        # Keys mostly arrive in order: then the full leaf stays full.
        cut = leaf.count if position == leaf.count else leaf.count // 2
        start = leaf.offset + CELL_HEADER_BYTES + _HEADER_BYTES
        moved = bytes(self._cells.data[start + cut * size : start + leaf.count * size])
        names = self._names[number]
        self._add_leaf(number + 1, names[cut:], [moved])
        del names[cut:]
        self._set_count(leaf, cut)
        if position < cut:
            return number, position
        return number + 1, position - cut

    def _add_leaf(self, number: int, names: list[bytes], entries: list[bytes]) -> None:
        kind = self._leaves[number - 1].kind if number else self._kind
        size = _ENTRY_BYTES[kind]
        room = LEAF_MAX_ENTRIES if self._leaves else _FIRST_ROOM
        record = kind + len(names).to_bytes(2, "little") + b"".join(entries)
        offset = self._cells.allocate(record, _HEADER_BYTES + room * size)
        self._leaves.insert(number, _List(offset, kind, len(names)))
        self._names.insert(number, names)
        if len(self._leaves) == 1:
            self.list_offset = offset
        else:
            self._add_to_root(number, offset)

    def _add_to_root(self, number: int, offset: int) -> None:
        if self._root is None:
            first = self._leaves[0 if number else 1].offset
            record = _ROOT + struct.pack("<HI", 1, first)
            room = _HEADER_BYTES + _FIRST_ROOM * 4
            self._root = _List(self._cells.allocate(record, room), _ROOT, 1)
            self.list_offset = self._root.offset
        elif self._root.count >= self._room(self._root):
            self._enlarge(self._root, self._root.count * 2)
            self.list_offset = self._root.offset
        self._put(self._root, number, offset.to_bytes(4, "little"))

    def _drop_leaf(self, number: int) -> None:
        leaf = self._leaves.pop(number)
        del self._names[number]
        self._cells.free(leaf.offset)
        if self._root is not None:
            self._take_out(self._root, number)
        if not self._leaves:
            if self._root is not None:
                self._cells.free(self._root.offset)
            self._root, self.list_offset = None, NOWHERE

    def _put(self, item: _List, position: int, entry: bytes) -> None:
        size = len(entry)
        self._cells.require(item.offset, _HEADER_BYTES + (item.count + 1) * size)
        start = item.offset + CELL_HEADER_BYTES + _HEADER_BYTES
        data, at, end = self._cells.data, start + position * size, start + item.count * size
        data[at + size : end + size] = data[at:end]
        data[at : at + size] = entry
        self._set_count(item, item.count + 1)

    def _take_out(self, item: _List, position: int) -> None:
        size = _ENTRY_BYTES[item.kind]
        start = item.offset + CELL_HEADER_BYTES + _HEADER_BYTES
        data, at, end = self._cells.data, start + position * size, start + item.count * size
        data[at : end - size] = data[at + size : end]
        self._set_count(item, item.count - 1)

    def _enlarge(self, item: _List, room: int) -> None:
        size = _ENTRY_BYTES[item.kind]
        record = self._cells.read(item.offset, _HEADER_BYTES + item.count * size)
        offset = self._cells.allocate(record, _HEADER_BYTES + room * size)
        self._cells.free(item.offset)
        self._replace_reference(item.offset, offset)
        item.offset = offset

    def _replace_reference(self, old: int, new: int) -> None:
        if self.list_offset == old:
            self.list_offset = new
        elif self._root is not None:
            position = _offsets(self._cells, self._root).index(old)
            self._cells.put_u32(self._root.offset, _HEADER_BYTES + position * 4, new)

    def _room(self, item: _List) -> int:
        room_bytes = self._cells.size_bytes(item.offset) - _HEADER_BYTES
        return room_bytes // _ENTRY_BYTES[item.kind]

    def _set_count(self, item: _List, count: int) -> None:
        self._cells.write(item.offset, count.to_bytes(2, "little"), 2)
        item.count = count


def _first(names: list[bytes]) -> bytes:
    return names[0]


def _words(kind: bytes) -> int:
    return _ENTRY_BYTES[kind] // 4


def _read_list(cells: Cells, offset: int) -> _List:
    header = cells.read(offset, _HEADER_BYTES)
    kind, count = header[:2], int.from_bytes(header[2:], "little")
    if kind not in _ENTRY_BYTES:
        raise DamagedHive(f"no subkey list at {offset:#x}")
    cells.require(offset, _HEADER_BYTES + count * _ENTRY_BYTES[kind])
    return _List(offset, kind, count)


def _offsets(cells: Cells, item: _List) -> tuple[int, ...]:
    words = _words(item.kind)
    return cells.offsets(item.offset, item.count * words, _HEADER_BYTES)[::words]
