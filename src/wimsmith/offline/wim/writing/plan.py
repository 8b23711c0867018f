"""Deciding what a new WIM gets: which images, what is copied, converted and new, and the counts."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType

from wimsmith.errors import NoSuchIndex, NotSupported
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.wim.format import remedies
from wimsmith.offline.wim.format.blobs import Blob, SolidResource
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.collection import without_collection
from wimsmith.offline.wim.format.container import Wim, naming
from wimsmith.offline.wim.format.counting import count_content
from wimsmith.offline.wim.format.document import ImageEdit
from wimsmith.offline.wim.format.metadata import serialize_metadata
from wimsmith.offline.wim.format.tree import EMPTY_SHA1, Statistics, Tree
from wimsmith.offline.wim.writing.form import Form
from wimsmith.offline.wim.writing.output import Source, source_of

NO_EDIT = ImageEdit()


class KeepSolid(Enum):
    """Which solid resources are copied as they are."""

    NEVER = 0
    WHOLE = 1
    """Those of which all content is wanted."""
    ANY = 2
    """Those of which any content is wanted, with all that is in them."""


@dataclass(frozen=True, slots=True)
class NewImage:
    """One image of a new file: number `number` of `wim`, a tree in its place, or a new tree."""

    wim: Wim | None
    number: int
    tree: Tree | None = None
    edit: ImageEdit = NO_EDIT

    @property
    def is_described_as_before(self) -> bool:
        """Whether the XML document can keep what it says of the image."""
        return self.wim is not None and self.tree is None and self.edit == NO_EDIT


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a new file shall be.

    `base` gives content whether or not images come from it. `left_out` is content that the file
    only names, as a delta does. `boot` is the position of the bootable image, 0 for none. With
    `repack` nothing packed is copied.
    """

    images: tuple[NewImage, ...]
    form: Form
    base: Wim | None = None
    boot: int = 0
    new_content: Mapping[bytes, Path | bytes] = field(default_factory=lambda: MappingProxyType({}))
    left_out: Container[bytes] = frozenset()
    keep_solid: KeepSolid = KeepSolid.WHOLE
    keep_unreferenced: bool = False
    repack: bool = False
    with_integrity: bool = True
    guid: bytes | None = None

    @property
    def wims(self) -> tuple[Wim, ...]:
        """The open files that content comes from, each once."""
        found = (self.base, *(image.wim for image in self.images))
        return tuple(dict.fromkeys(wim for wim in found if wim is not None))


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One image of the new file; `metadata` is None when that of its source is copied packed."""

    image: NewImage
    metadata: bytes | None
    statistics: Statistics | None
    source: Blob | None


@dataclass(frozen=True, slots=True)
class SolidCopy:
    """A solid resource that is copied as it is, with the content that it holds."""

    resource: SolidResource
    file: int
    blobs: tuple[Blob, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """What is taken from one open file: copied packed, or unpacked and packed anew."""

    wim: Wim
    copied: tuple[Blob, ...]
    solid: tuple[SolidCopy, ...]
    converted: tuple[Blob, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Images in the order of the new file; content by SHA-1 with the number of its names.

    `names` sorts content for solid packing: names of one kind next to one another.
    """

    images: tuple[PlannedImage, ...]
    references: Mapping[bytes, int]
    shares: tuple[Share, ...]
    new: Mapping[bytes, Source]
    left_out: tuple[Blob, ...]
    dropped: int
    names: Mapping[bytes, tuple[str, str]]


def plan_file(recipe: Recipe, progress: Progress) -> Plan:
    """Read every image that the new file gets, and decide where its content comes from.

    Raises:
        NotSupported: content that nobody has.
        DamagedWim: an image of a source is damaged.
        VerificationFailed: metadata does not say what its tree says.
    """
    with without_collection():
        return _planned_file(recipe, progress)


def _planned_file(recipe: Recipe, progress: Progress) -> Plan:
    sources = {sha1: source_of(content) for sha1, content in recipe.new_content.items()}
    held = _held(recipe.wims)
    references: Counter[bytes] = Counter()
    names: dict[bytes, tuple[str, str]] = {}
    images = []
    for position, image in enumerate(recipe.images):
        progress(Event("read images", position, len(recipe.images)))
        metadata = _metadata(image)
        counts = _counts(image, metadata)
        if EMPTY_SHA1 not in held:
            del counts[EMPTY_SHA1]  # named without a resource by the source
        _refuse_missing(counts, held, sources, recipe.left_out, image)
        references.update(counts)
        if recipe.form.is_solid:
            _note_names(image, names)
        images.append(_planned(image, metadata, held, sources, recipe))
    wanted = {
        sha1: held[sha1]
        for sha1 in (held if recipe.keep_unreferenced else references)
        if sha1 in held
    }
    left_out = [held[sha1] for sha1 in references if sha1 in recipe.left_out and sha1 in held]
    kept = {sha1: one for sha1, one in wanted.items() if sha1 not in recipe.left_out}
    new = [sha1 for sha1 in references if sha1 not in held and sha1 not in recipe.left_out]
    return Plan(
        images=tuple(images),
        references=references,
        shares=tuple(_share(wim, kept, recipe) for wim in recipe.wims),
        new={sha1: sources[sha1] for sha1 in new},
        left_out=tuple(blob for _, blob in left_out),
        dropped=len(held) - len(wanted),
        names=names,
    )


def _counts(image: NewImage, metadata: bytes) -> Counter[bytes]:
    """How often the image names each content."""
    if image.tree is not None:
        counts = image.tree.references()
        del counts[EMPTY_SHA1]  # written as zeros
        return counts
    with naming(image.wim.path) if image.wim is not None else nullcontext():
        return count_content(metadata)


def _held(wims: Sequence[Wim]) -> dict[bytes, tuple[Wim, Blob]]:
    """All content of the sources; the first that holds one is taken."""
    held: dict[bytes, tuple[Wim, Blob]] = {}
    for wim in wims:
        if held:
            held |= {sha1: (wim, blob) for sha1, blob in wim.blobs.items() if sha1 not in held}
        else:
            held = {sha1: (wim, blob) for sha1, blob in wim.blobs.items()}
    return held


def _metadata(image: NewImage) -> bytes:
    if image.tree is not None:
        return serialize_metadata(image.tree)
    if image.wim is None:
        raise NoSuchIndex(f"{image.number}: there is no tree for it")
    return image.wim.metadata(image.number)


def _planned(
    image: NewImage,
    metadata: bytes,
    held: Mapping[bytes, tuple[Wim, Blob]],
    sources: Mapping[bytes, Source],
    recipe: Recipe,
) -> PlannedImage:
    source = image.wim.table.metadata[image.number - 1] if image.wim is not None else None
    if image.tree is None:
        is_copied = source is not None and image.wim is not None
        if is_copied and not recipe.repack and can_copy(image.wim, source, recipe.form):
            return PlannedImage(image, None, None, source)
        return PlannedImage(image, metadata, None, source)

    def size_of(sha1: bytes) -> int:
        if sha1 in held:
            return held[sha1][1].size_bytes
        return 0 if sha1 == EMPTY_SHA1 else sources[sha1].size_bytes

    return PlannedImage(image, metadata, image.tree.statistics(size_of), source)


def can_copy(wim: Wim | None, blob: Blob | None, form: Form) -> bool:
    """Whether the packed bytes of a blob may stand as they are in a file of this form."""
    if wim is None or blob is None or blob.is_solid:
        return False
    file = wim.files[blob.file]
    if not blob.location.is_compressed:
        return form.compression is Compression.NONE or file.header.compression is not (
            Compression.NONE
        )
    header = file.header
    is_same = header.compression is form.compression and header.chunk_size == form.chunk_bytes
    return is_same and not file.is_pipable


def _share(wim: Wim, wanted: Mapping[bytes, tuple[Wim, Blob]], recipe: Recipe) -> Share:
    mine = [blob for owner, blob in wanted.values() if owner is wim]
    if recipe.repack:
        return Share(wim, (), (), tuple(mine))
    solid = tuple(_solid_copies(wim, mine, recipe))
    in_solid = {blob.sha1 for one in solid for blob in one.blobs}
    left = [blob for blob in mine if blob.sha1 not in in_solid]
    if recipe.form.is_solid:
        return Share(wim, (), solid, tuple(left))
    copied: list[Blob] = []
    converted: list[Blob] = []
    for blob in left:
        (copied if can_copy(wim, blob, recipe.form) else converted).append(blob)
    return Share(wim, tuple(copied), solid, tuple(converted))


def _solid_copies(wim: Wim, wanted: Iterable[Blob], recipe: Recipe) -> Iterable[SolidCopy]:
    """Solid resources that are taken as they are, in the order of the file."""
    form = recipe.form
    if recipe.keep_solid is KeepSolid.NEVER or not wim.is_solid:
        return
    live = {blob.sha1 for blob in wanted}
    held: dict[tuple[int, int], list[Blob]] = {}
    for blob in sorted(wim.blobs.values(), key=lambda blob: blob.storage_order):
        if blob.solid is not None:
            held.setdefault((blob.file, blob.solid.location.offset), []).append(blob)
    for (file, _), blobs in held.items():
        resource = blobs[0].solid
        found = [blob for blob in blobs if blob.sha1 in live]
        if resource is None or not found or resource.compression is not form.compression:
            continue
        if form.is_solid and resource.chunk_size != form.solid_chunk_bytes:
            continue
        whole = len(found) == len(blobs) and resource.size_bytes == sum(
            blob.size_bytes for blob in blobs
        )
        if whole or recipe.keep_solid is KeepSolid.ANY:
            yield SolidCopy(resource, file, tuple(blobs))


def _note_names(image: NewImage, names: dict[bytes, tuple[str, str]]) -> None:
    """Remember for each content the kind of its first name, and the name."""
    tree = image.tree
    if tree is None and image.wim is not None:
        tree = image.wim.tree(image.number)
    for entry in tree.walk() if tree is not None else ():
        name = entry.name.lower()
        for sha1 in entry.inode.content():
            names.setdefault(sha1, (name.rpartition(".")[2], name))


def _refuse_missing(
    counts: Iterable[bytes],
    held: Container[bytes],
    new: Container[bytes],
    left_out: Container[bytes],
    image: NewImage,
) -> None:
    for sha1 in counts:
        if sha1 not in held and sha1 not in new and sha1 not in left_out:
            where = f"{image.wim.path}: " if image.wim is not None else ""
            raise NotSupported(
                "missing-content",
                f"{where}image {image.number} names content {sha1.hex()} that is not there, as in"
                " a delta WIM",
                hint=remedies.EXPORT_DELTA,
            )


def copied_bytes(plan: Plan) -> int:
    """Packed bytes of content that are copied as they are."""
    return sum(
        sum(blob.location.stored_bytes for blob in share.copied)
        + sum(one.resource.location.stored_bytes for one in share.solid)
        for share in plan.shares
    )


def converted_bytes(plan: Plan) -> int:
    """Unpacked bytes of content that is packed anew, what is new included."""
    old = sum(blob.size_bytes for share in plan.shares for blob in share.converted)
    return old + sum(source.size_bytes for source in plan.new.values())


def needed_bytes(recipe: Recipe, plan: Plan) -> int:
    """Bytes that the new file takes at least, as far as can be told before it is packed."""
    metadata = sum(one.source.location.stored_bytes for one in plan.images if one.source)
    certain = copied_bytes(plan) + metadata
    if recipe.form.compression is Compression.NONE:
        return certain + converted_bytes(plan)
    if recipe.form.is_solid:
        return certain
    ordinary = (
        blob for share in plan.shares for blob in share.converted if not blob.location.is_compressed
    )
    return certain + sum(blob.location.stored_bytes for blob in ordinary if not blob.is_solid) // 20
