"""What differs between two images: entries by path, and keys and values of changed hives."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from wimsmith.errors import DamagedHive, DamagedWim, LimitExceeded, NotFound
from wimsmith.offline import paths
from wimsmith.offline.registry.base import MAX_HIVE_BYTES
from wimsmith.offline.registry.diff import HiveDifference, diff_hives
from wimsmith.offline.registry.hive import Hive
from wimsmith.offline.registry.logs import LOG_SUFFIXES
from wimsmith.offline.wim.format.behind import read_behind
from wimsmith.offline.wim.format.container import Wim
from wimsmith.offline.wim.format.tree import EMPTY_SHA1, ZERO_SHA1, Entry, Inode, Tree

_HIVE_SIGNATURE = b"regf"
_SMALLEST_HIVE_BYTES = 8192


class Change(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Aspect(StrEnum):
    """What of an entry changed."""

    NAME = "name"
    CONTENT = "content"
    ATTRIBUTES = "attributes"
    TIMES = "times"
    SHORT_NAME = "short name"
    SECURITY = "security"
    LINKS = "hard links"
    STREAMS = "streams"
    REPARSE = "reparse point"
    OBJECT_ID = "object id"
    EXTENDED_ATTRIBUTES = "extended attributes"
    OTHER = "other metadata"


@dataclass(frozen=True, slots=True)
class Difference:
    """One path that is not the same. `old` or `new` is None for what was added or removed."""

    change: Change
    path: str
    old: Entry | None
    new: Entry | None
    aspects: tuple[Aspect, ...] = ()


@dataclass(frozen=True, slots=True)
class HiveComparison:
    """Keys and values of one hive; `error` says why they could not be compared."""

    path: str
    differences: tuple[HiveDifference, ...] = ()
    error: str = ""


def compare_trees(old: Tree, new: Tree, *, times: bool = False) -> Iterator[Difference]:
    """Entries that differ, parents first, in the order of the old image, then what is new.

    Names match as Windows matches them. A file in place of a folder, or the reverse, is one entry
    removed and one added. All below an added or removed folder is told, too.

    Args:
        old: the one image.
        new: the other.
        times: whether other times are a difference.
    """
    old_links, new_links = _LinkGroups(), _LinkGroups()
    pending = [("", old.root, new.root)]
    while pending:
        path, one, other = pending.pop()
        aspects = _aspects(one, other, old_links, new_links, times=times)
        if aspects:
            yield Difference(Change.CHANGED, path, one, other, aspects)
        if one.children or other.children:
            below = _Below(path, one, other)
            yield from below.unmatched()
            pending += reversed(below.pairs)


class _Below:
    """Children of two folders, paired by name."""

    def __init__(self, path: str, old: Entry, new: Entry) -> None:
        self._prefix = f"{path}/" if path else ""
        self._old, self._new = old.children or {}, new.children or {}
        self.pairs = [
            (self._prefix + other.name, one, other)
            for key, one in self._old.items()
            if (other := self._new.get(key)) is not None and one.is_directory == other.is_directory
        ]

    def unmatched(self) -> Iterator[Difference]:
        for key, one in self._old.items():
            other = self._new.get(key)
            if other is None or one.is_directory != other.is_directory:
                yield from _all_below(Change.REMOVED, self._prefix + one.name, one)
        for key, other in self._new.items():
            match = self._old.get(key)
            if match is None or match.is_directory != other.is_directory:
                yield from _all_below(Change.ADDED, self._prefix + other.name, other)


def _all_below(change: Change, path: str, top: Entry) -> Iterator[Difference]:
    pending = [(path, top)]
    is_old = change is Change.REMOVED
    while pending:
        at, entry = pending.pop()
        yield Difference(change, at, entry if is_old else None, None if is_old else entry)
        children = (entry.children or {}).values()
        pending.extend((f"{at}/{child.name}", child) for child in reversed(children))


def _aspects(
    old: Entry, new: Entry, old_links: "_LinkGroups", new_links: "_LinkGroups", *, times: bool
) -> tuple[Aspect, ...]:
    one, other = old.inode, new.inode
    found = {
        Aspect.NAME: old.name != new.name,
        Aspect.CONTENT: one.sha1 != other.sha1 and _content(one) != _content(other),
        Aspect.ATTRIBUTES: one.attributes != other.attributes,
        Aspect.TIMES: times and one.times != other.times,
        Aspect.SHORT_NAME: old.short_name != new.short_name,
        Aspect.SECURITY: one.security != other.security,
        Aspect.LINKS: (len(one.entries) > 1 or len(other.entries) > 1)
        and old_links.names(one) != new_links.names(other),
        Aspect.STREAMS: one.named_streams != other.named_streams
        and _streams(one) != _streams(other),
        Aspect.REPARSE: one.reparse != other.reparse,
    }
    aspects = tuple(aspect for aspect, differs in found.items() if differs)
    return aspects + _tagged(one.tagged, other.tagged) if one.tagged != other.tagged else aspects


def _content(inode: Inode) -> bytes:
    return ZERO_SHA1 if inode.sha1 == EMPTY_SHA1 else inode.sha1


def _streams(inode: Inode) -> dict[str, bytes]:
    return {
        paths.fold(one.name): ZERO_SHA1 if one.sha1 == EMPTY_SHA1 else one.sha1
        for one in inode.named_streams
    }


def _tagged(old: bytes, new: bytes) -> tuple[Aspect, ...]:
    one, other = read_behind(old), read_behind(new)
    found = {
        Aspect.OBJECT_ID: one.object_id != other.object_id,
        Aspect.EXTENDED_ATTRIBUTES: one.extended_attributes != other.extended_attributes,
        Aspect.OTHER: (one.unix, one.other) != (other.unix, other.other),
    }
    return tuple(aspect for aspect, differs in found.items() if differs)


class _LinkGroups:
    """All names of files, as paths that can be compared."""

    def __init__(self) -> None:
        self._folders: dict[Entry, str] = {}
        self._names: dict[Inode, frozenset[str]] = {}

    def names(self, inode: Inode) -> frozenset[str]:
        found = self._names.get(inode)
        if found is None:
            found = frozenset(self._path(entry) for entry in inode.entries)
            self._names[inode] = found
        return found

    def _path(self, entry: Entry) -> str:
        folder = entry.parent
        if folder is None:
            return ""
        above = self._folders.get(folder)
        if above is None:
            above = self._folders[folder] = "/".join(map(paths.fold, _names(folder)))
        return f"{above}/{paths.fold(entry.name)}"


def _names(entry: Entry) -> list[str]:
    names = []
    at: Entry | None = entry
    while at is not None and at.parent is not None:
        names.append(at.name)
        at = at.parent
    return names[::-1]


def compare_hives(
    old: Wim, old_tree: Tree, new: Wim, new_tree: Tree, differences: Iterable[Difference]
) -> Iterator[HiveComparison]:
    """Compare the registry hives among changed files, found by what they begin with.

    A hive counts as changed as well when one of its logs is; logs are replayed where a hive needs
    them. A hive that cannot be read does not end the comparison of the others.
    """
    done: set[str] = set()
    for path in _changed_files(differences):
        one, other = old_tree.find(path), new_tree.find(path)
        if one is None or other is None or paths.fold(path) in done:
            continue
        if _is_hive(old, one) and _is_hive(new, other):
            done |= {_fold_path(name) for name in other.inode.entries}
            yield _compare_hive(path, (old, old_tree), (new, new_tree))


def _changed_files(differences: Iterable[Difference]) -> Iterator[str]:
    """Paths of changed files, and of files whose logs changed, appeared or went."""
    for difference in differences:
        entry = difference.new or difference.old
        if entry is None or entry.is_directory or not entry.is_safe:
            continue
        for suffix in LOG_SUFFIXES:
            if difference.path.upper().endswith(suffix):
                yield difference.path[: -len(suffix)]
        if Aspect.CONTENT in difference.aspects:
            yield difference.path


def _is_hive(wim: Wim, entry: Entry) -> bool:
    sha1 = entry.inode.sha1
    try:
        if entry.is_directory or wim.size_of(sha1) < _SMALLEST_HIVE_BYTES:
            return False
        return b"".join(islice(wim.open_blob(sha1), 1)).startswith(_HIVE_SIGNATURE)
    except NotFound:  # a delta WIM
        return False


def _compare_hive(path: str, old: tuple[Wim, Tree], new: tuple[Wim, Tree]) -> HiveComparison:
    try:
        found = diff_hives(_hive(path, *old), _hive(path, *new), security=True, classes=True)
        return HiveComparison(path, tuple(found))
    except (DamagedHive, DamagedWim, LimitExceeded, NotFound) as error:
        return HiveComparison(path, error=str(error))


def _hive(path: str, wim: Wim, tree: Tree) -> Hive:
    files = [tree.find(path + suffix) for suffix in ("", *LOG_SUFFIXES)]
    data, *logs = [wim.read_blob(one.inode.sha1, MAX_HIVE_BYTES) for one in files if one]
    return Hive.parse(data, logs)


def _fold_path(entry: Entry) -> str:
    return "/".join(paths.fold(name) for name in _names(entry))
