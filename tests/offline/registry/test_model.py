"""Random edits on real hives: three other programs read in full what a plain model says."""

import random
import time
from pathlib import Path

import pytest

from offline.registry import model, readers
from offline.registry.generated import large_hive
from wimsmith.offline.registry import Hive

REAL = ("minimal", "NTUSER-WIN7.DAT", "BigDataHive", "ManySubkeysHive")
SEQUENCES = 500
EDITS = 12
FRESH_START_EVERY = 50
NOW = 0x01DB_0000_0000_0000


def judge(data: bytes, root: model.ModelKey, folder: Path) -> None:
    """Compare a hive file with the model, through three readers and our own checks."""
    expected = model.as_dump(root)
    assert readers.hivex_differs(data, expected, folder) == {}
    assert readers.libregf_differs(data, expected) == {}
    assert readers.python_registry_differs(data, expected) == {}
    assert readers.details_by_libregf(data) == model.as_details(root)
    hive = Hive.parse(data)
    assert hive.check() == 0, "no space is lost"
    model.check_security(hive, root)


def start(data: bytes, chance: random.Random, folder: Path) -> model.Player:
    dump = readers.by_hivex(data, folder)
    root = model.new_model(dump, readers.details_by_libregf(data))
    return model.Player(Hive.parse(data), root, chance)


def play(
    data: bytes, folder: Path, *, sequences: int, judged_every: int, reopened_every: int = 1
) -> None:
    """Edit a hive in random sequences; from time to time begin anew with the original."""
    chance = random.Random(sequences)
    player = start(data, chance, folder)
    for number in range(1, sequences + 1):
        player.play(chance.randint(1, EDITS))
        written = player.write(NOW + number)
        if number % judged_every == 0 or number == sequences:
            judge(written, player.root, folder)
        if number % reopened_every == 0:
            player.reopen(written)
        if number % FRESH_START_EVERY == 0:
            assert len(written) < len(data) + 4_000_000, "space is used again"
            player = start(data, chance, folder)


@pytest.mark.parametrize("name", REAL)
def test_edits_of_a_real_hive(real: Path, name: str, tmp_path: Path) -> None:
    data = (real / "hive" / name).read_bytes()
    play(data, tmp_path, sequences=10, judged_every=5 if len(data) > 500_000 else 1)


def test_edits_of_a_hive_of_ours(tmp_path: Path) -> None:
    for minor in (3, 5, 6):
        data = Hive.new(version_minor=minor).serialize(NOW)
        play(data, tmp_path, sequences=10, judged_every=2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", REAL)
def test_five_hundred_sequences_on_a_real_hive(real: Path, name: str, tmp_path: Path) -> None:
    data = (real / "hive" / name).read_bytes()
    play(data, tmp_path, sequences=SEQUENCES, judged_every=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_five_hundred_sequences_on_a_large_hive(tmp_path: Path) -> None:
    data = large_hive()
    assert 11_000_000 < len(data) < 14_000_000
    play(data, tmp_path, sequences=SEQUENCES, judged_every=50, reopened_every=10)


@pytest.mark.slow
def test_a_large_hive_is_read_whole_by_others(tmp_path: Path) -> None:
    data = large_hive()
    started = time.process_time()
    expected = readers.ours(data)
    assert time.process_time() - started < 30, "measured 0.6 s"
    assert readers.hivex_differs(data, expected, tmp_path) == {}
