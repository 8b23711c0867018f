"""Component and deployment manifests: files, folders, registry and what they need.

The closed list of primitive elements (`vocabulary.py`) decides what the engine can install.
Whatever is not on it is *advanced* and named in `ComponentManifest.advanced`.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from wimsmith.errors import DamagedManifest
from wimsmith.offline import paths
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.package import element_identities, element_identity
from wimsmith.offline.manifests.vocabulary import advanced_elements
from wimsmith.offline.manifests.xmlreader import (
    SIGNATURE_NAMESPACE,
    attribute,
    child,
    children,
    flag,
    is_assembly_element,
    local_name,
    namespace,
    parse_xml,
)

IDENTITY_TRANSFORM = "urn:schemas-microsoft-com:HashTransforms.Identity"
_DIGEST_BYTES = {"sha1": 20, "sha256": 32}


@dataclass(frozen=True, slots=True)
class FileHash:
    """Digest of a payload file; `algorithm` is sha1 or sha256, `transform` usually Identity."""

    algorithm: str
    digest: bytes
    transform: str = IDENTITY_TRANSFORM


@dataclass(frozen=True, slots=True)
class ComponentFile:
    """One payload file. `destination_path` holds macros; empty means WinSxS only.

    `name` is the name at the destination and in WinSxS, `/`-separated if it has folders.
    """

    name: str
    destination_path: str = ""
    source_name: str = ""
    source_path: str = ""
    import_path: str = ""
    writeable_type: str = ""
    attributes: str = ""
    security_descriptor: str | None = None
    hashes: tuple[FileHash, ...] = ()
    links: tuple[str, ...] = ()
    is_inf: bool = False

    @property
    def hash(self) -> FileHash | None:
        """The strongest digest over the bytes as they are, or None."""
        plain = [one for one in self.hashes if one.transform == IDENTITY_TRANSFORM]
        return max(plain, key=lambda one: len(one.digest), default=None)


@dataclass(frozen=True, slots=True)
class Directory:
    """A folder that the component makes or describes."""

    destination_path: str
    owner: bool | None = None
    attributes: str = ""
    security_descriptor: str | None = None


@dataclass(frozen=True, slots=True)
class RegistryValue:
    """A value as the manifest writes it: type name or 8 hex digits, and unexpanded text."""

    name: str
    value_type: str
    value: str = ""
    operation_hint: str = ""
    mutable: bool = False
    owner: bool | None = None


@dataclass(frozen=True, slots=True)
class RegistryKey:
    r"""A key by its full name, for example `HKEY_LOCAL_MACHINE\Software\...`."""

    key_name: str
    owner: bool | None = None
    per_user_virtualization: str = ""
    security_descriptor: str | None = None
    values: tuple[RegistryValue, ...] = ()


@dataclass(frozen=True, slots=True)
class SecurityDescriptorDefinition:
    """A named descriptor as SDDL text, which may be the literal `(inherit)`."""

    name: str
    sddl: str
    operation_hint: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Membership:
    """Membership of a category; its name, version and token are those of the category."""

    type_name: str
    name: str = ""
    version: str = ""
    public_key_token: str = ""


@dataclass(frozen=True, slots=True)
class Dependency:
    """Another assembly this one names; `kind` is `install`, `prerequisite` ..."""

    identity: AssemblyIdentity
    kind: str = ""
    discoverable: bool | None = None
    resource_type: str = ""


@dataclass(frozen=True, slots=True)
class ComponentManifest:
    """A whole component or deployment manifest.

    `strings` maps culture to the string table of that culture.
    """

    identity: AssemblyIdentity
    is_deployment: bool = False
    display_name: str = ""
    description: str = ""
    dependencies: tuple[Dependency, ...] = ()
    files: tuple[ComponentFile, ...] = ()
    directories: tuple[Directory, ...] = ()
    registry_keys: tuple[RegistryKey, ...] = ()
    security_descriptors: Mapping[str, SecurityDescriptorDefinition] = field(default_factory=dict)
    memberships: tuple[Membership, ...] = ()
    strings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    advanced: tuple[str, ...] = ()

    @property
    def installs(self) -> tuple[AssemblyIdentity, ...]:
        """Assemblies that come with this one: the component list of a deployment."""
        return tuple(one.identity for one in self.dependencies if one.kind == "install")

    @property
    def categories(self) -> frozenset[str]:
        return frozenset(one.type_name for one in self.memberships)


def parse_component(data: bytes) -> ComponentManifest:
    """Read a component or deployment manifest in plain XML (expand DCM first).

    Raises:
        DamagedManifest: not XML, not a manifest, or an identity or digest is malformed.
        UnsafePath: the name of a file could not stand in Windows.
        LimitExceeded: larger or deeper than any manifest.
    """
    root = parse_xml(data)
    if not is_assembly_element(root) or local_name(root) != "assembly":
        raise DamagedManifest(f"not a manifest: its root is {root.tag[:100]!r}")
    identity = element_identity(root)
    return ComponentManifest(
        identity=identity,
        is_deployment=child(root, "deployment") is not None,
        display_name=attribute(root, "displayName"),
        description=attribute(root, "description"),
        dependencies=tuple(_dependencies(root)),
        files=tuple(_file(one) for one in children(root, "file")),
        directories=tuple(_directory(one) for one in _nested(root, "directories", "directory")),
        registry_keys=tuple(_key(one) for one in _nested(root, "registryKeys", "registryKey")),
        security_descriptors=_security_descriptors(root),
        memberships=tuple(
            _membership(one) for one in _nested(root, "memberships", "categoryMembership", "id")
        ),
        strings=_strings(root),
        advanced=advanced_elements(root, identity.type),
    )


def _nested(element: Element, name: str, *names: str) -> Iterable[Element]:
    for one in children(element, name):
        if names:
            yield from _nested(one, *names)
        else:
            yield one


def _dependencies(root: Element) -> Iterable[Dependency]:
    for dependency in children(root, "dependency"):
        for assembly in children(dependency, "dependentAssembly"):
            if child(assembly, "bindingRedirect") is not None:
                continue  # a policy names a range of versions: it needs none of them
            for identity in element_identities(assembly):
                yield Dependency(
                    identity=identity,
                    kind=attribute(assembly, "dependencyType"),
                    discoverable=flag(dependency, "discoverable"),
                    resource_type=attribute(dependency, "resourceType"),
                )


def _file(element: Element) -> ComponentFile:
    name = paths.check(attribute(element, "name"))
    if not name:
        raise DamagedManifest("a file without a name")
    return ComponentFile(
        name=name,
        destination_path=attribute(element, "destinationPath"),
        source_name=attribute(element, "sourceName"),
        source_path=attribute(element, "sourcePath"),
        import_path=attribute(element, "importPath"),
        writeable_type=attribute(element, "writeableType"),
        attributes=attribute(element, "attributes"),
        security_descriptor=_descriptor_name(element),
        hashes=tuple(_hash(one) for one in children(element, "hash")),
        links=tuple(attribute(one, "destination") for one in children(element, "link")),
        is_inf=child(element, "infFile") is not None,
    )


def _descriptor_name(element: Element) -> str | None:
    found = child(element, "securityDescriptor")
    return None if found is None else attribute(found, "name")


def _hash(element: Element) -> FileHash:
    parts = {
        local_name(one): one for one in element.iter() if namespace(one) == SIGNATURE_NAMESPACE
    }
    method, value, transform = (
        parts.get(name) for name in ("DigestMethod", "DigestValue", "Transform")
    )
    if method is None or value is None:
        raise DamagedManifest("a hash without method or value")
    algorithm = attribute(method, "Algorithm").rpartition("#")[2].lower()
    try:
        digest = base64.b64decode("".join((value.text or "").split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DamagedManifest(f"digest value: {error}") from error
    if len(digest) != _DIGEST_BYTES.get(algorithm):
        raise DamagedManifest(f"a digest of {len(digest)} bytes by {algorithm[:60]!r}")
    named = IDENTITY_TRANSFORM if transform is None else attribute(transform, "Algorithm")
    return FileHash(algorithm, digest, named)


def _directory(element: Element) -> Directory:
    return Directory(
        destination_path=attribute(element, "destinationPath"),
        owner=flag(element, "owner"),
        attributes=attribute(element, "attributes"),
        security_descriptor=_descriptor_name(element),
    )


def _key(element: Element) -> RegistryKey:
    return RegistryKey(
        key_name=attribute(element, "keyName"),
        owner=flag(element, "owner"),
        per_user_virtualization=attribute(element, "perUserVirtualization"),
        security_descriptor=_descriptor_name(element),
        values=tuple(_value(one) for one in children(element, "registryValue")),
    )


def _value(element: Element) -> RegistryValue:
    return RegistryValue(
        name=attribute(element, "name"),
        value_type=attribute(element, "valueType"),
        value=attribute(element, "value"),
        operation_hint=attribute(element, "operationHint"),
        mutable=bool(flag(element, "mutable", default=False)),
        owner=flag(element, "owner"),
    )


def _security_descriptors(root: Element) -> dict[str, SecurityDescriptorDefinition]:
    path = ("trustInfo", "security", "accessControl", "securityDescriptorDefinitions")
    return {
        attribute(one, "name"): SecurityDescriptorDefinition(
            name=attribute(one, "name"),
            sddl=attribute(one, "sddl"),
            operation_hint=attribute(one, "operationHint"),
            description=attribute(one, "description"),
        )
        for one in _nested(root, *path, "securityDescriptorDefinition")
    }


def _membership(element: Element) -> Membership:
    return Membership(
        type_name=attribute(element, "typeName"),
        name=attribute(element, "name"),
        version=attribute(element, "version"),
        public_key_token=attribute(element, "publicKeyToken"),
    )


def _strings(root: Element) -> dict[str, dict[str, str]]:
    tables: dict[str, dict[str, str]] = {}
    for resources in _nested(root, "localization", "resources"):
        table = tables.setdefault(attribute(resources, "culture"), {})
        for one in _nested(resources, "stringTable", "string"):
            table[attribute(one, "id")] = attribute(one, "value")
    return tables
