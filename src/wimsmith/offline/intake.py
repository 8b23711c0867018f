"""Files and folders of this machine on their way into an image, as changes to its tree.

Windows facts that a Linux file does not have are made up in one way: files get the attribute
"archive", and all three times are that of the last write, so that reading a file does not change
what becomes of it. Names of one file stay names of one file.
"""

import os
import stat
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from wimsmith.errors import AlreadyExists, NotSupported, PathConflict, UnsafePath
from wimsmith.offline import paths
from wimsmith.offline.changes import (
    ChangeSet,
    Content,
    Link,
    MakeDirectory,
    PutFile,
    SetSecurity,
    Times,
    TreeEdit,
)
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.wim.format.tree import MAX_LINKS, Attribute, Tree

_FILETIME_OF_1970 = 116_444_736_000_000_000
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


class SourceLinks(StrEnum):
    """What to do about symbolic links in a source: Windows would read their targets otherwise."""

    REFUSE = "refuse"
    SKIP = "skip"
    FOLLOW = "follow"


def file_written(path: Path) -> int:
    """Time of the last write of a file as FILETIME."""
    return _FILETIME_OF_1970 + path.stat().st_mtime_ns // 100


def refuse_short_name(tree: Tree, path: str) -> None:
    """Return if nothing else in the folder of `path` has its name as short name.

    Windows would take the one for the other.

    Raises:
        PathConflict: something has.
    """
    names = paths.split(path)
    folder = tree.find(paths.parent(path))
    if not names or folder is None or folder.children is None or folder.child(names[-1]):
        return
    wanted = paths.fold(names[-1])
    for entry in folder.children.values():
        if entry.short_name and paths.fold(entry.short_name) == wanted:
            raise PathConflict(
                f"{path} is the short name of {entry.name}", hint="Use that name, or another one."
            )


class Intake:
    """Collects what has to change in `tree` to take files and folders in."""

    def __init__(
        self,
        tree: Tree,
        *,
        overwrite: bool,
        attributes: int | None,
        links: SourceLinks,
        time: int | None = None,
        within: Path | None = None,
    ) -> None:
        """Without the FILETIME `time`, each file and folder has that of its last write.

        Links that are followed and lead out of the folder `within` are refused.
        """
        self._tree = tree
        self._overwrite = overwrite
        self._attributes = (
            Attribute.ARCHIVE if attributes is None else attributes or Attribute.NORMAL
        )
        self._links = links
        self._time = time
        self._within = None if within is None else within.resolve()
        self._edits: list[TreeEdit] = []
        self._content: dict[str, Content] = {}
        self._first_names: dict[tuple[int, int], tuple[str, int]] = {}

    def take(
        self, source: Path, path: str, security: bytes | None, progress: Progress
    ) -> ChangeSet:
        """Changes that put `source` at `path`; what is in a folder inherits from it.

        Raises:
            AlreadyExists: a file stands where one would go, and is not to be overwritten.
            PathConflict: a folder stands where a file would go, or the reverse; or two names in
                the source differ by case alone.
            UnsafePath: a name that Windows does not accept, or that is not UTF-8; a link that
                leads out of where sources may be.
            NotSupported: pipes, sockets, devices; symbolic links unless it was said what to do.
        """
        pending = [(source, path, security, frozenset[tuple[int, int]]())]
        while pending:
            here, there, own, above = pending.pop()
            progress(Event("read files", len(self._edits), unit="files"))
            status = self._status(here)
            if status is None:
                continue
            if stat.S_ISDIR(status.st_mode):
                identity = (status.st_dev, status.st_ino)
                if identity in above:
                    raise PathConflict(f"{here} leads back to a folder that it is in")
                self._folder(there, own, status)
                inside = _names(here, there)
                pending += [(*one, None, above | {identity}) for one in reversed(list(inside))]
            else:
                self._file(here, there, own, status)
        return ChangeSet(tuple(self._edits), content=self._content)

    def _status(self, source: Path) -> os.stat_result | None:
        status = source.lstat()
        if stat.S_ISLNK(status.st_mode):
            if self._links is SourceLinks.SKIP:
                return None
            if self._links is SourceLinks.REFUSE:
                raise NotSupported(
                    "symbolic-link",
                    f"{source} is a symbolic link, whose target means nothing on Windows",
                    hint="Say --links follow to take what it leads to, or --links skip.",
                )
            if self._within is not None and not source.resolve().is_relative_to(self._within):
                raise UnsafePath(
                    f"{source} leads out of {self._within}",
                    hint="Put what it leads to there, or name a folder that has both.",
                )
            status = source.stat()
        kind = stat.S_IFMT(status.st_mode)
        if kind in _KINDS:
            raise NotSupported("special-file", f"{source} is {_KINDS[kind]}")
        return status

    def _folder(self, path: str, security: bytes | None, status: os.stat_result) -> None:
        old = self._tree.find(path)
        if old is None:
            self._edits.append(MakeDirectory(path, security, None, self._times(status)))
        elif not old.is_directory:
            raise PathConflict(f"{path} is a file in the image, and a folder in the source")
        elif security is not None:
            self._edits.append(SetSecurity(path, security))

    def _file(
        self, source: Path, path: str, security: bytes | None, status: os.stat_result
    ) -> None:
        old = self._tree.find(path)
        if old is None and "~" in paths.split(path)[-1]:
            refuse_short_name(self._tree, path)
        if old is not None and old.is_directory:
            raise PathConflict(f"{path} is a folder in the image, and a file in the source")
        if old is not None and not self._overwrite:
            raise AlreadyExists(
                f"{path} in the image",
                hint="Say --overwrite to put the new file in its place, or use `wimsmith wim"
                " replace` to change its content alone.",
            )
        identity = (status.st_dev, status.st_ino)
        first, names = self._first_names.get(identity, ("", 0))
        if first and names < MAX_LINKS:
            self._edits.append(Link(path, first))
            self._first_names[identity] = (first, names + 1)
            return
        content = Content.of_file(source)
        self._content[content.sha1] = content
        times = self._times(status)
        self._edits.append(PutFile(path, content.sha1, security, self._attributes, times))
        if status.st_nlink > 1:
            self._first_names[identity] = (path, 1)

    def _times(self, status: os.stat_result) -> Times:
        written = _FILETIME_OF_1970 + status.st_mtime_ns // 100
        time = written if self._time is None else self._time
        return Times(time, time, time)


def _names(source: Path, path: str) -> Iterator[tuple[Path, str]]:
    """What is in a folder, sorted, with the paths that it gets."""
    seen: dict[str, str] = {}
    for inside in sorted(source.iterdir()):
        name = inside.name
        try:
            name.encode()
            paths.check_name(name)
        except (UnicodeEncodeError, UnsafePath) as error:
            raise UnsafePath(
                repr(str(inside))[:300], hint="Give it a name that Windows accepts."
            ) from error
        twin = seen.setdefault(paths.fold(name), name)
        if twin != name:
            raise PathConflict(f"{source}: {twin} and {name} are one name on Windows")
        yield inside, paths.join(path, name)
