"""PA30 deltas between programs: the base as copies shall see it, and how the target is laid out.

Facts: docs/internals/deltas.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from wimsmith.errors import NotSupported
from wimsmith.offline.packages.deltas.amd64code import move_code, move_functions
from wimsmith.offline.packages.deltas.bits import BitReader
from wimsmith.offline.packages.deltas.peimage import DEBUG, EXPORTS, PeImage
from wimsmith.offline.packages.deltas.perelocations import move_relocations
from wimsmith.offline.packages.deltas.petransform import (
    Rewriting,
    move_exports,
    move_imports,
    move_resources,
    own_all_but_code,
    unbind_imports,
)
from wimsmith.offline.packages.deltas.rift import Rift, inverse, read_rift, then
from wimsmith.offline.packages.deltas.x86code import move_calls, move_jumps

_NO_CODE_OUTSIDE = 0x2
_UNBIND = 0x2000
_STEPS = {
    0x4: move_imports,
    0x8: move_exports,
    0x10: move_resources,
    0x20: move_relocations,
}
_X86_STEPS = {0x80: move_jumps, 0x100: move_calls}
_AMD64_STEPS = {0x200: move_code, 0x400: move_functions}
_DEBUG_ENTRY_BYTES = 28


@dataclass(frozen=True, slots=True)
class TargetProgram:
    """What a delta says about its target before the copies.

    `layout` leads from addresses of the target to offsets in it, `moved` from addresses of the
    base to addresses of the target.
    """

    base: int
    checksum: int
    time_stamp: int
    layout: Rift
    moved: Rift


def read_target_program(preprocess: bytes) -> TargetProgram:
    """Read the preprocess buffer of a delta.

    Raises:
        DamagedDelta: it ends early or is no such buffer.
        NotSupported: `delta-managed`, it rewrites .NET metadata.
    """
    reader = BitReader(preprocess)
    low, high = reader.bits(32), reader.bits(32)
    checksum, time_stamp = reader.bits(32), reader.bits(32)
    layout = read_rift(reader)
    managed = reader.bits(1)
    if managed:
        raise NotSupported("delta-managed", "a delta that rewrites .NET metadata")
    moved = read_rift(reader)
    managed = reader.bits(1)
    if managed:
        raise NotSupported("delta-managed", "a delta that rewrites .NET metadata")
    reader.check_end()
    return TargetProgram(high << 32 | low, checksum, time_stamp, layout, moved)


def rewritten_base(base: bytes, target: TargetProgram, flags: int) -> bytes:
    """The base with its tables and its code as they stand in the target, of the same size.

    Raises:
        DamagedDelta: the base is no program, or one whose tables leave it.
    """
    image = PeImage(base)
    image.put32(image.optional + 64, 0)
    if flags & _UNBIND:
        unbind_imports(image)
    image.put32(image.header + 8, target.time_stamp)
    work = Rewriting(image, target.moved, target.base)
    if not image.wide and flags & _NO_CODE_OUTSIDE:
        own_all_but_code(work)
    for flag, step in {**_STEPS, **(_AMD64_STEPS if image.wide else _X86_STEPS)}.items():
        if flags & flag:
            step(work)
    if image.wide:
        image.put64(image.optional + 24, target.base)
    else:
        image.put32(image.optional + 28, target.base)
    return bytes(image.data)


def copy_rift(base: bytes, target: TargetProgram) -> Rift:
    """From places in the target file to the like places in the base file."""
    image = PeImage(base)
    sections = [(one.offset, one.address) for one in image.sections if one.offset and one.address]
    loaded = Rift.of([(0, 0), *((offset, address - offset) for offset, address in sections)])
    addresses = then(loaded.everything(), target.moved)
    return inverse(then(addresses, target.layout))


def restamped(data: bytes, base: bytes, target: TargetProgram) -> bytes:
    """The target with its own time stamp wherever the compressor had put that of the base."""
    old = PeImage(base).time_stamp
    if old in {0, target.time_stamp}:
        return data
    image = PeImage(data)
    for offset in _stamps(image):
        if image.has(offset, 4) and image.u32(offset) == old:
            image.put32(offset, target.time_stamp)
    return bytes(image.data)


def _stamps(image: PeImage) -> Iterator[int]:
    yield image.header + 8
    address, _size = image.directory(EXPORTS)
    offset = image.offset(address) if address else None
    if offset is not None:
        yield offset + 4
    address, size = image.directory(DEBUG)
    offset = image.offset(address) if address else None
    if offset is not None:
        yield from range(offset + 4, min(offset + size, len(image.data)), _DEBUG_ENTRY_BYTES)
