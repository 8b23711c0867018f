"""The ledger: what users see of long work. The engine's own tables are never shown."""

import time
import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from wimsmith.db.base import Base, now


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset([JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset([JobState.RUNNING, JobState.FAILED, JobState.CANCELLED]),
    JobState.RUNNING: ENDED,
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""From which state to which a job may go."""


class EventKind(StrEnum):
    STATE = "state"
    PROGRESS = "progress"
    MESSAGE = "message"


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def new_job_id() -> str:
    """An identifier that sorts by time of creation: 48 bits of milliseconds, then chance."""
    return f"{time.time_ns() // 1_000_000:012x}{uuid.uuid4().hex[:12]}"


class JobRow(Base):
    __tablename__ = "job"
    __table_args__ = (Index("ix_job_state", "state"), Index("ix_job_lane", "lane"))

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_job_id)
    kind: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(200))
    lane: Mapped[str] = mapped_column(String(64))
    params: Mapped[dict[str, Any]]
    state: Mapped[JobState] = mapped_column(default=JobState.QUEUED)
    step: Mapped[str] = mapped_column(String(80), default="")
    cancellable: Mapped[bool] = mapped_column(default=True)
    cancel_requested_at: Mapped[datetime | None]
    cancel_actor: Mapped[str] = mapped_column(String(200), default="")
    phase: Mapped[str] = mapped_column(String(80), default="")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    unit: Mapped[str] = mapped_column(String(16), default="")
    actor: Mapped[str] = mapped_column(String(200))
    error_code: Mapped[str] = mapped_column(String(80), default="")
    error_text: Mapped[str] = mapped_column(default="")
    error_hint: Mapped[str] = mapped_column(default="")
    result: Mapped[dict[str, Any] | None]
    last_seq: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    @property
    def fraction(self) -> float | None:
        """Share of the present phase that is done, or None while it is not known."""
        if self.state is JobState.SUCCEEDED:
            return 1.0
        return min(self.done / self.total, 1.0) if self.total else None


class JobEvent(Base):
    __tablename__ = "job_event"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(default=now)
    kind: Mapped[EventKind]
    level: Mapped[Level] = mapped_column(default=Level.INFO)
    phase: Mapped[str] = mapped_column(String(80), default="")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    unit: Mapped[str] = mapped_column(String(16), default="")
    text: Mapped[str] = mapped_column(default="")

    @property
    def fraction(self) -> float | None:
        return min(self.done / self.total, 1.0) if self.total else None
