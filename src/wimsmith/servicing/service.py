"""Use cases of servicing that read or change rows; the long work is in `jobs`."""

import logging
from collections.abc import Collection, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from wimsmith.db.base import now
from wimsmith.db.paging import Order, Page, PageQuery, page
from wimsmith.errors import InvalidInput, InvalidState, NativeServicingOff, NotFound, WimsmithError
from wimsmith.images import rules as image_rules
from wimsmith.images import service as images
from wimsmith.images.models import MAX_COMMENT, MAX_NAME, Image
from wimsmith.jobs.models import JobRow
from wimsmith.offline.verdicts import Verdict
from wimsmith.servicing import exclusions, planning, preview, rules
from wimsmith.servicing.actions import actions_of
from wimsmith.servicing.models import (
    FIRST_SCHEDULE_ID,
    ScheduledAction,
    ScheduledUpdate,
    ScheduleState,
    ServicingResult,
    ServicingRun,
    ServicingSchedule,
    Status,
)
from wimsmith.servicing.schemas import ScheduleRequest
from wimsmith.site import service as site_service
from wimsmith.site import settings
from wimsmith.site.access import Actor, ObjectClass, Verb, require
from wimsmith.site.context import Site
from wimsmith.updates import service as updates
from wimsmith.updates.models import Update

log = logging.getLogger("wimsmith.servicing")

SERVICE_IMAGE = "service-image"
SWITCH_ON = f"Switch it on: wimsmith settings set {settings.NATIVE_SERVICING} true"


def check_native(session: Session) -> None:
    """Raises NativeServicingOff: the administrator has not switched on the experiment."""
    if not settings.get(session, settings.NATIVE_SERVICING):
        raise NativeServicingOff(f"setting {settings.NATIVE_SERVICING} is false", hint=SWITCH_ON)


def schedule(
    session: Session, site: Site, actor: Actor, wanted: ScheduleRequest
) -> ServicingSchedule:
    """Choose updates for an image, to be applied now or once at a time.

    Raises:
        NativeServicingOff, NotOffered, NotFound, InvalidInput, Forbidden
    """
    require(actor, ObjectClass.SERVICING, Verb.CREATE)
    check_native(session)
    image = images.find(session, actor, wanted.image)
    version = images.version_of(session, image)
    rules.refuse_options(
        remove_superseded=wanted.remove_superseded,
        update_points=wanted.update_distribution_points,
        recurrence=wanted.recurrence,
        index_count=len(version.indexes),
    )
    moment = now()
    local = moment.astimezone().tzinfo
    assert local is not None
    due = rules.when(
        run_now=wanted.run_now, run_at=wanted.run_at, utc=wanted.utc, moment=moment, local=local
    )
    chosen = _chosen(session, actor, wanted.updates)
    actions = actions_of(session, wanted)
    if not (chosen or actions):
        raise InvalidInput("no updates are chosen, and nothing else is to be done")
    row = ServicingSchedule(
        id=site_service.next_number(session, "schedule", FIRST_SCHEDULE_ID),
        image_id=image.id,
        name=image_rules.check_text("name", wanted.name, MAX_NAME),
        description=image_rules.check_text("description", wanted.description, MAX_COMMENT),
        run_now=wanted.run_now,
        run_at=due,
        utc=wanted.utc,
        continue_on_error=wanted.continue_on_error,
        remove_superseded=wanted.remove_superseded,
        allow_not_generalised=wanted.allow_not_generalised,
        actor=actor.name,
    )
    session.add(row)
    session.flush()
    for place, update in enumerate(chosen, 1):
        session.add(ScheduledUpdate(schedule_id=row.id, update_id=update.id, place=place))
    for place, action in enumerate(actions, 1):
        session.add(
            ScheduledAction(
                schedule_id=row.id,
                place=place,
                kind=action.kind,
                subject=action.subject,
                data=action.data,
            )
        )
    session.flush()
    session.refresh(row)
    identities = {"updates": [update.id for update in chosen]}
    site_service.audit(
        session, actor.name, "create", f"servicing schedule {row.id}", None, identities
    )
    images.show_schedule(session, image.id, due or moment, Status.SCHEDULED)
    if wanted.run_now:
        _start(session, site, row)
    return row


def start_due(site: Site) -> int:
    """Start every schedule that is due, also those missed while the service was down."""
    due = select(ServicingSchedule.id).where(
        ServicingSchedule.state == ScheduleState.SCHEDULED,
        ServicingSchedule.run_at <= now(),
        ~select(ServicingRun.id).where(ServicingRun.schedule_id == ServicingSchedule.id).exists(),
    )
    with site.database.read() as session:
        if not session.scalars(due.limit(1)).first():
            return 0
    log.info("Checking if there are schedule(s) which need to be run at this time.")
    with site.database.write() as session:
        ids = session.scalars(due.order_by(ServicingSchedule.run_at)).all()
        for number in ids:
            _start(session, site, session.get_one(ServicingSchedule, number))
    return len(ids)


def find(session: Session, actor: Actor, reference: str) -> ServicingSchedule:
    """The schedule with this number, or the latest of the image with this package id or name.

    Raises:
        NotFound: there is none.
    """
    require(actor, ObjectClass.SERVICING, Verb.READ)
    if reference.isdecimal() and int(reference) >= FIRST_SCHEDULE_ID:
        found = session.get(ServicingSchedule, int(reference))
    else:
        image = images.find(session, actor, reference)
        statement = select(ServicingSchedule).where(ServicingSchedule.image_id == image.id)
        found = session.scalars(statement.order_by(ServicingSchedule.id.desc())).first()
    if found is None:
        raise NotFound(f"servicing schedule {reference}")
    return found


def run_of(session: Session, schedule_row: ServicingSchedule) -> ServicingRun | None:
    """The run of a schedule, if it has one."""
    statement = select(ServicingRun).where(ServicingRun.schedule_id == schedule_row.id)
    return session.scalars(statement).one_or_none()


def get_run(session: Session, actor: Actor, number: int) -> ServicingRun:
    """Raises NotFound."""
    require(actor, ObjectClass.SERVICING, Verb.READ)
    found = session.get(ServicingRun, number)
    if found is None:
        raise NotFound(f"servicing run {number}")
    return found


def schedules(
    session: Session, actor: Actor, query: PageQuery, *, image: str = "", state: str = ""
) -> Page[ServicingSchedule]:
    """Schedules, the newest first."""
    require(actor, ObjectClass.SERVICING, Verb.READ)
    statement = select(ServicingSchedule)
    if image:
        found = images.find(session, actor, image)
        statement = statement.where(ServicingSchedule.image_id == found.id)
    if state:
        statement = statement.where(func.lower(ServicingSchedule.state) == state.lower())
    order = Order(
        {"id": ServicingSchedule.id, "created_at": ServicingSchedule.created_at},
        ServicingSchedule.id,
        "-id",
    )
    return page(session, statement, order, query)


def runs(
    session: Session, actor: Actor, query: PageQuery, *, image: str = ""
) -> Page[ServicingRun]:
    """Runs, the newest first."""
    require(actor, ObjectClass.SERVICING, Verb.READ)
    statement = select(ServicingRun)
    if image:
        found = images.find(session, actor, image)
        statement = statement.join(ServicingRun.schedule).where(
            ServicingSchedule.image_id == found.id
        )
    order = Order({"id": ServicingRun.id}, ServicingRun.id, "-id")
    return page(session, statement, order, query)


def cancel(session: Session, site: Site, actor: Actor, row: ServicingSchedule) -> JobRow:
    """End a run that is in process; nothing of it is published.

    Raises:
        InvalidState: it is not in process, or already publishing.
    """
    require(actor, ObjectClass.SERVICING, Verb.MODIFY)
    run = run_of(session, row)
    if run is None or run.status is not Status.IN_PROCESS:
        status = run.status if run else Status.SCHEDULED
        raise InvalidState(
            f"schedule {row.id} is {status}; only a run that is {Status.IN_PROCESS} is cancelled",
            hint="A schedule that has not started is cleared instead.",
        )
    site_service.audit(session, actor.name, "cancel", f"servicing schedule {row.id}")
    return site.jobs.cancel(session, run.job_id, actor.name)


def clear(session: Session, site: Site, actor: Actor, row: ServicingSchedule) -> None:
    """Remove a schedule that has not started.

    Raises:
        InvalidState: it has started, or ended.
    """
    require(actor, ObjectClass.SERVICING, Verb.MODIFY)
    run = run_of(session, row)
    if row.state is not ScheduleState.SCHEDULED or (run and run.status is not Status.SCHEDULED):
        raise InvalidState(f"schedule {row.id} is {row.state}; it is kept as a record")
    if run is not None:
        site.jobs.cancel(session, run.job_id, actor.name)
    site_service.audit(session, actor.name, "delete", f"servicing schedule {row.id}")
    image_id = row.image_id
    session.delete(row)
    session.flush()
    _show_latest(session, image_id)


def results_of_image(
    session: Session, actor: Actor, image: Image, index_number: int | None = None
) -> Sequence[ServicingResult]:
    """What became last of every update on every index of an image."""
    require(actor, ObjectClass.SERVICING, Verb.READ)
    statement = (
        select(ServicingResult)
        .join(ServicingRun, ServicingResult.run_id == ServicingRun.id)
        .join(ServicingRun.schedule)
        .where(ServicingSchedule.image_id == image.id)
        .order_by(ServicingResult.index_number, ServicingResult.place, ServicingResult.run_id)
    )
    if index_number is not None:
        statement = statement.where(ServicingResult.index_number == index_number)
    latest: dict[tuple[int, int], ServicingResult] = {}
    for row in session.scalars(statement):
        key = (row.index_number, row.update_id)
        if key not in latest or _says_more(row, latest[key]):
            latest[key] = row
    return list(latest.values())


def choices(
    session: Session, actor: Actor, image: Image, *, text: str = "", architecture: str = ""
) -> list[tuple[Update, list[preview.Likely]]]:
    """Updates that at least one index of an image may take, with what each index may say."""
    states = planning.index_states(session, images.version_of(session, image))
    excluded = exclusions.of_image(session, image)
    query, found = PageQuery(limit=500, sort="-imported_at"), []
    while True:
        rows = updates.search(session, actor, query, text=text, architecture=architecture)
        for update, one in zip(rows.items, planning.candidates(session, rows.items), strict=True):
            likely = [preview.judge(one, state, excluded) for state in states]
            found.append((update, likely))
        if rows.next is None:
            return found
        query = PageQuery(limit=500, sort="-imported_at", cursor=rows.next)


def planned(
    session: Session, actor: Actor, image: Image, references: Sequence[str | int]
) -> list[tuple[int, Update, preview.Likely]]:
    """What a run would likely do: for each index place, update and what would become of it.

    Raises:
        NotFound: an update is not there.
        InvalidInput: no update is named, or a name means several.
    """
    require(actor, ObjectClass.SERVICING, Verb.READ)
    chosen = {one.id: one for one in _chosen(session, actor, references)}
    if not chosen:
        raise InvalidInput("no updates are named")
    judged = {one.update_id: one for one in planning.candidates(session, list(chosen.values()))}
    excluded = exclusions.of_image(session, image)
    return [
        (place, chosen[number], preview.likely(judged[number], index, findings))
        for index in planning.index_states(session, images.version_of(session, image))
        for place, (number, findings) in enumerate(
            preview.in_order(index, list(judged.values()), excluded), 1
        )
    ]


def failed_updates(session: Session, actor: Actor) -> Sequence[tuple[Update, int]]:
    """Updates whose latest result on some image is a failure, with the number of images."""
    require(actor, ObjectClass.SERVICING, Verb.READ)
    failed: dict[int, set[int]] = {}
    for image in session.scalars(select(Image)):
        for row in results_of_image(session, actor, image):
            if row.outcome is Verdict.FAILED:
                failed.setdefault(row.update_id, set()).add(image.id)
    return [(session.get_one(Update, key), len(failed[key])) for key in sorted(failed)]


def unfinished_runs(session: Session, job_ids: Collection[str]) -> Sequence[int]:
    """Numbers of the runs of these jobs."""
    statement = select(ServicingRun.id).where(ServicingRun.job_id.in_(list(job_ids)))
    return session.scalars(statement).all()


def begin_run(session: Session, run: ServicingRun) -> None:
    """Scheduled becomes In Process, on the version that is current now.

    Doing it again after a crash changes nothing.
    """
    if run.status is not Status.SCHEDULED:
        return
    version = images.version_of(session, run.schedule.image)
    run.base_version, run.base_digest = version.number, version.digest
    run.status, run.started_at = Status.IN_PROCESS, now()
    run.schedule.state = rules.move(run.schedule.state, ScheduleState.RUNNING)
    run.schedule.last_run_at = run.started_at
    images.show_schedule(session, run.schedule.image_id, run.schedule.run_at or now(), run.status)
    session.flush()


def conclude(session: Session, run: ServicingRun, status: Status, text: str = "") -> None:
    """Give a run its last word, once."""
    if run.status in rules.ENDED:
        return
    run.status, run.text, run.ended_at = status, text, now()
    outcomes = [row.outcome for row in run.outcomes]
    state = rules.schedule_state(status, outcomes)
    run.schedule.state = rules.move(run.schedule.state, state)
    due = run.schedule.run_at or run.started_at
    images.show_schedule(session, run.schedule.image_id, due, status)
    session.flush()


def fail_run(session: Session, run: ServicingRun, error: WimsmithError, status: Status) -> None:
    """End a run of which nothing was published: what was applied was not."""
    if run.status in rules.ENDED:
        return
    for row in run.outcomes:
        if row.changed and row.outcome is Verdict.NOT_ATTEMPTED:
            row.text = "Rolled back: nothing was committed"
    run.error_code, run.error_text = error.code, str(error)
    conclude(session, run, status, str(error))


def _chosen(session: Session, actor: Actor, references: Sequence[str | int]) -> list[Update]:
    found = {
        update.id: update
        for update in (updates.find(session, actor, str(one)) for one in references)
    }
    return list(found.values())


def _start(session: Session, site: Site, row: ServicingSchedule) -> ServicingRun:
    image = row.image
    version = images.version_of(session, image)
    run = ServicingRun(
        schedule_id=row.id,
        job_id="",
        base_version=version.number,
        base_digest=version.digest,
    )
    job = site.jobs.submit(
        session,
        SERVICE_IMAGE,
        subject=image.package_id,
        lane=image.package_id,
        params={"schedule_id": row.id},
        actor=row.actor,
    )
    run.job_id = job.id
    session.add(run)
    session.flush()
    reason = "is marked for RunNow by the administrator" if row.run_now else "is due"
    log.info("Schedule with ID %d (Schedule Name = %s) %s", row.id, row.name, reason)
    return run


def _says_more(new: ServicingResult, old: ServicingResult) -> bool:
    return new.outcome is not Verdict.NOT_ATTEMPTED or old.outcome is Verdict.NOT_ATTEMPTED


def _show_latest(session: Session, image_id: int) -> None:
    statement = select(ServicingSchedule).where(ServicingSchedule.image_id == image_id)
    latest = session.scalars(statement.order_by(ServicingSchedule.id.desc())).first()
    if latest is None:
        images.show_schedule(session, image_id, None, "")
        return
    run = run_of(session, latest)
    status = run.status if run else Status.SCHEDULED
    images.show_schedule(session, image_id, latest.run_at or latest.created_at, status)
