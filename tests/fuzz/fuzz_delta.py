"""Mutates deltas with knowledge of their format, and reports what is not an error of ours.

    PYTHONPATH=tests python -m fuzz.fuzz_delta SECONDS [BASE DELTA]

With Atheris installed, coverage guides the search; without files, seeds are made.
"""

import random
import struct
import sys
from pathlib import Path

from fuzz.guided import run
from fuzz.mutation import feed, mutate
from offline.packages.made import Copy
from offline.packages.madepa19 import Source, compressed, patch, stored, with_checksum
from offline.packages.mutateddelta import made_seeds, mutated, mutated_program
from wimsmith.errors import WimsmithError
from wimsmith.offline.packages.deltas.dcm import expand_dcm
from wimsmith.offline.packages.deltas.delta import apply_delta, stated_bytes

_MAX_TARGET_BYTES = 1 << 20
_BASE = made_seeds()[0][0]


def test_one_input(data: bytes) -> None:
    """Feed a base and a delta, as `joined` puts them, to the decoder."""
    try_against(*parted(data))


def joined(base: bytes, delta: bytes) -> bytes:
    """One input for both."""
    return struct.pack("<I", len(base)) + base + delta


def parted(data: bytes) -> tuple[bytes, bytes]:
    """Base and delta of one input, whatever it is."""
    end = 4 + int.from_bytes(data[:4], "little")
    return data[4:end], data[end:]


def try_against(base: bytes, data: bytes) -> None:
    """Expand; anything but an error of ours is a finding."""

    def expand(delta: bytes) -> None:
        apply_delta(base, delta, max_bytes=_MAX_TARGET_BYTES, proved_elsewhere=True)

    def expand_manifest(delta: bytes) -> None:
        expand_dcm(b"DCM\x01" + delta, base)

    def expand_old(patch: bytes) -> None:
        expand(with_checksum(b"PA19" + patch[4:]))

    if _target_bytes(data) <= _MAX_TARGET_BYTES:
        feed((expand, expand_manifest, expand_old), data)


def _target_bytes(data: bytes) -> int:
    try:
        return stated_bytes(data)
    except WimsmithError:
        return 0


def invent(data: bytes, chance: random.Random) -> bytes:
    """Change both sides as one who knows the formats would."""
    base, delta = parted(data)
    if delta.startswith(b"PA19"):
        return joined(base, mutate(delta, chance))
    return joined(mutated_program(base, chance), mutated(delta, chance))


def seeds() -> list[bytes]:
    """Deltas of both kinds that expand."""
    script: list[bytes | Copy] = [b"new ", Copy(600, distance=70), Copy(9, slot=1), b"text"]
    streams = (compressed(script), compressed(script, aligned=True), stored(bytes(617)))
    old = [joined(_BASE, patch(bytes(617), Source(_BASE, stream))) for stream in streams]
    return old + [joined(base, delta) for base, delta in made_seeds()]


if __name__ == "__main__":
    given = [Path(name).read_bytes() for name in sys.argv[2:4]]
    inputs = [joined(*given)] if len(given) == 2 else seeds()
    run(float(sys.argv[1]), inputs, test_one_input, invent=invent)
