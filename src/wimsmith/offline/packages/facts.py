"""What an update file says about itself, whether or not it can be applied.

`inspect` never judges an image: obstacles are those that the file alone decides, and conditions
are what an image may turn into one. Nothing here is proved by a signature; see `trust.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wimsmith.errors import NotSupported
from wimsmith.offline.manifests.component import ComponentManifest
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.package import Capability, PackageManifest, Parent
from wimsmith.offline.packages.containers.ipd import IndexSummary
from wimsmith.offline.packages.containers.kinds import ContainerKind, Obstacle
from wimsmith.offline.packages.containers.msu import MsuDescription
from wimsmith.offline.packages.containers.strangers import stranger
from wimsmith.offline.packages.containers.unwrapping import Container, unwrap_all
from wimsmith.offline.packages.contents import (
    ComponentFacts,
    Contents,
    PayloadFacts,
    UnitFacts,
    contents_of,
    payload_of,
    units_of,
)
from wimsmith.offline.packages.limits import DEFAULT_LIMITS, PackageLimits
from wimsmith.offline.packages.obstacles import Reason, manifests_in_use, obstacles_of
from wimsmith.offline.packages.package import ExpandedPackage, assemble
from wimsmith.offline.packages.planning import PLANNED_REASONS, PlannedFacts, planned_facts
from wimsmith.offline.packages.promises import (
    PromisedBuild,
    article_of,
    builds_for,
    promised_build,
    restart_of,
    support_of,
    text_of,
    title_of,
)
from wimsmith.offline.progress import Progress, silent

Examine = Callable[[ComponentManifest], Iterable[Reason]]
"""Looks into a component for what stands in the way wherever it is installed."""


@dataclass(frozen=True, slots=True)
class UpdateFacts:
    """An update as it describes itself; fields that nothing states are empty or None.

    `size_bytes` is that of the file, `expanded_bytes` of all files in it. Any one of the
    identities of any one of `parents` satisfies the package. `builds` are builds of Windows
    (`10.0.19041`) that its parents are of; `leads_to` is the build and revision after it, where
    something promises one.

    An update with `obstacles` is not applied natively. `conditions` are in the way in some images
    and in others not: a component that one of them is about may not apply there, or be there
    already.

    `planning` is what a package that is not opened says of itself; `is_whole` is whether it could
    be opened.

    A file with several packages has their facts as `parts`, in the order in which they are
    installed. It has no identity itself; what else it says of itself is what its main part says.
    What is in the way of a part is a condition: in an image that the part does not apply to, it
    is not.
    """

    source: Path
    size_bytes: int
    name: str = ""
    kind: ContainerKind | None = None
    identity: AssemblyIdentity | None = None
    title: str = ""
    description: str = ""
    article: str = ""
    support_url: str = ""
    release_type: str = ""
    architecture: str = ""
    language: str = ""
    architectures: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    created: str = ""
    restart: str = ""
    permanence: str = ""
    builds: tuple[str, ...] = ()
    leads_to: PromisedBuild | None = None
    parents: tuple[Parent, ...] = ()
    children: tuple[AssemblyIdentity, ...] = ()
    packages: tuple[AssemblyIdentity, ...] = ()
    installer_assembly: AssemblyIdentity | None = None
    capabilities: tuple[Capability, ...] = ()
    branches: tuple[str, ...] = ()
    branch_forward: AssemblyIdentity | None = None
    units: tuple[UnitFacts, ...] = ()
    components: tuple[ComponentFacts, ...] = ()
    payload: tuple[PayloadFacts, ...] = ()
    manifest_count: int = 0
    expanded_bytes: int = 0
    index: IndexSummary | None = None
    offline_capable: bool | None = None
    obstacles: tuple[Reason, ...] = ()
    conditions: tuple[Reason, ...] = ()
    planning: PlannedFacts | None = None
    is_whole: bool = False
    parts: tuple["UpdateFacts", ...] = ()

    @property
    def main(self) -> "UpdateFacts":
        """The part that the others are for: the last that is no servicing stack."""
        others = (
            one
            for one in reversed(self.parts)
            if not (one.identity and one.identity.is_servicing_stack)
        )
        return next(others, self.parts[-1]) if self.parts else self


def inspect(
    path: Path,
    work: Path,
    *,
    base_manifests: Sequence[bytes] = (),
    examine: Examine | None = None,
    limits: PackageLimits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> UpdateFacts:
    """Describe an update file; one that is refused by name is described as far as it can be.

    Args:
        path: the file.
        work: folder to expand it in; the caller removes it.
        base_manifests: base texts for compressed manifests; without them those stay unread.
        examine: further looks into components, for conditions.
        limits: most that it may ask for.
        progress: told while it is expanded.

    Raises:
        DamagedInput: the file is broken.
        LimitExceeded: it asks for more than `limits` allow.
        OSError: the file or the folder cannot be used.
    """
    looks = inspect_all(
        path,
        work,
        base_manifests=base_manifests,
        examine=examine,
        limits=limits,
        progress=progress,
    )
    return looks[0]


def inspect_all(
    path: Path,
    work: Path,
    *,
    base_manifests: Sequence[bytes] = (),
    examine: Examine | None = None,
    limits: PackageLimits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> tuple[UpdateFacts, tuple[ExpandedPackage, ...]]:
    """Describe an update file, and give the packages in it that could be expanded into `work`.

    They come in the order of `parts`, of which those that are `is_whole` have a package.
    Arguments and errors as for `inspect`.
    """
    inspection = _Inspection(path, work, base_manifests, examine, limits, progress)
    return inspection.facts(), tuple(inspection.packages)


def facts_of(
    package: ExpandedPackage,
    *,
    base_manifests: Sequence[bytes] = (),
    examine: Examine | None = None,
    progress: Progress = silent,
) -> UpdateFacts:
    """Facts of an expanded update; arguments as for `inspect`."""
    manifests = manifests_in_use(package)
    contents = contents_of(package, base_manifests, progress)
    units = units_of(manifests)
    facts = _described(
        UpdateFacts(package.source, package.source.stat().st_size, kind=package.kind),
        package.top.manifest,
        package.description,
    )
    identities = [one.identity for one in manifests]
    components = contents.components
    named = [*identities, *(one.identity for one in components if one.identity is not None)]
    return replace(
        facts,
        packages=tuple(identities),
        architectures=_distinct(one.architecture for one in named),
        languages=_distinct(one.language for one in named if not one.neutral_language),
        leads_to=promised_build(package.top.manifest, contents.manifests.values()),
        branches=_distinct(unit.branch for unit in units),
        branch_forward=package.branch_forward.identity if package.branch_forward else None,
        units=units,
        components=components,
        payload=payload_of(package.files.values(), progress),
        manifest_count=len(package.manifests),
        expanded_bytes=sum(file.size_bytes for file in package.files.values()),
        index=package.index,
        is_whole=True,
        obstacles=tuple(dict.fromkeys(obstacles_of(manifests))),
        conditions=tuple(
            dict.fromkeys((*_conditions(identities, components), *_examined(contents, examine)))
        ),
    )


class _Inspection:
    """One look at one file."""

    def __init__(
        self,
        path: Path,
        work: Path,
        base_manifests: Sequence[bytes],
        examine: Examine | None,
        limits: PackageLimits,
        progress: Progress,
    ) -> None:
        self._path = path
        self._work = work
        self._bases = base_manifests
        self._examine = examine
        self._limits = limits
        self._progress = progress
        self.packages: list[ExpandedPackage] = []

    def facts(self) -> UpdateFacts:
        try:
            containers = unwrap_all(
                self._path, self._work, limits=self._limits, progress=self._progress
            )
        except NotSupported as refusal:
            return self._refused(self._named(_reason(refusal, self._path.name)))
        if len(containers) == 1:
            return self._one(containers[0])
        parts = tuple(
            replace(self._one(container), name=container.name) for container in containers
        )
        return self._several(parts, containers[0].description)

    def _several(self, parts: tuple[UpdateFacts, ...], description: MsuDescription) -> UpdateFacts:
        whole = UpdateFacts(self._path, self._path.stat().st_size, kind=parts[0].kind, parts=parts)
        main = whole.main
        is_refused = all(part.obstacles for part in parts)
        obstacles = tuple(_of_part(part, one) for part in parts for one in part.obstacles)
        conditions = tuple(_of_part(part, one) for part in parts for one in part.conditions)
        return replace(
            whole,
            title=main.title,
            description=main.description,
            article=description.article or main.article,
            support_url=main.support_url,
            release_type=main.release_type,
            architecture=main.architecture,
            language=main.language,
            created=main.created,
            builds=_distinct(build for part in parts for build in part.builds),
            expanded_bytes=sum(part.expanded_bytes for part in parts),
            obstacles=obstacles if is_refused else (),
            conditions=conditions if is_refused else (*obstacles, *conditions),
        )

    def _named(self, reason: Reason) -> Reason:
        """A reason that says what the file is, where that is known."""
        name = stranger(self._path) if reason.code == "not-cbs" else ""
        return replace(reason, text=f"{name}, not an update package") if name else reason

    def _one(self, container: Container) -> UpdateFacts:
        if container.obstacle is not None:
            return self._refused(_placed(container.obstacle, container.name), container)
        try:
            package = assemble(container, self._work)
        except NotSupported as refusal:
            return self._refused(_reason(refusal, container.name), container)
        self.packages.append(package)
        return facts_of(
            package,
            base_manifests=self._bases,
            examine=self._examine,
            progress=self._progress,
        )

    def _refused(self, reason: Reason, container: Container | None = None) -> UpdateFacts:
        facts = UpdateFacts(self._path, self._path.stat().st_size, obstacles=(reason,))
        planning = None
        if reason.code in PLANNED_REASONS:
            planning = planned_facts(
                self._path,
                self._work / "planning",
                reason,
                limits=self._limits,
                progress=self._progress,
            )
        if container is not None:
            description = container.description
            facts = replace(
                facts,
                kind=container.kind,
                article=description.article,
                architecture=description.properties.get("Processor Architecture", ""),
                expanded_bytes=sum(file.size_bytes for file in container.files.values()),
            )
        top = container.top if container is not None else None
        if planning is not None:
            top = top or planning.top
            facts = replace(
                facts,
                article=facts.article or planning.article,
                architecture=facts.architecture or planning.architecture,
                packages=planning.packages,
                leads_to=PromisedBuild.of(planning.leads_to_build, "the composition database"),
                planning=planning,
            )
        if top is None:
            return facts
        description = container.description if container is not None else MsuDescription()
        found = _described(facts, top, description)
        further = (one for one in obstacles_of([top]) if one.code != reason.code)
        return replace(
            found,
            article=found.article or facts.article,
            leads_to=facts.leads_to or promised_build(top, ()),
            obstacles=(reason, *further),
            units=units_of([top]),
        )


def _described(
    facts: UpdateFacts, top: PackageManifest, description: MsuDescription
) -> UpdateFacts:
    """`facts` with what the top manifest says."""
    return replace(
        facts,
        identity=top.identity,
        title=title_of(top),
        description=text_of(top),
        article=article_of(top, description),
        support_url=support_of(top, description),
        release_type=top.release_type,
        architecture=top.identity.architecture,
        language="" if top.identity.neutral_language else top.identity.language,
        created=top.created,
        restart=restart_of(top),
        permanence=top.permanence,
        builds=builds_for(top),
        parents=top.parents,
        children=tuple(child.identity for child in top.children),
        installer_assembly=top.installer_assembly,
        capabilities=top.capabilities,
        offline_capable=top.offline_capable,
    )


def _examined(contents: Contents, examine: Examine | None) -> Iterable[Reason]:
    if examine is not None:
        for manifest in contents.manifests.values():
            yield from examine(manifest)


def _conditions(
    packages: Iterable[AssemblyIdentity], components: Sequence[ComponentFacts]
) -> Iterable[Reason]:
    parts = [
        (one.identity, f"{one.keyform}.manifest") for one in components if one.identity is not None
    ]
    for identity, where in (*((one, one.package_name) for one in packages), *parts):
        if identity.is_servicing_stack:
            text = f"{identity.name} {identity.version} would replace an older servicing stack"
            yield Reason("servicing-stack", text, where)
    for component in components:
        for element in component.advanced:
            text = (
                f"{element} needs an installer of Windows, where the image has it not or otherwise"
            )
            yield Reason(f"advanced-new:{element}", text, f"{component.keyform}.manifest")


def _of_part(part: UpdateFacts, reason: Reason) -> Reason:
    return replace(reason, text=f"{part.name}: {reason.text}")


def _reason(refusal: NotSupported, where: str) -> Reason:
    return Reason(refusal.reason, str(refusal.args[1]), where)


def _placed(obstacle: Obstacle, where: str) -> Reason:
    return Reason(obstacle.code, obstacle.text, where)


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    """Texts that are not empty, each once whatever its case, in order."""
    found: dict[str, str] = {}
    for text in texts:
        if text:
            found.setdefault(text.lower(), text)
    return tuple(found.values())
