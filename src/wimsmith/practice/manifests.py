"""Manifests of components, deployments and packages as XML."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace

from wimsmith.practice.names import Identity
from wimsmith.practice.spec import (
    Applicable,
    ComponentSpec,
    DeploymentSpec,
    DirectorySpec,
    FileSpec,
    KeySpec,
    PackageSpec,
    ParentSpec,
    UpdateEntry,
)
from wimsmith.practice.xmltext import Node, node, render

ASM = "urn:schemas-microsoft-com:asm.v3"
_ASM1 = "urn:schemas-microsoft-com:asm.v1"
_ASM2 = "urn:schemas-microsoft-com:asm.v2"
_DSIG = "http://www.w3.org/2000/09/xmldsig#"
_CATEGORIES = {
    "SingleInstanceFiles": ("Microsoft.Windows.Categories", "365143bb27e7ac8b"),
    "BootRecovery": ("Microsoft.Windows.Categories", "365143bb27e7ac8b"),
}
_YES_NO = {True: "true", False: "false", None: None}

Digest = Callable[[FileSpec], bytes]
"""Digest of a file's content, by the algorithm the file names."""


def component_manifest(spec: ComponentSpec, digest: Digest) -> bytes:
    """Manifest of a component, with the digests of its files."""
    children = [node("noInheritable")] if spec.side_by_side else []
    children.append(_identity(spec.identity))
    if spec.resources:
        children.append(_resources(spec.identity))
    children += [_redirect(identity, old) for identity, old in spec.redirects]
    children += [_file(item, digest(item)) for item in spec.files]
    children += list(_content(spec))
    root = _assembly(children)
    if spec.side_by_side:
        root = replace(root, attributes={**root.attributes, "xmlns": _ASM1, "xmlns:cmiv2": ASM})
    return _with_advanced(root, spec.advanced)


def _redirect(identity: Identity, old: str) -> Node:
    """A dependency that sends those who ask for other versions to the one of `identity`."""
    asked = dict(_identity(identity).attributes)
    del asked["version"], asked["buildType"]
    inner = (
        Node("assemblyIdentity", asked),
        node("bindingRedirect", oldVersion=old, newVersion=identity.version),
    )
    return node("dependency", [Node("dependentAssembly", {}, inner)])


def deployment_manifest(spec: DeploymentSpec) -> bytes:
    """Manifest of a deployment: the list of what it installs."""
    parts = [item.identity for item in spec.nested] + [item.identity for item in spec.components]
    return render(
        _assembly(
            [
                _identity(spec.identity),
                node("deployment", xmlns=ASM),
                *(_dependency(part) for part in parts),
            ]
        )
    )


def package_manifest(spec: PackageSpec, *, created: str = "2024-05-14T17:00:00Z") -> bytes:
    """Manifest of a package (`.mum`)."""
    package = node(
        "package",
        _package_parts(spec),
        identifier=spec.identifier or spec.identity.name,
        releaseType=spec.release_type,
        restart=spec.restart,
        permanence=spec.permanence,
    )
    attributes = {
        "description": spec.description or None,
        "displayName": "default",
        "company": "Wimsmith practice",
        "creationTimeStamp": created,
        "lastUpdateTimeStamp": created,
    }
    return render(_assembly([_identity(spec.identity), package], **attributes), bom=True)


def _assembly(children: list[Node], **attributes: str | None) -> Node:
    notice = "Generated to practise on; no part of Windows."
    return node(
        "assembly", children, xmlns=ASM, manifestVersion="1.0", copyright=notice, **attributes
    )


def _identity(identity: Identity) -> Node:
    return node(
        "assemblyIdentity",
        name=identity.name,
        version=identity.version,
        processorArchitecture=identity.architecture,
        language=identity.language,
        buildType="release",
        publicKeyToken=identity.token,
        versionScope=identity.version_scope or None,
        type=identity.type or None,
    )


def _dependency(identity: Identity) -> Node:
    inner = node("dependentAssembly", [_identity(identity)], dependencyType="install")
    return node("dependency", [inner], discoverable="no")


def _resources(identity: Identity) -> Node:
    satellite = Identity(
        f"{identity.name}.Resources",
        identity.version,
        identity.architecture,
        "*",
        identity.token,
    )
    inner = node("dependentAssembly", [_identity(satellite)], dependencyType="prerequisite")
    return node("dependency", [inner], discoverable="no", resourceType="Resources")


def _file(spec: FileSpec, digest: bytes) -> Node:
    children = [node("link", destination=link) for link in spec.links]
    children += [Node(tag, attributes) for tag, attributes in spec.described]
    if spec.security:
        children.append(node("securityDescriptor", name=spec.security))
    children.append(_hash(spec.digest, digest))
    return node(
        "file",
        children,
        name=spec.name,
        destinationPath=spec.destination,
        sourceName=spec.name,
        importPath="$(build.nttree)\\",
        sourcePath=".\\",
        attributes=spec.attributes,
    )


def _hash(algorithm: str, digest: bytes) -> Node:
    transform = Node(
        "dsig:Transform", {"Algorithm": "urn:schemas-microsoft-com:HashTransforms.Identity"}
    )
    method = Node("dsig:DigestMethod", {"Algorithm": f"{_DSIG}{algorithm}"})
    value = Node("dsig:DigestValue", text=b64encode(digest).decode())
    return Node(
        "asmv2:hash",
        {"xmlns:asmv2": _ASM2, "xmlns:dsig": _DSIG},
        (Node("dsig:Transforms", {}, (transform,)), method, value),
    )


def _content(spec: ComponentSpec) -> Iterator[Node]:
    if spec.directories:
        yield node("directories", [_directory(item) for item in spec.directories])
    if spec.memberships:
        yield node("memberships", [_membership(name) for name in spec.memberships])
    if spec.keys:
        yield node("registryKeys", [_key(item) for item in spec.keys])
    names = sorted(_used_descriptors(spec))
    if names:
        yield _trust([_definition(spec, name) for name in names])
    if spec.strings:
        strings = [node("string", id=name, value=text) for name, text in spec.strings.items()]
        table = node("stringTable", strings)
        yield node("localization", [node("resources", [table], culture="en-US")])


def _directory(spec: DirectorySpec) -> Node:
    children = [node("securityDescriptor", name=spec.security)] if spec.security else []
    return node(
        "directory", children, destinationPath=spec.path, owner="true" if spec.owner else "false"
    )


def _membership(name: str) -> Node:
    category, token = _CATEGORIES[name]
    inner = node("id", name=category, version="1.0.0.0", publicKeyToken=token, typeName=name)
    return node("categoryMembership", [inner])


def _key(spec: KeySpec) -> Node:
    children = [
        node(
            "registryValue",
            name=value.name,
            valueType=value.type,
            value=value.value,
            operationHint=value.operation_hint,
            mutable=_YES_NO[value.mutable],
        )
        for value in spec.values
    ]
    if spec.security:
        children.append(node("securityDescriptor", name=spec.security))
    if spec.protection:
        children.append(node("systemProtection", behavior=spec.protection))
    return node("registryKey", children, keyName=spec.path, owner=_YES_NO[spec.owner])


def _used_descriptors(spec: ComponentSpec) -> set[str]:
    named = {item.security for group in (spec.files, spec.directories, spec.keys) for item in group}
    return {name for name in named if name is not None and name in spec.descriptors}


def _definition(spec: ComponentSpec, name: str) -> Node:
    return node(
        "securityDescriptorDefinition",
        name=name,
        sddl=spec.descriptors[name].sddl,
        operationHint="replace",
    )


def _trust(definitions: list[Node]) -> Node:
    table = node("securityDescriptorDefinitions", definitions)
    return node("trustInfo", [node("security", [node("accessControl", [table])])])


def _with_advanced(root: Node, advanced: str) -> bytes:
    data = render(root)
    if not advanced:
        return data
    end = b"</assembly>"
    return data.removesuffix(end) + f"  {advanced}\r\n".encode() + end


def _package_parts(spec: PackageSpec) -> Iterator[Node]:
    yield from (_parent(parent) for parent in spec.parents)
    if spec.stack_version:
        stack = Identity(
            "Microsoft-Windows-ServicingStack",
            spec.stack_version,
            spec.identity.architecture,
            token=spec.identity.token,
        )
        attributes = dict(_identity(stack).attributes)
        del attributes["buildType"]
        yield Node("installerAssembly", attributes)
    yield from (_update(update) for update in spec.updates)
    if spec.psfx:
        yield node("customInformation", PackageFormat="PSFX", Version="1.0")
    if spec.offline_capable is not None:
        yield node(
            "packageExtended", completelyOfflineCapable="yes" if spec.offline_capable else "no"
        )


def _parent(spec: ParentSpec) -> Node:
    children = [_identity(identity) for identity in spec.identities]
    attributes = {**spec.compare, "disposition": spec.disposition, "integrate": spec.integrate}
    return Node("parent", attributes, tuple(children))


def _update(spec: UpdateEntry) -> Node:
    children: list[Node] = []
    if spec.applicable:
        children.append(_applicable(spec.applicable))
    if spec.selectable:
        default = node("detectNone", default=_YES_NO[spec.default_on])
        children.append(node("selectable", [default], disposition="staged"))
    if spec.child:
        children.append(
            node(
                "package",
                [_identity(spec.child.identity)],
                contained=_YES_NO[spec.contained],
                integrate=spec.integrate,
            )
        )
    if spec.deployment:
        children.append(node("component", [_identity(spec.deployment.identity)]))
    if spec.driver:
        children.append(node("driver", [_identity(spec.driver)], inf=f"{spec.driver.name}.inf"))
    return node("update", children, name=spec.name)


def _applicable(spec: Applicable) -> Node:
    children = [
        node("updateComponent", [_identity(item) for item in identities], elevate=rule)
        for rule, identities in spec.elevate
    ]
    followed = []
    if spec.follow_parent:
        followed.append(node("parent", name=spec.follow_parent))
    if spec.follow_self:
        followed.append(node("update", name=spec.follow_self))
    if followed:
        children.append(node("detectUpdate", followed))
    return node("applicable", children, disposition=spec.disposition)
