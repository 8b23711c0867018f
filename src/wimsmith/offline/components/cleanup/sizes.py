"""What clean-up saves: files that are gone, and packed content that nobody names any more."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from wimsmith.errors import NotSupported
from wimsmith.offline.changes import Remove, TreeEdit
from wimsmith.offline.components.store.view import View
from wimsmith.offline.image import ImageView, hive_path
from wimsmith.offline.wim.format.blobs import Blob
from wimsmith.offline.wim.format.container import Wim
from wimsmith.offline.wim.format.counting import count_content
from wimsmith.offline.wim.format.tree import Entry


class SizedView(View, Protocol):
    """An index whose contents have a size that is known without reading them."""

    def size_of(self, sha1: bytes) -> int:
        """Size in bytes of a content by its 20-byte SHA-1."""


@dataclass(frozen=True, slots=True)
class Freed:
    """Content of a WIM file that no index names once the changes are committed.

    Attributes:
        packed_bytes: what it takes in the file as it is stored, without hives.
        count: how many contents.
        hive_bytes: what hives take that are written anew; the new ones take as much again, or a
            little less or more: that is known only once they are packed.
        unused_bytes: what content takes that no index named before either. Writing the file anew
            drops it as well, so that the new file is smaller by both.
        is_exact: False if some of it shares packed resources with other content (an ESD file);
            its share of those is estimated from its size.
    """

    packed_bytes: int
    count: int
    hive_bytes: int
    unused_bytes: int
    is_exact: bool


def require_single_index(wim: Wim) -> None:
    """Refuse files with several indexes: they share content, and the product stays with one.

    Raises:
        NotSupported: `several-indexes`.
    """
    if len(wim.images) != 1:
        raise NotSupported(
            "several-indexes",
            f"{wim.path.name} has {len(wim.images)} indexes, and clean-up is for files with one",
            hint="Export the index that is wanted to a file of its own first.",
        )


def freed_content(view: ImageView) -> Freed:
    """What committing the changes stacked on `view` frees in its file, before anything is written.

    References of all indexes count: what another index still names is not freed.
    """
    wim = view.wim
    before: Counter[bytes] = Counter()
    after: Counter[bytes] = Counter()
    for number in range(1, len(wim.images) + 1):
        counted = count_content(wim.metadata(number))
        before.update(counted)
        after.update(view.tree.references() if number == view.index_number else counted)
    hives = set(_rewritten_hives(view))
    freed = [blob for sha1, blob in wim.blobs.items() if before[sha1] and not after[sha1]]
    unused = [blob for sha1, blob in wim.blobs.items() if not before[sha1] and not after[sha1]]
    replaced = [wim.blobs[sha1] for sha1 in hives if after[sha1] == 1 and sha1 in wim.blobs]
    return Freed(
        packed_bytes=sum(map(_packed, freed)),
        count=len(freed),
        hive_bytes=sum(map(_packed, replaced)),
        unused_bytes=sum(map(_packed, unused)),
        is_exact=not any(blob.is_solid for blob in (*freed, *unused, *replaced)),
    )


def removed_files(view: SizedView, edits: Iterable[TreeEdit]) -> tuple[int, int]:
    """Number and size in bytes of the files that removals leave without a name."""
    names: Counter[int] = Counter()
    found = {}
    for edit in edits:
        entry = view.find(edit.path) if isinstance(edit, Remove) else None
        for file in files_below(entry) if entry else ():
            names[id(file.inode)] += 1
            found[id(file.inode)] = file.inode
    gone = [inode for key, inode in found.items() if names[key] == len(inode.entries)]
    size_bytes = sum(view.size_of(sha1) for inode in gone for sha1 in inode.content())
    return len(gone), size_bytes


def files_below(entry: Entry) -> Iterator[Entry]:
    """The files in a directory and all below it, or the file itself."""
    pending = [entry]
    while pending:
        one = pending.pop()
        if one.children is None or not one.is_directory:
            yield one
        else:
            pending += one.children.values()


def _rewritten_hives(view: ImageView) -> Iterator[bytes]:
    """SHA-1 of the files of hives that stacked changes have edited."""
    for name in view.changed_hives():
        entry = view.find(hive_path(name))
        if entry is not None:
            yield entry.inode.sha1


def _packed(blob: Blob) -> int:
    """Bytes that a content takes in the file; those in a solid resource by their share."""
    if blob.solid is None:
        return blob.location.stored_bytes
    share = blob.solid.location.stored_bytes * blob.size_bytes
    return share // max(blob.solid.size_bytes, 1)
