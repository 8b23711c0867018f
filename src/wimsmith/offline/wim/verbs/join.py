"""Joining the parts of a split set into one ordinary file."""

from collections.abc import Sequence
from pathlib import Path

from wimsmith.errors import InvalidInput
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.verbs.export import ExportReport, Selection, export_images
from wimsmith.offline.wim.writing.making import Announce, untold


def join_parts(
    parts: Sequence[Path],
    target: Path,
    *,
    progress: Progress = silent,
    tell: Announce = untold,
    check: bool = True,
    overwrite: bool = False,
) -> ExportReport:
    """Make one file of all parts of a set, with all images.

    Args:
        parts: the parts in any order, or any one of them if the others are beside it.
        target: file to make.
        progress: called often; may raise to cancel.
        tell: gets what will be done, before anything is written; may raise to cancel.
        check: read all of the result again and compare every hash before it gets its name.
        overwrite: replace an existing target.

    Raises:
        NotFound: a part is missing.
        What `export_images` raises. Nothing is left behind then.
    """
    if not parts:
        raise InvalidInput("no part was named")
    return export_images(
        parts[0],
        None,
        target,
        selection=Selection(references=tuple(parts[1:])),
        progress=progress,
        tell=tell,
        check=check,
        overwrite=overwrite,
    )
