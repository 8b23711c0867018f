"""32-bit x86 code of the base program of a PA30 delta: calls and jumps follow what they lead to.

Facts: docs/internals/deltas.md. Code is not understood here, only found: bytes that look like a
call or a jump, that no table owns, and that lead to code.
"""

import re

from wimsmith.errors import DamagedDelta
from wimsmith.offline.packages.deltas.peimage import I386, MANAGED, PeImage, Section
from wimsmith.offline.packages.deltas.petransform import Rewriting

_CALL = re.compile(rb"\xe8")
_JUMP = re.compile(rb"\xe9|\x0f[\x80-\x8f]")
_SHORT_JUMP, _SHORT_CONDITION = 0xEB, 0x70
_FILTERED_TAIL_BYTES = 10
_NO_NATIVE_CODE = 1


def move_jumps(work: Rewriting) -> None:
    """Near jumps; one that becomes short enough takes its short form, in the same place."""
    for section in work.image.sections:
        if section.code:
            _move_jumps(work, section)


def _move_jumps(work: Rewriting, section: Section) -> None:
    code = work.image.data
    at, end = _bounds(work, section)
    while found := _JUMP.search(code, at, max(end - 3, at)):
        first = found.start()
        if first + 5 > end:
            return
        opcode = found.end() - 1
        move = _moved_distance(work, section, opcode)
        if move is None:
            at = first + 1
            continue
        old, new = move
        conditional = opcode > first
        if -0x80 <= old < 0x80:
            at = first + 1
            continue
        if -0x80 <= new < 0x80 and not (conditional and work.owned[first]):
            short = _SHORT_CONDITION | code[opcode] & 15 if conditional else _SHORT_JUMP
            code[first : first + 2] = bytes((short, new & 0xFF))
        elif new != old:
            work.image.put32(opcode + 1, new)
        at = opcode + 5


def move_calls(work: Rewriting) -> None:
    """Calls by distance."""
    for section in work.image.sections:
        if not section.code:
            continue
        at, end = _bounds(work, section)
        while found := _CALL.search(work.image.data, at, max(end - 4, at)):
            move = _moved_distance(work, section, found.start())
            if move is None:
                at = found.start() + 1
                continue
            if move[0] != move[1]:
                work.image.put32(found.start() + 1, move[1])
            at = found.start() + 5


def _bounds(work: Rewriting, section: Section) -> tuple[int, int]:
    end = section.offset + min(section.size, section.stored)
    return section.offset, min(end, len(work.image.data))


def _moved_distance(work: Rewriting, section: Section, opcode: int) -> tuple[int, int] | None:
    """The distance of a call or jump as it is and as it will be; None if it is none."""
    image = work.image
    if not image.has(opcode, 5) or work.owned.find(1, opcode, opcode + 5) >= 0:
        return None
    distance = image.u32(opcode + 1)
    distance -= (distance & 0x8000_0000) << 1
    following = (section.address + opcode - section.offset + 5) & 0xFFFF_FFFF
    target = (following + distance) & 0xFFFF_FFFF
    if not 0 < target < image.image_bytes:
        return None
    place = image.offset_or_header(target)
    if place is None or (place < len(work.owned) and work.owned[place]):
        return None
    moved = work.rift.map(target) - work.rift.map(following)
    return distance, (moved + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000


def is_native_x86(data: bytes) -> bool:
    """Whether a file is a 32-bit x86 program that is not all .NET."""
    try:
        image = PeImage(data)
        if image.machine != I386 or image.wide:
            return False
        header, _size = image.directory(MANAGED)
        offset = image.offset(header) if header else None
        return offset is None or not image.u32(offset + 16) & _NO_NATIVE_CODE
    except DamagedDelta:
        return False


def undo_call_filter(data: bytes) -> bytes:
    """Turn absolute targets of calls (opcode E8) in a whole file back into relative ones.

    The last ten bytes are never filtered, and only values that can be targets in a file of this
    size are.
    """
    output = bytearray(data)
    size = len(data)
    at = output.find(0xE8, 0, max(size - _FILTERED_TAIL_BYTES, 0))
    while at >= 0:
        target = int.from_bytes(output[at + 1 : at + 5], "little", signed=True)
        if -at <= target < size:
            relative = target - at if target >= 0 else target + size
            output[at + 1 : at + 5] = relative.to_bytes(4, "little", signed=True)
        at = output.find(0xE8, at + 5, size - _FILTERED_TAIL_BYTES)
    return bytes(output)
