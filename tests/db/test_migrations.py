"""Migrations make exactly the tables that the models describe, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from wimsmith.app import job_steps
from wimsmith.db import migrate
from wimsmith.db.base import Base
from wimsmith.db.engine import Database
from wimsmith.errors import DatabaseUnusable


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        found = Database(f"sqlite:///{tmp_path / 'site.sqlite'}")
        yield found
        found.close()
        return
    found = Database(request.getfixturevalue("postgresql_url"))
    yield found
    found.close()


def test_the_migrations_make_the_tables_of_the_models(database: Database) -> None:
    assert job_steps()  # from the module that knows every room, and so every table
    migrate.upgrade(database)

    assert migrate.differences(database, Base.metadata) == []


def test_upgrading_again_changes_nothing(database: Database) -> None:
    migrate.upgrade(database)
    migrate.upgrade(database)

    with database.engine.connect() as connection:
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    assert revision == migrate.head()


def test_a_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'site.sqlite'}")
    migrate.upgrade(database)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(DatabaseUnusable) as refused:
        migrate.upgrade(database)

    assert "newer version" in (refused.value.hint or "")
    database.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.sqlite"
    path.write_bytes(b"something else entirely" * 200)
    database = Database(f"sqlite:///{path}")

    with pytest.raises(DatabaseUnusable):
        migrate.upgrade(database)

    database.close()
