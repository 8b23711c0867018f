"""Details of updates: what helps to plan with them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("update", sa.Column("details", sa.JSON(), nullable=True))
