"""The database: settings that make SQLite safe, transactions, and who owns the state."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from wimsmith.db import migrate
from wimsmith.db.engine import Database, after_commit
from wimsmith.db.lock import state_lock
from wimsmith.errors import StateInUse
from wimsmith.site.models import Counter, Setting


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path / 'site.sqlite'}")
    migrate.upgrade(found)
    yield found
    found.close()


def _pragma(session: Session, name: str) -> object:
    return session.execute(text(f"PRAGMA {name}")).scalar_one()


def test_sqlite_is_opened_with_the_settings_that_make_it_safe(database: Database) -> None:
    with database.read() as session:
        assert _pragma(session, "journal_mode") == "wal"
        assert _pragma(session, "foreign_keys") == 1
        assert _pragma(session, "busy_timeout") == 30_000
        assert _pragma(session, "synchronous") == 2


def test_what_is_raised_undoes_the_transaction(database: Database) -> None:
    def lose() -> None:
        with database.write() as session:
            session.add(Counter(name="lost", value=1))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        lose()

    with database.read() as session:
        assert session.get(Counter, "lost") is None


def test_functions_run_after_the_commit_and_only_then(database: Database) -> None:
    seen: list[int | None] = []

    def look() -> None:
        with database.read() as session:
            row = session.get(Counter, "kept")
            seen.append(row.value if row else None)

    def fail() -> None:
        with database.write() as session:
            after_commit(session, look)
            raise RuntimeError

    with database.write() as session:
        session.add(Counter(name="kept", value=7))
        after_commit(session, look)
        assert seen == []
    with pytest.raises(RuntimeError):
        fail()

    assert seen == [7]


def test_two_writers_wait_for_each_other(database: Database) -> None:
    """A writer that reads first must not lose what the other one wrote meanwhile."""
    with database.write() as session:
        session.add(Counter(name="shared", value=0))

    def count() -> None:
        for _ in range(20):
            with database.write() as session:
                row = session.get_one(Counter, "shared")
                time.sleep(0.001)
                row.value += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with database.read() as session:
        assert session.get_one(Counter, "shared").value == 80


def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    moment = datetime(2026, 11, 21, 23, 30, tzinfo=timezone(timedelta(hours=2)))
    with database.write() as session:
        session.add(Setting(name="x", value=1, changed_at=moment))

    with database.read() as session:
        found = session.get_one(Setting, "x").changed_at

    assert found == moment
    assert found.tzinfo is UTC


def test_a_time_without_zone_is_refused(database: Database) -> None:
    naive = datetime(2026, 11, 21, 23, 30)  # noqa: DTZ001 - what is to be refused
    with pytest.raises(StatementError, match="no time zone"), database.write() as session:
        session.add(Setting(name="x", value=1, changed_at=naive))


def test_one_process_owns_the_state(tmp_path: Path) -> None:
    busy = pytest.raises(StateInUse, match=r"process \d+")
    with state_lock(tmp_path), busy, state_lock(tmp_path):
        pass

    with state_lock(tmp_path):
        pass
