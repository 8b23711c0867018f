"""A file that grows beside its target and takes its name when it is whole."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wimsmith.errors import AlreadyExists


@contextmanager
def beside(target: Path) -> Iterator[tuple[Path, int]]:
    """A new file beside `target`, gone afterwards unless it was renamed."""
    part = target.with_name(target.name + ".part")
    _remove_stale(part)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield part, descriptor
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _remove_stale(part: Path) -> None:
    """Remove what a killed process left; a living one holds a lock on its file."""
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.unlink()
    except BlockingIOError as error:
        raise AlreadyExists(f"{part}, which another process is writing") from error
    finally:
        os.close(descriptor)
