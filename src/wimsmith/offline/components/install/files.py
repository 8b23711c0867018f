"""Files and directories of a component: what they become in the image, and writing them."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

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
from wimsmith.offline.packages.containers.cabinet import CabinetFile
from wimsmith.offline.packages.package import ExpandedPackage
from wimsmith.offline.registry.logs import LOG_SUFFIXES
from wimsmith.offline.security import inherit

_COPY_BYTES = 1 << 20
_ATTRIBUTES = {"readonly": 0x1, "hidden": 0x2, "system": 0x4, "archive": 0x20, "normal": 0x20}
_ARCHIVE = 0x20
_FURTHER_HIVES = ("Windows/System32/config/SAM", "Windows/System32/config/SECURITY")
_HIVE_FILES = frozenset(
    paths.fold(path + suffix)
    for path in (*HIVE_PATHS.values(), *_FURTHER_HIVES)
    for suffix in ("", *LOG_SUFFIXES)
)


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
    """All files and directories of one component."""

    files: tuple[PlannedFile, ...] = ()
    directories: tuple[PlannedDirectory, ...] = ()


def plan_files(
    store: Store, manifest: ComponentManifest, package: ExpandedPackage, key: str
) -> PlannedFiles:
    """Decide where everything of a component goes, without writing.

    Raises:
        NotSupported: `macro`, `calibration:security`, or an attribute that is not known.
        DamagedPackage: a payload file is missing.
        UnsafePath: a name that Windows would not accept.
    """
    seen = places(store, manifest.identity)
    files = tuple(_file(store, manifest, package, key, one, seen) for one in manifest.files)
    return PlannedFiles(files, tuple(_directories(store, manifest, seen)))


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
    package: ExpandedPackage,
    key: str,
    file: ComponentFile,
    seen: Places,
) -> PlannedFile:
    if file.hash is None:
        raise Untrusted("payload-hash", f"{key}/{file.name} has no digest in its manifest")
    links = tuple(dict.fromkeys(_links(file, seen)))
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
        yield _no_hive(paths.join(seen.in_image(file.destination_path), file.name))
    for link in file.links:
        yield _no_hive(seen.in_image(link))


def _no_hive(path: str) -> str:
    """Hives are changed value by value; a package that brings a whole one is not understood."""
    if paths.fold(path) in _HIVE_FILES:
        raise NotSupported("hive", f"the file {path} is a registry hive")
    return path


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
