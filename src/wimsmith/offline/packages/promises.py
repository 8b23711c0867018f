"""What the manifest of a package says of itself, in the words people use."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from wimsmith.offline.manifests.component import ComponentManifest
from wimsmith.offline.manifests.identity import Version
from wimsmith.offline.manifests.package import PackageManifest
from wimsmith.offline.packages.containers.msu import MsuDescription

_ARTICLE = re.compile(r"KB(\d{5,8})", re.IGNORECASE)
_NO_NAMES = frozenset({"", "default"})
_ROLLUP = "package_for_rollupfix"
_REVISION_VALUE = "ubr"
_VERSION_KEY = "hkey_local_machine\\software\\microsoft\\windows nt\\currentversion"
_WINDOWS_VERSIONS = frozenset({"6.0", "6.1", "6.2", "6.3", "10.0"})


@dataclass(frozen=True, slots=True, order=True)
class PromisedBuild:
    """The build and revision of Windows after an update; `stated_by` says where that stands."""

    build: int
    revision: int
    stated_by: str = ""

    @classmethod
    def of(cls, version: Version | None, stated_by: str) -> Self | None:
        """From a version such as `10.0.19041.500`."""
        return None if version is None else cls(version.build, version.revision, stated_by)

    def __str__(self) -> str:
        return f"{self.build}.{self.revision}"


def title_of(top: PackageManifest) -> str:
    """What to call a package."""
    names = (
        top.display_name,
        *(update.display_name for update in top.updates),
        top.description,
        top.identifier,
    )
    return _first(name for name in names if name.lower() not in _NO_NAMES) or top.identity.name


def text_of(top: PackageManifest) -> str:
    """Its description."""
    return top.description or _first(update.description for update in top.updates)


def article_of(top: PackageManifest, description: MsuDescription) -> str:
    """Number of its knowledge base article, as `KB2999226`, or the empty text."""
    for text in (top.identifier, description.article, top.identity.name):
        if found := _ARTICLE.search(text):
            return f"KB{found[1]}"
    return ""


def support_of(top: PackageManifest, description: MsuDescription) -> str:
    """Where its maker writes about it."""
    return top.support_information or description.properties.get("Support Link", "")


def restart_of(top: PackageManifest) -> str:
    """Whether a restart is needed, as the package or its first update says."""
    return top.restart or _first(update.restart for update in top.updates)


def builds_for(top: PackageManifest) -> tuple[str, ...]:
    """Builds of Windows that the parents of a package are of, such as `10.0.19041`.

    Parts of Windows with a version of their own (11.0 for Internet Explorer) carry the build of
    their Windows, too: with no other parent it is that build alone, as `19041`.
    """
    versions = {one.version for parent in top.parents for one in parent.identities}
    windows = sorted({(one.major, one.minor, one.build) for one in versions if _is_windows(one)})
    if windows:
        return tuple(f"{major}.{minor}.{build}" for major, minor, build in windows)
    return tuple(str(build) for build in sorted({one.build for one in versions}) if build)


def promised_build(
    top: PackageManifest, components: Iterable[ComponentManifest]
) -> PromisedBuild | None:
    """The build that a cumulative update leads to: by its own version, or by what it writes."""
    if top.identity.name.lower() == _ROLLUP:
        version = top.identity.version
        return PromisedBuild(version.major, version.minor, "the version of the package")
    written = [
        PromisedBuild(component.identity.version.build, number, "the revision it writes")
        for component in components
        for key in component.registry_keys
        if key.key_name.lower().rstrip("\\") == _VERSION_KEY
        for value in key.values
        if value.name.lower() == _REVISION_VALUE
        if (number := _number(value.value)) is not None
    ]
    return max(written, default=None)


def _is_windows(version: Version) -> bool:
    return version.branch in _WINDOWS_VERSIONS


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def _first(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "")
