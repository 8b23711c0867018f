"""A Windows program file as deltas see it: headers, sections and addresses.

Layout: the published Portable Executable specification. An address here is relative to where the
program is loaded (RVA); an offset counts bytes of the file.
This module also runs compiled; `peimage.pxd` states the C types.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from wimsmith.errors import DamagedDelta

I386 = 0x14C
AMD64 = 0x8664
EXPORTS, IMPORTS, RESOURCES, EXCEPTIONS, RELOCATIONS, DEBUG, MANAGED = 0, 1, 2, 3, 5, 6, 14

_PE32, _PE32_PLUS = 0x10B, 0x20B
_MAX_SECTIONS = 96
_MAX_BYTES = 1 << 31
_STEPS_PER_BYTE = 4
_EXECUTABLE = 0x2000_0000
_SECTION = struct.Struct("<8sIIII12xI")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Section:
    """One section; `header` is the offset of its header."""

    name: bytes
    header: int
    address: int
    size: int
    offset: int
    stored: int
    flags: int

    @property
    def end(self) -> int:
        """Address after the last byte, whether of the file or of memory."""
        return self.address + max(self.size, self.stored)

    @property
    def code(self) -> bool:
        return bool(self.flags & _EXECUTABLE)


class PeImage:
    """A program whose bytes may be rewritten; what its headers said at first stays as it was.

    Reading or writing what is not there raises `DamagedDelta`.
    """

    __slots__ = (
        "_steps_left",
        "base",
        "data",
        "first_address",
        "header",
        "image_bytes",
        "machine",
        "optional",
        "sections",
        "time_stamp",
        "wide",
    )

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self._steps_left = _STEPS_PER_BYTE * len(data)
        if len(data) >= _MAX_BYTES:
            raise DamagedDelta("a program of more than 2 GiB")
        self.header = self.u32(0x3C)
        if data[:2] != b"MZ" or data[self.header : self.header + 4] != b"PE\0\0":
            raise DamagedDelta("its base is no program")
        self.machine = self.u16(self.header + 4)
        self.time_stamp = self.u32(self.header + 8)
        self.optional = self.header + 24
        magic = self.u16(self.optional)
        if magic not in {_PE32, _PE32_PLUS}:
            raise DamagedDelta("its base is no program")
        self.wide = magic == _PE32_PLUS
        self.base = self.u64(self.optional + 24) if self.wide else self.u32(self.optional + 28)
        self.image_bytes = self.u32(self.optional + 56)
        self.sections = tuple(self._read_sections())
        self.first_address = min((one.address for one in self.sections), default=0)

    def _read_sections(self) -> Iterator[Section]:
        start = self.optional + self.u16(self.header + 20)
        count = self.u16(self.header + 6)
        if count > _MAX_SECTIONS:
            raise DamagedDelta(f"a program of {count} sections")
        for header in range(start, start + count * 40, 40):
            self._check(header, 40)
            name, size, address, stored, offset, flags = _SECTION.unpack_from(self.data, header)
            yield Section(name.rstrip(b"\0"), header, address, size, offset, stored, flags)

    def directory(self, number: int) -> tuple[int, int]:
        """Address and size of a data directory; zeros if there is none."""
        table = self.optional + (112 if self.wide else 96)
        if number >= self.u32(table - 4):
            return 0, 0
        return self.u32(table + 8 * number), self.u32(table + 8 * number + 4)

    def section_of(self, address: int) -> Section | None:
        """The first section that covers an address."""
        for section in self.sections:
            if section.address <= address < section.end:
                return section
        return None

    def offset(self, address: int) -> int | None:
        """Where in the file an address of a section is; it may lie behind the end of the file."""
        section = self.section_of(address)
        return None if section is None else section.offset + address - section.address

    def offset_or_header(self, address: int) -> int | None:
        """The same, for addresses that may lie in the headers as well."""
        return address if address < self.first_address else self.offset(address)

    def has(self, offset: int, size: int) -> bool:
        """Whether the file has these bytes."""
        return 0 <= offset <= len(self.data) - size

    def spend(self, steps: int = 1) -> None:
        """Count work on tables, which may be made to lie on one another many times.

        Raises:
            DamagedDelta: it is more than all bytes of the file could give cause for.
        """
        self._steps_left -= steps
        if self._steps_left < 0:
            raise DamagedDelta("tables of its base program lie on one another")

    def u16(self, offset: int) -> int:
        self._check(offset, 2)
        data = self.data
        return data[offset] | data[offset + 1] << 8

    def u32(self, offset: int) -> int:
        self._check(offset, 4)
        data = self.data
        high = data[offset + 3]
        return data[offset] | data[offset + 1] << 8 | data[offset + 2] << 16 | high << 24

    def u64(self, offset: int) -> int:
        self._check(offset, 8)
        value: int = _U64.unpack_from(self.data, offset)[0]
        return value

    def put32(self, offset: int, value: int) -> None:
        self._check(offset, 4)
        _U32.pack_into(self.data, offset, value & 0xFFFF_FFFF)

    def put64(self, offset: int, value: int) -> None:
        self._check(offset, 8)
        _U64.pack_into(self.data, offset, value & 0xFFFF_FFFF_FFFF_FFFF)

    def _check(self, offset: int, size: int) -> None:
        if not self.has(offset, size):
            raise DamagedDelta("a part of its base program lies outside the file")
