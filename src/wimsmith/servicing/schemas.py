"""Servicing as it goes in and out over HTTP."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from wimsmith.offline.backends.sentences import Kind
from wimsmith.offline.verdicts import Verdict
from wimsmith.servicing.models import ScheduleState, Status
from wimsmith.updates.schemas import UpdateOut

Subject = Annotated[str, Field(min_length=1, max_length=400)]


class ScheduleRequest(BaseModel):
    """What to do to every index of an image, now or once at a time.

    `remove` names installed packages by identity or KB number. `edits` are those of
    `wimsmith wim edit`, as data; their files are in `edit_sources`, a folder of the server.
    Distribution points and recurrence are refused by name.
    """

    model_config = ConfigDict(extra="forbid")

    image: str
    updates: list[str | int] = Field(default_factory=list)
    remove: list[Subject] = Field(default_factory=list)
    enable_features: list[Subject] = Field(default_factory=list)
    disable_features: list[Subject] = Field(default_factory=list)
    edits: list[dict[str, str | bool | int]] = Field(default_factory=list, max_length=1000)
    edit_sources: str = ""
    run_now: bool = False
    run_at: datetime | None = None
    utc: bool = False
    continue_on_error: bool = False
    name: str = ""
    description: str = ""
    remove_superseded: bool = False
    allow_not_generalised: bool = False
    update_distribution_points: bool = False
    recurrence: Any = None


class ActionBrief(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    kind: Kind
    subject: str


class UpdateBrief(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    identity: str
    article: str
    title: str


class FindingOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    verdict: Verdict
    code: str
    text: str


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
    findings: list[FindingOut]
    applied_at: datetime | None


class ActionOut(BaseModel):
    index: int
    kind: Kind
    subject: str
    outcome: Verdict
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
    backend: str | None
    status: Status
    failed_update: int | None
    error_code: str
    error_text: str
    text: str
    started_at: datetime | None
    ended_at: datetime | None


class GateOut(BaseModel):
    """Whether an index may be changed: why not, and what was tried."""

    index: int
    findings: list[FindingOut]
    rules: list[dict[str, Any]]


class CleanUpOut(BaseModel):
    """What a component clean-up removed, and the size of the file before and after it all."""

    index: int
    reset_base: bool
    text: str
    removed: list[str]
    emptied: list[str]
    counts: list[dict[str, Any]]
    logical_bytes: int
    packed_bytes: int
    warnings: list[str] = []
    before_bytes: int | None = None
    committed_bytes: int | None = None
    after_bytes: int | None = None
    freed_bytes: int | None = None


class RunDetails(RunOut):
    results: list[ResultOut]
    actions: list[ActionOut]
    gate: list[GateOut]
    clean_up: CleanUpOut | None


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
    remove_superseded: bool
    allow_not_generalised: bool
    state: ScheduleState
    status: Status
    updates: list[UpdateBrief]
    actions: list[ActionBrief]
    created_at: datetime
    actor: str
    last_run_at: datetime | None
    run: RunOut | None


class LikelyOut(BaseModel):
    """What would likely become of an update on an index; `findings` are all reasons."""

    model_config = ConfigDict(from_attributes=True)

    index: int
    likely: str
    status: int
    word: str
    code: str
    text: str
    findings: list[FindingOut]


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


class ExclusionRequest(BaseModel):
    """`subject` is an article (`KB5005033`) or a package, `image` one image instead of all."""

    model_config = ConfigDict(extra="forbid")

    subject: Subject
    reason: str
    image: str | None = None


class ExclusionOut(BaseModel):
    id: int
    subject: str
    reason: str
    image: str | None
    actor: str
    created_at: datetime


class Exclusions(BaseModel):
    items: list[ExclusionOut]


class PlanRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    image: str
    updates: list[str | int] = Field(min_length=1)


class PlannedOut(LikelyOut):
    """An update at its place in the run on an index."""

    place: int
    update: int
    identity: str
    article: str
    title: str


class PlanOut(BaseModel):
    items: list[PlannedOut]
