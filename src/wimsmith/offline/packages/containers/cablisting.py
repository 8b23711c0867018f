"""The directory of a cabinet file: what is in it, without expanding anything.

Layout: [MS-CAB], Cabinet File Format, sections 2.1 to 2.4. Bytes after the declared end (an
Authenticode signature, usually) are ignored.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from wimsmith.errors import DamagedPackage, LimitExceeded, NotSupported, UnsafePath
from wimsmith.offline import paths
from wimsmith.offline.filetime import from_datetime
from wimsmith.offline.packages.limits import DEFAULT_LIMITS, PackageLimits

MAGIC = b"MSCF"

_HEADER = struct.Struct("<4s4xI4xI4xBBHHHHH")
_FOLDER = struct.Struct("<IHH")
_FILE = struct.Struct("<IIHHHH")
_HAS_PREVIOUS, _HAS_NEXT, _HAS_RESERVE = 1, 2, 4
_FIRST_CONTINUED_FOLDER = 0xFFFD
_NAME_IS_UTF8 = 0x80
_MAX_NAME_BYTES = 256
_BLOCK_BYTES = 32_768
_STORED, _MSZIP, _QUANTUM, _LZX = range(4)


@dataclass(frozen=True, slots=True)
class CabinetEntry:
    r"""A file in a cabinet.

    `name` is in the normal form of `wimsmith.offline.paths`, `stored_name` as in the cabinet.
    `written` is a FILETIME; cabinets know no time zone, so their time is taken as UTC. `offset` is
    where the file begins in the expanded bytes of its folder.
    """

    name: str
    stored_name: bytes
    size_bytes: int
    written: int
    attributes: int
    folder: int
    offset: int


def list_cabinet(path: Path, *, limits: PackageLimits = DEFAULT_LIMITS) -> tuple[CabinetEntry, ...]:
    """Files of a cabinet, in the order they are stored.

    Raises:
        DamagedPackage: not a cabinet, or its directory is broken.
        NotSupported: `not-cbs`, one of a set of cabinets, or compressed as no package is.
        UnsafePath: a name that leaves the folder or that Windows could not hold.
        LimitExceeded: more or larger files than `limits` allow.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        try:
            entries = _read(file, path.stat().st_size)
        except struct.error as error:
            raise DamagedPackage("the cabinet ends in its directory") from error
    check_names(entry.name for entry in entries)
    _check_sizes(entries, path.stat().st_size, limits)
    return entries


def _read(file: BinaryIO, file_bytes: int) -> tuple[CabinetEntry, ...]:
    header = _HEADER.unpack(file.read(_HEADER.size))
    magic, declared_bytes, files_at, _minor, major, folders, files, flags, _set, _index = header
    if magic != MAGIC or major != 1:
        raise DamagedPackage("it does not start as a cabinet of version 1")
    if flags & (_HAS_PREVIOUS | _HAS_NEXT):
        raise NotSupported("not-cbs", "one part of a set of cabinets; packages are single cabinets")
    if declared_bytes > file_bytes:
        raise DamagedPackage(f"it should have {declared_bytes} bytes and has {file_bytes}")
    if not files or not folders:
        raise DamagedPackage("an empty cabinet")
    folder_reserve = _skip_reserve(file) if flags & _HAS_RESERVE else 0
    blocks = [
        _blocks_of(file.read(_FOLDER.size + folder_reserve), declared_bytes)
        for _number in range(folders)
    ]
    if not _HEADER.size <= files_at < declared_bytes:
        raise DamagedPackage("a directory outside the cabinet")
    file.seek(files_at)
    table = file.read(min(declared_bytes - files_at, files * (_FILE.size + _MAX_NAME_BYTES + 1)))
    entries = _entries(table, files, folders)
    _check_folders(blocks, entries)
    return entries


def _skip_reserve(file: BinaryIO) -> int:
    header_bytes, folder_bytes, _block_bytes = struct.unpack("<HBB", file.read(4))
    file.seek(header_bytes, 1)
    return int(folder_bytes)


def _blocks_of(row: bytes, cabinet_bytes: int) -> int:
    """Number of data blocks of a folder; each expands to 32 KiB at most."""
    start, blocks, method = _FOLDER.unpack_from(row)
    if method & 0xF == _QUANTUM:
        raise NotSupported("not-cbs", "compressed as Quantum, which no package uses")
    if method & 0xF not in {_STORED, _MSZIP, _LZX}:
        raise DamagedPackage(f"compression method {method & 0xF}, which does not exist")
    if start > cabinet_bytes:
        raise DamagedPackage("data outside the cabinet")
    return int(blocks)


def _entries(table: bytes, files: int, folders: int) -> tuple[CabinetEntry, ...]:
    entries = []
    at = 0
    for _number in range(files):
        size, offset, folder, date, time, attributes = _FILE.unpack_from(table, at)
        at += _FILE.size
        end = table.find(b"\0", at, at + _MAX_NAME_BYTES + 1)
        if end < 0:
            raise DamagedPackage("a file name without an end")
        if folder >= _FIRST_CONTINUED_FOLDER:
            raise DamagedPackage("a file that continues in another cabinet")
        if folder >= folders:
            raise DamagedPackage("a file in a folder that is not there")
        stored_name = table[at:end]
        name = _normal_name(stored_name, utf8=bool(attributes & _NAME_IS_UTF8))
        written = _filetime(date, time)
        entries.append(CabinetEntry(name, stored_name, size, written, attributes, folder, offset))
        at = end + 1
    return tuple(entries)


def _normal_name(stored: bytes, *, utf8: bool) -> str:
    try:
        name = stored.decode("utf-8" if utf8 else "cp1252")
    except UnicodeDecodeError as error:
        raise UnsafePath(repr(stored)) from error
    if not name or name[0] in "\\/" or name[-1] in "\\/":
        raise UnsafePath(repr(name))
    return paths.check(name)


def _filetime(date: int, time: int) -> int:
    """FILETIME of a DOS date and time; a date that no calendar has counts as 1980."""
    try:
        when = datetime(
            1980 + (date >> 9),
            date >> 5 & 15,
            date & 31,
            time >> 11,
            time >> 5 & 63,
            (time & 31) * 2,
            tzinfo=UTC,
        )
    except ValueError:
        when = datetime(1980, 1, 1, tzinfo=UTC)
    return from_datetime(when)


def check_names(names: Iterable[str]) -> None:
    """Refuse names that are one file on Windows, and files used as folders.

    Raises:
        DamagedPackage: there are such names.
    """
    folded = sorted(tuple(map(paths.fold, paths.split(name))) for name in names)
    for one, following in pairwise(folded):
        if following[: len(one)] == one:
            raise DamagedPackage(f"two files with one name: {'/'.join(following)[:200]}")


def _check_folders(blocks: Sequence[int], entries: Iterable[CabinetEntry]) -> None:
    """Refuse files that reach beyond what the blocks of their folder can expand to (2 GiB)."""
    for entry in entries:
        if entry.offset + entry.size_bytes > blocks[entry.folder] * _BLOCK_BYTES:
            raise DamagedPackage(f"{entry.name[:200]} is larger than the blocks it is stored in")


def _check_sizes(
    entries: tuple[CabinetEntry, ...], stored_bytes: int, limits: PackageLimits
) -> None:
    total = sum(entry.size_bytes for entry in entries)
    largest = max(entry.size_bytes for entry in entries)
    if len(entries) > limits.files:
        raise LimitExceeded(f"{len(entries)} files in a package")
    if largest > limits.file_bytes or total > limits.total_bytes:
        raise LimitExceeded(f"a package that expands to {total} bytes")
    if total > limits.ratio_free_bytes and total > limits.ratio * stored_bytes:
        raise LimitExceeded(f"{stored_bytes} bytes that expand to {total}")
