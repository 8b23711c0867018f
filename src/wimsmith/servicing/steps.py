"""The steps of a servicing run up to its last change; each can be repeated: it owns what it writes.

A run does for each index: gate, packages to remove, updates, features to switch, clean-up. The
result of a step is a folder of the workspace; what is passed on are the names of those folders.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete
from sqlalchemy import update as update_rows
from sqlalchemy.orm import Session as Rows

from wimsmith.images import service as images
from wimsmith.jobs.models import Level
from wimsmith.jobs.port import Job
from wimsmith.offline.backends.choosing import Offer, choose
from wimsmith.offline.backends.interface import Session, StepOutcome
from wimsmith.offline.backends.sentences import (
    Kind,
    log_line,
    phase,
    tell_beginning,
    tell_outcome,
)
from wimsmith.offline.progress import Event
from wimsmith.offline.verdicts import Finding, Verdict, first
from wimsmith.servicing import exclusions, planning, rules, service
from wimsmith.servicing.actions import Action, carry_out, results_of
from wimsmith.servicing.models import (
    ActionResult,
    ServicingResult,
    ServicingRun,
    ServicingSchedule,
)
from wimsmith.servicing.options import apply_options, backend_called, backend_names
from wimsmith.servicing.rows import action_row, run_row, update_row
from wimsmith.servicing.rules import PlannedSkip
from wimsmith.servicing.workspace import Workspace, check_space
from wimsmith.site import service as site_service
from wimsmith.site import settings
from wimsmith.site.context import Site
from wimsmith.site.drive import resolve_drive
from wimsmith.site.models import Severity
from wimsmith.storage import library

log = logging.getLogger("wimsmith.servicing")

COMPONENT = "SMS_OFFLINE_SERVICING_MANAGER"
STARTED = 7900
CLEAN_UP = "clean-up"
_NOT_YET = "Applied, not yet committed"


def plan(site: Site, job: Job, run_id: int) -> dict[str, Any]:
    """Decide what to do with each update on each index, and write it down.

    Returns:
        `apply`: what to do on the indexes, in order: each with its `index` and either the `place`
        and `update` or the place of an `action`; `continue_on_error`; `clean_up`.

    Raises:
        NativeServicingOff: it was switched off since the schedule was made.
        NotSupported: no single backend can do all of the run.
    """
    job.progress(Event("plan"))
    with site.database.write() as session:
        service.check_native(session)
        run = run_row(session, run_id)
        service.begin_run(session, run)
        schedule = run.schedule
        version = images.version_of(session, schedule.image, run.base_version)
        indexes = [index.number for index in version.indexes]
        planned = rules.plan(
            planning.index_states(session, version),
            planning.candidates(session, [one.update for one in schedule.chosen]),
            exclusions.of_image(session, schedule.image),
        )
        run.backend = _backend_for(planned)
        session.execute(delete(ServicingResult).where(ServicingResult.run_id == run_id))
        session.execute(delete(ActionResult).where(ActionResult.run_id == run_id))
        session.add_all(_planned_row(run_id, item) for item in planned)
        for index in indexes:
            session.add_all(results_of(run_id, index, schedule))
        _announce(session, run)
        items = list(_items(indexes, planned, schedule))
        decided = {
            "continue_on_error": schedule.continue_on_error,
            "clean_up": schedule.remove_superseded,
        }
        names = {
            one.update_id: one.update.identity or one.update.file_name for one in schedule.chosen
        }
    for item in planned:
        if isinstance(item, PlannedSkip):
            log.warning("%s", log_line(item.verdict, names[item.update_id], item.text))
    return {"apply": items, **decided}


def stage(site: Site, job: Job, run_id: int) -> None:
    """Hold the base, see that there is room, and make the workspace.

    Raises:
        NotEnoughSpace: before anything is written.
    """
    with site.database.write() as session:
        run = run_row(session, run_id)
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
        copies = 2 if run.schedule.remove_superseded else 1
    if drive.warning:
        log.warning("%s", drive.warning)
        job.say(drive.warning, Level.WARNING)
    needed = rules.needed_bytes(
        base_bytes, [one.size_bytes for one in updates], index_count, copies=copies
    )
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


def gate(site: Site, job: Job, run_id: int, index: int) -> dict[str, Any]:
    """Whether an index may be changed; if not, everything on it is refused with that reason.

    Returns:
        `stopped`: the code of the reason, or nothing.
    """
    job.progress(Event(f"calibrate index {index}"))
    with opened_run(site, job, run_id, {}) as (opened, _workspace):
        report = opened.gate(index)
    decisive = first(report.findings)
    with site.database.write() as session:
        run = run_row(session, run_id)
        told = {
            "index": index,
            "findings": [asdict(one) for one in report.findings],
            "rules": [dict(one) for one in report.rules],
        }
        run.gate = [*(one for one in run.gate or [] if one["index"] != index), told]
        if decisive is not None:
            _stop_index(session, run_id, index, decisive)
    if decisive is None:
        log.info("Index %d: none of %d rules stands against servicing it", index, len(report.rules))
        return {"stopped": ""}
    log.error("Index %d is not serviced: %s (%s)", index, decisive.text, decisive.code)
    return {"stopped": decisive.code}


def apply(
    site: Site, job: Job, run_id: int, item: Mapping[str, int], before: Sequence[str]
) -> dict[str, Any]:
    """Apply one update to one index, on top of what was done there before.

    Args:
        site: The site.
        job: The job.
        run_id: The run.
        item: `index`, `place` and `update` of the plan.
        before: Names of the folders of what has changed this index.
    """
    index = item["index"]
    with site.database.read() as session:
        row = update_row(session, run_id, item)
        update_id, file_name = row.update_id, row.update.file_name
        name = row.update.identity or file_name
    tell_beginning(log, Kind.UPDATE, name, index)
    job.progress(Event(f"apply {name} to index {index}"))
    folder = f"{item['place']:04d}"
    with opened_run(site, job, run_id, {index: before}) as (opened, workspace):
        out = workspace.fresh_changes(index, folder)
        outcome = opened.apply(index, workspace.update(update_id, file_name), out)
    with site.database.write() as session:
        row = update_row(session, run_id, item)
        _keep(row, outcome)
        row.findings = [asdict(one) for one in outcome.findings]
        if outcome.verdict is Verdict.FAILED and row.run.failed_update_id is None:
            row.run.failed_update_id = row.update_id
    tell_outcome(log, Kind.UPDATE, name, index, outcome.verdict, outcome.text)
    return _told(outcome, name, folder)


def act(
    site: Site, job: Job, run_id: int, item: Mapping[str, int], before: Sequence[str]
) -> dict[str, Any]:
    """Remove a package from an index, switch a feature, or edit it; arguments as of `apply`."""
    index = item["index"]
    with site.database.read() as session:
        row = action_row(session, run_id, item)
        action = Action(row.kind, row.subject, row.data)
        kind, subject = row.kind, row.subject
    tell_beginning(log, kind, subject, index)
    job.progress(Event(f"{phase(kind, subject)} on index {index}"))
    folder = f"action-{item['action']:04d}"
    with opened_run(site, job, run_id, {index: before}) as (opened, workspace):
        outcome = carry_out(action, opened, index, workspace.fresh_changes(index, folder))
    with site.database.write() as session:
        _keep(action_row(session, run_id, item), outcome)
    tell_outcome(log, kind, subject, index, outcome.verdict, outcome.text)
    return _told(outcome, subject, folder)


def clean_components(
    site: Site, job: Job, run_id: int, index: int, before: Sequence[str]
) -> dict[str, Any]:
    """Remove superseded components from an index, and make what is installed permanent.

    An image that has switched the latter off stays as it is in this; a warning says so.

    Raises:
        CleanUpFailed: nothing of the run may be committed.
    """
    job.progress(Event(f"clean up the component store of index {index}"))
    log.info("Cleaning up the component store of index %d (reset base)", index)
    with opened_run(site, job, run_id, {index: before}) as (opened, workspace):
        out = workspace.fresh_changes(index, CLEAN_UP)
        report = opened.clean_up(index, out, reset_base=True)
    with site.database.write() as session:
        run_row(session, run_id).clean_up = {
            "index": index,
            "reset_base": report.reset_base,
            "text": report.text,
            "removed": list(report.removed),
            "emptied": list(report.emptied),
            "counts": [dict(one) for one in report.counts],
            "logical_bytes": report.logical_bytes,
            "packed_bytes": report.packed_bytes,
            "warnings": list(report.warnings),
        }
    log.info("Component clean-up of index %d: %s", index, report.text)
    for warning in report.warnings:
        log.warning("Index %d: %s", index, warning)
        job.say(warning, Level.WARNING)
    return {"changed": report.changed, "folder": CLEAN_UP}


@contextmanager
def opened_run(
    site: Site, job: Job, run_id: int, done: Mapping[int, Sequence[str]]
) -> Iterator[tuple[Session, Workspace]]:
    """A session of the run's backend, with the steps that are done."""
    with site.database.read() as session:
        run = run_row(session, run_id)
        workspace, base = Workspace.of(run.workspace), site.store.path(run.base_digest)
        backend = backend_called(run.backend)
        passed = [one["index"] for one in run.gate or [] if not one["findings"]]
        assert run.started_at is not None
        allow = run.schedule.allow_not_generalised
        options = apply_options(session, run.started_at, allow_not_generalised=allow)
    folders = {
        index: [workspace.changes(index, name) for name in names] for index, names in done.items()
    }
    opened_session = backend.open(
        base, workspace.work, options, done=folders, passed=passed, progress=job.progress
    )
    with opened_session as opened:
        yield opened, workspace


def _keep(row: ServicingResult | ActionResult, outcome: StepOutcome) -> None:
    """Write down what became of a step; what was applied waits for the commit."""
    waits = outcome.verdict is Verdict.APPLIED and outcome.changed
    row.outcome = Verdict.NOT_ATTEMPTED if waits else outcome.verdict
    row.changed, row.packages = waits, list(outcome.packages)
    row.code = "" if waits else outcome.code[:120]
    row.text = _NOT_YET if waits else outcome.text


def _told(outcome: StepOutcome, name: str, folder: str) -> dict[str, Any]:
    return {
        "verdict": outcome.verdict,
        "changed": outcome.verdict is Verdict.APPLIED and outcome.changed,
        "folder": folder,
        "update": name,
        "text": outcome.text,
    }


def _backend_for(planned: Sequence[rules.Planned]) -> str:
    """The backend of a run: the one that can apply what can be applied at all."""
    refused = {
        str(item.update_id): Finding(item.verdict, item.code, item.text)
        for item in planned
        if isinstance(item, PlannedSkip)
    }
    updates = list(dict.fromkeys(str(item.update_id) for item in planned))
    return choose([Offer(name, refused=refused) for name in backend_names()], updates).backend


def _items(
    indexes: Sequence[int], planned: Sequence[rules.Planned], schedule: ServicingSchedule
) -> Iterator[dict[str, int]]:
    """What to do, index after index: remove, apply, switch, edit."""
    removals = [one.place for one in schedule.actions if one.kind is Kind.REMOVE]
    others = [one.place for one in schedule.actions if one.kind is not Kind.REMOVE]
    for index in indexes:
        yield from ({"index": index, "action": place} for place in removals)
        for item in planned:
            if item.index_number == index and not isinstance(item, PlannedSkip):
                yield {"index": index, "place": item.place, "update": item.update_id}
        yield from ({"index": index, "action": place} for place in others)


def _planned_row(run_id: int, item: rules.Planned) -> ServicingResult:
    row = ServicingResult(
        run_id=run_id,
        index_number=item.index_number,
        update_id=item.update_id,
        place=item.place,
    )
    if isinstance(item, PlannedSkip):
        row.outcome, row.code, row.text = item.verdict, item.code[:120], item.text
        row.findings = [asdict(one) for one in item.findings]
    return row


def _stop_index(session: Rows, run_id: int, index: int, decisive: Finding) -> None:
    """Give everything that waits on an index the reason why the index is not touched."""
    for table in (ServicingResult, ActionResult):
        session.execute(
            update_rows(table)
            .where(
                table.run_id == run_id,
                table.index_number == index,
                table.outcome == Verdict.NOT_ATTEMPTED,
            )
            .values(outcome=decisive.verdict, code=decisive.code[:120], text=decisive.text)
        )


def _announce(session: Rows, run: ServicingRun) -> None:
    log.info("Processing started for Schedule with ID %d", run.schedule_id)
    strings = (run.schedule_id, run.schedule.image.package_id, run.schedule.name)
    site_service.send_status(session, log, STARTED, Severity.INFORMATION, COMPONENT, strings)
