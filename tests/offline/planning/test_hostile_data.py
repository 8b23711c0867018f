"""Kept facts in which something is of another kind: they cannot be read, or can be planned with."""

import json
import random
import zlib

import pytest

from fuzz.fuzz_plan import invent, planned, seeds
from wimsmith.errors import UnreadableFacts, WimsmithError
from wimsmith.offline.planning.description import UpdateDescription
from wimsmith.offline.planning.snapshot import Snapshot, unpack


@pytest.mark.parametrize("rounds", [1_500, pytest.param(100_000, marks=pytest.mark.slow)])
def test_data_that_can_be_read_can_be_planned_with(rounds: int) -> None:
    chance, told = random.Random(rounds), 0
    (seed,) = seeds()
    for _ in range(rounds):
        try:
            planned(invent(seed, chance))
        except WimsmithError:
            told += 1
    assert rounds / 20 < told < rounds, "some can be read, and some cannot"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("packages", {"a~b~c~~1.0.0.0": "112"}),
        ("updates", {"a~b~c~~1.0.0.0": {"one": True}}),
        ("families", {"0123456789abcdef": 1}),
        ("stack", 1),
        ("image", {"major": "10"}),
        ("obstacles", [["not-supported", "code", 1]]),
    ],
)
def test_a_snapshot_with_another_kind_of_value_cannot_be_read(name: str, value: object) -> None:
    data = json.loads(seeds()[0])[0]
    assert Snapshot.from_data(data).packages
    with pytest.raises(UnreadableFacts):
        Snapshot.from_data(data | {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("article", 1), ("whole", "yes"), ("installs", {"x": "abcdefgh"}), ("findings", [1])],
)
def test_a_description_with_another_kind_of_value_cannot_be_read(name: str, value: object) -> None:
    data = json.loads(seeds()[0])[1]
    assert UpdateDescription.from_data(data).packages
    with pytest.raises(UnreadableFacts):
        UpdateDescription.from_data(data | {name: value})


def test_packed_data_nested_without_end_cannot_be_read() -> None:

    with pytest.raises(UnreadableFacts):
        unpack(zlib.compress(b"[" * 100_000))
