"""Mutates scripts of edits and reports what is not an error of ours.

    PYTHONPATH=tests python -m fuzz.fuzz_edits SECONDS FILE...

With Atheris installed, coverage guides the search.
"""

import sys
from pathlib import Path

from fuzz.guided import run
from fuzz.mutation import feed
from wimsmith.offline.edits.data import as_data, from_data
from wimsmith.offline.edits.forms import title
from wimsmith.offline.edits.words import parse_script

_FOLDER = Path("/nonexistent/sources")


def test_one_input(data: bytes) -> None:
    """Feed bytes to the reader; anything but an error of ours is a finding."""
    feed((_read,), data)


def _read(data: bytes) -> None:
    """What can be read is the same edit after it was written as data."""
    for edit in parse_script(data, Path("script"), _FOLDER):
        assert title(edit)
        assert from_data(as_data(edit, _FOLDER), _FOLDER) == edit


if __name__ == "__main__":
    run(float(sys.argv[1]), [Path(name).read_bytes() for name in sys.argv[2:]], test_one_input)
