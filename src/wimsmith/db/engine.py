"""Opening the database: SQLite with the settings that make it safe, or PostgreSQL by URL."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from wimsmith.errors import DatabaseUnusable

SCHEMA = "wimsmith"
JOBS_SCHEMA = "wimsmith_jobs"
BUSY_TIMEOUT_MS = 30_000
_AFTER_COMMIT = "after_commit"
_BEGIN = "wimsmith_begin"


class Database:
    """The site database. `read` and `write` give one session and one transaction each.

    On SQLite a writer takes the write lock when it begins (`BEGIN IMMEDIATE`): a transaction that
    starts by reading and then wants to write cannot be made to wait, only to fail.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.engine = _sqlite(url) if self.is_sqlite else _postgresql(url)
        self._reader = self.engine.execution_options(**{_BEGIN: "BEGIN"})
        self._writer = self.engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one moment and keeps nothing."""
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose work is committed at the end, or not at all if anything is raised.

        Functions given to `after_commit` run when the commit has succeeded.
        """
        with Session(self._writer, expire_on_commit=False) as session:
            with session.begin():
                yield session
            for function in session.info.pop(_AFTER_COMMIT, []):
                function()

    def close(self) -> None:
        self.engine.dispose()


def after_commit(session: Session, function: Callable[[], object]) -> None:
    """Run `function` once the transaction of a `Database.write` session is committed."""
    session.info.setdefault(_AFTER_COMMIT, []).append(function)


def _sqlite(url: str) -> Engine:
    engine = create_engine(url)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN IMMEDIATE"))


def _postgresql(url: str) -> Engine:
    engine = create_engine(
        url, connect_args={"options": f"-csearch_path={SCHEMA}"}, pool_pre_ping=True
    )
    try:
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    except SQLAlchemyError as error:
        engine.dispose()
        shown = engine.url.render_as_string(hide_password=True)
        raise DatabaseUnusable(f"{shown}: {error}") from error
    return engine
