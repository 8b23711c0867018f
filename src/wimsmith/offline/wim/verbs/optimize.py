"""Making a WIM no larger than what it holds: without content that no image names, and holes."""

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.format.blobs import ENTRY_BYTES
from wimsmith.offline.wim.format.container import Wim
from wimsmith.offline.wim.format.header import HEADER_BYTES
from wimsmith.offline.wim.writing.making import (
    AS_IT_IS,
    Announce,
    Announcement,
    Packing,
    announce,
    check_target,
    make,
    opened,
    untold,
)
from wimsmith.offline.wim.writing.plan import KeepSolid, NewImage, Plan, Recipe, plan_file
from wimsmith.offline.wim.writing.replacing import check_replaceable
from wimsmith.offline.wim.writing.watch import Watch

log = logging.getLogger("wimsmith.offline")


@dataclass(frozen=True, slots=True)
class Waste:
    """What a file holds that nobody needs.

    `unreferenced_bytes` are packed bytes of content that no image names (unpacked ones inside
    solid resources), `hole_bytes` stand between resources, `duplicate_contents` are entries of the
    blob table for content that another entry has already.
    """

    file_bytes: int
    unreferenced_contents: int
    unreferenced_bytes: int
    hole_bytes: int
    duplicate_contents: int


@dataclass(frozen=True, slots=True)
class OptimizeReport:
    """A file that was written anew, with what it and its source hold."""

    source: Path
    target: Path
    before: Waste
    after: Waste
    copied_bytes: int
    converted_bytes: int
    checked: bool
    duration_s: float


def optimize_wim(
    source: Path,
    target: Path | None = None,
    *,
    packing: Packing = AS_IT_IS,
    progress: Progress = silent,
    tell: Announce = untold,
    check: bool = True,
    overwrite: bool = False,
) -> OptimizeReport:
    """Write a WIM anew with all its images and nothing else.

    Args:
        source: the WIM to read.
        target: file to make; None replaces the source, in one step and after it is proved.
        packing: the form of the new file; as it is if nothing is said.
        progress: called often; may raise to cancel.
        tell: gets what will be done, before anything is written; may raise to cancel.
        check: read all of the result again and compare every hash before it gets its name.
        overwrite: replace an existing target.

    Raises:
        AlreadyExists, NotEnoughSpace, DamagedWim, NotSupported, WorkerFailed, and what `progress`
        raises. The source is as it was then, and nothing is left behind.
    """
    started = time.monotonic()
    watch = Watch(progress)
    place = target or source
    if target is not None:
        check_target(target, [source], overwrite=overwrite)
    with ExitStack() as stack:
        wim = stack.enter_context(opened(source, watch))
        if target is None:
            check_replaceable(wim)
        recipe = _recipe(wim, packing)
        written, said = make(
            place,
            recipe,
            watch=watch,
            tell=tell,
            overwrite=overwrite or target is None,
            check=check,
            replaces=wim if target is None else None,
        )
        before = waste_of(wim, plan_file(recipe, silent))
    with opened(place, watch) as new:
        after = waste_of(new, plan_file(_recipe(new, AS_IT_IS), silent))
    log.info("Optimized %s: %d bytes are %d", source, before.file_bytes, written.size_bytes)
    return OptimizeReport(
        source=source,
        target=place,
        before=before,
        after=after,
        copied_bytes=said.copied_bytes,
        converted_bytes=said.converted_bytes,
        checked=check,
        duration_s=time.monotonic() - started,
    )


def announce_optimize(
    source: Path, target: Path | None, *, packing: Packing = AS_IT_IS, overwrite: bool = False
) -> tuple[Announcement, Waste]:
    """What `optimize_wim` would do, and what the source holds in vain; nothing is written."""
    watch = Watch(silent)
    if target is not None:
        check_target(target, [source], overwrite=overwrite)
    with opened(source, watch) as wim:
        if target is None:
            check_replaceable(wim)
        recipe = _recipe(wim, packing)
        plan = plan_file(recipe, silent)
        return announce(target or source, recipe, plan), waste_of(wim, plan)


def _recipe(wim: Wim, packing: Packing) -> Recipe:
    form = packing.form(wim)
    return Recipe(
        images=tuple(NewImage(wim, number) for number in range(1, len(wim.images) + 1)),
        form=form,
        base=wim,
        boot=wim.header.boot_index,
        keep_solid=KeepSolid.WHOLE if form.is_solid else KeepSolid.NEVER,
        repack=packing.recompress,
    )


def waste_of(wim: Wim, plan: Plan) -> Waste:
    """What an open file holds that no image of it needs, by a plan that names all images."""
    idle = [blob for sha1, blob in wim.blobs.items() if sha1 not in plan.references]
    entries = sum(len(file.raw_table()) // ENTRY_BYTES for file in wim.files[: wim.part_count])
    solid = {
        (blob.file, blob.solid.location.offset): blob.solid.location
        for blob in wim.blobs.values()
        if blob.solid is not None
    }
    ordinary = [blob.location for blob in wim.blobs.values() if blob.solid is None]
    held = [*ordinary, *solid.values(), *(blob.location for blob in wim.table.metadata)]
    headers = [file.header for file in wim.files[: wim.part_count]]
    ends = sum(
        HEADER_BYTES
        + header.blob_table.stored_bytes
        + header.xml.stored_bytes
        + header.integrity.stored_bytes
        for header in headers
    )
    used = ends + sum(location.stored_bytes for location in held)
    known = len(wim.blobs) + len(solid) + len(wim.table.metadata)
    return Waste(
        file_bytes=wim.file_bytes,
        unreferenced_contents=len(idle),
        unreferenced_bytes=sum(blob.location.stored_bytes for blob in idle),
        hole_bytes=max(0, wim.file_bytes - used),
        duplicate_contents=max(0, entries - known),
    )
