"""Runs timed scenarios: `.venv/bin/python -m bench [--json] [--work FOLDER] [SCENARIO...]`.

See README.md.
"""

import argparse
import importlib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))  # scenarios may use the generators of the tests

from bench.rows import Row, as_json, as_text, with_ratios  # noqa: E402 - needs the path above

_NOT_SCENARIOS = {"__init__", "__main__", "inputs", "rows", "stores"}


def scenarios() -> list[str]:
    """Names of all scenarios: the modules of this folder that have `run`."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in _NOT_SCENARIOS)


def main() -> None:
    """Run what the command line names, or everything."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("scenario", nargs="*", help=f"of: {', '.join(scenarios())}; all if none")
    parser.add_argument("--json", action="store_true", help="rows as JSON on stdout")
    parser.add_argument("--work", type=Path, help="folder in which large inputs are kept")
    arguments = parser.parse_args()
    unknown = set(arguments.scenario) - set(scenarios())
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}")
    names = arguments.scenario or scenarios()
    with _folder(arguments.work) as folder:
        rows = [row for name in names for row in _rows(name, folder, as_table=not arguments.json)]
    if arguments.json:
        print(as_json(rows))


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)


def _rows(name: str, folder: Path, *, as_table: bool) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=folder) as work:
        found = with_ratios(importlib.import_module(f"bench.{name}").run(Path(work)))
    if as_table:
        print(f"{name}\n{as_text(found)}\n", flush=True)
    return found


if __name__ == "__main__":
    main()
