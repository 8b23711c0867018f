"""What planning needs: states of indexes, descriptions of updates, exclusions, all findings."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for table, owner in (("index_snapshot", "image_index"), ("update_description", "update")):
        key = f"{owner.removeprefix('image_')}_id"
        op.create_table(
            table,
            sa.Column(key, BIG, nullable=False),
            sa.Column("format", BIG, nullable=False),
            sa.Column("data", sa.LargeBinary(), nullable=False),
            sa.ForeignKeyConstraint(
                [key],
                [f"{owner}.id"],
                name=op.f(f"fk_{table}_{key}_{owner}"),
                ondelete="CASCADE",
            ),
            sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{table}")),
        )
    op.add_column("servicing_result", sa.Column("findings", sa.JSON(), nullable=True))
    op.create_table(
        "servicing_exclusion",
        sa.Column("id", BIG, nullable=False),
        sa.Column("image_id", BIG, nullable=True),
        sa.Column("subject", sa.String(length=400), nullable=False),
        sa.Column("reason", sa.String(length=400), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"],
            ["image.id"],
            name=op.f("fk_servicing_exclusion_image_id_image"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_servicing_exclusion")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_servicing_exclusion_image_id"), "servicing_exclusion", ["image_id"], unique=False
    )
