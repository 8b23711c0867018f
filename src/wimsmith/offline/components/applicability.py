"""Which packages and updates of an update apply to an image, and up to which state.

How states are decided, with the evidence: docs/internals/component-store.md. Nothing is written;
lines in the words of Windows' own log go to the logger `wimsmith.offline`.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wimsmith.errors import DamagedPackage
from wimsmith.offline.components.store.lookups import Image, Store, StoredPackage
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.package import (
    Applicable,
    ChildPackage,
    Compare,
    PackageManifest,
    Parent,
    Update,
    UpdateComponent,
)
from wimsmith.offline.verdicts import Finding, Verdict

log = logging.getLogger("wimsmith.offline")

ABSENT, STAGED, INSTALLED = PackageState.ABSENT, PackageState.STAGED, PackageState.INSTALLED
_LIMITED_DISTRIBUTION = 20_000
"""Revisions from here on belong to the LDR branch, before Windows 10."""

_MAX_DEPTH = 64

_DISPOSITIONS = {
    "": ABSENT,
    "absent": ABSENT,
    "detect": ABSENT,
    "staged": STAGED,
    "installed": INSTALLED,
}
_PROVEN_ELEVATIONS = frozenset(["install", "revision"])
_STATE_WORDS: dict[int, str] = {ABSENT: "Absent", STAGED: "Staged", INSTALLED: "Installed"}


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
    """

    manifest: PackageManifest
    target: int
    owner: AssemblyIdentity
    depth: int
    hidden: bool
    updates: tuple[UpdatePlan, ...]

    @property
    def identity(self) -> AssemblyIdentity:
        return self.manifest.identity


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


def evaluate(store: Store, top: PackageManifest, packages: Mapping[str, PackageManifest]) -> Plan:
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


def matches(image: Image, parent: Parent, wanted: Version, found: Version) -> bool:
    """Whether a version satisfies what a `parent` element asks for."""
    return not _mismatches(image, parent, wanted, found)


def _mismatches(image: Image, parent: Parent, wanted: Version, found: Version) -> list[str]:
    """Names of the parts that do not fit."""
    return [
        name
        for name, compare, one, other in _parts(image, parent, wanted, found)
        if not (other == one if compare is Compare.EQUAL else other >= one)
    ]


def _parts(
    image: Image, parent: Parent, wanted: Version, found: Version
) -> Iterator[tuple[str, Compare, tuple[int, ...], tuple[int, ...]]]:
    def pair(*names: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return (
            tuple(getattr(wanted, name) for name in names),
            tuple(getattr(found, name) for name in names),
        )

    yield ("Version", parent.version_compare, *pair("major", "minor"))
    if not image.is_modern:
        # a service pack raised the build number, so these two parts are the same number
        yield ("Service", parent.service_compare, *pair("build"))
    yield ("Build", parent.build_compare, *pair("build"))
    if not image.is_modern:
        one, other = (distribution(version) for version in (wanted, found))
        yield ("Distribution", parent.distribution_compare, (one,), (other,))
    yield ("Revision", parent.revision_compare, *pair("revision"))


def distribution(version: Version) -> int:
    """The branch of a version: 0 for GDR, 1 for LDR; Windows 10 and later have one branch."""
    return int(version.major < 10 and version.revision >= _LIMITED_DISTRIBUTION)


def elevation_holds(store: Store, component: UpdateComponent) -> bool:
    """Whether a condition on a component family holds for one of its identities.

    `install` holds always. `revision` holds if the highest version of the family below the
    update's own is of the same build and branch.
    """
    if component.elevate == "install":
        return True
    return any(_is_revision_of_installed(store, identity) for identity in component.identities)


def _is_revision_of_installed(store: Store, identity: AssemblyIdentity) -> bool:
    lower = [one for one in store.installed_versions(identity) if one < identity.version]
    if not lower:
        return False
    holder = lower[-1]
    same_build = (holder.branch, holder.build) == (identity.version.branch, identity.version.build)
    return same_build and distribution(holder) == distribution(identity.version)


class _Evaluation:
    """The walk through one update; `plans` and `findings` are its result."""

    def __init__(self, store: Store, packages: Mapping[str, PackageManifest]) -> None:
        self.store = store
        self.packages = packages
        self.plans: list[PackagePlan] = []
        self.findings: list[Finding] = []
        self._planned: dict[str, StoredPackage] = {}

    def top(self, manifest: PackageManifest) -> None:
        identity = manifest.identity
        self.findings += _identity_findings(self.store.image, identity)
        self.findings += _presence_findings(self.store, identity)
        self.findings += _stack_findings(self.store, manifest)
        applicable, _ = self._applicable(manifest)
        if applicable == ABSENT:
            self.findings += self._parent_findings(manifest)
        self._plan(manifest, INSTALLED, identity, depth=0, hidden=False)
        if self.plans and self.plans[0].target <= self.store.package_state(identity) == STAGED:
            text = f"{identity.package_name} is staged, as far as its parent lets it go"
            self.findings.append(Finding(Verdict.INSTALLED, "staged", text))
        if self.plans and not any(
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
    ) -> None:
        identity = manifest.identity
        if identity.package_name.lower() in self._planned:
            return
        applicable, parents = self._applicable(manifest)
        target = min(applicable, limit)
        if target == ABSENT:
            return
        self._planned[identity.package_name.lower()] = StoredPackage(
            identity, identity.package_name, target
        )
        states = _UpdateStates(self, manifest, parents)
        updates = tuple(
            UpdatePlan(update, min(target, states.of(update))) for update in manifest.updates
        )
        place = len(self.plans)
        for plan in updates:
            if plan.state > ABSENT:
                for child in plan.update.packages:
                    self._child(child, plan.state, identity, depth)
        self.plans.insert(place, PackagePlan(manifest, target, owner, depth, hidden, updates))

    def _child(self, child: ChildPackage, limit: int, owner: AssemblyIdentity, depth: int) -> None:
        manifest = self.packages.get(child.identity.package_name.lower())
        if depth >= _MAX_DEPTH:
            raise DamagedPackage(f"packages nested more than {_MAX_DEPTH} deep")
        if manifest is not None:
            self.findings += _stack_findings(self.store, manifest)
            hidden = child.integrate.lower() == "hidden"
            self._plan(manifest, limit, owner, depth=depth + 1, hidden=hidden)
        elif self.store.package_state(child.identity) < limit:
            text = f"the package {child.identity.package_name} is not in the update"
            self.findings.append(Finding(Verdict.FAILED, "damaged:child", text))

    def _applicable(self, manifest: PackageManifest) -> tuple[int, tuple[StoredPackage, ...]]:
        """Best state of a matching parent, and the parents that match."""
        name = manifest.identity.package_name
        if not manifest.parents:
            return INSTALLED, ()
        found: list[StoredPackage] = []
        for parent in manifest.parents:
            for identity in parent.identities:
                hits = self._candidates(parent, identity)
                log.info(_parent_line(self.store.image, name, parent, identity, bool(hits)))
                found += hits
        state = max((_coarse(one.state) for one in found), default=ABSENT)
        if state == ABSENT:
            log.info("Appl: detectParent: package: %s, no parent found, go absent", name)
        word = _STATE_WORDS[state]
        log.info(
            "Appl: Evaluating package applicability for package %s, applicable state: %s",
            name,
            word,
        )
        return state, tuple(found)

    def _candidates(self, parent: Parent, identity: AssemblyIdentity) -> list[StoredPackage]:
        return [
            one
            for one in self._known(identity)
            if _coarse(one.state) > ABSENT
            and matches(self.store.image, parent, identity.version, one.identity.version)
        ]

    def _known(self, identity: AssemblyIdentity) -> list[StoredPackage]:
        planned = [one for one in self._planned.values() if one.identity.family == identity.family]
        return [*self.store.packages_of(identity), *planned]

    def _parent_findings(self, manifest: PackageManifest) -> Iterator[Finding]:
        """Why no parent matches: it is there in another build, or it is not there."""
        missing: list[str] = []
        for parent in manifest.parents:
            for identity in parent.identities:
                others = [one for one in self._known(identity) if _coarse(one.state) > ABSENT]
                wrong = [self._other_build(parent, identity, one) for one in others]
                if others and all(wrong):
                    text = f"made for {identity.package_name}; the image has {others[-1].name}"
                    yield Finding(Verdict.NOT_APPLICABLE, "build", text)
                else:
                    missing.append(identity.package_name)
        if missing:
            more = f" or one of {len(missing) - 1} others" if len(missing) > 1 else ""
            yield Finding(Verdict.PREREQUISITE_MISSING, "parent", f"{missing[0]}{more}")

    def _other_build(
        self, parent: Parent, identity: AssemblyIdentity, found: StoredPackage
    ) -> bool:
        parts = _mismatches(self.store.image, parent, identity.version, found.identity.version)
        return bool({"Version", "Service", "Build"} & set(parts))


class _UpdateStates:
    """States of the updates of one package, which may follow each other."""

    def __init__(
        self,
        evaluation: _Evaluation,
        manifest: PackageManifest,
        parents: Sequence[StoredPackage],
    ) -> None:
        self._store = evaluation.store
        self._findings = evaluation.findings
        self._manifest = manifest
        self._parents = parents
        self._known: dict[str, int] = {}
        self._following = 0

    def of(self, update: Update) -> int:
        """The state that an update has where its package is installed."""
        name = update.name.lower()
        if name not in self._known:
            if self._following > _MAX_DEPTH:
                raise DamagedPackage(f"more than {_MAX_DEPTH} updates that follow each other")
            self._following += 1
            self._known[name] = STAGED  # what an update gets that follows itself
            self._known[name] = self._decide(update)
            self._following -= 1
            log.info(
                "Appl: Package: %s, Update: %s, Applicable: %s",
                self._manifest.identity.package_name,
                update.name,
                _STATE_WORDS[self._known[name]],
            )
        return self._known[name]

    def _decide(self, update: Update) -> int:
        if update.applicable is not None:
            return self._applicable(update, update.applicable)
        if update.selectable is not None:
            return self._selected(update)
        return INSTALLED

    def _applicable(self, update: Update, applicable: Applicable) -> int:
        otherwise = _DISPOSITIONS.get(applicable.disposition.lower())
        unproven = {one.elevate for one in applicable.components} - _PROVEN_ELEVATIONS
        if otherwise is None or unproven:
            self._refuse(update, applicable)
            return ABSENT
        states: list[int] = [INSTALLED]
        if applicable.components:
            holds = any(elevation_holds(self._store, one) for one in applicable.components)
            states.append(INSTALLED if holds else otherwise)
        for one in applicable.detections:
            found = self._in_parent(one.name) if one.in_parent else self._in_package(one.name)
            states.append(_followed(found, otherwise))
        return min(states)

    def _refuse(self, update: Update, applicable: Applicable) -> None:
        kinds = sorted({one.elevate or "none" for one in applicable.components})
        about = f"elevation {', '.join(kinds)}, disposition {applicable.disposition or 'none'}"
        text = (
            f"update {update.name} of {self._manifest.identity.package_name}: "
            f"how Windows evaluates {about} is not proven"
        )
        self._findings.append(Finding(Verdict.NOT_SUPPORTED, "elevate-unproven", text))

    def _in_parent(self, name: str) -> int | None:
        states = [self._store.update_state(parent.name, name) for parent in self._parents]
        return max((state for state in states if state is not None), default=None)

    def _in_package(self, name: str) -> int | None:
        for update in self._manifest.updates:
            if update.name.lower() == name.lower():
                return self.of(update)
        return None

    def _selected(self, update: Update) -> int:
        """A feature keeps the state that it has in an older version of the package."""
        assert update.selectable is not None
        for package in reversed(self._store.packages_of(self._manifest.identity)):
            state = self._store.update_state(package.name, update.name)
            if state is not None:
                return _coarse(state)
        if update.selectable.default:
            return INSTALLED
        return _DISPOSITIONS.get(update.selectable.disposition.lower(), ABSENT)


def _followed(found: int | None, otherwise: int) -> int:
    """State of an update that follows another; one that is not there leaves it staged."""
    return STAGED if found is None else max(_coarse(found), otherwise)


def _coarse(state: int) -> int:
    """A state as conditions see it: absent, staged or installed."""
    if state >= PackageState.INSTALL_PENDING:
        return INSTALLED
    return STAGED if state >= STAGED else ABSENT


def _identity_findings(image: Image, identity: AssemblyIdentity) -> Iterator[Finding]:
    architecture = identity.architecture.lower()
    if architecture not in {"", "neutral", image.architecture}:
        text = f"made for {architecture}; the image is {image.architecture}"
        yield Finding(Verdict.NOT_APPLICABLE, "arch", text)
    languages = [language.lower() for language in image.languages]
    if not identity.neutral_language and languages and identity.language.lower() not in languages:
        text = f"made for {identity.language}; the image has {', '.join(image.languages)}"
        yield Finding(Verdict.NOT_APPLICABLE, "language", text)


def _presence_findings(store: Store, identity: AssemblyIdentity) -> Iterator[Finding]:
    name = identity.package_name
    state = store.package_state(identity)
    if state >= INSTALLED:
        yield Finding(Verdict.INSTALLED, "installed", f"{name} is installed")
    elif state == PackageState.SUPERSEDED:
        yield Finding(Verdict.SUPERSEDED, "superseded", f"{name} is superseded in the image")
    for one in reversed(store.packages_of(identity)):
        if one.identity.version > identity.version and one.state >= PackageState.SUPERSEDED:
            yield Finding(Verdict.SUPERSEDED, "superseded", f"the image has {one.name}")
            return


def _stack_findings(store: Store, manifest: PackageManifest) -> Iterator[Finding]:
    wanted = manifest.installer_assembly
    if wanted is None:
        return
    found = store.servicing_stack()
    if found is None or found < wanted.version:
        has = f"the image has {found}" if found else "the image has none"
        text = f"servicing stack {wanted.version} ({has})"
        yield Finding(Verdict.PREREQUISITE_MISSING, "stack-too-old", text)


def _parent_line(
    image: Image, package: str, parent: Parent, identity: AssemblyIdentity, present: bool
) -> str:
    parts = ", ".join(
        f"{name}Comp: {compare.value}"
        for name, compare, _, _ in _parts(image, parent, identity.version, identity.version)
    )
    exists = "present" if present else "not present"
    disposition = (parent.disposition or "detect").capitalize()
    return (
        f"Appl: detect Parent, Package: {package}, Parent: {identity.package_name}, "
        f"Disposition = {disposition}, {parts}, Exist: {exists}"
    )
