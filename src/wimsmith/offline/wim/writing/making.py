"""What the verbs that make WIM files share: opening sources, saying what will be done, doing it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import AlreadyExists, InvalidInput
from wimsmith.offline.wim.format.blobs import Blob
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.workers.budget import codec_memory_bytes, codec_workers
from wimsmith.offline.wim.workers.worker import CodecPool, WorkerCodec
from wimsmith.offline.wim.writing.assembly import WriteReport, assemble
from wimsmith.offline.wim.writing.form import Form, form_of, make_form
from wimsmith.offline.wim.writing.plan import (
    Plan,
    Recipe,
    converted_bytes,
    copied_bytes,
    needed_bytes,
    plan_file,
)
from wimsmith.offline.wim.writing.watch import Watch


@dataclass(frozen=True, slots=True)
class Packing:
    """How a new file is to pack; what is None stays as it is in the source.

    With a `compression` and without `solid` each content gets a resource of its own. `recompress`
    packs anew even what could be copied.
    """

    compression: Compression | None = None
    chunk_bytes: int | None = None
    level: int | None = None
    solid: bool = False
    recompress: bool = False

    def form(self, source: Wim) -> Form:
        """The form of a file made of `source`; raises as `make_form`."""
        if self.compression is None and not self.solid:
            old = form_of(source, self.level)
            if self.chunk_bytes is None:
                return old
            return make_form(
                old.compression,
                chunk_bytes=self.chunk_bytes,
                level=self.level,
                solid=old.is_solid,
            )
        return make_form(
            self.compression, chunk_bytes=self.chunk_bytes, level=self.level, solid=self.solid
        )


AS_IT_IS = Packing()


@dataclass(frozen=True, slots=True)
class AnnouncedImage:
    """An image of the new file, with the file and the number that it has there."""

    number: int
    name: str
    source: Path
    source_number: int


@dataclass(frozen=True, slots=True)
class Announcement:
    """What will be done, known before it starts.

    Copied bytes are packed, those to convert and those left out unpacked; metadata is in neither.
    `reasons` says why content is not copied. `least_bytes` are needed on the disk for certain.
    """

    target: Path
    images: tuple[AnnouncedImage, ...]
    compression: Compression
    chunk_bytes: int
    level: int
    solid: bool
    copied_contents: int
    copied_bytes: int
    converted_contents: int
    converted_bytes: int
    left_out_contents: int
    left_out_bytes: int
    dropped_contents: int
    reasons: tuple[str, ...]
    workers: int
    memory_bytes: int
    least_bytes: int


Announce = Callable[[Announcement], None]


def untold(_announcement: Announcement) -> None:
    """For callers who want no announcement."""


@contextmanager
def opened(source: Path, watch: Watch, references: Sequence[Path] = ()) -> Iterator[Wim]:
    """A WIM with a codec of its own, which ends when the watch does."""
    with (
        WorkerCodec(beat=watch.beat) as codec,
        open_wim(source, codec, references=references) as wim,
    ):
        yield wim


def check_target(target: Path, sources: Sequence[Path], *, overwrite: bool) -> None:
    """Return if a file may be made there.

    Raises:
        AlreadyExists: something stands there, and `overwrite` is not set or it is a folder.
        InvalidInput: it is one of the sources.
    """
    if target.is_dir():
        raise AlreadyExists(f"{target} is a folder", hint="Name the file to make.")
    if not target.exists():
        return
    if any(source.exists() and target.samefile(source) for source in sources):
        raise InvalidInput(f"{target} is the source itself", hint="Choose another target.")
    if not overwrite:
        raise AlreadyExists(target, hint="Choose another target, or say --overwrite.")


def announce(target: Path, recipe: Recipe, plan: Plan) -> Announcement:
    """What making `target` of a plan means."""
    form = recipe.form
    converted = [(share.wim, blob) for share in plan.shares for blob in share.converted]
    packs = bool(converted or plan.new) and form.compression is not Compression.NONE
    workers = codec_workers(form.compression, form.packing_chunk_bytes) if packs else 1
    return Announcement(
        target=target,
        images=tuple(
            AnnouncedImage(
                number=position,
                name=planned.image.edit.name or planned.image.wim.image(planned.image.number).name,
                source=planned.image.wim.path,
                source_number=planned.image.number,
            )
            for position, planned in enumerate(plan.images, 1)
            if planned.image.wim is not None
        ),
        compression=form.compression,
        chunk_bytes=form.packing_chunk_bytes,
        level=form.level,
        solid=form.is_solid,
        copied_contents=sum(
            len(share.copied) + sum(len(one.blobs) for one in share.solid) for share in plan.shares
        ),
        copied_bytes=copied_bytes(plan),
        converted_contents=len(converted) + len(plan.new),
        converted_bytes=converted_bytes(plan),
        left_out_contents=len(plan.left_out),
        left_out_bytes=sum(blob.size_bytes for blob in plan.left_out),
        dropped_contents=plan.dropped,
        reasons=tuple(dict.fromkeys(_reason(wim, blob, recipe) for wim, blob in converted)),
        workers=workers,
        memory_bytes=workers * codec_memory_bytes(form.packing_chunk_bytes) if packs else 0,
        least_bytes=needed_bytes(recipe, plan),
    )


def _reason(wim: Wim, blob: Blob, recipe: Recipe) -> str:
    """Why a content is packed anew."""
    file, form = wim.files[blob.file], recipe.form
    if recipe.repack:
        return "it was asked for"
    if blob.solid is not None:
        if form.is_solid and blob.solid.chunk_size != form.solid_chunk_bytes:
            return "other chunk sizes in solid resources"
        return "parts of solid resources" if form.is_solid else "content in solid resources"
    if form.is_solid:
        return "content that is not solid yet"
    if file.header.compression is not form.compression:
        before, after = file.header.compression.upper(), form.compression.upper()
        return f"{before} becomes {after}"
    if file.is_pipable:
        return "content of a pipable file"
    return f"chunks of {file.header.chunk_size} bytes"


def make(
    target: Path,
    recipe: Recipe,
    *,
    watch: Watch,
    tell: Announce = untold,
    overwrite: bool = False,
    check: bool = True,
    replaces: Wim | None = None,
) -> tuple[WriteReport, Announcement]:
    """Plan, announce, and write a file. Raises as `plan_file` and `assemble` do."""
    plan = plan_file(recipe, watch.tell)
    announcement = announce(target, recipe, plan)
    tell(announcement)
    packs = recipe.form.compression is not Compression.NONE
    pool = CodecPool(announcement.workers, beat=watch.beat) if packs else nullcontext()
    with pool as codec:
        report = assemble(
            target,
            recipe,
            plan,
            codec=codec,
            watch=watch,
            overwrite=overwrite,
            check_all=check,
            replaces=replaces,
        )
    return report, announcement
