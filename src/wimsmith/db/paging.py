"""Keyset paging: a page starts after the last row of the one before, however many rows there are.

The cursor holds the sort value and the key of that row, so rows that come and go meanwhile move
no other row to another page.
"""

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute, Session

from wimsmith.errors import InvalidInput

MAX_LIMIT = 500
DEFAULT_LIMIT = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PageQuery:
    """What a reader asks of a list: `sort` is a column name, with `-` in front for descending."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    sort: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: Sequence[T]
    next: str | None


@dataclass(frozen=True, slots=True)
class Order:
    """Columns that a list can be sorted by, the key that makes the order total, the default."""

    columns: Mapping[str, InstrumentedAttribute[Any]]
    key: InstrumentedAttribute[Any]
    default: str


def page(session: Session, statement: Select[T], order: Order, query: PageQuery) -> Page[T]:
    """One page of the entities that `statement` selects.

    Raises:
        InvalidInput: the sort column is unknown, or the cursor is not one of this list.
    """
    name, descending = _direction(query.sort or order.default, order)
    column = order.columns[name]
    if query.cursor:
        statement = statement.where(_after(column, order.key, query.cursor, descending))
    ends = [one.desc() if descending else one.asc() for one in (column, order.key)]
    limit = max(1, min(query.limit, MAX_LIMIT))
    rows = session.scalars(statement.order_by(*ends).limit(limit + 1)).all()
    items = rows[:limit]
    more = len(rows) > limit
    return Page(items, _cursor(items[-1], column, order.key) if more else None)


def _direction(sort: str, order: Order) -> tuple[str, bool]:
    name = sort.removeprefix("-")
    if name not in order.columns:
        known = ", ".join(order.columns)
        raise InvalidInput(f"sort={sort}", hint=f"Columns to sort by: {known}.")
    return name, sort.startswith("-")


def _after(
    column: InstrumentedAttribute[Any],
    key: InstrumentedAttribute[Any],
    cursor: str,
    descending: bool,
) -> ColumnElement[bool]:
    value, key_value = _read_cursor(cursor, column, key)
    if descending:
        return or_(column < value, and_(column == value, key < key_value))
    return or_(column > value, and_(column == value, key > key_value))


def _cursor(row: Any, column: InstrumentedAttribute[Any], key: InstrumentedAttribute[Any]) -> str:
    values = [_plain(getattr(row, one.key)) for one in (column, key)]
    return urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _read_cursor(
    cursor: str, column: InstrumentedAttribute[Any], key: InstrumentedAttribute[Any]
) -> tuple[Any, Any]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        value, key_value = json.loads(urlsafe_b64decode(padded))
        return _typed(value, column), _typed(key_value, key)
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidInput("the cursor is not one of this list") from error


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _typed(value: Any, column: InstrumentedAttribute[Any]) -> Any:
    wanted = column.type.python_type
    if wanted is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(value)
        return moment
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise TypeError(value)
    return value
