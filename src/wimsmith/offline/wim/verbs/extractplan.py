"""What an extraction makes: folders, files, links and times, decided before anything is written."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from wimsmith.errors import NotFound, UnsafePath
from wimsmith.offline import paths
from wimsmith.offline.wim.format.container import Wim
from wimsmith.offline.wim.format.linktargets import LINK_TAGS, target_in
from wimsmith.offline.wim.format.reparse import MAX_REPARSE_BYTES, kind_of
from wimsmith.offline.wim.format.tree import EMPTY_SHA1, ZERO_SHA1, Attribute, Entry, Inode, Tree
from wimsmith.offline.wim.format.wildcards import matching

MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 3900
"""Of a path below the target; the kernel accepts 4095 at once."""

_FOLDERS_PER_BEAT = 100
_EPOCH = 116_444_736_000_000_000
_SHOWN_ATTRIBUTES = Attribute.READONLY | Attribute.HIDDEN | Attribute.SYSTEM


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An entry that was not extracted, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class NotKept:
    """What has no place in a folder of this system, by count of files and folders that have it."""

    security_descriptors: int = 0
    short_names: int = 0
    attributes: int = 0
    named_streams: int = 0
    reparse_points: int = 0
    tagged_items: int = 0


@dataclass(frozen=True, slots=True)
class Made:
    """A folder or file to be made: its path below the target, times in ns since 1970."""

    path: str
    accessed_ns: int
    written_ns: int


@dataclass(frozen=True, slots=True)
class SymbolicLink:
    """A link to be made: where, and its text."""

    made: Made
    target: str


@dataclass(slots=True)
class ExtractPlan:
    """All that an extraction makes. Files are named by their content, each inode once."""

    root: Made
    folders: list[Made] = field(default_factory=list)
    files: dict[bytes, list[Made]] = field(default_factory=dict)
    empty_files: list[Made] = field(default_factory=list)
    hard_links: list[tuple[str, str]] = field(default_factory=list)
    symbolic_links: list[SymbolicLink] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    not_kept: NotKept = field(default_factory=NotKept)

    @property
    def file_count(self) -> int:
        """Names of files and links."""
        inodes = len(self.empty_files) + sum(map(len, self.files.values()))
        return inodes + len(self.hard_links) + len(self.symbolic_links)


def plan_extraction(
    wim: Wim, tree: Tree, patterns: Sequence[str], beat: Callable[[], None] | None = None
) -> ExtractPlan:
    """Decide what to make of a tree, or of what `patterns` name in it.

    `beat` is called now and then, and may raise to cancel.

    Raises:
        UnsafePath: a name that could lead elsewhere or would be lost.
        NotFound: a pattern that matches nothing, or content that no file holds.
    """
    return _Planner(wim, tree, beat).plan(patterns)


def check_names(entry: Entry) -> None:
    """Return if the name of an entry stands for itself.

    Raises:
        UnsafePath: it is `..`, has a separator in it, or the like.
    """
    if entry.parent is not None and not entry.is_safe:
        raise UnsafePath(repr(entry.name)[:200])


class _Planner:
    def __init__(self, wim: Wim, tree: Tree, beat: Callable[[], None] | None) -> None:
        self._beat = beat
        self._wim = wim
        self._tree = tree
        self._plan = ExtractPlan(_made(tree.root.inode, "."))
        self._first: dict[Inode, str] = {}
        self._links: list[tuple[Entry, Made]] = []

    def plan(self, patterns: Sequence[str]) -> ExtractPlan:
        chosen = _Chosen(self._tree, patterns)
        pending: list[tuple[Entry, str]] = [(self._tree.root, "")]
        while pending:
            folder, above = pending.pop()
            if self._beat is not None and len(self._plan.folders) % _FOLDERS_PER_BEAT == 0:
                self._beat()
            for entry in chosen.children(folder):
                check_names(entry)
                path = f"{above}/{entry.name}" if above else entry.name
                if self._is_too_long(entry.name, path):
                    self._leave_out(path, "the name or path is too long for this system")
                elif self._take(entry, path, is_whole=chosen.is_whole(entry)):
                    pending.append((entry, path))
        self._plan.symbolic_links = list(self._symbolic_links())
        self._check_content()
        return self._plan

    def _take(self, entry: Entry, path: str, *, is_whole: bool) -> bool:
        """Plan one entry; whether there may be something below it."""
        inode = entry.inode
        made = _made(inode, path)
        if inode.reparse is not None and inode.reparse.is_link:
            self._links.append((entry, made))
            self._count(entry)
            return False
        if inode.is_directory:
            self._plan.folders.append(made)
            if is_whole:
                self._count(entry)
            return True
        self._take_file(entry, made)
        return False

    def _take_file(self, entry: Entry, made: Made) -> None:
        inode = entry.inode
        if inode.attributes & Attribute.ENCRYPTED:
            self._leave_out(made.path, "it is encrypted")
            return
        if inode.reparse is not None and inode.sha1 == ZERO_SHA1:
            self._leave_out(made.path, f"it has no content but a reparse point: {_kind(inode)}")
            return
        first = self._first.setdefault(inode, made.path)
        if first != made.path:
            self._plan.hard_links.append((first, made.path))
            self._plan.not_kept.short_names += bool(entry.short_name)
            return
        self._count(entry)
        if inode.sha1 in {ZERO_SHA1, EMPTY_SHA1}:
            self._plan.empty_files.append(made)
        else:
            self._plan.files.setdefault(inode.sha1, []).append(made)

    def _symbolic_links(self) -> Iterator[SymbolicLink]:
        data = self._reparse_data(entry.inode for entry, _ in self._links)
        for entry, made in self._links:
            reparse = entry.inode.reparse
            assert reparse is not None
            if reparse.tag not in LINK_TAGS:
                self._leave_out(
                    made.path, f"a reparse point of another system: {_kind(entry.inode)}"
                )
                continue
            target = target_in(self._tree, entry, reparse.tag, data.get(reparse.sha1, b""))
            if target is None:
                self._leave_out(made.path, "the link leads to another volume, or nowhere")
                continue
            yield SymbolicLink(made, target)

    def _reparse_data(self, inodes: Iterable[Inode]) -> Mapping[bytes, bytes]:
        wanted = {inode.reparse.sha1 for inode in inodes if inode.reparse is not None}
        small = [
            sha1
            for sha1 in wanted
            if sha1 in self._wim.blobs and self._wim.size_of(sha1) <= MAX_REPARSE_BYTES
        ]
        return dict(self._wim.read_blobs(small))

    def _count(self, entry: Entry) -> None:
        """Count what of an entry is not kept."""
        inode, not_kept = entry.inode, self._plan.not_kept
        not_kept.short_names += bool(entry.short_name)
        not_kept.security_descriptors += inode.security is not None
        not_kept.attributes += bool(inode.attributes & _SHOWN_ATTRIBUTES)
        not_kept.named_streams += len(inode.named_streams)
        not_kept.reparse_points += inode.reparse is not None and not inode.reparse.is_link
        not_kept.tagged_items += bool(inode.tagged)

    def _check_content(self) -> None:
        for sha1 in self._plan.files:
            self._wim.size_of(sha1)  # raises where no file holds it

    def _leave_out(self, path: str, reason: str) -> None:
        self._plan.left_out.append(LeftOut(path, reason))

    def _is_too_long(self, name: str, path: str) -> bool:
        return (
            len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES
            or len(path.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES
        )


class _Chosen:
    """The entries of a tree that patterns name, with all below them and the folders above them."""

    def __init__(self, tree: Tree, patterns: Sequence[str]) -> None:
        self._whole: set[Entry] = set()
        self._above: set[Entry] = set()
        if not patterns:
            self._whole.add(tree.root)
        for pattern in patterns:
            found = list(matching(tree, pattern))
            if not found:
                raise NotFound(
                    f"{paths.join(pattern)} in the image",
                    hint="`wimsmith wim ls` shows what is there; `*` stands within one name.",
                )
            self._whole.update(found)
        for entry in self._whole:
            at = entry.parent
            while at is not None and at not in self._above:
                self._above.add(at)
                at = at.parent

    def children(self, folder: Entry) -> Iterator[Entry]:
        """What of a folder is extracted."""
        below = (folder.children or {}).values()
        if folder in self._whole:
            self._whole.update(below)
            return iter(below)
        return (one for one in below if one in self._whole or one in self._above)

    def is_whole(self, entry: Entry) -> bool:
        """Whether an entry was named, or stands below one that was."""
        return entry in self._whole


def _made(inode: Inode, path: str) -> Made:
    return Made(path, _nanoseconds(inode.accessed), _nanoseconds(inode.written))


def _nanoseconds(moment: int) -> int:
    return (moment - _EPOCH) * 100


def _kind(inode: Inode) -> str:
    assert inode.reparse is not None
    return kind_of(inode.reparse.tag)
