"""Verbs of a worker process that makes folders, files and links below one folder.

The folder is private and new, and the worker can write nowhere else. Paths have been checked
before, and no link stands on any of them before all files are made.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from wimsmith.errors import NotEnoughSpace, UnsafePath
from wimsmith.offline.wim.workers import _libdisk

Row: TypeAlias = Sequence[Any]
"""Path, time of access and time of writing in ns since 1970, as a message has them."""

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED_NAME = frozenset({errno.EEXIST, errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG})
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY_BYTES = 64 << 20
_SPARSE_BYTES = 1 << 16
_ZEROS = bytes(1 << 20)


class Maker:
    """Makes things below one folder."""

    def __init__(self, root: str) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._place = os.fsencode(root)

    def folders(self, names: Sequence[str]) -> None:
        """Make folders, in this order."""
        for name in names:
            with _explained(name):
                os.mkdir(_raw(name), dir_fd=self._root)

    @contextmanager
    def file(self, rows: Sequence[Row], size_bytes: int) -> Iterator["Writing"]:
        """A new file for each row, with the content that is written meanwhile."""
        first, *others = rows
        with _explained(first[0]):
            descriptor = os.open(_raw(first[0]), _CREATE, 0o666, dir_fd=self._root)
            try:
                writing = Writing(descriptor, size_bytes)
                yield writing
                writing.end()
                os.utime(descriptor, ns=(first[1], first[2]))
            finally:
                os.close(descriptor)
        for row in others:
            with _explained(row[0]):
                self._copy(first[0], row, size_bytes)

    def links(self, pairs: Sequence[Row]) -> None:
        """Give files further names: pairs of a name that is there and a new one."""
        for old, new in pairs:
            with _explained(new):
                os.link(
                    _raw(old),
                    _raw(new),
                    src_dir_fd=self._root,
                    dst_dir_fd=self._root,
                    follow_symlinks=False,
                )

    def symbolic_links(self, rows: Sequence[Row]) -> None:
        """Make symbolic links; each row has the text of the link behind the times."""
        for name, accessed, written, target in rows:
            with _explained(name):
                os.symlink(_raw(target), _raw(name), dir_fd=self._root)
                times = (accessed, written)
                os.utime(_raw(name), ns=times, dir_fd=self._root, follow_symlinks=False)

    def tame(self, names: Sequence[str]) -> list[str]:
        """Remove those of these links that lead out of the folder, and name them.

        Each is followed as the kernel would, since a link may lead through another.
        """
        place = os.path.realpath(self._place)
        out = []
        for name in names:
            end = os.path.realpath(place + b"/" + _raw(name))
            if end != place and not end.startswith(place + b"/"):
                out.append(name)
        for name in out:
            os.unlink(_raw(name), dir_fd=self._root)
        return out

    def times(self, rows: Sequence[Row]) -> None:
        """Set the times of folders."""
        for name, accessed, written in rows:
            times = (accessed, written)
            os.utime(_raw(name), ns=times, dir_fd=self._root, follow_symlinks=False)

    def sync(self) -> None:
        """Bring everything to the disk."""
        with _explained("."):
            _libdisk.sync_filesystem(self._root)

    def _copy(self, first: str, row: Row, size_bytes: int) -> None:
        with (
            _opened(os.open(_raw(first), os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._root)) as source,
            _opened(os.open(_raw(row[0]), _CREATE, 0o666, dir_fd=self._root)) as target,
        ):
            writing = Writing(target, size_bytes)
            if not _copied_in_kernel(source, target, size_bytes):
                while block := os.read(source, len(_ZEROS)):
                    writing.write(block)
                writing.end()
            os.utime(target, ns=(row[1], row[2]))


class Writing:
    """A file that is being written from its beginning; runs of zeros take no space on the disk."""

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        self._descriptor = descriptor
        self._may_be_sparse = size_bytes >= _SPARSE_BYTES
        self._offset = 0
        self._has_hole_at_end = False

    def write(self, block: bytes | memoryview) -> None:
        """Append a block."""
        self._has_hole_at_end = self._may_be_sparse and _is_zero(block)
        if self._has_hole_at_end:
            self._offset += len(block)
            return
        unwritten = memoryview(block)
        while unwritten:
            done = os.pwrite(self._descriptor, unwritten, self._offset)
            unwritten = unwritten[done:]
            self._offset += done

    def end(self) -> None:
        """Give the file its size where it ends in zeros."""
        if self._has_hole_at_end:
            os.ftruncate(self._descriptor, self._offset)


def _is_zero(block: bytes | memoryview) -> bool:
    if not block or block[0] or block[-1]:
        return False
    return bytes(block) == (
        _ZEROS[: len(block)] if len(block) <= len(_ZEROS) else bytes(len(block))
    )


def _copied_in_kernel(source: int, target: int, size_bytes: int) -> bool:
    """Whether the kernel has copied a whole file, sharing its blocks where it can."""
    offset = 0
    with suppress(OSError):
        while offset < size_bytes:
            want = min(_COPY_BYTES, size_bytes - offset)
            done = os.copy_file_range(source, target, want, offset, offset)
            if not done:
                break
            offset += done
    return offset == size_bytes


@contextmanager
def _opened(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Say in our words what a file system may have against a file."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise NotEnoughSpace(error.strerror) from error
        if error.errno in _REFUSED_NAME:
            text = f"{name!r}: the file system of the target says: {error.strerror}"
            raise UnsafePath(text[:500], hint=_OTHER_TARGET) from error
        raise


_OTHER_TARGET = "Choose a target on a file system that knows such names, and upper from lower case."


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
