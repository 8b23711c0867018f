"""Keyset paging: every row once, in order, whatever happens to other rows meanwhile."""

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from wimsmith.db.base import Base
from wimsmith.db.paging import Order, PageQuery, page
from wimsmith.errors import InvalidInput
from wimsmith.site.models import AuditEvent

ORDER = Order({"actor": AuditEvent.actor, "at": AuditEvent.at}, AuditEvent.id, "actor")


@contextlib.contextmanager
def _rows(actors: list[str]) -> Iterator[Session]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine, [Base.metadata.tables["audit_event"]])
    with Session(engine) as session:
        session.add_all(AuditEvent(actor=actor, verb="x", object="y") for actor in actors)
        session.commit()
        yield session
    engine.dispose()


def _read(session: Session, limit: int, sort: str) -> list[int]:
    found: list[int] = []
    cursor: str | None = None
    while True:
        one = page(session, select(AuditEvent), ORDER, PageQuery(limit, cursor, sort))
        assert len(one.items) <= limit
        found += [row.id for row in one.items]
        cursor = one.next
        if cursor is None:
            return found


@settings(max_examples=50, deadline=None)
@given(
    actors=st.lists(st.sampled_from(["ann", "bob", "Zoë", ""]), max_size=12),
    limit=st.integers(1, 5),
    sort=st.sampled_from(["actor", "-actor", "at", "-at", ""]),
)
def test_pages_hold_every_row_once_and_in_order(actors: list[str], limit: int, sort: str) -> None:
    with _rows(actors) as session:
        whole = page(session, select(AuditEvent), ORDER, PageQuery(500, None, sort))

        assert _read(session, limit, sort) == [row.id for row in whole.items]
        assert sorted(row.id for row in whole.items) == list(range(1, len(actors) + 1))


@pytest.mark.parametrize("cursor", ["!!", "W10", "WzEsMl0", "bm90aGluZw", "WyJ4IiwgdHJ1ZV0"])
def test_a_cursor_that_nobody_gave_is_refused(cursor: str) -> None:
    with _rows(["ann"]) as session, pytest.raises(InvalidInput, match="cursor"):
        page(session, select(AuditEvent), ORDER, PageQuery(5, cursor, "actor"))


def test_an_unknown_column_is_refused_with_those_known() -> None:
    with _rows([]) as session, pytest.raises(InvalidInput) as refused:
        page(session, select(AuditEvent), ORDER, PageQuery(5, None, "-colour"))

    assert refused.value.hint == "Columns to sort by: actor, at."
