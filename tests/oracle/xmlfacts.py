"""Facts of `.mum` and `.manifest` files, as far as an installation needs them."""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from oracle.names import Identity

_V3 = "{urn:schemas-microsoft-com:asm.v3}"
_V1 = "{urn:schemas-microsoft-com:asm.v1}"
_V2 = "{urn:schemas-microsoft-com:asm.v2}"
_DSIG = "{http://www.w3.org/2000/09/xmldsig#}"


@dataclass(frozen=True, slots=True)
class Parent:
    """A `parent` element: any of the identities will do. `compare` has its ...Compare rules."""

    identities: tuple[Identity, ...]
    compare: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of an update: `kind` is parent, self, or a rule of elevation."""

    kind: str
    update: str = ""
    identities: tuple[Identity, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """An `update`: the deployments and packages in it, and when it applies."""

    name: str
    deployments: tuple[Identity, ...]
    packages: tuple[tuple[Identity, bool], ...]
    conditions: tuple[Condition, ...]
    disposition: str


@dataclass(frozen=True, slots=True)
class Package:
    """A `.mum` file."""

    identity: Identity
    parents: tuple[Parent, ...]
    updates: tuple[Update, ...]
    self_update: bool


@dataclass(frozen=True, slots=True)
class File:
    name: str
    destination: str
    links: tuple[str, ...]
    security: str
    digest: bytes
    hidden: bool


@dataclass(frozen=True, slots=True)
class Directory:
    """A folder; one that others own keeps its descriptor if it is there."""

    path: str
    security: str
    owned: bool


@dataclass(frozen=True, slots=True)
class RegistryValue:
    name: str
    type: str
    text: str
    mutable: bool


@dataclass(frozen=True, slots=True)
class RegistryKey:
    path: str
    security: str
    owned: bool
    values: tuple[RegistryValue, ...]


@dataclass(frozen=True, slots=True)
class Component:
    """A `.manifest` file; `dependencies` are what a deployment installs."""

    identity: Identity
    is_deployment: bool
    dependencies: tuple[Identity, ...]
    files: tuple[File, ...]
    directories: tuple[Directory, ...]
    keys: tuple[RegistryKey, ...]
    descriptors: Mapping[str, str]
    memberships: frozenset[str]
    strings: Mapping[str, Mapping[str, str]]


def read_package(data: bytes) -> Package:
    root = ET.fromstring(data)
    package = root.find(f"{_V3}package")
    assert package is not None
    return Package(
        identity=_identity(root),
        parents=tuple(_parent(element) for element in package.findall(f"{_V3}parent")),
        updates=tuple(_update(element) for element in package.findall(f"{_V3}update")),
        self_update=package.get("selfUpdate", "").lower() == "true",
    )


def read_component(data: bytes) -> Component:
    root = ET.fromstring(data)
    for element in root.iter():  # assemblies that stand side by side use the first schema
        element.tag = element.tag.replace(_V1, _V3)
    return Component(
        identity=_identity(root),
        is_deployment=root.find(f"{_V3}deployment") is not None,
        dependencies=tuple(
            _identity(assembly)
            for assembly in root.iterfind(f"{_V3}dependency/{_V3}dependentAssembly")
            if assembly.get("dependencyType") == "install"
        ),
        files=tuple(_file(element) for element in root.findall(f"{_V3}file")),
        directories=tuple(
            Directory(element.get("destinationPath", ""), _security(element), _owned(element))
            for element in root.iterfind(f"{_V3}directories/{_V3}directory")
        ),
        keys=tuple(
            _key(element) for element in root.iterfind(f"{_V3}registryKeys/{_V3}registryKey")
        ),
        descriptors={
            element.get("name", ""): element.get("sddl", "")
            for element in root.iter(f"{_V3}securityDescriptorDefinition")
        },
        memberships=frozenset(
            element.get("typeName", "")
            for element in root.iterfind(f"{_V3}memberships/{_V3}categoryMembership/{_V3}id")
        ),
        strings={
            resources.get("culture", "").lower(): {
                string.get("id", ""): string.get("value", "")
                for string in resources.iter(f"{_V3}string")
            }
            for resources in root.iter(f"{_V3}resources")
        },
    )


def multi_text(text: str) -> list[str]:
    """Texts of a REG_MULTI_SZ as manifests write it: quoted, with commas between."""
    return re.findall(r'"([^"]*)"', text)


def _identity(element: ET.Element) -> Identity:
    found = element.find(f"{_V3}assemblyIdentity")
    assert found is not None
    return Identity(
        name=found.get("name", ""),
        version=found.get("version", ""),
        architecture=found.get("processorArchitecture", ""),
        language=found.get("language", ""),
        token=found.get("publicKeyToken", ""),
        scope=found.get("versionScope", ""),
        type=found.get("type", ""),
    )


def _identities(element: ET.Element) -> tuple[Identity, ...]:
    holder = ET.Element("holder")
    found = []
    for child in element.findall(f"{_V3}assemblyIdentity"):
        holder[:] = [child]
        found.append(_identity(holder))
    return tuple(found)


def _parent(element: ET.Element) -> Parent:
    compare = {
        name.removesuffix("Compare").lower(): rule
        for name, rule in element.attrib.items()
        if name.endswith("Compare")
    }
    assert element.get("disposition", "detect").lower() in {"detect", "staged"}
    return Parent(_identities(element), compare)


def _update(element: ET.Element) -> Update:
    applicable = element.find(f"{_V3}applicable")
    return Update(
        name=element.get("name", ""),
        deployments=tuple(_identity(child) for child in element.findall(f"{_V3}component")),
        packages=tuple(
            (_identity(child), child.get("integrate") == "hidden")
            for child in element.findall(f"{_V3}package")
        ),
        conditions=() if applicable is None else tuple(_conditions(applicable)),
        disposition="" if applicable is None else applicable.get("disposition", ""),
    )


def _conditions(applicable: ET.Element) -> Iterator[Condition]:
    for element in applicable:
        match element.tag.removeprefix(_V3):
            case "detectUpdate":
                parent = element.find(f"{_V3}parent")
                where = "self" if parent is None else "parent"
                named = element if parent is None else parent
                self_named = element.find(f"{_V3}update")
                if self_named is not None:
                    named = self_named
                yield Condition(where, update=named.get("name", ""))
            case "updateComponent":
                yield Condition(element.get("elevate", ""), identities=_identities(element))
            case other:
                raise AssertionError(f"a condition that the oracle does not know: {other}")


def _file(element: ET.Element) -> File:
    value = element.find(f"{_V2}hash/{_DSIG}DigestValue")
    return File(
        name=element.get("name", ""),
        destination=element.get("destinationPath", ""),
        links=tuple(link.get("destination", "") for link in element.findall(f"{_V3}link")),
        security=_security(element),
        digest=b64decode(value.text or "") if value is not None else b"",
        hidden="hidden" in element.get("attributes", "").lower(),
    )


def _owned(element: ET.Element) -> bool:
    return element.get("owner", "").lower() not in {"false", "no"}


def _security(element: ET.Element) -> str:
    found = element.find(f"{_V3}securityDescriptor")
    return "" if found is None else found.get("name", "")


def _key(element: ET.Element) -> RegistryKey:
    return RegistryKey(
        path=element.get("keyName", ""),
        security=_security(element),
        owned=_owned(element),
        values=tuple(
            RegistryValue(
                name=value.get("name", ""),
                type=value.get("valueType", ""),
                text=value.get("value", ""),
                mutable=value.get("mutable", "").lower() == "true",
            )
            for value in element.findall(f"{_V3}registryValue")
        ),
    )
