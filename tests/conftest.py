"""Fixtures of the whole suite, and what its summary counts."""

from collections import Counter
from collections.abc import Generator, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from journeys.live import POSTGRESQL, postgresql

REAL = Path(__file__).resolve().parents[2] / "shared" / "real"


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder of real third-party files, which are never part of this repository."""
    if not REAL.is_dir():
        pytest.skip("needs the folder shared/real beside the checkout")
    return REAL


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """URL of a private server and of a database in it that sessions of tests may share."""
    if not (POSTGRESQL / "initdb").exists():
        pytest.skip(f"needs PostgreSQL 15 in {POSTGRESQL}")
    with postgresql() as url:
        yield url


_numbers = count(1)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> str:
    """URL of a new, empty database."""
    name = f"test_{next(_numbers)}"
    server = postgresql_server.replace("+psycopg", "")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return postgresql_server.replace("/postgres?", f"/{name}?")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let reports cross from one process to another: names of files need not be UTF-8."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print at how many points of the step registry the service was killed and came back."""
    killed = Counter(
        database
        for report in terminalreporter.getreports("passed")
        for name, database in report.user_properties
        if name == "killed on" and report.when == "call"
    )
    for database, points in sorted(killed.items()):
        terminalreporter.write_line(f"kill -9 on {database}: {points} points of the step registry")
