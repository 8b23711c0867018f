"""What in the manifests of an update rules out that it is applied natively."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wimsmith.offline import paths
from wimsmith.offline.manifests.package import PackageManifest
from wimsmith.offline.packages.branches import forced_packages
from wimsmith.offline.packages.containers.kinds import Obstacle
from wimsmith.offline.packages.package import ExpandedPackage

_LANGUAGE_PACK = re.compile(
    r"microsoft-windows-.*-languagepack-package|.*-language-pack.*", re.IGNORECASE
)
_PROVED_ELEVATIONS = frozenset({"install", "revision"})


@dataclass(frozen=True, slots=True)
class Reason(Obstacle):
    """An obstacle and what says so: the name of a file, package or manifest."""

    where: str = ""


def manifests_in_use(package: ExpandedPackage) -> tuple[PackageManifest, ...]:
    """Manifests of an update that are ever evaluated, the top one first.

    What only `update-bf.mum` leads to is left out: it is the same package with another rule, which
    is asked for nowhere.
    """
    reached = {paths.fold(package.top.name): package.top}
    pending = [package.top]
    while pending:
        for child in pending.pop(0).manifest.children:
            one = package.package(child.identity)
            if one is not None and paths.fold(one.name) not in reached:
                reached[paths.fold(one.name)] = one
                pending.append(one)
    forced = {paths.fold(one.name) for one in forced_packages(package)}
    others = (one for name, one in package.packages.items() if paths.fold(name) not in forced)
    kept = {paths.fold(one.name): one for one in (*reached.values(), *others)}
    return tuple(one.manifest for one in kept.values())


def obstacles_of(manifests: Iterable[PackageManifest]) -> Iterator[Reason]:
    """Reasons in package manifests for not applying the update natively."""
    for manifest in manifests:
        yield from _by_identity(manifest)
        yield from _by_content(manifest)


def _by_identity(manifest: PackageManifest) -> Iterator[Reason]:
    name, where = manifest.identity.name, manifest.identity.package_name
    if _LANGUAGE_PACK.fullmatch(name):
        text = f"{name} is a language pack of the operating system"
        yield Reason("language-pack", text, where)
    if "hotpatch" in name.lower():
        yield Reason("hotpatch", f"{name} patches running programs", where)
    if "-edition" in name.lower() and manifest.target_edition:
        text = f"{name} sets the edition {manifest.target_edition}"
        yield Reason("edition-upgrade", text, where)
    if manifest.release_type.lower() == "service pack":
        yield Reason("service-pack", f"{name} is a service pack", where)


def _by_content(manifest: PackageManifest) -> Iterator[Reason]:
    name, where = manifest.identity.name, manifest.identity.package_name
    if not manifest.offline_capable:
        text = f"{name} says that it cannot be installed offline"
        yield Reason("not-offline-capable", text, where)
    if manifest.is_psfx:
        text = f"{name} is a package of forward and reverse differentials"
        yield Reason("psfx", text, where)
    if manifest.drivers:
        yield Reason("driver-element", f"{name} installs drivers", where)
    for elevation in _unproved_elevations(manifest):
        text = f"{name} applies on a condition nobody has seen evaluated: {elevation}"
        yield Reason("elevate-unproven", text, where)
    for element in manifest.unknown:
        if "/applicable/" not in element:
            text = f"{name} holds {element}, which is unknown"
            yield Reason(f"advanced-new:{element}", text, where)


def _unproved_elevations(manifest: PackageManifest) -> list[str]:
    stated = [
        condition.elevate
        for update in manifest.updates
        if update.applicable is not None
        for condition in update.applicable.components
    ]
    unknown = [element for element in manifest.unknown if "/applicable/" in element]
    return [one for one in stated if one not in _PROVED_ELEVATIONS] + unknown
