"""64-bit x86 code of the base program of a PA30 delta: operands follow what they lead to.

Functions are those that the exception directory names. In each, instructions are measured one
after the other; the lengths have to be those that the maker of the delta believed in, also where a
processor disagrees. Facts: docs/internals/deltas.md.

This module also runs compiled; `amd64code.pxd` states the C types.
"""

from collections.abc import Iterator

from wimsmith.offline.packages.deltas.peimage import EXCEPTIONS, PeImage
from wimsmith.offline.packages.deltas.petransform import Rewriting

_RECORD_BYTES = 12
_MAX_INSTRUCTION_BYTES = 15
_HANDLER_FLAGS = 0x38
_PREFIXES = frozenset({0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3})

_UNKNOWN, _PLAIN, _OPERAND, _ADDRESS, _NEAR, _FAR = range(6)
_NO_VALUE, _BYTE, _WORD, _WIDE_WORD, _TEST_BYTE, _TEST_WORD, _ENTER = range(7)


def _table(default: int, groups: dict[int, str]) -> bytes:
    """A value for each opcode, from lists such as `00-03 0d`."""
    table = bytearray([default]) * 256
    for value, text in groups.items():
        for part in text.split():
            first, _, last = part.partition("-")
            for opcode in range(int(first, 16), int(last or first, 16) + 1):
                table[opcode] = value
    return bytes(table)


_FORM = _table(
    _PLAIN,
    {
        _UNKNOWN: "06-07 0e-0f 16-17 1e-1f 26-27 2e-2f 36-37 3e-4f 60-62 64-67 82 9a 9e-9f c4-c5"
        " ce d4-d6 ea",
        _OPERAND: "00-03 08-0b 10-13 18-1b 20-23 28-2b 30-33 38-3b 63 69 6b 80-81 83-8f c0-c1 c6-c7"
        " d0-d3 d8-df f6-f7 fe-ff",
        _ADDRESS: "a0-a3",
        _NEAR: "70-7f e0-e3 eb",
        _FAR: "e8-e9",
    },
)
_VALUE = _table(
    _NO_VALUE,
    {
        _BYTE: "04 0c 14 1c 24 2c 34 3c 6a-6b 80 82-83 a8 b0-b7 c0-c1 c6 cd e4-e7",
        _WORD: "05 0d 15 1d 25 2d 35 3d 68-69 81 a9 c2 c7 ca",
        _WIDE_WORD: "b8-bf",
        _TEST_BYTE: "f6",
        _TEST_WORD: "f7",
        _ENTER: "c8",
    },
)
_LONG_FORM = _table(
    _PLAIN,
    {
        _UNKNOWN: "0a 0c 19-1f 24-27 34-3f 78-7d a6-a7 b8 d0 f0 ff",
        _OPERAND: "00-03 0d 0f-18 20-23 28-2f 40-76 7e-7f 90-9f a3-a5 ab-b7 b9-c7 d1-ef f1-fe",
        _FAR: "80-8f",
    },
)
_LONG_VALUE = _table(_NO_VALUE, {_BYTE: "0f 70-73 a4 ac ba c2 c4-c6"})


def operands(  # noqa: C901, PLR0912, PLR0915 - the hot loop: one function, local names only
    code: bytes | bytearray, start: int, end: int
) -> list[tuple[int, int]]:
    """Offsets of 32-bit distances in the instructions between two offsets, and of what follows.

    Each pair is where a distance stands, and where the next instruction starts, from which the
    distance counts.
    """
    found = []
    form_of, value_of = _FORM, _VALUE
    long_form_of, long_value_of = _LONG_FORM, _LONG_VALUE
    text = code
    end = min(end, len(code))
    at = start
    while at < end:
        limit = min(at + _MAX_INSTRUCTION_BYTES, end)
        field = -1
        short_words = short_addresses = wide = False
        opcode = text[at]
        at += 1
        while opcode in _PREFIXES and at < limit:
            if opcode == 0x66:
                short_words = True
            elif opcode == 0x67:
                short_addresses = True
            opcode = text[at]
            at += 1
        if opcode in _PREFIXES:
            continue
        if opcode & 0xF0 == 0x40:
            if at >= limit or text[at] & 0xF0 == 0x40:
                continue
            wide = opcode & 8 != 0
            opcode = text[at]
            at += 1
        if opcode == 0x0F:
            if at >= limit:
                continue
            opcode = text[at]
            at += 1
            form, value = long_form_of[opcode], long_value_of[opcode]
        else:
            form, value = form_of[opcode], value_of[opcode]
        if form == _UNKNOWN:
            continue
        need = 0
        test = False
        if form == _OPERAND:
            if at >= limit:
                continue
            operand = text[at]
            at += 1
            mode, register = operand >> 6, operand & 7
            test = operand & 0x30 == 0
            if mode == 1:
                need = 1
            elif mode == 2:
                need = 4
            if mode != 3 and register == 4:
                if at >= limit:
                    continue
                if mode == 0 and text[at] & 7 == 5:
                    need = 4
                at += 1
            elif mode == 0 and register == 5:
                field = at
                need = 4
        elif form == _ADDRESS:
            need = 4 if short_addresses else 8
        elif form == _NEAR:
            need = 1
        elif form == _FAR:
            field = at
            need = 4
        if at + need > limit:
            continue
        at += need
        if value == _BYTE or (value == _TEST_BYTE and test):
            need = 1
        elif value == _WIDE_WORD and wide:
            need = 8
        elif value in {_WORD, _WIDE_WORD} or (value == _TEST_WORD and test):
            need = 2 if short_words else 4
        elif value == _ENTER:
            need = 3
        else:
            need = 0
        if at + need > limit:
            continue
        at += need
        if field >= 0:
            found.append((field, at))
    return found


def move_code(work: Rewriting) -> None:
    """Distances in the functions of a program, so that they lead to where things moved."""
    image, rift = work.image, work.rift
    for record in _records(image):
        begin, end = image.u32(record), image.u32(record + 4)
        offset = image.offset(begin) if 0 < begin < end else None
        if offset is None:
            continue
        image.spend((end - begin) >> 2 if image.has(offset, end - begin) else 1)
        by = begin - offset
        for field, following in operands(image.data, offset, offset + end - begin):
            distance = image.u32(field)
            distance -= (distance & 0x8000_0000) << 1
            moved = rift.map(following + by + distance) - rift.map(following + by)
            if moved != distance:
                image.put32(field, moved)


def move_functions(work: Rewriting) -> None:
    """Addresses in the exception directory, and of handlers in what it leads to."""
    image = work.image
    address, size = image.directory(EXCEPTIONS)
    start = image.offset(address) if address else None
    for record in _records(image):
        unwind = image.offset_or_header(image.u32(record + 8))
        if start is not None and unwind and not start <= unwind <= start + size:
            _move_handler(work, unwind)
        for field in (record, record + 4, record + 8):
            work.move_address(field)


def _move_handler(work: Rewriting, unwind: int) -> None:
    """The address after the codes of unwind data, if its flags say that there is one."""
    image = work.image
    if image.has(unwind, 4) and image.data[unwind] & _HANDLER_FLAGS:
        work.move_address(unwind + 4 + (image.data[unwind + 2] + 1) // 2 * 4)


def _records(image: PeImage) -> Iterator[int]:
    address, size = image.directory(EXCEPTIONS)
    start = image.offset(address) if address else None
    if start is not None:
        size = min(size, len(image.data) - start)
        yield from range(start, start + size - size % _RECORD_BYTES, _RECORD_BYTES)
