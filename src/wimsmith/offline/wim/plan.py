"""Deciding what a new WIM gets: which images, what is copied, what is new, and the counts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import NoSuchIndex, NotSupported
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.wim import remedies
from wimsmith.offline.wim.blobs import Blob
from wimsmith.offline.wim.container import Wim
from wimsmith.offline.wim.metadata import serialize_metadata
from wimsmith.offline.wim.output import Source, source_of
from wimsmith.offline.wim.tree import EMPTY_SHA1, Statistics, Tree


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One image of the new file; `metadata` is None when that of the base is copied."""

    number: int
    metadata: bytes | None
    statistics: Statistics | None
    base_metadata: Blob | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Images in the order of the new file; content by SHA-1 with the number of its names."""

    images: tuple[PlannedImage, ...]
    references: Mapping[bytes, int]
    kept: tuple[Blob, ...]
    new: Mapping[bytes, Source]
    dropped: int


def image_numbers(
    base: Wim | None, trees: Mapping[int, Tree], indexes: Sequence[int] | None
) -> tuple[int, ...]:
    """Numbers of the images that the new file gets, in its order.

    Raises:
        NoSuchIndex: a number without image or tree, a repeated one, a gap, or none at all.
    """
    present = len(base.images) if base else 0
    known = sorted(set(range(1, present + 1)) | set(trees))
    if known != list(range(1, len(known) + 1)):
        raise NoSuchIndex(f"{known}: images are numbered from 1 without gaps")
    numbers = tuple(known if indexes is None else indexes)
    if not numbers or len(set(numbers)) != len(numbers) or not set(numbers) <= set(known):
        raise NoSuchIndex(f"{list(numbers)} of {len(known)} images")
    return numbers


def boot_position(numbers: Sequence[int], base: Wim | None, boot_index: int | None) -> int:
    """Position of the bootable image in the new file, 0 for none."""
    if boot_index is None:
        boot_index = base.header.boot_index if base else 0
        return numbers.index(boot_index) + 1 if boot_index in numbers else 0
    if boot_index and boot_index not in numbers:
        raise NoSuchIndex(f"{boot_index}, which is to be the bootable image")
    return numbers.index(boot_index) + 1 if boot_index else 0


def plan_images(
    base: Wim | None,
    trees: Mapping[int, Tree],
    new_content: Mapping[bytes, Path | bytes],
    numbers: Sequence[int],
    *,
    drop_unreferenced: bool,
    progress: Progress,
) -> Plan:
    """Read every image that the new file gets, and count what it names.

    Raises:
        NotSupported: content that neither the base nor `new_content` has.
        NoSuchIndex: an image without a tree.
        DamagedWim: an image of the base is damaged.
    """
    old = base.blobs if base else {}
    sources = {sha1: source_of(content) for sha1, content in new_content.items()}
    references: Counter[bytes] = Counter()
    images = []
    for position, number in enumerate(numbers):
        progress(Event("read images", position, len(numbers)))
        tree = trees.get(number)
        counts = (tree or _base_tree(base, number)).references()
        if tree is not None or EMPTY_SHA1 not in old:
            del counts[EMPTY_SHA1]  # written as zeros, or named without a resource by the base
        _refuse_missing(counts, old, sources, number)
        references.update(counts)
        images.append(_planned_image(base, number, tree, old, sources))
    kept = [blob for sha1, blob in old.items() if sha1 in references or not drop_unreferenced]
    new = {sha1: sources[sha1] for sha1 in references if sha1 not in old}
    return Plan(tuple(images), references, tuple(kept), new, len(old) - len(kept))


def _planned_image(
    base: Wim | None,
    number: int,
    tree: Tree | None,
    old: Mapping[bytes, Blob],
    sources: Mapping[bytes, Source],
) -> PlannedImage:
    base_metadata = base.table.metadata[number - 1] if base and number <= len(base.images) else None
    if tree is None:
        return PlannedImage(number, None, None, base_metadata)

    def size_of(sha1: bytes) -> int:
        if sha1 == EMPTY_SHA1:
            return 0
        return old[sha1].size_bytes if sha1 in old else sources[sha1].size_bytes

    return PlannedImage(number, serialize_metadata(tree), tree.statistics(size_of), base_metadata)


def _base_tree(base: Wim | None, number: int) -> Tree:
    if base is None:
        raise NoSuchIndex(f"{number}: there is no tree for it")
    return base.tree(number)


def _refuse_missing(
    counts: Iterable[bytes], old: Mapping[bytes, Blob], new: Mapping[bytes, Source], number: int
) -> None:
    for sha1 in counts:
        if sha1 not in old and sha1 not in new:
            raise NotSupported(
                "missing-content",
                f"image {number} names content {sha1.hex()} that is not there, as in a delta WIM",
                hint=remedies.EXPORT_DELTA,
            )
