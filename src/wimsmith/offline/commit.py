"""The one place where changes become a file: base WIM and change sets in, a new WIM out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import DamagedHive, VerificationFailed
from wimsmith.offline import hiveproof
from wimsmith.offline.changes import ChangeSet
from wimsmith.offline.image import HIVE_PATHS, ImageView, hive_path, open_view
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.registry.hive import Hive, Key
from wimsmith.offline.registry.values import ValueType
from wimsmith.offline.wim.format.codec import Codec
from wimsmith.offline.wim.format.container import Wim
from wimsmith.offline.wim.format.contents import sha1_of
from wimsmith.offline.wim.format.document import ImageEdit
from wimsmith.offline.wim.format.tree import Tree
from wimsmith.offline.wim.writing.write import write_wim

_TOLD_KEYS = 4096
_CURRENT_VERSION = r"Microsoft\Windows NT\CurrentVersion"


@dataclass(frozen=True, slots=True)
class CommitReport:
    """A file that was written and read back: `indexes` are the numbers of the changed ones."""

    path: Path
    sha256: str
    size_bytes: int
    indexes: tuple[int, ...]
    new_content_count: int
    new_content_bytes: int


@dataclass(frozen=True, slots=True)
class _Planned:
    tree: Tree
    content: Mapping[bytes, Path | bytes]
    edit: ImageEdit


def commit(
    base: Wim,
    changes: Mapping[int, Sequence[ChangeSet]],
    target: Path,
    *,
    codec: Codec,
    modified: int,
    progress: Progress = silent,
) -> CommitReport:
    """Write `base` with change sets applied as the new file `target`, and prove it.

    Args:
        base: the open WIM; it is only read.
        changes: change sets by index number (1-based), in the order in which they apply.
        target: does not exist before; appears whole, after it has been read back.
        codec: packs what is new.
        modified: FILETIME written wherever something changed: same input, same bytes.
        progress: told about bytes written and read back; may raise `Cancelled`.

    Raises:
        VerificationFailed: what was written is not what was planned; no file is left.
        DamagedInput: a change set refers to content that nobody brings.
        OSError: the target cannot be written.
    """
    views = {
        number: open_view(base, number, sets)
        for number, sets in sorted(changes.items())
        if any(sets)
    }
    return commit_views(base, views, target, codec=codec, modified=modified, progress=progress)


def commit_views(
    base: Wim,
    views: Mapping[int, ImageView],
    target: Path,
    *,
    codec: Codec,
    modified: int,
    in_place: bool = False,
    prove: Callable[[Wim], None] | None = None,
    progress: Progress = silent,
) -> CommitReport:
    """As `commit`, for views of `base` that have their change sets stacked already.

    Their changed hives are written into their trees: a view is good for one commit. With
    `in_place` the target is the base, which is replaced in one step. `prove` is given the new file,
    open, before it gets its name; what it raises leaves no file.
    """
    planned = {number: _plan(view, modified, progress) for number, view in views.items()}

    def proved(written: Wim) -> None:
        _prove(written, base, planned)
        if prove is not None:
            prove(written)

    report = write_wim(
        target,
        base=base,
        trees={number: plan.tree for number, plan in planned.items()},
        new_content={sha1: new for plan in planned.values() for sha1, new in plan.content.items()},
        images={number: plan.edit for number, plan in planned.items()},
        codec=codec,
        in_place=in_place,
        guid_seed=_guid_seed(base, planned, modified),
        prove=proved,
        progress=progress,
    )
    return CommitReport(
        path=target,
        sha256=report.sha256,
        size_bytes=report.size_bytes,
        indexes=tuple(planned),
        new_content_count=report.new_blobs,
        new_content_bytes=report.new_bytes,
    )


def _plan(view: ImageView, modified: int, progress: Progress) -> _Planned:
    content: dict[bytes, Path | bytes] = {
        bytes.fromhex(sha1): new.path for sha1, new in view.pending_content.items()
    }
    for name, hive in view.changed_hives().items():
        data = hive.serialize(modified)
        _prove_hive(name, hive, data, progress)
        sha1 = sha1_of(data)
        content[sha1] = data
        view.tree.replace_content(hive_path(name), sha1)
    return _Planned(view.tree, content, _image_edit(view, modified))


def _prove_hive(name: str, hive: Hive, data: bytes, progress: Progress) -> None:
    """Check the written hive, and read it by other code: it must say all that the edited one says.

    Raises:
        VerificationFailed: it does not.
    """

    def told() -> Iterator[Key]:
        for count, key in enumerate(hive.walk()):
            if count % _TOLD_KEYS == 0:
                progress(Event(f"check hive {name}", count))
            yield key

    try:
        Hive.parse(data).check()
        hiveproof.compare(data, told())
    except (DamagedHive, VerificationFailed) as error:
        raise VerificationFailed(f"hive {name}: {error.args[0]}") from error


def _image_edit(view: ImageView, modified: int) -> ImageEdit:
    """The time of the change, and the revision if the hive that says it may have changed."""
    windows = view.wim.image(view.index_number).windows
    if windows is None or windows.service_pack_build is None or not _has_new_software(view):
        return ImageEdit(modified=modified)
    stored = view.hive("SOFTWARE").value(_CURRENT_VERSION, "UBR")
    revision = stored.dword() if stored and stored.type == ValueType.DWORD else 0
    build = revision or windows.service_pack_build
    return ImageEdit(modified=modified, values={"WINDOWS/VERSION/SPBUILD": str(build)})


def _has_new_software(view: ImageView) -> bool:
    entry = view.find(HIVE_PATHS["SOFTWARE"])
    is_new = entry is not None and entry.inode.sha1.hex() in view.pending_content
    return is_new or "SOFTWARE" in view.changed_hives()


def _prove(written: Wim, base: Wim, planned: Iterable[int]) -> None:
    """Compare the file, as it was read back, with what was wanted besides the changed images."""
    if len(written.images) != len(base.images):
        raise VerificationFailed(f"{len(written.images)} images, not {len(base.images)}")
    for number in set(range(1, len(base.images) + 1)).difference(planned):
        before, after = (wim.table.metadata[number - 1].sha1 for wim in (base, written))
        if before != after or sha1_of(written.metadata(number)) != before:
            raise VerificationFailed(f"index {number} was not to change")


def _guid_seed(base: Wim, planned: Iterable[int], modified: int) -> bytes:
    """Leads to another identifier than that of the base, the same for the same input."""
    numbers = b"".join(number.to_bytes(4, "little") for number in planned)
    return base.header.guid + modified.to_bytes(8, "little") + numbers
