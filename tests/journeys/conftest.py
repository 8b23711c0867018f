"""Fixtures of the journeys."""

from collections.abc import Iterator

import pytest

from journeys.live import POSTGRESQL, LiveSite, live_site, postgresql
from sitekit import practice

__all__ = ["practice"]


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
