"""Package manifests (`*.mum`): what a package is, wants and brings.

Elements and their meaning: docs/internals/packages.md. Nothing here decides anything.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from xml.etree.ElementTree import Element

from wimsmith.errors import DamagedManifest
from wimsmith.offline.manifests.identity import AssemblyIdentity, identity_from_attributes
from wimsmith.offline.manifests.xmlreader import (
    attribute,
    child,
    children,
    flag,
    is_assembly_element,
    local_name,
    parse_xml,
)

_MAX_NAME_CHARACTERS = 1024
_COMPARED = ("version", "service", "build", "distribution", "revision")


class Compare(StrEnum):
    """How one part of a version is compared: equal, or greater or equal."""

    EQUAL = "EQ"
    AT_LEAST = "GE"


@dataclass(frozen=True, slots=True)
class Parent:
    """A `parent` element: any one of `identities` satisfies it.

    Parts that the manifest does not name read as GE, the version as EQ.
    """

    identities: tuple[AssemblyIdentity, ...]
    disposition: str = ""
    integrate: str = ""
    set_name: str = ""
    version_compare: Compare = Compare.EQUAL
    service_compare: Compare = Compare.AT_LEAST
    build_compare: Compare = Compare.AT_LEAST
    distribution_compare: Compare = Compare.AT_LEAST
    revision_compare: Compare = Compare.AT_LEAST


@dataclass(frozen=True, slots=True)
class ChildPackage:
    """A package that an update carries; it has a manifest and a catalog of its own."""

    identity: AssemblyIdentity
    integrate: str = ""
    contained: bool | None = None


@dataclass(frozen=True, slots=True)
class DriverElement:
    """A driver that an update installs."""

    inf: str
    ranking: str = ""
    identity: AssemblyIdentity | None = None


@dataclass(frozen=True, slots=True)
class UpdateComponent:
    """A condition on a component family: holds if it holds for one of the identities."""

    elevate: str
    identities: tuple[AssemblyIdentity, ...]


@dataclass(frozen=True, slots=True)
class DetectUpdate:
    """A condition on another update: of the parent package, or of this one (`in_parent` False)."""

    name: str
    in_parent: bool


@dataclass(frozen=True, slots=True)
class Applicable:
    """When an update applies; `disposition` is its state while the conditions do not hold."""

    disposition: str = ""
    components: tuple[UpdateComponent, ...] = ()
    detections: tuple[DetectUpdate, ...] = ()


@dataclass(frozen=True, slots=True)
class Selectable:
    """An update that users can switch on and off."""

    disposition: str = ""
    default: bool | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """A selectable unit of a package."""

    name: str
    display_name: str = ""
    description: str = ""
    restart: str = ""
    packages: tuple[ChildPackage, ...] = ()
    components: tuple[AssemblyIdentity, ...] = ()
    drivers: tuple[DriverElement, ...] = ()
    applicable: Applicable | None = None
    selectable: Selectable | None = None


@dataclass(frozen=True, slots=True)
class Capability:
    """A feature on demand that the package declares."""

    name: str
    version: str = ""
    language: str = ""
    dependencies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PackageManifest:
    """A whole `.mum`. `unknown` names elements that this reader has no meaning for."""

    identity: AssemblyIdentity
    identifier: str = ""
    release_type: str = ""
    display_name: str = ""
    description: str = ""
    company: str = ""
    copyright: str = ""
    support_information: str = ""
    created: str = ""
    last_updated: str = ""
    applicability_evaluation: str = ""
    restart: str = ""
    self_update: bool = False
    permanence: str = ""
    psf_name: str = ""
    target_partition: str = ""
    binary_partition: str = ""
    target_edition: str = ""
    parents: tuple[Parent, ...] = ()
    installer_assembly: AssemblyIdentity | None = None
    updates: tuple[Update, ...] = ()
    package_size_bytes: int | None = None
    completely_offline_capable: bool | None = None
    custom_information: Mapping[str, str] = field(default_factory=dict)
    capabilities: tuple[Capability, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def offline_capable(self) -> bool:
        """False only if the manifest says that the package cannot be serviced offline."""
        return self.completely_offline_capable is not False

    @property
    def is_psfx(self) -> bool:
        """Whether the manifest marks its files as forward and reverse differentials."""
        return self.custom_information.get("PackageFormat", "").upper() == "PSFX"

    @property
    def children(self) -> tuple[ChildPackage, ...]:
        return tuple(package for update in self.updates for package in update.packages)

    @property
    def deployments(self) -> tuple[AssemblyIdentity, ...]:
        return tuple(identity for update in self.updates for identity in update.components)

    @property
    def drivers(self) -> tuple[DriverElement, ...]:
        return tuple(driver for update in self.updates for driver in update.drivers)


def parse_package(data: bytes) -> PackageManifest:
    """Read a package manifest.

    Raises:
        DamagedManifest: not XML, not a package manifest, or an identity or number is malformed.
        LimitExceeded: larger or deeper than any manifest.
    """
    root = parse_xml(data)
    package = child(root, "package")
    if not is_assembly_element(root) or local_name(root) != "assembly" or package is None:
        raise DamagedManifest("not a package manifest: no assembly with a package in it")
    extended = child(package, "packageExtended")
    installer = child(package, "installerAssembly")
    return PackageManifest(
        identity=element_identity(root),
        identifier=attribute(package, "identifier"),
        release_type=attribute(package, "releaseType"),
        display_name=attribute(root, "displayName"),
        description=attribute(root, "description"),
        company=attribute(root, "company"),
        copyright=attribute(root, "copyright"),
        support_information=attribute(root, "supportInformation"),
        created=attribute(root, "creationTimeStamp"),
        last_updated=attribute(root, "lastUpdateTimeStamp"),
        applicability_evaluation=attribute(package, "applicabilityEvaluation"),
        restart=attribute(package, "restart"),
        self_update=bool(flag(package, "selfUpdate", default=False)),
        permanence=attribute(package, "permanence"),
        psf_name=attribute(package, "psfName"),
        target_partition=attribute(package, "targetPartition"),
        binary_partition=attribute(package, "binaryPartition"),
        target_edition=next(
            (found for one in package.iter() if (found := attribute(one, "targetEdition"))), ""
        ),
        parents=tuple(_parent(element) for element in children(package, "parent")),
        installer_assembly=(
            None if installer is None else identity_from_attributes(installer.attrib)
        ),
        updates=tuple(_update(element) for element in children(package, "update")),
        package_size_bytes=None if extended is None else _size(attribute(extended, "packageSize")),
        completely_offline_capable=(
            None if extended is None else flag(extended, "completelyOfflineCapable")
        ),
        custom_information=_custom_information(package),
        capabilities=tuple(_capabilities(package)),
        unknown=tuple(dict.fromkeys(_unknown(root))),
    )


def element_identity(element: Element) -> AssemblyIdentity:
    """Identity in the one `assemblyIdentity` child of an element.

    Raises:
        DamagedManifest: there is none, several, or it is malformed.
    """
    found = element_identities(element)
    if len(found) != 1:
        raise DamagedManifest(f"{local_name(element)} has {len(found)} identities instead of one")
    return found[0]


def element_identities(element: Element) -> tuple[AssemblyIdentity, ...]:
    """Identities in all `assemblyIdentity` children of an element."""
    found = children(element, "assemblyIdentity")
    return tuple(identity_from_attributes(one.attrib) for one in found)


def _parent(element: Element) -> Parent:
    identities = element_identities(element)
    if not identities:
        raise DamagedManifest("a parent without an identity")
    return Parent(
        identities=identities,
        disposition=attribute(element, "disposition"),
        integrate=attribute(element, "integrate"),
        set_name=attribute(element, "set"),
        **{f"{part}_compare": _compare(element, part) for part in _COMPARED},
    )


def _compare(element: Element, part: str) -> Compare:
    default = Compare.EQUAL if part == "version" else Compare.AT_LEAST
    text = element.get(f"{part}Compare", default.value)
    try:
        return Compare(text.upper())
    except ValueError as error:
        raise DamagedManifest(f"parent {part}Compare={text[:60]!r}") from error


def _update(element: Element) -> Update:
    applicable = child(element, "applicable")
    selectable = child(element, "selectable")
    return Update(
        name=_update_name(element),
        display_name=attribute(element, "displayName"),
        description=attribute(element, "description"),
        restart=attribute(element, "restart"),
        packages=tuple(_child_package(one) for one in children(element, "package")),
        components=tuple(element_identity(one) for one in children(element, "component")),
        drivers=tuple(_driver(one) for one in children(element, "driver")),
        applicable=None if applicable is None else _applicable(applicable),
        selectable=None if selectable is None else _selectable(selectable),
    )


def _update_name(element: Element) -> str:
    """Names of updates become part of references, which the store keeps in ASCII."""
    name = attribute(element, "name")
    if not name.isascii() or len(name) > _MAX_NAME_CHARACTERS:
        raise DamagedManifest(f"an update called {name[:60]!r}")
    return name


def _child_package(element: Element) -> ChildPackage:
    return ChildPackage(
        identity=element_identity(element),
        integrate=attribute(element, "integrate"),
        contained=flag(element, "contained"),
    )


def _driver(element: Element) -> DriverElement:
    identities = element_identities(element)
    return DriverElement(
        inf=attribute(element, "inf"),
        ranking=attribute(element, "ranking"),
        identity=identities[0] if identities else None,
    )


def _applicable(element: Element) -> Applicable:
    detections = [
        DetectUpdate(name=attribute(named, "name"), in_parent=local_name(named) == "parent")
        for detection in children(element, "detectUpdate")
        for named in detection
        if local_name(named) in {"parent", "update"}
    ]
    return Applicable(
        disposition=attribute(element, "disposition"),
        components=tuple(
            UpdateComponent(attribute(one, "elevate"), element_identities(one))
            for one in children(element, "updateComponent")
        ),
        detections=tuple(detections),
    )


def _selectable(element: Element) -> Selectable:
    none = child(element, "detectNone")
    return Selectable(
        disposition=attribute(element, "disposition"),
        default=None if none is None else flag(none, "default"),
    )


def _capabilities(package: Element) -> Iterable[Capability]:
    for declaration in children(package, "declareCapability"):
        needed = tuple(
            attribute(one, "name")
            for dependency in children(declaration, "dependency")
            for one in dependency.iter()
            if local_name(one) == "capabilityIdentity"
        )
        for capability in children(declaration, "capability"):
            for one in children(capability, "capabilityIdentity"):
                yield Capability(
                    name=attribute(one, "name"),
                    version=attribute(one, "version"),
                    language=attribute(one, "language"),
                    dependencies=needed,
                )


def _custom_information(package: Element) -> dict[str, str]:
    return {
        key: value
        for element in children(package, "customInformation")
        for key, value in element.attrib.items()
    }


def _size(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise DamagedManifest(f"packageSize {text[:60]!r}")
    return int(text)


_Grammar = Mapping[str, "_Grammar | None"]
_LEAF: _Grammar = {}
_IDENTITIES: _Grammar = {"assemblyIdentity": _LEAF}
_KNOWN: _Grammar = {
    "assemblyIdentity": _LEAF,
    "package": {
        "parent": _IDENTITIES,
        "installerAssembly": _LEAF,
        "customInformation": None,
        "declareCapability": None,
        "packageExtended": _LEAF,
        "update": {
            "package": _IDENTITIES,
            "component": _IDENTITIES,
            "driver": _IDENTITIES,
            "applicable": {
                "updateComponent": _IDENTITIES,
                "detectUpdate": {"parent": _LEAF, "update": _LEAF},
            },
            "selectable": {"detectNone": _LEAF, "customInformation": None},
            "customInformation": None,
        },
    },
}


def _unknown(element: Element, known: _Grammar | None = _KNOWN, path: str = "") -> Iterable[str]:
    """Paths of elements outside `known`; None stands for a subtree that may hold anything."""
    for one in element:
        name = local_name(one)
        if known is None:
            continue
        if name not in known or not is_assembly_element(one):
            yield path + name
        else:
            yield from _unknown(one, known[name], f"{path}{name}/")
