"""Jobs over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response, status
from fastapi.responses import JSONResponse, StreamingResponse

from wimsmith.api import events
from wimsmith.api.depends import ActorDep, PageDep, SiteDep, accepted
from wimsmith.jobs import ledger
from wimsmith.jobs.schemas import JobEventOut, JobEvents, JobList, JobOut
from wimsmith.site.access import ObjectClass, Verb, require

router = APIRouter(prefix="/jobs", tags=["jobs"])
Text = Annotated[str, Query(max_length=200)]


@router.get("")
def list_jobs(
    site: SiteDep,
    actor: ActorDep,
    query: PageDep,
    state: Text = "",
    kind: Text = "",
    subject: Text = "",
) -> JobList:
    """List jobs, the newest first."""
    require(actor, ObjectClass.JOB, Verb.READ)
    with site.database.read() as session:
        found = ledger.find(session, query, state=state, kind=kind, subject=subject)
        items = [JobOut.model_validate(row) for row in found.items]
    return JobList(items=items, next=found.next)


@router.get("/{job}")
def show_job(site: SiteDep, actor: ActorDep, job: str) -> JobOut:
    """Show one job."""
    require(actor, ObjectClass.JOB, Verb.READ)
    with site.database.read() as session:
        return JobOut.model_validate(ledger.get(session, job))


@router.get(
    "/{job}/events",
    response_model=JobEvents,
    responses={200: {"content": {events.MEDIA_TYPE: {"schema": {"type": "string"}}}}},
)
def follow_job(
    request: Request,
    site: SiteDep,
    actor: ActorDep,
    job: str,
    after: Annotated[int, Query(ge=0)] = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Follow the events of a job as a stream, or list those so far for who accepts JSON only."""
    require(actor, ObjectClass.JOB, Verb.READ)
    seq = int(last_event_id) if last_event_id and last_event_id.isdecimal() else after
    with site.database.read() as session:
        ledger.get(session, job)
        if "application/json" in request.headers.get("accept", ""):
            rows = ledger.events_after(session, job, seq)
            items = [JobEventOut.model_validate(row) for row in rows]
            return JSONResponse(JobEvents(items=items).model_dump(mode="json"))
    return StreamingResponse(events.stream(site.database, job, seq), media_type=events.MEDIA_TYPE)


@router.post("/{job}/cancel", status_code=status.HTTP_202_ACCEPTED)
def cancel_job(site: SiteDep, actor: ActorDep, response: Response, job: str) -> JobOut:
    """Ask a job to stop."""
    require(actor, ObjectClass.JOB, Verb.MODIFY)
    with site.database.write() as session:
        row = site.jobs.cancel(session, job, actor.name)
    return accepted(response, site, row)
