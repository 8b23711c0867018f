"""Updates over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status

from wimsmith.api.depends import ActorDep, PageDep, SiteDep, accepted
from wimsmith.jobs.schemas import JobOut
from wimsmith.updates import schemas, service
from wimsmith.updates.models import Update

router = APIRouter(prefix="/updates", tags=["updates"])
Text = Annotated[str, Query(max_length=200)]


@router.post("/import", status_code=status.HTTP_202_ACCEPTED)
def import_updates(
    site: SiteDep, actor: ActorDep, response: Response, body: schemas.ImportRequest
) -> JobOut:
    """Import the update packages of a folder, or one file."""
    with site.database.write() as session:
        job = service.request_import(session, site, actor, body.path)
    return accepted(response, site, job)


@router.get("")
def list_updates(
    site: SiteDep,
    actor: ActorDep,
    query: PageDep,
    q: Text = "",
    architecture: Text = "",
    state: Text = "",
) -> schemas.Updates:
    """List updates."""
    with site.database.read() as session:
        found = service.search(
            session, actor, query, text=q, architecture=architecture, state=state
        )
        items = [update_out(row) for row in found.items]
    return schemas.Updates(items=items, next=found.next)


@router.get("/{update}")
def show_update(site: SiteDep, actor: ActorDep, update: str) -> schemas.UpdateDetails:
    """Show one update with everything that was found about it."""
    with site.database.read() as session:
        row = service.find(session, actor, update)
        found = update_out(row).model_dump() | (row.details or {})
        return schemas.UpdateDetails(**found, findings=row.findings, parents=row.parents)


def update_out(row: Update) -> schemas.UpdateOut:
    """An update as it is shown."""
    columns = schemas.UpdateOut.model_fields.keys() - {"sha256"}
    return schemas.UpdateOut(
        **{name: getattr(row, name) for name in columns}, sha256=row.file_digest
    )
