"""Updates as they go in and out over HTTP."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from wimsmith.updates.models import UpdateState


class ImportRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    path: str


class UpdateOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    identity: str
    article: str
    title: str
    kind: str
    release_type: str
    architecture: str
    language: str
    state: UpdateState
    reason_code: str
    reason_text: str
    file_name: str
    size_bytes: int
    sha256: str
    source_path: str
    imported_at: datetime


class FindingOut(BaseModel):
    code: str
    text: str


class UpdateDetails(UpdateOut):
    findings: list[FindingOut]
    parents: list[list[str]]


class Updates(BaseModel):
    items: list[UpdateOut]
    next: str | None
