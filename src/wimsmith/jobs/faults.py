"""Sudden death at a named place, so that tests can prove what a restart finds.

Only the environment of a test can ask for it: `WIMSMITH_TEST_KILL` names a file that holds
`KIND/STEP/POINT`, where POINT is `before` (the step has begun, nothing is done), `during` (at its
first progress) or `after` (all is done, the engine has not recorded it). The file is removed and
the process ends as by `kill -9`.
"""

import os
import signal
from enum import StrEnum
from pathlib import Path

VARIABLE = "WIMSMITH_TEST_KILL"


class Point(StrEnum):
    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


def reached(kind: str, step: str, point: Point) -> None:
    """Die here if a test says so."""
    wish = os.environ.get(VARIABLE)
    if wish and _read(Path(wish)) == f"{kind}/{step.partition('/')[0]}/{point}":
        Path(wish).unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
