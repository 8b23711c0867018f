"""Images as they go in and out over HTTP."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from wimsmith.images.models import ImageKind, Origin, PackageSource


class Strict(BaseModel):
    """A request: unknown fields are refused, they would be misspelt known ones."""

    model_config = ConfigDict(extra="forbid")


class Shown(BaseModel):
    """An answer, filled from a row."""

    model_config = ConfigDict(from_attributes=True)


IndexNumber = Annotated[int, Field(ge=1)]


class InspectRequest(Strict):
    path: str


class AddRequest(Strict):
    """An image to add; what is None takes its default."""

    path: str
    index: IndexNumber | None = None
    name: str | None = None
    version: str = ""
    comment: str = ""
    kind: ImageKind | None = None
    architecture: str | None = None
    language: str | None = None
    extract_folder: str | None = None


class EditRequest(Strict):
    """Properties to change; what is None stays."""

    name: str | None = None
    version: str | None = None
    comment: str | None = None
    kind: ImageKind | None = None
    architecture: str | None = None
    language: str | None = None
    path: str | None = None


class ExtractRequest(Strict):
    index: IndexNumber
    folder: str | None = None
    file_name: str | None = None


class ExportRequest(Strict):
    path: str
    version: IndexNumber | None = None
    overwrite: bool = False


class IndexOut(Shown):
    number: int
    name: str
    description: str
    edition: str
    product_name: str
    product_type: str
    installation_type: str
    hal: str
    branch: str
    os_version: str
    build: int
    revision: int
    architecture: str
    languages: list[str]
    size_bytes: int
    hard_link_bytes: int
    file_count: int
    directory_count: int
    created_at: datetime | None
    modified_at: datetime | None


class IndexRowOut(IndexOut):
    package_count: int


class Suggested(BaseModel):
    name: str
    architecture: str
    language: str
    kind: ImageKind


class Inspected(BaseModel):
    """What a file holds. `conversion` says what it is if an ordinary WIM will be made of it."""

    path: str
    local_path: str
    size_bytes: int
    compression: str
    chunk_size: int
    guid: str
    conversion: str
    indexes: list[IndexOut]
    suggested: Suggested


class ImageOut(Shown):
    package_id: str
    name: str
    version: str
    comment: str
    kind: ImageKind
    architecture: str
    language: str
    source_path: str
    source_version: int
    current_version: int
    sha256: str
    size_bytes: int
    index_count: int
    scheduled_at: datetime | None
    scheduled_status: str
    created_at: datetime
    changed_at: datetime
    refreshed_at: datetime
    revision: int


class VersionOut(BaseModel):
    number: int
    origin: Origin
    parent_image: str | None
    parent_version: int | None
    parent_index: int | None
    run_id: int | None
    sha256: str
    size_bytes: int
    index_count: int
    created_at: datetime
    actor: str
    current: bool


class PackageOut(BaseModel):
    index: int
    identity: str
    state: int
    release_type: str
    article: str
    is_update: bool
    installed_at: datetime | None
    source: PackageSource
    run_id: int | None


class EventOut(Shown):
    at: datetime
    kind: Origin
    version: int
    sha256: str
    size_bytes: int
    text: str
    actor: str
    run_id: int | None


class Images(BaseModel):
    items: list[ImageOut]
    next: str | None


class Indexes(BaseModel):
    items: list[IndexRowOut]


class Versions(BaseModel):
    items: list[VersionOut]


class Packages(BaseModel):
    items: list[PackageOut]
    next: str | None


class Lineage(BaseModel):
    items: list[EventOut]
