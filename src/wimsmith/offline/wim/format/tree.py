"""The directory tree of one image, as a value that can be edited.

Names live in `Entry`, files in `Inode`: hard links are entries that share one inode object.
Nothing here follows reparse points, and nothing here touches the file system of this server.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from wimsmith.errors import LimitExceeded, NotFound, NotSupported, PathConflict, UnsafePath
from wimsmith.offline import paths
from wimsmith.offline.changes import Times

ZERO_SHA1 = bytes(20)
"""Stands for empty content: it has no resource of its own."""
EMPTY_SHA1 = bytes.fromhex("da39a3ee5e6b4b0d3255bfef95601890afd80709")
MAX_LINKS = 1024
"""Names that NTFS allows one file to have."""
_NAME_SURROGATE = 1 << 29


class Attribute:
    """File attributes that this engine looks at; all others are carried along."""

    READONLY: Final = 0x1
    HIDDEN: Final = 0x2
    SYSTEM: Final = 0x4
    DIRECTORY: Final = 0x10
    ARCHIVE: Final = 0x20
    NORMAL: Final = 0x80
    REPARSE_POINT: Final = 0x400
    ENCRYPTED: Final = 0x4000


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of a file: its name ("" for the main content) and the SHA-1 of its content."""

    name: str
    sha1: bytes


@dataclass(frozen=True, slots=True)
class Reparse:
    """A reparse point: tag, SHA-1 of its data, and two fields that are carried along.

    `flags` bit 0 set means that a link target was *not* made relative to the image's root.
    """

    tag: int
    sha1: bytes
    reserved: int = 0
    flags: int = 0

    @property
    def is_link(self) -> bool:
        """Whether this stands for another file, as junctions and symbolic links do."""
        return bool(self.tag & _NAME_SURROGATE)


@dataclass(slots=True, eq=False)
class Inode:
    """A file or directory without its names.

    `sha1` is the main content, `ZERO_SHA1` when that is empty or for directories. `security` is
    a self-relative security descriptor, None for "inherit when applied". `tagged` holds object
    id, extended attributes and whatever else stands behind an entry, as raw bytes.
    """

    attributes: int
    security: bytes | None = None
    created: int = 0
    accessed: int = 0
    written: int = 0
    sha1: bytes = ZERO_SHA1
    named_streams: tuple[Stream, ...] = ()
    reparse: Reparse | None = None
    tagged: bytes = b""
    unknown: tuple[int, int, int] = (0, 0, 0)
    entries: list["Entry"] = field(default_factory=list, repr=False)

    @property
    def is_directory(self) -> bool:
        return bool(self.attributes & Attribute.DIRECTORY)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All data streams: the main content first (not for directories), then named ones."""
        if self.is_directory and self.sha1 == ZERO_SHA1:
            return self.named_streams
        return (Stream("", self.sha1), *self.named_streams)

    @property
    def times(self) -> Times:
        return Times(self.created, self.accessed, self.written)

    @times.setter
    def times(self, times: Times) -> None:
        self.created, self.accessed, self.written = times.created, times.accessed, times.written

    def content(self) -> list[bytes]:
        """SHA-1 of every stream and of reparse data that has a resource, with repeats."""
        if self.reparse is None and not self.named_streams:
            return [] if self.sha1 == ZERO_SHA1 else [self.sha1]
        hashes = [self.sha1, *(stream.sha1 for stream in self.named_streams)]
        if self.reparse is not None:
            hashes.append(self.reparse.sha1)
        return [sha1 for sha1 in hashes if sha1 != ZERO_SHA1]


@dataclass(slots=True, eq=False)
class Entry:
    """One name of a file or directory. `children` is None for files."""

    name: str
    short_name: str
    inode: Inode = field(repr=False)
    parent: "Entry | None" = field(default=None, repr=False)
    children: dict[str, "Entry"] | None = field(default=None, repr=False)

    @property
    def is_directory(self) -> bool:
        return self.inode.is_directory

    @property
    def is_safe(self) -> bool:
        """Whether the name can stand in a path without changing what the path means."""
        return is_safe_name(self.name)

    @property
    def path(self) -> str:
        """Path from the root of the image.

        Raises:
            UnsafePath: a name on the way is `..`, has a separator, or is otherwise unusable.
        """
        names = []
        entry: Entry | None = self
        while entry is not None and entry.parent is not None:
            if not is_safe_name(entry.name):
                raise UnsafePath(repr(entry.name)[:200])
            names.append(entry.name)
            entry = entry.parent
        return "/".join(reversed(names))

    def child(self, name: str) -> "Entry | None":
        """The entry called `name` in this directory, ignoring case."""
        return None if self.children is None else self.children.get(paths.fold(name))


def is_safe_name(name: str) -> bool:
    """Whether a name is one name: not empty, not `.` or `..`, without separators and NUL."""
    return name not in {"", ".", ".."} and "/" not in name and "\\" not in name and "\0" not in name


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the XML document tells of an image.

    The root counts as a directory, a junction as a file; bytes are of all streams and of
    reparse data, once per name (what wimlib writes after a capture).
    """

    directories: int
    files: int
    total_bytes: int
    hard_link_bytes: int


class Tree:
    """Directory tree of one image; lookup ignores case and never follows reparse points.

    What is made without times takes those of the folder it is made in, never those of a clock, so
    that the same edits give the same tree.
    """

    __slots__ = ("root",)

    def __init__(self, root: Entry) -> None:
        self.root = root

    @classmethod
    def new(cls, *, security: bytes | None = None, times: Times | None = None) -> "Tree":
        """An empty tree; without `times` its root has none (0)."""
        inode = _new_inode(Attribute.DIRECTORY, security, times or Times(0, 0, 0))
        root = Entry("", "", inode, None, {})
        inode.entries.append(root)
        return cls(root)

    def find(self, path: str) -> Entry | None:
        """The entry at `path`, or None; entries with unusable names are never found."""
        entry: Entry | None = self.root
        for name in paths.split(path):
            entry = entry.child(name) if entry is not None and is_safe_name(name) else None
        return entry

    def walk(self, below: Entry | None = None) -> Iterator[Entry]:
        """Every entry, parents first, beginning with the root (or with `below`)."""
        pending = [below or self.root]
        while pending:
            entry = pending.pop()
            yield entry
            if entry.children:
                pending.extend(reversed(entry.children.values()))

    def links(self, inode: Inode) -> list[Entry]:
        """All names of one file."""
        return list(inode.entries)

    def inodes(self) -> Iterator[Inode]:
        """Every file and directory once, whatever its number of names."""
        for entry in self.walk():
            inode = entry.inode
            if inode.entries[0] is entry:
                yield inode

    def references(self) -> Counter[bytes]:
        """How often each content is named: once per stream and directory entry."""
        counts: Counter[bytes] = Counter()
        for inode in self.inodes():
            for sha1 in inode.content():
                counts[sha1] += len(inode.entries)
        return counts

    def statistics(self, size_of: Callable[[bytes], int]) -> Statistics:
        """Counts for the XML document; `size_of` gives the size in bytes of a content."""
        directories = files = total = linked = 0
        for inode in self.inodes():
            names = len(inode.entries)
            size_bytes = sum(map(size_of, inode.content()))
            if inode.is_directory and inode.reparse is None:
                directories += names
            else:
                files += names
            total += names * size_bytes
            linked += (names - 1) * size_bytes
        return Statistics(directories, files, total, linked)

    def make_directory(
        self,
        path: str,
        *,
        security: bytes | None = None,
        attributes: int | None = None,
        times: Times | None = None,
        short_name: str | None = None,
    ) -> Entry:
        """Make a directory with its missing parents; what is None is kept.

        A new directory without `security` inherits when the image is applied.

        Raises:
            PathConflict: a file or a link stands at the path or on the way to it.
            UnsafePath: a name that Windows does not accept.
        """
        entry = self._folder(paths.split(path), times)
        inode = entry.inode
        if security is not None:
            inode.security = security
        if attributes is not None:
            kept = inode.attributes & Attribute.REPARSE_POINT
            inode.attributes = attributes | kept | Attribute.DIRECTORY
        if times is not None:
            inode.times = times
        if short_name is not None:
            entry.short_name = short_name
        return entry

    def put_file(
        self,
        path: str,
        sha1: bytes,
        *,
        security: bytes | None = None,
        attributes: int = Attribute.ARCHIVE,
        times: Times | None = None,
        short_name: str | None = None,
    ) -> Entry:
        """Put a new file at `path`; a file that stands there loses this name.

        Without `security` and `short_name` those of the replaced entry are taken; a new file
        without a descriptor inherits when the image is applied. Missing folders are made.

        Raises:
            PathConflict: a directory stands at the path, or a file or link on the way.
            UnsafePath: a name that Windows does not accept.
        """
        folder, name, old = self._place(path, times)
        if security is None and old:
            security = old.inode.security
        kind = Attribute.DIRECTORY | Attribute.REPARSE_POINT
        inode = _new_inode(attributes & ~kind, security, times or folder.inode.times)
        inode.sha1 = _stored(sha1)
        entry = _name(folder, name, inode, old)
        if short_name is not None:
            entry.short_name = short_name
        return entry

    def replace_content(self, path: str, sha1: bytes) -> Entry:
        """Give a file, and so all its names, other content; everything else is kept.

        Raises:
            NotFound: no file at that path.
            NotSupported: the file is encrypted or a reparse point.
        """
        entry = self._file(path)
        if entry.inode.attributes & (Attribute.ENCRYPTED | Attribute.REPARSE_POINT):
            raise NotSupported(
                "special-file", f"{path} is encrypted or a reparse point: remove it, then put a new"
            )
        entry.inode.sha1 = _stored(sha1)
        return entry

    def put_stream(self, path: str, name: str, sha1: bytes) -> Entry:
        """Give the file or directory at `path` a named stream, or that stream other content."""
        entry = self._entry(path)
        stream = Stream(paths.check_name(name), _stored(sha1))
        folded = paths.fold(name)
        kept = [one for one in entry.inode.named_streams if paths.fold(one.name) != folded]
        entry.inode.named_streams = (*kept, stream)
        return entry

    def set_reparse(self, path: str, reparse: Reparse) -> Entry:
        """Make the file or empty directory at `path`, which has one name, a reparse point.

        Raises:
            PathConflict: the directory is not empty, or the file has further names.
        """
        entry = self._entry(path)
        if entry.children or len(entry.inode.entries) > 1:
            raise PathConflict(f"{path} has children or further names: it cannot be a link")
        entry.inode.reparse = reparse
        entry.inode.attributes |= Attribute.REPARSE_POINT
        return entry

    def link(self, path: str, target: str) -> Entry:
        """Make `path` one more name of the file at `target`; a file that stands there is replaced.

        Raises:
            NotFound: no file at `target`.
            NotSupported: `target` is a reparse point, which a WIM cannot link.
            PathConflict: a directory stands at the path, or a file or link on the way.
            LimitExceeded: the file has as many names as NTFS allows.
        """
        inode = self._file(target).inode
        if inode.reparse is not None:
            raise NotSupported("special-file", f"{target} is a reparse point: make a second one")
        folder, name, old = self._place(path, None)
        if old is not None and old.inode is inode:
            return old
        if len(inode.entries) >= MAX_LINKS:
            raise LimitExceeded(f"{target} has {MAX_LINKS} names already")
        entry = _name(folder, name, inode, old)
        if any(other.short_name for other in inode.entries if other is not entry):
            entry.short_name = ""
        return entry

    def remove(self, path: str) -> None:
        """Remove a name, and with a directory all below it.

        Raises:
            NotFound: nothing at that path.
            PathConflict: the path is the root.
        """
        entry = self._entry(path)
        folder = entry.parent
        if folder is None or folder.children is None:
            raise PathConflict("the root of an image cannot be removed")
        for gone in self.walk(entry):
            gone.inode.entries.remove(gone)
        del folder.children[paths.fold(entry.name)]

    def move(self, path: str, new_path: str) -> Entry:
        """Give the file or directory at `path` another name or folder; its links stay its links.

        The folder must exist and nothing may stand at `new_path`, but the entry itself under the
        same name in other letters. The short name is kept with the name, unless the new folder
        has it already.

        Raises:
            NotFound: nothing at `path`, or no folder for `new_path`.
            PathConflict: the root, a folder into itself, or the place is taken.
            UnsafePath: a name that Windows does not accept.
        """
        entry = self._entry(path)
        names = paths.split(new_path)
        old_folder, folder = entry.parent, self._entry("/".join(names[:-1]))
        if old_folder is None or old_folder.children is None or not names:
            raise PathConflict("the root of an image cannot be moved or replaced")
        if folder.children is None or (folder.inode.reparse and folder.inode.reparse.is_link):
            raise PathConflict(f"{folder.name} is a file or a link")
        name = paths.check_name(names[-1])
        if folder.child(name) not in {None, entry}:
            raise PathConflict(f"{new_path} is taken: remove what stands there first")
        _refuse_own_child(entry, folder)
        if paths.fold(name) != paths.fold(entry.name) or (
            folder is not old_folder and _has_short_name(folder, entry.short_name)
        ):
            entry.short_name = ""
        if folder is not old_folder or paths.fold(name) != paths.fold(entry.name):
            del old_folder.children[paths.fold(entry.name)]
            folder.children[paths.fold(name)] = entry
        entry.name, entry.parent = name, folder
        return entry

    def set_security(self, path: str, security: bytes | None) -> Entry:
        """Give a file or directory, and so all its names, another security descriptor."""
        entry = self._entry(path)
        entry.inode.security = security
        return entry

    def _entry(self, path: str) -> Entry:
        entry = self.find(path)
        if entry is None:
            raise NotFound(path)
        return entry

    def _file(self, path: str) -> Entry:
        entry = self._entry(path)
        if entry.is_directory:
            raise NotFound(f"{path} is a directory, not a file")
        return entry

    def _place(self, path: str, times: Times | None) -> tuple[Entry, str, Entry | None]:
        names = paths.split(path)
        if not names:
            raise PathConflict("the root of an image is a directory")
        paths.check_name(names[-1])
        folder = self._folder(names[:-1], times)
        old = folder.child(names[-1])
        if old is not None and old.is_directory:
            raise PathConflict(f"{path} is a directory: remove it first")
        return folder, names[-1], old

    def _folder(self, names: tuple[str, ...], times: Times | None) -> Entry:
        folder = self.root
        for name in names:
            entry = folder.child(name)
            if entry is None:
                paths.check_name(name)
                inode = _new_inode(Attribute.DIRECTORY, None, times or folder.inode.times)
                entry = _name(folder, name, inode, None)
                entry.children = {}
            elif entry.children is None or (entry.inode.reparse and entry.inode.reparse.is_link):
                raise PathConflict(f"{'/'.join(names)}: {entry.name} is a file or a link")
            folder = entry
        return folder


def _new_inode(attributes: int, security: bytes | None, times: Times) -> Inode:
    return Inode(attributes, security, times.created, times.accessed, times.written)


def _stored(sha1: bytes) -> bytes:
    if len(sha1) != len(ZERO_SHA1):
        raise ValueError(f"a SHA-1 has 20 bytes, not {len(sha1)}")
    return ZERO_SHA1 if sha1 == EMPTY_SHA1 else bytes(sha1)


def _refuse_own_child(entry: Entry, folder: Entry) -> None:
    above: Entry | None = folder
    while above is not None:
        if above is entry:
            raise PathConflict(f"{entry.name} cannot be moved into itself")
        above = above.parent


def _has_short_name(folder: Entry, short_name: str) -> bool:
    wanted = paths.fold(short_name)
    siblings = (folder.children or {}).values()
    return bool(wanted) and any(
        wanted in {paths.fold(one.short_name), paths.fold(one.name)} for one in siblings
    )


def _name(folder: Entry, name: str, inode: Inode, old: Entry | None) -> Entry:
    """Name an inode in a folder, taking over the name and short name of the entry there."""
    if old is not None:
        old.inode.entries.remove(old)
        old.inode = inode
        inode.entries.append(old)
        return old
    if folder.children is None:
        raise PathConflict(f"{folder.name} is not a directory")
    entry = Entry(name, "", inode, folder)
    inode.entries.append(entry)
    folder.children[paths.fold(name)] = entry
    return entry
