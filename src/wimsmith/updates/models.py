"""Tables of updates."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from wimsmith.db.base import Base, now


class UpdateState(StrEnum):
    """Refused updates are kept as records: they can be chosen, and are then not applied."""

    READY = "ready"
    REFUSED = "refused"


class Update(Base):
    """An update package. `file_digest` is of the imported file; `digest` names the blob."""

    __tablename__ = "update"
    __table_args__ = ({"sqlite_autoincrement": True},)  # numbers are never given again

    id: Mapped[int] = mapped_column(primary_key=True)
    file_digest: Mapped[str] = mapped_column(String(64), unique=True)
    digest: Mapped[str | None] = mapped_column(ForeignKey("blob.digest"), index=True)
    identity: Mapped[str] = mapped_column(String(400), default="", index=True)
    article: Mapped[str] = mapped_column(String(32), default="")
    title: Mapped[str] = mapped_column(default="")
    kind: Mapped[str] = mapped_column(String(32), default="")
    release_type: Mapped[str] = mapped_column(String(64), default="")
    architecture: Mapped[str] = mapped_column(String(16), default="")
    language: Mapped[str] = mapped_column(String(35), default="")
    state: Mapped[UpdateState]
    verdict: Mapped[str] = mapped_column(String(32), default="")
    reason_code: Mapped[str] = mapped_column(String(120), default="")
    reason_text: Mapped[str] = mapped_column(default="")
    findings: Mapped[list[Any]] = mapped_column(default=list)
    parents: Mapped[list[Any]] = mapped_column(default=list)
    details: Mapped[dict[str, Any] | None] = mapped_column(default=None)
    file_name: Mapped[str]
    size_bytes: Mapped[int]
    source_path: Mapped[str]
    actor: Mapped[str] = mapped_column(String(200))
    imported_at: Mapped[datetime] = mapped_column(default=now)


class UpdateDescriptionRow(Base):
    """What planning needs of an update, packed; `format` is that of `planning.description`."""

    __tablename__ = "update_description"

    update_id: Mapped[int] = mapped_column(
        ForeignKey("update.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    format: Mapped[int]
    data: Mapped[bytes] = mapped_column(LargeBinary)
