"""Steps of servicing besides installing: gate, actions, clean-up."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for name in ("remove_superseded", "allow_not_generalised"):
        op.add_column(
            "servicing_schedule",
            sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()),
        )
    op.add_column("servicing_run", sa.Column("backend", sa.String(length=20), nullable=True))
    op.add_column("servicing_run", sa.Column("gate", sa.JSON(), nullable=True))
    op.add_column("servicing_run", sa.Column("clean_up", sa.JSON(), nullable=True))
    op.create_table(
        "scheduled_action",
        sa.Column("schedule_id", BIG, nullable=False),
        sa.Column("place", BIG, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=400), nullable=False),
        sa.Column("data", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["schedule_id"],
            ["servicing_schedule.id"],
            name=op.f("fk_scheduled_action_schedule_id_servicing_schedule"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("schedule_id", "place", name=op.f("pk_scheduled_action")),
    )
    op.create_table(
        "action_result",
        sa.Column("id", BIG, nullable=False),
        sa.Column("run_id", BIG, nullable=False),
        sa.Column("index_number", BIG, nullable=False),
        sa.Column("place", BIG, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=400), nullable=False),
        sa.Column("data", sa.JSON(), nullable=True),
        sa.Column("outcome", sa.String(length=40), nullable=False),
        sa.Column("code", sa.String(length=120), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("packages", sa.JSON(), nullable=False),
        sa.Column("changed", sa.Boolean(), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["servicing_run.id"],
            name=op.f("fk_action_result_run_id_servicing_run"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_action_result")),
        sa.UniqueConstraint(
            "run_id",
            "index_number",
            "place",
            name=op.f("uq_action_result_run_id_index_number_place"),
        ),
    )
