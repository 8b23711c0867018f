"""Servicing as it goes in and out over HTTP."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from wimsmith.offline.verdicts import Verdict
from wimsmith.servicing.models import ScheduleState, Status
from wimsmith.updates.schemas import UpdateOut


class ScheduleRequest(BaseModel):
    """Updates for an image, now or once at a time; the last three are refused by name."""

    model_config = ConfigDict(extra="forbid")

    image: str
    updates: list[str | int] = Field(min_length=1)
    run_now: bool = False
    run_at: datetime | None = None
    utc: bool = False
    continue_on_error: bool = False
    name: str = ""
    description: str = ""
    update_distribution_points: bool = False
    remove_superseded: bool = False
    recurrence: Any = None


class UpdateBrief(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    identity: str
    article: str
    title: str


class ResultOut(BaseModel):
    index: int
    update: int
    identity: str
    article: str
    title: str
    outcome: Verdict
    status: int
    word: str
    code: str
    text: str
    packages: list[str]
    applied_at: datetime | None


class ImageResultOut(ResultOut):
    run: int


class RunOut(BaseModel):
    id: int
    schedule: int
    image: str
    job: str
    base_version: int
    result_version: int | None
    status: Status
    failed_update: int | None
    error_code: str
    error_text: str
    text: str
    started_at: datetime | None
    ended_at: datetime | None


class RunDetails(RunOut):
    results: list[ResultOut]


class ScheduleOut(BaseModel):
    id: int
    image: str
    image_name: str
    name: str
    description: str
    run_now: bool
    run_at: datetime | None
    utc: bool
    continue_on_error: bool
    state: ScheduleState
    status: Status
    updates: list[UpdateBrief]
    created_at: datetime
    actor: str
    last_run_at: datetime | None
    run: RunOut | None


class LikelyOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    index: int
    likely: str
    status: int
    word: str
    code: str
    text: str


class ChoiceOut(UpdateOut):
    indexes: list[LikelyOut]


class Choices(BaseModel):
    items: list[ChoiceOut]


class Schedules(BaseModel):
    items: list[ScheduleOut]
    next: str | None


class Runs(BaseModel):
    items: list[RunOut]
    next: str | None


class ImageResults(BaseModel):
    items: list[ImageResultOut]


class FailedUpdate(BaseModel):
    update: int
    identity: str
    article: str
    title: str
    images: int


class FailedUpdates(BaseModel):
    items: list[FailedUpdate]
