"""Commands that make WIM files from WIM files, as an administrator types them."""

import re
from pathlib import Path

import pytest

from cli.wimkit import document, failed, imagex, printed
from wimsmith.cli.main import run
from wimsmith.cli.wim.making import parse_boot, parse_size
from wimsmith.errors import AlreadyExists, InvalidInput, NotSupported


def names(capsys: pytest.CaptureFixture[str], path: Path) -> list[str]:
    return [image["name"] for image in document(capsys, "info", path)["images"]]


def test_an_export_says_beforehand_what_it_will_do(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new.wim"
    assert run(["wim", "export", wim, "all", str(target), "--compress", "xpress"]) == 0
    captured = capsys.readouterr()
    said = captured.err.index("form: XPRESS, chunks of 32.0 KiB, level 20\n")
    assert re.search(r"packed anew: \d contents, .* \(LZX becomes XPRESS\)\n", captured.err)
    assert said < captured.err.index("Compress\n")
    assert str(target) in captured.out
    imagex("verify", target)


def test_a_dry_run_tells_and_does_nothing(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new.esd"
    text = printed(capsys, "export", wim, 2, target, "--solid", "--chunk-size", "4M", "--dry-run")
    assert re.search(r"^images: +1 Extra \(index 2 of .*two\.wim\)$", text, re.MULTILINE)
    assert re.search(r"^form: +solid LZMS, chunks of 4\.0 MiB, level 50$", text, re.MULTILINE)
    said = document(capsys, "export", wim, 2, target, "--solid", "--dry-run")
    assert said["solid"] is True
    assert said["converted_contents"] == 3
    assert said["reasons"] == ["content that is not solid yet"]
    assert said["images"][0]["source_number"] == 2
    assert not target.exists()


def test_an_image_is_renamed_and_marked_while_it_is_exported(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new.wim"
    printed(capsys, "export", wim, 2, target, "--name", "Other", "--boot", 2)
    facts = document(capsys, "info", target)
    assert facts["boot_index"] == 1
    assert facts["images"][0]["name"] == "Other"
    code, text = failed(capsys, "export", wim, "all", tmp_path / "x.wim", "--name", "Other")
    assert code == InvalidInput.exit
    assert "Name the index" in text


def test_a_delta_is_made_and_read_with_its_base(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, delta, whole = (tmp_path / name for name in ("base.wim", "delta.wim", "whole.wim"))
    printed(capsys, "export", wim, 1, base)
    report = document(capsys, "export", wim, 2, delta, "--delta-from", base)
    assert report["left_out_bytes"] > 0
    code, text = failed(capsys, "export", delta, 1, whole)
    assert code == NotSupported.exit
    assert "--ref" in text
    printed(capsys, "export", delta, 1, whole, "--ref", base)
    imagex("verify", whole)


def test_images_are_appended_and_two_of_one_name_refused(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "target.wim"
    printed(capsys, "export", wim, 1, target)
    text = printed(capsys, "append", wim, 2, target)
    assert f"{target}: index 2 added" in text
    assert names(capsys, target) == ["Base", "Extra"]
    code, text = failed(capsys, "append", wim, 1, target)
    assert code == AlreadyExists.exit
    assert "an image called 'Base'" in text
    assert "--name" in text
    said = document(capsys, "append", wim, 1, target, "--name", "Twin", "--dry-run")
    assert [image["name"] for image in said["images"]] == ["Base", "Extra", "Twin"]
    assert document(capsys, "append", wim, 1, target, "--name", "Twin")["numbers"] == [3]
    imagex("verify", target)


def test_a_file_is_split_and_joined(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, first, joined = (tmp_path / name for name in ("whole.wim", "a.swm", "joined.wim"))
    printed(capsys, "export", wim, "all", whole, "--compress", "none")
    text = printed(capsys, "split", whole, first, "12K")
    assert re.search(r"a\.swm to a\d\.swm: \d parts, ", text)
    printed(capsys, "join", joined, first)
    imagex("verify", joined)
    assert names(capsys, joined) == ["Base", "Extra"]
    parts = document(capsys, "split", whole, first, "12K", "--overwrite")["parts"]
    assert [Path(part["path"]).name for part in parts[:2]] == ["a.swm", "a2.swm"]
    code, text = failed(capsys, "split", whole, first, "12K")
    assert code == AlreadyExists.exit
    code, text = failed(capsys, "split", whole, first, "4000")
    assert (code, "3800M" in text) == (InvalidInput.exit, True)


def test_optimizing_needs_to_be_told_where_to(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "target.wim"
    imagex("export", wim, "all", target)
    imagex("delete", target, "2", "--soft")
    code, text = failed(capsys, "optimize", target)
    assert (code, "--in-place" in text) == (InvalidInput.exit, True)
    said = document(capsys, "optimize", target, "--in-place", "--dry-run")
    assert said["waste"]["unreferenced_contents"] == 1
    text = printed(capsys, "optimize", target, "--in-place", "--dry-run")
    assert re.search(
        r"^waste: +\S+ KiB, unused 1 content of .*, 0 contents twice$", text, re.MULTILINE
    )
    before = target.stat().st_size
    text = printed(capsys, "optimize", target, "--in-place")
    assert re.search(r"^before: .*, unused 1 content of ", text)
    assert re.search(r"^after: .*, unused 0 contents of 0 B, holes of 0 B, ", text, re.MULTILINE)
    assert target.stat().st_size < before
    report = document(capsys, "optimize", target, tmp_path / "new.wim", "--recompress")
    assert report["converted_bytes"] > 0
    imagex("verify", tmp_path / "new.wim")


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("32K", 32768), ("1.5 GiB", 1610612736), ("4mb", 4194304)]
)
def test_sizes_have_units(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "12", "-1M", "M", "1X", "1M2"])
def test_sizes_without_sense_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_size(text)


def test_the_boot_mark_is_a_number_or_none() -> None:
    assert (parse_boot(None), parse_boot("none"), parse_boot("3")) == (None, 0, 3)
    for text in ("0", "x", "-1", "²"):
        with pytest.raises(InvalidInput):
            parse_boot(text)


def test_help_alone_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("export", "append", "split", "join", "optimize"):
        text = printed(capsys, verb, "--help")
        assert "Usage: wimsmith wim" in text
    assert "3800M" in printed(capsys, "split", "--help")
