"""Events of a job as a stream (server-sent events, HTML Living Standard 9.2)."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.to_thread

from wimsmith.db.engine import Database
from wimsmith.jobs import ledger
from wimsmith.jobs.models import ENDED
from wimsmith.jobs.schemas import JobEventOut, JobOut

MEDIA_TYPE = "text/event-stream"
POLL_S = 0.25
KEEP_ALIVE_S = 15.0


async def stream(database: Database, job_id: str, after: int) -> AsyncIterator[str]:
    """Events numbered above `after` as they come, then one named `end` with the job.

    The number is the event id, so that a reader who was cut off goes on where it was.
    """
    silent_s = 0.0
    while True:
        events, job = await anyio.to_thread.run_sync(_read, database, job_id, after)
        for event in events:
            after = event.seq
            yield _event(event.kind, event.model_dump(mode="json"), event.seq)
        if job.state in ENDED and not events:
            yield _event("end", job.model_dump(mode="json"), None)
            return
        silent_s = 0.0 if events else silent_s + POLL_S
        if silent_s >= KEEP_ALIVE_S:
            silent_s = 0.0
            yield ": still here\n\n"
        if not events:
            await anyio.sleep(POLL_S)


def _read(database: Database, job_id: str, after: int) -> tuple[list[JobEventOut], JobOut]:
    with database.read() as session:
        job = JobOut.model_validate(ledger.get(session, job_id))
        rows = ledger.events_after(session, job_id, after)
        return [JobEventOut.model_validate(row) for row in rows], job


def _event(name: str, data: Any, number: int | None) -> str:
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n"
