"""Copying images into a new WIM that holds only what they need."""

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import InvalidInput, NoSuchIndex
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.format.container import Wim, check_indexes
from wimsmith.offline.wim.format.document import ImageEdit
from wimsmith.offline.wim.writing.form import FAST_LEVEL
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
from wimsmith.offline.wim.writing.plan import NO_EDIT, KeepSolid, NewImage, Recipe, plan_file
from wimsmith.offline.wim.writing.watch import Watch

__all__ = ["FAST_LEVEL", "ExportReport", "Selection", "announce_export", "export_images"]

log = logging.getLogger("wimsmith.offline")


@dataclass(frozen=True, slots=True)
class Selection:
    """What else an export is about.

    Args:
        references: files with content that the source names and does not hold: the base of a
            delta, further parts of a set, resource-only files.
        delta_from: content that this file has is left out: the result needs it to be read.
        boot: number of the image to be marked as bootable, 0 for none, None as it is.
        name: new name of the only image.
        description: new description of the only image.
    """

    references: tuple[Path, ...] = ()
    delta_from: Path | None = None
    boot: int | None = None
    name: str | None = None
    description: str | None = None


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class ExportReport:
    """A WIM that was exported. `images` are the numbers in the source, in order."""

    source: Path
    target: Path
    images: tuple[int, ...]
    size_bytes: int
    checked: bool
    duration_s: float
    copied_bytes: int
    converted_bytes: int
    left_out_bytes: int


def export_images(
    source: Path,
    indexes: Sequence[int] | None,
    target: Path,
    *,
    packing: Packing = AS_IT_IS,
    selection: Selection = EVERYTHING,
    progress: Progress = silent,
    tell: Announce = untold,
    check: bool = True,
    overwrite: bool = False,
) -> ExportReport:
    """Copy images into a new WIM that holds only what they need.

    Packed content is copied as it is where the form of the new file allows it, and packed anew
    where not. Names, descriptions and the boot mark are kept; an integrity table is written.

    Args:
        source: the WIM to read, or the first part of a set; never changed.
        indexes: numbers of the images (from 1), in the order wanted; None for all.
        target: file to make.
        packing: the form of the new file.
        selection: other files, the boot mark, and a new name.
        progress: called often; may raise to cancel.
        tell: gets what will be done, before anything is written; may raise to cancel.
        check: read all of the result again and compare every hash before it gets its name; else
            only what was packed anew.
        overwrite: replace an existing target.

    Raises:
        NoSuchIndex, AlreadyExists, NotEnoughSpace, DamagedWim, WorkerFailed, NotSupported, and
        what `progress` raises. Nothing is left behind then.
    """
    started = time.monotonic()
    watch = Watch(progress)
    check_target(target, _files(source, selection), overwrite=overwrite)
    with ExitStack() as stack:
        recipe = _recipe(stack, source, indexes, packing, selection, watch)
        written, said = make(
            target, recipe, watch=watch, tell=tell, overwrite=overwrite, check=check
        )
    images = tuple(image.number for image in recipe.images)
    log.info("Exported %s of %s to %s (%d bytes)", images, source, target, written.size_bytes)
    return ExportReport(
        source=source,
        target=target,
        images=images,
        size_bytes=written.size_bytes,
        checked=check,
        duration_s=time.monotonic() - started,
        copied_bytes=said.copied_bytes,
        converted_bytes=said.converted_bytes,
        left_out_bytes=said.left_out_bytes,
    )


def announce_export(
    source: Path,
    indexes: Sequence[int] | None,
    target: Path,
    *,
    packing: Packing = AS_IT_IS,
    selection: Selection = EVERYTHING,
    progress: Progress = silent,
    overwrite: bool = False,
) -> Announcement:
    """What `export_images` would do; nothing is written. Raises as it does."""
    watch = Watch(progress)
    check_target(target, _files(source, selection), overwrite=overwrite)
    with ExitStack() as stack:
        recipe = _recipe(stack, source, indexes, packing, selection, watch)
        return announce(target, recipe, plan_file(recipe, watch.tell))


def _files(source: Path, selection: Selection) -> list[Path]:
    delta = [selection.delta_from] if selection.delta_from else []
    return [source, *selection.references, *delta]


def _recipe(
    stack: ExitStack,
    source: Path,
    indexes: Sequence[int] | None,
    packing: Packing,
    selection: Selection,
    watch: Watch,
) -> Recipe:
    wim = stack.enter_context(opened(source, watch, selection.references))
    left_out: frozenset[bytes] = frozenset()
    if selection.delta_from is not None:
        left_out = frozenset(stack.enter_context(opened(selection.delta_from, watch)).blobs)
    numbers = list(range(1, len(wim.images) + 1)) if indexes is None else list(indexes)
    check_indexes(wim, numbers)
    form = packing.form(wim)
    return Recipe(
        images=tuple(NewImage(wim, number, edit=_edit(selection, numbers)) for number in numbers),
        form=form,
        base=wim,
        boot=boot_of(wim, numbers, selection.boot),
        left_out=left_out,
        keep_solid=KeepSolid.WHOLE if form.is_solid else KeepSolid.NEVER,
        repack=packing.recompress,
    )


def _edit(selection: Selection, numbers: Sequence[int]) -> ImageEdit:
    if selection.name is None and selection.description is None:
        return NO_EDIT
    if len(numbers) != 1:
        raise InvalidInput(
            f"one name for {len(numbers)} images", hint="Name the index to be renamed."
        )
    return ImageEdit(name=selection.name, description=selection.description)


def boot_of(wim: Wim, numbers: Sequence[int], boot: int | None) -> int:
    """Position among `numbers` of the image to be bootable, 0 for none.

    Raises:
        NoSuchIndex: the one asked for is not among them.
    """
    chosen = wim.header.boot_index if boot is None else boot
    if chosen in numbers:
        return numbers.index(chosen) + 1
    if boot:
        raise NoSuchIndex(
            f"{boot}, which is to be bootable", hint="It must be one of those exported."
        )
    return 0
