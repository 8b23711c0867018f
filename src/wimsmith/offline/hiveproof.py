"""A second reader of registry hives, written apart from `wimsmith.offline.registry`.

What the engine writes is judged by it, so nothing here is shared with the code that wrote: layout,
lists, big data and descriptors are read once more from the public description of the format
(M. Suhanov, github.com/msuhanov/regf). It is strict where the other is patient: only a clean hive
that is consistent in itself passes. It reads, in one pass, and knows nothing of edits.

All cells are found first; afterwards every record takes its cells, and no cell is taken twice. So
work and memory are bounded by the size of the file, whatever it says.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise, zip_longest
from typing import NamedTuple, Protocol

from wimsmith.errors import DamagedHive, VerificationFailed

_HEADER_BYTES = 0x1000
_PAGE_BYTES = 0x1000
_BIN_HEADER_BYTES = 0x20
_NONE = 0xFFFF_FFFF
_MAX_DEPTH = 512
_MINOR_VERSIONS = range(2, 7)
_SEGMENT_BYTES = 16_344
_BIG_DATA_SINCE = 4
_IN_RECORD = 0x8000_0000
_KEY_BYTES = 76
_MAX_NAME_BYTES = 510
_DESCRIPTOR_BYTES = 20

_FREE, _USED, _TAKEN = range(3)
_LINK, _SHORT_NAME, _PREDEFINED = 0x10, 0x20, 0x40


class HiveValue(NamedTuple):
    """A value as stored."""

    name: str
    type: int
    data: bytes


class HiveKey(NamedTuple):
    """All that a hive says of a key; `path` is below the root, which is ""."""

    path: str
    written: int
    is_link: bool
    class_name: str
    security: bytes
    values: tuple[HiveValue, ...]


class OtherValue(Protocol):
    """A value as another reader gives it."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> int: ...
    @property
    def data(self) -> bytes: ...


class OtherKey(Protocol):
    """A key as another reader gives it."""

    path: str

    @property
    def written(self) -> int: ...
    @property
    def is_link(self) -> bool: ...
    @property
    def class_name(self) -> str: ...
    @property
    def security(self) -> bytes: ...
    def values(self) -> Iterable[OtherValue]: ...


def read_hive(data: bytes) -> Iterator[HiveKey]:
    """Every key of a hive file, parents before their subkeys, in stored order.

    Whether descriptors are counted and linked as they should be is known after the last key.

    Raises:
        DamagedHive: not a clean hive, or something in it contradicts something else.
    """
    return _Reader(data).keys()


def compare(data: bytes, keys: Iterable[OtherKey]) -> int:
    """Read a hive file, and compare all of it with what another reader (or a writer) says.

    Args:
        data: The hive file.
        keys: Every key, parents before their subkeys, in stored order.

    Returns:
        The number of keys.

    Raises:
        DamagedHive: as `read_hive`.
        VerificationFailed: a key, class, time, descriptor or value differs.
    """
    count = 0
    for mine, other in zip_longest(read_hive(data), keys):
        if mine is None or other is None:
            name = (other if mine is None else mine).path
            raise VerificationFailed(f"only one of two readers finds the key {name[:200]!r}")
        _compare_key(mine, other)
        count += 1
    return count


def _compare_key(mine: HiveKey, other: OtherKey) -> None:
    said = (other.path, other.written, other.is_link, other.class_name, other.security)
    for name, left, right in zip(HiveKey._fields, mine, said, strict=False):
        if left != right:
            about = f"{name} of the key {mine.path[:200]!r}"
            raise VerificationFailed(f"two readers differ in the {about}")
    values = tuple((one.name, one.type, one.data) for one in other.values())
    if values != mine.values:
        raise VerificationFailed(f"two readers differ in the values of {mine.path[:200]!r}")


class _Reader:
    """The cells of one hive, and what is made of them."""

    def __init__(self, data: bytes) -> None:
        self._minor, self._root, size = _header(data)
        self._body = memoryview(data)[_HEADER_BYTES : _HEADER_BYTES + size]
        self._cells = bytearray(size // 8)
        self._descriptors: dict[int, tuple[bytes, int, int, int]] = {}
        self._users: Counter[int] = Counter()
        at = 0
        while at < size:
            at = self._scan_bin(at)

    def _scan_bin(self, start: int) -> int:
        body = self._body
        size: int
        signature, offset, size = struct.unpack_from("<4sII", body, start)
        if signature != b"hbin" or offset != start or not size or size % _PAGE_BYTES:
            raise DamagedHive(f"the bin at {start:#x} is not one")
        end, at = start + size, start + _BIN_HEADER_BYTES
        if end > len(body):
            raise DamagedHive(f"the bin at {start:#x} reaches past the end")
        while at < end:
            length: int = struct.unpack_from("<i", body, at)[0]
            if length < 0:
                length = -length
                self._cells[at // 8] = _USED
            if length < 8 or length % 8 or at + length > end:
                raise DamagedHive(f"the cell at {at:#x} does not fit its bin")
            at += length
        return end

    def keys(self) -> Iterator[HiveKey]:
        """All keys from the root down; then the ring of descriptors is checked."""
        pending = [(self._root, "", 0)]
        while pending:
            offset, path, depth = pending.pop()
            if depth > _MAX_DEPTH:
                raise DamagedHive(f"keys are nested deeper than {_MAX_DEPTH}")
            cell = self._take(offset, _KEY_BYTES, b"nk")
            yield self._key(cell, path)
            prefix = f"{path}\\" if path else ""
            children = self._subkeys(offset, cell)
            pending.extend((at, prefix + name, depth + 1) for name, at in reversed(children))
        self._check_ring()

    def _key(self, cell: memoryview, path: str) -> HiveKey:
        flags: int = struct.unpack_from("<H", cell, 2)[0]
        class_at, class_bytes = _u32(cell, 48), struct.unpack_from("<H", cell, 74)[0]
        has_class = class_at != _NONE and class_bytes
        values = 0 if flags & _PREDEFINED else _u32(cell, 36)
        return HiveKey(
            path=path,
            written=struct.unpack_from("<Q", cell, 4)[0],
            is_link=bool(flags & _LINK),
            class_name=_wide(self._take(class_at, class_bytes)[:class_bytes]) if has_class else "",
            security=self._descriptor(_u32(cell, 44)),
            values=tuple(self._values(_u32(cell, 40), values)),
        )

    def _key_name(self, cell: memoryview) -> str:
        flags, size = struct.unpack_from("<H", cell, 2)[0], struct.unpack_from("<H", cell, 72)[0]
        raw = cell[_KEY_BYTES : _KEY_BYTES + size]
        if not 0 < size <= _MAX_NAME_BYTES or len(raw) != size:
            raise DamagedHive(f"a key with a name of {size} bytes, {len(raw)} of which are there")
        return _narrow(raw) if flags & _SHORT_NAME else _wide(raw)

    def _subkeys(self, parent: int, parent_cell: memoryview) -> list[tuple[str, int]]:
        """Names and offsets of the subkeys, each of which names its parent."""
        count, at = _u32(parent_cell, 20), _u32(parent_cell, 28)
        if not count:
            return []
        cell = self._take(at, 4)
        if bytes(cell[:2]) == b"ri":
            lists = [self._take(one, 4) for one in self._numbers(cell, 4)]
        else:
            lists = [cell]
        found = [entry for one in lists for entry in self._leaf(one)]
        if len(found) != count or len({offset for offset, _ in found}) != count:
            raise DamagedHive(f"a key counts {count} subkeys, its list has others")
        names = [self._checked_name(parent, offset, digest) for offset, digest in found]
        _check_order(names)
        return [(name, offset) for name, (offset, _) in zip(names, found, strict=True)]

    def _leaf(self, cell: memoryview) -> list[tuple[int, int | None]]:
        """Offsets of keys, and hashes of their names where the leaf keeps them."""
        kind = bytes(cell[:2])
        if kind == b"li":
            return [(offset, None) for offset in self._numbers(cell, 4)]
        if kind not in {b"lf", b"lh"}:
            raise DamagedHive(f"a list of subkeys of the kind {kind!r}")
        words = self._numbers(cell, 8)
        marks: list[int | None] = list(words[1::2]) if kind == b"lh" else [None] * len(words[::2])
        return list(zip(words[::2], marks, strict=True))

    @staticmethod
    def _numbers(cell: memoryview, entry_bytes: int) -> tuple[int, ...]:
        size = struct.unpack_from("<H", cell, 2)[0] * entry_bytes
        if len(cell) < 4 + size:
            raise DamagedHive("a list of subkeys is cut off")
        return struct.unpack_from(f"<{size // 4}I", cell, 4)

    def _checked_name(self, parent: int, offset: int, digest: int | None) -> str:
        """Name of a subkey, which must have the hash that its list keeps."""
        cell = self._record(offset, _KEY_BYTES, b"nk")
        if _u32(cell, 16) != parent:
            raise DamagedHive(f"the key at {offset:#x} names another parent")
        name = self._key_name(cell)
        if digest is not None and name.isascii():
            expected = 0
            for byte in name.upper().encode("ascii"):
                expected = (expected * 37 + byte) % (1 << 32)
            if expected != digest:
                raise DamagedHive(f"the list of subkeys has a wrong hash of {name[:200]!r}")
        return name

    def _values(self, at: int, count: int) -> Iterator[HiveValue]:
        if not count:
            return
        cell = self._take(at, 4 * count)
        names: set[str] = set()
        for offset in struct.unpack_from(f"<{count}I", cell):
            value = self._value(offset)
            folded = value.name.upper() if value.name.isascii() else value.name
            if folded in names:
                raise DamagedHive(f"a key has the value {value.name[:200]!r} twice")
            names.add(folded)
            yield value

    def _value(self, at: int) -> HiveValue:
        cell = self._take(at, 20, b"vk")
        name_bytes, size, where, kind, flags = struct.unpack_from("<HIIIH", cell, 2)
        raw = cell[20 : 20 + name_bytes]
        if len(raw) != name_bytes:
            raise DamagedHive(f"the name of the value at {at:#x} is cut off")
        return HiveValue(_narrow(raw) if flags & 1 else _wide(raw), kind, self._data(size, where))

    def _data(self, size: int, where: int) -> bytes:
        if size & _IN_RECORD:
            size &= ~_IN_RECORD
            if size > 4:
                raise DamagedHive(f"a value record cannot hold {size} bytes")
            return struct.pack("<I", where)[:size]
        if not size:
            return b""
        cell = self._take(where, 4)
        is_big = size > _SEGMENT_BYTES and self._minor >= _BIG_DATA_SINCE
        if is_big and 8 <= len(cell) < size and bytes(cell[:2]) == b"db":
            return self._big_data(cell, size)
        if len(cell) < size:
            raise DamagedHive(f"the data at {where:#x} are cut off")
        return bytes(cell[:size])

    def _big_data(self, cell: memoryview, size: int) -> bytes:
        _, count, list_at = struct.unpack_from("<2sHI", cell)
        if count != (size + _SEGMENT_BYTES - 1) // _SEGMENT_BYTES:
            raise DamagedHive(f"{size} bytes of data are in {count} segments")
        offsets = struct.unpack_from(f"<{count}I", self._take(list_at, 4 * count))
        parts = []
        for number, offset in enumerate(offsets):
            part_bytes = min(_SEGMENT_BYTES, size - number * _SEGMENT_BYTES)
            parts.append(bytes(self._take(offset, part_bytes)[:part_bytes]))
        return b"".join(parts)

    def _descriptor(self, at: int) -> bytes:
        """A descriptor is shared: its cell is taken by the first key that has it."""
        self._users[at] += 1
        if at not in self._descriptors:
            cell = self._take(at, _DESCRIPTOR_BYTES, b"sk")
            following, previous, users, size = struct.unpack_from("<IIII", cell, 4)
            content = bytes(cell[_DESCRIPTOR_BYTES : _DESCRIPTOR_BYTES + size])
            if len(content) != size or not _is_descriptor(content):
                raise DamagedHive(f"the security descriptor at {at:#x} is broken")
            self._descriptors[at] = content, users, following, previous
        return self._descriptors[at][0]

    def _check_ring(self) -> None:
        """All descriptors in use are linked both ways, and counted as often as they are used."""
        for at, (_, users, following, previous) in self._descriptors.items():
            if users != self._users[at]:
                raise DamagedHive(f"{self._users[at]} keys have the descriptor of {users}")
            after = self._record(following, _DESCRIPTOR_BYTES, b"sk")
            before = self._record(previous, _DESCRIPTOR_BYTES, b"sk")
            if _u32(after, 8) != at or _u32(before, 4) != at:
                raise DamagedHive(f"the security descriptor at {at:#x} is not linked both ways")
        start = next(iter(self._descriptors))
        seen = {start}
        at = self._descriptors[start][2]
        while at != start:
            if at in seen:
                raise DamagedHive("the security descriptors do not make a ring")
            seen.add(at)
            at = _u32(self._record(at, _DESCRIPTOR_BYTES, b"sk"), 4)
        if not self._descriptors.keys() <= seen:
            raise DamagedHive("a security descriptor is not in the ring of the others")

    def _take(self, at: int, least: int, signature: bytes = b"") -> memoryview:
        """A record, which from now on belongs to who asked for it."""
        record = self._record(at, least, signature)
        if self._cells[at // 8] == _TAKEN:
            raise DamagedHive(f"the cell at {at:#x} belongs to two records")
        self._cells[at // 8] = _TAKEN
        return record

    def _record(self, at: int, least: int, signature: bytes = b"") -> memoryview:
        if at % 8 or at // 8 >= len(self._cells) or self._cells[at // 8] == _FREE:
            raise DamagedHive(f"no cell in use is at {at:#x}")
        record = self._body[at + 4 : at - struct.unpack_from("<i", self._body, at)[0]]
        if len(record) < least or bytes(record[: len(signature)]) != signature:
            raise DamagedHive(f"the cell at {at:#x} is not of the kind or size it should be")
        return record


def _header(data: bytes) -> tuple[int, int, int]:
    """Minor version, offset of the root, and size of all bins."""
    if len(data) < _HEADER_BYTES + _PAGE_BYTES or data[:4] != b"regf":
        raise DamagedHive("not a registry hive")
    words = struct.unpack_from("<128I", data)
    total = 0
    for word in words[:127]:
        total ^= word
    if total in {0, _NONE}:
        total = 1 if total == 0 else _NONE - 1
    if total != words[127]:
        raise DamagedHive("the sum of the header is wrong")
    if words[1] != words[2]:
        raise DamagedHive("the last write of the hive did not end: its logs have the rest")
    major, minor, kind, form, root, size = words[5:11]
    if (major, kind, form) != (1, 0, 1) or minor not in _MINOR_VERSIONS:
        raise DamagedHive(f"a hive of kind {kind}.{form}, version {major}.{minor}")
    if not size or size % _PAGE_BYTES or size > len(data) - _HEADER_BYTES:
        raise DamagedHive(f"the hive claims {size} bytes of bins")
    return minor, root, size


def _check_order(names: list[str]) -> None:
    """Subkeys are sorted by upper-case name, else Windows does not find them.

    Names in other scripts are left to the reader that knows the table of upper-case letters.
    """
    for left, right in pairwise(names):
        if left.isascii() and right.isascii() and left.upper() >= right.upper():
            raise DamagedHive(f"the subkeys {left[:100]!r} and {right[:100]!r} are not in order")


def _is_descriptor(content: bytes) -> bool:
    """Whether a descriptor is self-relative, with its parts inside."""
    if len(content) < 20 or content[0] != 1 or not content[3] & 0x80:
        return False
    parts = struct.unpack_from("<IIII", content, 4)
    return all(not part or 20 <= part < len(content) for part in parts)


def _u32(cell: memoryview, at: int) -> int:
    number: int = struct.unpack_from("<I", cell, at)[0]
    return number


def _narrow(raw: memoryview) -> str:
    return str(raw, "latin-1")


def _wide(raw: memoryview) -> str:
    if len(raw) % 2:
        raise DamagedHive(f"a name of {len(raw)} bytes in UTF-16")
    return str(raw, "utf-16-le", "surrogatepass")
