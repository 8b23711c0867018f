"""Runs jobs: between the ledger that users see, the job functions, and the engine."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar, cast

from sqlalchemy.orm import Session

from wimsmith import logs
from wimsmith.db.engine import Database, after_commit
from wimsmith.errors import Cancelled, GaveUp, Interrupted, WimsmithError
from wimsmith.jobs import faults, ledger, outcome
from wimsmith.jobs.models import EventKind, JobRow, JobState, Level
from wimsmith.jobs.port import Engine, JobKind, RecordStep
from wimsmith.offline.progress import Event

log = logging.getLogger("wimsmith.jobs")

WRITE_INTERVAL_S = 0.5
CHECK_INTERVAL_S = 1.0

T = TypeVar("T")


class RunningJob:
    """The `Job` that job functions see."""

    def __init__(
        self,
        database: Database,
        row: JobRow,
        kind: JobKind,
        record: RecordStep,
        interrupt: threading.Event,
    ) -> None:
        self.id = row.id
        self.params: Mapping[str, Any] = row.params
        self.actor = row.actor
        self._kind = kind
        self._record = record
        self._database = database
        self._interrupt = interrupt
        self._step = kind.steps[0]
        self._obeyed = False
        self._pending: Event | None = None
        self._written_s = self._checked_s = float("-inf")

    def step(self, name: str, function: Callable[..., T], /, *arguments: Any) -> T:
        """See `Job.step`."""
        work = partial(self._work, name, partial(function, *arguments))
        try:
            return cast("T", outcome.unpack(self._record(name, work)))
        except Cancelled:
            self._obeyed = True  # what the job still does is cleaning up
            raise

    def progress(self, event: Event) -> None:
        """See `Job.progress`. Writes at most two events and reads the flag once a second."""
        faults.reached(self._kind.name, self._step.name, faults.Point.DURING)
        if self._interrupt.is_set():
            raise Interrupted(self._step.name)
        self._pending = event
        clock_s = time.monotonic()
        if clock_s - self._written_s >= WRITE_INTERVAL_S:
            self._written_s = clock_s
            self._write()
        if self._may_stop and clock_s - self._checked_s >= CHECK_INTERVAL_S:
            self._checked_s = clock_s
            self._check()

    def say(self, text: str, level: Level = Level.INFO) -> None:
        """See `Job.say`."""
        with self._database.write() as session:
            ledger.append(session, self.id, EventKind.MESSAGE, text=text, level=level)

    def _work(self, name: str, function: Callable[[], Any]) -> dict[str, Any]:
        captured = outcome.capture(partial(self._inside, name, function))
        self._write()
        faults.reached(self._kind.name, name, faults.Point.AFTER)
        return captured

    def _inside(self, name: str, function: Callable[[], Any]) -> Any:
        self._enter(name)
        faults.reached(self._kind.name, name, faults.Point.BEFORE)
        return function()

    def _enter(self, name: str) -> None:
        if self._interrupt.is_set():
            raise Interrupted(name)
        self._step = self._kind.step(name)
        with self._database.write() as session:
            stopper = ledger.enter_step(
                session,
                self.id,
                name,
                cancellable=self._step.cancellable,
                obeyed=self._obeyed,
            )
        if stopper is not None:
            raise Cancelled(f"by {stopper}")

    def _write(self) -> None:
        if self._pending is not None:
            with self._database.write() as session:
                ledger.record_progress(session, self.id, self._pending)
            self._pending = None

    @property
    def _may_stop(self) -> bool:
        return self._step.cancellable and not self._obeyed

    def _check(self) -> None:
        with self._database.read() as session:
            row = ledger.get(session, self.id)
            if row.cancel_requested_at is not None:
                raise Cancelled(f"by {row.cancel_actor}")


class Jobs:
    """All jobs of this process."""

    def __init__(self, database: Database, engine: Engine) -> None:
        self._database = database
        self._engine = engine
        self._kinds: dict[str, JobKind] = {}
        self._stopping = threading.Event()
        self._interrupt = threading.Event()

    @property
    def kinds(self) -> Mapping[str, JobKind]:
        """The registered kinds by name."""
        return self._kinds

    def register(self, *kinds: JobKind) -> None:
        """Make kinds of jobs known; before `start`."""
        self._kinds |= {kind.name: kind for kind in kinds}

    def start(self) -> None:
        """Begin to run jobs, first those that were interrupted."""
        self._engine.start(self.run)
        self.sweep()

    def submit(
        self,
        session: Session,
        kind: str,
        *,
        subject: str,
        lane: str = "",
        params: Mapping[str, Any],
        actor: str,
    ) -> JobRow:
        """Record a job in the caller's transaction; it runs once that is committed.

        If the process ends between the two, the sweep finds the job.
        """
        assert kind in self._kinds
        row = ledger.create(
            session, kind=kind, subject=subject, lane=lane, params=params, actor=actor
        )
        after_commit(session, partial(self._engine.enqueue, row.id, row.lane))
        return row

    def cancel(self, session: Session, job_id: str, actor: str) -> JobRow:
        """Ask a job to stop: a queued one ends at once, a running one at its next progress.

        Raises:
            NotFound: there is no such job.
            InvalidState: it has ended, or is past the point where it can be stopped.
        """
        row = ledger.request_cancel(session, job_id, actor)
        if row.state is JobState.QUEUED:
            self._close(session, row, Cancelled(f"by {actor}"), JobState.CANCELLED)
        return row

    def sweep(self) -> None:
        """Bring ledger and engine together: enqueue what never arrived, close what was parked."""
        with self._database.read() as session:
            rows = list(ledger.unfinished(session))
        for row in rows:
            lost = self._engine.lost(row.id)
            if lost is None:
                self._engine.enqueue(row.id, row.lane)
            elif lost:
                with self._database.write() as session:
                    self._close(session, row, GaveUp(row.kind), JobState.FAILED)

    def stop(self, timeout_s: float) -> bool:
        """Stop: the engine first, so that it records nothing of what is interrupted after it.

        Returns:
            Whether every job has let go in time.
        """
        self._stopping.set()
        self._engine.stop()
        self._interrupt.set()
        return self._engine.join(timeout_s)

    def run(self, job_id: str, record: RecordStep) -> None:
        """Run one job to its end; called by the engine, again after an interruption.

        Raises:
            Interrupted: the service is stopping; the engine must keep the job as unfinished.
        """
        with self._database.write() as session:
            row = ledger.begin(session, job_id)
        if row is None:
            return
        with logs.context(job=job_id):
            self._run(row, record)

    def _run(self, row: JobRow, record: RecordStep) -> None:
        kind = self._kinds[row.kind]
        job = RunningJob(self._database, row, kind, record, self._interrupt)
        try:
            result = kind.run(job)
        except Interrupted:
            raise
        except Cancelled as error:
            self._fail(row, error, JobState.CANCELLED)
        except WimsmithError as error:
            self._fail(row, error, JobState.FAILED)
        except Exception as error:
            if self._stopping.is_set():
                raise Interrupted(str(error)) from error
            log.exception("Job %s (%s) failed unexpectedly", row.id, row.kind)
            about = f"{type(error).__name__}: {error}"
            with self._database.write() as session:
                self._close(session, row, WimsmithError(about), JobState.FAILED)
        else:
            with self._database.write() as session:
                ledger.succeed(session, row.id, result)

    def _fail(self, row: JobRow, error: WimsmithError, state: JobState) -> None:
        log.warning("Job %s (%s): %s", row.id, row.kind, error)
        with self._database.write() as session:
            ledger.fail(session, row.id, error, state)

    def _close(self, session: Session, row: JobRow, error: WimsmithError, state: JobState) -> None:
        if ledger.fail(session, row.id, error, state):
            self._kinds[row.kind].give_up(session, row)
