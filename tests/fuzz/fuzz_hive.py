"""Mutates registry hives and their logs, and reports what is not an error of ours.

    PYTHONPATH=tests python -m fuzz.fuzz_hive SECONDS FILE...

`test_one_input` is what a coverage-guided fuzzer would call.
"""

import sys
from pathlib import Path

from fuzz.mutation import feed, run
from wimsmith.offline.registry.hive import Hive


def test_one_input(data: bytes) -> None:
    """Feed bytes to the readers; anything but an error of ours is a finding."""
    feed((_read_hive, _edit_hive, _replay), data)


def _read_hive(data: bytes) -> None:
    hive = Hive.parse(data)
    for key in hive.walk():
        for value in key.values():
            assert len(value.data) <= len(data)
    hive.check()


def _edit_hive(data: bytes) -> None:
    hive = Hive.parse(data)
    hive.set_value("Fuzz\\Key", "name", 3, bytes(20_000))
    names = [key.name for key in hive.root.subkeys()]
    hive.delete_key(names[0])
    Hive.parse(hive.serialize(1))


def _replay(data: bytes) -> None:
    half = len(data) // 2
    Hive.parse(data[:half], (data[half:],))


if __name__ == "__main__":
    run(float(sys.argv[1]), [Path(name).read_bytes() for name in sys.argv[2:]], test_one_input)
