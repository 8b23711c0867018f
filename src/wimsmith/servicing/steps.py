"""The steps of a servicing run. Each can be repeated: it owns what it writes."""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from wimsmith.db.base import now
from wimsmith.errors import (
    Cancelled,
    CommitFailed,
    DamagedContent,
    Interrupted,
    NotFound,
    VerificationFailed,
    WimsmithError,
)
from wimsmith.images import service as images
from wimsmith.images.facts import FileFacts, load, read_file, save
from wimsmith.images.models import Origin
from wimsmith.images.service import NewVersion
from wimsmith.jobs.models import Level
from wimsmith.jobs.outcome import revive
from wimsmith.jobs.port import Job
from wimsmith.offline.backends import NativeBackend
from wimsmith.offline.facts import PackageState
from wimsmith.offline.filetime import from_datetime
from wimsmith.offline.progress import Event
from wimsmith.offline.verdicts import Verdict
from wimsmith.servicing import rules, service
from wimsmith.servicing.models import ServicingResult, ServicingRun, Status
from wimsmith.servicing.options import apply_options
from wimsmith.servicing.rules import PlannedSkip
from wimsmith.servicing.workspace import Workspace, check_space
from wimsmith.site import service as site_service
from wimsmith.site import settings
from wimsmith.site.context import Site
from wimsmith.site.drive import resolve_drive
from wimsmith.site.models import Severity
from wimsmith.storage import library
from wimsmith.storage.files import hash_file

log = logging.getLogger("wimsmith.servicing")

COMPONENT = "SMS_OFFLINE_SERVICING_MANAGER"
STARTED, UNMOUNT_FAILED = 7900, 7913


def run_of_job(session: Session, job_id: str) -> ServicingRun:
    """The run that a job works on. Raises NotFound."""
    statement = select(ServicingRun).where(ServicingRun.job_id == job_id)
    found = session.scalars(statement).one_or_none()
    if found is None:
        raise NotFound(f"the servicing run of job {job_id}")
    return found


def plan(site: Site, job: Job, run_id: int) -> dict[str, Any]:
    """Decide what to do with each update on each index, and write it down.

    Returns:
        `apply`: places of the updates to apply, in order; `continue_on_error`.

    Raises:
        NativeServicingOff: it was switched off since the schedule was made.
    """
    job.progress(Event("plan"))
    with site.database.write() as session:
        service.check_native(session)
        run = _run(session, run_id)
        service.begin_run(session, run)
        version = images.version_of(session, run.schedule.image, run.base_version)
        planned = rules.plan(
            [index.number for index in version.indexes],
            [service.candidate(one.update) for one in run.schedule.chosen],
        )
        session.execute(delete(ServicingResult).where(ServicingResult.run_id == run_id))
        session.add_all(_planned_row(run_id, item) for item in planned)
        _announce(session, run)
        continue_on_error = run.schedule.continue_on_error
    for item in planned:
        if isinstance(item, PlannedSkip):
            log.warning("%s", rules.log_line(item.verdict, str(item.update_id), item.text))
    apply_items = [
        {"index": item.index_number, "place": item.place, "update": item.update_id}
        for item in planned
        if not isinstance(item, PlannedSkip)
    ]
    return {"apply": apply_items, "continue_on_error": continue_on_error}


def stage(site: Site, job: Job, run_id: int) -> None:
    """Hold the base, see that there is room, and make the workspace.

    Raises:
        NotEnoughSpace: before anything is written.
    """
    with site.database.write() as session:
        run = _run(session, run_id)
        library.lease(session, run.base_digest, job.id)
        drive = resolve_drive(
            settings.get(session, settings.SERVICING_DRIVE), site.config.state_dir
        )
        drive.folder.mkdir(parents=True, exist_ok=True)
        workspace = Workspace(drive.folder / str(run_id))
        run.workspace = os.fspath(workspace.folder)
        updates = [one.update for one in run.schedule.chosen if one.update.digest]
        version = images.version_of(session, run.schedule.image, run.base_version)
        base_bytes, index_count = version.size_bytes, len(version.indexes)
    if drive.warning:
        log.warning("%s", drive.warning)
        job.say(drive.warning, Level.WARNING)
    needed = rules.needed_bytes(base_bytes, [one.size_bytes for one in updates], index_count)
    check_space(
        [
            (drive.folder, needed, "servicing"),
            (site.store.folder, base_bytes, "content library"),
        ]
    )
    workspace.make()
    job.progress(Event("stage"))
    for update in updates:
        assert update.digest is not None
        link = workspace.update(update.id, update.file_name)
        link.unlink(missing_ok=True)
        link.symlink_to(site.store.path(update.digest))
    log.info("Initialization of schedule processing succeeded")


def apply(
    site: Site, job: Job, run_id: int, item: Mapping[str, int], before: Sequence[int]
) -> dict[str, Any]:
    """Apply one update to one index, on top of what earlier updates changed there.

    Args:
        site: The site.
        job: The job.
        run_id: The run.
        item: `index`, `place` and `update` of the plan.
        before: Places of the updates that have changed this index.
    """
    index_number, place = item["index"], item["place"]
    with site.database.read() as session:
        run = _run(session, run_id)
        workspace, base = Workspace.of(run.workspace), site.store.path(run.base_digest)
        row = _result(session, run, item)
        update_file = workspace.update(row.update_id, row.update.file_name)
        name = row.update.identity or row.update.file_name
        assert run.started_at is not None
        options = apply_options(session, run.started_at)
    log.info("Processing update %s on index %d", name, index_number)
    job.progress(Event(f"apply {name} to index {index_number}"))
    out = workspace.changes(index_number, place)
    shutil.rmtree(out, ignore_errors=True)
    outcome = NativeBackend().apply_update(
        base=base,
        index_number=index_number,
        update=update_file,
        previous=[workspace.changes(index_number, one) for one in before],
        out=out,
        work=workspace.fresh_expanded(),
        options=options,
        progress=job.progress,
    )
    with site.database.write() as session:
        row = _result(session, _run(session, run_id), item)
        waits = outcome.verdict is Verdict.APPLIED and outcome.changed
        row.outcome = Verdict.NOT_ATTEMPTED if waits else outcome.verdict
        row.changed, row.packages = waits, list(outcome.packages)
        row.code = "" if waits else outcome.code[:120]
        row.text = "Applied, not yet committed" if waits else outcome.text
        if outcome.verdict is Verdict.FAILED and row.run.failed_update_id is None:
            row.run.failed_update_id = row.update_id
    _tell(outcome.verdict, name, index_number, outcome.text)
    return {
        "verdict": outcome.verdict,
        "changed": waits,
        "update": name,
        "text": outcome.text,
    }


def commit(
    site: Site, job: Job, run_id: int, changed: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Write the new image from the base and the change sets.

    Raises:
        CommitFailed: with what the engine said; message 7913 is sent.
        NotEnoughSpace
    """
    with site.database.read() as session:
        run = _run(session, run_id)
        workspace, base = Workspace.of(run.workspace), site.store.path(run.base_digest)
        package_id, started = run.schedule.image.package_id, run.started_at
    assert started is not None
    log.info("UnMounting Image (Commit Changes = 1)...")
    job.progress(Event("commit"))
    workspace.out.unlink(missing_ok=True)
    try:
        report = NativeBackend().commit(
            base=base,
            changed={
                int(index): [workspace.changes(int(index), place) for place in places]
                for index, places in changed.items()
            },
            target=workspace.out,
            modified=from_datetime(started),
            progress=job.progress,
        )
    except (Cancelled, Interrupted):
        raise
    except (WimsmithError, OSError) as error:
        strings = (package_id, ",".join(changed), workspace.out, error)
        log.error("Image UnMount failed with error %s", error)  # noqa: TRY400 - the sentence readers know
        with site.database.write() as session:
            site_service.send_status(
                session, log, UNMOUNT_FAILED, Severity.ERROR, COMPONENT, strings
            )
        raise CommitFailed(error) from error
    return {"sha256": report.sha256, "size_bytes": report.size_bytes}


def verify(site: Site, job: Job, run_id: int, report: Mapping[str, Any]) -> None:
    """Read the new image back: its bytes, its indexes, and the packages that must be in it.

    Raises:
        VerificationFailed: with what is not as it should be.
    """
    with site.database.read() as session:
        run = _run(session, run_id)
        workspace = Workspace.of(run.workspace)
        version = images.version_of(session, run.schedule.image, run.base_version)
        revisions = {index.number: (index.build, index.revision) for index in version.indexes}
        wanted = [
            (row.index_number, name) for row in run.results for name in row.packages if row.changed
        ]
    job.progress(Event("verify"))
    measured = hash_file(workspace.out, job.progress, "verify")
    if measured.digest != report["sha256"]:
        raise VerificationFailed(f"SHA-256 {measured.digest}, committed was {report['sha256']}")
    facts = read_file(workspace.out, job.progress)
    check_facts(facts, revisions, wanted)
    save(facts, workspace.facts)


def check_facts(
    facts: FileFacts,
    revisions: Mapping[int, tuple[int, int]],
    wanted: Sequence[tuple[int, str]],
) -> None:
    """Compare a new image with what it was made from.

    Args:
        facts: What was found in it.
        revisions: Build and revision of each index before.
        wanted: Index and identity of the packages that must be installed or staged.

    Raises:
        VerificationFailed
    """
    found = {index.number: index for index in facts.indexes}
    if set(found) != set(revisions):
        raise VerificationFailed(f"it has indexes {sorted(found)}, not {sorted(revisions)}")
    for number, before in revisions.items():
        after = (found[number].build, found[number].revision)
        if after < before:
            raise VerificationFailed(f"index {number} went from build {before} to {after}")
    for number, identity in wanted:
        state = package_state(facts, number, identity)
        if state is None or state < PackageState.STAGED:
            raise VerificationFailed(f"index {number}: {identity} has state {state}")


def package_state(facts: FileFacts, index_number: int, identity: str) -> int | None:
    """The state of a package in an index, as found in the file; None if it is not there."""
    for index in facts.indexes:
        for one in index.packages:
            if (index.number, one.identity.lower()) == (index_number, identity.lower()):
                return one.state
    return None


def store(site: Site, job: Job, run_id: int, report: Mapping[str, Any]) -> None:
    """Move the new file into the library, if it did not get there before a crash.

    Raises:
        DamagedContent: it is not what was verified.
    """
    with site.database.read() as session:
        workspace = Workspace.of(_run(session, run_id).workspace)
    job.progress(Event("store"))
    if workspace.out.exists():
        blob = site.store.put(workspace.out, take=True, progress=job.progress)
        if blob.digest != report["sha256"]:
            site.store.delete(blob.digest)
            raise DamagedContent(f"{workspace.out} changed after it was verified")
    site.store.stat(report["sha256"])


def publish(site: Site, job: Job, run_id: int, report: Mapping[str, Any]) -> int:
    """Make the new image the current version, in one transaction.

    Raises:
        VersionChanged: somebody published another version meanwhile; nothing changes.
    """
    with site.database.read() as session:
        run = _run(session, run_id)
        workspace = Workspace.of(run.workspace)
        if run.result_version is not None:
            return run.result_version
    facts = load(workspace.facts)
    job.progress(Event("publish"))
    with site.database.write() as session:
        run = _run(session, run_id)
        version = _publish_version(session, site, job, run, facts, report["sha256"])
        for row in run.results:
            if row.changed:
                top = row.packages[0]
                state = package_state(facts, row.index_number, top)
                row.outcome, row.applied_at = Verdict.APPLIED, now()
                row.text = rules.reached(top, state or PackageState.ABSENT)
        run.result_version = version
        _conclude(session, run)
    return version


def clean_up(
    site: Site, job: Job, run_id: int, failure: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Remove the workspace, let go of the base, and give the run its last word."""
    job.progress(Event("clean up"))
    with site.database.write() as session:
        run = _run(session, run_id)
        if failure is not None:
            error = revive(dict(failure))
            cancelled = isinstance(error, Cancelled)
            status = Status.CANCELLED if cancelled else Status.FAILED
            service.fail_run(session, run, error, status)
        else:
            _conclude(session, run)
        library.release(session, job.id)
        folder, status = run.workspace, run.status
        package_id, version = run.schedule.image.package_id, run.result_version
        schedule_id = run.schedule_id
    if folder:
        Workspace.of(folder).remove()
    log.info("Completed processing image package %s. Status = %s", package_id, status)
    log.info("Updated history for image package %s in the database", package_id)
    if status in {Status.FAILED, Status.CANCELLED}:
        log.error("Schedule processing failed")
    else:
        log.info("Schedule processing succeeded")
    return {"run": run_id, "schedule": schedule_id, "status": status, "version": version}


def _run(session: Session, run_id: int) -> ServicingRun:
    found = session.get(ServicingRun, run_id)
    if found is None:
        raise NotFound(f"servicing run {run_id}")
    return found


def _result(session: Session, run: ServicingRun, item: Mapping[str, int]) -> ServicingResult:
    statement = select(ServicingResult).where(
        ServicingResult.run_id == run.id,
        ServicingResult.index_number == item["index"],
        ServicingResult.update_id == item["update"],
    )
    return session.scalars(statement).one()


def _planned_row(run_id: int, item: rules.Planned) -> ServicingResult:
    row = ServicingResult(
        run_id=run_id,
        index_number=item.index_number,
        update_id=item.update_id,
        place=item.place,
    )
    if isinstance(item, PlannedSkip):
        row.outcome, row.code, row.text = item.verdict, item.code[:120], item.text
    return row


def _announce(session: Session, run: ServicingRun) -> None:
    log.info("Processing started for Schedule with ID %d", run.schedule_id)
    strings = (run.schedule_id, run.schedule.image.package_id, run.schedule.name)
    site_service.send_status(session, log, STARTED, Severity.INFORMATION, COMPONENT, strings)


def _tell(verdict: Verdict, name: str, index_number: int, text: str) -> None:
    level = logging.WARNING if verdict in rules.PROBLEMS else logging.INFO
    log.log(level, "%s", rules.log_line(verdict, name, text))
    if verdict is Verdict.NOT_SUPPORTED:
        log.warning("Update %s on index %d: %s", name, index_number, text)


def _publish_version(
    session: Session, site: Site, job: Job, run: ServicingRun, facts: FileFacts, digest: str
) -> int:
    applied = [row.update.article or row.update.identity for row in run.results if row.changed]
    new = NewVersion(
        digest=digest,
        facts=facts,
        origin=Origin.SERVICED,
        actor=job.actor,
        job_id=job.id,
        text=f"Serviced with {', '.join(dict.fromkeys(applied))}",
        parent_image=run.schedule.image.package_id,
        parent_version=run.base_version,
        run_id=run.id,
    )
    image = run.schedule.image
    return images.publish(session, site.store, image, new, run.base_version).number


def _conclude(session: Session, run: ServicingRun) -> None:
    session.flush()
    service.conclude(session, run, rules.status_of(row.outcome for row in run.results))
