"""Thousands of changed deltas: each ends in bytes or in one of our errors, in both forms alike."""

import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from offline.packages.interpreted import interpreted
from offline.packages.mutateddelta import made_seeds, mutated, mutated_program
from wimsmith.errors import WimsmithError
from wimsmith.offline.packages.deltas.dcm import expand_dcm
from wimsmith.offline.packages.deltas.delta import apply_delta, read_header

COUNT = 5000
MAX_BYTES = 1 << 20
Expand = Callable[[bytes, bytes], bytes]


def outcome(expand: Expand, base: bytes, made: bytes) -> bytes | str:
    try:
        return expand(base, made)
    except WimsmithError as error:
        reason = error.reason if hasattr(error, "reason") else str(error.args[0])
        return f"{type(error).__name__}: {' '.join(str(reason).split()[:4])}"


def apply_unproved(base: bytes, made: bytes) -> bytes:
    return apply_delta(base, made, max_bytes=MAX_BYTES, proved_elsewhere=True)


def apply_in_python(base: bytes, made: bytes) -> bytes:
    applied: bytes = interpreted()["delta"].apply_delta(
        base, made, max_bytes=MAX_BYTES, proved_elsewhere=True
    )
    return applied


def passed_header(made: bytes) -> bool:
    """Whether a delta is taken apart and is of a kind that is expanded."""
    try:
        header = read_header(made)
    except WimsmithError:
        return False
    return header.file_type in {1, 2, 8, 0x10, 0x20} and header.file_type_set & 0x100 == 0


def try_all(seeds: Sequence[tuple[bytes, bytes]], count: int, chance: random.Random) -> None:
    """Try `count` changed seeds in both forms; print what became of them."""
    outcomes: Counter[str] = Counter()
    passed = 0
    for _number in range(count):
        base, good = chance.choice(seeds)
        made, base = mutated(good, chance), mutated_program(base, chance)
        result = outcome(apply_unproved, base, made)
        again = outcome(apply_in_python, base, made)
        if isinstance(result, bytes):
            assert result == again
            outcomes["expanded"] += 1
        else:
            assert result.partition(":")[0] == str(again).partition(":")[0]
            outcomes[result] += 1
        passed += passed_header(made)
    outcomes_are_shown(outcomes, f"{passed} of {count} passed the header")
    assert passed * 2 >= count
    assert len(outcomes) >= 8


def outcomes_are_shown(outcomes: Counter[str], more: str) -> None:
    lines = [f"{number:6} {text}" for text, number in outcomes.most_common()]
    sys.stdout.write("\n".join(["", *lines, more, ""]))


def test_some_changed_deltas() -> None:
    try_all(made_seeds(), 120, random.Random(7))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_changed_deltas() -> None:
    try_all(made_seeds(), COUNT, random.Random(8))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_changed_real_deltas(real: Path) -> None:
    seeds = [
        ((folder / "base.bin").read_bytes(), (folder / "delta.pa30").read_bytes())
        for folder in sorted((real / "pa30" / "pe").iterdir())
    ]
    try_all(seeds, COUNT, random.Random(9))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_changed_real_manifests(real: Path, base_manifest: bytes) -> None:
    small = [one for one in (real / "dcm").glob("*.manifest") if one.stat().st_size < 20_000]
    seeds = [one.read_bytes()[4:] for one in sorted(small)]
    chance = random.Random(10)
    outcomes: Counter[str] = Counter()
    passed = 0
    for _number in range(COUNT):
        made = mutated(chance.choice(seeds), chance)
        result = outcome(lambda base, one: expand_dcm(b"DCM\x01" + one, base), base_manifest, made)
        outcomes["expanded" if isinstance(result, bytes) else result] += 1
        passed += passed_header(made)
    outcomes_are_shown(outcomes, f"{passed} of {COUNT} passed the header")
    assert passed * 2 >= COUNT
