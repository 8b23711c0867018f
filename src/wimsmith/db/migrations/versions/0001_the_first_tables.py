"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit_event",
        sa.Column("id", BIG, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("verb", sa.String(length=40), nullable=False),
        sa.Column("object", sa.String(length=200), nullable=False),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
    )
    op.create_table(
        "blob",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", BIG, nullable=False),
        sa.Column("adopted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blob")),
    )
    op.create_table(
        "counter",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", BIG, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counter")),
    )
    op.create_table(
        "image",
        sa.Column("id", BIG, nullable=False),
        sa.Column("package_id", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("name_key", sa.String(length=200), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("comment", sa.String(length=127), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("architecture", sa.String(length=16), nullable=False),
        sa.Column("language", sa.String(length=35), nullable=False),
        sa.Column("source_path", sa.String(), nullable=False),
        sa.Column("source_digest", sa.String(length=64), nullable=False),
        sa.Column("source_version", BIG, nullable=False),
        sa.Column("current_version", BIG, nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scheduled_status", sa.String(length=40), nullable=False),
        sa.Column("revision", BIG, nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("job_id", name=op.f("uq_image_job_id")),
        sa.UniqueConstraint("name_key", name=op.f("uq_image_name_key")),
        sa.UniqueConstraint("package_id", name=op.f("uq_image_package_id")),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("lane", sa.String(length=64), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("step", sa.String(length=80), nullable=False),
        sa.Column("cancellable", sa.Boolean(), nullable=False),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_actor", sa.String(length=200), nullable=False),
        sa.Column("phase", sa.String(length=80), nullable=False),
        sa.Column("done", BIG, nullable=False),
        sa.Column("total", BIG, nullable=False),
        sa.Column("unit", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("error_code", sa.String(length=80), nullable=False),
        sa.Column("error_text", sa.String(), nullable=False),
        sa.Column("error_hint", sa.String(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("last_seq", BIG, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index("ix_job_lane", ["lane"], unique=False)
        batch_op.create_index("ix_job_state", ["state"], unique=False)

    op.create_table(
        "setting",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_setting")),
    )
    op.create_table(
        "status_message",
        sa.Column("id", BIG, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("number", BIG, nullable=False),
        sa.Column("severity", sa.String(length=40), nullable=False),
        sa.Column("component", sa.String(length=64), nullable=False),
        sa.Column("strings", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_status_message")),
    )
    op.create_table(
        "blob_lease",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["blob.digest"], name=op.f("fk_blob_lease_digest_blob")
        ),
        sa.PrimaryKeyConstraint("digest", "holder", name=op.f("pk_blob_lease")),
    )
    op.create_table(
        "image_event",
        sa.Column("id", BIG, nullable=False),
        sa.Column("image_id", BIG, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("version", BIG, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", BIG, nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("run_id", BIG, nullable=True),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"],
            ["image.id"],
            name=op.f("fk_image_event_image_id_image"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_event")),
        sa.UniqueConstraint(
            "image_id", "job_id", "kind", name=op.f("uq_image_event_image_id_job_id_kind")
        ),
    )
    with op.batch_alter_table("image_event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_image_event_image_id"), ["image_id"], unique=False)

    op.create_table(
        "image_version",
        sa.Column("id", BIG, nullable=False),
        sa.Column("image_id", BIG, nullable=False),
        sa.Column("number", BIG, nullable=False),
        sa.Column("origin", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("parent_image", sa.String(length=8), nullable=True),
        sa.Column("parent_version", BIG, nullable=True),
        sa.Column("parent_index", BIG, nullable=True),
        sa.Column("run_id", BIG, nullable=True),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("guid", sa.String(length=36), nullable=False),
        sa.Column("compression", sa.String(length=16), nullable=False),
        sa.Column("chunk_size", BIG, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["blob.digest"], name=op.f("fk_image_version_digest_blob")
        ),
        sa.ForeignKeyConstraint(
            ["image_id"],
            ["image.id"],
            name=op.f("fk_image_version_image_id_image"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_version")),
        sa.UniqueConstraint("image_id", "job_id", name=op.f("uq_image_version_image_id_job_id")),
        sa.UniqueConstraint("image_id", "number", name=op.f("uq_image_version_image_id_number")),
    )
    with op.batch_alter_table("image_version", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_image_version_digest"), ["digest"], unique=False)

    op.create_table(
        "job_event",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("seq", BIG, autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("level", sa.String(length=40), nullable=False),
        sa.Column("phase", sa.String(length=80), nullable=False),
        sa.Column("done", BIG, nullable=False),
        sa.Column("total", BIG, nullable=False),
        sa.Column("unit", sa.String(length=16), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["job.id"], name=op.f("fk_job_event_job_id_job"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "seq", name=op.f("pk_job_event")),
    )
    op.create_table(
        "servicing_schedule",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("image_id", BIG, nullable=False),
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("description", sa.String(length=127), nullable=False),
        sa.Column("run_now", sa.Boolean(), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("utc", sa.Boolean(), nullable=False),
        sa.Column("continue_on_error", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["image_id"],
            ["image.id"],
            name=op.f("fk_servicing_schedule_image_id_image"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_servicing_schedule")),
    )
    with op.batch_alter_table("servicing_schedule", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_servicing_schedule_image_id"), ["image_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_servicing_schedule_run_at"), ["run_at"], unique=False)

    op.create_table(
        "update",
        sa.Column("id", BIG, nullable=False),
        sa.Column("file_digest", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("identity", sa.String(length=400), nullable=False),
        sa.Column("article", sa.String(length=32), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("release_type", sa.String(length=64), nullable=False),
        sa.Column("architecture", sa.String(length=16), nullable=False),
        sa.Column("language", sa.String(length=35), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("verdict", sa.String(length=32), nullable=False),
        sa.Column("reason_code", sa.String(length=120), nullable=False),
        sa.Column("reason_text", sa.String(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("parents", sa.JSON(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("size_bytes", BIG, nullable=False),
        sa.Column("source_path", sa.String(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["blob.digest"], name=op.f("fk_update_digest_blob")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_update")),
        sa.UniqueConstraint("file_digest", name=op.f("uq_update_file_digest")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("update", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_update_digest"), ["digest"], unique=False)
        batch_op.create_index(batch_op.f("ix_update_identity"), ["identity"], unique=False)

    op.create_table(
        "image_index",
        sa.Column("id", BIG, nullable=False),
        sa.Column("version_id", BIG, nullable=False),
        sa.Column("number", BIG, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("edition", sa.String(), nullable=False),
        sa.Column("product_name", sa.String(), nullable=False),
        sa.Column("product_type", sa.String(), nullable=False),
        sa.Column("installation_type", sa.String(), nullable=False),
        sa.Column("hal", sa.String(), nullable=False),
        sa.Column("branch", sa.String(), nullable=False),
        sa.Column("os_version", sa.String(length=40), nullable=False),
        sa.Column("build", BIG, nullable=False),
        sa.Column("revision", BIG, nullable=False),
        sa.Column("architecture", sa.String(length=16), nullable=False),
        sa.Column("languages", sa.JSON(), nullable=False),
        sa.Column("size_bytes", BIG, nullable=False),
        sa.Column("hard_link_bytes", BIG, nullable=False),
        sa.Column("file_count", BIG, nullable=False),
        sa.Column("directory_count", BIG, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("package_count", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["image_version.id"],
            name=op.f("fk_image_index_version_id_image_version"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_index")),
        sa.UniqueConstraint("version_id", "number", name=op.f("uq_image_index_version_id_number")),
    )
    op.create_table(
        "scheduled_update",
        sa.Column("schedule_id", BIG, nullable=False),
        sa.Column("update_id", BIG, nullable=False),
        sa.Column("place", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["schedule_id"],
            ["servicing_schedule.id"],
            name=op.f("fk_scheduled_update_schedule_id_servicing_schedule"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["update_id"], ["update.id"], name=op.f("fk_scheduled_update_update_id_update")
        ),
        sa.PrimaryKeyConstraint("schedule_id", "update_id", name=op.f("pk_scheduled_update")),
    )
    op.create_table(
        "servicing_run",
        sa.Column("id", BIG, nullable=False),
        sa.Column("schedule_id", BIG, nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("base_version", BIG, nullable=False),
        sa.Column("base_digest", sa.String(length=64), nullable=False),
        sa.Column("result_version", BIG, nullable=True),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("workspace", sa.String(), nullable=False),
        sa.Column("failed_update_id", BIG, nullable=True),
        sa.Column("error_code", sa.String(length=80), nullable=False),
        sa.Column("error_text", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["failed_update_id"],
            ["update.id"],
            name=op.f("fk_servicing_run_failed_update_id_update"),
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_servicing_run_job_id_job")),
        sa.ForeignKeyConstraint(
            ["schedule_id"],
            ["servicing_schedule.id"],
            name=op.f("fk_servicing_run_schedule_id_servicing_schedule"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_servicing_run")),
        sa.UniqueConstraint("schedule_id", name=op.f("uq_servicing_run_schedule_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "index_package",
        sa.Column("id", BIG, nullable=False),
        sa.Column("index_id", BIG, nullable=False),
        sa.Column("identity", sa.String(length=400), nullable=False),
        sa.Column("state", BIG, nullable=False),
        sa.Column("release_type", sa.String(length=64), nullable=False),
        sa.Column("article", sa.String(length=32), nullable=False),
        sa.Column("is_update", sa.Boolean(), nullable=False),
        sa.Column("installed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("run_id", BIG, nullable=True),
        sa.ForeignKeyConstraint(
            ["index_id"],
            ["image_index.id"],
            name=op.f("fk_index_package_index_id_image_index"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_index_package")),
    )
    with op.batch_alter_table("index_package", schema=None) as batch_op:
        batch_op.create_index("ix_index_package_identity", ["identity"], unique=False)
        batch_op.create_index(batch_op.f("ix_index_package_index_id"), ["index_id"], unique=False)

    op.create_table(
        "servicing_result",
        sa.Column("id", BIG, nullable=False),
        sa.Column("run_id", BIG, nullable=False),
        sa.Column("index_number", BIG, nullable=False),
        sa.Column("update_id", BIG, nullable=False),
        sa.Column("place", BIG, nullable=False),
        sa.Column("outcome", sa.String(length=40), nullable=False),
        sa.Column("code", sa.String(length=120), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("packages", sa.JSON(), nullable=False),
        sa.Column("changed", sa.Boolean(), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["servicing_run.id"],
            name=op.f("fk_servicing_result_run_id_servicing_run"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["update_id"], ["update.id"], name=op.f("fk_servicing_result_update_id_update")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_servicing_result")),
        sa.UniqueConstraint(
            "run_id",
            "index_number",
            "update_id",
            name=op.f("uq_servicing_result_run_id_index_number_update_id"),
        ),
    )
    with op.batch_alter_table("servicing_result", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_servicing_result_update_id"), ["update_id"], unique=False
        )
