"""Use cases of updates that read or change rows; the long work is in `jobs`."""

import os
import re

from sqlalchemy import ColumnElement, false, func, or_, select
from sqlalchemy.orm import Session

from wimsmith.db.paging import Order, Page, PageQuery, page
from wimsmith.errors import InvalidInput, NotFound, PathUnreachable
from wimsmith.jobs.models import JobRow
from wimsmith.site import settings
from wimsmith.site.access import Actor, ObjectClass, Verb, require
from wimsmith.site.context import Site
from wimsmith.site.sources import reachable_file, to_local
from wimsmith.updates.models import Update

IMPORT = "import-updates"
LANE = "updates"
_ARTICLE = re.compile(r"(?i)(?:KB)?(\d{5,8})")


def request_import(session: Session, site: Site, actor: Actor, path: str) -> JobRow:
    """Start to import the update packages of a folder, or one file.

    Raises:
        InvalidInput, PathNotMapped, PathUnreachable
    """
    require(actor, ObjectClass.UPDATE, Verb.CREATE)
    local = to_local(path, settings.get(session, settings.UNC_ROOTS))
    if not local.is_dir():
        reachable_file(local, path)
    elif not os.access(local, os.R_OK | os.X_OK):
        raise PathUnreachable(f"{path}: this service may not read it")
    params = {"local_path": os.fspath(local), "source_path": path}
    return site.jobs.submit(
        session, IMPORT, subject=path[-200:], lane=LANE, params=params, actor=actor.name
    )


def find(session: Session, actor: Actor, reference: str) -> Update:
    """The update with this number, identity or article.

    Raises:
        NotFound: there is none.
        InvalidInput: several have the article.
    """
    require(actor, ObjectClass.UPDATE, Verb.READ)
    found = list(session.scalars(select(Update).where(_named(reference)).order_by(Update.id)))
    if not found:
        raise NotFound(f"update {reference}")
    if len(found) > 1:
        several = "; ".join(f"{one.id} {one.identity or one.file_name}" for one in found)
        raise InvalidInput(f"{reference} names {len(found)} updates", hint=f"Choose: {several}.")
    return found[0]


def search(
    session: Session,
    actor: Actor,
    query: PageQuery,
    *,
    text: str = "",
    architecture: str = "",
    state: str = "",
) -> Page[Update]:
    """Updates with a text anywhere in what is known of them."""
    require(actor, ObjectClass.UPDATE, Verb.READ)
    statement = select(Update)
    if text:
        columns = (
            Update.identity,
            Update.article,
            Update.title,
            Update.file_name,
            Update.release_type,
            Update.reason_code,
        )
        found = (func.lower(column).contains(text.lower(), autoescape=True) for column in columns)
        statement = statement.where(or_(*found))
    if architecture and architecture.lower() != "all":
        wanted = {"x64": "amd64"}.get(architecture.lower(), architecture.lower())
        statement = statement.where(Update.architecture == wanted)
    if state:
        statement = statement.where(Update.state == state)
    order = Order(
        {"title": Update.title, "article": Update.article, "imported_at": Update.imported_at},
        Update.id,
        "-imported_at",
    )
    return page(session, statement, order, query)


def _named(reference: str) -> ColumnElement[bool]:
    if reference.isdecimal() and len(reference) < 5:
        return Update.id == int(reference)
    article = _ARTICLE.fullmatch(reference)
    if article:
        by_number = Update.id == int(article[1]) if reference.isdecimal() else false()
        return or_(Update.article == f"KB{article[1]}", by_number)
    return func.lower(Update.identity) == reference.lower()
