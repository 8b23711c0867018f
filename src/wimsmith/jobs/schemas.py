"""Jobs as they go out over HTTP."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, computed_field

from wimsmith.jobs.models import EventKind, JobState, Level


class JobOut(BaseModel):
    """A job. `fraction` is the share done of the present phase, null while it is not known."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    kind: str
    subject: str
    state: JobState
    step: str
    phase: str
    done: int
    total: int
    unit: str
    fraction: float | None
    cancellable: bool
    cancel_requested_at: datetime | None
    actor: str
    error_code: str
    error_text: str
    error_hint: str
    result: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @computed_field  # type: ignore[prop-decorator]  # how pydantic documents it
    @property
    def cancel_requested(self) -> bool:
        """Whether somebody wants the job to stop."""
        return self.cancel_requested_at is not None


class JobEventOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    seq: int
    at: datetime
    kind: EventKind
    level: Level
    phase: str
    done: int
    total: int
    unit: str
    fraction: float | None
    text: str


class JobList(BaseModel):
    items: list[JobOut]
    next: str | None


class JobEvents(BaseModel):
    items: list[JobEventOut]
