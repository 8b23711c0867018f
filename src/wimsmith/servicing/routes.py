"""Servicing over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status
from sqlalchemy.orm import Session

from wimsmith.api.depends import PREFIX, ActorDep, PageDep, SiteDep, accepted
from wimsmith.images import service as images
from wimsmith.jobs.schemas import JobOut
from wimsmith.offline.backends.sentences import outcome_word
from wimsmith.offline.verdicts import status as status_number
from wimsmith.servicing import exclusions, schemas, service
from wimsmith.servicing.models import (
    ActionResult,
    ServicingExclusion,
    ServicingResult,
    ServicingRun,
    ServicingSchedule,
    Status,
)
from wimsmith.updates.models import Update
from wimsmith.updates.schemas import UpdateOut

router = APIRouter(tags=["servicing"])
Text = Annotated[str, Query(max_length=200)]


@router.post(
    "/servicing/schedules",
    status_code=status.HTTP_201_CREATED,
    responses={202: {"model": schemas.ScheduleOut, "description": "The run has been started"}},
)
def schedule_updates(
    site: SiteDep, actor: ActorDep, response: Response, body: schemas.ScheduleRequest
) -> schemas.ScheduleOut:
    """Choose updates for an image, to be applied now or once at a time."""
    with site.database.write() as session:
        row = service.schedule(session, site, actor, body)
        number = row.id
    with site.database.read() as session:
        row = session.get_one(ServicingSchedule, number)
        shown = _schedule(session, row)
    response.headers["Location"] = f"{PREFIX}/servicing/schedules/{number}"
    if shown.run is not None:
        response.status_code = status.HTTP_202_ACCEPTED
        response.headers["Location"] = f"{PREFIX}/jobs/{shown.run.job}"
    return shown


@router.get("/servicing/schedules")
def list_schedules(
    site: SiteDep, actor: ActorDep, query: PageDep, image: Text = "", state: Text = ""
) -> schemas.Schedules:
    """List schedules, the newest first."""
    with site.database.read() as session:
        found = service.schedules(session, actor, query, image=image, state=state)
        items = [_schedule(session, row) for row in found.items]
    return schemas.Schedules(items=items, next=found.next)


@router.get("/servicing/schedules/{schedule}")
def show_schedule(site: SiteDep, actor: ActorDep, schedule: str) -> schemas.ScheduleOut:
    """Show one schedule, or the latest of an image."""
    with site.database.read() as session:
        return _schedule(session, service.find(session, actor, schedule))


@router.delete("/servicing/schedules/{schedule}", status_code=status.HTTP_204_NO_CONTENT)
def clear_schedule(site: SiteDep, actor: ActorDep, schedule: str) -> None:
    """Remove a schedule that has not started."""
    with site.database.write() as session:
        service.clear(session, site, actor, service.find(session, actor, schedule))


@router.post("/servicing/schedules/{schedule}/cancel", status_code=status.HTTP_202_ACCEPTED)
def cancel_schedule(site: SiteDep, actor: ActorDep, response: Response, schedule: str) -> JobOut:
    """End a run that is in process."""
    with site.database.write() as session:
        job = service.cancel(session, site, actor, service.find(session, actor, schedule))
    return accepted(response, site, job)


@router.get("/servicing/runs")
def list_runs(site: SiteDep, actor: ActorDep, query: PageDep, image: Text = "") -> schemas.Runs:
    """List runs, the newest first."""
    with site.database.read() as session:
        found = service.runs(session, actor, query, image=image)
        items = [_run(row) for row in found.items]
    return schemas.Runs(items=items, next=found.next)


@router.get("/servicing/runs/{run}")
def show_run(site: SiteDep, actor: ActorDep, run: int) -> schemas.RunDetails:
    """Show one run with what became of every update on every index."""
    with site.database.read() as session:
        row = service.get_run(session, actor, run)
        results = [_result(one) for one in row.results]
        return schemas.RunDetails(
            **_run(row).model_dump(),
            results=results,
            actions=[_action(one) for one in row.actions],
            gate=[schemas.GateOut(**one) for one in row.gate or []],
            clean_up=schemas.CleanUpOut(**row.clean_up) if row.clean_up else None,
        )


@router.get("/servicing/failed-updates")
def list_failed_updates(site: SiteDep, actor: ActorDep) -> schemas.FailedUpdates:
    """List updates that failed on any image, with the number of images."""
    with site.database.read() as session:
        items = [
            schemas.FailedUpdate(update=update.id, images=count, **_names(update))
            for update, count in service.failed_updates(session, actor)
        ]
    return schemas.FailedUpdates(items=items)


@router.post("/servicing/plan")
def show_plan(site: SiteDep, actor: ActorDep, body: schemas.PlanRequest) -> schemas.PlanOut:
    """Show the order in which updates would go onto an image, and what would become of each."""
    with site.database.read() as session:
        row = images.find(session, actor, body.image)
        items = [
            schemas.PlannedOut.model_validate(
                {
                    **schemas.LikelyOut.model_validate(likely).model_dump(),
                    **_names(update),
                    "place": place,
                    "update": update.id,
                }
            )
            for place, update, likely in service.planned(session, actor, row, body.updates)
        ]
    return schemas.PlanOut(items=items)


@router.get("/servicing/exclusions")
def list_exclusions(site: SiteDep, actor: ActorDep, image: Text = "") -> schemas.Exclusions:
    """List updates that are not to be applied: all, or those that an image falls under."""
    with site.database.read() as session:
        row = images.find(session, actor, image) if image else None
        items = [_exclusion(one) for one in exclusions.listed(session, actor, row)]
    return schemas.Exclusions(items=items)


@router.post("/servicing/exclusions", status_code=status.HTTP_201_CREATED)
def add_exclusion(
    site: SiteDep, actor: ActorDep, body: schemas.ExclusionRequest
) -> schemas.ExclusionOut:
    """Exclude an update from one image or from all."""
    with site.database.write() as session:
        row = images.find(session, actor, body.image) if body.image else None
        return _exclusion(exclusions.add(session, actor, body.subject, body.reason, row))


@router.delete("/servicing/exclusions/{exclusion}", status_code=status.HTTP_204_NO_CONTENT)
def remove_exclusion(site: SiteDep, actor: ActorDep, exclusion: int) -> None:
    """Let an update be applied again."""
    with site.database.write() as session:
        exclusions.remove(session, actor, exclusion)


@router.get("/images/{image}/updates")
def show_update_status(
    site: SiteDep, actor: ActorDep, image: str, index: int | None = None
) -> schemas.ImageResults:
    """Show what became last of every update on every index of an image."""
    with site.database.read() as session:
        row = images.find(session, actor, image)
        found = service.results_of_image(session, actor, row, index)
        items = [
            schemas.ImageResultOut(**_result(one).model_dump(), run=one.run_id) for one in found
        ]
    return schemas.ImageResults(items=items)


@router.get("/images/{image}/choices")
def list_choices(
    site: SiteDep, actor: ActorDep, image: str, q: Text = "", architecture: Text = ""
) -> schemas.Choices:
    """List updates with what would likely become of them, judged from stored facts."""
    with site.database.read() as session:
        row = images.find(session, actor, image)
        found = service.choices(session, actor, row, text=q, architecture=architecture)
        items = [
            schemas.ChoiceOut(
                **_update(update).model_dump(),
                indexes=[schemas.LikelyOut.model_validate(one) for one in likely],
            )
            for update, likely in found
        ]
    return schemas.Choices(items=items)


def _schedule(session: Session, row: ServicingSchedule) -> schemas.ScheduleOut:
    run = service.run_of(session, row)
    updates = [schemas.UpdateBrief.model_validate(one.update) for one in row.chosen]
    columns = schemas.ScheduleOut.model_fields.keys() - {
        "image",
        "image_name",
        "status",
        "updates",
        "actions",
        "run",
    }
    return schemas.ScheduleOut(
        **{name: getattr(row, name) for name in columns},
        image=row.image.package_id,
        image_name=row.image.name,
        status=run.status if run else Status.SCHEDULED,
        updates=updates,
        actions=[schemas.ActionBrief.model_validate(one) for one in row.actions],
        run=_run(run) if run else None,
    )


def _run(row: ServicingRun) -> schemas.RunOut:
    return schemas.RunOut(
        id=row.id,
        schedule=row.schedule_id,
        image=row.schedule.image.package_id,
        job=row.job_id,
        base_version=row.base_version,
        result_version=row.result_version,
        backend=row.backend,
        status=row.status,
        failed_update=row.failed_update_id,
        error_code=row.error_code,
        error_text=row.error_text,
        text=row.text,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def _result(row: ServicingResult) -> schemas.ResultOut:
    return schemas.ResultOut(
        index=row.index_number,
        update=row.update_id,
        **_names(row.update),
        outcome=row.outcome,
        status=int(status_number(row.outcome, row.code)),
        word=outcome_word(row.outcome, row.text),
        code=row.code,
        text=row.text,
        packages=row.packages,
        findings=[schemas.FindingOut(**one) for one in row.findings or []],
        applied_at=row.applied_at,
    )


def _action(row: ActionResult) -> schemas.ActionOut:
    return schemas.ActionOut(
        index=row.index_number,
        kind=row.kind,
        subject=row.subject,
        outcome=row.outcome,
        word=outcome_word(row.outcome, row.text, row.kind),
        code=row.code,
        text=row.text,
        packages=row.packages,
        applied_at=row.applied_at,
    )


def _exclusion(row: ServicingExclusion) -> schemas.ExclusionOut:
    return schemas.ExclusionOut(
        id=row.id,
        subject=row.subject,
        reason=row.reason,
        image=row.image.package_id if row.image else None,
        actor=row.actor,
        created_at=row.created_at,
    )


def _names(update: Update) -> dict[str, str]:
    return {
        "identity": update.identity or update.file_name,
        "article": update.article,
        "title": update.title,
    }


def _update(row: Update) -> UpdateOut:
    columns = UpdateOut.model_fields.keys() - {"sha256"}
    return UpdateOut(**{name: getattr(row, name) for name in columns}, sha256=row.file_digest)
