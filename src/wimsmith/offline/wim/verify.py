"""Reading all of a WIM and comparing every hash in it."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.budget import limits_for
from wimsmith.offline.wim.container import naming, open_wim
from wimsmith.offline.wim.lint import NameFindings, UnusableName
from wimsmith.offline.wim.worker import Worker, WorkerCodec


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """A WIM whose every byte of content has the hash it should have.

    Names that Windows or this program cannot use are counted, and the first ones listed.
    """

    source: Path
    images: int
    blobs: int
    size_bytes: int
    content_bytes: int
    integrity_table: bool
    duration_s: float
    unusable_count: int = 0
    unusable_names: tuple[UnusableName, ...] = ()


def verify_wim(source: Path, *, progress: Progress = silent) -> VerifyReport:
    """Check the integrity table if there is one, all metadata, names, and the hash of all content.

    Raises:
        DamagedWim: something is not what it should be.
        WorkerFailed: the worker was ended; nothing is known then.
    """
    started = time.monotonic()
    with open_wim(source) as wim:
        images, sizes = len(wim.images), [blob.size_bytes for blob in wim.blobs.values()]
        integrity = bool(wim.header.integrity.stored_bytes)
    place = os.fspath(source.absolute())
    with naming(source), Worker(opens_files=True, limits=limits_for(threads=1)) as worker:
        worker.ask({"do": "verify", "source": place, "integrity": integrity}, progress=progress)
    with WorkerCodec() as codec, open_wim(source, codec) as wim:
        names = NameFindings()
        for index in range(1, images + 1):
            names.look_at(wim.tree(index), index)
    return VerifyReport(
        source=source,
        images=images,
        blobs=len(sizes),
        size_bytes=source.stat().st_size,
        content_bytes=sum(sizes),
        integrity_table=integrity,
        duration_s=time.monotonic() - started,
        unusable_count=names.count,
        unusable_names=tuple(names.first),
    )
