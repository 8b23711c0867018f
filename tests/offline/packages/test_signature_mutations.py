"""Thousands of changed catalogs and signatures: each is refused, or says the same as before."""

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from offline.packages.made import signed_catalog
from offline.packages.madesignatures import World, bare_cabinet, world
from offline.packages.mutatedsignatures import changed_catalog, changed_signature
from wimsmith.errors import DamagedCatalog, Untrusted
from wimsmith.offline.packages.trust.catalog import parse_catalog
from wimsmith.offline.packages.trust.following import TrustPolicy, verify_catalog, verify_file
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.packages.trust.signedmessage import parse_signed_message
from wimsmith.practice.root import PracticeRoot

COUNT = 5000
FEW = 150


@pytest.fixture(scope="module")
def here() -> World:
    return world(years=(2014, 2090))


def policy_of(here: World, root: PracticeRoot) -> TrustPolicy:
    return TrustPolicy(Anchors(), operator=Anchors((here.root.certificate, root.certificate)))


def is_message(data: bytes) -> bool:
    """Whether bytes get past the first check: they can be taken apart."""
    try:
        parse_signed_message(data)
    except DamagedCatalog:
        return False
    return True


def shown(outcomes: Counter[str], passed: int, count: int) -> None:
    lines = [f"{number:6} {text}" for text, number in outcomes.most_common()]
    lines.append(f"{passed} of {count} got past the first check")
    sys.stdout.write("\n".join(["", *lines, ""]))
    assert passed * 2 >= count


def named(error: Exception) -> str:
    reason = getattr(error, "reason", "")
    return f"{type(error).__name__} {reason} {' '.join(str(error.args[-1]).split()[:4])}"


def try_catalogs(seeds: list[bytes], here: World, root: PracticeRoot, count: int) -> None:
    policy, chance = policy_of(here, root), random.Random(11)
    outcomes: Counter[str] = Counter()
    passed = 0
    for _number in range(count):
        data = changed_catalog(chance.choice(seeds), here, chance)
        passed += is_message(data)
        try:
            verify_catalog(parse_catalog(data), policy)
        except (DamagedCatalog, Untrusted) as error:
            outcomes[named(error)] += 1
        else:
            outcomes["holds"] += 1
    shown(outcomes, passed, count)
    assert len(outcomes) >= 8


def try_signatures(file: Path, here: World, root: PracticeRoot, count: int) -> None:
    policy, chance = policy_of(here, root), random.Random(12)
    cabinet = bare_cabinet()
    outcomes: Counter[str] = Counter()
    passed = 0
    for _number in range(count):
        data = changed_signature(here, cabinet, chance)
        passed += is_message(data[len(cabinet) :])
        file.write_bytes(data)
        try:
            found = verify_file(file, policy)
        except Untrusted as error:
            outcomes[named(error)] += 1
            continue
        outcomes["holds"] += 1
        assert found[0].facts.chain[0].subject == "CN=Signer,O=Made"
    shown(outcomes, passed, count)
    assert len(outcomes) >= 8


def made_seeds(root: PracticeRoot) -> list[bytes]:
    members = [b"one", b"two", b"three"]
    return [signed_catalog(root, members), signed_catalog(root, members, sha256=False)]


def test_some_changed_catalogs(here: World, root: PracticeRoot) -> None:
    try_catalogs(made_seeds(root), here, root, FEW)


def test_some_changed_signatures(here: World, root: PracticeRoot, tmp_path: Path) -> None:
    try_signatures(tmp_path / "x.cab", here, root, FEW)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_changed_catalogs(here: World, root: PracticeRoot) -> None:
    try_catalogs(made_seeds(root), here, root, COUNT)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_changed_signatures(here: World, root: PracticeRoot, tmp_path: Path) -> None:
    try_signatures(tmp_path / "x.cab", here, root, COUNT)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_changed_real_catalogs(real: Path, here: World, root: PracticeRoot) -> None:
    seeds = [path.read_bytes() for path in sorted((real / "driver").rglob("*.cat"))]
    try_catalogs(seeds, here, root, COUNT)
