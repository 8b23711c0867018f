"""A private folder beside a target, where a result grows until it is moved to its name.

The folder is locked as long as its maker or the worker that writes in it lives, so whoever works in
the same place next can tell a stray folder of a killed process from one in use.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from wimsmith.errors import AlreadyExists, PathUnreachable
from wimsmith.offline.durable import fsync_folder

PREFIX = ".wimsmith-"


class Staging:
    """A locked folder beside `target`, removed at the end. A context manager.

    Raises:
        PathUnreachable: the folder of the target does not exist or cannot be written.
    """

    def __init__(self, target: Path) -> None:
        self.target = target.absolute()
        sweep(self.target.parent)
        try:
            self.folder, self.lock = _make_locked(self.target.parent)
        except OSError as error:
            raise PathUnreachable(
                f"{self.target.parent}: {error.strerror}",
                hint="Choose a target folder that exists and can be written.",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock)

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
                shutil.rmtree(stray)
                swept += 1
            finally:
                os.close(lock)
    return swept


def _make_locked(parent: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(OSError):  # without locks, as on some network shares, no sweeping
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder, lock
        os.close(lock)  # swept between its making and its locking


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
