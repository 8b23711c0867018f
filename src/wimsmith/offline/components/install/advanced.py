"""Elements of manifests that need an installer of Windows to run, which this engine has not.

The list of elements that need none is closed (`ComponentManifest.advanced` names all others).
An advanced element is let through only where the image holds another version of the very same
component with the same element: then nothing has to be run that has not been run already. One
that the older version had and the newer has not is a change as well: Windows would undo it. What
is only staged runs nothing. An attribute that is not known is never let through: it says how
files or values are written.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from xml.etree.ElementTree import Element

from wimsmith.errors import DamagedInput, NotFound
from wimsmith.offline.components.store.basemanifest import ManifestReader
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.manifests.component import ComponentManifest
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.manifests.xmlreader import local_name, parse_xml
from wimsmith.offline.verdicts import Finding, Verdict

_ATTRIBUTE_MARK = "@"
_LEFT_OUT = frozenset(["debuggingInfo", "hash", "signatureInfo"])
_VERSION_ATTRIBUTES = frozenset(["version", "creationTimeStamp", "lastUpdateTimeStamp"])
_STRING = re.compile(r"\$\((?:string|resourceString)\.([^()]*)\)", re.IGNORECASE)

Shape = tuple[object, ...]


def advanced_findings(
    store: Store, reader: ManifestReader, data: bytes, manifest: ComponentManifest
) -> Iterator[Finding]:
    """Why a component cannot be installed without an installer of Windows; none if it can.

    Raises:
        NotSupported: `calibration:base-manifest`, the version in the image cannot be expanded.

    Args:
        store: the image.
        reader: reads the older version in the image.
        data: the manifest of the component as XML.
        manifest: the same, parsed.
    """
    yield from unknown_attributes(manifest)
    other = neighbour_version(store, manifest.identity)
    elements = [one for one in manifest.advanced if _ATTRIBUTE_MARK not in one]
    if other is None or (other.version > manifest.identity.version and not elements):
        for element in elements:
            yield _finding("advanced-new", element, manifest.identity)
        return
    try:
        old_data, old_manifest = reader.stored(other)
    except (NotFound, DamagedInput) as error:
        text = f"{keyform(other)} in the image cannot be read: {error}"
        yield Finding(Verdict.NOT_SUPPORTED, "image-damaged", text)
        return
    for element in changed_elements(old_data, old_manifest, data, manifest):
        yield _finding("advanced-changed", element, manifest.identity)


def unknown_attributes(manifest: ComponentManifest) -> Iterator[Finding]:
    """Attributes of files, keys and values whose meaning is not known."""
    for element in manifest.advanced:
        if _ATTRIBUTE_MARK in element:
            yield _finding("advanced-new", element, manifest.identity)


def changed_elements(
    old_data: bytes, old: ComponentManifest, new_data: bytes, new: ComponentManifest
) -> tuple[str, ...]:
    """Names of advanced elements that two versions of a component do not have in common.

    Versions, hashes of files and debugging information do not count as differences; the texts
    that the elements refer to do.
    """
    if not old.advanced and not new.advanced:
        return ()
    before, after = _shapes(old_data, old), _shapes(new_data, new)
    names = dict.fromkeys((*old.advanced, *new.advanced))
    return tuple(
        name
        for name in names
        if _ATTRIBUTE_MARK not in name and before.get(name) != after.get(name)
    )


def neighbour_version(store: Store, identity: AssemblyIdentity) -> AssemblyIdentity | None:
    """The installed version nearest to this one: the next lower one, else the lowest higher."""
    installed = store.installed_versions(identity)
    if not installed:
        return None
    lower = [one for one in installed if one <= identity.version]
    return replace(identity, version=lower[-1] if lower else installed[0])


def _shapes(data: bytes, manifest: ComponentManifest) -> dict[str, Shape]:
    root = parse_xml(data)
    return {name: _shape_of(root, name, manifest) for name in manifest.advanced}


def _shape_of(root: Element, path: str, manifest: ComponentManifest) -> Shape:
    """All elements that stand at a path, in an order of their own, with the texts they name."""
    found = [_shape(one) for one in _at(root, path.split("/"))]
    texts = sorted(
        (culture, name, table[name])
        for culture, table in manifest.strings.items()
        for name in _names_of_strings(found)
        if name in table
    )
    return (tuple(sorted(found, key=repr)), tuple(texts))


def _at(element: Element, names: list[str]) -> Iterator[Element]:
    """Elements at a path; the name of a category stands for the membership that holds it."""
    for one in element:
        if local_name(one) == names[0]:
            if len(names) == 1 or names[0] == "memberships":
                yield one
            else:
                yield from _parents_at(one, names[1:])


def _parents_at(element: Element, names: list[str]) -> Iterator[Element]:
    """The element itself where something stands below it at a path: what holds it counts, too."""
    if any(True for _ in _at(element, names)):
        yield element


def _shape(element: Element) -> Shape:
    attributes = sorted(
        (name, value) for name, value in element.attrib.items() if name not in _VERSION_ATTRIBUTES
    )
    below = tuple(_shape(one) for one in element if local_name(one) not in _LEFT_OUT)
    return (element.tag, tuple(attributes), (element.text or "").strip(), below)


def _names_of_strings(found: list[Shape]) -> set[str]:
    return set(_STRING.findall(repr(found)))


def _finding(code: str, element: str, identity: AssemblyIdentity) -> Finding:
    text = f"{keyform(identity)} has the element {element}, which needs an installer of Windows"
    if _ATTRIBUTE_MARK in element:
        text = f"{keyform(identity)} has the attribute {element}, whose meaning is not known"
    return Finding(Verdict.NOT_SUPPORTED, f"{code}:{element}", text)
