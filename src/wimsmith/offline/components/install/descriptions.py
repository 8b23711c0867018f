"""One component of an update, read: its manifest, and how the running system sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from wimsmith.errors import DamagedInput, NotFound, NotSupported, UnknownAlias
from wimsmith.offline import paths
from wimsmith.offline.components.install.destinations import Places
from wimsmith.offline.components.install.macros import Expander, string_tables
from wimsmith.offline.components.store.basemanifest import ManifestReader
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.manifests.component import ComponentManifest
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.security import (
    FILE_RIGHTS,
    KEY_RIGHTS,
    completed,
    is_inherit,
    stored_descriptor,
)

_RESOURCES = "Resources"
_KNOWN_HINTS = frozenset(["", "replace"])


@dataclass(frozen=True, slots=True)
class Component:
    """A component or deployment that an update brings.

    Attributes:
        data: the manifest as XML, the bytes that the catalog lists.
        manifest: the same, parsed.
        state: staged or installed: the highest that any deployment asks for.
        deployments: keys of the deployments that name it.
    """

    data: bytes = field(repr=False)
    manifest: ComponentManifest = field(repr=False)
    state: int
    deployments: tuple[str, ...]

    @property
    def identity(self) -> AssemblyIdentity:
        return self.manifest.identity

    @property
    def key(self) -> str:
        """Its name in the store."""
        return keyform(self.manifest.identity)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a named security descriptor of a manifest means for one object.

    `data` None: the object takes what its parent gives (`inherits`), or the manifest names none.
    """

    data: bytes | None = None
    inherits: bool = False


def expander(
    store: Store,
    reader: ManifestReader,
    manifest: ComponentManifest,
    package_manifests: Mapping[str, ComponentManifest],
) -> Expander:
    """Macros of a component; texts may come from its satellite for a language of the image."""
    languages = store.image.languages
    tables = list(
        string_tables(
            manifest.strings,
            component_language=manifest.identity.language,
            image_languages=languages,
        )
    )
    for satellite in _satellites(store, manifest):
        found = package_manifests.get(keyform(satellite)) or _stored(store, reader, satellite)
        if found is not None:
            tables += string_tables(
                found.strings, component_language=satellite.language, image_languages=languages
            )
    return Expander(places(store, manifest.identity), tuple(tables))


def places(store: Store, identity: AssemblyIdentity) -> Places:
    """Folders of the image as a component sees them."""
    image = store.image
    return Places(image.architecture, image.system_root, identity.architecture)


def file_descriptor(
    store: Store, manifest: ComponentManifest, name: str | None, replaced: str
) -> Descriptor:
    """Descriptor of a file or directory; `replaced` is the path that it may take it over from.

    Raises:
        NotSupported: `calibration:security`, it cannot be compiled and nothing is replaced.
    """
    old = store.draft.find(replaced) if replaced else None
    try:
        found = _descriptor(manifest, name, FILE_RIGHTS)
    except UnknownAlias as error:
        if old is None or old.security is None:
            raise _no_descriptor(manifest, name, str(error)) from error
        return Descriptor(old.security)
    if found.data is None:
        return found
    like = old.security if old else _security_above(store.draft, replaced)
    return replace(found, data=completed(found.data, like))


def _security_above(draft: Draft, path: str) -> bytes | None:
    """The descriptor of the nearest folder above a path."""
    while path:
        path = paths.parent(path)
        above = draft.find(path)
        if above is not None:
            return above.security
    return None


def key_descriptor(manifest: ComponentManifest, name: str | None) -> Descriptor:
    """Descriptor of a registry key; it may name no owner.

    Raises:
        NotSupported: `calibration:security`, it cannot be compiled.
    """
    try:
        return _descriptor(manifest, name, KEY_RIGHTS)
    except UnknownAlias as error:
        raise _no_descriptor(manifest, name, str(error)) from error


def _descriptor(
    manifest: ComponentManifest, name: str | None, rights: Mapping[int, int]
) -> Descriptor:
    if name is None:
        return Descriptor()
    definition = manifest.security_descriptors.get(name)
    if definition is None:
        raise UnknownAlias(f"{name} is not defined in {keyform(manifest.identity)}")
    if definition.operation_hint.lower() not in _KNOWN_HINTS:
        hint = definition.operation_hint[:60]
        about = f"{keyform(manifest.identity)}: the hint {hint!r} on the descriptor {name}"
        raise NotSupported("advanced-new:securityDescriptorDefinition/operationHint", about)
    if is_inherit(definition.sddl):
        return Descriptor(inherits=True)
    return Descriptor(_compiled(definition.sddl, for_key=rights is KEY_RIGHTS))


@lru_cache(maxsize=256)
def _compiled(sddl: str, *, for_key: bool) -> bytes:
    """The descriptor of an SDDL text; manifests have a handful of them between them."""
    return stored_descriptor(sddl, KEY_RIGHTS if for_key else FILE_RIGHTS)


def _no_descriptor(manifest: ComponentManifest, name: str | None, text: str) -> NotSupported:
    about = f"the descriptor {name} of {keyform(manifest.identity)}: {text}"
    return NotSupported("calibration:security", about)


def _satellites(store: Store, manifest: ComponentManifest) -> list[AssemblyIdentity]:
    """The components that hold texts of this one, for each language of the image."""
    named = [one for one in manifest.dependencies if one.resource_type == _RESOURCES]
    return [
        replace(one.identity, language=language) if one.identity.language == "*" else one.identity
        for one in named
        for language in store.image.languages
    ]


def _stored(
    store: Store, reader: ManifestReader, identity: AssemblyIdentity
) -> ComponentManifest | None:
    if not store.has_component(identity):
        return None
    try:
        return reader.stored(identity)[1]
    except (NotFound, DamagedInput):
        return None  # texts are then looked up in the other tables, or the macro is refused
