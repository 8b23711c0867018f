"""What an image must look like: an observed state with the changes made that are expected.

None stands for "anything will do"; everything else has to be equal.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from oracle.security import Descriptor, of_bytes
from oracle.state import ARCHIVE, DIRECTORY, Entry, ImageState, Key, Value

SecurityWant = bytes | frozenset[Descriptor] | None
"""Exactly these bytes, or one of these descriptors, or anything."""


@dataclass(slots=True)
class EntryWant:
    """A file or directory; `untouched` is the entry that has to be there as it was."""

    path: str
    attributes: int | None = ARCHIVE
    sha1: str | None = None
    security: SecurityWant = None
    short_name: str = ""
    untouched: Entry | None = None


@dataclass(slots=True)
class ValueWant:
    name: str
    type: int
    data: bytes | None


@dataclass(slots=True)
class KeyWant:
    path: str
    security: SecurityWant
    values: dict[str, ValueWant] = field(default_factory=dict)


class ImageWant:
    """The state of an index after an installation; starts as the state before it."""

    def __init__(self, before: ImageState) -> None:
        """Expect no change."""
        self.before = before
        self.entries = {
            path: EntryWant(
                entry.path,
                entry.attributes,
                entry.sha1,
                entry.security,
                entry.short_name,
                untouched=entry,
            )
            for path, entry in before.entries.items()
        }
        groups = {entry.links: set(entry.links) for entry in before.entries.values()}
        self.links = {path: groups[entry.links] for path, entry in before.entries.items()}
        self.hives = {
            hive: {path: _unchanged(key) for path, key in keys.items()}
            for hive, keys in before.hives.items()
        }
        self.changed_hives: set[str] = set()

    def directory(self, path: str, security: SecurityWant = None) -> None:
        """A directory with its parents; one that is there keeps all that is not given."""
        parent = path.rpartition("/")[0]
        if parent:
            self.directory(parent)
        known = self.entries.get(path.lower())
        if known is None:
            self._add(EntryWant(path, DIRECTORY, "0" * 40, security))
        elif security is not None:
            known.security, known.untouched = security, None

    def file(
        self, path: str, sha1: str, security: SecurityWant, attributes: int | None = ARCHIVE
    ) -> None:
        """A file of its own at a path; what stood there is gone from its link group."""
        self.directory(path.rpartition("/")[0])
        old = self.entries.get(path.lower())
        short_name = old.short_name if old else ""
        self._leave_group(path.lower())
        self._add(EntryWant(path, attributes, sha1, security, short_name))

    def link(self, path: str, target: str) -> None:
        """One more name of the file at `target`."""
        file = self.entries[target.lower()]
        self.file(path, file.sha1 or "", file.security, file.attributes)
        group = self.links[target.lower()]
        group.add(path.lower())
        self.links[path.lower()] = group
        for name in group:
            self.entries[name].untouched = None

    def no_file(self, path: str) -> None:
        """The file at a path is gone; its other names stay."""
        self._leave_group(path.lower())
        del self.entries[path.lower()]
        del self.links[path.lower()]

    def key(self, hive: str, path: str, security: SecurityWant = None) -> KeyWant:
        """A key with those above it; one that is there keeps its descriptor if none is given."""
        self.changed_hives.add(hive)
        keys = self.hives[hive]
        if path.lower() not in keys:
            parent = path.rpartition("\\")[0]
            if parent:
                self.key(hive, parent)
            keys[path.lower()] = KeyWant(path, security)
        elif security is not None:
            keys[path.lower()].security = security
        return keys[path.lower()]

    def value(self, hive: str, path: str, name: str, value_type: int, data: bytes | None) -> None:
        key = self.key(hive, path)
        old = key.values.get(name.lower())
        stored = old.name if old else name
        key.values[name.lower()] = ValueWant(stored, value_type, data)

    def no_keys_below(self, hive: str, path: str) -> None:
        """Everything below a key has to be gone."""
        start = path.lower() + "\\"
        for name in [name for name in self.hives[hive] if name.startswith(start)]:
            self.changed_hives.add(hive)
            del self.hives[hive][name]

    def siblings(self, folder: str, suffix: str) -> frozenset[Descriptor]:
        """Descriptors of the files of a kind that a folder has already."""
        return frozenset(
            of_bytes(entry.security)
            for entry in _children(self.before.entries.values(), folder)
            if entry.path.lower().endswith(suffix) and entry.security
        )

    def _add(self, entry: EntryWant) -> None:
        self.entries[entry.path.lower()] = entry
        self.links[entry.path.lower()] = {entry.path.lower()}

    def _leave_group(self, path: str) -> None:
        group = self.links.get(path, set())
        group.discard(path)
        for name in group:
            self.entries[name].untouched = None


def _unchanged(key: Key) -> KeyWant:
    values = {name: _exactly(value) for name, value in key.values.items()}
    return KeyWant(key.path, key.security, values)


def _exactly(value: Value) -> ValueWant:
    return ValueWant(value.name, value.type, value.data)


def _children(entries: Iterable[Entry], folder: str) -> Iterator[Entry]:
    start = folder.lower() + "/"
    for entry in entries:
        path = entry.path.lower()
        if path.startswith(start) and "/" not in path[len(start) :]:
            yield entry
