"""Writes the reference pages that are made from the code; `--check` only compares.

Run by `sh bin/fix`, compared by tests/test_errors.py.
"""
# ruff: noqa: INP001 - a script, not a package

import sys
from pathlib import Path

from wimsmith import errors
from wimsmith.cli.main import INTERRUPTED_EXIT, TERMINATED_EXIT, USAGE_EXIT, build
from wimsmith.errors import WimsmithError

HERE = Path(__file__).resolve().parent

_ERRORS_HEAD = f"""# Errors

Every error has a code that never changes. The command line prints its text and its hint on stderr
and ends with its exit code; the HTTP API answers with its status and `application/problem+json`,
which carries the code; a job that failed keeps the code beside its text.

Other exit codes: 0 when all went well, {USAGE_EXIT} when the command was not understood,
{INTERRUPTED_EXIT} when Ctrl-C ended it, {TERMINATED_EXIT} when a signal to terminate did.

| code | exit | HTTP | text | what to do |
|---|---|---|---|---|
"""


def error_classes() -> list[type[WimsmithError]]:
    """All error classes of the product, by exit code."""
    found = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, WimsmithError)
    ]
    return sorted(found, key=lambda kind: kind.exit)


def errors_page() -> str:
    """The page of all errors."""
    return _ERRORS_HEAD + "".join(_error_row(kind) for kind in error_classes())


def _error_row(kind: type[WimsmithError]) -> str:
    text = (kind.__doc__ or "").splitlines()[0]
    for place in ("{}", "{0}", "{1}"):
        text = text.replace(place, "...")
    hint = kind.hint or ""
    return f"| `{kind.code}` | {kind.exit} | {kind.status} | {text} | {hint} |\n"


def commands_page() -> str:
    """The page of all commands."""
    return str(build().generate_docs(output_format="markdown")).rstrip() + "\n"


PAGES = {"commands.md": commands_page, "errors.md": errors_page}


def main() -> int:
    """Write the pages, or with `--check` tell which differ."""
    stale = [
        name
        for name, page in PAGES.items()
        if not (HERE / name).is_file() or (HERE / name).read_text(encoding="utf-8") != page()
    ]
    if "--check" not in sys.argv:
        for name in stale:
            (HERE / name).write_text(PAGES[name](), encoding="utf-8")
        return 0
    for name in stale:
        sys.stderr.write(f"docs/reference/{name} is not what the code says: run `sh bin/fix`\n")
    return len(stale)


if __name__ == "__main__":
    sys.exit(main())
