"""Updates that are not to be applied: to any image, or to one; with who, when and why."""

from collections.abc import Sequence

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from wimsmith.errors import AlreadyExists, InvalidInput, NotFound
from wimsmith.images.models import Image
from wimsmith.offline.planning.exclusions import Exclusion, check_subject
from wimsmith.servicing.models import ServicingExclusion
from wimsmith.site.access import Actor, ObjectClass, Verb, require
from wimsmith.site.service import audit

MAX_REASON = 400


def add(
    session: Session, actor: Actor, subject: str, reason: str, image: Image | None
) -> ServicingExclusion:
    """Exclude an update, by article or package, from one image or from all.

    Raises:
        InvalidInput: neither an article nor a package; no reason.
        AlreadyExists: it is excluded there already.
    """
    require(actor, ObjectClass.SERVICING, Verb.CREATE)
    checked = check_subject(subject)
    if not reason.strip() or len(reason) > MAX_REASON:
        raise InvalidInput(f"an exclusion needs a reason, of at most {MAX_REASON} characters")
    known = select(ServicingExclusion).where(
        func.lower(ServicingExclusion.subject) == checked.lower(),
        ServicingExclusion.image_id == image.id if image else ServicingExclusion.image_id.is_(None),
    )
    found = session.scalars(known).first()
    if found is not None:
        raise AlreadyExists(f"exclusion {found.id} of {checked}: {found.reason}")
    row = ServicingExclusion(
        subject=checked,
        reason=reason.strip(),
        actor=actor.name,
        image_id=image.id if image else None,
    )
    session.add(row)
    session.flush()
    where = image.package_id if image else "all images"
    audit(
        session,
        actor.name,
        "create",
        f"servicing exclusion {row.id}",
        None,
        {"subject": checked, "image": where, "reason": row.reason},
    )
    session.refresh(row)
    return row


def listed(session: Session, actor: Actor, image: Image | None = None) -> list[ServicingExclusion]:
    """All exclusions, or those that an image falls under."""
    require(actor, ObjectClass.SERVICING, Verb.READ)
    return list(_rows(session, image))


def remove(session: Session, actor: Actor, number: int) -> None:
    """Let an update be applied again. Raises NotFound."""
    require(actor, ObjectClass.SERVICING, Verb.DELETE)
    row = session.get(ServicingExclusion, number)
    if row is None:
        raise NotFound(f"servicing exclusion {number}")
    before = {"subject": row.subject, "reason": row.reason}
    audit(session, actor.name, "delete", f"servicing exclusion {number}", before)
    session.delete(row)
    session.flush()


def of_image(session: Session, image: Image) -> tuple[Exclusion, ...]:
    """The exclusions that an image falls under, as planning takes them."""
    return tuple(
        Exclusion(
            subject=row.subject,
            reason=row.reason,
            since=f"{row.created_at:%Y-%m-%d}",
            image=row.image.package_id if row.image else "",
        )
        for row in _rows(session, image)
    )


def _rows(session: Session, image: Image | None) -> Sequence[ServicingExclusion]:
    statement = select(ServicingExclusion).order_by(ServicingExclusion.id)
    if image is not None:
        here = ServicingExclusion.image_id == image.id
        statement = statement.where(or_(ServicingExclusion.image_id.is_(None), here))
    return session.scalars(statement).all()
