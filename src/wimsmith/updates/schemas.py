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


class PartOut(BaseModel):
    """One of several packages in a file; `findings` keep it out of every image it applies to."""

    name: str
    identity: str
    article: str
    leads_to: str = ""
    findings: list[FindingOut]


class UpdateDetails(UpdateOut):
    """An update with everything that was found about it; empty what nothing in the file says.

    `leads_to` is the build and revision after it, `needs_build` the one it is made against.
    `needed` says what it would take to install what is refused. `conditions` are in the way in
    some images and in others not. `parts` are packages of a file with several, in their order.
    """

    findings: list[FindingOut]
    parents: list[list[str]]
    leads_to: str = ""
    needs_build: str = ""
    needed: str = ""
    servicing_stacks: list[str] = []
    branches: list[str] = []
    conditions: list[FindingOut] = []
    parts: list[PartOut] = []


class Updates(BaseModel):
    items: list[UpdateOut]
    next: str | None
