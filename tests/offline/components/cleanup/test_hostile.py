"""Stores with spoilt values: a decision or one of our errors, and nothing that was in use goes."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from offline.components.cleanup.story import CBS, NOW, clean
from wimsmith.errors import DamagedInput, LimitExceeded
from wimsmith.offline.changes import ChangeSet, SetValue
from wimsmith.offline.components.cleanup.closure import gaps
from wimsmith.offline.components.cleanup.facts import read_facts
from wimsmith.offline.components.cleanup.knowledge import package_knowledge
from wimsmith.offline.components.cleanup.rules import decide
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import WINNERS, Store
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec

AREAS = (
    ("COMPONENTS", r"DerivedData\Components"),
    ("COMPONENTS", r"CanonicalData\Deployments"),
    ("COMPONENTS", r"CanonicalData\Catalogs"),
    ("SOFTWARE", rf"{CBS}\Packages"),
    ("SOFTWARE", rf"{CBS}\PackageIndex"),
    ("SOFTWARE", WINNERS),
)
NAMES = ("identity", "CF", "f!..\\..\\x", "c!../..", "p!x", "i!", "CurrentState", "Baseline", "")


@pytest.fixture
def wim(story: Any, codec: WorkerCodec) -> Iterator[Wim]:
    with open_wim(story(), codec) as wim:
        yield wim


@pytest.mark.parametrize(
    "seed", [*range(20), *(pytest.param(one, marks=pytest.mark.slow) for one in range(20, 300))]
)
def test_spoilt_values_end_in_a_decision_or_in_our_errors(
    wim: Wim, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    changes = ChangeSet(registry=tuple(spoilt(dice, open_view(wim, 1))))
    try:
        view = open_view(wim, 1, [changes])
        store = Store(Draft(view, tmp_path, NOW))
        facts = read_facts(store)
        list(gaps(store, facts))
        decision = decide(facts, package_knowledge(store, facts), reset_base=dice.random() < 0.5)
    except (DamagedInput, LimitExceeded):
        return
    assert decision.packages.keys() == facts.packages.keys()
    assert decision.components.keys() == facts.components.keys()
    outcome = clean(view, tmp_path / "spool", reset_base=True)
    assert outcome.changes is not None or outcome.findings
    assert not (tmp_path / "spool").exists()


def spoilt(dice: random.Random, view: ImageView) -> Iterator[SetValue]:
    """Values of random keys, with other bytes, other types and other names."""
    for _ in range(dice.randint(1, 6)):
        hive, area = dice.choice(AREAS)
        top = view.hive(hive).key(area)
        assert top
        keys = [one.path for one in top.subkeys()]
        keys += [below.path for one in list(top.subkeys())[:40] for below in one.subkeys()]
        key = dice.choice(keys)
        found = view.hive(hive).key(key)
        values = list(found.values()) if found else []
        if values and dice.random() < 0.7:
            old = dice.choice(values)
            data = bytearray(old.data or b"\0")
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            cut = dice.choice([len(data), dice.randrange(len(data) + 1)])
            yield SetValue(hive, key, old.name, dice.choice([old.type, 3, 1, 4]), bytes(data[:cut]))
        else:
            data = bytearray(dice.randbytes(dice.randrange(40)))
            kind = dice.choice([1, 3, 4, 7])
            yield SetValue(hive, key, dice.choice(NAMES), kind, bytes(data))
