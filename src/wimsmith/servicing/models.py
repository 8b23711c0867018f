"""Tables of servicing."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from wimsmith.db.base import Base, now
from wimsmith.images.models import Image
from wimsmith.offline.backends.sentences import Kind
from wimsmith.offline.verdicts import Verdict
from wimsmith.updates.models import Update

FIRST_SCHEDULE_ID = 16_777_217
"""First schedule id seen in logs of Configuration Manager, kept so that readers know it."""


class ScheduleState(StrEnum):
    """State of a schedule, in the words of Configuration Manager."""

    NONE = "None"
    SCHEDULED = "Scheduled"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class Status(StrEnum):
    """What administrators read of a schedule or a run."""

    SCHEDULED = "Scheduled"
    IN_PROCESS = "In Process"
    SUCCESSFUL = "Successful"
    SUCCESSFUL_WITH_ERRORS = "Successful with errors"
    NOTHING_APPLIED = "Nothing applied"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class ServicingSchedule(Base):
    """Updates chosen for an image, and when they are to be applied."""

    __tablename__ = "servicing_schedule"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(50), default="")
    description: Mapped[str] = mapped_column(String(127), default="")
    run_now: Mapped[bool]
    run_at: Mapped[datetime | None] = mapped_column(index=True)
    utc: Mapped[bool] = mapped_column(default=False)
    continue_on_error: Mapped[bool] = mapped_column(default=False)
    remove_superseded: Mapped[bool] = mapped_column(default=False, server_default=false())
    allow_not_generalised: Mapped[bool] = mapped_column(default=False, server_default=false())
    state: Mapped[ScheduleState] = mapped_column(default=ScheduleState.SCHEDULED)
    actor: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_run_at: Mapped[datetime | None]

    image: Mapped[Image] = relationship(lazy="joined")
    chosen: Mapped[list["ScheduledUpdate"]] = relationship(
        order_by="ScheduledUpdate.place", passive_deletes="all", lazy="selectin"
    )
    actions: Mapped[list["ScheduledAction"]] = relationship(
        order_by="ScheduledAction.place", passive_deletes="all", lazy="selectin"
    )


class ScheduledAction(Base):
    """A package to remove, a feature to switch, or an edit, on every index."""

    __tablename__ = "scheduled_action"

    schedule_id: Mapped[int] = mapped_column(
        ForeignKey("servicing_schedule.id", ondelete="CASCADE"), primary_key=True
    )
    place: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[Kind]
    subject: Mapped[str] = mapped_column(String(400))
    data: Mapped[dict[str, Any] | None]


class ScheduledUpdate(Base):
    __tablename__ = "scheduled_update"

    schedule_id: Mapped[int] = mapped_column(
        ForeignKey("servicing_schedule.id", ondelete="CASCADE"), primary_key=True
    )
    update_id: Mapped[int] = mapped_column(ForeignKey("update.id"), primary_key=True)
    place: Mapped[int]

    update: Mapped[Update] = relationship(lazy="joined")


class ServicingRun(Base):
    """One time that the updates of a schedule were applied to one image."""

    __tablename__ = "servicing_run"
    __table_args__ = ({"sqlite_autoincrement": True},)  # numbers are never given again

    id: Mapped[int] = mapped_column(primary_key=True)
    schedule_id: Mapped[int] = mapped_column(
        ForeignKey("servicing_schedule.id", ondelete="CASCADE"), unique=True
    )
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"))
    base_version: Mapped[int]
    base_digest: Mapped[str] = mapped_column(String(64))
    result_version: Mapped[int | None]
    status: Mapped[Status] = mapped_column(default=Status.SCHEDULED)
    workspace: Mapped[str] = mapped_column(default="")
    backend: Mapped[str | None] = mapped_column(String(20))
    gate: Mapped[list[Any] | None]
    clean_up: Mapped[dict[str, Any] | None]
    failed_update_id: Mapped[int | None] = mapped_column(ForeignKey("update.id"))
    error_code: Mapped[str] = mapped_column(String(80), default="")
    error_text: Mapped[str] = mapped_column(default="")
    text: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    schedule: Mapped[ServicingSchedule] = relationship(lazy="joined")
    results: Mapped[list["ServicingResult"]] = relationship(
        order_by="ServicingResult.index_number, ServicingResult.place",
        back_populates="run",
        passive_deletes="all",
        lazy="selectin",
    )
    actions: Mapped[list["ActionResult"]] = relationship(
        order_by="ActionResult.index_number, ActionResult.place",
        back_populates="run",
        passive_deletes="all",
        lazy="selectin",
    )

    @property
    def outcomes(self) -> list["ServicingResult | ActionResult"]:
        """What became of everything, updates first."""
        return [*self.results, *self.actions]


class ServicingResult(Base):
    """What became of one update on one index."""

    __tablename__ = "servicing_result"
    __table_args__ = (UniqueConstraint("run_id", "index_number", "update_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("servicing_run.id", ondelete="CASCADE"))
    index_number: Mapped[int]
    update_id: Mapped[int] = mapped_column(ForeignKey("update.id"), index=True)
    place: Mapped[int]
    outcome: Mapped[Verdict] = mapped_column(default=Verdict.NOT_ATTEMPTED)
    code: Mapped[str] = mapped_column(String(120), default="")
    text: Mapped[str] = mapped_column(default="")
    packages: Mapped[list[Any]] = mapped_column(default=list)
    findings: Mapped[list[Any] | None]
    changed: Mapped[bool] = mapped_column(default=False)
    applied_at: Mapped[datetime | None]

    update: Mapped[Update] = relationship(lazy="joined")
    run: Mapped[ServicingRun] = relationship(back_populates="results")


class ActionResult(Base):
    """What became of one action on one index."""

    __tablename__ = "action_result"
    __table_args__ = (UniqueConstraint("run_id", "index_number", "place"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("servicing_run.id", ondelete="CASCADE"))
    index_number: Mapped[int]
    place: Mapped[int]
    kind: Mapped[Kind]
    subject: Mapped[str] = mapped_column(String(400))
    data: Mapped[dict[str, Any] | None]
    outcome: Mapped[Verdict] = mapped_column(default=Verdict.NOT_ATTEMPTED)
    code: Mapped[str] = mapped_column(String(120), default="")
    text: Mapped[str] = mapped_column(default="")
    packages: Mapped[list[Any]] = mapped_column(default=list)
    changed: Mapped[bool] = mapped_column(default=False)
    applied_at: Mapped[datetime | None]

    run: Mapped[ServicingRun] = relationship(back_populates="actions")


class ServicingExclusion(Base):
    """An update that is not to be applied: to one image, or to any where `image_id` is None."""

    __tablename__ = "servicing_exclusion"
    __table_args__ = ({"sqlite_autoincrement": True},)  # numbers are never given again

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int | None] = mapped_column(
        ForeignKey("image.id", ondelete="CASCADE"), index=True
    )
    subject: Mapped[str] = mapped_column(String(400))
    reason: Mapped[str] = mapped_column(String(400))
    actor: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=now)

    image: Mapped[Image | None] = relationship(lazy="joined")
