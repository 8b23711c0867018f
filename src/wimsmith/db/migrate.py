"""Brings the database to the schema of this program."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import MetaData
from sqlalchemy.exc import SQLAlchemyError

from wimsmith.db.engine import Database
from wimsmith.errors import DatabaseUnusable


def upgrade(database: Database) -> None:
    """Run every migration that this database has not seen, in one transaction.

    Raises:
        DatabaseUnusable: it cannot be opened, or a newer program has migrated it.
    """
    try:
        with database.engine.begin() as connection:
            command.upgrade(_config(connection), "head")
    except CommandError as error:
        hint = "It was used by a newer version of Wimsmith; start that version."
        raise DatabaseUnusable(f"{database.url.database}: {error}", hint=hint) from error
    except SQLAlchemyError as error:
        raise DatabaseUnusable(f"{database.url.database}: {error}") from error


def write_revision(database: Database, metadata: MetaData, message: str, number: str) -> None:
    """Write the migration from what the database has to what the models say, for developers."""
    with database.engine.connect() as connection:
        config = _config(connection)
        config.attributes["metadata"] = metadata
        command.revision(config, message, autogenerate=True, rev_id=number)


def differences(database: Database, metadata: MetaData) -> list[Any]:
    """What autogenerate would still change: empty when tables and models agree."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - for developers only

    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, metadata))


def head() -> str:
    """The newest revision this program knows."""
    revision = ScriptDirectory.from_config(_config(None)).get_current_head()
    assert revision is not None
    return revision


def _config(connection: object) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
