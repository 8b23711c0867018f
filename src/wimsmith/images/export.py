"""One index of a WIM into a new file, with the command line that does the same by hand."""

import logging
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from wimsmith.errors import AlreadyExists, Cancelled, Interrupted, WimsmithError
from wimsmith.images.convert import packing_for
from wimsmith.offline.durable import fsync_folder
from wimsmith.offline.progress import Progress
from wimsmith.offline.wim.verbs.export import export_images
from wimsmith.offline.wim.writing.making import Announce, untold
from wimsmith.storage.files import name_new

log = logging.getLogger("wimsmith.images")
dism_log = logging.getLogger("wimsmith.offline")


@dataclass(frozen=True, slots=True)
class Extraction:
    """What is to be extracted, and where to. `part` is a name only this job uses."""

    source: Path
    index_number: int
    target: Path
    part: Path
    conversion: str = ""

    @classmethod
    def of(
        cls, source: Path, index_number: int, target: Path, job_id: str, conversion: str = ""
    ) -> Self:
        part = target.with_name(f".{target.name}.{job_id}.part")
        return cls(source, index_number, target, part, conversion)


def command_line(wanted: Extraction) -> str:
    """The command that can be run here to the same effect."""
    source, target = os.fspath(wanted.source), os.fspath(wanted.target)
    arguments = ["wimsmith", "wim", "export", source, str(wanted.index_number), target]
    return shlex.join([*arguments, *(("--compress", "lzx") if wanted.conversion else ())])


def dism_line(wanted: Extraction) -> str:
    """The command that does the same on Windows."""
    line = (
        f'dism /Export-Image /SourceImageFile:"{wanted.source}"'
        f' /SourceIndex:{wanted.index_number} /DestinationImageFile:"{wanted.target}"'
    )
    return f"{line} /Compress:max" if wanted.conversion else line


def extract_index(wanted: Extraction, progress: Progress, tell: Announce = untold) -> str:
    """Make the new file; it appears whole or not at all. Doing it again after a crash is safe.

    The command line is in smsprov.log and dism.log before the work begins, and the error of the
    tool after it, so that an administrator can do by hand what failed here.

    Returns:
        Path of the new file.

    Raises:
        AlreadyExists: the target is there, and this job has not made it.
        WimsmithError: what the tool said.
    """
    if _published(wanted):
        return os.fspath(wanted.target)
    _announce(wanted)
    try:
        wanted.part.unlink(missing_ok=True)
        export_images(
            wanted.source,
            [wanted.index_number],
            wanted.part,
            packing=packing_for(wanted.conversion),
            progress=progress,
            tell=tell,
        )
        name_new(wanted.part, wanted.target)
        fsync_folder(wanted.target.parent)
    except (Cancelled, Interrupted):
        wanted.part.unlink(missing_ok=True)
        raise
    except FileExistsError as error:
        wanted.part.unlink(missing_ok=True)
        raise AlreadyExists(wanted.target) from error
    except (WimsmithError, OSError) as error:
        wanted.part.unlink(missing_ok=True)
        _tell_failure(wanted, error)
        raise
    log.info("Index %d is now in %s", wanted.index_number, wanted.target)
    return os.fspath(wanted.target)


def forget_part(wanted: Extraction) -> None:
    """Remove the second name of a finished file; until then it proves who made it."""
    wanted.part.unlink(missing_ok=True)


def _published(wanted: Extraction) -> bool:
    try:
        return wanted.target.samefile(wanted.part)
    except FileNotFoundError:
        return False


def _announce(wanted: Extraction) -> None:
    for logger in (log, dism_log):
        logger.info("%s", command_line(wanted))
        logger.info("%s", dism_line(wanted))


def _tell_failure(wanted: Extraction, error: Exception) -> None:
    for logger in (log, dism_log):
        logger.error("Extraction of index %d failed: %s", wanted.index_number, error)
