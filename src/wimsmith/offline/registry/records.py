"""Key nodes (`nk`), values (`vk`) and big data (`db`): layout of the records.

Layouts after M. Suhanov's specification of the format (github.com/msuhanov/regf).
"""

import struct
from typing import NamedTuple

from wimsmith.errors import DamagedHive, LimitExceeded
from wimsmith.offline.registry.cells import CELL_HEADER_BYTES, NOWHERE, Cells
from wimsmith.offline.registry.names import decode_name, encode_name

KEY_ROOT = 0x0004
KEY_NO_DELETE = 0x0008
KEY_LINK = 0x0010
KEY_COMPRESSED_NAME = 0x0020
KEY_PREDEFINED = 0x0040

VIRTUALIZATION = 0x000F_0000
"""Virtualisation flags, in the upper half of the field for the largest subkey name."""
VIRTUALIZATION_PASSED_ON = 0x0008_0000
"""New subkeys get the virtualisation flags of this key."""

MAX_SEGMENT_BYTES = 16_344
MAX_VALUE_BYTES = 0xFFFF * MAX_SEGMENT_BYTES
MAX_OLD_VALUE_BYTES = 1 << 20
BIG_DATA_SINCE_MINOR = 4
INLINE = 0x80000000
INLINE_BYTES = 4

_KEY = struct.Struct("<2sHQ15IHH")
_VALUE = struct.Struct("<2sHIIIHH")
_BIG = struct.Struct("<2sHI")
_VALUE_COMPRESSED_NAME = 0x0001

AT_WRITTEN = 4
AT_PARENT = 16
AT_SUBKEY_COUNT = 20
AT_SUBKEY_LIST = 28
AT_VALUE_COUNT = 36
AT_VALUE_LIST = 40
AT_SECURITY = 44
AT_MAX_SUBKEY_NAME = 52
AT_MAX_SUBKEY_CLASS = 56
AT_MAX_VALUE_NAME = 60
AT_MAX_VALUE_DATA = 64
AT_VALUE_SIZE = 4


class KeyNode(NamedTuple):
    """Fields of a key node; offsets are `NOWHERE` where there is nothing."""

    signature: bytes
    flags: int
    written: int
    spare: int
    parent: int
    subkey_count: int
    volatile_count: int
    subkey_list: int
    volatile_list: int
    value_count: int
    value_list: int
    security: int
    class_name: int
    max_subkey_name: int
    max_subkey_class: int
    max_value_name: int
    max_value_data: int
    work: int
    name_size_bytes: int
    class_size_bytes: int


class ValueNode(NamedTuple):
    """Fields of a value record."""

    signature: bytes
    name_size_bytes: int
    data_size: int
    data: int
    type: int
    flags: int
    spare: int


def read_key(cells: Cells, offset: int) -> KeyNode:
    """Fields of the key node at `offset`.

    Raises:
        DamagedHive: there is no key node.
    """
    if cells.size_bytes(offset) < _KEY.size:
        raise DamagedHive(f"key at {offset:#x} is cut off")
    node = KeyNode._make(_KEY.unpack_from(cells.data, offset + CELL_HEADER_BYTES))
    if node.signature != b"nk":
        raise DamagedHive(f"no key at {offset:#x}")
    return node


def key_name(cells: Cells, offset: int, node: KeyNode) -> str:
    """Name of the key at `offset`."""
    raw = cells.read(offset, _KEY.size + node.name_size_bytes)[_KEY.size :]
    return decode_name(raw, compressed=bool(node.flags & KEY_COMPRESSED_NAME))


def key_class(cells: Cells, offset: int, node: KeyNode) -> str:
    """Class name of the key at `offset`, mostly empty."""
    if node.class_name == NOWHERE or not node.class_size_bytes:
        return ""
    cells.claim(node.class_name, offset)
    return decode_name(cells.read(node.class_name, node.class_size_bytes), compressed=False)


def make_key(
    cells: Cells, name: str, *, parent: int, security: int, class_name: str, flags: int = 0
) -> int:
    """Offset of a new key node without subkeys and values."""
    raw, compressed = encode_name(name)
    class_raw = class_name.encode("utf-16-le", "surrogatepass")
    node = KeyNode(
        signature=b"nk",
        flags=flags | (KEY_COMPRESSED_NAME if compressed else 0),
        written=0,
        spare=0,
        parent=parent,
        subkey_count=0,
        volatile_count=0,
        subkey_list=NOWHERE,
        volatile_list=NOWHERE,
        value_count=0,
        value_list=NOWHERE,
        security=security,
        class_name=cells.allocate(class_raw) if class_raw else NOWHERE,
        max_subkey_name=0,
        max_subkey_class=0,
        max_value_name=0,
        max_value_data=0,
        work=0,
        name_size_bytes=len(raw),
        class_size_bytes=len(class_raw),
    )
    return cells.allocate(_KEY.pack(*node) + raw)


def rename_key(cells: Cells, offset: int, name: str) -> int:
    """Give the key at `offset` another name; its offset from now on."""
    node = read_key(cells, offset)
    raw, compressed = encode_name(name)
    flags = node.flags & ~KEY_COMPRESSED_NAME | (KEY_COMPRESSED_NAME if compressed else 0)
    record = _KEY.pack(*node._replace(flags=flags, name_size_bytes=len(raw))) + raw
    room_bytes = cells.size_bytes(offset)
    if len(record) <= room_bytes:
        cells.write(offset, record.ljust(room_bytes, b"\0"))
        return offset
    moved = cells.allocate(record)
    cells.free(offset)
    return moved


def read_value(cells: Cells, offset: int) -> ValueNode:
    """Fields of the value record at `offset`.

    Raises:
        DamagedHive: there is no value record.
    """
    if cells.size_bytes(offset) < _VALUE.size:
        raise DamagedHive(f"value at {offset:#x} is cut off")
    node = ValueNode._make(_VALUE.unpack_from(cells.data, offset + CELL_HEADER_BYTES))
    if node.signature != b"vk":
        raise DamagedHive(f"no value at {offset:#x}")
    return node


def value_name(cells: Cells, offset: int, node: ValueNode) -> str:
    """Name of the value at `offset`; empty for the default value."""
    if not node.name_size_bytes:
        return ""
    raw = cells.read(offset, _VALUE.size + node.name_size_bytes)[_VALUE.size :]
    return decode_name(raw, compressed=bool(node.flags & _VALUE_COMPRESSED_NAME))


def make_value(cells: Cells, name: str, value_type: int, data: bytes, *, minor: int) -> int:
    """Offset of a new value record with its data."""
    raw, compressed = encode_name(name)
    size, where = _store_data(cells, data, minor)
    flags = _VALUE_COMPRESSED_NAME if compressed and raw else 0
    return cells.allocate(_VALUE.pack(b"vk", len(raw), size, where, value_type, flags, 0) + raw)


def replace_value(cells: Cells, offset: int, value_type: int, data: bytes, *, minor: int) -> None:
    """Give the value at `offset` another type and data; its name stays."""
    node = read_value(cells, offset)
    if _fits_in_place(cells, node, len(data), minor):
        cells.write(node.data, data.ljust(cells.size_bytes(node.data), b"\0"))
        size, where = len(data), node.data
    else:
        free_data(cells, node, minor)
        size, where = _store_data(cells, data, minor)
    cells.write(offset, struct.pack("<III", size, where, value_type), AT_VALUE_SIZE)


def read_data(cells: Cells, offset: int, node: ValueNode, minor: int) -> bytes:
    """Data of the value at `offset`, wherever they lie.

    Raises:
        DamagedHive: a size or an offset is wrong.
    """
    size = node.data_size & ~INLINE
    if node.data_size & INLINE:
        if size > INLINE_BYTES:
            raise DamagedHive(f"{size} bytes of data cannot lie in a value record")
        return node.data.to_bytes(4, "little")[:size]
    if size == 0:
        return b""
    cells.claim(node.data, offset)
    if _is_segmented(cells, node.data, size, minor):
        return _read_big(cells, node.data, size)
    return cells.read(node.data, size)


def free_data(cells: Cells, node: ValueNode, minor: int) -> None:
    """Give back the cells in which the data of a value lie."""
    size = node.data_size & ~INLINE
    if node.data_size & INLINE or size == 0:
        return
    if _is_segmented(cells, node.data, size, minor):
        segment_list, segments = _segments(cells, node.data, size)
        for segment in segments:
            cells.free(segment)
        cells.free(segment_list)
    cells.free(node.data)


def data_cells(cells: Cells, node: ValueNode, minor: int) -> list[int]:
    """Offsets of the cells in which the data of a value lie."""
    size = node.data_size & ~INLINE
    if node.data_size & INLINE or size == 0:
        return []
    if not _is_segmented(cells, node.data, size, minor):
        return [node.data]
    segment_list, segments = _segments(cells, node.data, size)
    return [node.data, segment_list, *segments]


def check_data_size(size_bytes: int, minor: int) -> None:
    """Check that a value can have so many bytes in a hive of this version.

    Raises:
        LimitExceeded: it cannot.
    """
    limit = MAX_VALUE_BYTES if minor >= BIG_DATA_SINCE_MINOR else MAX_OLD_VALUE_BYTES
    if size_bytes > limit:
        raise LimitExceeded(f"a registry value of {size_bytes} bytes, {limit} are possible")


def _is_big(size: int, minor: int) -> bool:
    return size > MAX_SEGMENT_BYTES and minor >= BIG_DATA_SINCE_MINOR


def _is_segmented(cells: Cells, offset: int, size: int, minor: int) -> bool:
    """Whether data lie in segments: hivex writes large ones in one cell in every version."""
    return _is_big(size, minor) and cells.size_bytes(offset) < size


def _fits_in_place(cells: Cells, node: ValueNode, size: int, minor: int) -> bool:
    """Whether new data need a cell of exactly the size that the old ones have."""
    before = node.data_size & ~INLINE
    if node.data_size & INLINE or before == 0 or size <= INLINE_BYTES:
        return False
    if _is_big(before, minor) or _is_big(size, minor):
        return False
    return 0 <= cells.size_bytes(node.data) - size < 8


def _store_data(cells: Cells, data: bytes, minor: int) -> tuple[int, int]:
    if len(data) <= INLINE_BYTES:
        return INLINE | len(data), int.from_bytes(data, "little")
    if not _is_big(len(data), minor):
        return len(data), cells.allocate(data)
    parts = [data[at : at + MAX_SEGMENT_BYTES] for at in range(0, len(data), MAX_SEGMENT_BYTES)]
    # Full segments end in four unused bytes; some readers expect them on the last one, too.
    segments = [cells.allocate(part, len(part) + 4) for part in parts]
    segment_list = cells.allocate(struct.pack(f"<{len(segments)}I", *segments))
    return len(data), cells.allocate(_BIG.pack(b"db", len(segments), segment_list))


def _segments(cells: Cells, offset: int, size: int) -> tuple[int, tuple[int, ...]]:
    if size > len(cells.data):
        raise DamagedHive(f"big data at {offset:#x} claims {size} bytes")
    signature, count, segment_list = _BIG.unpack(cells.read(offset, _BIG.size))
    if signature != b"db" or count != -(-size // MAX_SEGMENT_BYTES):
        raise DamagedHive(f"big data at {offset:#x} has {count} segments for {size} bytes")
    cells.claim(segment_list, offset)
    segments = cells.offsets(segment_list, count)
    for number, segment in enumerate(segments):
        cells.claim(segment, segment_list + number)
    return segment_list, segments


def _read_big(cells: Cells, offset: int, size: int) -> bytes:
    parts = []
    for segment in _segments(cells, offset, size)[1]:
        part = cells.read(segment, min(size, MAX_SEGMENT_BYTES))
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
