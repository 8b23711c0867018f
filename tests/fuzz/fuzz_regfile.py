"""Mutates `.reg` files and reports what is not an error of ours.

    PYTHONPATH=tests python -m fuzz.fuzz_regfile SECONDS FILE...

With Atheris installed, coverage guides the search.
"""

import sys
from pathlib import Path

from fuzz.guided import run
from fuzz.mutation import feed
from wimsmith.offline.changes import RegistryEdit
from wimsmith.offline.hivefile import apply_edits
from wimsmith.offline.registry.diff import diff_hives
from wimsmith.offline.registry.hive import Hive
from wimsmith.offline.registry.regexport import export_reg
from wimsmith.offline.registry.regfile import RegVersion, parse_reg
from wimsmith.offline.registry.roots import RegistryRoots, registry_edits

_ROOTS = RegistryRoots(
    "ControlSet001", dict.fromkeys(("HKLM", "HKCR", "HKCU", "HKU", "HKCC", "P"), "X")
)


def test_one_input(data: bytes) -> None:
    """Feed bytes to the reader; anything but an error of ours is a finding."""
    feed((_around, _older), data)


def _edits(data: bytes) -> tuple[RegistryEdit, ...]:
    return registry_edits(parse_reg(data).edits, _ROOTS)


def _around(data: bytes) -> None:
    """What can be read and written can be read again, and is the same."""
    hive, again = Hive.new(), Hive.new()
    apply_edits(hive, _edits(data))
    apply_edits(again, _edits(b"".join(export_reg(hive, "P"))))
    assert list(diff_hives(hive, again)) == []


def _older(data: bytes) -> None:
    hive = Hive.new()
    apply_edits(hive, _edits(data))
    parse_reg(b"".join(export_reg(hive, "P", version=RegVersion.V4)))


if __name__ == "__main__":
    run(float(sys.argv[1]), [Path(name).read_bytes() for name in sys.argv[2:]], test_one_input)
