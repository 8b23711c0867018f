"""Extracting an image, or parts of it, into a folder of this system, with all cores."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from wimsmith.errors import AlreadyExists, NotEnoughSpace
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.wim.format.blobs import Blob
from wimsmith.offline.wim.format.container import Wim, check_indexes, naming, open_wim
from wimsmith.offline.wim.verbs.extractplan import (
    ExtractPlan,
    LeftOut,
    Made,
    NotKept,
    plan_extraction,
)
from wimsmith.offline.wim.workers import budget
from wimsmith.offline.wim.workers.child import Beat, Worker
from wimsmith.offline.wim.workers.crew import Crew, Piece, hire_reader
from wimsmith.offline.wim.workers.slices import balanced, pack_blobs, slice_bytes
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.offline.wim.writing.staging import Staging, no_space

log = logging.getLogger("wimsmith.offline")

_MOST_BLOBS = 2000
_MOST_ROWS = 4000
_LEAST_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """A tree that was extracted.

    `left_out` are entries that are not there, and why: links that lead out of the image, files that
    cannot be read here. `not_kept` counts what of the others has no place in a folder.
    """

    source: Path
    target: Path
    index: int
    files: int
    directories: int
    size_bytes: int
    left_out: tuple[LeftOut, ...]
    not_kept: NotKept
    workers: int
    duration_s: float


def extract_image(
    source: Path,
    index: int,
    target: Path,
    *,
    patterns: Sequence[str] = (),
    references: Sequence[Path] = (),
    workers: int | None = None,
    progress: Progress = silent,
) -> ExtractReport:
    """Extract an image, or the parts of it that `patterns` name, into a new folder.

    Contents, names, hard links, symbolic links, junctions and times are extracted; security
    descriptors, attributes, short names and named streams have no place in a folder of this system
    and are counted. Absolute links are made to point into the tree; links that lead out of it are
    left out and reported. Everything is on the disk when the folder appears.

    Args:
        source: the WIM to read; never changed.
        index: number of the image (from 1).
        target: folder to make; an existing one must be empty.
        patterns: paths in the image, with `?` and `*` within one name; folders come whole.
        references: further files that hold content.
        workers: how many processes; as many as cores and memory allow if None.
        progress: called often; may raise to cancel.

    Raises:
        NoSuchIndex, NotFound, AlreadyExists, UnsafePath, NotEnoughSpace, DamagedWim,
        WorkerFailed, and what `progress` raises. Nothing is left behind then.
    """
    started = time.monotonic()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise AlreadyExists(target, hint="Choose a new or empty folder.")
    opening = partial(progress, Event("Reading the image"))
    with (
        naming(source),
        WorkerCodec(beat=opening) as codec,
        open_wim(source, codec, references=references) as wim,
    ):
        check_indexes(wim, [index])
        opening()
        plan = plan_extraction(wim, wim.tree(index), patterns, opening)
        work = _Work(wim, plan, workers)
        codec.close()
        with Staging(target) as staging:
            part = staging.folder / "tree"
            part.mkdir()
            out = work.do(staging, part, progress)
            staging.publish_tree(part)
    left_out = (*plan.left_out, *(LeftOut(name, "the link leads out of the image") for name in out))
    for one in left_out:
        log.warning("%s: %s was left out: %s", source, one.path, one.reason)
    return ExtractReport(
        source=source,
        target=target,
        index=index,
        files=plan.file_count - len(out),
        directories=len(plan.folders),
        size_bytes=work.size_bytes,
        left_out=left_out,
        not_kept=plan.not_kept,
        workers=work.workers,
        duration_s=time.monotonic() - started,
    )


class _Work:
    """The requests that make one extraction."""

    def __init__(self, wim: Wim, plan: ExtractPlan, workers: int | None) -> None:
        self._wim = wim
        self.plan = plan
        self._blobs = sorted(
            (wim.blobs[sha1] for sha1 in plan.files), key=lambda blob: blob.storage_order
        )
        chunk_size = max((blob.solid.chunk_size for blob in self._blobs if blob.solid), default=0)
        self.workers = workers or budget.reading_workers(chunk_size)
        self.size_bytes = sum(map(self._written_bytes, self._blobs))

    def do(self, staging: Staging, part: Path, progress: Progress) -> list[str]:
        """Make everything below `part`; the links that led out of it and are gone again."""
        budget.check_space(staging.target.parent, self.size_bytes)
        hire = partial(self._hire, staging, part)
        pieces = list(self._pieces())
        try:
            with Crew(pieces, workers=self.workers, hire=hire, progress=progress) as crew:
                answers = crew.finish()
        except NotEnoughSpace as error:
            detail = str(error.args[0])
            raise no_space(staging.target.parent, self.size_bytes, detail) from error
        return [name for answer, _ in answers for name in answer.get("out", ())]

    def _hire(self, staging: Staging, part: Path, beat: Beat) -> Worker:
        largest = max((blob.size_bytes for blob in self._blobs), default=0)
        worker = hire_reader(
            self._wim,
            beat,
            limits=budget.reading_limits(len(self._wim.files), max(largest, _LEAST_FILE_BYTES)),
            writable=[staging.folder],
            keep_open=[staging.lock],
        )
        worker.ask({"do": "enter", "root": str(part)})
        return worker

    def _pieces(self) -> Iterator[Piece]:
        plan = self.plan
        yield from _made("folders", "Creating folders", [made.path for made in plan.folders])
        yield from self._contents()
        yield from _made("empty", "Extracting", map(_row, plan.empty_files))
        yield from _made("links", "Creating links", plan.hard_links)
        links = [[*_row(link.made), link.target] for link in plan.symbolic_links]
        yield from _made("symbolic_links", "Creating links", links)
        yield from _made("tame", "Checking links", [link.made.path for link in plan.symbolic_links])
        yield from _made("times", "Setting times", map(_row, [*plan.folders, plan.root]))
        yield Piece("Writing to disk", {"do": "make", "what": "sync", "rows": []}, 0)

    def _contents(self) -> Iterator[Piece]:
        most_bytes = slice_bytes(self._blobs, self.workers)
        for run in balanced(self._blobs, self._written_bytes, most_bytes, _MOST_BLOBS):
            solid, payload = pack_blobs(run)
            rows = [[_row(made) for made in self.plan.files[blob.sha1]] for blob in run]
            size_bytes = sum(blob.size_bytes for blob in run)
            request = {"do": "unpack", "solid": solid, "rows": rows}
            yield Piece("Extracting", request, size_bytes, payload)

    def _written_bytes(self, blob: Blob) -> int:
        return blob.size_bytes * len(self.plan.files[blob.sha1])


def _made(what: str, phase: str, rows: Iterable[Any]) -> Iterator[Piece]:
    """Requests to make things of one kind, a few thousand in each."""
    unit = "bytes" if phase == "Extracting" else "files"
    for run in balanced(rows, lambda _: 1, _MOST_ROWS, _MOST_ROWS):
        size = 0 if unit == "bytes" else len(run)
        yield Piece(phase, {"do": "make", "what": what, "rows": run}, size, unit=unit)


def _row(made: Made) -> list[Any]:
    return [made.path, made.accessed_ns, made.written_ns]
