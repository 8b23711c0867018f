"""Copying and publishing whole files: reflink where the filesystem can, durable before visible."""

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wimsmith.errors import NotEnoughSpace, PathUnreachable
from wimsmith.offline.durable import fsync_folder
from wimsmith.offline.progress import Event, Progress, silent

FICLONE = 0x40049409
"""ioctl that lets one file share all blocks of another (linux/fs.h)."""

_COPY_BYTES = 1 << 20
_NO_SPACE = frozenset([errno.ENOSPC, errno.EDQUOT])
_NO_LINKS = frozenset([errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])


@dataclass(frozen=True, slots=True)
class Measured:
    digest: str
    size_bytes: int


def hash_file(path: Path, progress: Progress = silent, phase: str = "hash") -> Measured:
    """SHA-256 and size of a file.

    Raises:
        PathUnreachable: it cannot be read.
    """
    with _reading(path) as source:
        return _measure(source, path.stat().st_size, None, progress, phase)


def copy_file(
    source: Path, target: Path, progress: Progress = silent, phase: str = "copy"
) -> Measured:
    """Copy `source` to the new file `target`, which is durable on return, and measure the copy.

    Raises:
        PathUnreachable: the source cannot be read.
        NotEnoughSpace: the target's filesystem is full; nothing is left behind.
        FileExistsError: the target is there.
    """
    with _reading(source) as reader, _writing(target) as writer:
        size_bytes = os.fstat(reader.fileno()).st_size
        if _reflink(reader, writer):
            with target.open("rb") as copy:
                measured = _measure(copy, size_bytes, None, progress, phase)
        else:
            measured = _measure(reader, size_bytes, writer, progress, phase)
        writer.flush()
        os.fsync(writer.fileno())
    return measured


def publish(part: Path, target: Path, *, overwrite: bool) -> None:
    """Give the finished file `part` its name, at once and durably.

    Raises:
        FileExistsError: the target is there and `overwrite` is false.
    """
    if overwrite:
        part.replace(target)
    else:
        name_new(part, target)
        part.unlink(missing_ok=True)
    fsync_folder(target.parent)


def name_new(part: Path, target: Path) -> None:
    """Give `part` a second name, or on a filesystem without hard links another one.

    Raises:
        FileExistsError: the target is there.
    """
    try:
        os.link(part, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        part.rename(target)


def free_bytes(folder: Path) -> int:
    """Bytes that this process may still write below `folder`."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise PathUnreachable(f"{path}: {error.strerror or error}") from error
    with file:
        yield file


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    try:
        while block := source.read(_COPY_BYTES):
            yield block
    except OSError as error:
        raise PathUnreachable(f"{source.name}: {error.strerror or error}") from error


@contextmanager
def _writing(target: Path) -> Iterator[BinaryIO]:
    with target.open("xb") as file:
        try:
            yield file
        except BaseException as error:
            target.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in _NO_SPACE:
                free = free_bytes(target.parent)
                raise NotEnoughSpace(f"{target.parent}: {free} bytes are free") from error
            raise


def _reflink(source: BinaryIO, target: BinaryIO) -> bool:
    with contextlib.suppress(OSError):
        fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        return True
    return False


def _measure(
    source: BinaryIO, total: int, copy: BinaryIO | None, progress: Progress, phase: str
) -> Measured:
    digest, done = hashlib.sha256(), 0
    for block in _blocks(source):
        digest.update(block)
        if copy is not None:
            copy.write(block)
        done += len(block)
        progress(Event(phase, done, max(total, done), "bytes"))
    return Measured(digest.hexdigest(), done)
