"""Resources of a Windows program file, read-only: just enough to find data kept in them.

Layout: the published Portable Executable specification, chapter on the .rsrc section.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from wimsmith.errors import DamagedInput

_MAX_ENTRIES = 65_536
_LEVELS = 3  # type, name, language
_RESOURCE_DIRECTORY = 2
_SUBDIRECTORY = 0x8000_0000


@dataclass(frozen=True, slots=True)
class _Section:
    address: int
    size: int
    offset: int


def resources(program: bytes) -> Iterator[bytes]:
    """Data of every resource, in the order of the resource directory.

    Raises:
        DamagedInput: not a program file, or a header or directory leaves it.
    """
    try:
        yield from _resources(program)
    except struct.error as error:
        raise DamagedInput(f"a program file: {error}") from error


def _resources(program: bytes) -> Iterator[bytes]:
    if program[:2] != b"MZ":
        raise DamagedInput("not a program file")
    (header,) = struct.unpack_from("<I", program, 0x3C)
    if program[header : header + 4] != b"PE\0\0":
        raise DamagedInput("not a program file")
    count, optional_bytes = struct.unpack_from("<H12xH", program, header + 6)
    optional = header + 24
    sections = _sections(program, optional + optional_bytes, count)
    (magic,) = struct.unpack_from("<H", program, optional)
    directories = optional + (112 if magic == 0x20B else 96)
    address, size = struct.unpack_from("<II", program, directories + 8 * _RESOURCE_DIRECTORY)
    if size:
        root = _offset(sections, address)
        for entry in _leaves(program, root, 0, _LEVELS, [_MAX_ENTRIES]):
            data_address, data_bytes = struct.unpack_from("<II", program, root + entry)
            start = _offset(sections, data_address)
            yield program[start : start + data_bytes]


def _sections(program: bytes, start: int, count: int) -> list[_Section]:
    found = []
    for index in range(count):
        fields = struct.unpack_from("<8xIIII", program, start + 40 * index)
        virtual_bytes, address, raw_bytes, offset = fields
        found.append(_Section(address, min(virtual_bytes or raw_bytes, raw_bytes), offset))
    return found


def _offset(sections: list[_Section], address: int) -> int:
    for section in sections:
        if section.address <= address < section.address + section.size:
            return section.offset + address - section.address
    raise DamagedInput(f"a program file: address {address:#x} is in no section")


def _leaves(program: bytes, root: int, at: int, levels: int, budget: list[int]) -> Iterator[int]:
    """Offsets of data entries from the root; `budget` bounds the entries of the whole tree."""
    named, numbered = struct.unpack_from("<12xHH", program, root + at)
    for index in range(named + numbered):
        budget[0] -= 1
        if budget[0] < 0:
            raise DamagedInput("a program file with too many resources")
        (target,) = struct.unpack_from("<4xI", program, root + at + 16 + 8 * index)
        if not target & _SUBDIRECTORY:
            yield target
        elif levels > 1:
            yield from _leaves(program, root, target ^ _SUBDIRECTORY, levels - 1, budget)
