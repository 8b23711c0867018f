"""Why a package cannot be removed: what needs it, what forbids it, what has been reset."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from wimsmith.offline.components.store.lookups import CBS, PACKAGES, Store
from wimsmith.offline.components.transition.packages import Packages
from wimsmith.offline.facts import PackageState
from wimsmith.offline.filetime import to_datetime
from wimsmith.offline.manifests.package import PackageManifest
from wimsmith.offline.planning.parents import matches
from wimsmith.offline.planning.state import StoredPackage
from wimsmith.offline.registry.values import ValueType
from wimsmith.offline.verdicts import Finding, Verdict

_PERMANENT_KINDS = frozenset(["foundation", "product"])
_LANGUAGE_PACK = re.compile(r"microsoft-windows-.*languagepack-package", re.IGNORECASE)
_RESET = "LastResetBase_UTC"
_TIME = re.compile(r"(\d{4})[/-](\d\d)[/-](\d\d)[T: ](\d\d):(\d\d):(\d\d)", re.ASCII)


def reasons_against(
    store: Store, packages: Packages, going: Mapping[str, StoredPackage]
) -> Iterator[Finding]:
    """Everything that stands in the way of removing `going`, packages by name in lower case."""
    reset = _last_reset(store)
    for package in going.values():
        manifest = packages.manifest(package)
        yield from _permanence(package, manifest)
        if PackageState.SUPERSEDED < package.state < PackageState.INSTALLED:
            yield _finding("pending", f"{package.name} is half installed")
        if manifest.drivers:
            yield _finding("driver-element", f"{package.name} holds drivers")
        if reset is not None and _installed_at(store, package) <= reset:
            text = f"the image was reset at {reset:%Y-%m-%d %H:%M} UTC, after {package.name} came"
            yield _finding("reset-base", text)
    yield from _dependants(store, packages, going)
    yield from _owners(packages, going)


def _permanence(package: StoredPackage, manifest: PackageManifest) -> Iterator[Finding]:
    if package.state >= PackageState.PERMANENT:
        yield _finding("permanent", f"{package.name} is in the state of permanent packages")
    elif manifest.permanence.lower() == "permanent":
        yield _finding("permanent", f"{package.name} says of itself that it is permanent")
    elif manifest.release_type.lower() in _PERMANENT_KINDS:
        yield _finding("permanent", f"{package.name} is a part of Windows itself")
    elif _holds_servicing_stack(manifest):
        yield _finding("permanent", f"{package.name} holds a servicing stack")
    if _LANGUAGE_PACK.match(package.identity.name):
        yield _finding("language-pack", f"{package.name} is a language of Windows")


def _holds_servicing_stack(manifest: PackageManifest) -> bool:
    held = (manifest.identity, *manifest.deployments)
    return manifest.self_update or any(one.is_servicing_stack for one in held)


def _dependants(
    store: Store, packages: Packages, going: Mapping[str, StoredPackage]
) -> Iterator[Finding]:
    """Packages that stay and whose parent goes, without another one that would do."""
    families = {one.identity.family for one in going.values()}
    for package in packages.mentioning({one.identity.name for one in going.values()}):
        if package.name.lower() in going:
            continue
        parents = packages.manifest(package).parents
        fitting = [
            one
            for parent in parents
            for identity in parent.identities
            for one in store.packages_of(identity)
            if one.state >= PackageState.STAGED
            and matches(store.image, parent, identity.version, one.identity.version)
        ]
        named = [one for one in fitting if one.identity.family in families]
        lost = [one for one in named if one.name.lower() in going]
        if lost and len(lost) == len(fitting):
            yield _finding("needed-by", f"{package.name} needs {lost[0].name}")


def _owners(packages: Packages, going: Mapping[str, StoredPackage]) -> Iterator[Finding]:
    """Packages that stay and hold one that goes as their own part."""
    for package in going.values():
        for name in packages.owners(package):
            if name.lower() not in going and packages.find(name) is not None:
                yield _finding("needed-by", f"{package.name} is a part of {name}")


def _last_reset(store: Store) -> datetime | None:
    """When installed updates became permanent; the latest time there is if nobody can tell."""
    value = store.software.value(CBS, _RESET)
    if value is None:
        return None
    if value.type in {ValueType.SZ, ValueType.EXPAND_SZ}:
        match = _TIME.search(value.text())
        numbers = [int(part) for part in match.groups()] if match else []
    else:
        found = to_datetime(int.from_bytes(value.data, "little")) if len(value.data) == 8 else None
        return found or datetime.max.replace(tzinfo=UTC)
    try:
        return datetime(*numbers, tzinfo=UTC)  # type: ignore[arg-type,misc]
    except (TypeError, ValueError):
        return datetime.max.replace(tzinfo=UTC)


def _installed_at(store: Store, package: StoredPackage) -> datetime:
    path = rf"{PACKAGES}\{package.name}"
    high, low = (store.software.value(path, f"InstallTime{part}") for part in ("High", "Low"))
    number = (high.dword() << 32 | low.dword()) if high and low else 0
    return to_datetime(number) or datetime.min.replace(tzinfo=UTC)


def _finding(code: str, text: str) -> Finding:
    return Finding(Verdict.NOT_SUPPORTED, code, text)


def missing(names: Iterable[str]) -> Iterator[Finding]:
    """Packages that are asked for and that the image does not have."""
    for name in names:
        text = f"the image has no package {name}"
        yield Finding(Verdict.NOT_APPLICABLE, "not-installed", text)
