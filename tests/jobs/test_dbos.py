"""The durable engine: lanes, interruption, resumption; with real threads and a real database."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wimsmith.db.engine import Database
from wimsmith.errors import NotSupported, WimsmithError
from wimsmith.jobs import ledger
from wimsmith.jobs.engine_dbos import DbosEngine
from wimsmith.jobs.models import ENDED, JobRow, JobState
from wimsmith.jobs.port import Job, JobKind, Step
from wimsmith.jobs.runner import Jobs
from wimsmith.offline.progress import Event

STEPS = (Step("one"), Step("two"))


class Bench:
    """Jobs on DBOS, which can be stopped and started as a service is."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.url = f"sqlite:///{folder / 'jobs.sqlite'}"
        self.jobs: Jobs | None = None

    def start(self, run: Callable[[Job], Any]) -> None:
        self.jobs = Jobs(self.database, DbosEngine(self.url, poll_s=0.05))
        self.jobs.register(JobKind("test", STEPS, run))
        self.jobs.start()

    def stop(self) -> bool:
        assert self.jobs is not None
        ended = self.jobs.stop(10)
        self.jobs = None
        return ended

    def submit(self, lane: str = "", **params: Any) -> str:
        assert self.jobs is not None
        with self.database.write() as session:
            row = self.jobs.submit(
                session, "test", subject="x", lane=lane, params=params, actor="alice"
            )
        return row.id

    def look(self, job_id: str) -> JobRow:
        with self.database.read() as session:
            return ledger.get(session, job_id)

    def ended(self, job_id: str) -> JobRow:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            row = self.look(job_id)
            if row.state in ENDED:
                return row
            time.sleep(0.02)
        raise AssertionError(row.state)


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Iterator[Bench]:
    found = Bench(database, tmp_path)
    yield found
    if found.jobs is not None:
        found.stop()


def test_a_job_runs_and_ends(bench: Bench) -> None:
    bench.start(lambda job: {"n": job.step("one", lambda: job.params["n"] + 1)})

    row = bench.ended(bench.submit(n=1))

    assert (row.state, row.result) == (JobState.SUCCEEDED, {"n": 2})


def test_jobs_of_one_lane_run_one_after_the_other(bench: Bench) -> None:
    running: set[str] = set()
    together: list[int] = []
    lock = threading.Lock()

    def work(job: Job) -> None:
        with lock:
            running.add(job.id)
            together.append(len(running))
        time.sleep(0.2)
        with lock:
            running.remove(job.id)

    bench.start(lambda job: job.step("one", work, job))
    for job_id in [bench.submit("image-1") for _ in range(3)]:
        assert bench.ended(job_id).state is JobState.SUCCEEDED

    assert together == [1, 1, 1]


def test_a_stopped_job_goes_on_where_it_was(bench: Bench) -> None:
    """The engine is stopped first, so the interrupted step is not recorded as an outcome."""
    done: list[str] = []
    slow = threading.Event()

    def begin() -> str:
        done.append("one")
        return "a"

    def second(job: Job) -> str:
        done.append("two")
        for number in range(400 if not slow.is_set() else 1):
            job.progress(Event("two", number, 400))
            time.sleep(0.01)
        return "b"

    def run(job: Job) -> dict[str, str]:
        first = job.step("one", begin)
        return {"text": first + job.step("two", second, job)}

    bench.start(run)
    job_id = bench.submit()
    while "two" not in done:
        time.sleep(0.01)
    assert bench.stop()
    assert bench.look(job_id).state is JobState.RUNNING

    slow.set()
    bench.start(run)
    row = bench.ended(job_id)

    assert (row.state, row.result) == (JobState.SUCCEEDED, {"text": "ab"})
    assert done == ["one", "two", "two"]


def test_an_error_is_the_same_error_after_a_restart(bench: Bench) -> None:
    refused: list[str] = []
    waits = threading.Event()

    def refuse() -> None:
        raise NotSupported("psfx", "differentials")

    def hold(job: Job) -> None:
        while not waits.is_set():
            job.progress(Event("hold"))
            time.sleep(0.01)

    def run(job: Job) -> None:
        try:
            job.step("one", refuse)
        except NotSupported as error:
            refused.append(error.reason)
        job.step("two", hold, job)

    bench.start(run)
    job_id = bench.submit()
    while not refused:
        time.sleep(0.01)
    bench.stop()
    waits.set()
    bench.start(run)

    assert bench.ended(job_id).state is JobState.SUCCEEDED
    assert refused == ["psfx", "psfx"]


def test_a_job_is_enqueued_once(bench: Bench) -> None:
    ran: list[str] = []
    bench.start(lambda job: job.step("one", lambda: ran.append(job.id)))
    job_id = bench.submit()
    bench.ended(job_id)

    assert bench.jobs is not None
    bench.jobs._engine.enqueue(job_id, job_id)
    time.sleep(0.3)

    assert ran == [job_id]


def test_a_cancelled_job_keeps_its_lane_until_it_has_stopped(bench: Bench) -> None:
    order: list[str] = []

    def work(job: Job) -> None:
        order.append(f"{job.params['name']} starts")
        try:
            for number in range(job.params["turns"]):
                job.progress(Event("work", number))
                time.sleep(0.02)
        except WimsmithError:
            time.sleep(0.2)
            order.append(f"{job.params['name']} has stopped")
            raise

    bench.start(lambda job: job.step("one", work, job))
    first = bench.submit("image-1", name="first", turns=500)
    while not order:
        time.sleep(0.01)
    second = bench.submit("image-1", name="second", turns=1)
    with bench.database.write() as session:
        assert bench.jobs is not None
        bench.jobs.cancel(session, first, "bob")

    assert bench.ended(first).state is JobState.CANCELLED
    assert bench.ended(second).state is JobState.SUCCEEDED
    assert order == ["first starts", "first has stopped", "second starts"]
