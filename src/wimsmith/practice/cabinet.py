"""Cabinet files: written stored or in MSZIP blocks ([MS-CAB] 2 and 3)."""

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

_BLOCK_BYTES = 32768
_FOLDER_LIMIT_BYTES = 0x7FFF_8000
_HEADER = struct.Struct("<4sIIIIIBBHHHHH")
_FOLDER = struct.Struct("<IHH")
_FILE = struct.Struct("<IIHHHH")
_DATA = struct.Struct("<IHH")
_ARCHIVE = 0x20
_UTF8 = 0x80


@dataclass(frozen=True, slots=True)
class _Folder:
    names: tuple[str, ...]
    blocks: tuple[tuple[bytes, int], ...]


def build_cabinet(
    files: Mapping[str, bytes],
    *,
    compress: bool = True,
    modified: datetime = datetime(2024, 5, 14, 17, 0, 0, tzinfo=UTC),
    folder_bytes: int = _FOLDER_LIMIT_BYTES,
    reserve: bytes = b"",
    trailing: bytes = b"",
) -> bytes:
    r"""A cabinet of `files`, whose names may hold `\` between folders.

    Args:
        files: content by name, in the order they are stored.
        compress: MSZIP; else blocks are stored.
        modified: time of all files, written as it reads (cabinets know no time zone).
        folder_bytes: a new cabinet folder (an own compression stream) starts after so much.
        reserve: bytes of the reserved area of the header.
        trailing: bytes after the declared end.
    """
    folders = [
        _Folder(tuple(names), tuple(_blocks([files[name] for name in names], compress=compress)))
        for names in _split(files, folder_bytes)
    ]
    rows = b"".join(_file_rows(files, folders, modified))
    head_bytes = _HEADER.size + (4 + len(reserve) if reserve else 0)
    files_at = head_bytes + _FOLDER.size * len(folders)
    table, data = _folder_table(folders, files_at + len(rows), method=int(compress))
    total = files_at + len(rows) + len(data)
    flags = 0x4 if reserve else 0
    header = _HEADER.pack(
        b"MSCF", 0, total, 0, files_at, 0, 3, 1, len(folders), len(files), flags, 0x5043, 0
    )
    if reserve:
        header += struct.pack("<HBB", len(reserve), 0, 0) + reserve
    return header + table + rows + data + trailing


def _split(files: Mapping[str, bytes], folder_bytes: int) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    size = 0
    for name, data in files.items():
        if groups[-1] and size + len(data) > folder_bytes:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += len(data)
    return [group for group in groups if group]


def _blocks(contents: Iterable[bytes], *, compress: bool) -> Iterator[tuple[bytes, int]]:
    data = b"".join(contents)
    history = b""
    for start in range(0, len(data), _BLOCK_BYTES):
        block = data[start : start + _BLOCK_BYTES]
        yield (_mszip(block, history) if compress else block), len(block)
        history = block


def _mszip(block: bytes, history: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15, zdict=history)
    return b"CK" + packer.compress(block) + packer.flush()


def _file_rows(
    files: Mapping[str, bytes], folders: list[_Folder], modified: datetime
) -> Iterator[bytes]:
    date = (modified.year - 1980) << 9 | modified.month << 5 | modified.day
    time = modified.hour << 11 | modified.minute << 5 | modified.second >> 1
    for number, folder in enumerate(folders):
        offset = 0
        for name in folder.names:
            size = len(files[name])
            flags = _ARCHIVE if name.isascii() else _ARCHIVE | _UTF8
            head = _FILE.pack(size, offset, number, date, time, flags)
            yield head + name.encode() + b"\0"
            offset += size


def _folder_table(folders: list[_Folder], data_at: int, *, method: int) -> tuple[bytes, bytes]:
    table, data = [], []
    for folder in folders:
        table.append(_FOLDER.pack(data_at, len(folder.blocks), method))
        for packed, size in folder.blocks:
            head = struct.pack("<HH", len(packed), size)
            record = struct.pack("<I", _checksum(head, _checksum(packed))) + head + packed
            data.append(record)
            data_at += len(record)
    return b"".join(table), b"".join(data)


def _checksum(data: bytes, seed: int = 0) -> int:
    """XOR of little-endian words; the last bytes count from the other end."""
    whole = len(data) & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        seed ^= word
    return seed ^ int.from_bytes(data[whole:], "big")
