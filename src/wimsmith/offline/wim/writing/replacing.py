"""Replacing a file by a new one that was made of it: whether it may be, and whose it is then."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from wimsmith.errors import AlreadyExists, InvalidInput, NotSupported
from wimsmith.offline.wim.format import remedies
from wimsmith.offline.wim.format.container import Kind, Wim
from wimsmith.offline.wim.format.header import Flag


def check_replaceable(wim: Wim) -> None:
    """Return if an open file may be replaced by one with other images or less content.

    Raises:
        NotSupported: it is one part of a set, or its header says that it is read-only.
        InvalidInput: nobody may write to it.
    """
    if Kind.SPLIT in wim.kinds:
        raise NotSupported("split-set", f"{wim.path} is part of a set", hint=remedies.JOIN)
    if wim.header.flags & Flag.READ_ONLY:
        raise NotSupported(
            "read-only-wim",
            f"the header of {wim.path} says that it is read-only",
            hint="`wimsmith wim export SOURCE all TARGET` makes a copy that can be changed.",
        )
    if not stat.S_IMODE(os.fstat(wim.descriptor).st_mode) & 0o222:
        raise InvalidInput(
            f"{wim.path} is read-only", hint=f"`chmod u+w {wim.path}`, or choose another target."
        )


def take_identity(descriptor: int, target: Path, old: Wim) -> None:
    """Give a new file the mode and, where allowed, the owner of the one that it will replace.

    Raises:
        AlreadyExists: another file stands at `target` now, or somebody has written to it.
    """
    before = os.fstat(old.descriptor)
    try:
        now = target.stat()
    except FileNotFoundError:
        now = None
    if now is None or not os.path.samestat(before, now) or now.st_size != old.files[0].file_bytes:
        raise AlreadyExists(f"{target}, which another program has changed meanwhile")
    with suppress(OSError):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
