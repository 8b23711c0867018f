"""What may go from a component store: pure decisions over its facts.

The rules, their sources and what is a reading of ours: docs/internals/clean-up.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wimsmith.offline.components.cleanup.facts import (
    ComponentFacts,
    DeploymentFacts,
    PackageFacts,
    StoreFacts,
)
from wimsmith.offline.components.cleanup.report import Fate, Judgement, Reason
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import Version

_STACKS_KEPT = 2
_IN_USE = Judgement(Fate.KEPT, Reason.IN_USE)
_NOT_UNDERSTOOD = Judgement(Fate.KEPT, Reason.NOT_UNDERSTOOD)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package that detects others: one of `candidates`, in lower case, has to stay."""

    package: str
    candidates: frozenset[str]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What manifests say besides the registry.

    Attributes:
        held: packages that stay whatever their state, in lower case, with the reason.
        requirements: what packages that stay detect.
        unreadable: components, in lower case, whose manifests could not be read.
    """

    held: Mapping[str, Judgement]
    requirements: tuple[Requirement, ...]
    unreadable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of every package, deployment and component, by name in lower case."""

    packages: Mapping[str, Judgement]
    deployments: Mapping[str, Judgement]
    components: Mapping[str, Judgement]

    def packages_with(self, fate: Fate) -> list[str]:
        return sorted(name for name, one in self.packages.items() if one.fate is fate)

    def deployments_with(self, fate: Fate) -> list[str]:
        return sorted(name for name, one in self.deployments.items() if one.fate is fate)

    def components_with(self, fate: Fate) -> list[str]:
        return sorted(name for name, one in self.components.items() if one.fate is fate)


def decide(facts: StoreFacts, knowledge: Knowledge, *, reset_base: bool) -> Decision:
    """Decide about everything in a store.

    Superseded packages and their parts go, unless something that stays needs them; with them the
    deployments that nobody else refers to, and the components that no other deployment names. With
    `reset_base`
    the payload of every version that a higher one has replaced goes as well.
    """
    return _Decider(facts, knowledge, reset_base=reset_base).decide()


class _Decider:
    def __init__(self, facts: StoreFacts, knowledge: Knowledge, *, reset_base: bool) -> None:
        self.facts = facts
        self.knowledge = knowledge
        self.reset_base = reset_base
        self.stacks = _newest_stacks(facts.components.values())
        self.winners = {
            (one.family, one.winner): one
            for one in facts.components.values()
            if one.identity and one.winner == one.identity.version
        }
        self.fixed = {
            name: reason for name, one in facts.components.items() if (reason := self._fixed(one))
        }
        self.leaving = {name for name in facts.replaced_packages() if name not in knowledge.held}
        self.rescued: dict[str, Judgement] = {}

    def decide(self) -> Decision:
        while any([self._ownership(), self._requirements(), self._needed_components()]):
            pass
        released = {name for name, one in self.facts.deployments.items() if self._is_released(one)}
        return Decision(
            packages={name: self._package(name, one) for name, one in self.facts.packages.items()},
            deployments={
                name: self._deployment(name, one, released)
                for name, one in self.facts.deployments.items()
            },
            components={
                name: self._component(name, one, released)
                for name, one in self.facts.components.items()
            },
        )

    def _rescue(self, name: str, reason: Reason, by: str) -> bool:
        """Let a package stay after all."""
        if name not in self.leaving:
            return False
        self.leaving.remove(name)
        self.rescued[name] = Judgement(Fate.KEPT, reason, by)
        return True

    def _ownership(self) -> bool:
        """Packages leave together with those that own them, and with those that they own."""
        changed = False
        for name, one in sorted(self.facts.packages.items()):
            owners = one.owners & self.facts.packages.keys()
            if name in self.leaving:
                for owner in sorted(owners - self.leaving)[:1]:
                    changed |= self._rescue(name, Reason.OWNED, self.facts.packages[owner].name)
            elif owners and owners <= self.leaving:
                for owner in sorted(owners):
                    changed |= self._rescue(owner, Reason.OWNS, one.name)
        return changed

    def _requirements(self) -> bool:
        """What a package that stays detects must not go: the newest of what it would accept."""
        changed = False
        for one in self.knowledge.requirements:
            if one.package not in self.leaving and one.candidates <= self.leaving:
                by = self.facts.packages[one.package].name
                changed |= self._rescue(self._newest(one.candidates), Reason.REQUIRED, by)
        return changed

    def _needed_components(self) -> bool:
        """A component that has to stay needs one deployment that names it."""
        changed = False
        for name in sorted(self.fixed):
            one = self.facts.components[name]
            named = [
                self.facts.deployments[key]
                for key in one.deployments
                if key in self.facts.deployments
            ]
            if named and all(self._is_released(deployment) for deployment in named):
                users = frozenset[str]().union(*(deployment.users for deployment in named))
                changed |= self._rescue(self._newest(users), Reason.HOLDS, one.key)
        return changed

    def _newest(self, names: Iterable[str]) -> str:
        return max(names, key=lambda name: (_version(self.facts.packages[name]), name))

    def _is_released(self, deployment: DeploymentFacts) -> bool:
        return deployment.is_understood and deployment.users <= self.leaving

    def _package(self, name: str, one: PackageFacts) -> Judgement:
        if name in self.leaving:
            return self._leaving(one)
        if one.identity is None:
            return _NOT_UNDERSTOOD
        return self.knowledge.held.get(name) or self.rescued.get(name, _IN_USE)

    def _leaving(self, one: PackageFacts) -> Judgement:
        if one.state == PackageState.SUPERSEDED:
            return Judgement(Fate.REMOVED, Reason.SUPERSEDED)
        return Judgement(Fate.REMOVED, Reason.PART, self._name(min(one.owners)))

    def _deployment(self, name: str, one: DeploymentFacts, released: set[str]) -> Judgement:
        if name in released:
            return Judgement(Fate.REMOVED, Reason.UNUSED)
        return _IN_USE if one.is_understood else _NOT_UNDERSTOOD

    def _component(self, name: str, one: ComponentFacts, released: set[str]) -> Judgement:
        fixed = self.fixed.get(name)
        if fixed is not None:
            return fixed
        staying = one.deployments - released
        if not staying:
            return self._gone(one)
        if one.is_deployment:
            return _IN_USE
        return self._beside_deployments(one, staying)

    def _gone(self, one: ComponentFacts) -> Judgement:
        if one.is_superseded and not one.is_deployment:
            return Judgement(Fate.REMOVED, Reason.SUPERSEDED, str(one.winner))
        return Judgement(Fate.REMOVED, Reason.UNUSED)

    def _beside_deployments(self, one: ComponentFacts, staying: frozenset[str]) -> Judgement:
        """A component that a deployment which stays names: at most its payload may go."""
        deployments = [self.facts.deployments[key] for key in staying]
        users = [
            (user, user in deployment.installers)
            for deployment in deployments
            for user in sorted(deployment.users - self.leaving)
        ]
        if not all(deployment.is_understood for deployment in deployments):
            return _NOT_UNDERSTOOD
        needed = [(user, installed) for user, installed in users if not self._is_stale(user)]
        replaced = self.reset_base and one.is_superseded
        for user, installed in needed:
            if not installed and not (replaced and self._is_installed(user)):
                return Judgement(Fate.KEPT, Reason.STAGED, self._name(user))
        if needed and not replaced:
            return Judgement(Fate.KEPT, Reason.IN_USE, self._name(needed[0][0]))
        if not one.has_payload:
            return Judgement(Fate.KEPT, Reason.NO_PAYLOAD)
        if one.is_superseded:
            return Judgement(Fate.EMPTIED, Reason.SUPERSEDED, str(one.winner))
        return Judgement(Fate.EMPTIED, Reason.UNUSED)

    def _is_stale(self, package: str) -> bool:
        """Whether a superseded package stays only for something else than this component.

        As long as the base is not reset it stays as a whole: removing the newer one leads to it.
        """
        return self.reset_base and package in self.rescued

    def _is_installed(self, package: str) -> bool:
        """Whether a package is installed, if not all of it; features that are off are staged."""
        known = self.facts.packages.get(package)
        return known is not None and known.state >= PackageState.SUPERSEDED

    def _name(self, package: str) -> str:
        known = self.facts.packages.get(package)
        return known.name if known else package

    def _fixed(self, one: ComponentFacts) -> Judgement | None:
        """Why a component stays as it is, whoever names it; None if it may go."""
        if one.identity is None or not one.deployments <= self.facts.deployments.keys():
            return _NOT_UNDERSTOOD
        if not one.deployments or one.key.lower() in self.knowledge.unreadable:
            return _NOT_UNDERSTOOD
        if one.is_deployment:
            return None
        if not one.identity.is_alone:
            return Judgement(Fate.KEPT, Reason.SIDE_BY_SIDE)
        if one.identity.type:
            return Judgement(Fate.KEPT, Reason.OTHER_KIND, one.identity.type)
        if one.wins:
            return Judgement(Fate.KEPT, Reason.WINS)
        if one.key in self.stacks:
            return Judgement(Fate.KEPT, Reason.SERVICING_STACK)
        if one.is_superseded and not self._winner_is_whole(one):
            return Judgement(Fate.KEPT, Reason.WINNER_INCOMPLETE, str(one.winner))
        return None

    def _winner_is_whole(self, one: ComponentFacts) -> bool:
        winner = self.winners.get((one.family, one.winner)) if one.winner else None
        return winner is not None and (winner.has_payload or not winner.file_values)


def _newest_stacks(components: Iterable[ComponentFacts]) -> frozenset[str]:
    """Keys of the two newest versions of each family of the servicing stack."""
    families: dict[str, list[tuple[Version, str]]] = defaultdict(list)
    for one in components:
        if one.identity is not None and one.identity.is_servicing_stack:
            families[one.family].append((one.identity.version, one.key))
    return frozenset(
        key for versions in families.values() for _, key in sorted(versions)[-_STACKS_KEPT:]
    )


def _version(package: PackageFacts) -> Version:
    assert package.identity is not None, "packages that are not understood never leave"
    return package.identity.version
