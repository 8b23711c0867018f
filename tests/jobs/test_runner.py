"""Jobs through the ledger, with the engine that runs them in place."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from wimsmith.db.engine import Database
from wimsmith.errors import Cancelled, Interrupted, InvalidState, NotSupported
from wimsmith.jobs import ledger, runner
from wimsmith.jobs.engine_inline import InlineEngine
from wimsmith.jobs.models import EventKind, JobRow, JobState
from wimsmith.jobs.port import Job, JobKind, Step
from wimsmith.jobs.runner import Jobs
from wimsmith.offline.progress import Event

STEPS = (Step("one"), Step("two"), Step("publish", cancellable=False))


def make(
    database: Database,
    run: Callable[[Job], Any],
    *,
    held: bool = False,
    give_up: Callable[[Session, JobRow], None] | None = None,
) -> tuple[Jobs, InlineEngine]:
    engine = InlineEngine(held=held)
    jobs = Jobs(database, engine)
    more = {"give_up": give_up} if give_up else {}
    jobs.register(JobKind("test", STEPS, run, **more))
    jobs.start()
    return jobs, engine


def submit(database: Database, jobs: Jobs, **params: Any) -> str:
    with database.write() as session:
        return jobs.submit(session, "test", subject="x", params=params, actor="alice").id


def look(database: Database, job_id: str) -> JobRow:
    with database.read() as session:
        return ledger.get(session, job_id)


def told(database: Database, job_id: str, kind: EventKind) -> list[str]:
    with database.read() as session:
        rows = ledger.events_after(session, job_id, 0)
        return [row.text or row.phase for row in rows if row.kind is kind]


def test_a_job_goes_from_queued_to_succeeded_with_its_result(database: Database) -> None:
    jobs, _ = make(database, lambda job: {"double": job.step("one", lambda: job.params["n"] * 2)})

    job_id = submit(database, jobs, n=21)

    row = look(database, job_id)
    assert (row.state, row.result, row.actor) == (JobState.SUCCEEDED, {"double": 42}, "alice")
    assert told(database, job_id, EventKind.STATE) == ["queued", "running", "succeeded"]
    assert row.started_at is not None
    assert row.ended_at is not None


def test_a_job_is_enqueued_only_if_its_transaction_is_committed(database: Database) -> None:
    jobs, engine = make(database, lambda _job: None)

    def fail() -> None:
        with database.write() as session:
            jobs.submit(session, "test", subject="x", params={}, actor="alice")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert engine.executed == []
    with database.read() as session:
        assert ledger.unfinished(session) == []


def test_the_error_of_a_step_is_the_error_of_the_job(database: Database) -> None:
    def refuse() -> None:
        raise NotSupported("psfx", "the update holds differentials", hint="Take another.")

    jobs, _ = make(database, lambda job: job.step("one", refuse))

    row = look(database, submit(database, jobs))

    assert (row.state, row.error_code) == (JobState.FAILED, "not-supported")
    assert row.error_text == "Not supported: the update holds differentials (psfx)"
    assert row.error_hint == "Take another."


def test_an_unexpected_error_closes_the_job_too(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    given_up: list[str] = []
    jobs, _ = make(
        database,
        lambda job: job.step("one", lambda: 1 // 0),
        give_up=lambda _session, row: given_up.append(row.id),
    )

    job_id = submit(database, jobs)

    row = look(database, job_id)
    assert (row.state, row.error_code) == (JobState.FAILED, "internal")
    assert "ZeroDivisionError" in row.error_text
    assert given_up == [job_id]
    assert "failed unexpectedly" in caplog.text


def test_finished_steps_are_not_done_again_after_an_interruption(database: Database) -> None:
    done: list[str] = []
    interrupt = [True]

    def begin() -> str:
        done.append("one")
        return "a"

    def second() -> str:
        done.append("two")
        if interrupt.pop():
            interrupt.append(False)
            raise Interrupted("two")
        return "b"

    def run(job: Job) -> dict[str, str]:
        first = job.step("one", begin)
        return {"text": first + job.step("two", second)}

    jobs, engine = make(database, run, held=True)
    job_id = submit(database, jobs)
    with pytest.raises(Interrupted):
        engine.run_pending()
    assert look(database, job_id).state is JobState.RUNNING

    engine.resume(job_id)

    row = look(database, job_id)
    assert done == ["one", "two", "two"]
    assert (row.state, row.result) == (JobState.SUCCEEDED, {"text": "ab"})
    assert told(database, job_id, EventKind.MESSAGE) == ["Resumed after an interruption"]


def test_progress_is_written_at_most_twice_a_second_and_at_the_end(database: Database) -> None:
    def count(job: Job) -> None:
        for done in range(1001):
            job.progress(Event("count", done, 1000, "files"))

    jobs, _ = make(database, lambda job: job.step("one", count, job))

    job_id = submit(database, jobs)

    row = look(database, job_id)
    assert (row.phase, row.done, row.total, row.unit) == ("count", 1000, 1000, "files")
    assert 2 <= len(told(database, job_id, EventKind.PROGRESS)) < 20


def test_a_cancelled_job_stops_at_its_next_progress(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "CHECK_INTERVAL_S", 0.0)
    reached: list[int] = []

    def work(job: Job) -> None:
        for number in range(10):
            if number == 3:
                with database.write() as session:
                    jobs.cancel(session, job.id, "bob")
            job.progress(Event("work", number, 10))
            reached.append(number)

    jobs, _ = make(database, lambda job: job.step("one", work, job))

    row = look(database, submit(database, jobs))

    assert reached == [0, 1, 2]
    assert (row.state, row.error_code) == (JobState.CANCELLED, "cancelled")
    assert row.error_text == "Cancelled: by bob"


def test_a_queued_job_is_cancelled_at_once_and_never_runs(database: Database) -> None:
    given_up: list[str] = []
    ran: list[str] = []
    jobs, engine = make(
        database,
        lambda job: ran.append(job.id),
        held=True,
        give_up=lambda _session, row: given_up.append(row.error_text),
    )
    job_id = submit(database, jobs)

    with database.write() as session:
        jobs.cancel(session, job_id, "bob")
    engine.run_pending()

    assert look(database, job_id).state is JobState.CANCELLED
    assert (ran, given_up) == ([], ["Cancelled: by bob"])


def test_a_step_that_is_not_cancellable_runs_to_its_end(database: Database) -> None:
    refused: list[str] = []

    def publish(job: Job) -> None:
        try:
            with database.write() as session:
                jobs.cancel(session, job.id, "bob")
        except InvalidState as error:
            refused.append(str(error))
        job.progress(Event("publish"))

    jobs, _ = make(database, lambda job: job.step("publish", publish, job))

    row = look(database, submit(database, jobs))

    assert row.state is JobState.SUCCEEDED
    assert "in step publish, which is not interrupted" in refused[0]


def test_a_wish_to_stop_is_obeyed_at_the_door_of_the_last_step(database: Database) -> None:
    """A wish that comes after the last look of a step must not be lost."""

    def work(job: Job) -> None:
        job.progress(Event("work"))
        with database.write() as session:
            jobs.cancel(session, job.id, "bob")

    def run(job: Job) -> None:
        job.step("one", work, job)
        job.step("publish", lambda: published.append(job.id))

    published: list[str] = []
    jobs, _ = make(database, run)

    row = look(database, submit(database, jobs))

    assert (row.state, published) == (JobState.CANCELLED, [])


def test_an_ended_job_cannot_be_cancelled(database: Database) -> None:
    jobs, _ = make(database, lambda _job: None)
    job_id = submit(database, jobs)

    with pytest.raises(InvalidState, match="is succeeded"), database.write() as session:
        jobs.cancel(session, job_id, "bob")


def test_cancelled_raised_by_the_engine_below_is_a_cancelled_job(database: Database) -> None:
    def work() -> None:
        raise Cancelled("by bob")

    jobs, _ = make(database, lambda job: job.step("one", work))

    assert look(database, submit(database, jobs)).state is JobState.CANCELLED


def test_the_sweep_enqueues_what_never_reached_the_engine(database: Database) -> None:
    ran: list[str] = []
    jobs, _ = make(database, lambda job: ran.append(job.id))
    with database.write() as session:
        row = ledger.create(session, kind="test", subject="x", lane="", params={}, actor="alice")

    jobs.sweep()

    assert ran == [row.id]


def test_the_sweep_closes_what_the_engine_has_given_up(database: Database) -> None:
    class Parked(InlineEngine):
        def lost(self, _job_id: str) -> bool | None:
            return True

    given_up: list[str] = []
    jobs = Jobs(database, Parked(held=True))
    jobs.register(
        JobKind("test", STEPS, lambda _job: None, lambda _session, row: given_up.append(row.id))
    )
    jobs.start()
    job_id = submit(database, jobs)

    jobs.sweep()
    jobs.sweep()

    row = look(database, job_id)
    assert (row.state, row.error_code) == (JobState.FAILED, "gave-up")
    assert given_up == [job_id]


def test_a_step_that_is_not_registered_is_a_mistake(database: Database) -> None:
    jobs, _ = make(database, lambda job: job.step("three", lambda: None))

    assert "no step three" in look(database, submit(database, jobs)).error_text


def test_a_cancelled_job_may_still_clean_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "CHECK_INTERVAL_S", 0.0)
    cleaned: list[str] = []

    def work(job: Job) -> None:
        with database.write() as session:
            jobs.cancel(session, job.id, "bob")
        job.progress(Event("work"))

    def clean(job: Job) -> None:
        job.progress(Event("clean"))
        cleaned.append(job.id)

    def run(job: Job) -> None:
        try:
            job.step("one", work, job)
        except Cancelled:
            job.step("two", clean, job)
            raise

    jobs, _ = make(database, run)

    row = look(database, submit(database, jobs))

    assert (row.state, cleaned) == (JobState.CANCELLED, [row.id])
