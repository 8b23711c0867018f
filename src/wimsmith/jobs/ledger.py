"""Reading and writing the ledger of jobs, inside the transaction of the caller."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from wimsmith.db.base import now
from wimsmith.db.paging import Order, Page, PageQuery, page
from wimsmith.errors import InvalidState, NotFound, WimsmithError
from wimsmith.jobs.models import ENDED, TRANSITIONS, EventKind, JobEvent, JobRow, JobState, Level
from wimsmith.offline.progress import Event

MAX_TEXT_CHARACTERS = 8_000


def create(
    session: Session, *, kind: str, subject: str, lane: str, params: Mapping[str, Any], actor: str
) -> JobRow:
    """A new job in state queued.

    Args:
        session: The transaction in which what the job is about is recorded too.
        kind: Name of a registered kind.
        subject: What users read: for example the package id of an image.
        lane: Jobs of one lane run one after the other; empty for a lane of its own.
        params: JSON only.
        actor: Who asked for it.
    """
    row = JobRow(kind=kind, subject=subject, lane=lane, params=dict(params), actor=actor)
    session.add(row)
    session.flush()
    row.lane = lane or row.id
    append(session, row.id, EventKind.STATE, text=JobState.QUEUED)
    return row


def get(session: Session, job_id: str) -> JobRow:
    """Raises NotFound."""
    row = session.get(JobRow, job_id)
    if row is None:
        raise NotFound(f"job {job_id}")
    return row


def find(
    session: Session, query: PageQuery, *, state: str = "", kind: str = "", subject: str = ""
) -> Page[JobRow]:
    """Jobs, newest first."""
    statement = select(JobRow)
    for column, wanted in ((JobRow.state, state), (JobRow.kind, kind), (JobRow.subject, subject)):
        if wanted:
            statement = statement.where(column == wanted)
    order = Order({"created_at": JobRow.created_at}, JobRow.id, "-created_at")
    return page(session, statement, order, query)


def active(session: Session, lane: str) -> JobRow | None:
    """A job of this lane that has not ended, if there is one."""
    statement = select(JobRow).where(JobRow.lane == lane, JobRow.state.not_in(ENDED))
    return session.scalars(statement.order_by(JobRow.created_at).limit(1)).first()


def unfinished(session: Session) -> Sequence[JobRow]:
    """Every job that is queued or running, oldest first."""
    statement = select(JobRow).where(JobRow.state.not_in(ENDED)).order_by(JobRow.created_at)
    return session.scalars(statement).all()


def events_after(session: Session, job_id: str, seq: int, limit: int = 500) -> Sequence[JobEvent]:
    """Events of a job with a number above `seq`, in order."""
    statement = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > seq)
    return session.scalars(statement.order_by(JobEvent.seq).limit(limit)).all()


def append(
    session: Session,
    job_id: str,
    kind: EventKind,
    *,
    text: str = "",
    level: Level = Level.INFO,
    event: Event | None = None,
) -> None:
    """Add an event; numbering locks the row of the job, so numbers have no gaps or twins."""
    numbered = (
        update(JobRow)
        .where(JobRow.id == job_id)
        .values(last_seq=JobRow.last_seq + 1)
        .returning(JobRow.last_seq)
        .execution_options(synchronize_session=False)
    )
    seq = session.execute(numbered).scalar_one()
    about = event or Event("")
    session.add(
        JobEvent(
            job_id=job_id,
            seq=seq,
            kind=kind,
            level=level,
            text=text[:MAX_TEXT_CHARACTERS],
            phase=about.phase[:80],
            done=about.done,
            total=about.total,
            unit=about.unit if event else "",
        )
    )
    session.flush()


def record_progress(session: Session, job_id: str, event: Event) -> None:
    """Show how far a running job is."""
    values = {
        "phase": event.phase[:80],
        "done": event.done,
        "total": event.total,
        "unit": event.unit,
    }
    session.execute(update(JobRow).where(JobRow.id == job_id).values(**values))
    append(session, job_id, EventKind.PROGRESS, event=event)


def begin(session: Session, job_id: str) -> JobRow | None:
    """Queued becomes running, running is resumed; None if the job has ended or is unknown."""
    row = _locked(session, job_id)
    if row is None or row.state in ENDED:
        return None
    if row.state is JobState.QUEUED:
        row.started_at = now()
        move(session, row, JobState.RUNNING)
    else:
        append(session, job_id, EventKind.MESSAGE, text="Resumed after an interruption")
    return row


def succeed(session: Session, job_id: str, result: Mapping[str, Any] | None) -> None:
    """Close a running job with its result."""
    row = _locked(session, job_id)
    if row is not None and row.state not in ENDED:
        row.result = dict(result) if result is not None else None
        _end(session, row, JobState.SUCCEEDED)


def fail(session: Session, job_id: str, error: WimsmithError, state: JobState) -> bool:
    """Close a job that failed or was cancelled; False if it had ended before."""
    row = _locked(session, job_id)
    if row is None or row.state in ENDED:
        return False
    row.error_code, row.error_hint = error.code, error.hint or ""
    row.error_text = str(error)[:MAX_TEXT_CHARACTERS]
    _end(session, row, state)
    return True


def request_cancel(session: Session, job_id: str, actor: str) -> JobRow:
    """Note that somebody wants a job to stop; asking again changes nothing.

    Raises:
        NotFound: there is no such job.
        InvalidState: it has ended, or is past the point where it can be stopped.
    """
    row = _locked(session, job_id)
    if row is None:
        raise NotFound(f"job {job_id}")
    if row.state in ENDED:
        raise InvalidState(f"job {job_id} is {row.state}")
    if not row.cancellable:
        raise InvalidState(f"job {job_id} is in step {row.step}, which is not interrupted")
    if row.cancel_requested_at is None:
        row.cancel_requested_at, row.cancel_actor = now(), actor
        append(session, job_id, EventKind.MESSAGE, text=f"Cancel requested by {actor}")
    return row


def enter_step(
    session: Session, job_id: str, step: str, *, cancellable: bool, obeyed: bool
) -> str | None:
    """Note the step a job is in; returns who wants the job to stop, if anybody does.

    Reading the wish and closing the door happen in one transaction: a wish is either obeyed or
    refused, never lost. `obeyed` means that it has been, and the job is cleaning up.
    """
    row = _locked(session, job_id)
    assert row is not None
    if row.cancel_requested_at is not None and row.cancellable and not obeyed:
        return row.cancel_actor
    row.step, row.cancellable = step, cancellable
    return None


def move(session: Session, row: JobRow, state: JobState) -> None:
    """Change the state of a job.

    Raises:
        InvalidState: the table of transitions does not allow it.
    """
    if state not in TRANSITIONS[row.state]:
        raise InvalidState(f"job {row.id} cannot go from {row.state} to {state}")
    row.state = state
    append(session, row.id, EventKind.STATE, text=state)


def _end(session: Session, row: JobRow, state: JobState) -> None:
    row.ended_at, row.cancellable = now(), False
    move(session, row, state)


def _locked(session: Session, job_id: str) -> JobRow | None:
    statement = select(JobRow).where(JobRow.id == job_id).with_for_update()
    return session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
