"""Which package somebody means who names an update."""

import re

from wimsmith.offline.components.store.lookups import PACKAGES, Store
from wimsmith.offline.components.transition.packages import Packages
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.planning.state import StoredPackage

_ARTICLE = re.compile(r"(?:KB)?(\d{5,8})", re.IGNORECASE | re.ASCII)


def packages_named(store: Store, text: str) -> tuple[AssemblyIdentity, ...]:
    """Packages that `text` names, newest version first; none if the image has no such package.

    Args:
        store: the image.
        text: a whole package name, the part of it before the first `~`, or the number of a
            Knowledge Base article with or without `KB`, which stands for the packages that are
            in the image for their own sake.

    A name without a version means the installed versions where there are any.

    Raises:
        NotSupported: `image-damaged`, a manifest that may be meant is missing or unreadable.
    """
    packages = Packages(store)
    exact = packages.find(text)
    if exact is not None:
        return (exact.identity,)
    article = _ARTICLE.fullmatch(text)
    if article:
        found = [one for one in packages.all() if _is_of(packages, one, article[1])]
        found = [one for one in found if is_top_level(store, one)]
    else:
        found = [one for one in packages.all() if one.identity.name.lower() == text.lower()]
    installed = [one for one in found if one.state >= PackageState.INSTALLED]
    chosen = sorted(installed or found, key=lambda one: one.identity.version, reverse=True)
    return tuple(one.identity for one in chosen)


def is_top_level(store: Store, package: StoredPackage) -> bool:
    """Whether a package is in the image for its own sake, not only as a part of others."""
    owners = [value.name for value in store.software.values(rf"{PACKAGES}\{package.name}\Owners")]
    return not owners or package.name.lower() in map(str.lower, owners)


def _is_of(packages: Packages, package: StoredPackage, number: str) -> bool:
    """Whether an article is the one of a package, by its name or its manifest."""
    own = re.compile(rf"(?<![0-9A-Za-z])KB{number}(?!\d)", re.IGNORECASE)
    if own.search(package.identity.name.replace("_", " ")):
        return True
    return bool(own.search(packages.manifest(package).identifier.replace("_", " ")))
