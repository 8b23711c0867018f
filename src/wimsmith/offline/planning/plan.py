"""The plan of a run: which of the chosen updates apply to an index, in which order, and why.

The same evaluation as the engine's, from a snapshot or from the image itself. An update counts
on what those before it bring.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from wimsmith.errors import DamagedInput
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.packages.compdb import chain_from
from wimsmith.offline.planning.applicability import Plan, evaluate
from wimsmith.offline.planning.description import UpdateDescription
from wimsmith.offline.planning.exclusions import Exclusion, exclusion_findings
from wimsmith.offline.planning.kinds import UpdateKind
from wimsmith.offline.planning.order import Chosen, order
from wimsmith.offline.planning.parts import PartResult, against
from wimsmith.offline.planning.reasons import newer_components, stack_reached
from wimsmith.offline.planning.snapshot import family_hash
from wimsmith.offline.planning.state import Image, ImageState, StoredPackage
from wimsmith.offline.verdicts import Finding, Verdict, first, ordered

_COUNTED = frozenset({None, Verdict.NOT_SUPPORTED})
"""Verdicts of checkpoints that count as being in the run."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What would become of an update on an index.

    Attributes:
        findings: all reasons against it, the one that decides first; empty if it applies.
        plan: its packages with their states, as far as they apply.
        parts: of a file with several packages, as far as they were looked at; those after the one
            that stops all of them were not.
    """

    findings: tuple[Finding, ...]
    plan: Plan
    parts: "tuple[Judgement, ...]" = ()

    @property
    def decisive(self) -> Finding | None:
        """The finding that decides, None if the update applies."""
        return self.findings[0] if self.findings else None

    @property
    def verdict(self) -> Verdict | None:
        """The verdict that decides, None if the update applies."""
        return self.findings[0].verdict if self.findings else None


@dataclass(frozen=True, slots=True)
class Step:
    """One update of a run at its place, from 1; `judgement` says whether it is applied."""

    place: int
    key: int
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All chosen updates in order. `circles` are keys of updates that need each other."""

    steps: tuple[Step, ...]
    circles: tuple[tuple[int, ...], ...]

    @property
    def applied(self) -> tuple[Step, ...]:
        """The steps that would change the index."""
        return tuple(step for step in self.steps if step.judgement.verdict is None)


def judge(
    state: ImageState,
    update: UpdateDescription,
    *,
    exclusions: Iterable[Exclusion] = (),
    obstacles: Iterable[Finding] = (),
    reached: Version | None = None,
) -> Judgement:
    """Decide what would become of one update on one index.

    Args:
        state: of the index.
        update: the update.
        exclusions: those for this image and for all.
        obstacles: why nothing may be done to the index at all.
        reached: the build that cumulative updates before it lead to; without it, that of the
            image.
    """
    if update.parts:
        return _judged_parts(state, update, exclusions, obstacles, reached)
    found = [*exclusion_findings(update, exclusions), *update.findings, *obstacles]
    found += _chain_findings(state.image, update, reached or state.image.serviced_version)
    try:
        plan = _evaluated(state, update)
    except DamagedInput as error:
        plan = Plan((), (Finding(Verdict.FAILED, f"damaged:{error.code}", str(error)),))
    found += plan.findings
    components = tuple(_components(update, plan))
    found += _stack_findings(state, plan, components)
    found += newer_components(state, components)
    found += stack_reached(state, components)
    return Judgement(ordered(tuple(dict.fromkeys(found))), plan)


def _judged_parts(
    state: ImageState,
    update: UpdateDescription,
    exclusions: Iterable[Exclusion],
    obstacles: Iterable[Finding],
    reached: Version | None,
) -> Judgement:
    """Each part on top of those before it, up to the one that stops all of them."""
    ruled_out = tuple(dict.fromkeys((*exclusion_findings(update, exclusions), *obstacles)))
    ahead = Ahead(state)
    ahead.reached = reached or ahead.reached
    judged: list[Judgement] = []
    results: list[PartResult] = []
    for part in update.parts:
        judgement = judge(ahead, part, reached=ahead.reached)
        ahead.take(part, judgement)
        judged.append(judgement)
        verdict = judgement.verdict or Verdict.APPLIED
        results.append(PartResult(part.name, verdict, judgement.findings))
        if results[-1].stops:
            break
    plans = [one.plan for one in judged if one.verdict is None]
    packages = tuple(package for one in plans for package in one.packages)
    found = against(results)
    decides = found and first((found[0], *ruled_out)) is found[0]
    findings = (*found, *ruled_out) if decides else (*ordered(ruled_out), *found)
    return Judgement(findings, Plan(packages, findings), tuple(judged))


def _evaluated(state: ImageState, update: UpdateDescription) -> Plan:
    if update.is_whole:
        return evaluate(state, update.top, update.packages)
    plan = evaluate(state, replace(update.top, updates=()), {})
    known = (one for one in plan.findings if one.code != "components")
    return Plan(plan.packages, tuple(known))


def plan(
    state: ImageState,
    updates: Iterable[Chosen],
    *,
    exclusions: Sequence[Exclusion] = (),
    obstacles: Sequence[Finding] = (),
) -> RunPlan:
    """Put updates in order, and decide of each what would become of it after those before it.

    Args:
        state: of the index.
        updates: those that were chosen, in any order.
        exclusions: those for this image and for all.
        obstacles: why nothing may be done to the index at all.
    """
    sequence = order(state.image, updates)
    ahead = Ahead(state)
    in_circle = {key: circle for circle in sequence.circles for key in circle}
    names = {one.key: one.description.identity.package_name for one in sequence.updates}
    steps = []
    for place, one in enumerate(sequence.updates, 1):
        judgement = judge(
            ahead,
            one.description,
            exclusions=exclusions,
            obstacles=obstacles,
            reached=ahead.reached,
        )
        if judgement.verdict is Verdict.PREREQUISITE_MISSING and one.key in in_circle:
            others = [names[key] for key in in_circle[one.key] if key != one.key]
            text = f"it and {', '.join(others)[:400]} need each other"
            finding = Finding(Verdict.PREREQUISITE_MISSING, "circle", text)
            judgement = replace(judgement, findings=(*judgement.findings, finding))
        ahead.take(one.description, judgement)
        steps.append(Step(place, one.key, judgement))
    return RunPlan(tuple(steps), sequence.circles)


class Ahead:
    """An image as it will be when the updates taken so far are applied."""

    def __init__(self, state: ImageState) -> None:
        """Begin with `state`, which is not changed."""
        self._state = state
        self._packages: dict[tuple[str, str, str, str], dict[Version, StoredPackage]] = {}
        self._updates: dict[tuple[str, str], int] = {}
        self._versions: dict[str, set[Version]] = defaultdict(set)
        self._stack: Version | None = state.servicing_stack()
        self.reached = state.image.serviced_version

    @property
    def image(self) -> Image:
        """See `ImageState`."""
        return self._state.image

    def packages_of(self, identity: AssemblyIdentity) -> tuple[StoredPackage, ...]:
        """See `ImageState`."""
        taken = self._packages.get(identity.family)
        present = self._state.packages_of(identity)
        if not taken:
            return present
        merged = {one.identity.version: one for one in present} | taken
        return tuple(merged[version] for version in sorted(merged))

    def package_state(self, identity: AssemblyIdentity) -> int:
        """See `ImageState`."""
        taken = self._packages.get(identity.family, {}).get(identity.version)
        return taken.state if taken else self._state.package_state(identity)

    def update_state(self, package_name: str, update_name: str) -> int | None:
        """See `ImageState`."""
        taken = self._updates.get((package_name.lower(), update_name.lower()))
        return self._state.update_state(package_name, update_name) if taken is None else taken

    def installed_versions(self, identity: AssemblyIdentity) -> tuple[Version, ...]:
        """See `ImageState`."""
        present = self._state.installed_versions(identity)
        taken = self._versions.get(family_hash(identity))
        return tuple(sorted({*present, *taken})) if taken else present

    def servicing_stack(self) -> Version | None:
        """See `ImageState`."""
        return self._stack

    def take(self, update: UpdateDescription, judgement: Judgement) -> None:
        """Take an update as applied, if it was judged to apply."""
        if judgement.verdict in _COUNTED and update.step and update.step.leads_to:
            self.reached = max(self.reached, update.step.leads_to)
        if judgement.verdict is not None:
            return
        if update.parts:
            for part, judged in zip(update.parts, judgement.parts, strict=True):
                self.take(part, judged)
            return
        for package in judgement.plan.packages:
            self._take_package(package.identity, package.target)
            name = package.identity.package_name.lower()
            for one in package.updates:
                self._updates[name, one.update.name.lower()] = one.state
        for component in _components(update, judgement.plan, least=PackageState.INSTALLED):
            self._versions[family_hash(component)].add(component.version)

    def _take_package(self, identity: AssemblyIdentity, target: int) -> None:
        present = self.packages_of(identity)
        higher = [one for one in present if one.identity.version > identity.version]
        state = max(target, self.package_state(identity))
        if target >= PackageState.INSTALLED:
            if any(one.state >= PackageState.INSTALLED for one in higher):
                state = PackageState.SUPERSEDED
            for one in present:
                if one.identity.version < identity.version and one.state >= PackageState.INSTALLED:
                    self._set(replace(one, state=PackageState.SUPERSEDED))
        self._set(StoredPackage(identity, identity.package_name, state))

    def _set(self, package: StoredPackage) -> None:
        self._packages.setdefault(package.identity.family, {})[package.identity.version] = package


def _components(
    update: UpdateDescription, plan: Plan, least: int = PackageState.STAGED
) -> Iterator[AssemblyIdentity]:
    """Components of what a plan brings to a state; nothing if not all of them are known."""
    keys = {keyform(one) for _, asked, one in plan.deployments if asked.state >= least}
    if keys <= update.installs.keys():
        seen: set[AssemblyIdentity] = set()
        for key in sorted(keys):
            for identity in update.installs[key]:
                if identity not in seen:
                    seen.add(identity)
                    yield identity


def _stack_findings(
    state: ImageState, plan: Plan, components: Iterable[AssemblyIdentity]
) -> Iterator[Finding]:
    """The engine does not replace servicing stacks."""
    packages = [one.identity for one in plan.packages]
    deployments = [one for _, _, one in plan.deployments]
    for identity in (*packages, *deployments, *components):
        if not identity.is_servicing_stack:
            continue
        if identity.version not in state.installed_versions(identity):
            text = f"{identity.name} {identity.version} would replace the servicing stack"
            yield Finding(Verdict.NOT_SUPPORTED, "servicing-stack", text)


def _chain_findings(image: Image, update: UpdateDescription, reached: Version) -> Iterator[Finding]:
    """A cumulative update that is below the build of the image, or above a missing checkpoint."""
    step = update.step
    if step is None or update.kind is not UpdateKind.CUMULATIVE or step.leads_to is None:
        return
    target = step.leads_to
    if (target.major, target.minor, target.build) != (reached.major, reached.minor, reached.build):
        if image.base_build:
            text = f"it leads to {target}; the files of the image are of build {reached}"
            yield Finding(Verdict.NOT_APPLICABLE, "build", text)
        return
    chain = chain_from((step,), reached)
    if not chain.steps:
        text = f"it leads to {target}, and {reached} is reached without it"
        yield Finding(Verdict.SUPERSEDED, "superseded", text)
    elif chain.missing is not None:
        text = f"the checkpoint that leads to {chain.missing} ({reached} is reached)"
        yield Finding(Verdict.PREREQUISITE_MISSING, "checkpoint-missing", text)
