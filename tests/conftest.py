"""Fixtures of the whole suite, and what its summary counts."""

from collections import Counter
from pathlib import Path

import pytest

REAL = Path(__file__).resolve().parents[2] / "shared" / "real"


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder of real third-party files, which are never part of this repository."""
    if not REAL.is_dir():
        pytest.skip("needs the folder shared/real beside the checkout")
    return REAL


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print at how many points of the step registry the service was killed and came back."""
    killed = Counter(
        database
        for report in terminalreporter.getreports("passed")
        for name, database in report.user_properties
        if name == "killed on" and report.when == "call"
    )
    for database, count in sorted(killed.items()):
        terminalreporter.write_line(f"kill -9 on {database}: {count} points of the step registry")
