"""What a schedule asks for besides updates: packages to remove, features to switch, edits."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session as Rows

from wimsmith.errors import InvalidInput
from wimsmith.images import service as images
from wimsmith.offline.backends.interface import Session, StepOutcome
from wimsmith.offline.backends.sentences import Kind
from wimsmith.offline.edits.data import from_data
from wimsmith.offline.edits.forms import title
from wimsmith.servicing.models import ActionResult, ServicingSchedule
from wimsmith.servicing.schemas import ScheduleRequest

MAX_SUBJECT = 400
_ELLIPSIS = " ..."


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do on every index: `subject` names it for people, `data` says the rest."""

    kind: Kind
    subject: str
    data: dict[str, Any] | None = None


def actions_of(session: Rows, wanted: ScheduleRequest) -> list[Action]:
    """What a request asks for besides updates, checked, in the order in which it is done.

    Raises:
        InvalidInput: a feature is to be switched on and off; an edit that is none.
        NotSupported, UnsafePath, LimitExceeded, PathNotMapped: of edits.
    """
    on, off = wanted.enable_features, wanted.disable_features
    both = {name.lower() for name in on} & {name.lower() for name in off}
    if both:
        raise InvalidInput(f"the feature {min(both)} cannot be switched on and off")
    groups = ((Kind.REMOVE, wanted.remove), (Kind.FEATURE_ON, on), (Kind.FEATURE_OFF, off))
    named = [Action(kind, one) for kind, names in groups for one in dict.fromkeys(names)]
    return [*named, *_edits(session, wanted)]


def results_of(run_id: int, index: int, schedule: ServicingSchedule) -> Iterator[ActionResult]:
    """The rows for what will become of the actions of a schedule on an index."""
    for one in schedule.actions:
        yield ActionResult(
            run_id=run_id,
            index_number=index,
            place=one.place,
            kind=one.kind,
            subject=one.subject,
            data=one.data,
        )


def carry_out(action: Action, opened: Session, index: int, out: Path) -> StepOutcome:
    """Do one action in a session of a run."""
    match action.kind:
        case Kind.REMOVE:
            return opened.remove(index, action.subject, out)
        case Kind.EDIT:
            assert action.data is not None
            edit = from_data(action.data["edit"], Path(action.data["sources"]))
            return opened.edit(index, [edit], out)
        case _:
            wanted = {action.subject: action.kind is Kind.FEATURE_ON}
            return opened.set_features(index, wanted, out)


def _edits(session: Rows, wanted: ScheduleRequest) -> Iterator[Action]:
    """Edits may read files of one folder of this server, and no others."""
    if not wanted.edits:
        return
    if not wanted.edit_sources:
        raise InvalidInput("edits without edit_sources", hint="Name the folder of their files.")
    sources = images.local_path(session, wanted.edit_sources)
    for row in wanted.edits:
        text = title(from_data(row, sources))
        if len(text) > MAX_SUBJECT:
            text = text[: MAX_SUBJECT - len(_ELLIPSIS)] + _ELLIPSIS
        yield Action(Kind.EDIT, text, {"edit": row, "sources": str(sources)})
