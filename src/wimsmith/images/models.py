"""Tables of images. Primary keys stay inside; people see package ids and version numbers."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from wimsmith.db.base import Base, now
from wimsmith.storage.models import StoredBlob

MAX_NAME = 50
MAX_VERSION = 32
MAX_COMMENT = 127


class ImageKind(StrEnum):
    """Default images come from install media, captured ones from a reference computer."""

    DEFAULT = "default"
    CAPTURED = "captured"
    UNKNOWN = "unknown"


class Origin(StrEnum):
    """How a version came to be; also the kinds of lineage events, together with `export`."""

    IMPORT = "import"
    INDEX_EXTRACT = "index extract"
    RELOAD = "reload"
    SERVICED = "serviced"
    CAPTURED = "captured"
    EXPORT = "export"


class PackageSource(StrEnum):
    IMPORT = "import"
    RUN = "run"


class Image(Base):
    """An OS image. `version` is the organisation's own label; `current_version` counts content."""

    __tablename__ = "image"

    id: Mapped[int] = mapped_column(primary_key=True)
    package_id: Mapped[str] = mapped_column(String(8), unique=True)
    name: Mapped[str] = mapped_column(String(MAX_NAME))
    name_key: Mapped[str] = mapped_column(String(200), unique=True)
    version: Mapped[str] = mapped_column(String(MAX_VERSION), default="")
    comment: Mapped[str] = mapped_column(String(MAX_COMMENT), default="")
    kind: Mapped[ImageKind] = mapped_column(default=ImageKind.UNKNOWN)
    architecture: Mapped[str] = mapped_column(String(16), default="")
    language: Mapped[str] = mapped_column(String(35), default="")
    source_path: Mapped[str]
    source_digest: Mapped[str] = mapped_column(String(64))
    source_version: Mapped[int] = mapped_column(default=1)
    current_version: Mapped[int] = mapped_column(default=1)
    scheduled_at: Mapped[datetime | None]
    scheduled_status: Mapped[str] = mapped_column(String(40), default="")
    revision: Mapped[int] = mapped_column(default=1)
    job_id: Mapped[str] = mapped_column(String(32), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    changed_at: Mapped[datetime] = mapped_column(default=now)
    refreshed_at: Mapped[datetime] = mapped_column(default=now)


class ImageVersion(Base):
    """Content that an image has or had; never changed after it is made."""

    __tablename__ = "image_version"
    __table_args__ = (
        UniqueConstraint("image_id", "number"),
        UniqueConstraint("image_id", "job_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id", ondelete="CASCADE"))
    number: Mapped[int]
    origin: Mapped[Origin]
    digest: Mapped[str] = mapped_column(ForeignKey("blob.digest"), index=True)
    parent_image: Mapped[str | None] = mapped_column(String(8))
    parent_version: Mapped[int | None]
    parent_index: Mapped[int | None]
    run_id: Mapped[int | None]
    job_id: Mapped[str] = mapped_column(String(32))
    actor: Mapped[str] = mapped_column(String(200))
    guid: Mapped[str] = mapped_column(String(36), default="")
    compression: Mapped[str] = mapped_column(String(16), default="")
    chunk_size: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=now)

    blob: Mapped[StoredBlob] = relationship(lazy="joined")
    indexes: Mapped[list["ImageIndex"]] = relationship(
        order_by="ImageIndex.number", passive_deletes="all", lazy="selectin"
    )

    @property
    def size_bytes(self) -> int:
        return self.blob.size_bytes


class ImageIndex(Base):
    """One index of a version, as its files and its XML say."""

    __tablename__ = "image_index"
    __table_args__ = (UniqueConstraint("version_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("image_version.id", ondelete="CASCADE"))
    number: Mapped[int]
    name: Mapped[str]
    description: Mapped[str]
    edition: Mapped[str]
    product_name: Mapped[str]
    product_type: Mapped[str]
    installation_type: Mapped[str]
    hal: Mapped[str]
    branch: Mapped[str]
    os_version: Mapped[str] = mapped_column(String(40))
    build: Mapped[int]
    revision: Mapped[int]
    architecture: Mapped[str] = mapped_column(String(16))
    languages: Mapped[list[Any]]
    size_bytes: Mapped[int]
    hard_link_bytes: Mapped[int]
    file_count: Mapped[int]
    directory_count: Mapped[int]
    created_at: Mapped[datetime | None]
    modified_at: Mapped[datetime | None]
    package_count: Mapped[int]


class IndexSnapshot(Base):
    """The state of an index for planning, packed; `format` is that of `planning.snapshot`."""

    __tablename__ = "index_snapshot"

    index_id: Mapped[int] = mapped_column(
        ForeignKey("image_index.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    format: Mapped[int]
    data: Mapped[bytes] = mapped_column(LargeBinary)


class IndexPackage(Base):
    """A package that an index knows, as its component-based servicing key says."""

    __tablename__ = "index_package"
    __table_args__ = (Index("ix_index_package_identity", "identity"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    index_id: Mapped[int] = mapped_column(
        ForeignKey("image_index.id", ondelete="CASCADE"), index=True
    )
    identity: Mapped[str] = mapped_column(String(400))
    state: Mapped[int]
    release_type: Mapped[str] = mapped_column(String(64))
    article: Mapped[str] = mapped_column(String(32))
    is_update: Mapped[bool]
    installed_at: Mapped[datetime | None]
    source: Mapped[PackageSource]
    run_id: Mapped[int | None]

    index: Mapped[ImageIndex] = relationship(lazy="joined")


class ImageEvent(Base):
    """One event of the lineage: how content came here, changed, or went out."""

    __tablename__ = "image_event"
    __table_args__ = (UniqueConstraint("image_id", "job_id", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime] = mapped_column(default=now)
    kind: Mapped[Origin]
    version: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int]
    text: Mapped[str]
    actor: Mapped[str] = mapped_column(String(200))
    run_id: Mapped[int | None]
    job_id: Mapped[str] = mapped_column(String(32))
