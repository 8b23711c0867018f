"""Whether a WIM may be replaced by its successor, and keeping others from changing it meanwhile."""

import fcntl
import os

from wimsmith.errors import InvalidState
from wimsmith.offline.wim.format.container import Wim
from wimsmith.offline.wim.writing.replacing import check_replaceable


def hold_for_replacing(wim: Wim) -> None:
    """Lock an open file until it is closed, as wimlib does when it appends to one or mounts it.

    Raises:
        InvalidState: it belongs to somebody else, or another process is changing it.
        InvalidInput: it is write-protected.
        NotSupported: it is part of a set, or marked as read-only in its header.
    """
    check_replaceable(wim)
    if os.geteuid() not in {0, os.fstat(wim.descriptor).st_uid}:
        raise InvalidState(
            f"{wim.path} belongs to somebody else", hint="Write a new file with --target instead."
        )
    try:
        fcntl.flock(wim.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InvalidState(
            f"{wim.path} is being changed by another process", hint="Try again when that has ended."
        ) from error
