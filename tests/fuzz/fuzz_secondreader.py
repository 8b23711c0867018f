"""Feeds changed hives to the second reader, and compares what it accepts with the first.

    PYTHONPATH=tests python -m fuzz.fuzz_secondreader SECONDS [FILE...]

Anything but its one error is a finding, and so is a hive that two readers read differently.
"""

import random
import sys
from pathlib import Path

from fuzz import guided
from offline.registry.mutators import mutate_hive, resummed, seed_hives
from wimsmith.errors import DamagedHive
from wimsmith.offline.hiveproof import compare, read_hive
from wimsmith.offline.registry.hive import Hive


def test_one_input(data: bytes) -> None:
    """Read a hive to its end; what is accepted must read alike by the other reader."""
    try:
        size_bytes = sum(sum(len(one.data) for one in key.values) for key in read_hive(data))
    except DamagedHive:
        return
    assert size_bytes <= len(data)
    compare(data, Hive.parse(data).walk())


def _repair(data: bytes, chance: random.Random) -> bytes:
    return resummed(bytearray(data), chance)


def _invent(data: bytes, chance: random.Random) -> bytes:
    return mutate_hive(data, chance)


if __name__ == "__main__":
    files = [Path(name).read_bytes() for name in sys.argv[2:]]
    guided.run(
        float(sys.argv[1]),
        [*seed_hives(), *files],
        test_one_input,
        invent=_invent,
        repair=_repair,
    )
