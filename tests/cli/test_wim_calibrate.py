"""`wimsmith wim calibrate`: what an administrator learns of an image before servicing it."""

import json
from pathlib import Path

import pytest

from cli.wimkit import document, failed, printed
from offline.components.gate.breaking import COMPONENTS, ForeignImage
from wimsmith.cli.main import run
from wimsmith.errors import AlreadyExists, NotFound, NotSupported
from wimsmith.practice.image import build_image
from wimsmith.practice.spec import ImageSpec


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("windows") / "install.wim"
    build_image(ImageSpec(size_bytes=1 << 19, components=4), path)
    return path


@pytest.fixture
def strange(windows: Path, tmp_path: Path) -> ForeignImage:
    """A copy in which one component has no hash."""
    image = ForeignImage(windows, tmp_path / "strange")
    with image.hive("COMPONENTS") as hive:
        key = next(name for name in hive.keys(COMPONENTS) if "practice-windows-shell_" in name)
        hive.remove(rf"{COMPONENTS}\{key}", "S256H")
    return image


def test_a_sound_image_can_be_serviced(windows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = windows.read_bytes()
    assert run(["wim", "calibrate", str(windows), "--index", "1"]) == 0
    captured = capsys.readouterr()
    rows = {line.split()[0]: line for line in captured.out.splitlines()}
    assert " understood " in rows["keyform"]
    assert " no example " in rows["base-manifest"]
    assert "This image can be serviced" in captured.err
    assert windows.read_bytes() == before


def test_a_strange_image_is_refused_by_the_rule(
    strange: ForeignImage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["wim", "calibrate", str(strange.path), "--index", "1"]) == NotSupported.exit
    captured = capsys.readouterr()
    (row,) = (line for line in captured.out.splitlines() if " not understood " in line)
    assert row.startswith("S256H")
    assert "it has no value S256H" in captured.out
    assert "(calibration:S256H)" in captured.err
    assert "hint: Write a fingerprint" in captured.err


def test_the_report_is_data_with_json(
    strange: ForeignImage, capsys: pytest.CaptureFixture[str]
) -> None:
    code = NotSupported.exit
    told = document(capsys, "calibrate", strange.path, "--index", 1, "--full", code=code)
    assert told["health"] == []
    report = told["calibration"]
    assert (report["understood"], report["full"]) == (False, True)
    assert [one["code"] for one in report["findings"]] == ["calibration:S256H"]
    (rule,) = (one for one in report["rules"] if one["name"] == "S256H")
    assert (rule["word"], rule["differing"]) == ("not understood", 1)


def test_a_fingerprint_is_written_also_where_the_image_is_refused(
    strange: ForeignImage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sent.json"
    tokens = ["calibrate", strange.path, "--index", 1, "--fingerprint", out]
    printed(capsys, *tokens, code=NotSupported.exit)
    sent = json.loads(out.read_text())
    assert next(one for one in sent["rules"] if one["name"] == "S256H")["differing"] == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    code, error = failed(capsys, *tokens)
    assert code == AlreadyExists.exit
    assert str(out) in error


def test_health_comes_first(
    windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = ForeignImage(windows, tmp_path / "pending")
    image.put("Windows/WinSxS/pending.xml", b"<x/>")
    out = printed(capsys, "calibrate", image.path, "--index", 1, code=NotSupported.exit)
    assert out.startswith("pending: Windows/WinSxS/pending.xml is there")


def test_damaged_hives_are_told_without_a_table(
    windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = ForeignImage(windows, tmp_path / "damaged")
    image.delete("Windows/System32/config/COMPONENTS")
    code = NotSupported.exit
    told = document(capsys, "calibrate", image.path, "--index", 1, code=code)
    assert [one["code"] for one in told["health"]] == ["image-damaged"]
    assert told["calibration"] is None


def test_the_windows_of_one_computer_can_be_allowed(
    windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = ForeignImage(windows, tmp_path / "installed")
    image.put("Windows/Setup/State/State.ini", b"[State]\r\nImageState=IMAGE_STATE_COMPLETE\r\n")
    tokens = ["calibrate", image.path, "--index", 1]
    out = printed(capsys, *tokens, code=NotSupported.exit)
    assert out.startswith("not-generalised: ")
    printed(capsys, *tokens, "--allow-not-generalised")


def test_an_image_without_windows_has_nothing_to_calibrate(
    wim: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = failed(capsys, "calibrate", wim, "--index", 1)
    assert code == NotFound.exit
