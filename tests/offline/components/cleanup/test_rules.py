"""The rules of clean-up over stores that are written down, one rule at a time."""

from dataclasses import replace
from typing import Any

import pytest

from wimsmith.offline.components.cleanup.facts import (
    ComponentFacts,
    DeploymentFacts,
    PackageFacts,
    StoreFacts,
)
from wimsmith.offline.components.cleanup.report import Fate, Judgement, Reason
from wimsmith.offline.components.cleanup.rules import Decision, Knowledge, Requirement, decide
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version, parse_package_name
from wimsmith.offline.manifests.names import deployment_key, keyform, keyform_without_version

OLD, NEW, STAGED = 0x50, 0x70, 0x40
NOTHING = Knowledge({}, ())


class Written:
    """A store written down; components win by number, as real ones do."""

    def __init__(self) -> None:
        self.packages: dict[str, PackageFacts] = {}
        self.deployments: dict[str, DeploymentFacts] = {}
        self.components: dict[str, ComponentFacts] = {}

    def package(
        self, name: str, step: int, state: int, *parts: tuple[str, int], staged: bool = False
    ) -> str:
        """A package with one deployment of components, given by name and revision."""
        full = f"{name}~31bf3856ad364e35~amd64~~1.0.0.{step}"
        identity = parse_package_name(full)
        self.packages[full.lower()] = PackageFacts(full, identity, state, frozenset(), False)
        key = self.component(f"{name}-Deployment", step, full, is_deployment=True)
        self._refer(key, full, staged=staged)
        for part, revision in parts:
            self.component(part, revision, full, step=step, installed=not staged)
        return full.lower()

    def component(
        self,
        name: str,
        revision: int,
        package: str,
        *,
        step: int = 0,
        installed: bool = True,
        is_deployment: bool = False,
        **identity: Any,
    ) -> str:
        one = AssemblyIdentity(name, Version(10, 0, 1, revision), "amd64", "neutral", "t", "nonSxS")
        one = replace(one, **identity)
        key = keyform(one)
        owner = deployment_key(one)
        if not is_deployment:
            above = f"{package.split('~', maxsplit=1)[0]}-Deployment"
            plain = replace(one, name=above, version_scope="nonSxS", type="")
            owner = deployment_key(replace(plain, version=Version(10, 0, 1, step)))
        known = self.components.get(key)
        self.components[key] = ComponentFacts(
            key=key,
            identity=one,
            family=keyform_without_version(one),
            deployments=frozenset({owner, *(known.deployments if known else ())}),
            is_deployment=is_deployment,
            is_installed=installed or bool(known and known.is_installed),
            winner=None,
            file_values=() if is_deployment else ("f!a.dll",),
            has_payload=not is_deployment,
            flags=0,
        )
        return key

    def change(self, key: str, **changes: object) -> None:
        self.components[key] = replace(self.components[key], **changes)  # type: ignore[arg-type]

    def own(self, package: str, *owners: str) -> None:
        self.packages[package] = replace(self.packages[package], owners=frozenset(owners))

    def _refer(self, key: str, package: str, *, staged: bool) -> None:
        name = next(iter(self.components[key].deployments))
        old = self.deployments.get(name, DeploymentFacts(name, frozenset(), frozenset(), True))
        users = old.users | {package.lower()}
        installers = old.installers | (frozenset() if staged else {package.lower()})
        self.deployments[name] = DeploymentFacts(name, users, installers, True)

    def facts(self) -> StoreFacts:
        found = {}
        for key, one in self.components.items():
            versions = [
                other.identity.version
                for other in self.components.values()
                if other.family == one.family and other.is_installed and other.identity
            ]
            found[key] = replace(one, winner=max(versions, default=None))
        return StoreFacts(self.packages, self.deployments, found)

    def decide(self, knowledge: Knowledge = NOTHING, *, reset_base: bool = False) -> Decision:
        return decide(self.facts(), knowledge, reset_base=reset_base)


def of(decision: Decision, name: str) -> Judgement:
    """What becomes of the one component whose key begins so."""
    (key,) = (one for one in decision.components if one.startswith(name))
    return decision.components[key]


@pytest.fixture
def written() -> Written:
    """An update and a later one of it, over the release."""
    store = Written()
    store.package("base", 1, NEW, ("part", 1))
    store.package("fix", 1, OLD, ("part", 2))
    store.package("fix", 2, NEW, ("part", 3))
    return store


@pytest.mark.parametrize("reset_base", [False, True])
def test_the_version_between_goes_the_release_only_with_a_reset(
    written: Written, *, reset_base: bool
) -> None:
    decision = written.decide(reset_base=reset_base)
    release = of(decision, "amd64_part_t_10.0.1.1_")
    assert release.fate is (Fate.EMPTIED if reset_base else Fate.KEPT)
    assert of(decision, "amd64_part_t_10.0.1.2_") == Judgement(
        Fate.REMOVED, Reason.SUPERSEDED, "10.0.1.3"
    )
    assert of(decision, "amd64_part_t_10.0.1.3_").reason is Reason.WINS
    assert decision.packages_with(Fate.REMOVED) == ["fix~31bf3856ad364e35~amd64~~1.0.0.1"]


def test_a_checkpoint_stays(written: Written) -> None:
    held = {"fix~31bf3856ad364e35~amd64~~1.0.0.1": Judgement(Fate.KEPT, Reason.CHECKPOINT)}
    decision = written.decide(Knowledge(held, ()))
    assert decision.packages_with(Fate.REMOVED) == []
    assert of(decision, "amd64_part_t_10.0.1.2_").reason is Reason.IN_USE


def test_what_another_package_asks_for_stays_if_nothing_else_would_do(written: Written) -> None:
    needy = written.package("needy", 1, NEW, ("other", 1))
    old, new = (f"fix~31bf3856ad364e35~amd64~~1.0.0.{step}" for step in (1, 2))
    either = Knowledge({}, (Requirement(needy, frozenset([old, new])),))
    assert written.decide(either).packages_with(Fate.REMOVED) == [old]
    only = Knowledge({}, (Requirement(needy, frozenset([old])),))
    assert written.decide(only).packages[old] == Judgement(
        Fate.KEPT, Reason.REQUIRED, written.packages[needy].name
    )


def test_owner_and_owned_go_together_or_not_at_all(written: Written) -> None:
    old = "fix~31bf3856ad364e35~amd64~~1.0.0.1"
    child = written.package("child", 1, OLD, ("inner", 1))
    written.package("child", 2, NEW, ("inner", 2))
    written.own(child, old)
    assert written.decide().packages_with(Fate.REMOVED) == sorted([old, child])
    written.own(child, "base~31bf3856ad364e35~amd64~~1.0.0.1")
    assert written.decide().packages[child].reason is Reason.OWNED


def test_parts_that_nobody_else_asked_for_go_though_their_state_says_installed(
    written: Written,
) -> None:
    """Parts of rollups are named after their article: no higher version of one ever comes."""
    old = "fix~31bf3856ad364e35~amd64~~1.0.0.1"
    part = written.package("part", 1, NEW, ("part", 1))
    written.component("part", 2, "fix~31bf3856ad364e35~amd64~~1.0.0.2", step=2)
    below = written.package("below", 1, STAGED, staged=True)
    written.own(part, old)
    written.own(below, part)
    decision = written.decide()
    assert decision.packages_with(Fate.REMOVED) == sorted([old, part, below])
    assert decision.packages[part] == Judgement(
        Fate.REMOVED, Reason.PART, written.packages[old].name
    )
    written.own(below, below, part)
    assert written.decide().packages_with(Fate.REMOVED) == sorted([old, part])


def test_a_part_that_has_to_stay_keeps_what_it_belongs_to(written: Written) -> None:
    old = "fix~31bf3856ad364e35~amd64~~1.0.0.1"
    part = written.package("part", 1, NEW, ("more", 1))
    written.own(part, old)
    decision = written.decide()
    assert decision.packages[part].reason is Reason.HOLDS
    assert decision.packages[old] == Judgement(Fate.KEPT, Reason.OWNS, written.packages[part].name)


def test_a_component_that_nobody_replaced_keeps_its_superseded_package(written: Written) -> None:
    """Dropped from the later update, it still wins: its deployment proves where it is from."""
    old = "fix~31bf3856ad364e35~amd64~~1.0.0.1"
    dropped = written.component("dropped", 2, old, step=1)
    decision = written.decide()
    assert decision.packages[old] == Judgement(Fate.KEPT, Reason.HOLDS, dropped)
    assert of(decision, "amd64_part_t_10.0.1.2_").reason is Reason.IN_USE
    reset = written.decide(reset_base=True)
    assert of(reset, "amd64_part_t_10.0.1.2_").fate is Fate.EMPTIED
    assert reset.components[dropped].reason is Reason.WINS


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ({"version_scope": ""}, Reason.SIDE_BY_SIDE),
        ({"version_scope": "", "type": "win32-policy"}, Reason.SIDE_BY_SIDE),
        ({"type": "dualModeDriver"}, Reason.OTHER_KIND),
        ({"type": "driverUpdate"}, Reason.OTHER_KIND),
    ],
)
def test_kinds_of_which_several_versions_count_stay(
    written: Written, identity: dict[str, Any], reason: Reason
) -> None:
    old, new = (f"fix~31bf3856ad364e35~amd64~~1.0.0.{step}" for step in (1, 2))
    written.component("kind", 2, old, step=1, **identity)
    written.component("kind", 3, new, step=2, **identity)
    for reset_base in (False, True):
        decision = written.decide(reset_base=reset_base)
        assert of(decision, "amd64_kind_t_10.0.1.2_").reason is reason
        assert decision.packages[old].reason is Reason.HOLDS


def test_the_two_newest_servicing_stacks_stay() -> None:
    store = Written()
    for step in (1, 2, 3):
        store.package("stack", step, NEW, ("microsoft-windows-servicingstack", step))
    decision = store.decide(reset_base=True)
    fates = [
        of(decision, f"amd64_microsoft-windows-servicingstack_t_10.0.1.{n}_") for n in (1, 2, 3)
    ]
    assert [one.fate for one in fates] == [Fate.EMPTIED, Fate.KEPT, Fate.KEPT]
    assert fates[1].reason is Reason.SERVICING_STACK


def test_staged_features_keep_what_a_staged_update_loses(written: Written) -> None:
    """A feature that is off is a staged package; the other branch of an update is not."""
    written.package("feature", 1, STAGED, ("part", 0), staged=True)
    written.package("branch", 1, NEW, ("lower", 1), staged=True)
    written.package("upper", 1, NEW, ("lower", 2))
    decision = written.decide(reset_base=True)
    assert of(decision, "amd64_part_t_10.0.1.0_").reason is Reason.STAGED
    assert of(decision, "amd64_lower_t_10.0.1.1_").fate is Fate.EMPTIED
    assert of(written.decide(), "amd64_lower_t_10.0.1.1_").reason is Reason.STAGED


def test_a_branch_above_the_winner_is_not_superseded(written: Written) -> None:
    written.package("limited", 1, NEW, ("part", 4000), staged=True)
    decision = written.decide(reset_base=True)
    assert of(decision, "amd64_part_t_10.0.1.4000_").reason is Reason.STAGED


def test_an_older_version_stays_if_the_winner_has_no_payload(written: Written) -> None:
    key = next(one for one in written.components if one.startswith("amd64_part_t_10.0.1.3_"))
    written.change(key, has_payload=False)
    decision = written.decide(reset_base=True)
    assert of(decision, "amd64_part_t_10.0.1.1_").reason is Reason.WINNER_INCOMPLETE
    assert of(decision, "amd64_part_t_10.0.1.2_").reason is Reason.WINNER_INCOMPLETE


def test_what_is_not_understood_stays(written: Written) -> None:
    old = "fix~31bf3856ad364e35~amd64~~1.0.0.1"
    key = next(one for one in written.components if one.startswith("amd64_part_t_10.0.1.2_"))
    unreadable = Knowledge({}, (), frozenset([key]))
    assert written.decide(unreadable).components[key].reason is Reason.NOT_UNDERSTOOD
    assert written.decide(unreadable).packages[old].reason is Reason.HOLDS
    written.change(key, identity=None)
    assert written.decide().components[key].reason is Reason.NOT_UNDERSTOOD
    written.packages[old] = replace(written.packages[old], identity=None)
    assert written.decide().packages[old].reason is Reason.NOT_UNDERSTOOD


def test_a_deployment_with_a_reference_nobody_can_read_stays(written: Written) -> None:
    old = "fix~31bf3856ad364e35~amd64~~1.0.0.1"
    (name,) = (one for one, facts in written.deployments.items() if old in facts.users)
    written.deployments[name] = replace(written.deployments[name], is_understood=False)
    decision = written.decide(reset_base=True)
    assert decision.deployments[name].reason is Reason.NOT_UNDERSTOOD
    assert of(decision, "amd64_part_t_10.0.1.2_").reason is Reason.NOT_UNDERSTOOD
