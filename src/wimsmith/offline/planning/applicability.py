"""Which packages and updates of an update apply to an image, and up to which state.

How states are decided, with the evidence: docs/internals/planning.md. Nothing is written;
lines in the words of Windows' own log go to the logger `wimsmith.offline`.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from wimsmith.errors import DamagedPackage
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.package import ChildPackage, PackageManifest, Parent, Update
from wimsmith.offline.planning.kinds import kind_findings, kind_of
from wimsmith.offline.planning.parents import is_known, is_other_build, log_parent, matches
from wimsmith.offline.planning.reasons import (
    identity_findings,
    other_edition,
    presence_findings,
    stack_findings,
)
from wimsmith.offline.planning.state import ImageState, StoredPackage
from wimsmith.offline.planning.states import (
    ABSENT,
    INSTALLED,
    MAX_DEPTH,
    STAGED,
    STATE_WORDS,
    UpdateStates,
    coarse,
)
from wimsmith.offline.planning.telling import log
from wimsmith.offline.verdicts import Finding, Verdict

Family = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class UpdatePlan:
    """One update of a package, and the state that it shall have."""

    update: Update
    state: int


@dataclass(frozen=True, slots=True)
class PackagePlan:
    """One package that shall be in the image. `owner` is the package that carries it.

    Attributes:
        depth: 0 for the package that was asked for.
        hidden: whether the package that carries it hides it from users.
        further_owners: other packages of the update that carry it as well.
    """

    manifest: PackageManifest
    target: int
    owner: AssemblyIdentity
    depth: int
    hidden: bool
    updates: tuple[UpdatePlan, ...]
    further_owners: tuple[AssemblyIdentity, ...] = ()

    @property
    def identity(self) -> AssemblyIdentity:
        return self.manifest.identity

    @property
    def owners(self) -> tuple[AssemblyIdentity, ...]:
        """All packages of the update that carry it; itself for the one that was asked for."""
        return (self.owner, *self.further_owners)


@dataclass(frozen=True, slots=True)
class Plan:
    """Packages in the order in which they are written, and what speaks against them."""

    packages: tuple[PackagePlan, ...]
    findings: tuple[Finding, ...]

    @property
    def deployments(self) -> tuple[tuple[PackagePlan, UpdatePlan, AssemblyIdentity], ...]:
        """Every deployment that shall be staged or installed."""
        return tuple(
            (package, plan, identity)
            for package in self.packages
            for plan in package.updates
            if plan.state >= STAGED
            for identity in plan.update.components
        )


@dataclass(frozen=True, slots=True)
class _Carried:
    """A package that an update of another one carries, which is in the state `limit`."""

    child: ChildPackage
    limit: int
    owner: AssemblyIdentity
    depth: int


def evaluate(
    store: ImageState, top: PackageManifest, packages: Mapping[str, PackageManifest]
) -> Plan:
    """Decide which packages apply to an image.

    Args:
        store: the image.
        top: the package that is asked for.
        packages: manifests of all packages in the update, by package name in lower case.

    Raises:
        DamagedPackage: packages are nested, or updates follow each other, beyond all use.
    """
    evaluation = _Evaluation(store, packages)
    evaluation.top(top)
    return Plan(tuple(evaluation.plans), tuple(dict.fromkeys(evaluation.findings)))


class _Evaluation:
    """The walk through one update; `plans` and `findings` are its result."""

    def __init__(self, state: ImageState, packages: Mapping[str, PackageManifest]) -> None:
        self.state = state
        self.packages = packages
        self.plans: list[PackagePlan] = []
        self.findings: list[Finding] = []
        self._planned: dict[Family, dict[str, StoredPackage]] = {}
        self._places: dict[str, int] = {}
        self._updates: dict[tuple[str, str], int] = {}
        self._waiting: dict[Family, dict[_Carried, None]] = {}
        self._ready: dict[_Carried, None] = {}

    def top(self, manifest: PackageManifest) -> None:
        """Evaluate the package that was asked for, and everything below it."""
        identity = manifest.identity
        self.findings += identity_findings(self.state.image, identity)
        self.findings += presence_findings(self.state, identity)
        self.findings += stack_findings(self.state, manifest)
        if not self._plan(manifest, INSTALLED, identity, depth=0, hidden=False):
            self.findings += self._parent_findings(manifest)
            self.findings += kind_findings(self.state.image, kind_of(manifest))
            return
        self._again()
        if self.plans[0].target <= self.state.package_state(identity) == STAGED:
            text = f"{identity.package_name} is staged, as far as its parent lets it go"
            self.findings.append(Finding(Verdict.INSTALLED, "staged", text))
        if not any(
            plan.state and plan.update.components for one in self.plans for plan in one.updates
        ):
            text = f"nothing in {identity.package_name} applies to this image"
            self.findings.append(Finding(Verdict.NOT_APPLICABLE, "components", text))

    def _plan(
        self,
        manifest: PackageManifest,
        limit: int,
        owner: AssemblyIdentity,
        *,
        depth: int,
        hidden: bool,
    ) -> bool:
        """Plan a package and those below it; False if it stays absent."""
        name = manifest.identity.package_name
        applicable, parents = self._applicable(manifest)
        target = min(applicable, limit)
        _log_plan(name, self.state.package_state(manifest.identity), applicable, target, limit)
        if target == ABSENT:
            return False
        planned = self._planned.get(manifest.identity.family, {}).get(name.lower())
        if planned is not None and planned.state >= target:
            return True
        if depth:
            self.findings += stack_findings(self.state, manifest)
        known = self._planned.setdefault(manifest.identity.family, {})
        known[name.lower()] = StoredPackage(manifest.identity, name, target)
        states = UpdateStates(self.state, self.findings, manifest, parents, self._updates)
        updates = tuple(
            UpdatePlan(update, min(target, states.of(update))) for update in manifest.updates
        )
        self._updates |= {(name.lower(), one.update.name.lower()): one.state for one in updates}
        self._keep(PackagePlan(manifest, target, owner, depth, hidden, updates))
        for plan in updates:
            _log_update(self.state, name, plan.update, states.of(plan.update), plan.state, target)
            if plan.state > ABSENT:
                for child in plan.update.packages:
                    self._child(child, plan.state, manifest.identity, depth)
        return True

    def _keep(self, plan: PackagePlan) -> None:
        """Keep a plan; one that another carrier takes further keeps its place and first owner."""
        self._ready |= self._waiting.pop(plan.identity.family, {})
        name = plan.identity.package_name.lower()
        place = self._places.setdefault(name, len(self.plans))
        if place == len(self.plans):
            self.plans.append(plan)
            return
        first = self.plans[place]
        hidden = first.hidden and plan.hidden
        self.plans[place] = replace(
            plan,
            owner=first.owner,
            depth=first.depth,
            hidden=hidden,
            further_owners=first.further_owners,
        )

    def _own(self, name: str, owner: AssemblyIdentity, *, hidden: bool) -> None:
        """Note a package that carries another one, which is planned already."""
        place = self._places[name.lower()]
        plan = self.plans[place]
        further = plan.further_owners
        if owner not in plan.owners:
            further = (*further, owner)
        hidden = plan.hidden and hidden
        self.plans[place] = replace(plan, further_owners=further, hidden=hidden)

    def _child(self, child: ChildPackage, limit: int, owner: AssemblyIdentity, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise DamagedPackage(f"packages nested more than {MAX_DEPTH} deep")
        name = child.identity.package_name
        hidden = child.integrate.lower() == "hidden"
        planned = self._planned.get(child.identity.family, {}).get(name.lower())
        if planned is not None and planned.state >= limit:
            self._own(name, owner, hidden=hidden)
            return
        manifest = self.packages.get(name.lower())
        if manifest is not None:
            if self._plan(manifest, limit, owner, depth=depth + 1, hidden=hidden):
                self._own(name, owner, hidden=hidden)
            self._wait(manifest, _Carried(child, limit, owner, depth))
        elif self.state.package_state(child.identity) < limit:
            text = f"the package {name} is not in the update"
            self.findings.append(Finding(Verdict.FAILED, "damaged:child", text))

    def _wait(self, manifest: PackageManifest, carried: "_Carried") -> None:
        """Remember a package that a parent further down in the update may take further."""
        identity = manifest.identity
        reached = self._planned.get(identity.family, {}).get(identity.package_name.lower())
        if reached is not None and reached.state >= carried.limit:
            return
        for parent in manifest.parents:
            for one in parent.identities:
                self._waiting.setdefault(one.family, {})[carried] = None

    def _again(self) -> None:
        """Evaluate packages once more whose parents stand behind them, until none is left.

        It ends, as a package is asked again only after one of its parents has been taken further.
        """
        while self._ready:
            one = next(iter(self._ready))
            del self._ready[one]
            self._child(one.child, one.limit, one.owner, one.depth)

    def _applicable(self, manifest: PackageManifest) -> tuple[int, tuple[StoredPackage, ...]]:
        """Best state of a matching parent, and the parents that match."""
        name = manifest.identity.package_name
        if not manifest.parents:
            return INSTALLED, ()
        found: list[StoredPackage] = []
        self.findings += _unknown_parents(manifest)
        for parent in filter(is_known, manifest.parents):
            for identity in parent.identities:
                log_parent(self.state.image, name, parent, identity)
                found += self._candidates(name, parent, identity)
        state = max((coarse(one.state) for one in found), default=ABSENT)
        log.info(
            "Appl: Evaluating package applicability for package %s, applicable state: %s",
            name,
            STATE_WORDS[state],
        )
        return state, tuple(found)

    def _candidates(
        self, name: str, parent: Parent, identity: AssemblyIdentity
    ) -> list[StoredPackage]:
        """Packages that satisfy a parent, each with the line that Windows' log has for it."""
        found = [
            one
            for one in self._known(identity)
            if matches(self.state.image, parent, identity.version, one.identity.version)
        ]
        about = "" if self.state.image.is_modern else f"package: {name}, "
        for one in found:
            word = STATE_WORDS[coarse(one.state)]
            log.info("Appl: detectParent: %sparent found: %s, state: %s", about, one.name, word)
        if not found:
            log.info("Appl: detectParent: %sno parent found, go absent", about)
        return [one for one in found if coarse(one.state) > ABSENT]

    def _known(self, identity: AssemblyIdentity) -> list[StoredPackage]:
        planned = self._planned.get(identity.family, {})
        return [*self.state.packages_of(identity), *planned.values()]

    def _parent_findings(self, manifest: PackageManifest) -> Iterator[Finding]:
        """Why no parent matches: of another build or edition, or it is not there.

        Nothing is said of a package that may look for parents in a way that is not known.
        """
        if not all(map(is_known, manifest.parents)):
            return
        missing: list[AssemblyIdentity] = []
        for parent in manifest.parents:
            for identity in parent.identities:
                others = [one for one in self._known(identity) if coarse(one.state) > ABSENT]
                if others and all(self._other_build(parent, identity, one) for one in others):
                    text = f"made for {identity.package_name}; the image has {others[-1].name}"
                    yield Finding(Verdict.NOT_APPLICABLE, "build", text)
                else:
                    missing.append(identity)
        if not missing:
            return
        edition = other_edition(self.state.image, missing)
        if edition is not None:
            yield edition
        more = f" or one of {len(missing) - 1} others" if len(missing) > 1 else ""
        text = f"{missing[0].package_name}{more}"
        yield Finding(Verdict.PREREQUISITE_MISSING, "parent", text)

    def _other_build(
        self, parent: Parent, identity: AssemblyIdentity, found: StoredPackage
    ) -> bool:
        return is_other_build(self.state.image, parent, identity.version, found.identity.version)


def _unknown_parents(manifest: PackageManifest) -> Iterator[Finding]:
    for parent in manifest.parents:
        if not is_known(parent):
            name, asked = manifest.identity.package_name, parent.disposition[:60]
            text = f"{name} looks for a parent in a way that is not known ({asked!r})"
            yield Finding(Verdict.NOT_SUPPORTED, "parent-disposition", text)


def _log_plan(name: str, current: int, applicable: int, target: int, limit: int) -> None:
    if target == ABSENT == coarse(current):
        log.info(
            "Plan: Skipping package since its start state and target state are both absent "
            "for package: %s",
            name,
        )
        return
    log.info(
        "Plan: Package: %s, current: %s, pending: Default, start: %s, applicable: %s, "
        "targeted: %s, limit: %s",
        name,
        *map(_word, (current, current, applicable, target, limit)),
    )


def _log_update(
    state: ImageState, name: str, update: Update, applicable: int, target: int, limit: int
) -> None:
    if not log.isEnabledFor(logging.INFO):
        return
    current = state.update_state(name, update.name) or ABSENT
    log.info(
        "Plan: Package: %s, Update: %s, current: %s, pending: Default, start: %s, "
        "applicable: %s, targeted: %s, limit: %s, selected: Default",
        name,
        update.name,
        *map(_word, (current, current, applicable, target, limit)),
    )


def _word(state: int) -> str:
    return STATE_WORDS[coarse(state)]
