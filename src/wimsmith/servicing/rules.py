"""Decisions of servicing that need nothing but their inputs: time, order, plan, words, space."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from wimsmith.errors import InvalidInput, InvalidState, NotOffered
from wimsmith.offline.backends.sentences import PROBLEMS
from wimsmith.offline.facts import PackageState
from wimsmith.offline.planning.exclusions import Exclusion
from wimsmith.offline.verdicts import EXCLUDED, Finding, Verdict
from wimsmith.servicing.models import ScheduleState, Status
from wimsmith.servicing.preview import Candidate, IndexState, in_order

TRANSITIONS: Mapping[ScheduleState, frozenset[ScheduleState]] = {
    ScheduleState.NONE: frozenset([ScheduleState.SCHEDULED]),
    ScheduleState.SCHEDULED: frozenset([ScheduleState.RUNNING, ScheduleState.FAILED]),
    ScheduleState.RUNNING: frozenset([ScheduleState.SUCCEEDED, ScheduleState.FAILED]),
    ScheduleState.SUCCEEDED: frozenset(),
    ScheduleState.FAILED: frozenset(),
}
"""From which state to which a schedule may go."""

ENDED = frozenset(
    [
        Status.SUCCESSFUL,
        Status.SUCCESSFUL_WITH_ERRORS,
        Status.NOTHING_APPLIED,
        Status.FAILED,
        Status.CANCELLED,
    ]
)

_SAFETY_BYTES = 64 << 20
_UNPACKED_FACTOR = 4
"""Room for what an update unpacks to; packed content of Windows updates grows about threefold."""


def move(state: ScheduleState, wanted: ScheduleState) -> ScheduleState:
    """The next state of a schedule.

    Raises:
        InvalidState: the table of transitions does not allow it.
    """
    if wanted not in TRANSITIONS[state]:
        raise InvalidState(f"a schedule that is {state} cannot become {wanted}")
    return wanted


def when(
    *, run_now: bool, run_at: datetime | None, utc: bool, moment: datetime, local: tzinfo
) -> datetime | None:
    """The moment a schedule is due, aware; None for now.

    Args:
        run_now: As soon as possible.
        run_at: At this time; without zone it is local, or UTC if `utc`.
        utc: The time is UTC.
        moment: The present, aware.
        local: Zone of this server.

    Raises:
        InvalidInput: neither or both; UTC without a time; a time with another zone than UTC and
            `utc`; a time in the past.
    """
    if run_now == (run_at is not None):
        raise InvalidInput("exactly one of run_now and run_at must be given")
    if run_at is None:
        if utc:
            raise InvalidInput("utc applies to run_at only")
        return None
    if utc and run_at.tzinfo is not None and run_at.utcoffset() != UTC.utcoffset(None):
        raise InvalidInput(f"run_at {run_at.isoformat()} has another offset than utc says")
    due = run_at if run_at.tzinfo else run_at.replace(tzinfo=UTC if utc else local)
    if due <= moment:
        here = moment.astimezone(local)
        raise InvalidInput(
            f"run_at {run_at.isoformat()} is in the past; "
            f"it is {here:%Y-%m-%d %H:%M:%S} {here.tzname()} on this server"
        )
    return due.astimezone(UTC)


def refuse_options(
    *, remove_superseded: bool, update_points: bool, recurrence: Any, index_count: int
) -> None:
    """Refuse by name what this version does not do.

    Raises:
        InvalidInput: removing superseded updates from an image with several indexes.
        NotOffered: anything else that is asked for.
    """
    if remove_superseded and index_count > 1:
        raise InvalidInput(
            "superseded updates are only removed from images with one index; "
            f"this one has {index_count}",
            hint="Extract one index first: `wimsmith image extract`.",
        )
    wanted = {
        "update_distribution_points": update_points,
        "recurrence (recurring schedules)": recurrence is not None,
    }
    for name, asked in wanted.items():
        if asked:
            raise NotOffered(f"{name} is not part of this version")


@dataclass(frozen=True, slots=True)
class PlannedApply:
    """Apply one update to one index."""

    index_number: int
    update_id: int
    place: int


@dataclass(frozen=True, slots=True)
class PlannedSkip:
    """Do not touch one index with one update, for reasons known before the image is opened.

    `findings` are all reasons; the first of them decides.
    """

    index_number: int
    update_id: int
    place: int
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        return self.findings[0].verdict

    @property
    def code(self) -> str:
        return self.findings[0].code

    @property
    def text(self) -> str:
        return self.findings[0].text


Planned = PlannedApply | PlannedSkip


def plan(
    indexes: Sequence[IndexState],
    chosen: Sequence[Candidate],
    exclusions: Sequence[Exclusion] = (),
) -> tuple[Planned, ...]:
    """What is to be done, index after index, updates in the order in which they must go.

    Updates that can be opened are left to the engine, which sees the image itself; those that
    are excluded or refused are skipped, with all that the snapshot says of them.
    """
    by_number = {one.update_id: one for one in chosen}
    return tuple(
        _planned(index.number, place, by_number[number], findings)
        for index in indexes
        for place, (number, findings) in enumerate(in_order(index, chosen, exclusions), 1)
    )


def status_of(outcomes: Iterable[Verdict]) -> Status:
    """The word for a run that came to its end."""
    found = set(outcomes)
    if Verdict.APPLIED not in found:
        return Status.NOTHING_APPLIED
    return Status.SUCCESSFUL_WITH_ERRORS if found & PROBLEMS else Status.SUCCESSFUL


def schedule_state(status: Status, outcomes: Iterable[Verdict]) -> ScheduleState:
    """The state of a schedule whose run came to its end with this word."""
    if status in {Status.FAILED, Status.CANCELLED}:
        return ScheduleState.FAILED
    if status is Status.NOTHING_APPLIED and Verdict.FAILED in set(outcomes):
        return ScheduleState.FAILED
    return ScheduleState.SUCCEEDED


def reached(identity: str, state: int) -> str:
    """What must be said of an update whose package is in the image, but not installed."""
    if state >= PackageState.INSTALLED:
        return ""
    if state == PackageState.SUPERSEDED:
        return f"{identity} is registered; a higher version is in use"
    return f"{identity} is staged only: what it belongs to is not installed or switched off"


def needed_bytes(
    base_bytes: int, update_bytes: Sequence[int], index_count: int, *, copies: int = 1
) -> int:
    """Room a run needs on the servicing drive: the new file, and what the updates unpack to.

    `copies` is 2 where the new file is exported once more.
    """
    unpacked = sum(update_bytes) * _UNPACKED_FACTOR
    return base_bytes * copies + unpacked * (index_count + 1) + _SAFETY_BYTES


def _planned(
    index_number: int, place: int, candidate: Candidate, findings: tuple[Finding, ...]
) -> Planned:
    excluded = bool(findings) and findings[0].code == EXCLUDED
    if excluded or candidate.refused is not None:
        return PlannedSkip(index_number, candidate.update_id, place, findings)
    return PlannedApply(index_number, candidate.update_id, place)
