"""One index of a WIM, seen read-only: files and hives, with the pending changes on top."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from wimsmith.errors import DamagedInput, NotFound, NotSupported
from wimsmith.offline import paths
from wimsmith.offline.changes import (
    ChangeSet,
    Content,
    Link,
    MakeDirectory,
    PutFile,
    Remove,
    Rename,
    ReplaceContent,
    SetSecurity,
    Times,
    TreeEdit,
)
from wimsmith.offline.hiveedits import edit_hive
from wimsmith.offline.registry.base import MAX_HIVE_BYTES
from wimsmith.offline.registry.hive import Hive
from wimsmith.offline.registry.logs import LOG_SUFFIXES
from wimsmith.offline.security import inherit
from wimsmith.offline.wim.format.container import MAX_BLOB_BYTES, Wim
from wimsmith.offline.wim.format.tree import EMPTY_SHA1, Entry, Tree

_CONFIG = "Windows/System32/config"
HIVE_PATHS: Mapping[str, str] = MappingProxyType(
    {
        "SOFTWARE": f"{_CONFIG}/SOFTWARE",
        "SYSTEM": f"{_CONFIG}/SYSTEM",
        "COMPONENTS": f"{_CONFIG}/COMPONENTS",
        "DEFAULT": f"{_CONFIG}/DEFAULT",
        "DRIVERS": f"{_CONFIG}/DRIVERS",
        "NTUSER": "Users/Default/NTUSER.DAT",
    }
)
"""Hives that may be read and changed, by mount name. SAM and SECURITY are left alone."""

_USER_HIVE = re.compile(
    r"(USERS/[^/]+|WINDOWS/SERVICEPROFILES/(LOCALSERVICE|NETWORKSERVICE))"
    r"/(NTUSER\.DAT|APPDATA/LOCAL/MICROSOFT/WINDOWS/USRCLASS\.DAT)"
)


@lru_cache(maxsize=256)
def hive_name(name: str) -> str:
    """The one name of a hive that may be changed: its mount name, or its path if it has none.

    Args:
        name: a mount name, or the path of a hive file, such as `Users/Kim/NTUSER.DAT`. Hives
            without a mount name are those of users and of the two service accounts.

    Raises:
        NotSupported: the hive is not one that is changed offline.
    """
    upper = paths.fold(paths.join(name))
    if upper in HIVE_PATHS:
        return upper
    for mount, path in HIVE_PATHS.items():
        if paths.fold(path) == upper:
            return mount
    if not _USER_HIVE.fullmatch(upper):
        raise NotSupported("hive", f"the hive {name} is not changed in offline images")
    return upper


def hive_path(name: str) -> str:
    """Path of the file of the hive that `hive_name` gave this name."""
    return HIVE_PATHS.get(name, name)


class ImageView:
    """Files and hives of one index, as they will be once the stacked changes are committed.

    Reading never writes: hives and the tree are changed in memory only.
    """

    def __init__(self, wim: Wim, index_number: int) -> None:
        self.wim = wim
        self.index_number = index_number
        self.tree: Tree = wim.tree(index_number)
        self._content: dict[str, Content] = {}
        self._hives: dict[str, Hive] = {}
        self._hive_files: dict[str, tuple[bytes, ...]] = {}
        self._changed_hives: set[str] = set()
        self._stacked: list[ChangeSet] = []

    def find(self, path: str) -> Entry | None:
        """The entry at `path`, or None; case does not matter, reparse points are not followed."""
        return self.tree.find(path)

    def exists(self, path: str) -> bool:
        return self.find(path) is not None

    @property
    def stated_architecture(self) -> int | None:
        """`ARCH` of the description: 0 x86, 5 ARM, 9 amd64, 12 ARM64; None if it says nothing."""
        windows = self.wim.image(self.index_number).windows
        return windows.architecture if windows else None

    def read(self, path: str, limit_bytes: int = MAX_BLOB_BYTES) -> bytes:
        """Content of the unnamed stream of the file at `path`.

        Raises:
            NotFound: there is no file at that path.
            DamagedWim: the stored content does not have the hash it is known by.
            LimitExceeded: the WIM stores more than `limit_bytes` for it.
        """
        entry = self.find(path)
        if entry is None or entry.is_directory:
            raise NotFound(f"{path} in index {self.index_number} of {self.wim.path.name}")
        return self.read_content(entry.inode.sha1, limit_bytes)

    def read_content(self, sha1: bytes, limit_bytes: int = MAX_BLOB_BYTES) -> bytes:
        """Content known by its 20-byte SHA-1, from the pending changes or from the WIM."""
        if not any(sha1):
            return b""
        pending = self._content.get(sha1.hex())
        return pending.path.read_bytes() if pending else self.wim.read_blob(sha1, limit_bytes)

    def size_of(self, sha1: bytes) -> int:
        """Size in bytes of a content, from the pending changes or from the WIM, unread."""
        pending = self._content.get(sha1.hex())
        return pending.size_bytes if pending else self.wim.size_of(sha1)

    def read_many(self, wanted: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Path and content of those files that exist: much quicker than one by one.

        Raises:
            DamagedWim: stored content does not have the hash it is known by.
        """
        found = [(path, entry.inode.sha1.hex()) for path, entry in self._files(wanted)]
        stored = [one for one in found if one[1] not in self._content]
        blobs = self.wim.read_blobs(bytes.fromhex(sha1) for _, sha1 in stored)
        for (path, _), (_, data) in zip(stored, blobs, strict=True):
            yield path, data
        for path, sha1 in found:
            if sha1 in self._content:
                yield path, self._content[sha1].path.read_bytes()

    def _files(self, wanted: Iterable[str]) -> Iterator[tuple[str, Entry]]:
        for path in wanted:
            entry = self.find(path)
            if entry is not None and not entry.is_directory:
                yield path, entry

    def hive(self, name: str) -> Hive:
        """The registry hive with mount name `name`, such as SOFTWARE, with its logs replayed.

        Hives of users are named by their paths, as `hive_name` has it.

        Raises:
            NotFound: the image has no such hive.
            NotSupported: the hive is not one that is serviced offline.
            DamagedHive: the hive, or a log that it needs, cannot be read.
        """
        name = hive_name(name)
        if name not in self._hives:
            self._hives[name] = self._parse_hive(name)
            self._hive_files[name] = self._files_of(name)
        return self._hives[name]

    def has_hive(self, name: str) -> bool:
        return name in HIVE_PATHS and self.exists(HIVE_PATHS[name])

    def changed_hives(self) -> Mapping[str, Hive]:
        """Hives that stacked changes have edited, by mount name."""
        return {name: self._hives[name] for name in sorted(self._changed_hives)}

    @property
    def pending_content(self) -> Mapping[str, Content]:
        """Content that stacked changes bring, by hexadecimal SHA-1."""
        return self._content

    @property
    def stacked(self) -> Sequence[ChangeSet]:
        """The change sets that were stacked, in their order."""
        return self._stacked

    def stack(self, changes: ChangeSet) -> None:
        """Let later reads see `changes`.

        Raises:
            NotFound: an edit needs a path that does not exist.
            UnsafePath: an edit would make a name that Windows does not accept.
            DamagedInput: an edit needs content that nobody brings.
            NotSupported: `hive-order`, the file of a hive is replaced or moved whose keys have
                been changed: one of the two would be lost.
        """
        self._stacked.append(changes)
        self._content.update(changes.content)
        for sha1 in sorted(changes.missing_content() - self._content.keys()):
            content = bytes.fromhex(sha1)
            if content != EMPTY_SHA1 and content not in self.wim.blobs:
                raise DamagedInput(f"content {sha1} is in neither the WIM nor the changes")
        for edit in changes.tree:
            edit_tree(self.tree, edit)
        if changes.tree:
            self._forget_hives()
        for change in changes.registry:
            edit_hive(self.hive(change.hive), change)
            self._changed_hives.add(hive_name(change.hive))

    def _forget_hives(self) -> None:
        """Read hives again whose files are others now."""
        others = [name for name, files in self._hive_files.items() if files != self._files_of(name)]
        for name in others:
            if name in self._changed_hives:
                raise NotSupported(
                    "hive-order",
                    f"the hive {hive_path(name)} is replaced or moved after its keys were changed",
                    hint="Put the change of the file before the changes of its keys.",
                )
            del self._hives[name], self._hive_files[name]

    def _files_of(self, name: str) -> tuple[bytes, ...]:
        """Content of the file of a hive and of its logs, by SHA-1."""
        path = hive_path(name)
        entries = (self.find(path + suffix) for suffix in ("", *LOG_SUFFIXES))
        return tuple(entry.inode.sha1 if entry else b"" for entry in entries)

    def _parse_hive(self, name: str) -> Hive:
        path = hive_path(name)
        entry = self.find(path)
        if entry is None:
            raise NotFound(f"hive {name} ({path}) in index {self.index_number}")
        beside = (path + suffix for suffix in LOG_SUFFIXES)
        logs = [self.read(log, MAX_HIVE_BYTES) for log in beside if self.exists(log)]
        return Hive.parse(self.read(path, MAX_HIVE_BYTES), logs)


def edit_tree(tree: Tree, edit: TreeEdit) -> None:
    """Carry out one edit on a tree."""
    match edit:
        case MakeDirectory(path, security, attributes, times):
            _make_directory(tree, paths.check(path), times)
            tree.make_directory(path, security=security, attributes=attributes, times=times)
        case PutFile(path, sha1, security, attributes, times, short_name):
            path = paths.check(path)
            old = tree.find(path)
            folder = _make_directory(tree, paths.parent(path), times)
            tree.put_file(
                path,
                bytes.fromhex(sha1),
                security=security if security or old else _inherited(folder, is_directory=False),
                attributes=attributes,
                times=times or (old or folder).inode.times,
                short_name=short_name,
            )
        case ReplaceContent(path, sha1, written):
            inode = tree.replace_content(path, bytes.fromhex(sha1)).inode
            inode.written = inode.written if written is None else written
        case Link(path, target):
            _make_directory(tree, paths.parent(paths.check(path)), None)
            tree.link(path, target)
        case SetSecurity(path, security):
            tree.set_security(path, security)
        case Remove(path):
            tree.remove(path)
        case Rename(path, new_path):
            tree.move(path, paths.check(new_path))


def _make_directory(tree: Tree, path: str, times: Times | None) -> Entry:
    """The directory at `path`, made with those above it as Windows would: what is new inherits.

    Times that are not given are those of the folder above, never those of a clock, so that the
    same changes give the same image.
    """
    entry = tree.root
    names = paths.split(path)
    for end in range(1, len(names) + 1):
        above, here = entry, "/".join(names[:end])
        entry = tree.find(here) or tree.make_directory(
            here,
            security=_inherited(above, is_directory=True),
            times=times or above.inode.times,
        )
    return entry


def inherited_security(tree: Tree, path: str, *, is_directory: bool) -> bytes | None:
    """The descriptor of a new entry in the folder at `path`, which need not be there yet.

    None if the folder that hands it down has none itself.
    """
    entry: Entry | None = tree.root
    security = tree.root.inode.security
    for name in paths.split(path):
        entry = entry.child(name) if entry else None
        if entry is not None:
            security = entry.inode.security
        elif security is not None:
            security = inherit(security, is_directory=True)
    return None if security is None else inherit(security, is_directory=is_directory)


def _inherited(folder: Entry, *, is_directory: bool) -> bytes | None:
    security = folder.inode.security
    return None if security is None else inherit(security, is_directory=is_directory)


def open_view(wim: Wim, index_number: int, stacked: Sequence[ChangeSet] = ()) -> ImageView:
    """The index `index_number` (1-based) of an open WIM with change sets stacked on it."""
    view = ImageView(wim, index_number)
    for changes in stacked:
        view.stack(changes)
    return view
