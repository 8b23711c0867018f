"""Manifests of a store: read in bulk, expanded, compared with their hashes, and kept in short."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wimsmith.errors import DamagedInput, LimitExceeded, NotSupported, WimsmithError
from wimsmith.offline.components.install.destinations import Places
from wimsmith.offline.components.store.basemanifest import base_texts
from wimsmith.offline.components.store.expansion import Expander, Fault, StoredManifest
from wimsmith.offline.components.store.lookups import WINSXS
from wimsmith.offline.components.verification.reading import read_files
from wimsmith.offline.components.verification.report import Area, Findings
from wimsmith.offline.components.verification.tables import ComponentRow, Tables
from wimsmith.offline.image import ImageView
from wimsmith.offline.manifests.component import ComponentManifest, FileHash, parse_component
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.manifests.xmlreader import MAX_XML_BYTES
from wimsmith.offline.paths import join
from wimsmith.offline.planning.state import Image
from wimsmith.offline.progress import Event, Progress

_SUFFIX = ".manifest"
_FIXED_DATA = frozenset(["", "staticdata"])


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file of a component: `places` are paths in the image, None where one is not known."""

    name: str
    digest: FileHash | None
    may_change: bool
    places: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class ManifestFacts:
    """What the checks need of a manifest; both digests are of the XML.

    `installs` are the keys of the components that a deployment lists, `wildcards` how many it
    lists for any language.
    """

    key: str
    identity: AssemblyIdentity
    is_deployment: bool
    sha1: bytes
    sha256: bytes
    files: tuple[FileFacts, ...]
    installs: tuple[str, ...]
    wildcards: int
    is_backed_up: bool


Seen = Callable[[ManifestFacts, ComponentManifest], None]


class ManifestCheck:
    """Reads the manifests of a store and keeps the facts of each that is sound."""

    def __init__(
        self, view: ImageView, image: Image, tables: Tables, findings: Findings, seen: Seen
    ) -> None:
        """`seen` is told of each manifest while it is whole."""
        self._view = view
        self._image = image
        self._tables = tables
        self._findings = findings
        self._seen = seen
        self._folder = f"{image.windows}/{WINSXS}/Manifests"
        self._expander = Expander(lambda: base_texts(view, image.windows), self._stated)
        self.facts: dict[str, ManifestFacts] = {}

    def run(self, progress: Progress) -> None:
        """Check all manifests.

        Raises:
            WorkerFailed: the child process that expands manifests could not be started.
        """
        names = self._names()
        known = self._tables.components
        for key, row in known.items():
            if key not in names:
                self._findings.add("manifest-missing", row.key, row.key)
        wanted = {
            f"{self._folder}/{name}": key
            for key, name in names.items()
            if self._findings.covers(key)
        }
        files = read_files(self._view, wanted, MAX_XML_BYTES, self._unreadable)
        stored = ((wanted[path], data) for path, data in files)
        for done, one in enumerate(self._expander.read(stored), 1):
            self._check(one)
            self._findings.checked(Area.MANIFESTS)
            progress(Event("check manifests", done, len(wanted), "files"))

    def _stated(self, key: str) -> bytes | None:
        row = self._tables.components.get(key)
        return row.digest if row else None

    def _names(self) -> dict[str, str]:
        """Names of manifest files by key in lower case."""
        folder = self._view.find(self._folder)
        names = [one.name for one in ((folder.children or {}) if folder else {}).values()]
        return {
            name.lower().removesuffix(_SUFFIX): name
            for name in names
            if name.lower().endswith(_SUFFIX)
        }

    def _unreadable(self, path: str, error: WimsmithError) -> None:
        self._findings.add("payload-unreadable", f"{path}: {error}", path)

    def _check(self, one: StoredManifest) -> None:
        key, row = one.key, self._tables.components.get(one.key)
        if one.fault is Fault.NO_BASE:
            self._findings.add("manifest-base", key, key)
            return
        if one.fault is not None:
            self._findings.add("manifest-damaged", f"{key}: {one.fault}", key)
            return
        if row is None:
            self._findings.add("manifest-unregistered", key, key)
        digest = one.sha256
        if row is not None and row.digest is None:
            self._findings.add("manifest-no-hash", key, key)
        elif row is not None and row.digest != digest:
            self._findings.add("manifest-hash", key, key)
            return
        try:
            manifest = parse_component(one.xml)
        except (DamagedInput, LimitExceeded) as error:
            self._findings.add("manifest-damaged", f"{key}: {error}", key)
            return
        if not self._is_of(manifest, key, row):
            self._findings.add("manifest-identity", f"{key}: {manifest.identity}", key)
            return
        facts = self._facts_of(key, manifest, one.xml, digest)
        self.facts[key] = facts
        self._seen(facts, manifest)

    @staticmethod
    def _is_of(manifest: ComponentManifest, key: str, row: ComponentRow | None) -> bool:
        """Whether a manifest describes the component of its name and of its key."""
        if keyform(manifest.identity).lower() != key:
            return False
        stated = row.identity if row else None
        return stated is None or keyform(stated).lower() == key

    def _facts_of(
        self, key: str, manifest: ComponentManifest, xml: bytes, digest: bytes
    ) -> ManifestFacts:
        image = self._image
        places = Places(image.architecture, image.system_root, manifest.identity.architecture)
        installs = manifest.installs if manifest.is_deployment else ()
        wildcards = sum(one.language == "*" for one in installs)
        return ManifestFacts(
            key=key,
            identity=manifest.identity,
            is_deployment=manifest.is_deployment,
            sha1=hashlib.sha1(xml, usedforsecurity=False).digest(),
            sha256=digest,
            files=tuple(_files(manifest, places)),
            installs=tuple(keyform(one).lower() for one in installs if one.language != "*"),
            wildcards=wildcards,
            is_backed_up="BootRecovery" in manifest.categories,
        )


def _files(manifest: ComponentManifest, places: Places) -> Iterator[FileFacts]:
    for file in manifest.files:
        try:
            own = (
                [join(places.in_image(file.destination_path), file.name)]
                if file.destination_path
                else []
            )
            found = tuple(dict.fromkeys([*own, *map(places.in_image, file.links)]))
        except (NotSupported, DamagedInput):
            yield FileFacts(file.name, file.hash, _may_change(file.writeable_type), None)
        else:
            yield FileFacts(file.name, file.hash, _may_change(file.writeable_type), found)


def _may_change(writeable_type: str) -> bool:
    return writeable_type.lower() not in _FIXED_DATA
