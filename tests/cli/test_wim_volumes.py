"""`wimsmith wim capture` and `apply`: from the command line to volumes and back."""

import json
import subprocess
from pathlib import Path

import pytest

from wimsmith.cli.main import run
from wimsmith.errors import AlreadyExists, InvalidInput, NotSupported


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "Windows").mkdir(parents=True)
    (folder / "Windows/notepad.exe").write_bytes(b"MZ" * 5000)
    (folder / "pagefile.sys").write_bytes(b"page")
    (folder / "old.bak").write_bytes(b"backup")
    (folder / "CON").write_bytes(b"device")
    return folder


def printed(capsys: pytest.CaptureFixture[str], *tokens: object) -> tuple[str, str]:
    code = run(["wim", *map(str, tokens)])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out, captured.err


def failed(capsys: pytest.CaptureFixture[str], *tokens: object) -> tuple[int, str]:
    code = run(["wim", *map(str, tokens)])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


def test_a_folder_becomes_an_image_and_the_image_a_volume(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wim, volume, again = (tmp_path / name for name in ("new.wim", "volume.img", "again.wim"))
    out, err = printed(capsys, "capture", folder, wim, "--exclude", "*.bak", "--level", 20)
    assert out.startswith(f"{wim}: 2 files, 2 folders")
    assert "CON is a device" in err
    assert "pagefile.sys was left out by the list" in err
    out, _ = printed(capsys, "apply", wim, 1, volume, "--new", "16MB", "--label", "Sys")
    assert "4 entries read back" in out
    assert volume.stat().st_size == 16 << 20
    out, _ = printed(
        capsys, "capture", volume, again, "--name", "Again", "--json", "--compress", "xpress"
    )
    report = json.loads(out)
    assert (report["name"], report["files"], report["checked"]) == ("Again", 2, True)
    out, _ = printed(capsys, "cat", again, 1, "Windows/notepad.exe")
    assert out == "MZ" * 5000
    out, _ = printed(capsys, "info", wim, "--json")
    assert json.loads(out)["images"][0]["name"] == "tree", "the name of the folder"


def test_names_windows_refuses_are_refused_on_demand(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = failed(capsys, "capture", folder, tmp_path / "new.wim", "--strict")
    assert code == InvalidInput.exit
    assert "1 names that Windows cannot use" in err
    assert not (tmp_path / "new.wim").exists()


def test_a_list_of_exclusions_says_what_has_no_effect(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "wimscript.ini"
    config.write_text("[ExclusionList]\nCON\n[CompressionExclusionList]\n*.zip\n")
    _, err = printed(capsys, "capture", folder, tmp_path / "new.wim", "--config", config)
    assert "[CompressionExclusionList]" in err
    out, _ = printed(capsys, "ls", tmp_path / "new.wim", 1)
    assert "pagefile.sys" in out
    assert "CON" not in out


def test_an_existing_volume_is_changed_only_after_a_yes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wim, volume = tmp_path / "new.wim", tmp_path / "volume.img"
    printed(capsys, "capture", folder, wim, "--exclude", "CON")
    code, err = failed(capsys, "apply", wim, 1, volume)
    assert code == InvalidInput.exit
    assert "--new SIZE" in err
    with volume.open("wb") as file:
        file.truncate(16 << 20)
    code, err = failed(capsys, "apply", wim, 1, volume, "--yes")
    assert code == NotSupported.exit
    subprocess.run(["mkntfs", "-Q", "-F", "-q", volume], check=True, capture_output=True)
    before = volume.read_bytes()
    code, err = failed(capsys, "apply", wim, 1, volume, "--format")
    assert (code, volume.read_bytes()) == (InvalidInput.exit, before)
    assert "changed in place" in err
    printed(capsys, "apply", wim, 1, volume, "--yes", "--check", "content")
    code, err = failed(capsys, "apply", wim, 1, volume, "--yes")
    assert code == AlreadyExists.exit
    assert "--format" in err
    printed(capsys, "apply", wim, 1, volume, "--yes", "--format")
    code, err = failed(capsys, "apply", wim, 1, volume, "--yes", "--new", "1GB")
    assert code == InvalidInput.exit
    code, err = failed(capsys, "apply", wim, 1, volume, "--yes", "--label", "X")
    assert code == InvalidInput.exit


def test_the_help_says_what_is_changed(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, "apply", "--help")
    assert "CHANGED IN PLACE" in out
    out, _ = printed(capsys, "capture", "--help")
    assert "pagefile.sys" in out
