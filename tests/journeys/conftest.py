"""Fixtures of the journeys, and the count of kill points in the summary."""

from collections.abc import Iterator

import pytest

from journeys.live import POSTGRESQL, LiveSite, live_site, postgresql
from sitekit import practice

__all__ = ["practice"]

_killed: dict[str, set[str]] = {}


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    if not (POSTGRESQL / "initdb").exists():
        pytest.skip(f"needs PostgreSQL 15 in {POSTGRESQL}")
    with postgresql() as url:
        yield url


@pytest.fixture(scope="module")
def sqlite_site() -> Iterator[LiveSite]:
    with live_site() as site:
        yield site


@pytest.fixture(scope="module")
def postgresql_site(postgresql_url: str) -> Iterator[LiveSite]:
    with live_site(postgresql_url) as site:
        yield site


@pytest.fixture
def count_kill(request: pytest.FixtureRequest) -> Iterator[None]:
    """Count a kill point when its test has been through."""
    case = request.node.callspec.params
    yield
    _killed.setdefault(case["database"], set()).add(
        f"{case['kind']}/{case['step']}/{case['point']}"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for database, points in sorted(_killed.items()):
        terminalreporter.write_line(f"kill -9 on {database}: {len(points)} points of the registry")
