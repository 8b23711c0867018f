"""Files and directories of a component: what they become in the image, and writing them."""

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from wimsmith.errors import NotSupported, Untrusted
from wimsmith.offline import paths
from wimsmith.offline.components.install.descriptions import (
    Component,
    Descriptor,
    file_descriptor,
    places,
)
from wimsmith.offline.components.install.destinations import Places
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.image import HIVE_PATHS
from wimsmith.offline.manifests.component import ComponentFile, ComponentManifest, FileHash
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.packages.containers.cabinet import CabinetFile
from wimsmith.offline.registry.logs import LOG_SUFFIXES
from wimsmith.offline.security import inherit

log = logging.getLogger("wimsmith.offline")

_COPY_BYTES = 1 << 20
_STORE = ("WinSxS", "servicing/Packages")
_ATTRIBUTES = {"readonly": 0x1, "hidden": 0x2, "system": 0x4, "archive": 0x20, "normal": 0x20}
_ARCHIVE = 0x20
_NOT_WRITEABLE = frozenset(["", "notwriteable", "notwritable"])
_FURTHER_HIVES = ("Windows/System32/config/SAM", "Windows/System32/config/SECURITY")
_HIVE_FILES = frozenset(
    paths.fold(path + suffix)
    for path in (*HIVE_PATHS.values(), *_FURTHER_HIVES)
    for suffix in ("", *LOG_SUFFIXES)
)


class Payload(Protocol):
    """Where the bytes of a component's files are: an update has them, or the store itself."""

    def payload_of(self, keyform: str, file: ComponentFile) -> CabinetFile:
        """The file that holds the bytes of a payload file of a component."""


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A payload file: where it goes in the store, and which names it gets in the system."""

    name: str
    source: CabinetFile
    digest: FileHash
    path: str
    links: tuple[str, ...]
    descriptor: Descriptor
    attributes: int


@dataclass(frozen=True, slots=True)
class PlannedDirectory:
    """A directory; one that the component does not own keeps its descriptor if it is there."""

    path: str
    descriptor: Descriptor
    is_owner: bool
    attributes: int | None


@dataclass(frozen=True, slots=True)
class PlannedFiles:
    """All files and directories of one component.

    `left` are names in the system, each with the file in the store that it is a name of, which the
    version in use so far has and this one has not.
    """

    files: tuple[PlannedFile, ...] = ()
    directories: tuple[PlannedDirectory, ...] = ()
    left: tuple[tuple[str, str], ...] = ()


def plan_files(
    store: Store, manifest: ComponentManifest, package: Payload, key: str
) -> PlannedFiles:
    """Decide where everything of a component goes, without writing.

    Raises:
        NotSupported: `macro`, `calibration:security`, `destination-link`, or an attribute that is
            not known.
        DamagedPackage: a payload file is missing.
        UnsafePath: a name that Windows would not accept.
    """
    seen = places(store, manifest.identity)
    files = tuple(_file(store, manifest, package, key, one, seen) for one in manifest.files)
    return PlannedFiles(files, tuple(_directories(store, manifest, seen)))


def without_names_of(store: Store, older: ComponentManifest, plan: PlannedFiles) -> PlannedFiles:
    """The plan with the names that the version `older` has in the system and this one has not.

    Raises:
        NotSupported: `macro`, a place of the older version is not known.
        UnsafePath: a name that Windows would not accept.
    """
    folder = store.payload_path(keyform(older.identity))
    seen = places(store, older.identity)
    kept = {paths.fold(link) for file in plan.files for link in file.links}
    left = [
        (link, paths.join(folder, file.name))
        for file in older.files
        for link in _links(file, seen)
        if paths.fold(link) not in kept
    ]
    return replace(plan, left=tuple(dict.fromkeys(left)))


def write_payload(draft: Draft, component: Component, plan: PlannedFiles) -> None:
    """Put the payload into the store; each file is checked against its digest again.

    Raises:
        Untrusted: a file does not have the digest that the manifest states.
    """
    for file in plan.files:
        _check_digest(component.key, file)
        draft.put_file(
            file.path,
            file.source.path,
            file.descriptor.data,
            file.attributes,
            written=file.source.written,
        )


def write_directories(draft: Draft, plans: Iterable[PlannedFiles]) -> None:
    """Make the directories of all components, with their descriptors.

    Those of owners come last, so that the order of components does not matter.
    """
    directories = [directory for plan in plans for directory in plan.directories]
    for directory in sorted(directories, key=lambda one: (one.is_owner, one.path.count("/"))):
        keeps = not directory.is_owner and draft.exists(directory.path)
        data = None if keeps else directory.descriptor.data
        draft.make_directory(directory.path, data, directory.attributes)


def write_links(draft: Draft, plan: PlannedFiles) -> None:
    """Give the payload its names in the system, replacing what stands there."""
    for file in plan.files:
        for number, link in enumerate(file.links):
            draft.make_directory(paths.parent(link))
            if file.descriptor.inherits and number == 0:
                _take_over(draft, file.path, paths.parent(link))
            draft.link(link, file.path)


def remove_names(draft: Draft, plan: PlannedFiles) -> None:
    """Take away the names of a version that is in use no longer, where they are still its own."""
    for link, stored in plan.left:
        found = draft.find(link)
        if found is not None and found is draft.find(stored):
            log.info("%s is gone: the component has it no longer", link)
            draft.remove(link)


def write_backups(
    draft: Draft, component: Component, plan: PlannedFiles, folder: str, suffixes: dict[str, str]
) -> None:
    """Keep copies of the files that starting Windows needs, apart from the originals."""
    for file in plan.files:
        name = f"{component.key}_{paths.split(file.name)[-1]}_{suffixes[file.name]}"
        stored = draft.find(file.path)
        draft.put_file(
            f"{folder}/{name}",
            file.source.path,
            stored.security if stored else None,
            file.attributes,
            written=file.source.written,
        )


def is_stored(draft: Draft, file: PlannedFile) -> bool:
    """Whether the image has a file of the payload, with the digest that the manifest states."""
    if not draft.exists(file.path):
        return False
    data = draft.read(file.path)
    found = hashlib.new(file.digest.algorithm, data, usedforsecurity=False).digest()
    return found == file.digest.digest


def digest_of(path: Path, algorithm: str) -> bytes:
    """Digest of a file, read in pieces."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_COPY_BYTES):
            digest.update(block)
    return digest.digest()


def _take_over(draft: Draft, path: str, folder: str) -> None:
    above = draft.find(folder)
    if above is not None and above.security is not None:
        draft.set_security(path, inherit(above.security, is_directory=False))


def _check_digest(key: str, file: PlannedFile) -> None:
    if digest_of(file.source.path, file.digest.algorithm) != file.digest.digest:
        raise Untrusted("payload-hash", f"{key}/{file.name} is not what its manifest says")


def _file(
    store: Store,
    manifest: ComponentManifest,
    package: Payload,
    key: str,
    file: ComponentFile,
    seen: Places,
) -> PlannedFile:
    if file.writeable_type.lower() not in _NOT_WRITEABLE:
        kind = file.writeable_type[:60]
        text = f"{key}/{file.name} may change on the running system ({kind!r})"
        raise NotSupported("advanced-new:file/writeableType", text)
    if file.hash is None:
        raise Untrusted("payload-hash", f"{key}/{file.name} has no digest in its manifest")
    links = tuple(dict.fromkeys(_links(file, seen)))
    for link in links:
        _check_destination(store.draft, link)
    return PlannedFile(
        name=file.name,
        source=package.payload_of(key, file),
        digest=file.hash,
        path=paths.join(store.payload_path(key), file.name),
        links=links,
        descriptor=file_descriptor(
            store, manifest, file.security_descriptor, links[0] if links else ""
        ),
        attributes=_attributes(file.attributes) or _ARCHIVE,
    )


def _links(file: ComponentFile, seen: Places) -> Iterator[str]:
    if file.destination_path:
        yield _allowed(paths.join(seen.in_image(file.destination_path), file.name), seen)
    for link in file.links:
        yield _allowed(seen.in_image(link), seen)


def _allowed(path: str, seen: Places) -> str:
    """The path, if it is one that components have names in.

    Hives are changed value by value, and the store only by servicing; a package that brings a
    file of theirs is not understood.
    """
    folded = paths.fold(path)
    if folded in _HIVE_FILES:
        raise NotSupported("hive", f"the file {path} is a registry hive")
    windows = seen.online_path("runtime.windows")[2:]
    if folded.startswith(tuple(f"{paths.fold(paths.join(windows, one))}/" for one in _STORE)):
        raise NotSupported("store-destination", f"the file {path} is in the component store")
    return path


def _check_destination(draft: Draft, path: str) -> None:
    """Windows opens what stands at a destination, and nothing here follows a link as it would."""
    found = draft.find(path)
    if found is not None and found.is_link and not found.is_directory:
        text = f"{path} is a link or other reparse point; the update brings a file of this name"
        raise NotSupported("destination-link", text)


def _directories(
    store: Store, manifest: ComponentManifest, seen: Places
) -> Iterator[PlannedDirectory]:
    for directory in manifest.directories:
        path = seen.in_image(directory.destination_path)
        if path:
            yield PlannedDirectory(
                path=path,
                descriptor=file_descriptor(store, manifest, directory.security_descriptor, path),
                is_owner=directory.owner is not False,
                attributes=_attributes(directory.attributes),
            )


def _attributes(text: str) -> int | None:
    """Attributes from their names, None if the manifest gives none."""
    names = [name.lower() for name in re.split(r"[\s,;|]+", text) if name]
    unknown = [name for name in names if name not in _ATTRIBUTES]
    if unknown:
        raise NotSupported("advanced-new:attributes", f"the file attribute {unknown[0][:80]!r}")
    bits = 0
    for name in names:
        bits |= _ATTRIBUTES[name]
    return bits | _ARCHIVE if names else None
