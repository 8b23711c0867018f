"""Fixtures of these tests."""

from sitekit import api, practice

__all__ = ["api", "practice"]
