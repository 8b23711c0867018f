"""The command line as a process: help, flags, exit codes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from wimsmith.cli.main import USAGE_EXIT, build, run
from wimsmith.errors import SiteUnreachable

HEAVY = ("sqlalchemy", "fastapi", "starlette", "dbos", "pydantic", "httpx2", "uvicorn", "alembic")
PROBE = """
import json, sys
from wimsmith.cli.main import run
sys.stdout, out = sys.stderr, sys.stdout
code = run({tokens!r})
json.dump([code, sorted(name.partition(".")[0] for name in sys.modules)], out)
"""


def loaded_by(*tokens: str) -> tuple[int, set[str]]:
    code, modules = json.loads(
        subprocess.run(
            [sys.executable, "-c", PROBE.format(tokens=list(tokens))],
            check=True,
            capture_output=True,
        ).stdout
    )
    return code, set(modules)


@pytest.mark.parametrize("tokens", [("--help",), ("--version",), ()])
def test_help_loads_nothing_heavy(tokens: tuple[str, ...]) -> None:
    code, modules = loaded_by(*tokens)
    assert code == 0
    assert not modules.intersection(HEAVY)


def test_a_client_command_loads_no_server(tmp_path: Path) -> None:
    code, modules = loaded_by("image", "list", "--state", str(tmp_path))
    assert code == SiteUnreachable.exit
    assert not modules.intersection({*HEAVY} - {"httpx2"})


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    for noun in ("image", "updates", "service", "job", "settings", "serve", "wim", "practice"):
        assert f" {noun} " in text


@pytest.mark.parametrize("noun", ["image", "updates", "service", "job", "settings"])
def test_every_command_of_a_noun_explains_itself(
    noun: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([noun, "--help"]) == 0
    commands = [name for name in build()[noun] if not name.startswith("-")]
    assert commands
    for command in commands:
        assert run([noun, command, "--help"]) == 0
    assert "Usage: wimsmith" in capsys.readouterr().out


def test_no_command_takes_a_flag_that_belongs_to_all(capsys: pytest.CaptureFixture[str]) -> None:
    for noun in ("image", "updates", "service", "job", "settings", "wim", "practice"):
        for command in build()[noun]:
            run([noun, command, "--help"])
    boxes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert any("--sort" in line for line in boxes)
    assert [line for line in boxes if re.search("--(json|debug|state) ", line)] == []


@pytest.mark.parametrize(
    "tokens",
    [("nonsense",), ("image", "nonsense"), ("image", "add"), ("image", "add", "x", "--index", "a")],
)
def test_wrong_usage_says_so_and_names_the_help(
    tokens: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(list(tokens)) == USAGE_EXIT
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("error: ")
    assert "--help" in written.err


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (("wim", "health"), "FILE is missing"),
        (("wim", "health", "a.wim"), "INDEX is missing"),
        (("wim", "service", "a.wim"), "INDEX is missing"),
        (("image", "add"), "PATH is missing"),
    ],
)
def test_what_is_missing_is_named_with_the_help_of_the_command(
    tokens: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(list(tokens)) == USAGE_EXIT
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"error: {words}"
    assert f"`wimsmith {' '.join(tokens[:2])} --help`" in hint


def test_help_leaves_out_defaults_that_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for tokens in (("wim", "service"), ("wim", "export"), ("practice", "image")):
        assert run([*tokens, "--help"]) == 0
    text = capsys.readouterr().out
    assert "[default: 19041]" in text
    assert not re.search(r"default:\s*(│\s*│\s*)?(False|\(\))", text)


def test_a_service_that_is_not_there_is_told_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["image", "list", "--state", str(tmp_path)]) == SiteUnreachable.exit
    written = capsys.readouterr().err
    assert str(tmp_path / "run" / "wimsmith.sock") in written
    assert "wimsmith serve" in written
    assert "Traceback" not in written


def test_debug_shows_where_it_came_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["image", "list", "--debug", "--state", str(tmp_path)])
    assert "Traceback" in capsys.readouterr().err


def test_flags_work_before_and_after_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run(["--state", str(tmp_path), "--json", "image", "list"])
    assert before == run(["image", "list", "--json", "--state", str(tmp_path)])


def test_a_reader_that_went_away_needs_no_words() -> None:
    script = "import time; time.sleep(0.2); from wimsmith.cli.main import main; main(['--help'])"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as done:
        assert done.stdout
        assert done.stderr
        done.stdout.close()
        assert done.stderr.read() == b""


@pytest.mark.parametrize("module", ["hive.look", "hive.compare", "hive.text", "wim.compare"])
def test_commands_load_whichever_is_asked_for_first(module: str) -> None:
    """Each runs in a process of its own, where nothing else has been loaded before."""
    subprocess.run([sys.executable, "-c", f"import wimsmith.cli.{module}"], check=True)


def test_help_breaks_lines_where_the_terminal_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for columns in ("60", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        assert run(["wim", "ls", "--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        (first,) = [at for at, line in enumerate(lines) if line.startswith("With --json")]
        paragraph = lines[first : lines.index("", first)]
        assert len(paragraph) == 1 + (len(" ".join(paragraph)) - 1) // int(columns)
