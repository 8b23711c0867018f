"""Thousands of changed containers: each is read, or refused with one of our errors."""

import random
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from offline.packages.made import mum
from offline.packages.madewim import write_members
from offline.packages.mutatedcontainers import (
    mutated_cabinet,
    mutated_index,
    mutated_members,
    mutated_set,
)
from wimsmith.errors import WimsmithError
from wimsmith.offline.packages.containers.cabinet import CabinetFile, expand_cabinet
from wimsmith.offline.packages.containers.cablisting import list_cabinet
from wimsmith.offline.packages.containers.containerindex import parse_container_index
from wimsmith.offline.packages.containers.kinds import Obstacle
from wimsmith.offline.packages.containers.msu import describe, payload_cabinets, set_obstacle
from wimsmith.offline.packages.containers.unwrapping import unwrap_all
from wimsmith.offline.packages.limits import PackageLimits
from wimsmith.offline.packages.planning import planned_facts
from wimsmith.practice.cabinet import build_cabinet

COUNT = 5000
WIM = Obstacle("container-wim", "an update in a WIM container")
TOP = mum("Made-Package")
ONE, TWO = build_cabinet({"update.mum": mum("one")}), build_cabinet({"update.mum": mum("two")})
HEADER_ERRORS = ("it does not start", "one part of a set", "it should have", "an empty cabinet")
XML_ERRORS = ("container index: ", "not a container index", "type of container")
LIMITS = PackageLimits(total_bytes=64 << 20, wall_s=60, cpu_s=20)


def outcome(read: Callable[[], object]) -> str:
    """What became of an input: the kind of error and how its sentence begins."""
    try:
        read()
    except WimsmithError as error:
        sentence = str(error.args[-1] if error.args else "")
        return f"{type(error).__name__}: {sentence}"
    return "read"


def show(outcomes: Counter[str], passed: int, count: int) -> None:
    """Print what became of all inputs; at least half of them passed the first check."""
    short: Counter[str] = Counter()
    for text, number in outcomes.items():
        kind, _, sentence = text.partition(": ")
        words = [word for word in sentence.split() if word.isascii() and word.isalpha()]
        short[f"{kind} {' '.join(words[:5])}"] += number
    lines = [f"{number:6} {text}" for text, number in short.most_common(40)]
    sys.stdout.write("\n".join(["", *lines, f"{passed} of {count} passed the first check", ""]))
    assert passed * 2 >= count
    assert len(short) >= 5


def try_cabinets(count: int, folder: Path, chance: random.Random) -> None:
    path = folder / "made.cab"
    outcomes: Counter[str] = Counter()
    passed = 0
    for _number in range(count):
        path.write_bytes(mutated_cabinet(chance))
        text = outcome(partial(list_cabinet, path))
        outcomes[text] += 1
        passed += not text.removeprefix("DamagedPackage: ").startswith(HEADER_ERRORS)
    show(outcomes, passed, count)
    assert [one.name for one in folder.iterdir()] == ["made.cab"]


def try_indexes(count: int, chance: random.Random) -> None:
    outcomes: Counter[str] = Counter()
    passed = 0
    for _number in range(count):
        data = mutated_index(chance, TOP).xml()
        text = outcome(partial(parse_container_index, data, limits=LIMITS))
        outcomes[text] += 1
        passed += not text.removeprefix("DamagedPackage: ").startswith(XML_ERRORS)
    show(outcomes, passed, count)


def try_sets(count: int, folder: Path, chance: random.Random) -> None:
    """Descriptions and order, without the child process that takes the cabinet apart."""
    outcomes: Counter[str] = Counter()
    passed = 0
    for _number in range(count):
        files = []
        for place, (name, data) in enumerate(mutated_set(chance, ONE, TWO).items()):
            path = folder / str(place)
            path.write_bytes(data)
            files.append(CabinetFile(name.replace("\\", "/"), path, len(data), 0, 0))
        text = outcome(partial(read_set, files))
        outcomes[text] += 1
        passed += "not XML" not in text
    show(outcomes, passed, count)


def read_set(files: list[CabinetFile]) -> None:
    if (obstacle := set_obstacle([file.name for file in files])) is not None:
        raise obstacle.as_error()
    assert payload_cabinets(files, describe(files))


def try_whole(count: int, folder: Path, chance: random.Random) -> None:
    """All of it through the child processes; nothing is written anywhere else."""
    outcomes: Counter[str] = Counter()
    passed = 0
    for number in range(count):
        path, work = folder / "made.cab", folder / f"work-{number}"
        path.write_bytes(container(number, chance))
        read = expand_cabinet if number % 3 == 0 else unwrap_all
        text = outcome(partial(read, path, work, limits=LIMITS))
        outcomes[text] += 1
        first = text.removeprefix("DamagedPackage: ")
        passed += not first.startswith((*HEADER_ERRORS, *XML_ERRORS))
    show(outcomes, passed, count)
    assert {one.name.partition("-")[0] for one in folder.iterdir()} <= {"made.cab", "work"}


def try_planning(count: int, folder: Path, chance: random.Random) -> None:
    """Metadata, indexes and stacks in WIM containers: every file is read, or named as unread."""
    outcomes: Counter[str] = Counter()
    passed = 0
    for number in range(count):
        members = mutated_members(chance, mutated_index(chance, TOP).xml())
        path = write_members(folder / "made.msu", members)
        facts = planned_facts(path, folder / f"work-{number}", WIM, limits=LIMITS)
        assert facts is not None
        assert {one.name for one in facts.members} == members.keys()
        outcomes.update(text.partition(": ")[2] for text in facts.unread)
        outcomes["read"] += not facts.unread
        passed += not any(text.startswith("made.msu: ") for text in facts.unread)
    show(outcomes, passed, count)
    assert {one.name.partition("-")[0] for one in folder.iterdir()} <= {"made.msu", "work"}


def container(number: int, chance: random.Random) -> bytes:
    """A changed cabinet, index and set, in turn."""
    if number % 3 == 0:
        return mutated_cabinet(chance)
    if number % 3 == 1:
        index = mutated_index(chance, TOP)
        for entry in index.entries:
            entry.member = entry.member if entry.member is None else entry.member[:200]
        return index.cabinet()
    return build_cabinet(mutated_set(chance, ONE, TWO))


def test_some_changed_cabinets(tmp_path: Path) -> None:
    try_cabinets(200, tmp_path, random.Random(1))


def test_some_changed_indexes() -> None:
    try_indexes(400, random.Random(2))


def test_some_changed_sets(tmp_path: Path) -> None:
    try_sets(200, tmp_path, random.Random(3))


def test_some_changed_containers_as_a_whole(tmp_path: Path) -> None:
    try_whole(12, tmp_path, random.Random(4))


def test_some_changed_wim_updates(tmp_path: Path) -> None:
    try_planning(6, tmp_path, random.Random(9))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_changed_wim_updates(tmp_path: Path) -> None:
    try_planning(300, tmp_path, random.Random(10))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_changed_cabinets(tmp_path: Path) -> None:
    try_cabinets(COUNT, tmp_path, random.Random(5))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_changed_indexes() -> None:
    try_indexes(COUNT, random.Random(6))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_changed_sets(tmp_path: Path) -> None:
    try_sets(COUNT, tmp_path, random.Random(7))


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_changed_containers_as_a_whole(tmp_path: Path) -> None:
    try_whole(1500, tmp_path, random.Random(8))
