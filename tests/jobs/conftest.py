"""A ledger with an engine, for jobs that do little."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from wimsmith.db import migrate
from wimsmith.db.engine import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path / 'site.sqlite'}")
    migrate.upgrade(found)
    yield found
    found.close()
