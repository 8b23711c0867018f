"""The table of errors: one code and one exit number each, told to users as documented."""

import subprocess
import sys
from pathlib import Path

import pytest

from wimsmith import errors
from wimsmith.errors import NotSupported, WimsmithError

ROOT = Path(__file__).resolve().parents[1]
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, WimsmithError)
]


def test_codes_and_exit_numbers_are_unique() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)
    assert len({kind.exit for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_complete(kind: type[WimsmithError]) -> None:
    assert 20 <= kind.exit <= 99
    assert 400 <= kind.status <= 599
    assert kind.code == kind.code.lower()
    assert kind.code.replace("-", "").isalnum()
    error = kind("reason", "what it is about")
    assert "{" not in str(error)
    assert "reason" in str(error)
    assert error.hint is None or error.hint.endswith(".")


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_documented_with_its_numbers(kind: type[WimsmithError]) -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    assert f"| `{kind.code}` | {kind.exit} | {kind.status} |" in page


def test_reference_pages_are_what_the_code_says() -> None:
    generate = ROOT / "docs" / "reference" / "generate.py"
    done = subprocess.run(
        [sys.executable, str(generate), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_hint_given_where_it_is_raised_replaces_the_general_one() -> None:
    assert errors.NameInUse("x", hint="Take y.").hint == "Take y."
    assert errors.NameInUse("x").hint == "Choose another name."


def test_braces_in_what_it_is_about_are_left_alone() -> None:
    assert str(errors.NotFound("{0}{evil}")) == "Not found: {0}{evil}"


def test_a_refusal_carries_its_reason_code() -> None:
    error = NotSupported("advanced-new:configuration", "the manifest asks for an installer")
    assert error.reason == "advanced-new:configuration"
    assert str(error) == (
        "Not supported: the manifest asks for an installer (advanced-new:configuration)"
    )
