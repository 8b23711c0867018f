"""The elements and attributes of component manifests that need no installer of Windows.

The list is closed: what is not on it is *advanced* and named, so unknown things are refused, not
lost. Names come from real manifests, from the schema notes of seven-mile/UFCase and from the
published interop declarations of the .NET Framework (`CMS_...`); docs/internals/component-store.md
says what each group means.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from xml.etree.ElementTree import Element

from wimsmith.offline.manifests.xmlreader import (
    SIGNATURE_NAMESPACE,
    attribute,
    children,
    is_assembly_element,
    local_name,
    namespace,
)

PRIMITIVE_CATEGORIES = frozenset({"SingleInstanceFiles", "BootRecovery"})
SIDE_BY_SIDE_TYPES = frozenset({"win32", "win32-policy"})
_RESOURCE_CACHE_NAMESPACE = "urn:schemas-microsoft-com:rescache.v1"
_NOT_PROTECTED = "notprotected"

_Grammar = Mapping[str, "_Grammar | None"]
_LEAF: _Grammar = {}
_PROTECTED: _Grammar = {"securityDescriptor": _LEAF, "systemProtection": _LEAF}
_HASH: _Grammar = {
    "Transforms": {"Transform": _LEAF},
    "DigestMethod": _LEAF,
    "DigestValue": _LEAF,
}
_FILE: _Grammar = {
    "securityDescriptor": _LEAF,
    "hash": _HASH,
    "link": _LEAF,
    "signatureInfo": None,
    "infFile": None,
    "resfile": _LEAF,
}
_PRIMITIVE: _Grammar = {  # None: a subtree that is ignored whatever it holds
    "assemblyIdentity": _LEAF,
    "deployment": _LEAF,
    "dependency": {"dependentAssembly": {"assemblyIdentity": _LEAF}},
    "file": _FILE,
    "directories": {"directory": _PROTECTED},
    "registryKeys": {"registryKey": {"registryValue": _LEAF, **_PROTECTED}},
    "trustInfo": {
        "security": {
            "accessControl": {
                "securityDescriptorDefinitions": {"securityDescriptorDefinition": _LEAF}
            },
            "requestedPrivileges": None,  # how a program wants to run: not the store's business
        }
    },
    "memberships": {"categoryMembership": {"id": _LEAF}},
    "localization": {"resources": {"stringTable": {"string": _LEAF}}},
    "debuggingInfo": None,
    "rescache": None,
    "deconstructionTool": None,
}
_SIDE_BY_SIDE: _Grammar = {  # read from the manifest when a program starts; nothing is installed
    **_PRIMITIVE,
    "noInherit": _LEAF,
    "noInheritable": _LEAF,
    "description": _LEAF,
    "dependency": {
        "dependentAssembly": {"assemblyIdentity": _LEAF, "bindingRedirect": _LEAF},
    },
    "file": {
        **_FILE,
        "windowClass": _LEAF,
        "typelib": _LEAF,
        "comClass": {"progid": _LEAF},
        "comInterfaceProxyStub": _LEAF,
    },
    "comInterfaceExternalProxyStub": _LEAF,
    "clrClass": {"progid": _LEAF},
    "clrSurrogate": _LEAF,
}

_DESCRIBED = frozenset({"name", "buildFilter", "offline"})
_ATTRIBUTES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "file": frozenset(
            {
                "name",
                "destinationPath",
                "sourceName",
                "sourcePath",
                "importPath",
                "writeableType",
                "attributes",
                "buildFilter",
                "hash",
                "hashalg",
                "size",
            }
        ),
        "file/link": frozenset({"destination", "buildFilter"}),
        "file/securityDescriptor": _DESCRIBED,
        "directories/directory": frozenset(
            {"destinationPath", "owner", "attributes", "buildFilter"}
        ),
        "directories/directory/securityDescriptor": _DESCRIBED,
        "registryKeys/registryKey": frozenset(
            {"keyName", "owner", "perUserVirtualization", "buildFilter"}
        ),
        "registryKeys/registryKey/securityDescriptor": _DESCRIBED,
        "registryKeys/registryKey/registryValue": frozenset(
            {
                "name",
                "valueType",
                "value",
                "operationHint",
                "mutable",
                "owner",
                "buildFilter",
                "IEDownlevelValue",  # the value on Windows XP, read from the same manifest
            }
        ),
    }
)
"""Attributes of the elements that are written; where others stand, their meaning is not known."""


def advanced_elements(root: Element, identity_type: str) -> tuple[str, ...]:
    """Paths of what a manifest holds beyond the list, each once.

    Attributes are named as `path@name`. `identity_type` is the type in the identity: assemblies
    that stand side by side (`win32`) describe windows and COM classes for those who load them.
    """
    is_side_by_side = identity_type.lower() in SIDE_BY_SIDE_TYPES
    known = _SIDE_BY_SIDE if is_side_by_side else _PRIMITIVE
    return tuple(dict.fromkeys(_advanced(root, known, "")))


def _advanced(element: Element, known: _Grammar, path: str) -> Iterator[str]:
    for one in element:
        name = local_name(one)
        deeper = known.get(name, _LEAF)
        if name not in known or not _is_known_namespace(one, path):
            yield path + name
        elif name == "categoryMembership" and not _is_primitive_category(one):
            yield from _category_names(one)
        elif name == "systemProtection" and attribute(one, "behavior").lower() != _NOT_PROTECTED:
            yield path + name
        else:
            yield from _unknown_attributes(one, path + name)
            if deeper is not None:
                yield from _advanced(one, deeper, f"{path}{name}/")


def _unknown_attributes(element: Element, path: str) -> Iterator[str]:
    known = _ATTRIBUTES.get(path)
    for name in element.attrib if known is not None else ():
        local = name.rpartition("}")[2]
        if known is not None and local not in known:
            yield f"{path}@{local}"


def _is_known_namespace(element: Element, path: str) -> bool:
    if path.startswith("file/hash/"):
        return namespace(element) == SIGNATURE_NAMESPACE
    if local_name(element) in {"rescache", "resfile"}:
        return is_assembly_element(element) or namespace(element) == _RESOURCE_CACHE_NAMESPACE
    return is_assembly_element(element)


def _is_primitive_category(element: Element) -> bool:
    return all(
        attribute(one, "typeName") in PRIMITIVE_CATEGORIES for one in children(element, "id")
    )


def _category_names(element: Element) -> Iterator[str]:
    for one in children(element, "id"):
        if attribute(one, "typeName") not in PRIMITIVE_CATEGORIES:
            yield f"memberships/{attribute(one, 'typeName')}"
