"""Fixtures of the whole suite."""

from pathlib import Path

import pytest

REAL = Path(__file__).resolve().parents[2] / "shared" / "real"


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder of real third-party files, which are never part of this repository."""
    if not REAL.is_dir():
        pytest.skip("needs the folder shared/real beside the checkout")
    return REAL
