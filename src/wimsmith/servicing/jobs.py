"""The durable job of servicing: one run on one image.

    plan      what to do, and what not and why                    rows of results
    stage     lease on the base, room, links to the updates       workspace
    gate/I    health and calibration of one index                 its report in the run
    apply/I/P one update on one index                             one change set, one result row
    act/I/P   one removal or feature on one index                 the same
    optimize  component clean-up with reset base, if asked for    one change set
    commit    base and change sets become a new file              out.wim
    export    a copy without what no index needs, if cleaned up   exported.wim
    verify    the new file read back and compared with the plan   facts.json
    store     the new file moves into the library
    publish   one transaction makes it the current version
    cleanup   workspace and lease go; the run gets its last word

Until publish nothing is visible, so there is nothing to undo. What each step does is in `steps`
and, from the commit on, in `finishing`.
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
from wimsmith.servicing import finishing, service, steps
from wimsmith.servicing.models import ServicingRun, Status
from wimsmith.servicing.rows import run_of_job
from wimsmith.servicing.service import SERVICE_IMAGE
from wimsmith.servicing.workspace import Workspace
from wimsmith.site.context import Site
from wimsmith.storage import library

STEPS: Mapping[str, tuple[Step, ...]] = MappingProxyType(
    {
        SERVICE_IMAGE: (
            Step("plan"),
            Step("stage"),
            Step("gate"),
            Step("apply"),
            Step("act"),
            Step("optimize"),
            Step("commit"),
            Step("export"),
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
        run = run_of_job(session, job.id)
        run_id, image = run.id, run.schedule.image.package_id
    with logs.context(image=image):
        try:
            _work(site, job, run_id)
        except Interrupted:
            raise
        except WimsmithError as error:
            job.step("cleanup", finishing.clean_up, site, job, run_id, describe(error))
            raise
        return job.step("cleanup", finishing.clean_up, site, job, run_id, None)


def _work(site: Site, job: Job, run_id: int) -> None:
    planned = job.step("plan", steps.plan, site, job, run_id)
    job.step("stage", steps.stage, site, job, run_id)
    stopped: dict[int, str] = {}
    changed: dict[str, list[str]] = {}
    for item in planned["apply"]:
        index = item["index"]
        if index not in stopped:
            name = f"gate/{index}"
            stopped[index] = job.step(name, steps.gate, site, job, run_id, index)["stopped"]
        if stopped[index]:
            continue
        done = _do(site, job, run_id, item, changed.get(str(index), []))
        if done["verdict"] == Verdict.FAILED and not planned["continue_on_error"]:
            raise UpdateFailed(f"{done['update']} on index {index}: {done['text']}")
        if done["changed"]:
            changed.setdefault(str(index), []).append(done["folder"])
    if changed:
        _finish(site, job, run_id, changed, clean_up=planned["clean_up"])


def _do(
    site: Site, job: Job, run_id: int, item: dict[str, int], before: list[str]
) -> dict[str, Any]:
    index = item["index"]
    if "action" in item:
        name = f"act/{index}/{item['action']}"
        return job.step(name, steps.act, site, job, run_id, item, before)
    name = f"apply/{index}/{item['place']}"
    return job.step(name, steps.apply, site, job, run_id, item, before)


def _finish(
    site: Site, job: Job, run_id: int, changed: dict[str, list[str]], *, clean_up: bool
) -> None:
    if clean_up:
        ((index, before),) = changed.items()  # only images with one index are cleaned up
        step = steps.clean_components
        cleaned = job.step("optimize", step, site, job, run_id, int(index), before)
        if cleaned["changed"]:
            before.append(cleaned["folder"])
    report = job.step("commit", finishing.commit, site, job, run_id, changed)
    if clean_up:
        report = job.step("export", finishing.export, site, job, run_id, report)
    job.step("verify", finishing.verify, site, job, run_id, report)
    job.step("store", finishing.store, site, job, run_id, report)
    job.step("publish", finishing.publish, site, job, run_id, report)


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
