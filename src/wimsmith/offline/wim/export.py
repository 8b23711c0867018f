"""Copying images into a new WIM that holds only what they need."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import AlreadyExists, DamagedWim, InvalidInput
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.budget import check_space, limits_for, run_worker, threads_for
from wimsmith.offline.wim.codec import DEFAULT_CHUNK_BYTES, Compression
from wimsmith.offline.wim.container import Wim, check_indexes, naming, open_wim
from wimsmith.offline.wim.staging import Staging
from wimsmith.offline.wim.worker import WorkerCodec

log = logging.getLogger("wimsmith.offline")

FAST_LEVEL = 20
"""Compression for new content: seven times faster than the library's own 50, 3 % larger."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """A WIM that was exported. `images` are the numbers in the source, in order."""

    source: Path
    target: Path
    images: tuple[int, ...]
    size_bytes: int
    checked: bool
    duration_s: float


@dataclass(frozen=True, slots=True)
class _Packing:
    """How an export packs; see `export_images`."""

    compression: Compression | None
    level: int
    solid: bool
    recompress: bool

    @property
    def keeps(self) -> bool:
        """Whether what is packed is copied as it is."""
        return self.compression is None and not self.solid and not self.recompress


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an export takes: image numbers, bytes (0 if unknown), and memory for solid packing."""

    indexes: list[int]
    needed_bytes: int
    packs_solid: bool = False


def export_images(
    source: Path,
    indexes: Sequence[int] | None,
    target: Path,
    *,
    progress: Progress = silent,
    check: bool = True,
    overwrite: bool = False,
    compression: Compression | None = None,
    level: int = FAST_LEVEL,
    solid: bool = False,
    recompress: bool = False,
) -> ExportReport:
    """Copy images into a new WIM that holds only what they need.

    Packed content is copied as it is, unless `compression`, `solid` or `recompress` ask for
    another form. Names, descriptions and the boot mark are kept; an integrity table is written.

    Args:
        source: the WIM to read; never changed.
        indexes: numbers of the images (from 1), in the order wanted; None for all.
        target: file to make.
        progress: called often; may raise to cancel.
        check: read all of the result again and compare every hash before it gets its name.
        overwrite: replace an existing target.
        compression: how to pack the result; None keeps what the source has.
        level: for what must be packed anew: 20 fast, 50 usual, 100 slow.
        solid: pack all content together (an ESD file).
        recompress: pack anew even what could be copied.

    Raises:
        NoSuchIndex, AlreadyExists, NotEnoughSpace, DamagedWim, WorkerFailed, and what `progress`
        raises. Nothing is left behind then.
    """
    started = time.monotonic()
    _check_target(source, target, overwrite=overwrite)
    packing = _Packing(compression, level, solid, recompress)
    plan = _plan_export(source, indexes, packing)
    with Staging(target) as staging, naming(source):
        check_space(staging.folder, plan.needed_bytes)
        part = staging.folder / "part.wim"
        part.touch()  # so that it gets the permissions every new file of this user gets
        _write_part(source, part, plan, packing, staging, progress, check=check)
        size_bytes = part.stat().st_size
        staging.publish_file(part, overwrite=overwrite)
    duration_s = time.monotonic() - started
    log.info("Exported %s of %s to %s (%d bytes)", plan.indexes, source, target, size_bytes)
    return ExportReport(source, target, tuple(plan.indexes), size_bytes, check, duration_s)


def _check_target(source: Path, target: Path, *, overwrite: bool) -> None:
    if target.is_dir():
        raise AlreadyExists(f"{target} is a folder", hint="Name the file to make.")
    if not target.exists():
        return
    if target.samefile(source):
        raise InvalidInput(f"{target} is the source itself", hint="Choose another target.")
    if not overwrite:
        raise AlreadyExists(target, hint="Choose another target, or say --overwrite.")


def _plan_export(source: Path, indexes: Sequence[int] | None, packing: _Packing) -> _Plan:
    with WorkerCodec() as codec, open_wim(source, codec) as wim:
        everything = list(range(1, len(wim.images) + 1))
        wanted = everything if indexes is None else list(indexes)
        check_indexes(wim, wanted)
        if not packing.keeps or wim.is_solid:
            stays_solid = wim.is_solid and packing.compression in {None, Compression.LZMS}
            return _Plan(wanted, 0, packs_solid=packing.solid or stays_solid)
        if set(wanted) == set(everything):
            return _Plan(wanted, wim.file_bytes)
        return _Plan(wanted, _stored_bytes(wim, wanted))


def _write_part(
    source: Path,
    part: Path,
    plan: _Plan,
    packing: _Packing,
    staging: Staging,
    progress: Progress,
    *,
    check: bool,
) -> None:
    threads = threads_for(solid=plan.packs_solid)
    request = {
        "do": "export",
        "source": os.fspath(source.absolute()),
        "target": os.fspath(part),
        "indexes": plan.indexes,
        "check": check,
        "compression": packing.compression,
        "chunk_size": DEFAULT_CHUNK_BYTES[packing.compression or Compression.NONE],
        "level": packing.level,
        "solid": packing.solid,
        "recompress": packing.recompress,
        "threads": threads,
    }
    limits = limits_for(threads, solid=plan.packs_solid)
    try:
        run_worker(staging, request, limits, plan.needed_bytes, progress)
    except DamagedWim as error:
        about = str(error.args[0]).replace(os.fspath(part), f"{source}, as copied")
        raise DamagedWim(about) from error


def _stored_bytes(wim: Wim, indexes: Sequence[int]) -> int:
    """Bytes that these images and their content take in the file."""
    content: set[bytes] = set()
    for index in indexes:
        for inode in wim.tree(index).inodes():
            content.update(inode.content())
    stored = [wim.blobs[sha1].location.stored_bytes for sha1 in content if sha1 in wim.blobs]
    metadata = [wim.table.metadata[index - 1].location.stored_bytes for index in indexes]
    return sum(stored) + sum(metadata)
