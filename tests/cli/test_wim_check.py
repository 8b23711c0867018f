"""`wimsmith wim verify` and `extract`: what an administrator reads when something is wrong."""

from pathlib import Path

import pytest

from cli.wimkit import TEXT, document, imagex, printed
from wimsmith.cli.main import run
from wimsmith.errors import DamagedWim, NotFound
from wimsmith.offline.wim.format.container import open_wim


@pytest.fixture
def damaged(wim: str, tmp_path: Path) -> Path:
    """A copy of the file in which setup.exe is damaged."""
    path = tmp_path / "damaged.wim"
    data = bytearray(Path(wim).read_bytes())
    with open_wim(Path(wim)) as opened:
        blob = next(one for one in opened.blobs.values() if one.size_bytes == 10_000)
    data[blob.location.offset + blob.location.stored_bytes // 2] ^= 1
    path.write_bytes(data)
    return path


def test_damage_is_told_by_the_files_it_hits(
    damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["wim", "verify", str(damaged)]) == DamagedWim.exit
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"damaged: {damaged}: blob " in captured.err
    assert "    used by 1:/setup.exe\n    used by 2:/setup.exe\n" in captured.err
    assert captured.err.count("error: ") == 1
    assert "hint: Compare its hash" in captured.err


def test_damage_is_data_with_json(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = document(capsys, "verify", damaged, code=DamagedWim.exit)
    assert (report["intact"], report["damaged_count"]) == (False, 1)
    (only,) = report["damaged"]
    assert (only["kind"], only["size_bytes"], only["file_count"]) == ("content", 10_000, 2)
    assert only["files"] == ["1:/setup.exe", "2:/setup.exe"]


def test_a_delta_is_verified_and_extracted_with_its_base(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, delta = tmp_path / "tree", tmp_path / "delta.wim"
    tree.mkdir()
    (tree / "text.bin").write_bytes(TEXT)
    (tree / "new.txt").write_text("new")
    imagex("capture", tree, delta, "Delta", f"--delta-from={wim}")
    assert run(["wim", "verify", str(delta)]) == NotFound.exit
    captured = capsys.readouterr().err
    assert "used by 1:/text.bin" in captured
    assert "--ref FILE" in captured
    assert "2 files, 1 image, " in printed(capsys, "verify", delta, "--ref", wim)
    assert run(["wim", "extract", str(delta), "1", str(tmp_path / "out")]) == NotFound.exit
    printed(capsys, "extract", delta, 1, tmp_path / "out", "--ref", wim)
    assert (tmp_path / "out/text.bin").read_bytes() == TEXT


def test_what_was_not_extracted_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree, path = tmp_path / "tree", tmp_path / "links.wim"
    tree.mkdir()
    (tree / "out").symlink_to("../../../etc")
    (tree / "file").write_text("content")
    imagex("capture", tree, path, "Links")
    assert run(["wim", "extract", str(path), "1", str(tmp_path / "to")]) == 0
    captured = capsys.readouterr()
    assert "warning: out was left out: the link leads out of the image" in captured.err
    assert captured.out.startswith(f"{tmp_path / 'to'}: 1 file, 0 folders, 7 B, ")
    report = document(capsys, "extract", path, 1, tmp_path / "again")
    assert report["left_out"] == [{"path": "out", "reason": "the link leads out of the image"}]
    assert set(report["not_kept"]) >= {"security_descriptors", "named_streams", "short_names"}


def test_a_pattern_without_match_says_how_to_look(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["wim", "extract", wim, "1", str(tmp_path / "out"), "Windows/*.nothing"])
    assert code == NotFound.exit
    assert "hint: `wimsmith wim ls`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
