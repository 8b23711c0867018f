"""Small Windows programs made for tests, and deltas between two layouts of one program.

The generator knows where everything stands in each layout, so what it writes into the second
layout is an expectation of what a decoder makes of the first. Shares nothing with the decoder.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from offline.packages.made import BitWriter, Copy, delta, patch_stream

FILE_ALIGNMENT, PAGE = 0x200, 0x1000
CODE, DATA = 0x6000_0020, 0x4000_0040


@dataclass(frozen=True)
class Reference:
    """At `at` in a block stands the place of `symbol`: as `rva`, `va` or `distance`.

    A distance counts from `following`, the offset in the block of the next instruction.
    """

    at: int
    kind: str
    symbol: str
    following: int = 0


@dataclass(frozen=True)
class Block:
    name: str
    data: bytes
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class Part:
    """A section: its blocks in order."""

    name: bytes
    flags: int
    blocks: tuple[Block, ...]


@dataclass
class Program:
    """One layout: `gaps` are bytes left free before a block, `spread` pages before each section."""

    wide: bool
    parts: list[Part]
    base: int
    stamp: int
    gaps: dict[str, int] = field(default_factory=dict)
    spread: int = 0
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    layout: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])

    def __post_init__(self) -> None:
        address, offset = PAGE, 0x400
        self.headers = []
        for part in self.parts:
            address += self.spread * PAGE
            size = 0
            for block in part.blocks:
                size += self.gaps.get(block.name, 0)
                self.places[block.name] = (address + size, offset + size)
                size += len(block.data)
            stored = -(-size // FILE_ALIGNMENT) * FILE_ALIGNMENT
            self.headers.append((part.name, size, address, stored, offset, part.flags))
            self.layout.append((address, offset - address))
            address += -(-size // PAGE) * PAGE
            offset += stored
        self.image_bytes, self.file_bytes = address, offset

    def rva(self, symbol: str) -> int:
        name, _, more = symbol.partition("+")
        return self.places[name][0] + int(more or 0)

    def build(self) -> bytes:
        data = bytearray(self.file_bytes)
        data[: len(self._head())] = self._head()
        for part in self.parts:
            for block in part.blocks:
                start = self.places[block.name][1]
                data[start : start + len(block.data)] = self._filled(block)
        return bytes(data)

    def _filled(self, block: Block) -> bytes:
        data = bytearray(block.data)
        for one in block.references:
            place = self.rva(one.symbol)
            if one.kind == "distance":
                distance = place - self.rva(block.name) - one.following
                struct.pack_into("<i", data, one.at, distance)
            elif one.kind == "va" and self.wide:
                struct.pack_into("<Q", data, one.at, self.base + place)
            else:
                struct.pack_into("<I", data, one.at, place + (one.kind == "va") * self.base)
        return bytes(data)

    def _head(self) -> bytes:
        machine, optional = (0x8664, 240) if self.wide else (0x14C, 224)
        head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x80)
        coff = (machine, len(self.parts), self.stamp, 0, 0, optional, 0x2022)
        head = head.ljust(0x80, b"\0") + struct.pack("<4sHHIIIHH", b"PE", *coff)
        fields = bytearray(optional)
        struct.pack_into("<H", fields, 0, 0x20B if self.wide else 0x10B)
        struct.pack_into("<Q" if self.wide else "<I", fields, 24 if self.wide else 28, self.base)
        struct.pack_into("<I", fields, 56, self.image_bytes)
        struct.pack_into("<I", fields, 64, 0x1234_5678 ^ self.stamp)
        table = 112 if self.wide else 96
        struct.pack_into("<I", fields, table - 4, 16)
        for number, name, size in self.directories():
            struct.pack_into("<II", fields, table + 8 * number, self.rva(name), size)
        sections = b"".join(
            struct.pack("<8sIIIIIIHHI", name, size, address, stored, offset, 0, 0, 0, 0, flags)
            for name, size, address, stored, offset, flags in self.headers
        )
        return head + fields + sections

    def directories(self) -> Iterator[tuple[int, str, int]]:
        known = {"exports": 0, "imports": 1, "tree": 2, "records": 3, "relocations": 5}
        for part in self.parts:
            for block in part.blocks:
                if block.name in known:
                    yield known[block.name], block.name, len(block.data)


def difference(old: Program, new: Program, *, flags: int, file_type: int | None = None) -> bytes:
    """A delta from one layout to the other: blocks are copied, all else is written out."""
    target = new.build()
    operations: list[bytes | Copy] = []
    written = 0
    ranges = [
        (new.places[block.name][1], len(block.data)) for part in new.parts for block in part.blocks
    ]
    for start, size in joined(ranges):
        operations += [target[written:start], Copy(size, slot=3)]
        written = start + size
    operations.append(target[written:])
    preprocess = program_buffer(new.base, new.stamp, new.layout, moves(old, new))
    kind = file_type or (8 if new.wide else 2)
    stream = patch_stream([one for one in operations if one])
    return delta(stream, target, file_type=kind, flags=flags, preprocess=preprocess)


def moves(old: Program, new: Program) -> list[tuple[int, int]]:
    """Where blocks moved, and the unused ends of sections, which stay at the ends of sections."""
    entries = [(old.rva(name), new.rva(name) - old.rva(name)) for name in old.places]
    for before, after in zip(old.headers, new.headers, strict=True):
        end = after[2] + after[3] - before[2] - before[3]
        entries.append((before[2] + before[1], end))
    return [(0, 0), *sorted(entries)]


def joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbouring ranges as one."""
    found: list[tuple[int, int]] = []
    for start, size in ranges:
        if found and sum(found[-1]) == start:
            found[-1] = (found[-1][0], found[-1][1] + size)
        else:
            found.append((start, size))
    return found


def program_buffer(
    base: int,
    stamp: int,
    layout: list[tuple[int, int]],
    moved: list[tuple[int, int]],
    *,
    metadata: int = 0,
    map_of_metadata: int = 0,
) -> bytes:
    """The preprocess buffer of a delta between programs."""
    writer = BitWriter()
    writer.bits(base, 64)
    writer.bits(0x1234_5678, 32)
    writer.bits(stamp, 32)
    write_rift(writer, layout)
    writer.bits(metadata, 1)
    write_rift(writer, moved)
    writer.bits(map_of_metadata, 1)
    return writer.done()


def write_rift(writer: BitWriter, entries: list[tuple[int, int]]) -> None:
    """A rift table in the plainest code: 4 symbols of 7 bits, 248 of 8."""
    writer.bits(bool(entries), 1)
    if not entries:
        return
    for _code in range(2):
        writer.bits(0, 8)
        writer.bits(0, 8)
        writer.bits(248, 8)
        writer.bits(7, 4)
    writer.number(len(entries))
    last_place = last_move = 0
    for place, move in entries:
        write_signed(writer, place - last_place)
        write_signed(writer, move - last_move)
        last_place, last_move = place, move


def write_signed(writer: BitWriter, number: int) -> None:
    value = ~number if number < 0 else number
    symbol, extra, extra_bits = value, 0, 0
    if value > 3:
        extra_bits = value.bit_length() - 2
        symbol = 2 * (extra_bits + 1) + (value >> extra_bits & 1)
        extra = value & ((1 << extra_bits) - 1)
    symbol += 126 if number < 0 else 0
    # 248 symbols of 8 bits come first in the code, so the 4 last symbols have 7 bits
    code, length = (symbol, 8) if symbol < 248 else (124 + symbol - 248, 7)
    writer.bits(int(f"{code:0{length}b}"[::-1], 2), length)
    writer.bits(extra, extra_bits)


def x86_parts() -> list[Part]:
    """Code that calls, jumps and points; imports, exports and relocations."""
    call = b"\xe8\0\0\0\0\x90\xe9\0\0\0\0\x0f\x84\0\0\0\0\xa1\0\0\0\0\xc3"
    first = Block(
        "first",
        call,
        (
            Reference(1, "distance", "second", 5),
            Reference(7, "distance", "third", 11),
            Reference(13, "distance", "third", 17),
            Reference(18, "va", "values"),
        ),
    )
    second = Block("second", b"\xe8\0\0\0\0\xc3", (Reference(1, "distance", "first", 5),))
    space = Block("space", b"\xcc" * 300)
    third = Block("third", b"\xe9\0\0\0\0\xc3", (Reference(1, "distance", "first", 5),))
    values = Block("values", b"\0\0\0\0 data ", (Reference(0, "va", "second"),))
    return [
        Part(b".text", CODE, (first, second, space, third)),
        Part(b".data", DATA, (values, *import_blocks(4), *export_blocks())),
        Part(b".reloc", DATA, (Block("relocations", bytes(16)),)),
    ]


def amd64_parts() -> list[Part]:
    """Code with distances of every kind, functions with unwind data, imports and relocations."""
    code = (
        b"\xe8\0\0\0\0"  # call second
        b"\x48\x8d\x05\0\0\0\0"  # lea rax, [values]
        b"\x0f\x1f\x44\0\0"  # nop, which the measuring takes for two instructions
        b"\xc7\x05\0\0\0\0\x11\x22\x33\x44"  # mov dword [values], 0x44332211
        b"\xff\x15\0\0\0\0"  # call [addresses]
        b"\x0f\x85\0\0\0\0"  # jne second
        b"\x48\xb8\x01\x02\x03\x04\x05\x06\x07\x08"  # mov rax, imm64
        b"\xf6\x05\0\0\0\0\x80"  # test byte [values], 0x80
        b"\x66\xc7\x05\0\0\0\0\xff\x7f"  # mov word [values], 0x7fff
        b"\xc3"
    )
    at = [1, 8, 19, 29, 35, 51, 59]
    ends = [5, 12, 27, 33, 39, 56, 65]
    symbols = ["second", "values", "values", "addresses", "second", "values", "values"]
    references = [Reference(*one) for one in zip(at, ["distance"] * 7, symbols, ends, strict=True)]
    first = Block("first", code + b"\xcc", tuple(references))
    jump = b"\x48\x83\xec\x28\xe9\0\0\0\0\xcc"
    second = Block("second", jump, (Reference(5, "distance", "first", 9),))
    values = Block("values", bytes(8) + b" data ", (Reference(0, "va", "second"),))
    plain = Block("plain", b"\x01\0\0\0")
    handled = Block("handled", b"\x09\0\x01\0\0\0\0\0\0\0\0\0", (Reference(8, "rva", "second"),))
    records = Block(
        "records",
        bytes(24),
        tuple(
            Reference(4 * number, "rva", symbol)
            for number, symbol in enumerate(
                ["first", f"first+{len(code)}", "plain", "second", "second+9", "handled"]
            )
        ),
    )
    return [
        Part(b".text", CODE, (first, second)),
        Part(b".data", DATA, (values, *import_blocks(8), *export_blocks(), plain, handled)),
        Part(b".pdata", DATA, (records,)),
        Part(b".reloc", DATA, (Block("relocations", bytes(16)),)),
    ]


def import_blocks(size: int) -> tuple[Block, ...]:
    """One library: a function by name and one by number, and the list the loader fills."""
    numbered = (0x80 << 8 * (size - 1) | 7).to_bytes(size, "little")
    list_ = bytes(size) + numbered + bytes(size)
    by_name = (Reference(0, "rva", "hint"),)
    fields = tuple(
        Reference(at, "rva", name)
        for at, name in ((0, "names"), (12, "library"), (16, "addresses"))
    )
    return (
        Block("imports", bytes(40), fields),
        Block("names", list_, by_name),
        Block("addresses", list_, by_name),
        Block("hint", b"\x01\0Function\0\0"),
        Block("library", b"some.dll\0\0\0\0"),
    )


def export_blocks() -> tuple[Block, ...]:
    fields = [(12, "title"), (28, "functions"), (32, "titles"), (36, "ordinals")]
    counts = struct.pack("<16xIII12x", 1, 2, 1)
    return (
        Block("exports", counts, tuple(Reference(at, "rva", name) for at, name in fields)),
        Block("functions", bytes(8), (Reference(0, "rva", "first"), Reference(4, "rva", "second"))),
        Block("titles", bytes(4), (Reference(0, "rva", "title"),)),
        Block("ordinals", bytes(4)),
        Block("title", b"made.dll"),
    )


def with_relocations(program: Program) -> Program:
    """The same layout, with base relocations for all loaded addresses of its blocks."""
    kind = 10 if program.wide else 3
    pointers = sorted(
        program.rva(block.name) + one.at
        for part in program.parts
        for block in part.blocks
        for one in block.references
        if one.kind == "va"
    )
    pages = sorted({pointer & ~0xFFF for pointer in pointers})
    data = b""
    for page in pages:
        words = [kind << 12 | one & 0xFFF for one in pointers if one & ~0xFFF == page]
        words += [0] * (len(words) % 2)
        data += struct.pack(f"<II{len(words)}H", page, 8 + 2 * len(words), *words)
    parts = [
        Part(part.name, part.flags, (Block("relocations", data),))
        if part.blocks[0].name == "relocations"
        else part
        for part in program.parts
    ]
    return Program(program.wide, parts, program.base, program.stamp, program.gaps, program.spread)
