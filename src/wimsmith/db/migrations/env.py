"""Runs migrations on the connection that `wimsmith.db.migrate` hands over."""

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context

from wimsmith.db.base import UtcDateTime


def _render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write plain types into new revisions: they must not change when our types do."""
    if kind != "type":
        return False
    if isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if isinstance(item, sa.Enum):
        return f"sa.String(length={item.length})"
    if isinstance(item, sa.BigInteger):
        return 'sa.BigInteger().with_variant(sa.Integer(), "sqlite")'
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes.get("metadata"),
    render_as_batch=True,  # SQLite cannot alter a table, only rebuild it
    render_item=_render,
)
with context.begin_transaction():
    context.run_migrations()
