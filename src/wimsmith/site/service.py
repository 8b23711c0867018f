"""Use cases of the site: settings, numbering, audit, status messages."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from wimsmith.logs import status_message
from wimsmith.site import settings
from wimsmith.site.access import Actor, ObjectClass, Verb, require
from wimsmith.site.models import AuditEvent, Counter, Severity, StatusMessage

LAST_PACKAGE_NUMBER = 0xFFFFF


def change_setting(session: Session, actor: Actor, name: str, value: Any) -> Any:
    """Change a site setting; returns the value as it is kept.

    Raises:
        Forbidden, NotFound, InvalidInput
    """
    require(actor, ObjectClass.SETTING, Verb.MODIFY)
    before = settings.get(session, name)
    after = settings.put(session, name, value)
    audit(session, actor.name, "modify", f"setting {name}", {"value": before}, {"value": after})
    return after


def audit(
    session: Session,
    actor: str,
    verb: str,
    about: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Keep who did what."""
    session.add(
        AuditEvent(
            actor=actor,
            verb=verb,
            object=about[:200],
            before=dict(before) if before is not None else None,
            after=dict(after) if after is not None else None,
        )
    )


def next_number(session: Session, counter: str, first: int = 1) -> int:
    """The next number of a counter, never given before."""
    counted = (
        update(Counter)
        .where(Counter.name == counter)
        .values(value=Counter.value + 1)
        .returning(Counter.value)
        .execution_options(synchronize_session=False)
    )
    value = session.execute(counted).scalar_one_or_none()
    if value is None:
        session.add(Counter(name=counter, value=first))
        session.flush()
        return first
    return value


def next_package_id(session: Session) -> str:
    """A package id: site code and five hexadecimal digits, never reused."""
    number = next_number(session, "package")
    assert number <= LAST_PACKAGE_NUMBER
    return f"{settings.get(session, settings.SITE_CODE)}{number:05X}"


def send_status(
    session: Session,
    logger: logging.Logger,
    number: int,
    severity: Severity,
    component: str,
    strings: Sequence[object],
) -> None:
    """Keep a status message and write its STATMSG line to the log of the component."""
    session.add(
        StatusMessage(
            number=number,
            severity=severity,
            component=component,
            strings=[str(one) for one in strings],
        )
    )
    level = logging.ERROR if severity is Severity.ERROR else logging.INFO
    logger.log(level, "%s", status_message(number, severity, component, *strings))
