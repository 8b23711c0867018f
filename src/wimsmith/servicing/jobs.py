"""The durable job of servicing: one run on one image.

    plan      what to do, and what not and why                    rows of results
    stage     lease on the base, room, links to the updates       workspace
    apply/I/P one update on one index                             one change set, one result row
    commit    base and change sets become a new file              out.wim
    verify    the new file read back and compared with the plan   facts.json
    store     the new file moves into the library
    publish   one transaction makes it the current version
    cleanup   workspace and lease go; the run gets its last word

Until publish nothing is visible, so there is nothing to undo. What each step does is in `steps`.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from wimsmith import logs
from wimsmith.db.engine import after_commit
from wimsmith.errors import Interrupted, UpdateFailed, WimsmithError
from wimsmith.jobs.models import JobRow, JobState
from wimsmith.jobs.outcome import describe
from wimsmith.jobs.port import Job, JobKind, Step
from wimsmith.offline.verdicts import Verdict
from wimsmith.servicing import service, steps
from wimsmith.servicing.models import ServicingRun, Status
from wimsmith.servicing.service import SERVICE_IMAGE
from wimsmith.servicing.workspace import Workspace
from wimsmith.site.context import Site
from wimsmith.storage import library

STEPS: Mapping[str, tuple[Step, ...]] = MappingProxyType(
    {
        SERVICE_IMAGE: (
            Step("plan"),
            Step("stage"),
            Step("apply"),
            Step("commit"),
            Step("verify"),
            Step("store"),
            Step("publish", cancellable=False),
            Step("cleanup", cancellable=False),
        ),
    }
)


def kinds(site: Site) -> tuple[JobKind, ...]:
    """The kinds of jobs of this noun, bound to a site."""
    steps_of = STEPS[SERVICE_IMAGE]
    return (JobKind(SERVICE_IMAGE, steps_of, partial(service_image, site), _give_up),)


def service_image(site: Site, job: Job) -> dict[str, Any]:
    """Apply the updates of a schedule to its image. Params: `schedule_id`."""
    with site.database.read() as session:
        run = steps.run_of_job(session, job.id)
        run_id, image = run.id, run.schedule.image.package_id
    with logs.context(image=image):
        try:
            _work(site, job, run_id)
        except Interrupted:
            raise
        except WimsmithError as error:
            job.step("cleanup", steps.clean_up, site, job, run_id, describe(error))
            raise
        return job.step("cleanup", steps.clean_up, site, job, run_id, None)


def _work(site: Site, job: Job, run_id: int) -> None:
    planned = job.step("plan", steps.plan, site, job, run_id)
    job.step("stage", steps.stage, site, job, run_id)
    changed: dict[str, list[int]] = {}
    for item in planned["apply"]:
        index_number, place = item["index"], item["place"]
        before = changed.get(str(index_number), [])
        name = f"apply/{index_number}/{place}"
        outcome = job.step(name, steps.apply, site, job, run_id, item, before)
        if outcome["verdict"] == Verdict.FAILED and not planned["continue_on_error"]:
            raise UpdateFailed(f"{outcome['update']} on index {index_number}: {outcome['text']}")
        if outcome["changed"]:
            changed[str(index_number)] = [*before, place]
    if changed:
        report = job.step("commit", steps.commit, site, job, run_id, changed)
        job.step("verify", steps.verify, site, job, run_id, report)
        job.step("store", steps.store, site, job, run_id, report)
        job.step("publish", steps.publish, site, job, run_id, report)


def _give_up(session: Session, row: JobRow) -> None:
    """The job ended without `cleanup`: cancelled while it waited, or parked by the engine."""
    run = session.scalars(select(ServicingRun).where(ServicingRun.job_id == row.id)).one_or_none()
    if run is None:
        return
    error = WimsmithError(row.error_text)
    status = Status.CANCELLED if row.state is JobState.CANCELLED else Status.FAILED
    service.fail_run(session, run, error, status)
    library.release(session, row.id)
    if run.workspace:
        after_commit(session, Workspace.of(run.workspace).remove)
