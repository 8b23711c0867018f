"""The rows of a run that its steps read and write."""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from wimsmith.errors import NotFound
from wimsmith.servicing.models import ActionResult, ServicingResult, ServicingRun


def run_of_job(session: Session, job_id: str) -> ServicingRun:
    """The run that a job works on. Raises NotFound."""
    statement = select(ServicingRun).where(ServicingRun.job_id == job_id)
    found = session.scalars(statement).one_or_none()
    if found is None:
        raise NotFound(f"the servicing run of job {job_id}")
    return found


def run_row(session: Session, run_id: int) -> ServicingRun:
    """The run with this number. Raises NotFound."""
    found = session.get(ServicingRun, run_id)
    if found is None:
        raise NotFound(f"servicing run {run_id}")
    return found


def update_row(session: Session, run_id: int, item: Mapping[str, int]) -> ServicingResult:
    """The result of an `update` on an `index`."""
    statement = select(ServicingResult).where(
        ServicingResult.run_id == run_id,
        ServicingResult.index_number == item["index"],
        ServicingResult.update_id == item["update"],
    )
    return session.scalars(statement).one()


def action_row(session: Session, run_id: int, item: Mapping[str, int]) -> ActionResult:
    """The result of the action at an `action` place on an `index`."""
    statement = select(ActionResult).where(
        ActionResult.run_id == run_id,
        ActionResult.index_number == item["index"],
        ActionResult.place == item["action"],
    )
    return session.scalars(statement).one()


def brought(row: ServicingResult) -> list[tuple[str, str]]:
    """Each package that an update brought for its own sake, and the build it promises, or nothing.

    A file with several packages may bring several of them.
    """
    details = row.update.details or {}
    names = {name.lower() for name in row.packages}
    parts = [
        (one["identity"], one.get("leads_to", ""))
        for one in details.get("parts", [])
        if one["identity"].lower() in names
    ]
    return parts or [(row.packages[0], details.get("leads_to", ""))]
