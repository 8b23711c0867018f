"""Carrying out a list of edits on one image of a WIM file: one new file, or nothing."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from wimsmith.offline import filetime
from wimsmith.offline.commit import CommitReport, commit_views
from wimsmith.offline.edits.kinds import Edit, InstalledEdit
from wimsmith.offline.edits.planning import EditPlan, EditResult, plan_edits
from wimsmith.offline.image import ImageView
from wimsmith.offline.inplace import hold_for_replacing
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.format.codec import Codec
from wimsmith.offline.wim.format.container import open_wim


@dataclass(frozen=True, slots=True)
class EditReport:
    """A file that was written and read back. `changes` counts single changes.

    `written` is False where nothing changes and so the file was left alone; it has no `sha256`
    then.
    """

    path: Path
    index: int
    changes: int
    new_content_count: int
    new_content_bytes: int
    size_bytes: int
    sha256: str | None
    in_place: bool
    written: bool
    edits: tuple[EditResult, ...]
    duration_s: float


def preview_edits(
    source: Path,
    index: int,
    edits: Sequence[Edit],
    *,
    codec: Codec,
    modified: int | None = None,
    progress: Progress = silent,
) -> EditPlan:
    """What `edit_image` would change; nothing is written, and a refusal is in the plan.

    Raises:
        NoSuchIndex, DamagedWim, Cancelled: as `edit_image`.
    """
    with _spool(edits) as spool, open_wim(source, codec) as wim:
        view = ImageView(wim, index)
        plan = plan_edits(view, edits, spool, _moment(modified), progress)
        return EditPlan(None, plan.results, plan.error)  # its content goes with the spool


def edit_image(
    source: Path,
    index: int,
    edits: Sequence[Edit],
    target: Path | None,
    *,
    codec: Codec,
    modified: int | None = None,
    numbered: bool = True,
    progress: Progress = silent,
) -> EditReport:
    """Carry out edits, in order, on one image, and write the WIM with them.

    Args:
        source: the WIM; it is only read, unless there is no `target`.
        index: number of the image, from 1. Other images are copied as they are.
        edits: each sees what those before it did.
        target: new file, which must not exist. None: the source is replaced, by a file that was
            written beside it and read back, with its owner and permissions; it is left alone if
            no edit changes anything.
        codec: unpacks what is read and packs what is new.
        modified: FILETIME for the image; by default now.
        numbered: whether the words of a refusal begin with number and text of the edit.
        progress: told of the phases; may raise `Cancelled`, which leaves all as it was.

    Raises:
        NotFound: an edit needs something that is not there.
        AlreadyExists: a name or the target is taken.
        PathConflict: a file or a link stands where a folder would have to be, or the reverse.
        UnsafePath: a name that Windows does not accept.
        NotSupported: a source that an image cannot hold, a hive or a package that is not changed
            offline, a WIM that cannot be written.
        InvalidInput: of the root, a folder into itself, a folder that is not empty; an answer
            file that is none.
        DamagedRegFile, DamagedHive: a `.reg` file, or a hive of the image, that cannot be read.
        InvalidState: somebody else owns the source that is to be replaced, or changes it.
    """
    started = time.monotonic()
    now = _moment(modified)
    with _spool(edits) as spool, open_wim(source, codec) as wim:
        if target is None:
            hold_for_replacing(wim)
        view = ImageView(wim, index)
        plan = plan_edits(view, edits, spool, now, progress)
        if plan.error is not None:
            raise (plan.named_error() if numbered else None) or plan.error
        report = None
        if plan.changes or target is not None:
            report = commit_views(
                wim,
                {index: view} if plan.changes else {},
                target or source.resolve(),
                codec=codec,
                modified=now,
                in_place=target is None,
                progress=progress,
            )
    return _report(report, plan, target or source, index, started, in_place=target is None)


@contextmanager
def _spool(edits: Sequence[Edit]) -> Iterator[Path]:
    """A folder for content that edits make; only those of packages make any."""
    if any(isinstance(edit, InstalledEdit) for edit in edits):
        with TemporaryDirectory(prefix="wimsmith-edit-") as folder:
            yield Path(folder)
    else:
        yield Path(os.devnull)


def _moment(modified: int | None) -> int:
    return filetime.from_datetime(datetime.now(UTC)) if modified is None else modified


def _report(
    report: CommitReport | None,
    plan: EditPlan,
    path: Path,
    index: int,
    started: float,
    *,
    in_place: bool,
) -> EditReport:
    return EditReport(
        path=path,
        index=index,
        changes=sum(result.change_count for result in plan.results),
        new_content_count=report.new_content_count if report else 0,
        new_content_bytes=report.new_content_bytes if report else 0,
        size_bytes=report.size_bytes if report else path.stat().st_size,
        sha256=report.sha256 if report else None,
        in_place=in_place,
        written=report is not None,
        edits=plan.results,
        duration_s=time.monotonic() - started,
    )
