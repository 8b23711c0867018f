"""One list of edits of one index becomes one change set, with what became of each edit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wimsmith.errors import (
    Cancelled,
    Interrupted,
    LimitExceeded,
    NotSupported,
    Untrusted,
    WimsmithError,
)
from wimsmith.offline.changes import ChangeSet, stack
from wimsmith.offline.edits.answerfile import answer_file_changes
from wimsmith.offline.edits.effects import Change, carry_out
from wimsmith.offline.edits.files import file_changes
from wimsmith.offline.edits.forms import title
from wimsmith.offline.edits.installed import installed_changes
from wimsmith.offline.edits.keys import registry_changes
from wimsmith.offline.edits.kinds import (
    Edit,
    FileEdit,
    InstalledEdit,
    PlaceAnswerFile,
    RegistryChange,
)
from wimsmith.offline.edits.protected import warnings_of
from wimsmith.offline.image import ImageView
from wimsmith.offline.progress import Event, Progress, silent

MAX_EDITS = 10_000
MAX_TOLD = 10_000
"""Single changes that a result names; the number of all is always told."""
_TOLD_EVERY = 1000


@dataclass(frozen=True, slots=True)
class EditResult:
    """What became of one edit.

    Attributes:
        number: from 1, in the order of the list.
        text: the edit for people, without data of values.
        changed: whether it changes the image.
        refusal: why it cannot be; None for one that can.
        change_count: single changes of files, keys and values.
        changes: the first `MAX_TOLD` of them.
        warnings: sentences about consequences that are easily overlooked.
    """

    number: int
    text: str
    changed: bool
    refusal: str | None = None
    change_count: int = 0
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EditPlan:
    """What a list of edits does to an image.

    Attributes:
        changes: all of them as one set; None if an edit was refused: nothing is to be done then.
        results: of each edit, up to the one that was refused.
        error: the refusal; the last of the results says of which edit.
    """

    changes: ChangeSet | None
    results: tuple[EditResult, ...]
    error: WimsmithError | None = None

    def named_error(self) -> WimsmithError | None:
        """The refusal, with number and text of its edit in its words."""
        if self.error is None or not self.results:
            return self.error
        refused = self.results[-1]
        return named(self.error, f"edit {refused.number} ({refused.text})")


def plan_edits(
    view: ImageView, edits: Sequence[Edit], spool: Path, now: int, progress: Progress = silent
) -> EditPlan:
    """Find out what edits, in their order, change in the image that `view` shows.

    Args:
        view: has all changes stacked afterwards, and is then good for one commit; after a refusal
            it is good for nothing.
        edits: at most 10,000.
        spool: folder for content that edits of packages make; it must stay until the changes are
            saved or committed, and so must the sources of the edits.
        now: FILETIME that package keys, and what has no time of its own, carry.
        progress: told of the phases; may raise `Cancelled`, which changes nothing.

    Raises:
        Cancelled, Interrupted: `progress` asked for it.
        OSError: a source cannot be read.
    """
    if len(edits) > MAX_EDITS:
        return EditPlan(None, (), LimitExceeded(f"{len(edits)} edits, {MAX_EDITS} are possible"))
    sets: list[ChangeSet] = []
    results: list[EditResult] = []
    for number, edit in enumerate(edits, start=1):
        progress(Event("plan", number - 1, len(edits)))
        try:
            wanted, remarks = _changes(edit, view, spool / str(number), now, progress)
            by_hand = () if isinstance(edit, InstalledEdit) else warnings_of(view.tree, wanted)
            kept, told = _stacked(view, wanted, progress)
        except (Cancelled, Interrupted):
            raise
        except WimsmithError as refusal:
            refused = EditResult(number, title(edit), changed=False, refusal=str(refusal))
            return EditPlan(None, (*results, refused), refusal)
        sets.append(kept)
        count = len(kept.tree) + len(kept.registry)
        result = EditResult(
            number, title(edit), count > 0, None, count, tuple(told), remarks + by_hand
        )
        results.append(result)
    return EditPlan(stack(*sets), tuple(results))


def _changes(
    edit: Edit, view: ImageView, spool: Path, now: int, progress: Progress
) -> tuple[ChangeSet, tuple[str, ...]]:
    """What one edit asks for, and remarks on it."""
    if isinstance(edit, FileEdit):
        return file_changes(edit, view.tree, progress), ()
    if isinstance(edit, RegistryChange):
        return registry_changes(edit, view), ()
    if isinstance(edit, PlaceAnswerFile):
        return answer_file_changes(edit, view)
    return installed_changes(edit, view, spool, now, progress), ()


def _stacked(
    view: ImageView, wanted: ChangeSet, progress: Progress
) -> tuple[ChangeSet, list[Change]]:
    """Stack what really changes something; that, and the first of it for people."""
    told: list[Change] = []
    kept_files, kept_keys = [], []
    for place, file_edit in enumerate(wanted.tree):
        if place % _TOLD_EVERY == 0:
            progress(Event("change files", place, len(wanted.tree)))
        if change := carry_out(view, file_edit, wanted):
            kept_files.append(file_edit)
            told += [change] if len(told) < MAX_TOLD else []
    for place, key_edit in enumerate(wanted.registry):
        if place % _TOLD_EVERY == 0:
            progress(Event("change registry", place, len(wanted.registry)))
        if change := carry_out(view, key_edit, wanted):
            kept_keys.append(key_edit)
            told += [change] if len(told) < MAX_TOLD else []
    kept = ChangeSet(tuple(kept_files), tuple(kept_keys))
    content = {one: wanted.content[one] for one in kept.missing_content() & wanted.content.keys()}
    kept = replace(kept, content=content)
    return kept, told


def named(error: WimsmithError, about: str) -> WimsmithError:
    """The same error, whose words begin with what it is about."""
    if error.args:
        place = 1 if isinstance(error, NotSupported | Untrusted) else 0
        said = [*error.args]
        said[place] = f"{about}: {said[place]}"
        error.args = tuple(said)
    return error
