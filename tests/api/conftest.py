"""Fixtures of the API: its questions to the database are asked of both, always."""

import pytest

from sitekit import api, practice

__all__ = ["api", "practice"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("postgresql_url") if request.param == "postgresql" else ""
