"""Composition databases: which build a unified update needs, and which it leads to.

`LCUCompDB_KB1234567.xml.cab` and its siblings for servicing stacks, Safe OS, Setup and enablement
packages stand in `onepackage.AggregatedMetadata.cab` or beside it. Sources of the format:
docs/internals/packages.md.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from wimsmith.errors import DamagedManifest, DamagedPackage
from wimsmith.offline.manifests.identity import Version
from wimsmith.offline.manifests.xmlreader import local_name, parse_xml

_NAME = re.compile(r"(?:.*/)?([a-z]+?)compdb(?:_(kb\d{5,8}))?[^/]*", re.IGNORECASE)
_UPDATE = "BuildUpdate"
_CUMULATIVE = "lcu"
_MAX_PACKAGES = 10_000


@dataclass(frozen=True, slots=True)
class ComposedPackage:
    """A package that a composition database lists; `size_bytes` is that of its payload files."""

    name: str
    version: str = ""
    payload: tuple[str, ...] = ()
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class BuildStep:
    """What one update does to the build of Windows.

    `kind` is what stands before CompDB in the name, in lower case: lcu, ssu, safeosdu, setupdu,
    ekbupdate. `needs` is the build the update is made against, None if nothing states it;
    `leads_to` the one it makes, None for updates that make none.
    """

    kind: str
    article: str = ""
    architecture: str = ""
    needs: Version | None = None
    leads_to: Version | None = None
    packages: tuple[ComposedPackage, ...] = ()


@dataclass(frozen=True, slots=True)
class Chain:
    """Cumulative updates that lead from one build to the last one, in the order to install them.

    `missing` is a build that none of them leads to and that the first one needs, or None.
    """

    steps: tuple[BuildStep, ...]
    missing: Version | None = None


def is_compdb(name: str) -> bool:
    """Whether a file name is that of a composition database, as XML or in its cabinet."""
    return "compdb" in name.lower() and name.lower().endswith((".xml", ".xml.cab"))


def parse_compdb(name: str, data: bytes) -> BuildStep | None:
    """Read a composition database.

    Args:
        name: its file name, which says what it is about.
        data: the XML.

    Returns:
        None if it describes a whole Windows and not an update.

    Raises:
        DamagedPackage: not XML, or a version is malformed.
        LimitExceeded: more than any such document holds.
    """
    try:
        root = parse_xml(data)
        if local_name(root) != "CompDB":
            raise DamagedPackage(f"{name[:200]} is no composition database")
        if root.get("Type", _UPDATE) != _UPDATE:
            return None
        found = _NAME.fullmatch(name)
        return BuildStep(
            kind=found[1].lower() if found else "",
            article=(found[2] or "").upper() if found else "",
            architecture=root.get("BuildArch", ""),
            needs=_version(root, "OSVersion"),
            leads_to=_version(root, "TargetOSVersion"),
            packages=tuple(_packages(root)),
        )
    except DamagedManifest as error:
        raise DamagedPackage(f"{name[:200]}: {error.args[0]}") from error


def chain_from(steps: Iterable[BuildStep], build: Version) -> Chain:
    """Cumulative updates still to be installed on a build.

    Those that lead to it or below are skipped; a checkpoint comes before what needs it.
    """
    rest = sorted(
        {
            step.leads_to: step
            for step in steps
            if step.kind == _CUMULATIVE and step.leads_to is not None and step.leads_to > build
        }.items()
    )
    reached = build
    for leads_to, step in rest:
        if step.needs is not None and step.needs > reached:
            return Chain(tuple(one for _, one in rest), step.needs)
        reached = leads_to
    return Chain(tuple(one for _, one in rest))


def _version(root: Element, name: str) -> Version | None:
    text = root.get(name)
    return Version.parse(text) if text else None


def _packages(root: Element) -> Iterable[ComposedPackage]:
    """Packages of the list at the end; those that features name carry no payload."""
    found = [
        package
        for group in root
        if local_name(group) == "Packages"
        for package in group
        if local_name(package) == "Package"
    ]
    for package in found[:_MAX_PACKAGES]:
        items = [one for one in package.iter() if local_name(one) == "PayloadItem"]
        yield ComposedPackage(
            name=package.get("ID", ""),
            version=package.get("Version", ""),
            payload=tuple(item.get("Path", "").replace("\\", "/") for item in items),
            size_bytes=sum(_size(item.get("PayloadSize", "")) for item in items),
        )


def _size(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
