"""Feeds changed registry hives to the engine, and reports what is not an error of ours.

    PYTHONPATH=tests python -m fuzz.fuzz_hive SECONDS [FILE...]

With Atheris installed it follows coverage. Small hives of every kind are always among the seeds.
"""

import random
import sys
from pathlib import Path

from fuzz import guided
from fuzz.mutation import feed
from offline.registry.mutators import mutate_hive, resummed, seed_hives
from wimsmith.errors import DamagedHive, WimsmithError
from wimsmith.offline.registry.hive import Hive


def test_one_input(data: bytes) -> None:
    """Feed bytes to the readers; anything but an error of ours is a finding."""
    feed((_read_hive, _edit_hive), data)


def _read_hive(data: bytes) -> None:
    hive = Hive.parse(data)
    for key in hive.walk():
        assert len(key.class_name) <= len(data)
        for value in key.values():
            assert len(value.data) <= len(data)
    hive.check()


def _edit_hive(data: bytes) -> None:
    """After edits a sound hive is as sound as before, and what has been put in is in it."""
    hive = Hive.parse(data)
    was_sound = _is_sound(hive)
    try:
        _edit(hive)
        again = Hive.parse(hive.serialize(1))
    except DamagedHive:
        assert not was_sound
        raise
    value = again.value("Fuzz\\Key", "name")
    assert value is not None
    assert len(value.data) == 20_001
    assert not was_sound or _is_sound(again)


def _edit(hive: Hive) -> None:
    hive.set_value("Fuzz\\Key", "name", 3, bytes(20_000))
    for name in [key.name for key in hive.root.subkeys()][:3]:
        renamed = hive.rename_key(name, f"{name[:200]} renamed")
        if len(name) % 2:
            hive.delete_key(renamed.path)
    hive.set_value("Fuzz\\Key", "name", 3, bytes(20_001))


def _is_sound(hive: Hive) -> bool:
    try:
        hive.check()
    except WimsmithError:
        return False
    return True


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
