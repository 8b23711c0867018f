"""The steps of a servicing run from the commit on: write, export, verify, store, publish."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from wimsmith.db.base import now
from wimsmith.errors import (
    Cancelled,
    CommitFailed,
    DamagedContent,
    Interrupted,
    VerificationFailed,
    WimsmithError,
)
from wimsmith.images import service as images
from wimsmith.images.facts import FileFacts, load, read_file, save
from wimsmith.images.models import Origin
from wimsmith.images.service import NewVersion
from wimsmith.jobs.outcome import revive
from wimsmith.jobs.port import Job
from wimsmith.offline.backends.sentences import UNMOUNTING, Kind
from wimsmith.offline.facts import PackageState
from wimsmith.offline.progress import Event
from wimsmith.offline.verdicts import Verdict
from wimsmith.servicing import rules, service
from wimsmith.servicing.models import ServicingResult, ServicingRun, Status
from wimsmith.servicing.options import backend_called
from wimsmith.servicing.rows import brought, run_row
from wimsmith.servicing.steps import COMPONENT, opened_run
from wimsmith.servicing.workspace import Workspace
from wimsmith.site import service as site_service
from wimsmith.site.context import Site
from wimsmith.site.models import Severity
from wimsmith.storage import library
from wimsmith.storage.files import hash_file

log = logging.getLogger("wimsmith.servicing")

UNMOUNT_FAILED = 7913


def commit(
    site: Site, job: Job, run_id: int, changed: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Write the new image from the base and the change sets.

    Raises:
        CommitFailed: with what the engine said; message 7913 is sent.
        NotEnoughSpace
    """
    with site.database.read() as session:
        run = run_row(session, run_id)
        workspace, package_id = Workspace.of(run.workspace), run.schedule.image.package_id
    log.info(UNMOUNTING)
    job.progress(Event("commit"))
    workspace.out.unlink(missing_ok=True)
    done = {int(index): names for index, names in changed.items()}
    try:
        with opened_run(site, job, run_id, done) as (opened, _workspace):
            report = opened.commit(workspace.out)
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
    return {
        "sha256": report.sha256,
        "size_bytes": report.size_bytes,
        "file": workspace.out.name,
    }


def export(site: Site, job: Job, run_id: int, report: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the new image once more, without what no index of it needs, and say what was freed.

    Returns:
        The report of the copy, which takes the place of what was committed.
    """
    with site.database.read() as session:
        run = run_row(session, run_id)
        workspace, backend = Workspace.of(run.workspace), backend_called(run.backend)
        version = images.version_of(session, run.schedule.image, run.base_version)
        before = version.size_bytes
    job.progress(Event("export"))
    workspace.exported.unlink(missing_ok=True)
    backend.export(workspace.out, workspace.exported, job.progress)
    made = hash_file(workspace.exported, job.progress, "export")
    committed, after = report["size_bytes"], made.size_bytes
    sizes = {
        "before_bytes": before,
        "committed_bytes": committed,
        "after_bytes": after,
        "freed_bytes": before - after,
    }
    with site.database.write() as session:
        run = run_row(session, run_id)
        run.clean_up = {**(run.clean_up or {}), **sizes}
    log.info(
        "Exported image: %d bytes before servicing, %d bytes committed, %d bytes exported,"
        " %d bytes freed",
        before,
        committed,
        after,
        before - after,
    )
    return {"sha256": made.digest, "size_bytes": after, "file": workspace.exported.name}


def verify(site: Site, job: Job, run_id: int, report: Mapping[str, Any]) -> None:
    """Read the new image back: its bytes, its indexes, and the packages that must be in it.

    Raises:
        VerificationFailed: with what is not as it should be.
    """
    with site.database.read() as session:
        run = run_row(session, run_id)
        workspace = Workspace.of(run.workspace)
        version = images.version_of(session, run.schedule.image, run.base_version)
        revisions = {index.number: (index.build, index.revision) for index in version.indexes}
        wanted = [
            (row.index_number, name) for row in run.results for name in row.packages if row.changed
        ]
        promised = [
            (row.index_number, identity, leads_to)
            for row in run.results
            if row.changed
            for identity, leads_to in brought(row)
        ]
        removed = {
            one.index_number for one in run.actions if one.changed and one.kind is Kind.REMOVE
        }
    job.progress(Event("verify"))
    made = workspace.made(report["file"])
    measured = hash_file(made, job.progress, "verify")
    if measured.digest != report["sha256"]:
        raise VerificationFailed(f"SHA-256 {measured.digest}, committed was {report['sha256']}")
    facts = read_file(made, job.progress)
    check_facts(facts, revisions, wanted, removed)
    check_builds(facts, promised)
    save(facts, workspace.facts)


def check_facts(
    facts: FileFacts,
    revisions: Mapping[int, tuple[int, int]],
    wanted: Sequence[tuple[int, str]],
    may_fall: Collection[int] = (),
) -> None:
    """Compare a new image with what it was made from.

    Args:
        facts: What was found in it.
        revisions: Build and revision of each index before.
        wanted: Index and identity of the packages that must be installed or staged.
        may_fall: Indexes whose revision may be lower now, since a package was removed from them.

    Raises:
        VerificationFailed
    """
    found = {index.number: index for index in facts.indexes}
    if set(found) != set(revisions):
        raise VerificationFailed(f"it has indexes {sorted(found)}, not {sorted(revisions)}")
    for number, before in revisions.items():
        after = (found[number].build, found[number].revision)
        if after < before and number not in may_fall:
            raise VerificationFailed(f"index {number} went from build {before} to {after}")
    for number, identity in wanted:
        state = package_state(facts, number, identity)
        if state is None or state < PackageState.STAGED:
            raise VerificationFailed(f"index {number}: {identity} has state {state}")


def check_builds(facts: FileFacts, promised: Sequence[tuple[int, str, str]]) -> None:
    """Check that each index has reached the highest build that an update in it promised.

    Args:
        facts: What was found in the new image.
        promised: Index, identity of the package, and build and revision (`19041.500`) or nothing.

    Raises:
        VerificationFailed: `revision-not-advanced`.
    """
    highest: dict[int, tuple[int, int]] = {}
    for number, identity, text in promised:
        if text and package_state(facts, number, identity) == PackageState.INSTALLED:
            build, revision = (int(part) for part in text.split("."))
            highest[number] = max(highest.get(number, (0, 0)), (build, revision))
    found = {index.number: (index.build, index.revision) for index in facts.indexes}
    for number, (build, revision) in highest.items():
        # An enablement package raises the build, as 19041 to 19045, and leaves the revision.
        if found[number][0] < build or found[number][1] != revision:
            at = ".".join(map(str, found[number]))
            text = f"index {number} is at {at}, its updates promise {build}.{revision}"
            raise VerificationFailed(f"revision-not-advanced: {text}")


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
        workspace = Workspace.of(run_row(session, run_id).workspace)
    job.progress(Event("store"))
    made = workspace.made(report["file"])
    if made.exists():
        blob = site.store.put(made, take=True, progress=job.progress)
        if blob.digest != report["sha256"]:
            site.store.delete(blob.digest)
            raise DamagedContent(f"{made} changed after it was verified")
    site.store.stat(report["sha256"])


def publish(site: Site, job: Job, run_id: int, report: Mapping[str, Any]) -> int:
    """Make the new image the current version, in one transaction.

    Raises:
        VersionChanged: somebody published another version meanwhile; nothing changes.
    """
    with site.database.read() as session:
        run = run_row(session, run_id)
        workspace = Workspace.of(run.workspace)
        if run.result_version is not None:
            return run.result_version
    facts = load(workspace.facts)
    job.progress(Event("publish"))
    with site.database.write() as session:
        run = run_row(session, run_id)
        version = _publish_version(session, site, job, run, facts, report["sha256"])
        for row in run.results:
            if row.changed:
                row.outcome, row.applied_at = Verdict.APPLIED, now()
                row.text = "; ".join(_reached(facts, row))
        for action in run.actions:
            if action.changed:
                action.outcome, action.applied_at, action.text = Verdict.APPLIED, now(), ""
        run.result_version = version
        _conclude(session, run)
    return version


def clean_up(
    site: Site, job: Job, run_id: int, failure: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Remove the workspace, let go of the base, and give the run its last word."""
    job.progress(Event("clean up"))
    with site.database.write() as session:
        run = run_row(session, run_id)
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


def _reached(facts: FileFacts, row: ServicingResult) -> Iterator[str]:
    """What must be said of packages of an update that are not installed."""
    for identity, _ in brought(row):
        state = package_state(facts, row.index_number, identity)
        if text := rules.reached(identity, state or PackageState.ABSENT):
            yield text


def _publish_version(
    session: Session, site: Site, job: Job, run: ServicingRun, facts: FileFacts, digest: str
) -> int:
    updates = [row.update for row in run.results if row.changed]
    applied = [one.article or one.identity or one.file_name for one in updates]
    done = [f"{row.kind} {row.subject}" for row in run.actions if row.changed]
    new = NewVersion(
        digest=digest,
        facts=facts,
        origin=Origin.SERVICED,
        actor=job.actor,
        job_id=job.id,
        text=f"Serviced with {', '.join(dict.fromkeys([*applied, *done]))}",
        parent_image=run.schedule.image.package_id,
        parent_version=run.base_version,
        run_id=run.id,
    )
    image = run.schedule.image
    return images.publish(session, site.store, image, new, run.base_version).number


def _conclude(session: Session, run: ServicingRun) -> None:
    session.flush()
    outcomes = [row.outcome for row in run.outcomes]
    service.conclude(session, run, rules.status_of(outcomes))
