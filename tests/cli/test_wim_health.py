"""`wimsmith wim health`, in this process and as a real one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.wimkit import document, failed, imagex, printed
from wimsmith.cli.main import run
from wimsmith.errors import NotFound
from wimsmith.practice.image import build_image
from wimsmith.practice.spec import Generation, ImageSpec

PAYLOAD = "practice-windows-fonts"


@pytest.fixture(scope="session")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("health") / "windows.wim"
    build_image(ImageSpec(Generation.WINDOWS_11, size_bytes=1 << 19, components=3), path)
    return path


@pytest.fixture
def broken(windows: Path, tmp_path: Path) -> Path:
    """The image without a file of the store, and with one file that nobody knows."""
    path = tmp_path / "broken.wim"
    path.write_bytes(windows.read_bytes())
    listed = subprocess.run(
        ["wimlib-imagex", "dir", path, "1"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    font = next(one for one in listed if PAYLOAD in one and one.endswith("practice.ttf"))
    (tmp_path / "stranger.dll").write_text("stranger")
    folder = font.rpartition("/")[0]
    for command in (
        f"delete '{font}'",
        f"add '{tmp_path}/stranger.dll' '{folder}/stranger.dll'",
    ):
        imagex("update", path, "1", f"--command={command}")
    return path


def test_a_sound_image_is_called_sound(windows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "health", windows, 1)
    assert out.splitlines()[0].split() == ["AREA", "CHECKED", "ERRORS", "WARNINGS", "NOTES"]
    assert out.splitlines()[-1] == "no errors"
    assert "->" not in out


def test_packages_and_features_are_listed_with_the_words_of_dism(
    windows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["wim", "packages", str(windows), "1"]) == 0
    states = {line.split()[-1]: line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert states["Package_for_KB4000001~31bf3856ad364e35~amd64~~10.0.1.1"] == "superseded"
    assert states["Package_for_KB4000001~31bf3856ad364e35~amd64~~10.0.1.2"] == "installed"

    assert run(["wim", "features", str(windows), "1"]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert ["Disabled", "Practice-Games"] in rows
    assert ["Enabled", "Practice-Printing"] in rows

    assert run(["wim", "features", str(windows), "--index", "1", "--json"]) == 0
    found = {
        one["name"]: (one["state"], one["word"]) for one in json.loads(capsys.readouterr().out)
    }
    assert found["Practice-Games"] == (0x40, "Disabled")


def test_features_of_an_image_without_windows_is_an_answer(
    wim: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = failed(capsys, "features", wim, 1)
    assert code == NotFound.exit
    assert "has no SOFTWARE hive" in text


def test_a_lost_file_is_an_error_with_its_name_and_what_to_do(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(capsys, "health", broken, "--index", 1, code=1)
    assert "error payload-missing (1): A payload file is not there" in out
    assert "practice.ttf" in out
    assert "/restorehealth" in out
    assert "stranger.dll" not in out, "notes are counted, and shown when asked for"
    assert out.splitlines()[-1] == "1 error"
    assert "stranger.dll" in printed(capsys, "health", broken, "--index", 1, "--notes", code=1)


def test_json_from_a_real_process(broken: Path) -> None:
    program = Path(sys.executable).with_name("wimsmith")
    done = subprocess.run(
        [program, "wim", "health", broken, "--index", "1", "--no-content", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    told = json.loads(done.stdout)
    assert told["sound"] is False
    assert told["content_checked"] is False
    found = {one["code"]: one for one in told["problems"]}
    assert set(found) == {"payload-missing", "orphan-file"}
    assert found["payload-missing"]["severity"] == "error"
    assert found["payload-missing"]["count"] == 1
    areas = {one["area"]: one for one in told["areas"]}
    assert areas["payload"]["errors"] == 1
    assert areas["manifests"]["checked"] > 20


def test_an_index_without_windows_is_refused(wim: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = failed(capsys, "health", wim, "--index", 1)
    assert code == 50
    assert "no SOFTWARE hive" in text


def test_an_index_that_is_not_there_is_refused(
    wim: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = failed(capsys, "health", wim, "--index", 9)
    assert code == 58
    assert "9" in text


def test_an_image_without_a_store_says_so(
    windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.wim"
    path.write_bytes(windows.read_bytes())
    for name in ("Windows/System32/config/COMPONENTS", "Windows/WinSxS"):
        imagex("update", path, "1", f"--command=delete --recursive '/{name}'")
    told = document(capsys, "health", path, "--index", 1)
    assert (told["sound"], told["has_store"]) == (True, False)
