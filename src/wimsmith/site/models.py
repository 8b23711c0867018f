"""Tables of the site."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from wimsmith.db.base import Base, now


class Setting(Base):
    """A site setting that differs from its default."""

    __tablename__ = "setting"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)
    changed_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class Counter(Base):
    """A number that only grows: what it once gave is never given again."""

    __tablename__ = "counter"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[int]


class AuditEvent(Base):
    """Who did what, when, with the values before and after."""

    __tablename__ = "audit_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    actor: Mapped[str] = mapped_column(String(200))
    verb: Mapped[str] = mapped_column(String(40))
    object: Mapped[str] = mapped_column(String(200))
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]


class Severity(StrEnum):
    INFORMATION = "I"
    WARNING = "W"
    ERROR = "E"


class StatusMessage(Base):
    """A numbered message, for example 7900 when servicing starts."""

    __tablename__ = "status_message"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    number: Mapped[int]
    severity: Mapped[Severity]
    component: Mapped[str] = mapped_column(String(64))
    strings: Mapped[list[Any]]
