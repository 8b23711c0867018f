"""`wimsmith wim`: what an administrator sees a minute after installation."""

from pathlib import Path

import pytest

from cli.wimkit import TEXT, document, failed, imagex, printed
from wimsmith.cli.main import USAGE_EXIT, run
from wimsmith.errors import AlreadyExists, DamagedWim, InvalidInput, NoSuchIndex, NotFound


def test_the_logged_export_command_works_as_it_is(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "two-2.wim"
    assert f"{target}: index 2 of {wim}" in printed(capsys, "export", wim, 2, target)
    imagex("verify", target)
    assert [image["name"] for image in document(capsys, "info", target)["images"]] == ["Extra"]


def test_export_tells_its_result_as_data(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = document(capsys, "export", wim, "all", tmp_path / "all.wim", "--compress", "xpress")
    assert report["images"] == [1, 2]
    assert report["size_bytes"] == (tmp_path / "all.wim").stat().st_size
    report = document(capsys, "export", wim, "2,1", tmp_path / "turned.wim")
    assert report["images"] == [2, 1]


def test_export_replaces_only_when_told(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "old.wim"
    target.write_text("precious")
    code, text = failed(capsys, "export", wim, 1, target)
    assert code == AlreadyExists.exit
    assert f"error: Exists already: {target}\nhint: " in text
    assert target.read_text() == "precious"
    printed(capsys, "export", wim, 1, target, "--overwrite")
    imagex("verify", target)


def test_extract_makes_a_folder(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed(capsys, "extract", wim, 1, tmp_path / "out", "Windows/*/text.bin")
    assert (tmp_path / "out/Windows/System32/text.bin").read_bytes() == TEXT
    assert document(capsys, "extract", wim, 2, tmp_path / "all")["files"] == 4


def test_verify_says_what_it_compared(wim: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "2 images, 3 contents of" in printed(capsys, "verify", wim)
    assert document(capsys, "verify", wim)["blobs"] == 3


def test_verify_warns_of_names_that_windows_cannot_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, path = tmp_path / "folder", tmp_path / "x.wim"
    (folder / "sub").mkdir(parents=True)
    for name in ("ordinary", "Ordinary", "con.txt", "dot.", "a:b", "sub/nul"):
        (folder / name).write_text(name)
    imagex("capture", folder, path, "Odd")
    assert run(["wim", "verify", str(path)]) == 0
    warnings = capsys.readouterr().err
    assert "warning: index 1: con.txt is a device" in warnings
    assert "rdinary differs from another name in its folder by case alone" in warnings
    assert "warning: 5 names cannot be used" in warnings
    report = document(capsys, "verify", path)
    assert report["unusable_count"] == 5
    assert {one["path"] for one in report["unusable_names"]} >= {"dot.", "a:b", "sub/nul"}


def test_progress_is_on_stderr_and_absent_with_json(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["wim", "export", wim, "1", str(tmp_path / "one.wim")]) == 0
    assert "\nCopy\n" in capsys.readouterr().err
    assert run(["wim", "export", wim, "1", str(tmp_path / "two.wim"), "--json"]) == 0
    assert capsys.readouterr().err == ""


def test_errors_name_the_file_and_what_is_there(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "notes.wim"
    other.write_text("these are notes, no image at all\n" * 20)
    code, text = failed(capsys, "info", other)
    assert code == DamagedWim.exit
    assert f"{other}: not a WIM file" in text
    code, text = failed(capsys, "export", wim, 9, tmp_path / "new.wim")
    assert code == NoSuchIndex.exit
    assert "hint: It has 1 to 2." in text
    code, text = failed(capsys, "cat", wim, 1, "Windows/none.txt")
    assert code == NotFound.exit
    assert f"Windows/none.txt in index 1 of {wim}" in text
    code, text = failed(capsys, "cat", wim, 1, "Windows")
    assert code == InvalidInput.exit
    assert "wimsmith wim ls" in text
    code, text = failed(capsys, "export", wim, "some", tmp_path / "new.wim")
    assert code == InvalidInput.exit
    assert "Say a number from 1, or all." in text
    code, text = failed(capsys, "info", tmp_path / "none.wim")
    assert code == 20
    assert f"{tmp_path / 'none.wim'}: No such file or directory" in text


def test_usage_errors_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["wim", "info"]) == USAGE_EXIT
    assert "error: " in capsys.readouterr().err


def test_help_explains_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--help")
    for verb in ("info", "ls", "cat", "diff", "add", "rm", "mv", "replace", "mkdir", "packages"):
        assert f" {verb} " in text
    for verb in ("export", "extract", "verify"):
        assert f" {verb} " in text
    assert "--overwrite" in printed(capsys, "export", "--help")
