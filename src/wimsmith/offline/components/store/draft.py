"""What one update is about to do to an image: collected as edits, readable as if done."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from wimsmith.errors import NotFound, PathConflict
from wimsmith.offline import paths
from wimsmith.offline.changes import (
    ChangeSet,
    Content,
    Link,
    MakeDirectory,
    PutFile,
    RegistryEdit,
    Remove,
    SetSecurity,
    Times,
    TreeEdit,
)
from wimsmith.offline.components.store.hive_draft import HiveDraft
from wimsmith.offline.components.store.view import View
from wimsmith.offline.security import inherit
from wimsmith.offline.wim.format.tree import Entry

_ARCHIVE, _DIRECTORY, _REPARSE_POINT = 0x20, 0x10, 0x400


@dataclass(slots=True, eq=False)
class File:
    """A file or directory without its names: entries that share one are hard links.

    `origin` is a path in the untouched image, None for what the draft itself made.
    """

    sha1: str
    security: bytes | None
    attributes: int
    origin: str | None = None

    @property
    def is_directory(self) -> bool:
        return bool(self.attributes & _DIRECTORY)

    @property
    def is_link(self) -> bool:
        """Whether it is a reparse point: a link, or a file whose content is kept elsewhere."""
        return bool(self.attributes & _REPARSE_POINT)


class Draft:
    """Edits of one update on one index, with a view that shows them as done.

    Nothing of the image is touched. Content is kept once, by SHA-1, as files below `spool`.
    """

    def __init__(self, view: View, spool: Path, now: int) -> None:
        """Collect edits of `view`; `now` is the FILETIME that new files carry."""
        self._view = view
        self._spool = spool
        self._times = Times(now, now, now)
        self._nodes: dict[str, tuple[str, File]] = {}
        self._removed: set[str] = set()
        self._originals: dict[int, File] = {}
        self._tree: list[TreeEdit] = []
        self._registry: list[RegistryEdit] = []
        self._hives: dict[str, HiveDraft] = {}
        self._content: dict[str, Content] = {}

    @property
    def view(self) -> View:
        """The image that the edits are for, without them."""
        return self._view

    @property
    def changes(self) -> ChangeSet:
        """All edits so far, in order, with the content that they need."""
        return ChangeSet(tuple(self._tree), tuple(self._registry), dict(self._content))

    def hive(self, name: str) -> HiveDraft:
        """A hive by its mount name.

        Raises:
            NotFound: the image does not have it.
            DamagedHive: it cannot be read.
        """
        if name not in self._hives:
            self._hives[name] = HiveDraft(name, self._view.hive(name), self._registry)
        return self._hives[name]

    def has_hive(self, name: str) -> bool:
        return self._view.has_hive(name)

    def find(self, path: str) -> File | None:
        """The file or directory at `path`, with the edits so far."""
        known = self._nodes.get(_key(path))
        if known:
            return known[1]
        if self._is_removed(_key(path)):
            return None
        entry = self._view.find(path)
        return self._original(entry, path) if entry else None

    def exists(self, path: str) -> bool:
        return self.find(path) is not None

    def read(self, path: str) -> bytes:
        """Content of the file at `path`, with the edits so far.

        Raises:
            NotFound: there is no file at that path.
        """
        file = self.find(path)
        if file is None or file.is_directory:
            raise NotFound(path)
        if file.origin is not None:
            return self._view.read(file.origin)
        return self._content[file.sha1].path.read_bytes()

    def read_many(self, wanted: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Path and content of those files that exist, with the edits so far.

        Much quicker than one by one.
        """
        untouched: dict[str, list[str]] = {}
        for path in wanted:
            file = self.find(path)
            if file is None or file.is_directory:
                continue
            if file.origin is None:
                yield path, self.read(path)
            else:
                untouched.setdefault(file.origin, []).append(path)
        for origin, data in self._view.read_many(untouched):
            for path in untouched[origin]:
                yield path, data

    @property
    def stated_architecture(self) -> int | None:
        """What the description of the image says its architecture is, as Windows numbers them."""
        return self._view.stated_architecture

    def names_in(self, path: str) -> list[str]:
        """Names in a directory, sorted; empty where there is none."""
        prefix = _key(path) + "/" if _key(path) else ""
        entry = None if self._is_removed(_key(path)) else self._view.find(path)
        below = (entry.children or {}) if entry else {}
        names = {_key(child.name): child.name for child in below.values()}
        for key in [key for key in names if prefix + key in self._removed]:
            del names[key]
        for key, (name, _) in self._nodes.items():
            if key.startswith(prefix) and "/" not in key[len(prefix) :]:
                names[key[len(prefix) :]] = name
        return sorted(names.values(), key=paths.fold)

    def make_directory(
        self, path: str, security: bytes | None = None, attributes: int | None = None
    ) -> None:
        """Make a directory with its missing parents; without `security` it inherits.

        An existing directory gets the `security` that is given, and is else left alone.

        Raises:
            PathConflict: a file stands at the path or on the way.
        """
        names = paths.split(path)
        for end in range(1, len(names)):
            self._directory("/".join(names[:end]), None, None)
        if names:
            self._directory("/".join(names), security, attributes)

    def put_bytes(
        self, path: str, data: bytes, security: bytes | None = None, attributes: int = _ARCHIVE
    ) -> None:
        """Put a file with content `data`; without `security` it keeps or inherits one."""
        sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        if sha1 not in self._content:
            self._content[sha1] = Content(sha1, len(data), self._spooled(sha1, data))
        self._put(path, sha1, security, attributes)

    def put_file(
        self,
        path: str,
        source: Path,
        security: bytes | None = None,
        attributes: int = _ARCHIVE,
        *,
        written: int | None = None,
    ) -> None:
        """Put a file with the content of `source`, which must stay until the changes are saved.

        `written` is the FILETIME of its last write, where it has one of its own.
        """
        content = Content.of_file(source)
        self._content.setdefault(content.sha1, content)
        self._put(path, content.sha1, security, attributes, written)

    def link(self, path: str, target: str) -> None:
        """Make `path` one more name of the file at `target`, replacing what stands there.

        The short name of a replaced entry stays. Missing folders are made, inheriting.

        Raises:
            NotFound: no file at `target`.
            PathConflict: a directory stands at `path`.
        """
        file = self.find(target)
        if file is None or file.is_directory:
            raise NotFound(target)
        if self.find(path) is file:
            return
        self._make_room(path)
        self._nodes[_key(path)] = (paths.split(path)[-1], file)
        self._tree.append(Link(path, target))

    def remove(self, path: str) -> None:
        """Remove a file, or a directory with all below it; nothing there is no error.

        Other names of the file, and its content, stay.
        """
        key = _key(path)
        if self.find(path) is None:
            return
        for one in [one for one in self._nodes if one == key or one.startswith(key + "/")]:
            del self._nodes[one]
        self._removed.add(key)
        self._tree.append(Remove(path))

    def set_security(self, path: str, security: bytes) -> None:
        """Give what stands at `path` another security descriptor."""
        file = self.find(path)
        if file is None:
            raise NotFound(path)
        if file.security != security:
            file.security = security
            self._tree.append(SetSecurity(path, security))

    def _spooled(self, sha1: str, data: bytes) -> Path:
        """A file with these bytes; one that is there may be linked elsewhere and is not touched."""
        target = self._spool / sha1
        if not target.exists():
            self._spool.mkdir(parents=True, exist_ok=True)
            part = target.with_suffix(".part")
            part.write_bytes(data)
            part.replace(target)
        return target

    def _put(
        self,
        path: str,
        sha1: str,
        security: bytes | None,
        attributes: int,
        written: int | None = None,
    ) -> None:
        old = self.find(path)
        if security is None and old is not None:
            security = old.security
        if old and (old.sha1, old.security, old.attributes) == (sha1, security, attributes):
            return
        self._make_room(path)
        security = security or self._inherited(paths.parent(path), is_directory=False)
        self._nodes[_key(path)] = (paths.split(path)[-1], File(sha1, security, attributes))
        times = self._times if written is None else replace(self._times, written=written)
        self._tree.append(PutFile(path, sha1, security, attributes, times))

    def _make_room(self, path: str) -> None:
        paths.check(path)
        old = self.find(path)
        if old is not None and old.is_directory:
            raise PathConflict(f"{path} is a directory where a file belongs")
        if old is not None and old.is_link:
            raise PathConflict(f"{path} is a link: it is not replaced by a file")
        self.make_directory(paths.parent(path))

    def _directory(self, path: str, security: bytes | None, attributes: int | None) -> None:
        old = self.find(path)
        if old is not None and not old.is_directory:
            raise PathConflict(f"{path} is a file where a directory belongs")
        if old is not None:
            if old.is_link:
                raise PathConflict(f"{path} is a link: nothing is written through links")
            if security is not None:
                self.set_security(path, security)
            return
        paths.check(path)
        security = security or self._inherited(paths.parent(path), is_directory=True)
        attributes = _DIRECTORY | (attributes or 0)
        self._nodes[_key(path)] = (paths.split(path)[-1], File("", security, attributes))
        self._tree.append(MakeDirectory(path, security, attributes, self._times))

    def _inherited(self, folder: str, *, is_directory: bool) -> bytes | None:
        above = self.find(folder)
        if above is None or above.security is None:
            return None
        return inherit(above.security, is_directory=is_directory)

    def _is_removed(self, key: str) -> bool:
        while key and self._removed:
            if key in self._removed:
                return True
            key = key.rpartition("/")[0]
        return False

    def _original(self, entry: Entry, path: str) -> File:
        inode = entry.inode
        known = self._originals.get(id(inode))
        if known is None:
            known = File(inode.sha1.hex(), inode.security, inode.attributes, path)
            self._originals[id(inode)] = known
        return known


def _key(path: str) -> str:
    return paths.fold("/".join(paths.split(path)))
