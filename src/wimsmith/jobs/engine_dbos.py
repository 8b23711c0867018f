"""Engine on DBOS Transact: the only place that knows it.

One workflow, `wimsmith.job`, whose id and only argument is the id of the job in our ledger. What
we hold to, and why, is in docs/internals/jobs.md; in short: a fixed application version, so that an
upgrade does not strand running jobs; portable JSON; a fixed executor id, by which the same host
finds its own work after a crash; a cap on recoveries; no cancel of running workflows, which would
free the lane while the step still works; none of the engine's schedules.
"""

import contextlib
import logging
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetEnqueueOptions, SetWorkflowID
from sqlalchemy import make_url

from wimsmith.db.engine import JOBS_SCHEMA
from wimsmith.jobs.port import RecordStep

APPLICATION_VERSION = "1"
WORKFLOW = "wimsmith.job"
QUEUE = "wimsmith"
MAX_RECOVERY_ATTEMPTS = 3
_UNFINISHED = frozenset(["PENDING", "ENQUEUED", "DELAYED"])


class DbosEngine:
    """Durable steps in SQLite or PostgreSQL.

    Args:
        url: Database of the engine.
        workers: Jobs that run at the same time, at most.
        poll_s: How often the queue is looked at.
        executor_id: Name of this worker, the same after every restart.
    """

    def __init__(
        self, url: str, *, workers: int = 2, poll_s: float = 0.5, executor_id: str = ""
    ) -> None:
        self._url = url
        self._workers = workers
        self._poll_s = poll_s
        self._executor_id = executor_id or f"{socket.gethostname()}-1"
        self._workflow: Callable[[str], None] | None = None
        self._active = 0
        self._idle = threading.Condition()

    def start(self, run: Callable[[str, RecordStep], None]) -> None:
        if make_url(self._url).get_backend_name() == "sqlite":
            _prepare_sqlite(self._url)
        logging.getLogger("dbos").setLevel(logging.WARNING)
        DBOS(config=self._config())

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=MAX_RECOVERY_ATTEMPTS)
        def workflow(job_id: str) -> None:
            with self._counted():
                run(job_id, _record)

        self._workflow = workflow
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=self._workers,
            partition_concurrency=1,
            polling_interval_sec=self._poll_s,
            on_conflict="always_update",
        )

    def enqueue(self, job_id: str, lane: str) -> None:
        assert self._workflow is not None
        with SetWorkflowID(job_id), SetEnqueueOptions(queue_partition_key=lane):
            DBOS.enqueue_workflow(QUEUE, self._workflow, job_id)

    def lost(self, job_id: str) -> bool | None:
        status = DBOS.get_workflow_status(job_id)
        return None if status is None else status.status not in _UNFINISHED

    def stop(self) -> None:
        DBOS.destroy(destroy_registry=True)

    def join(self, timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        with self._idle:
            while self._active and (left_s := deadline_s - time.monotonic()) > 0:
                self._idle.wait(left_s)
            return not self._active

    def _config(self) -> DBOSConfig:
        return DBOSConfig(
            name="wimsmith",
            system_database_url=self._url,
            dbos_system_schema=JOBS_SCHEMA,
            application_version=APPLICATION_VERSION,
            executor_id=self._executor_id,
            serializer=DBOSPortableJSONSerializer(),
            log_level="WARNING",
            enable_otlp=False,
            use_listen_notify=False,
        )

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._idle:
            self._active += 1
        try:
            yield
        finally:
            with self._idle:
                self._active -= 1
                self._idle.notify_all()


def _record(name: str, work: Callable[[], Any]) -> Any:
    return DBOS.run_step({"name": name}, work)


def _prepare_sqlite(url: str) -> None:
    """Set the write-ahead log, which the file remembers: steps cost a fifth of the time."""
    path = make_url(url).database
    assert path is not None
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
