"""The one place where changes become a file: base WIM and change sets in, a new WIM out."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from wimsmith.errors import DamagedInput, VerificationFailed
from wimsmith.offline.changes import ChangeSet
from wimsmith.offline.facts import image_facts
from wimsmith.offline.image import HIVE_PATHS, ImageView, open_view
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.registry.hive import Hive
from wimsmith.offline.wim.codec import Codec
from wimsmith.offline.wim.container import Wim, open_wim
from wimsmith.offline.wim.document import ImageEdit
from wimsmith.offline.wim.tree import Entry, Tree
from wimsmith.offline.wim.write import write_wim


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
    planned = _plans(base, changes, modified)
    report = write_wim(
        target,
        base=base,
        trees={number: plan.tree for number, plan in planned.items()},
        new_content={sha1: new for plan in planned.values() for sha1, new in plan.content.items()},
        images={number: plan.edit for number, plan in planned.items()},
        codec=codec,
        guid=_guid(base, planned, modified),
        progress=progress,
    )
    try:
        _prove(target, base, planned, codec)
    except BaseException:
        target.unlink()
        raise
    return CommitReport(
        path=target,
        sha256=report.sha256,
        size_bytes=report.size_bytes,
        indexes=tuple(planned),
        new_content_count=report.new_blobs,
        new_content_bytes=report.new_bytes,
    )


def _plans(
    base: Wim, changes: Mapping[int, Sequence[ChangeSet]], modified: int
) -> dict[int, _Planned]:
    return {
        number: _plan(open_view(base, number, sets), modified)
        for number, sets in sorted(changes.items())
        if any(sets)
    }


def _plan(view: ImageView, modified: int) -> _Planned:
    content: dict[bytes, Path | bytes] = {
        bytes.fromhex(sha1): new.path for sha1, new in view.pending_content.items()
    }
    for name, hive in view.changed_hives().items():
        data = hive.serialize(modified)
        Hive.parse(data).check()
        sha1 = hashlib.sha1(data, usedforsecurity=False).digest()
        content[sha1] = data
        view.tree.replace_content(HIVE_PATHS[name], sha1)
    _refuse_missing(view, content)
    return _Planned(view.tree, content, _image_edit(view, modified))


def _refuse_missing(view: ImageView, content: Mapping[bytes, Path | bytes]) -> None:
    known = view.wim.blobs
    missing = [sha1 for sha1 in view.tree.references() if sha1 not in known and sha1 not in content]
    if missing:
        raise DamagedInput(f"content {missing[0].hex()} is in neither the WIM nor the changes")


def _image_edit(view: ImageView, modified: int) -> ImageEdit:
    values = {}
    info = view.wim.image(view.index_number).windows
    facts = image_facts(view)
    if info is not None and facts is not None and info.service_pack_build is not None:
        values["WINDOWS/VERSION/SPBUILD"] = str(facts.revision or info.service_pack_build)
    return ImageEdit(modified=modified, values=values)


def _prove(path: Path, base: Wim, planned: Mapping[int, _Planned], codec: Codec) -> None:
    """Read the written file as a stranger would, and compare it with what was wanted."""
    with open_wim(path, codec) as written:
        if len(written.images) != len(base.images):
            raise VerificationFailed(f"{len(written.images)} images, not {len(base.images)}")
        for number in range(1, len(base.images) + 1):
            tree = written.tree(number)
            if number in planned:
                _compare(planned[number].tree, tree, number)
            elif base.metadata(number) != written.metadata(number):
                raise VerificationFailed(f"index {number} was not to change")
            _refuse_unstored(written, tree, number)


def _refuse_unstored(written: Wim, tree: Tree, number: int) -> None:
    missing = tree.references().keys() - written.blobs.keys()
    if missing:
        raise VerificationFailed(
            f"index {number} names content {min(missing).hex()}, not in the file"
        )


def _compare(planned: Tree, written: Tree, number: int) -> None:
    for one, other in zip_longest(planned.walk(), written.walk()):
        if one is None or other is None:
            raise VerificationFailed(f"index {number} has not the planned number of entries")
        if _meaning(one) != _meaning(other):
            raise VerificationFailed(f"index {number}: {one.name or 'the root'} differs")


def _meaning(entry: Entry) -> tuple[object, ...]:
    inode = entry.inode
    return (
        entry.name,
        entry.short_name,
        entry.parent.name if entry.parent else None,
        inode.attributes,
        inode.security,
        inode.times,
        sorted((stream.name, stream.sha1) for stream in inode.streams),
        inode.reparse,
        inode.tagged,
        len(inode.entries),
    )


def _guid(base: Wim, planned: Mapping[int, _Planned], modified: int) -> bytes:
    """Identifier of the new file: another than that of the base, the same for the same input."""
    digest = hashlib.sha256(base.header.guid + modified.to_bytes(8, "little"))
    for number, plan in planned.items():
        digest.update(number.to_bytes(4, "little"))
        for sha1, count in sorted(plan.tree.references().items()):
            digest.update(sha1 + count.to_bytes(4, "little"))
    return digest.digest()[:16]
