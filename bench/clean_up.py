"""Cleaning up a store of 10,000 components in which an update of 1,000 has been superseded.

Both ways, and with a reset of the base; what is deciding and drafting, and what is writing, are
rows of their own. Bytes are those of the files that go; of rows that write, those of the new file.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.rows import Row, measure
from bench.stores import large_store
from wimsmith.offline.commit import commit
from wimsmith.offline.components.cleanup.clean import clean_up
from wimsmith.offline.components.cleanup.report import CleanupOutcome
from wimsmith.offline.image import open_view
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.verbs.export import export_images
from wimsmith.offline.wim.workers.budget import codec_workers
from wimsmith.offline.wim.workers.worker import CodecPool, WorkerCodec

_NOW = 133_600_000_000_000_000
_EXPORT = "wimlib-imagex export, of the image before"


def run(work: Path) -> list[Row]:
    """Rows of both ways, and of writing the file anew without what nobody needs."""
    image = large_store(work)
    cleaned, exported = work / "cleaned.wim", work / "exported.wim"
    fresh, anew = (
        partial(cleaned.unlink, missing_ok=True),
        partial(exported.unlink, missing_ok=True),
    )
    return [
        measure("clean-up, deciding", partial(_decide, image, reset_base=False)),
        measure("reset of the base, deciding", partial(_decide, image, reset_base=True)),
        measure(_EXPORT, partial(_export_by_wimlib, image, exported), prepare=anew),
        measure("clean-up, with commit", partial(_clean, image, cleaned), prepare=fresh),
        measure("export", partial(_export, cleaned, exported), prepare=anew, peer=_EXPORT),
    ]


@contextmanager
def _decided(image: Path, *, reset_base: bool) -> Iterator[tuple[Wim, CleanupOutcome]]:
    with WorkerCodec() as codec, open_wim(image, codec) as wim:
        outcome = clean_up(open_view(wim, 1), image.parent / "spool", _NOW, reset_base=reset_base)
        assert outcome.changes, outcome.text
        yield wim, outcome


def _decide(image: Path, *, reset_base: bool) -> int:
    with _decided(image, reset_base=reset_base) as (_, outcome):
        assert outcome.report
        return outcome.report.logical_bytes


def _clean(image: Path, target: Path) -> int:
    with _decided(image, reset_base=True) as (wim, outcome):
        assert outcome.changes
        with CodecPool(codec_workers(wim.compression, wim.chunk_size)) as codec:
            commit(wim, {1: [outcome.changes]}, target, codec=codec, modified=_NOW)
    return target.stat().st_size


def _export(source: Path, target: Path) -> int:
    export_images(source, None, target)
    return target.stat().st_size


def _export_by_wimlib(source: Path, target: Path) -> int:
    command = ["wimlib-imagex", "export", str(source), "1", str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return target.stat().st_size
