"""The commands that generate."""

import json
from pathlib import Path

import pytest

from wimsmith.cli.main import run
from wimsmith.practice.presets import preset_names


def test_image_and_updates_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.wim"
    command = ["practice", "image", str(target), "--indexes", "2", "--size", "600KB", "--json"]
    assert run([*command, "--feature", "Practice-Games=on", "--compression", "none"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["indexes"] == ["Windows 10 Pro", "Windows 10 Enterprise"]
    assert facts["size_bytes"] == target.stat().st_size
    folder = tmp_path / "updates"
    command = ["practice", "updates", str(folder), "--preset", "rollup", "--root", str(tmp_path)]
    assert run([*command, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["preset"] for row in answer["updates"]] == ["rollup"]
    assert (folder / answer["updates"][0]["file"]).is_file()
    assert len(bytes.fromhex(answer["root_sha256"])) == 32
    assert not (folder / "practice-root.pem").exists()


def test_trust_is_explained_with_a_command_that_can_be_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["practice", "updates", str(tmp_path), "--preset", "small"]) == 0
    assert "wimsmith settings set trusted_test_roots '[\"" in capsys.readouterr().err


def test_every_preset_is_listed_with_its_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["practice", "presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(preset_names())
    assert all(len(line.split()) > 2 for line in lines[1:])


@pytest.mark.parametrize(
    "wrong",
    [
        ["--size", "much"],
        ["--indexes", "0"],
        ["--feature", "Practice-Games"],
        ["--package", "no-tildes"],
    ],
)
def test_wrong_values_are_refused_with_a_hint(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["practice", "image", str(tmp_path / "a.wim"), *wrong]) != 0
    assert "hint:" in capsys.readouterr().err
    assert not (tmp_path / "a.wim").exists()


def test_an_existing_file_is_kept_unless_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.wim"
    target.write_bytes(b"precious")
    command = ["practice", "image", str(target), "--size", "600KB", "--compression", "none"]
    assert run(command) != 0
    assert target.read_bytes() == b"precious"
    assert run([*command, "--force"]) == 0
    assert target.read_bytes().startswith(b"MSWIM")


def test_an_unknown_preset_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["practice", "updates", str(tmp_path), "--preset", "nothing"]) != 0
    assert "presets" in capsys.readouterr().err
