"""What people and scripts read: data on stdout, the rest on stderr, nothing that moves a cursor."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace

import pytest

from wimsmith.cli import output
from wimsmith.errors import NameInUse, NotSupported
from wimsmith.offline.progress import Event


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Thing:
    name: str
    path: Path
    sha1: bytes
    at: datetime
    colour: Colour


@pytest.fixture(autouse=True)
def flags() -> Iterator[None]:
    yield
    output.options.json = output.options.debug = False


def test_json_takes_the_values_the_engine_uses(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json(
        [Thing("ä", Path("a/b"), b"\x01\xff", datetime(2026, 1, 2, tzinfo=UTC), Colour.RED)]
    )
    written = capsys.readouterr()
    assert json.loads(written.out) == [
        {
            "name": "ä",
            "path": "a/b",
            "sha1": "01ff",
            "at": "2026-01-02T00:00:00+00:00",
            "colour": "red",
        }
    ]
    assert written.err == ""


def test_a_table_aligns_text_left_and_numbers_right(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("name", "files"), [("install", 7), ("boot image", 1234), ("x", None)])
    assert capsys.readouterr().out.splitlines() == [
        "NAME        FILES",
        "install         7",
        "boot image   1234",
        "x               -",
    ]


def test_an_empty_table_still_names_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("name", "files"), [])
    assert capsys.readouterr().out == "NAME  FILES\n"


def test_names_from_an_image_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("name",), [("a\x1b[2Jb\nc",)])
    output.print_facts({"na\u0085me": "x\ry"})
    output.note("done")
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.splitlines()[1] == "a [2Jb c"


def test_unpaired_surrogates_in_names_do_not_break_printing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.print_table(("name",), [("a\ud800b",)])
    output.print_json({"name": "a\ud800b"})
    assert "a?b" in capsys.readouterr().out


def test_facts_leave_out_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_facts({"image": "WSM00001", "comment": None, "name": "", "enabled": True})
    assert capsys.readouterr().out == "image:   WSM00001\nenabled: yes\n"


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 << 30, "5.0 GiB"),
        (3 << 60, "3072.0 PiB"),
    ],
)
def test_sizes_for_people(size_bytes: int, text: str) -> None:
    assert output.human_size(size_bytes) == text


def test_an_error_is_told_with_its_hint_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.fail(NameInUse("install")) == NameInUse.exit
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == "error: The name is in use: install\nhint: Choose another name.\n"


def test_the_reason_code_of_a_refusal_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.fail(NotSupported("psfx", "a forward delta")) == NotSupported.exit
    assert capsys.readouterr().err == "error: Not supported: a forward delta (psfx)\n"


def test_a_traceback_is_shown_only_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    output.fail(NameInUse("install"))
    assert "Traceback" not in capsys.readouterr().err
    output.options.debug = True
    output.fail(NameInUse("install"))
    assert "NameInUse" in capsys.readouterr().err


def test_an_error_of_the_system_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    output.fail(FileNotFoundError(2, "No such file or directory", "install.wim"))
    assert capsys.readouterr().err == "error: install.wim: No such file or directory\n"


def test_progress_into_a_pipe_is_a_line_per_phase(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress_bar() as progress:
        for done in range(100):
            progress(Event("Copying", done, 100))
        progress(Event("Verifying", 50, 100))
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == "Copying\nVerifying\n"


def test_long_work_into_a_pipe_tells_share_rate_and_remaining_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 105.0, 110.0, 300.0, 310.0, 320.0])
    monkeypatch.setattr(output, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(output, "_PLAIN_INTERVAL_S", 5)
    with output.progress_bar() as progress:
        for done in (0, 25, 50):
            progress(Event("Copying", done << 20, 100 << 20, "bytes"))
        for done in (0, 100, 500):
            progress(Event("Linking", done, 50_000, "files"))
    assert capsys.readouterr().err.splitlines() == [
        "Copying",
        "Copying 25%, 5.0 MiB/s, 0:15 left",
        "Copying 50%, 5.0 MiB/s, 0:10 left",
        "Linking",
        "Linking 0%, 10 files/s, 1:23:10 left",
        "Linking 1%, 25 files/s, 33:00 left",
    ]


def test_progress_is_silent_with_json_into_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    output.options.json = True
    with output.progress_bar() as progress:
        progress(Event("Copying", 1, 2))
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal_is_a_bar_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    with output.progress_bar() as progress:
        progress(Event("Copying [bold]", 1, 2, "bytes"))
        progress(Event("Copying [bold]", 2, 2, "bytes"))
    written = capsys.readouterr()
    assert written.out == ""
    assert "Copying [bold]" in written.err
    assert "100%" in written.err


def test_json_holds_every_name_and_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[2J \x9b2J \x85 \x7f \u202e \u2028 \ud800 é 漢"
    output.print_json({"name": name})
    text = capsys.readouterr().out
    assert json.loads(text) == {"name": name}
    assert set(text) & set("\x1b\x9b\x85\x7f\u202e\u2028\ud800") == set()
    assert "é 漢" in text
