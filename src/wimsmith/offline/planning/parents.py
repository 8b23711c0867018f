"""How versions are compared with those that a package asks of its parents.

Each part is compared for itself, EQ or GE; evidence: docs/internals/planning.md.
"""

import logging
from collections.abc import Iterator

from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.package import Compare, Parent
from wimsmith.offline.planning.state import Image
from wimsmith.offline.planning.telling import log

_LIMITED_DISTRIBUTION = 20_000
"""Revisions from here on belong to the LDR branch, before Windows 10."""

_BUILD_PARTS = frozenset({"Version", "Service", "Build"})


_DISPOSITIONS = frozenset({"", "detect", "staged"})
"""How parents are looked for, as far as it is known: all of these ask that one is there."""


def is_known(parent: Parent) -> bool:
    """Whether it is known what a `parent` element asks for; others may ask that none is there."""
    return parent.disposition.lower() in _DISPOSITIONS


def matches(image: Image, parent: Parent, wanted: Version, found: Version) -> bool:
    """Whether a version satisfies what a `parent` element asks for."""
    return not _mismatches(image, parent, wanted, found)


def is_other_build(image: Image, parent: Parent, wanted: Version, found: Version) -> bool:
    """Whether a version fails because it is of another build, and not only for its revision."""
    return not _BUILD_PARTS.isdisjoint(_mismatches(image, parent, wanted, found))


def distribution(version: Version) -> int:
    """The branch of a version: 0 for GDR, 1 for LDR; Windows 10 and later have one branch."""
    return int(version.major < 10 and version.revision >= _LIMITED_DISTRIBUTION)


def log_parent(image: Image, package: str, parent: Parent, identity: AssemblyIdentity) -> None:
    """Write the line with which Windows' log begins to look for a parent.

    `Exist: present` says what is looked for, not what is found; the next lines say that.
    """
    if not log.isEnabledFor(logging.INFO):
        return
    parts = ", ".join(
        f"{name}Comp: {compare.value}"
        for name, compare, _, _ in _parts(image, parent, identity.version, identity.version)
    )
    disposition = (parent.disposition or "detect").capitalize()
    log.info(
        "Appl: detect Parent, Package: %s, Parent: %s, Disposition = %s, %s, Exist: present",
        package,
        identity.package_name,
        disposition,
        parts,
    )


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
    branches = (wanted.major, wanted.minor), (found.major, found.minor)
    yield ("Version", parent.version_compare, *branches)
    if not image.is_modern:
        # a service pack raised the build number, so these two parts are the same number
        yield ("Service", parent.service_compare, (wanted.build,), (found.build,))
    yield ("Build", parent.build_compare, (wanted.build,), (found.build,))
    if not image.is_modern:
        one, other = (distribution(version) for version in (wanted, found))
        yield ("Distribution", parent.distribution_compare, (one,), (other,))
    yield ("Revision", parent.revision_compare, (wanted.revision,), (found.revision,))
