"""Whatever a store holds: clean-up leaves it whole, and what is in use as it was."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.components.cleanup.story import NEW, NOW, OLD, clean, side_by_side, update
from offline.components.cleanup.test_generations import differences, judged
from offline.components.cleanup.test_rules import NOTHING, STAGED, Written
from oracle.cleanup import expected_cleanup, read_permanent
from oracle.observe import observe
from wimsmith.offline.commit import commit
from wimsmith.offline.components.cleanup.facts import StoreFacts
from wimsmith.offline.components.cleanup.report import Fate
from wimsmith.offline.components.cleanup.rules import Decision, decide
from wimsmith.offline.image import open_view
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.practice.image import build_image
from wimsmith.practice.maker import Maker
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import (
    FLAGS_A,
    FLAGS_B,
    ComponentSpec,
    Generation,
    ImageSpec,
    PackageSpec,
)

_OFTEN, _SELDOM = 0.7, 0.2
_PACKAGES = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.integers(1, 4),
        st.sampled_from([OLD, OLD, NEW, STAGED]),
        st.lists(st.tuples(st.sampled_from("vwxyz"), st.integers(1, 4)), max_size=4, unique=True),
        st.booleans(),
        st.integers(-1, 6),
    ),
    max_size=8,
    unique_by=lambda one: one[:2],
)


def store_of(packages: list[Any], odd: int) -> StoreFacts:
    """A store with these packages; some are owned by others, some components are odd."""
    written = Written()
    names = [
        written.package(name, step, state, *parts, staged=staged or state == STAGED)
        for name, step, state, parts, staged, _ in packages
    ]
    for name, (*_, owner) in zip(names, packages, strict=True):
        if 0 <= owner < len(names) and names[owner] != name:
            written.own(name, names[owner])
    for number, key in enumerate(sorted(written.components)):
        one = written.components[key]
        if number % 7 == odd and not one.is_deployment and one.identity:
            written.change(key, identity=replace(one.identity, type="win32"))
    return written.facts()


@given(_PACKAGES, st.integers(0, 9), st.booleans())
def test_a_store_stays_whole(packages: list[Any], odd: int, reset_base: bool) -> None:
    facts = store_of(packages, odd)
    decision = decide(facts, NOTHING, reset_base=reset_base)
    gone = set(decision.deployments_with(Fate.REMOVED))
    left = set(facts.packages) - set(decision.packages_with(Fate.REMOVED))
    for name, one in facts.components.items():
        if decision.components[name].fate is Fate.REMOVED:
            assert not one.deployments - gone, "no deployment that stays loses a component"
            assert not one.wins or one.is_deployment
        else:
            assert one.deployments - gone, "every component that stays has a deployment"
        assert not (one.wins and decision.components[name].fate is Fate.EMPTIED)
    for name, deployment in facts.deployments.items():
        assert bool(deployment.users & left) == (name not in gone)
    for name, package in facts.packages.items():
        owners = package.owners & facts.packages.keys()
        if name in left:
            assert not owners or owners & left, "what stays has an owner, if it had one"
        else:
            assert package.state == OLD or owners, "only superseded packages go, and parts of them"
            assert not owners & left


@given(_PACKAGES, st.integers(0, 9), st.booleans())
def test_a_second_decision_finds_nothing(packages: list[Any], odd: int, reset_base: bool) -> None:
    facts = store_of(packages, odd)
    after = carried_out(facts, decide(facts, NOTHING, reset_base=reset_base))
    again = decide(after, NOTHING, reset_base=reset_base)
    fates = [
        one.fate
        for part in (again.packages, again.deployments, again.components)
        for one in part.values()
    ]
    assert set(fates) <= {Fate.KEPT}


@given(_PACKAGES, st.integers(0, 9))
def test_without_a_reset_every_update_left_can_still_be_removed(
    packages: list[Any], odd: int
) -> None:
    facts = store_of(packages, odd)
    decision = decide(facts, NOTHING, reset_base=False)
    assert decision.components_with(Fate.EMPTIED) == []


def carried_out(facts: StoreFacts, decision: Decision) -> StoreFacts:
    gone = set(decision.packages_with(Fate.REMOVED))
    deployments = {
        name: replace(one, users=one.users - gone, installers=one.installers - gone)
        for name, one in facts.deployments.items()
        if decision.deployments[name].fate is not Fate.REMOVED
    }
    return StoreFacts(
        packages={
            name: replace(one, owners=one.owners - gone)
            for name, one in facts.packages.items()
            if name not in gone
        },
        deployments=deployments,
        components={
            name: replace(
                one,
                deployments=one.deployments & deployments.keys(),
                has_payload=one.has_payload and decision.components[name].fate is Fate.KEPT,
            )
            for name, one in facts.components.items()
            if decision.components[name].fate is not Fate.REMOVED
        },
    )


@pytest.mark.parametrize(
    "seed",
    [*range(3), *(pytest.param(number, marks=pytest.mark.slow) for number in range(3, 25))],
)
def test_random_images_end_as_the_oracle_says(
    tmp_path: Path, codec: WorkerCodec, practice_signer: PracticeRoot, seed: int
) -> None:
    dice = random.Random(seed)
    spec = ImageSpec(
        generation=dice.choice(list(Generation)[:2]),
        flags=dice.choice([FLAGS_A, FLAGS_B]),
        size_bytes=1 << 19,
        components=2,
    )
    spec = replace(spec, extra_packages=_random_packages(dice, Maker(spec.generation)))
    base, target = tmp_path / "base.wim", tmp_path / "cleaned.wim"
    build_image(spec, base, root=practice_signer, codec=codec)
    reset_base = dice.random() < 0.5
    before = observe(base, 1)
    want = expected_cleanup(before, read_permanent(base, 1), reset_base=reset_base)
    with open_wim(base, codec) as wim:
        outcome = clean(open_view(wim, 1), tmp_path, reset_base=reset_base)
        assert outcome.report, outcome.findings
        assert outcome.changes
        assert judged(outcome.report) == want
        commit(wim, {1: [outcome.changes]}, target, codec=codec, modified=NOW)
    assert differences(before, observe(target, 1), want) == []


def _random_packages(dice: random.Random, maker: Maker) -> tuple[PackageSpec, ...]:
    """Updates in up to three versions, the last installed, that share what they hold at random.

    Images are made in rising order of versions, so that the highest wins.
    """
    replaced = dice.choice(["", "KB7100001", "KB7100002"])  # by a package of another name
    counts = {article: dice.randint(1, 3) for article in ("KB7100001", "KB7100002", "KB7100003")}
    made: list[PackageSpec] = []
    latest: dict[str, ComponentSpec] = {}
    for step in (1, 2, 3):
        for article in (one for one, count in counts.items() if step <= count):
            parts = {}
            for name in dice.sample(("One", "Two", "Three", "Side"), dice.randint(1, 3)):
                if name not in latest or dice.random() < _OFTEN:
                    kind = side_by_side if name == "Side" else Maker.component
                    latest[name] = kind(maker, f"Practice-{name}", 300 + len(made))
                parts[name] = latest[name]
            permanence = "permanent" if dice.random() < _SELDOM else None
            state = NEW if step == counts[article] and article != replaced else OLD
            package = update(maker, article, step, state, *parts.values(), permanence=permanence)
            if made and dice.random() < _SELDOM:
                shared = replace(package.updates[0], deployment=made[-1].updates[0].deployment)
                package = replace(package, updates=(shared,))
            made.append(package)
    return tuple(made)
