"""Deltas changed by someone who knows the format: one part is broken, the rest is repaired."""

import random
from collections.abc import Callable
from dataclasses import replace

from offline.packages.made import Copy, delta, patch_stream
from offline.packages.madeprogram import (
    Program,
    amd64_parts,
    difference,
    with_relocations,
    x86_parts,
)
from wimsmith.offline.packages.deltas.delta import DeltaHeader, read_header

_NUMBERS = (
    0,
    1,
    2,
    3,
    0xFF,
    0x100,
    0xFFFF,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    (1 << 64) - 1,
)

Seed = tuple[bytes, bytes]
"""A base and a delta against it."""

Change = Callable[[DeltaHeader, random.Random], DeltaHeader]


def made_seeds() -> list[Seed]:
    """A plain delta, and programs of both kinds in two layouts."""
    seeds = []
    gaps = {"second": 16, "values": 32}
    for wide, parts, flags in ((False, x86_parts, 0x2E1FE), (True, amd64_parts, 0x2E63E)):
        old = with_relocations(Program(wide, parts(), 0x1000_0000, 1))
        new = with_relocations(Program(wide, parts(), 0x1000_0000, 2, gaps, spread=1))
        seeds.append((old.build(), difference(old, new, flags=flags)))
    text = b"the same words again and again; " * 20
    operations: list[bytes | Copy] = [
        text[:99],
        Copy(300, distance=32),
        Copy(40, slot=3),
        Copy(90, distance=500),
    ]
    return [*seeds, (text, delta(patch_stream(operations), b"", size=529))]


def mutated(good: bytes, chance: random.Random) -> bytes:
    """A changed delta whose lengths are right, and which states no hash that could be wrong."""
    header = read_header(good)
    for _change in range(chance.choice((1, 1, 1, 2, 3))):
        header = chance.choice(_CHANGES)(header, chance)
    if chance.randrange(12) == 0:
        return _container(header, bytes(20))
    return _container(header, b"")


def _container(header: DeltaHeader, digest: bytes) -> bytes:
    return delta(
        header.patch,
        b"",
        file_type=header.file_type,
        flags=header.flags,
        type_set=header.file_type_set,
        size=header.target_size_bytes,
        algorithm=header.hash_algorithm,
        digest=digest,
        preprocess=header.preprocess,
    )


def _patch(header: DeltaHeader, chance: random.Random) -> DeltaHeader:
    return replace(header, patch=_flipped(header.patch, chance))


def _start_of_patch(header: DeltaHeader, chance: random.Random) -> DeltaHeader:
    """Tables stand at the start."""
    size = min(len(header.patch), 40)
    start = _flipped(header.patch[:size], chance)
    return replace(header, patch=start + header.patch[size:])


def _preprocess(header: DeltaHeader, chance: random.Random) -> DeltaHeader:
    return replace(header, preprocess=_flipped(header.preprocess, chance))


def _size(header: DeltaHeader, chance: random.Random) -> DeltaHeader:
    near = header.target_size_bytes + chance.randint(-3, 3)
    size = near if chance.randrange(3) else chance.choice(_NUMBERS)
    return replace(header, target_size_bytes=max(size, 0))


def _flags(header: DeltaHeader, chance: random.Random) -> DeltaHeader:
    return replace(header, flags=header.flags ^ 1 << chance.randrange(24))


def _kind(header: DeltaHeader, chance: random.Random) -> DeltaHeader:
    if chance.randrange(4):
        return replace(header, file_type=chance.choice((1, 2, 8, 0x10, 0x20)))
    return replace(
        header,
        file_type_set=chance.choice((header.file_type_set, 0x101)),
        file_type=chance.choice((0, 4, 0x40, 0x80, 0x100, 3)),
    )


def _cut(header: DeltaHeader, chance: random.Random) -> DeltaHeader:
    return replace(header, patch=header.patch[: chance.randrange(len(header.patch) + 1)])


def _flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _flip in range(chance.randint(1, 4) if changed else 0):
        at = chance.randrange(len(changed))
        if chance.randrange(2):
            changed[at] ^= 1 << chance.randrange(8)
        else:
            changed[at] = chance.choice((0, 0xFF, chance.randrange(256)))
    return bytes(changed)


_CHANGES: tuple[Change, ...] = (
    *(_patch,) * 5,
    *(_start_of_patch,) * 4,
    *(_preprocess,) * 5,
    _size,
    _flags,
    _kind,
    _cut,
)


def mutated_program(base: bytes, chance: random.Random) -> bytes:
    """A base program with a few fields of its headers or tables changed, half of the time."""
    changed = bytearray(base)
    for _change in range(chance.choice((0, 1, 1, 3)) if base else 0):
        limit = chance.choice((0x400, len(changed)))
        at = chance.randrange(0, min(limit, len(changed)) - 3)
        value = chance.choice((*_NUMBERS, chance.getrandbits(32), chance.randrange(len(changed))))
        changed[at : at + 4] = (value & 0xFFFF_FFFF).to_bytes(4, "little")
    return bytes(changed)
