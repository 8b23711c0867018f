"""A hive in memory: keys and values by path, edited in place, written whole."""

from collections.abc import Iterator, Sequence
from typing import Self

from wimsmith.errors import DamagedHive, LimitExceeded, NotFound, NotSupported, PathConflict
from wimsmith.offline.registry import records
from wimsmith.offline.registry.base import BASE_BLOCK_BYTES, BaseBlock, new_base_block
from wimsmith.offline.registry.cells import NOWHERE, Cells
from wimsmith.offline.registry.check import check_tree, read_everything
from wimsmith.offline.registry.logs import recover
from wimsmith.offline.registry.names import check_key_name, check_value_name, split_path
from wimsmith.offline.registry.security import SecurityRing, check_descriptor, default_security
from wimsmith.offline.registry.tree import KeyTree
from wimsmith.offline.registry.values import Value

MAX_DEPTH = 512
_FIRST_BIN_TIME_AT = 20
_NEW_MINOR_VERSIONS = range(3, 7)


class Hive:
    """One registry hive.

    Cells are parsed when they are asked for; those that no edit touches keep their bytes and
    places. Paths have names between backslashes and no leading one; "" is the root; lookup
    ignores case as Windows does and never follows registry links. A `Key` is good until its key
    is deleted. After an error in the middle of an edit the hive must be thrown away.
    """

    __slots__ = ("_base", "_tree")

    def __init__(self, base: BaseBlock, tree: KeyTree) -> None:
        """Use `parse` or `new`."""
        self._base = base
        self._tree = tree

    @classmethod
    def parse(cls, data: bytes, logs: Sequence[bytes] = ()) -> Self:
        """Open a hive file, completing it from its transaction logs if its last write did not end.

        Args:
            data: The primary file; what lies behind the declared bins is not part of the hive.
            logs: Its logs in any order. They are not looked at while the hive is clean.

        Raises:
            DamagedHive: not a hive, broken, or dirty and not completed by the logs.
        """
        is_clean = BaseBlock.is_clean(data)
        if not is_clean:
            data = recover(data, logs)
        base = BaseBlock.parse(data)
        base.check_primary(len(data))
        end = BASE_BLOCK_BYTES + base.bins_size_bytes
        cells = Cells(bytearray(memoryview(data)[BASE_BLOCK_BYTES:end]))
        ring = SecurityRing(cells, records.read_key(cells, base.root_offset).security)
        tree = KeyTree(cells, base.minor, ring, base.root_offset)
        if not is_clean:
            read_everything(tree)  # the pages of a log that is another hive's do not fit together
        return cls(base, tree)

    @classmethod
    def new(
        cls, root_name: str = "ROOT", *, version_minor: int = 5, security: bytes | None = None
    ) -> Self:
        """An empty hive of version 1.3 to 1.6; its root has `security` or `default_security()`.

        Raises:
            NotSupported: another version, which Windows would not read as it is meant.
        """
        if version_minor not in _NEW_MINOR_VERSIONS:
            raise NotSupported("registry-version", f"hives of version 1.{version_minor}")
        cells = Cells(bytearray())
        ring = SecurityRing(cells, NOWHERE)
        # Some readers take the first cell for the root, as Windows puts it there.
        root = records.make_key(
            cells,
            check_key_name(root_name),
            parent=0,
            security=NOWHERE,
            class_name="",
            flags=records.KEY_ROOT | records.KEY_NO_DELETE,
        )
        descriptor = default_security() if security is None else security
        check_descriptor(descriptor)
        cells.put_u32(root, records.AT_SECURITY, ring.acquire(descriptor))
        hive = cls(new_base_block(version_minor, root), KeyTree(cells, version_minor, ring, root))
        hive._tree.touched[root] = None
        return hive

    @property
    def version(self) -> tuple[int, int]:
        """Version of the format, such as (1, 5)."""
        return self._base.major, self._base.minor

    @property
    def written(self) -> int:
        """FILETIME of the last write, as read."""
        return self._base.written

    @property
    def root(self) -> "Key":
        """The root key."""
        offset = self._base.root_offset
        name = records.key_name(self._tree.cells, offset, self._tree.node(offset))
        return Key(self._tree, offset, name, "")

    def key(self, path: str) -> "Key | None":
        """The key at `path`, if there is one."""
        key: Key | None = self.root
        for name in split_path(path):
            key = key.subkey(name) if key else None
        return key

    def value(self, path: str, name: str) -> Value | None:
        """The value `name` of the key at `path`, if both are there."""
        key = self.key(path)
        return key.value(name) if key else None

    def walk(self, path: str = "") -> Iterator["Key"]:
        """The key at `path` and all below it, each before its subkeys, in stored order."""
        start = self.key(path)
        pending = [iter([start] if start else [])]
        while pending:
            key = next(pending[-1], None)
            if key is None:
                pending.pop()
                continue
            if len(pending) > MAX_DEPTH + 1:
                raise DamagedHive(f"keys are nested deeper than {MAX_DEPTH}")
            yield key
            pending.append(key.subkeys())

    def check(self, *, strict: bool = False) -> int:
        """Read everything and check that it is consistent.

        Args:
            strict: Check the fields for the largest name and data, too. Nothing depends on them,
                and programs of other systems let them become too small.

        Returns:
            Bytes in cells that are in use and that nothing refers to: harmless, lost space.

        Raises:
            DamagedHive: cells used twice, wrong counts, unsorted lists, a broken ring...
        """
        return check_tree(self._tree, strict=strict)

    def create_key(
        self, path: str, security: bytes | None = None, *, class_name: str = ""
    ) -> "Key":
        """The key at `path`, made with those above it where missing.

        Args:
            path: Where.
            security: Self-relative descriptor. None: a new key shares the descriptor of its
                parent (Windows would compute one from what the parent hands down), an existing
                one keeps its own. Keys made on the way share their parent's.
            class_name: Class of the key if it is new.

        Raises:
            UnsafePath: a name that no key can have.
            LimitExceeded: deeper than 512 keys.
        """
        names = split_path(path)
        if len(names) > MAX_DEPTH:
            raise LimitExceeded(f"a registry path of {len(names)} keys")
        if security is not None:
            check_descriptor(security)
        self._tree.count_users()
        key = self.root
        for name in names[:-1]:
            key = key.subkey(name) or self._add(key, name, None, "")
        for name in names[-1:]:
            found = key.subkey(name)
            if found is None:
                return self._add(key, name, security, class_name)
            key = found
        if security is not None and security != key.security:
            self._tree.set_security(key.offset, security)
        return key

    def delete_key(self, path: str) -> bool:
        """Delete a key with all below it; False if it is not there.

        Raises:
            NotSupported: the root, which cannot be deleted.
        """
        self._tree.count_users()
        names = split_path(path)
        if not names:
            raise NotSupported("registry-key", "the root of a hive cannot be deleted")
        parent = self.key("\\".join(names[:-1]))
        if parent is None or parent.subkey(names[-1]) is None:
            return False
        self._tree.remove_key(parent.offset, names[-1])
        return True

    def rename_key(self, path: str, new_name: str) -> "Key":
        """Give a key another name; all below it goes along. `Key`s of before are not good any more.

        Args:
            path: The key.
            new_name: Its name from now on, not a path. It may differ from the old in case alone.

        Raises:
            NotFound: there is no such key.
            PathConflict: its parent has another key of that name.
            UnsafePath: a name that no key can have.
            NotSupported: the root, which keeps its name.
        """
        check_key_name(new_name)
        names = split_path(path)
        if not names:
            raise NotSupported("registry-key", "the root of a hive cannot be renamed")
        above = "\\".join(names[:-1])
        parent = self.key(above)
        key = parent.subkey(names[-1]) if parent else None
        if parent is None or key is None:
            raise NotFound(f"registry key {path!r}")
        taken = parent.subkey(new_name)
        if taken is not None and taken.offset != key.offset:
            raise PathConflict(f"registry key {taken.path!r}")
        if key.name != new_name:
            self._tree.rename_key(parent.offset, key.name, new_name)
        renamed = parent.subkey(new_name)
        assert renamed is not None
        return renamed

    def set_value(self, path: str, name: str, value_type: int, data: bytes) -> None:
        """Set a value of the key at `path`, making that key where missing.

        Raises:
            UnsafePath: a name that no key or value can have.
            LimitExceeded: more data than a value can hold in this version of the format.
        """
        check_value_name(name)
        records.check_data_size(len(data), self._base.minor)
        self._tree.count_users()
        key = self.key(path) or self.create_key(path)
        self._tree.set_value(key.offset, name, value_type, data)

    def delete_value(self, path: str, name: str) -> bool:
        """Delete a value; False if it is not there."""
        key = self.key(path)
        if key is None or self._tree.value(key.offset, name) is None:
            return False
        self._tree.remove_value(key.offset, name)
        return True

    def serialize(self, modified: int) -> bytes:
        """The whole file, clean, with one more write counted.

        Args:
            modified: FILETIME of this write; every edited key carries it as its last write.
        """
        bins = self._tree.cells.data
        self._tree.stamp(modified)
        bins[_FIRST_BIN_TIME_AT : _FIRST_BIN_TIME_AT + 8] = modified.to_bytes(8, "little")
        base = self._base.rewritten(
            sequence=self._base.primary_sequence + 1, bins_size_bytes=len(bins), written=modified
        )
        return base + bins

    def _add(self, parent: "Key", name: str, security: bytes | None, class_name: str) -> "Key":
        check_key_name(name)
        offset = self._tree.add_key(parent.offset, name, security, class_name)
        return Key(self._tree, offset, name, _joined(parent.path, name))


class Key:
    """One key, read from the hive each time: it shows edits at once."""

    __slots__ = ("_tree", "name", "offset", "path")

    def __init__(self, tree: KeyTree, offset: int, name: str, path: str) -> None:
        """Keys come from a `Hive` or from their parent."""
        self._tree = tree
        self.offset = offset
        self.name = name
        self.path = path

    def __repr__(self) -> str:
        return f"Key({self.path!r})"

    @property
    def written(self) -> int:
        """FILETIME of the last write, as of the last time the hive was written."""
        return self._tree.node(self.offset).written

    @property
    def security(self) -> bytes:
        """Self-relative security descriptor."""
        return self._tree.ring.read(self._tree.node(self.offset).security)

    @property
    def class_name(self) -> str:
        """Class of the key, mostly empty."""
        return records.key_class(self._tree.cells, self.offset, self._tree.node(self.offset))

    @property
    def is_link(self) -> bool:
        """Whether the key stands for another, named by its value `SymbolicLinkValue`."""
        return bool(self._tree.node(self.offset).flags & records.KEY_LINK)

    def subkeys(self) -> "Iterator[Key]":
        """The subkeys in stored order, which is that of their upper-case names."""
        for name, offset in self._tree.subkeys(self.offset):
            yield Key(self._tree, offset, name, _joined(self.path, name))

    def subkey(self, name: str) -> "Key | None":
        """The subkey with this name, if there is one."""
        offset = self._tree.child(self.offset, name)
        if offset is None:
            return None
        stored = records.key_name(self._tree.cells, offset, self._tree.node(offset))
        return Key(self._tree, offset, stored, _joined(self.path, stored))

    def values(self) -> Iterator[Value]:
        """The values in stored order."""
        for offset in self._tree.value_offsets(self.offset):
            yield self._value(offset)

    def value(self, name: str = "") -> Value | None:
        """The value with this name, if there is one; "" is the default value."""
        offset = self._tree.value(self.offset, name)
        return None if offset is None else self._value(offset)

    def _value(self, offset: int) -> Value:
        cells = self._tree.cells
        node = records.read_value(cells, offset)
        data = records.read_data(cells, offset, node, self._tree.minor)
        return Value(records.value_name(cells, offset, node), node.type, data)


def _joined(parent: str, name: str) -> str:
    return f"{parent}\\{name}" if parent else name
