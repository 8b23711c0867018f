"""What an update file says about itself, whether or not it can be applied.

`inspect` never judges an image: obstacles are those that the file alone decides.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import NotSupported
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.package import PackageManifest
from wimsmith.offline.packages.kinds import ContainerKind, Obstacle
from wimsmith.offline.packages.limits import DEFAULT_LIMITS, PackageLimits
from wimsmith.offline.packages.msu import MsuDescription
from wimsmith.offline.packages.package import Container, ExpandedPackage, assemble, unwrap
from wimsmith.offline.progress import Progress, silent

_ARTICLE = re.compile(r"KB(\d{5,8})", re.IGNORECASE)
_LANGUAGE_PACK = re.compile(
    r"microsoft-windows-.*-languagepack-package|.*-language-pack.*", re.IGNORECASE
)
_PROVED_ELEVATIONS = frozenset({"install", "revision"})
_NO_NAMES = frozenset({"", "default"})


@dataclass(frozen=True, slots=True)
class UpdateFacts:
    """An update as it describes itself; fields that nothing states are empty or None.

    `size_bytes` is that of the file, `expanded_bytes` of all files in it. `parents` are the
    alternatives of each `parent` element. An update with `obstacles` is not applied natively.
    """

    source: Path
    size_bytes: int
    kind: ContainerKind | None = None
    identity: AssemblyIdentity | None = None
    title: str = ""
    description: str = ""
    article: str = ""
    support_url: str = ""
    release_type: str = ""
    architecture: str = ""
    language: str = ""
    created: str = ""
    restart: str = ""
    parents: tuple[tuple[AssemblyIdentity, ...], ...] = ()
    children: tuple[AssemblyIdentity, ...] = ()
    installer_assembly: AssemblyIdentity | None = None
    manifest_count: int = 0
    expanded_bytes: int = 0
    offline_capable: bool | None = None
    obstacles: tuple[Obstacle, ...] = ()


def inspect(
    path: Path,
    work: Path,
    *,
    limits: PackageLimits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> UpdateFacts:
    """Describe an update file; one that is refused by name is described as far as it can be.

    Args:
        path: the file.
        work: folder to expand it in; the caller removes it.
        limits: most that it may ask for.
        progress: told while it is expanded.

    Raises:
        DamagedInput: the file is broken.
        LimitExceeded: it asks for more than `limits` allow.
        OSError: the file or the folder cannot be used.
    """
    try:
        container = unwrap(path, work, limits=limits, progress=progress)
        if container.obstacle is not None:
            return _facts_of_refused(container, container.obstacle)
        return facts_of(assemble(container, work))
    except NotSupported as refusal:
        obstacle = Obstacle(refusal.reason, str(refusal.args[1]))
        return UpdateFacts(path, path.stat().st_size, obstacles=(obstacle,))


def facts_of(package: ExpandedPackage) -> UpdateFacts:
    """Facts of an expanded update."""
    manifests = [one.manifest for one in package.packages.values()]
    return _facts(
        package.source,
        package.kind,
        package.top.manifest,
        package.description,
        obstacles=tuple(dict.fromkeys(obstacles_of(manifests))),
        manifest_count=len(package.manifests),
        expanded_bytes=sum(file.size_bytes for file in package.files.values()),
    )


def obstacles_of(manifests: Iterable[PackageManifest]) -> Iterator[Obstacle]:
    """Reasons in package manifests for not applying the update natively."""
    for manifest in manifests:
        yield from _by_identity(manifest)
        yield from _by_content(manifest)


def _by_identity(manifest: PackageManifest) -> Iterator[Obstacle]:
    name = manifest.identity.name
    if _LANGUAGE_PACK.fullmatch(name):
        yield Obstacle("language-pack", f"{name} is a language pack of the operating system")
    if "hotpatch" in name.lower():
        yield Obstacle("hotpatch", f"{name} patches running programs")
    if "-edition" in name.lower() and manifest.target_edition:
        yield Obstacle("edition-upgrade", f"{name} sets the edition {manifest.target_edition}")
    if manifest.release_type.lower() == "service pack":
        yield Obstacle("service-pack", f"{name} is a service pack")


def _by_content(manifest: PackageManifest) -> Iterator[Obstacle]:
    name = manifest.identity.name
    if not manifest.offline_capable:
        yield Obstacle("not-offline-capable", f"{name} says that it cannot be installed offline")
    if manifest.is_psfx:
        yield Obstacle("psfx", f"{name} is a package of forward and reverse differentials")
    if manifest.drivers:
        yield Obstacle("driver-element", f"{name} installs drivers")
    for elevation in _unproved_elevations(manifest):
        text = f"{name} applies on a condition nobody has seen evaluated: {elevation}"
        yield Obstacle("elevate-unproven", text)
    for element in manifest.unknown:
        if "/applicable/" not in element:
            yield Obstacle(f"advanced-new:{element}", f"{name} holds {element}, which is unknown")


def _unproved_elevations(manifest: PackageManifest) -> list[str]:
    stated = [
        condition.elevate
        for update in manifest.updates
        if update.applicable is not None
        for condition in update.applicable.components
    ]
    unknown = [element for element in manifest.unknown if "/applicable/" in element]
    return [one for one in stated if one not in _PROVED_ELEVATIONS] + unknown


def _facts_of_refused(container: Container, obstacle: Obstacle) -> UpdateFacts:
    expanded_bytes = sum(file.size_bytes for file in container.files.values())
    if container.top is None:
        return UpdateFacts(
            container.source,
            container.source.stat().st_size,
            container.kind,
            article=container.description.article,
            architecture=container.description.properties.get("Processor Architecture", ""),
            expanded_bytes=expanded_bytes,
            obstacles=(obstacle,),
        )
    return _facts(
        container.source,
        container.kind,
        container.top,
        container.description,
        obstacles=(obstacle, *obstacles_of([container.top])),
        manifest_count=0,
        expanded_bytes=expanded_bytes,
    )


def _facts(
    source: Path,
    kind: ContainerKind,
    top: PackageManifest,
    description: MsuDescription,
    *,
    obstacles: tuple[Obstacle, ...],
    manifest_count: int,
    expanded_bytes: int,
) -> UpdateFacts:
    return UpdateFacts(
        source=source,
        size_bytes=source.stat().st_size,
        kind=kind,
        identity=top.identity,
        title=_title(top),
        description=top.description or _first(update.description for update in top.updates),
        article=_article(top, description),
        support_url=top.support_information or description.properties.get("Support Link", ""),
        release_type=top.release_type,
        architecture=top.identity.architecture,
        language="" if top.identity.neutral_language else top.identity.language,
        created=top.created,
        restart=_restart(top),
        parents=tuple(parent.identities for parent in top.parents),
        children=tuple(child.identity for child in top.children),
        installer_assembly=top.installer_assembly,
        manifest_count=manifest_count,
        expanded_bytes=expanded_bytes,
        offline_capable=top.offline_capable,
        obstacles=obstacles,
    )


def _title(top: PackageManifest) -> str:
    names = (
        top.display_name,
        *(update.display_name for update in top.updates),
        top.description,
        top.identifier,
    )
    return _first(name for name in names if name.lower() not in _NO_NAMES) or top.identity.name


def _article(top: PackageManifest, description: MsuDescription) -> str:
    for text in (top.identifier, description.article, top.identity.name):
        if found := _ARTICLE.search(text):
            return f"KB{found[1]}"
    return ""


def _restart(top: PackageManifest) -> str:
    return top.restart or _first(update.restart for update in top.updates)


def _first(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "")
