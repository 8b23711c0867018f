"""A private folder beside a target, where a result grows until it is moved to its name.

The folder is locked as long as its maker or the worker that writes in it lives, so whoever works in
the same place next can tell a stray folder of a killed process from one in use.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from wimsmith.errors import AlreadyExists, NotEnoughSpace, PathUnreachable
from wimsmith.offline.durable import fsync_folder

PREFIX = ".wimsmith-"

_FULL = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EFBIG])


class Staging:
    """A locked folder beside `target`, removed at the end. A context manager.

    An `OSError` of a full disk becomes `NotEnoughSpace` when it leaves the context.

    Args:
        target: where the result will be.
        needed_bytes: that it takes at least, for the text of that error; 0 if nobody knows.

    Raises:
        PathUnreachable: the folder of the target does not exist or cannot be written.
        NotEnoughSpace: there is not even room for the folder.
    """

    def __init__(self, target: Path, needed_bytes: int = 0) -> None:
        self.target = target.absolute()
        self._needed_bytes = needed_bytes
        sweep(self.target.parent)
        try:
            self.folder, self.lock = _make_locked(self.target.parent)
        except OSError as error:
            self._refuse_full(error)
            raise PathUnreachable(
                f"{self.target.parent}: {error.strerror}",
                hint="Choose a target folder that exists and can be written.",
            ) from error
        # Also when a signal comes before the context is entered.
        self._end = weakref.finalize(self, _remove, self.folder, self.lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._end()
        self._refuse_full(error)

    def publish_file(self, part: Path, *, overwrite: bool) -> None:
        """Bring `part` to the disk and give it the name of the target, in one step.

        Raises:
            AlreadyExists: the target exists and `overwrite` is not set; it is not touched.
        """
        with part.open("rb") as written:
            os.fsync(written.fileno())
        if overwrite:
            part.replace(self.target)
        else:
            _rename_new(part, self.target)
        fsync_folder(self.target.parent)

    def publish_set(self, parts: Sequence[Path], names: Sequence[Path], *, overwrite: bool) -> None:
        """Bring `parts` to the disk and give them `names` in the target's folder, the first last.

        So the first one is there only if all are. If one cannot get its name, those of the others
        are taken back, and what was overwritten is there again. Only a killed process leaves a
        mixture, which readers refuse by the identifiers of the parts.

        Raises:
            AlreadyExists: one of the names is taken and `overwrite` is not set.
        """
        for part in parts:
            with part.open("rb") as written:
                os.fsync(written.fileno())
        begun: list[tuple[Path, Path]] = []
        try:
            for part, name in reversed(list(zip(parts, names, strict=True))):
                begun.append((part, name))
                if overwrite:
                    self._keep(name)
                    part.replace(name)
                else:
                    _rename_new(part, name)
        except BaseException:
            for part, name in begun:
                self._take_back(part, name)
            raise
        fsync_folder(self.target.parent)

    def publish_tree(self, part: Path) -> None:
        """Give the folder `part` the name of the target, which may be an empty folder.

        Raises:
            AlreadyExists: the target is something else.
        """
        fsync_folder(part)
        try:
            part.rename(self.target)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise AlreadyExists(self.target) from error
            raise
        fsync_folder(self.target.parent)

    def _keep(self, name: Path) -> None:
        """Keep what stands at `name` until the folder goes."""
        if name.exists():
            try:
                self._kept(name).hardlink_to(name)
            except OSError:  # a file system without hard links
                name.rename(self._kept(name))

    def _take_back(self, part: Path, name: Path) -> None:
        """Undo what was begun for `name`: it may have its part, or not yet."""
        if self._kept(name).exists():
            self._kept(name).replace(name)
        elif name.exists() and (not part.exists() or part.samefile(name)):
            name.unlink()

    def _kept(self, name: Path) -> Path:
        return self.folder / f"old-{name.name}"

    def _refuse_full(self, error: BaseException | None) -> None:
        if isinstance(error, OSError) and error.errno in _FULL:
            text = os.strerror(error.errno)
            raise no_space(self.target.parent, self._needed_bytes, text) from error


def no_space(folder: Path, needed_bytes: int, detail: str) -> NotEnoughSpace:
    """The error of a full disk, with figures; `needed_bytes` 0 if nobody knows."""
    free_bytes = shutil.disk_usage(folder).free
    needed = f"{needed_bytes} bytes are needed" if needed_bytes else "more is needed"
    text = f"{folder} has {free_bytes} bytes free, {needed}"
    return NotEnoughSpace(f"{text} ({detail})" if detail else text)


def sweep(folder: Path) -> int:
    """Remove what killed processes left in `folder`; return how many folders that were."""
    swept = 0
    for stray in folder.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = os.open(stray, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid != os.geteuid():
                    continue
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(stray)
                swept += 1
            finally:
                os.close(lock)
    return swept


def _make_locked(parent: Path) -> tuple[Path, int]:
    while True:
        folder = parent / f"{PREFIX}{secrets.token_hex(4)}"
        try:
            folder.mkdir(mode=0o700)
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            with contextlib.suppress(OSError):  # without locks, as on some network shares
                fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder, lock
            os.close(lock)  # swept between its making and its locking
        except FileExistsError:
            continue
        except BaseException:
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise


def _remove(folder: Path, lock: int) -> None:
    try:
        with contextlib.suppress(OSError):
            remove_tree(folder)
    except BaseException:  # a signal: no reason to leave half of it
        with contextlib.suppress(OSError):
            remove_tree(folder)
        raise
    finally:
        os.close(lock)


def remove_tree(folder: Path) -> None:
    """Remove a folder of this user alone, with all below it, however deep.

    `shutil.rmtree` calls itself for each level, and images have more levels than Python has room
    for such calls. Here folders come up to the top until none has another in it.
    """
    while found := list(folder.iterdir()):
        for path in found:
            if not _is_folder(path):
                path.unlink()
                continue
            for below in path.iterdir():
                if _is_folder(below):
                    below.rename(folder / secrets.token_hex(16))
                else:
                    below.unlink()
            path.rmdir()
    folder.rmdir()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _rename_new(part: Path, target: Path) -> None:
    """Rename without replacing: a hard link fails if the name exists, a rename would not."""
    try:
        target.hardlink_to(part)
    except FileExistsError as error:
        raise AlreadyExists(target) from error
    except OSError:  # a file system without hard links
        if target.exists():
            raise AlreadyExists(target) from None
        part.replace(target)
    else:
        part.unlink()
