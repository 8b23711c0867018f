"""Files that are not kept as they are: an ordinary WIM is made of them on their way in.

Solid (ESD) and pipable files are read, but Windows wants ordinary ones and servicing writes into
none else. The source is only read; what is made stands in a folder of the job until it is in the
library.
"""

import logging
from pathlib import Path

from wimsmith.errors import PathUnreachable
from wimsmith.jobs.port import Job
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.verbs.export import export_images
from wimsmith.offline.wim.writing.making import AS_IT_IS, Announce, Announcement, Packing, untold
from wimsmith.storage.files import hash_file

log = logging.getLogger("wimsmith.images")

_ORDINARY = Packing(compression=Compression.LZX)


def packing_for(conversion: str) -> Packing:
    """The form of a file made of one that is converted for this reason, or of one that is not."""
    return _ORDINARY if conversion else AS_IT_IS


def convert(job: Job, source: Path, target: Path, conversion: str) -> str:
    """Make an ordinary WIM of all images of `source`; doing it again after a crash is safe.

    What is copied and what is packed anew is told before anything is written.

    Args:
        job: told of progress; may cancel.
        source: the file; it is only read.
        target: path of the new file, in a folder of this job.
        conversion: why it is converted.

    Returns:
        SHA-256 of the source.

    Raises:
        PathUnreachable: the source cannot be read, or changed meanwhile.
        WimsmithError: what the engine says; nothing is left behind.
    """
    target.unlink(missing_ok=True)
    before = _mark(source)
    digest = hash_file(source, job.progress, "read").digest
    job.progress(Event("convert"))
    export_images(
        source,
        None,
        target,
        packing=_ORDINARY,
        progress=job.progress,
        tell=telling(job, source, conversion),
    )
    if _mark(source) != before:
        target.unlink(missing_ok=True)
        raise PathUnreachable(f"{source}: it changed while it was read")
    return digest


def describe(said: Announcement, conversion: str) -> str:
    """What becomes of a file that is converted: what is kept, and what is packed anew."""
    form = said.compression.upper()
    text = (
        f"{conversion}: an ordinary {form} file is made of it; images, names and times are kept,"
        f" {said.copied_contents} contents ({said.copied_bytes} bytes) are copied as packed,"
        f" {said.converted_contents} ({said.converted_bytes} bytes) are packed anew"
    )
    return f"{text} ({'; '.join(said.reasons)})" if said.reasons else text


def telling(job: Job, source: Path, conversion: str) -> Announce:
    """Writes what becomes of a converted file into the log and the events of the job."""

    def tell(said: Announcement) -> None:
        text = f"{source} is {describe(said, conversion)}"
        log.info("%s", text)
        job.say(text)

    return tell if conversion else untold


def _mark(path: Path) -> tuple[int, int]:
    """What differs once somebody has written to a file."""
    try:
        found = path.stat()
    except OSError as error:
        raise PathUnreachable(f"{path}: {error.strerror or error}") from error
    return found.st_size, found.st_mtime_ns
