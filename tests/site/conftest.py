"""Fixtures of these tests."""

from sitekit import api, database_url, practice

__all__ = ["api", "database_url", "practice"]
