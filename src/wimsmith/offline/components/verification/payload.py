"""Payload of components: files, what they hold, their places in the system, backup copies."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wimsmith.errors import WimsmithError
from wimsmith.offline.components.store.lookups import WINSXS
from wimsmith.offline.components.verification.components import Winners
from wimsmith.offline.components.verification.manifests import FileFacts, ManifestFacts
from wimsmith.offline.components.verification.reading import Digested, read_digests
from wimsmith.offline.components.verification.report import Area, Findings
from wimsmith.offline.components.verification.tables import Tables
from wimsmith.offline.image import ImageView
from wimsmith.offline.paths import fold, split
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.wim.format.tree import EMPTY_SHA1, ZERO_SHA1, Entry

_PAYLOAD_DELETED = 0x40
_DELTA_FOLDERS = frozenset(["F", "N", "R"])
_COMPRESSED = frozenset([b"DCD\x01", b"DCH\x01", b"DCM\x01", b"DCN\x01", b"DCS\x01", b"DCX\x01"])
_KEYFORM = re.compile(r"[a-z0-9]+_.+_[0-9a-f]{16}_[0-9.]+_[^_]+_[0-9a-f]{16}", re.IGNORECASE)
_BACKUP = re.compile(r"(?P<key>.+_[0-9a-f]{16})_(?P<file>.+)_[0-9a-f]{8}", re.IGNORECASE)
_TOLD_COMPONENTS = 256


@dataclass(frozen=True, slots=True)
class _Stored:
    """A payload file that has to have a digest."""

    key: str
    file: FileFacts


class PayloadCheck:
    """Checks all files of a store against the manifests."""

    def __init__(
        self,
        view: ImageView,
        windows: str,
        tables: Tables,
        manifests: Mapping[str, ManifestFacts],
        winners: Winners,
        findings: Findings,
    ) -> None:
        """`windows` is the Windows folder of the image."""
        self._view = view
        self._tables = tables
        self._manifests = manifests
        self._winners = winners
        self._findings = findings
        store = view.find(f"{windows}/{WINSXS}")
        self._store = store
        self._wanted: defaultdict[bytes, list[_Stored]] = defaultdict(list)

    def run(self, progress: Progress, *, content: bool) -> None:
        """Check names, places and backups; with `content` also the digests of all files."""
        for done, (key, facts) in enumerate(self._manifests.items(), 1):
            self._check_component(key, facts)
            if done % _TOLD_COMPONENTS == 0 or done == len(self._manifests):
                progress(Event("check files", done, len(self._manifests)))
        self._check_backups()
        self._check_orphans()
        if content:
            self._check_content(progress)

    def _check_component(self, key: str, facts: ManifestFacts) -> None:
        folder = self._store.child(key) if self._store else None
        for file in facts.files:
            self._findings.checked(Area.PAYLOAD)
            entry = _below(folder, file.name)
            if entry is None:
                self._missing(key, file, folder)
                continue
            self._wanted[entry.inode.sha1].append(_Stored(key, file))
            if key in self._winners.in_use:
                self._check_places(key, file, entry)
        if folder is not None:
            self._check_strangers(key, facts, folder)

    def _missing(self, key: str, file: FileFacts, folder: Entry | None) -> None:
        about = f"{key}/{file.name}"
        code = "payload-missing"
        if key not in self._winners.in_use:
            if folder is None and self._may_be_deleted(key):
                code = "payload-deleted"
            elif folder is not None and _has_delta(folder, file.name):
                code = "payload-compressed"
        self._findings.add(code, about, key)

    def _may_be_deleted(self, key: str) -> bool:
        """Windows deletes the payload of features that are off, and says so in `CF`."""
        row = self._tables.components.get(key)
        marked = row is not None and bool(row.flags & _PAYLOAD_DELETED)
        return marked or not self._winners.is_installed(key)

    def _check_places(self, key: str, file: FileFacts, stored: Entry) -> None:
        if file.places is None:
            self._findings.add("destination-unknown", f"{key}/{file.name}", key)
            return
        for path in file.places:
            self._findings.checked(Area.DESTINATIONS)
            entry = self._view.find(path)
            if entry is None or entry.is_directory:
                self._findings.add("destination-missing", f"{path}: {key}", key)
            elif entry.inode is not stored.inode:
                self._findings.add(
                    self._kind_of_place(key, entry, stored, file), f"{path}: {key}", key
                )

    def _kind_of_place(self, key: str, entry: Entry, stored: Entry, file: FileFacts) -> str:
        """What it means that a file in its place is not a link to the payload."""
        if _content(entry) == _content(stored):
            return "destination-copy"
        owners = {name for one in entry.inode.entries if (name := self._owner_of(one))}
        if any(self._winners.is_same_family(key, owner) for owner in owners):
            return "destination-stale"
        if owners:
            return "destination-other"
        return "payload-writeable" if file.may_change else "destination-content"

    def _owner_of(self, entry: Entry) -> str:
        """Folder of the store that an entry is in, empty if it is elsewhere."""
        folder, above = entry, entry.parent
        while above is not None and above is not self._store:
            folder, above = above, above.parent
        return "" if above is None else folder.name.lower()

    def _check_strangers(self, key: str, facts: ManifestFacts, folder: Entry) -> None:
        known = {fold(file.name) for file in facts.files}
        for path in _files_below(folder):
            if fold(path) not in known:
                self._findings.add("orphan-file", f"{key}/{path}", key)

    def _check_backups(self) -> None:
        folder = self._store.child("Backup") if self._store else None
        for entry in ((folder.children or {}) if folder else {}).values():
            match = _BACKUP.fullmatch(entry.name)
            key = match["key"].lower() if match else ""
            if not self._findings.covers(key):
                continue
            self._findings.checked(Area.BACKUPS)
            if match is None or key not in self._tables.components:
                is_manifest = entry.name.lower().endswith(".manifest")
                if not is_manifest:
                    self._findings.add("backup-orphan", entry.name, key)
                continue
            payload = _below(self._store.child(key) if self._store else None, match["file"])
            if payload is not None and _content(payload) != _content(entry):
                self._findings.add("backup-content", entry.name, key)

    def _check_orphans(self) -> None:
        known = self._tables.components.keys() | self._manifests.keys()
        for entry in ((self._store.children or {}) if self._store else {}).values():
            if not entry.is_directory or not _KEYFORM.fullmatch(entry.name):
                continue
            self._findings.checked(Area.ORPHANS)
            if entry.name.lower() not in known:
                self._findings.add("orphan-folder", entry.name, entry.name)

    def _check_content(self, progress: Progress) -> None:
        algorithms = {
            sha1: {one.file.digest.algorithm for one in stored if one.file.digest}
            for sha1, stored in self._wanted.items()
        }
        for read in read_digests(self._view, algorithms, self._unreadable, progress):
            for stored in self._wanted[read.sha1]:
                self._compare(stored, read)

    def _compare(self, stored: _Stored, read: Digested) -> None:
        digest, about = stored.file.digest, f"{stored.key}/{stored.file.name}"
        if digest is None:
            self._findings.add("payload-no-digest", about, stored.key)
        elif read.digests[digest.algorithm] == digest.digest:
            return
        elif read.head in _COMPRESSED and stored.key not in self._winners.in_use:
            self._findings.add("payload-compressed", about, stored.key)
        elif stored.file.may_change:
            self._findings.add("payload-writeable", about, stored.key)
        else:
            self._findings.add("payload-hash", about, stored.key)

    def _unreadable(self, sha1: str, error: WimsmithError) -> None:
        for stored in self._wanted[bytes.fromhex(sha1)]:
            about = f"{stored.key}/{stored.file.name}: {error}"
            self._findings.add("payload-unreadable", about, stored.key)


def _below(folder: Entry | None, path: str) -> Entry | None:
    """The file at a path below a folder."""
    entry = folder
    for name in split(path):
        entry = entry.child(name) if entry else None
    return None if entry is None or entry.is_directory else entry


def _has_delta(folder: Entry, name: str) -> bool:
    """Whether a file is kept as a delta, as newer Windows does with superseded versions."""
    return any(_below(folder, f"{delta}/{name}") is not None for delta in _DELTA_FOLDERS)


def _files_below(folder: Entry) -> Iterator[str]:
    """Paths of the files of a component, without those of deltas."""
    pending = [
        (entry.name, entry)
        for entry in (folder.children or {}).values()
        if not (entry.is_directory and fold(entry.name) in _DELTA_FOLDERS)
    ]
    while pending:
        path, entry = pending.pop()
        if entry.is_directory:
            pending += [
                (f"{path}/{below.name}", below) for below in (entry.children or {}).values()
            ]
        else:
            yield path


def _content(entry: Entry) -> bytes:
    """SHA-1 of a file, with one form for empty ones."""
    return ZERO_SHA1 if entry.inode.sha1 == EMPTY_SHA1 else entry.inode.sha1
