"""Adding images of one WIM to another, whose content is then shared by all of them."""

import logging
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import AlreadyExists, InvalidInput, NoSuchIndex
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.format.container import Wim, check_indexes
from wimsmith.offline.wim.format.document import ImageEdit
from wimsmith.offline.wim.writing.form import form_of
from wimsmith.offline.wim.writing.making import (
    Announce,
    Announcement,
    announce,
    make,
    opened,
    untold,
)
from wimsmith.offline.wim.writing.plan import NO_EDIT, KeepSolid, NewImage, Recipe, plan_file
from wimsmith.offline.wim.writing.replacing import check_replaceable
from wimsmith.offline.wim.writing.watch import Watch

log = logging.getLogger("wimsmith.offline")


@dataclass(frozen=True, slots=True)
class Addition:
    """What is added, and how it is called.

    Args:
        indexes: numbers of the images in the source (from 1), in the order wanted; None for all.
        references: files with content that the source names and does not hold.
        boot: number in the source of the image to be bootable, 0 for none at all, None as it is.
        name: name of the only image in the target; its own if None.
        description: description of the only image in the target.
        level: how hard what must be packed is packed; None for the usual level.
    """

    indexes: Sequence[int] | None = None
    references: tuple[Path, ...] = ()
    boot: int | None = None
    name: str | None = None
    description: str | None = None
    level: int | None = None


ALL_IMAGES = Addition()


@dataclass(frozen=True, slots=True)
class AppendReport:
    """A WIM that got images; `numbers` are those of the new ones in it."""

    source: Path
    target: Path
    images: tuple[int, ...]
    numbers: tuple[int, ...]
    size_before_bytes: int
    size_bytes: int
    copied_bytes: int
    converted_bytes: int
    checked: bool
    duration_s: float


def append_images(
    source: Path,
    target: Path,
    addition: Addition = ALL_IMAGES,
    *,
    progress: Progress = silent,
    tell: Announce = untold,
    check: bool = True,
) -> AppendReport:
    """Add images of `source` to the existing WIM `target`.

    The whole new file is written beside the old one, which it replaces in one step. Content that
    the target has already is not written again; its form is kept.

    Args:
        source: the WIM to read; never changed.
        target: the WIM that gets the images.
        addition: which ones.
        progress: called often; may raise to cancel.
        tell: gets what will be done, before anything is written; may raise to cancel.
        check: read all of the result again and compare every hash before it replaces the target.

    Raises:
        AlreadyExists: an image of that name is there, or the target was changed meanwhile.
        NotSupported: the target is one part of a set, or says that it is read-only.
        NoSuchIndex, InvalidInput, NotEnoughSpace, DamagedWim, WorkerFailed, and what `progress`
        raises. The target is as it was then.
    """
    started = time.monotonic()
    watch = Watch(progress)
    with ExitStack() as stack:
        recipe, old = _recipe(stack, source, target, addition, watch)
        before = old.file_bytes
        written, said = make(
            target, recipe, watch=watch, tell=tell, overwrite=True, check=check, replaces=old
        )
        added = [image.number for image in recipe.images if image.wim is not old]
        first = len(old.images) + 1
    log.info("Appended %s of %s to %s (%d bytes)", added, source, target, written.size_bytes)
    return AppendReport(
        source=source,
        target=target,
        images=tuple(added),
        numbers=tuple(range(first, first + len(added))),
        size_before_bytes=before,
        size_bytes=written.size_bytes,
        copied_bytes=said.copied_bytes,
        converted_bytes=said.converted_bytes,
        checked=check,
        duration_s=time.monotonic() - started,
    )


def announce_append(
    source: Path, target: Path, addition: Addition = ALL_IMAGES, *, progress: Progress = silent
) -> Announcement:
    """What `append_images` would do; nothing is written. Raises as it does."""
    watch = Watch(progress)
    with ExitStack() as stack:
        recipe, _old = _recipe(stack, source, target, addition, watch)
        return announce(target, recipe, plan_file(recipe, watch.tell))


def _recipe(
    stack: ExitStack, source: Path, target: Path, addition: Addition, watch: Watch
) -> tuple[Recipe, Wim]:
    old = stack.enter_context(opened(target, watch))
    check_replaceable(old)
    new = stack.enter_context(opened(source, watch, addition.references))
    standing = os.fstat(old.descriptor)
    if any(os.path.samestat(standing, os.fstat(file.descriptor)) for file in new.files):
        raise InvalidInput(f"{target} is the source itself", hint="Choose another target.")
    chosen = addition.indexes
    numbers = list(range(1, len(new.images) + 1)) if chosen is None else list(chosen)
    check_indexes(new, numbers)
    edit = _edit(addition, numbers)
    _refuse_same_names(old, new, numbers, edit)
    kept = [NewImage(old, number) for number in range(1, len(old.images) + 1)]
    added = [NewImage(new, number, edit=edit) for number in numbers]
    form = form_of(old, addition.level)
    recipe = Recipe(
        images=(*kept, *added),
        form=form,
        base=old,
        boot=_boot(old, numbers, addition.boot),
        keep_solid=KeepSolid.ANY,
    )
    return recipe, old


def _edit(addition: Addition, numbers: Sequence[int]) -> ImageEdit:
    if addition.name is None and addition.description is None:
        return NO_EDIT
    if len(numbers) != 1:
        raise InvalidInput(
            f"one name for {len(numbers)} images", hint="Append them one after the other."
        )
    return ImageEdit(name=addition.name, description=addition.description)


def _refuse_same_names(old: Wim, new: Wim, numbers: Sequence[int], edit: ImageEdit) -> None:
    taken = {image.name for image in old.images}
    for number in numbers:
        name = new.image(number).name if edit.name is None else edit.name
        if name and name in taken:
            raise AlreadyExists(
                f"an image called {name!r} in {old.path}",
                hint="Append it alone and give it another name with --name.",
            )
        taken.add(name)


def _boot(old: Wim, numbers: Sequence[int], boot: int | None) -> int:
    if boot is None:
        return old.header.boot_index
    if boot and boot not in numbers:
        raise NoSuchIndex(
            f"{boot}, which is to be bootable", hint="It must be one of those appended."
        )
    return len(old.images) + numbers.index(boot) + 1 if boot else 0
