"""Branches of a package: which of its manifests belong to GDR and which to LDR.

Packages up to Windows 8.1 bring components in two branches: *general distribution* (GDR, security
fixes only) and *limited distribution* (LDR, all hotfixes). The updates of a package name their
branch at the end of their name, as in `2999226-1_neutral_LDR`. `update-bf.mum` and the manifests it
leads to are the same package with the rule that the LDR branch is installed in any case.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from wimsmith.offline import paths
from wimsmith.offline.manifests.component import parse_component
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.packages.package import ExpandedPackage, PackageFile

_SUFFIX = re.compile(r".*[_-](GDR|LDR)", re.IGNORECASE | re.DOTALL)


class Branch(StrEnum):
    """A branch of servicing."""

    GDR = "gdr"
    LDR = "ldr"


def branch_of_update(name: str) -> Branch | None:
    """The branch that the name of an update states, or None."""
    found = _SUFFIX.fullmatch(name)
    return None if found is None else Branch(found[1].lower())


def branches_of(package: ExpandedPackage) -> Mapping[str, frozenset[Branch]]:
    """Branches of all manifests, by keyform; empty for those that belong to no branch.

    Manifests stored as DCM are not followed, since they need the base text of an image; packages
    with branches are older than DCM.

    Raises:
        DamagedManifest: a manifest that a branch leads to is broken.
    """
    found: dict[str, set[Branch]] = {key: set() for key in package.manifests}
    for branch in Branch:
        deployments = [
            deployment
            for one in package.packages.values()
            for update in one.manifest.updates
            if branch_of_update(update.name) is branch
            for deployment in update.components
        ]
        for key in _reached(package, deployments):
            found[key].add(branch)
    return {key: frozenset(branches) for key, branches in found.items()}


def forced_packages(package: ExpandedPackage) -> tuple[PackageFile, ...]:
    """`update-bf.mum` and the packages it leads to, parents first; empty if there is none."""
    if package.branch_forward is None:
        return ()
    found = {paths.fold(package.branch_forward.name): package.branch_forward}
    pending = [package.branch_forward]
    while pending:
        for child in pending.pop(0).manifest.children:
            one = package.package(child.identity)
            if one is not None and paths.fold(one.name) not in found:
                found[paths.fold(one.name)] = one
                pending.append(one)
    return tuple(found.values())


def _reached(package: ExpandedPackage, deployments: Iterable[AssemblyIdentity]) -> Iterator[str]:
    """Keyforms of deployments and of everything they install that the package brings."""
    seen: set[str] = set()
    pending = list(deployments)
    while pending:
        key = keyform(pending.pop())
        stored = package.manifests.get(key)
        if stored is None or key in seen:
            continue
        seen.add(key)
        yield key
        if not stored.compressed:
            pending += parse_component(stored.raw).installs
