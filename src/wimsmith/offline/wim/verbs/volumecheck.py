"""Comparing an NTFS volume with the image that was written to it, entry by entry.

The volume is read by another way than it was written: file by file, through `Volume`. What libwim
is known not to keep is counted apart from what should not be.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.wim.format import tagged
from wimsmith.offline.wim.format.tree import EMPTY_SHA1, ZERO_SHA1, Attribute, Entry, Inode, Tree
from wimsmith.offline.wim.workers._libntfs import Facts, Name, Volume

MAX_LISTED = 1000
"""So many differences are told; all are counted."""

Path = tuple[str, ...]

_SETTABLE = 0x1 | 0x2 | 0x4 | 0x10 | 0x20 | 0x100 | 0x400 | 0x1000 | 0x2000
_NOT_KEPT = {
    0x200: "sparse attribute",
    0x800: "compressed attribute",
    0x4000: "encrypted attribute",
}
_NORMAL = 0x80
_REPARSE_HEAD_BYTES = 8


@dataclass(slots=True)
class Comparison:
    """What a volume has that its image has not, and the other way round.

    `not_kept` counts, by kind, what an NTFS volume cannot get from here and was known before.
    """

    entries: int = 0
    differences: int = 0
    first: list[tuple[str, str]] = field(default_factory=list)
    not_kept: Counter[str] = field(default_factory=Counter)

    def differ(self, path: Path, what: str) -> None:
        """Count one difference."""
        self.differences += 1
        if len(self.first) < MAX_LISTED:
            self.first.append(("/".join(path), what))


class VolumeCheck:
    """Compares the tree of an image with a volume.

    Args:
        tree: what was written.
        size_of: size in bytes of a content by its SHA-1.
        reparse_of: reparse data by its SHA-1.
        with_content: read every stream and compare its SHA-1.
        progress: told of each file; may raise to cancel.
    """

    def __init__(
        self,
        tree: Tree,
        size_of: Callable[[bytes], int],
        reparse_of: Callable[[bytes], bytes],
        *,
        with_content: bool,
        progress: Progress,
    ) -> None:
        self._expected = dict(paths_of(tree))
        self._size_of = size_of
        self._reparse_of = reparse_of
        self._with_content = with_content
        self._progress = progress
        self._records: dict[int, Inode] = {}
        self._inodes: dict[Inode, int] = {}
        self.result = Comparison()

    def run(self, volume: Volume) -> Comparison:
        """Read the whole volume and compare."""
        total = len(self._expected)
        for path, name, facts in volume.walk():
            self.result.entries += 1
            self._progress(Event("Reading back", self.result.entries, total, "files"))
            entry = self._expected.pop(path, None)
            if entry is None:
                self.result.differ(path, "is on the volume only")
                continue
            for what in self._compare(entry, name, facts):
                self.result.differ(path, what)
            if self._is_first(entry.inode, name.record):
                self._look_inside(path, entry.inode, name.record, volume)
        for path in self._expected:
            self.result.differ(path, "is in the image only")
        return self.result

    def _compare(self, entry: Entry, name: Name, facts: Facts) -> Iterator[str]:
        inode = entry.inode
        if entry.parent is not None and entry.short_name != name.short_name:
            yield f"short name {name.short_name!r} instead of {entry.short_name!r}"
        if (inode.attributes ^ facts.attributes) & _SETTABLE:
            yield f"attributes {facts.attributes:#x} instead of {inode.attributes:#x}"
        if inode.security is not None and inode.security != facts.security:
            yield "security descriptor"
        if inode.times != facts.times:
            yield "times"
        if self._streams(inode) != self._found_streams(inode, facts):
            yield f"streams {facts.streams} instead of {self._streams(inode)}"
        yield from self._compare_special(inode, facts)
        if self._inodes.get(inode, name.record) != name.record:
            yield "is no hard link any more"
        if self._records.get(name.record, inode) is not inode:
            yield "is a hard link to another file"

    def _compare_special(self, inode: Inode, facts: Facts) -> Iterator[str]:
        expected = b"" if inode.reparse is None else self._reparse_of(inode.reparse.sha1)
        tag = 0 if inode.reparse is None else inode.reparse.tag
        found_tag = int.from_bytes(facts.reparse[:4], "little")
        if tag != found_tag or expected != facts.reparse[_REPARSE_HEAD_BYTES:]:
            yield "reparse data"
        items = dict(tagged.items(inode.tagged))
        if items.get(tagged.OBJECT_ID, b"")[: len(facts.object_id) or None] != facts.object_id:
            yield "object id"
        if tagged.extended_of(inode.tagged) != tagged.from_volume(facts.extended):
            yield "extended attributes"

    def _streams(self, inode: Inode) -> dict[str, int]:
        if inode.attributes & Attribute.ENCRYPTED:
            return {}
        return {stream.name: self._size_of(stream.sha1) for stream in inode.streams}

    def _found_streams(self, inode: Inode, facts: Facts) -> dict[str, int]:
        return {} if inode.attributes & Attribute.ENCRYPTED else facts.streams

    def _is_first(self, inode: Inode, record: int) -> bool:
        """Whether this file is met for the first time, not by a further name."""
        is_first = inode not in self._inodes
        self._inodes.setdefault(inode, record)
        self._records.setdefault(record, inode)
        return is_first

    def _look_inside(self, path: Path, inode: Inode, record: int, volume: Volume) -> None:
        """Count what is not kept, and compare content if that is wanted."""
        for bit, what in _NOT_KEPT.items():
            self.result.not_kept[what] += bool(inode.attributes & bit)
        if inode.attributes & ~_SETTABLE & ~_NORMAL & ~sum(_NOT_KEPT):
            self.result.not_kept["other attributes"] += 1
        if inode.attributes & Attribute.ENCRYPTED and not inode.is_directory:
            self.result.not_kept["encrypted content"] += 1
            return
        known = {tagged.OBJECT_ID, tagged.EXTENDED}
        self.result.not_kept["unknown items"] += any(
            tag not in known for tag, _ in tagged.items(inode.tagged)
        )
        for stream in inode.streams if self._with_content else ():
            wanted = EMPTY_SHA1 if stream.sha1 == ZERO_SHA1 else stream.sha1
            if volume.digest(record, stream.name) != wanted:
                self.result.differ(path, f"content of the stream {stream.name!r}")


def paths_of(tree: Tree) -> Iterator[tuple[Path, Entry]]:
    """Every entry with the names that lead to it, the root first."""
    pending: list[tuple[Path, Entry]] = [((), tree.root)]
    while pending:
        path, entry = pending.pop()
        yield path, entry
        pending.extend(((*path, child.name), child) for child in (entry.children or {}).values())
