"""What endpoints ask for: the site, the actor, the page, the revision. Imports no routes."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Query, Request, Response

from wimsmith.api.peers import user_of
from wimsmith.db.paging import DEFAULT_LIMIT, MAX_LIMIT, PageQuery
from wimsmith.errors import InvalidInput, RevisionRequired
from wimsmith.jobs import ledger
from wimsmith.jobs.models import JobRow
from wimsmith.jobs.schemas import JobOut
from wimsmith.site.access import Actor, Role
from wimsmith.site.context import Site

PREFIX = "/api/v1"


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


def _actor(request: Request) -> Actor:
    """Whoever reaches the unix socket is a local administrator: its directory keeps others out."""
    return Actor(user_of(request.scope.get("client")), Role.FULL_ADMINISTRATOR)


def _page(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
    sort: Annotated[str, Query(max_length=64)] = "",
) -> PageQuery:
    return PageQuery(limit, cursor, sort)


@dataclass(frozen=True, slots=True)
class Revision:
    """The revision a change was made to; None to overwrite whatever is there."""

    number: int | None


def _revision(
    if_match: Annotated[str | None, Header(description="ETag of what was read, or *")] = None,
) -> Revision:
    if if_match is None:
        raise RevisionRequired("If-Match is missing")
    if if_match.strip() == "*":
        return Revision(None)
    text = if_match.strip().removeprefix("W/").strip('"')
    if not text.isdecimal():
        raise InvalidInput(f"If-Match {if_match[:80]!r} is not an ETag of this service")
    return Revision(int(text))


SiteDep = Annotated[Site, Depends(_site)]
ActorDep = Annotated[Actor, Depends(_actor)]
PageDep = Annotated[PageQuery, Depends(_page)]
IfMatch = Annotated[Revision, Depends(_revision)]


def accepted(response: Response, site: Site, job: JobRow) -> JobOut:
    """Answer for started work: the job as it is now, and where to watch it."""
    response.headers["Location"] = f"{PREFIX}/jobs/{job.id}"
    with site.database.read() as session:
        return JobOut.model_validate(ledger.get(session, job.id))
