"""Fixtures of the journeys."""

from collections.abc import Iterator

import pytest

from journeys.live import LiveSite, live_site
from sitekit import practice

__all__ = ["practice"]


@pytest.fixture(scope="module")
def sqlite_site() -> Iterator[LiveSite]:
    with live_site() as site:
        yield site


@pytest.fixture(scope="module")
def postgresql_site(postgresql_server: str) -> Iterator[LiveSite]:
    with live_site(postgresql_server) as site:
        yield site
