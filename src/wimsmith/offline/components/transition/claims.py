"""What components own outside the store, so that nothing is taken from another one.

Ownership is decided by the manifests of all components that show themselves, value by value.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from wimsmith.offline.components.install.descriptions import Descriptor
from wimsmith.offline.components.install.registry import PlannedKey, PlannedValue
from wimsmith.offline.components.store import winners
from wimsmith.offline.components.store.lookups import stated_identity
from wimsmith.offline.components.transition.context import Context
from wimsmith.offline.components.transition.stored import (
    Shown,
    Stored,
    component_keys,
)
from wimsmith.offline.manifests.component import ComponentManifest, parse_component
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.paths import fold
from wimsmith.offline.progress import Progress

KeyPlace = tuple[str, str]
ValuePlace = tuple[str, str, str]

_ESCAPED = re.compile(r"[&<>\"']")
_ENDS = re.compile(r"[\"'\\/]")
_OTHER_SPELLINGS = ("$(STRING.", "&#", "\0")
"""Texts of string tables, numbers in the place of characters, and UTF-16."""


@dataclass(slots=True)
class Claims:
    """Places by folded name: files (with their source in the store), folders, keys and values.

    Folders and keys are those of which a component is the owner; a value with `keeps_existing`
    may have been changed since it was written.
    """

    files: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    directories: dict[str, tuple[str, bytes | None]] = field(default_factory=dict)
    keys: dict[KeyPlace, PlannedKey] = field(default_factory=dict)
    values: dict[ValuePlace, list[tuple[PlannedKey, PlannedValue]]] = field(default_factory=dict)

    @classmethod
    def of(cls, shown: Iterable[Shown]) -> "Claims":
        """All that some components own."""
        claims = cls()
        for one in shown:
            claims._add(one)
        return claims

    def _add(self, shown: Shown) -> None:
        for file in shown.files.files:
            for link in file.links:
                self.files.setdefault(fold(link), []).append((link, file.path))
        for directory in shown.files.directories:
            if directory.is_owner:
                folder = (directory.path, directory.descriptor.data)
                self.directories[fold(directory.path)] = folder
        for key in shown.registry:
            where = (key.hive, fold(key.path))
            if key.is_owner:
                self.keys[where] = key
            for value in key.values:
                place = (*where, fold(value.value.name))
                self.values.setdefault(place, []).append((key, value))

    def without(self, other: "Claims") -> "Claims":
        """What is here and not there."""
        return Claims(
            {place: one for place, one in self.files.items() if place not in other.files},
            {p: one for p, one in self.directories.items() if p not in other.directories},
            {place: one for place, one in self.keys.items() if place not in other.keys},
            {place: one for place, one in self.values.items() if place not in other.values},
        )

    def with_insides(self) -> "Claims":
        """The same, with the folders and keys on the way to what lies inside an owned one."""
        directories, keys = dict(self.directories), dict(self.keys)
        for owned in self.files.values():
            for above in _above(owned[-1][0], "/"):
                if any(fold(outer) in self.directories for outer in _above(above, "/")):
                    directories.setdefault(fold(above), (above, None))
        named = [*self.keys.values(), *(one[0][0] for one in self.values.values())]
        for key in named:
            for above in _above(key.path, "\\"):
                if any((key.hive, fold(outer)) in self.keys for outer in _above(above, "\\")):
                    empty = replace(key, path=above, descriptor=Descriptor(), values=())
                    keys.setdefault((key.hive, fold(above)), empty)
        return Claims(self.files, directories, keys, self.values)

    def __bool__(self) -> bool:
        return bool(self.files or self.directories or self.keys or self.values)

    def names(self) -> frozenset[str]:
        """Last names of all places: a manifest in which none of them stands claims none."""
        places = [*self.files, *self.directories]
        keys = [key for _, key in self.keys] + [key for _, key, _ in self.values]
        return frozenset(
            [
                *(place.rpartition("/")[2] for place in places),
                *(key.rpartition("\\")[2] for key in keys),
            ]
        )


class Others:
    """Finds components that own the same places as those that go."""

    def __init__(self, context: Context, stored: Stored, progress: Progress) -> None:
        """Nothing is read before it is asked for."""
        self._context = context
        self._stored = stored
        self._progress = progress

    def claiming(self, asked: Claims, besides: Iterable[AssemblyIdentity]) -> Claims:
        """What components in sight own of the places `asked`, those `besides` left out.

        Raises:
            NotSupported, DamagedManifest: a component that may own some of it is not understood.
        """
        # by name, since identities in the hive lack the build type that manifests have
        names, left_out = asked.names(), frozenset(fold(keyform(one)) for one in besides)
        quick = None if any(not n.isascii() or _ESCAPED.search(n) for n in names) else names
        keys = component_keys(self._context.store)
        texts = self._stored.texts(keys, "look for owners", self._progress)
        owners = [
            identity
            for key in sorted(key for key, text in texts if _may_claim(text, names, quick))
            if fold(key) not in left_out
            and (identity := self._identity(key)) is not None
            and self._is_in_sight(identity)
        ]
        self._stored.load(owners)
        return Claims.of(map(self._stored.shown, owners))

    def _identity(self, key: str) -> AssemblyIdentity | None:
        return stated_identity(self._context.store.component_value(key, "identity"))

    def _is_in_sight(self, identity: AssemblyIdentity) -> bool:
        return identity.version in winners.shown(self._context.store, identity)


def _above(path: str, separator: str) -> Iterator[str]:
    """The folders or keys above a place, the nearest first."""
    while separator in path:
        path = path.rpartition(separator)[0]
        yield path


def _may_claim(text: bytes | None, names: frozenset[str], quick: frozenset[str] | None) -> bool:
    """Whether one of the names stands in a manifest; what cannot be read may hold any."""
    if text is None:
        return True
    if quick is not None and not _mentions(text, quick):
        return False
    last = _last_names(parse_component(text))
    return bool(names & last) or any("$(" in name for name in last)


def _mentions(text: bytes, names: frozenset[str]) -> bool:
    """Whether names may stand at the end of a place; texts from string tables may be any name."""
    content = text.decode("utf-8", "replace").upper()
    if any(mark in content for mark in _OTHER_SPELLINGS):
        return True
    return not names.isdisjoint(_ENDS.split(content))


def _last_names(manifest: ComponentManifest) -> frozenset[str]:
    """Last names of files, folders and keys of a component, with the macros that they hold."""
    places = [file.name for file in manifest.files]
    places += [link for file in manifest.files for link in file.links]
    places += [directory.destination_path for directory in manifest.directories]
    places += [key.key_name for key in manifest.registry_keys]
    return frozenset(fold(re.split(r"[\\/]", place.rstrip("\\/"))[-1]) for place in places)
