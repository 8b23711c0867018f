"""`wimsmith wim`: what an administrator sees a minute after installation."""

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wimsmith.cli.main import USAGE_EXIT, run
from wimsmith.errors import (
    AlreadyExists,
    DamagedWim,
    InvalidInput,
    NoSuchIndex,
    NotFound,
    NotSupported,
)
from wimsmith.offline.wim.tree import Tree
from wimsmith.offline.wim.write import write_wim

TEXT = b"text of a file\r\n\x00\xff" * 100


def imagex(*arguments: object) -> None:
    subprocess.run(["wimlib-imagex", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images in `two.wim`."""
    folder = tmp_path_factory.mktemp("cli")
    system = folder / "tree/Windows/System32"
    system.mkdir(parents=True)
    (system / "text.bin").write_bytes(TEXT)
    (system / "twin.bin").hardlink_to(system / "text.bin")
    (folder / "tree/setup.exe").write_bytes(b"MZ" * 5000)
    imagex("capture", folder / "tree", folder / "two.wim", "Base", "--compress=LZX")
    (folder / "tree/extra.txt").write_text("extra")
    imagex("append", folder / "tree", folder / "two.wim", "Extra")
    return folder


@pytest.fixture
def wim(folder: Path) -> str:
    return str(folder / "two.wim")


def printed(capsys: pytest.CaptureFixture[str], *tokens: object) -> str:
    code = run(["wim", *map(str, tokens)])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def document(capsys: pytest.CaptureFixture[str], *tokens: object) -> Any:
    return json.loads(printed(capsys, *tokens, "--json"))


def failed(capsys: pytest.CaptureFixture[str], *tokens: object) -> tuple[int, str]:
    code = run(["wim", *map(str, tokens)])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


def test_info_shows_the_file_and_its_images(wim: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "info", wim)
    assert "compression:     lzx" in text
    assert [line.split()[:2] for line in text.splitlines()[-2:]] == [["1", "Base"], ["2", "Extra"]]
    facts = document(capsys, "info", wim)
    assert facts["size_bytes"] == Path(wim).stat().st_size
    assert [image["name"] for image in facts["images"]] == ["Base", "Extra"]
    assert facts["images"][1]["file_count"] == 4


def test_ls_lists_a_folder(wim: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "ls", wim, 1) == "setup.exe\nWindows\n"
    assert printed(capsys, "ls", wim, 1, "WINDOWS/system32") == "text.bin\ntwin.bin\n"
    assert printed(capsys, "ls", wim, 1, r"Windows\System32\text.bin") == "text.bin\n"


def test_ls_shows_details_and_goes_deep(wim: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "ls", wim, 1, "--long", "--recursive").splitlines()
    names = [line.split()[-1] for line in lines[1:]]
    assert names == [
        "setup.exe",
        "Windows",
        "Windows/System32",
        "Windows/System32/text.bin",
        "Windows/System32/twin.bin",
    ]
    (twin,) = [row for row in document(capsys, "ls", wim, 1, "-r") if row["name"] == "twin.bin"]
    assert twin["size_bytes"] == len(TEXT)
    assert twin["links"] == 2
    assert twin["sha1"] == hashlib.sha1(TEXT).hexdigest()


def test_cat_writes_the_very_bytes(wim: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["wim", "cat", wim, "2", "windows/system32/TWIN.BIN"]) == 0
    assert capfdbinary.readouterr().out == TEXT
    assert run(["wim", "cat", wim, "2", "extra.txt", "--json"]) == 0
    assert base64.b64decode(json.loads(capfdbinary.readouterr().out)["base64"]) == b"extra"


def test_cat_into_a_closed_pipe_ends_quietly(wim: str) -> None:
    command = f"{sys.executable} -m wimsmith.cli wim ls {wim} 1 -r | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert done.stderr == b""


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


def test_ls_goes_as_deep_as_an_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep.wim"
    tree = Tree.new()
    tree.make_directory("/".join("d" * 1500))
    write_wim(path, trees={1: tree})
    assert len(printed(capsys, "ls", path, 1, "--recursive").splitlines()) == 1500


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
    assert "Writing" in capsys.readouterr().err
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


def test_content_of_a_solid_file_is_refused_with_the_way_out(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solid, ordinary = tmp_path / "two.esd", tmp_path / "back.wim"
    printed(capsys, "export", wim, "all", solid, "--solid")
    facts = document(capsys, "info", solid)
    assert facts["solid"] is True
    assert facts["content_bytes"] == document(capsys, "info", wim)["content_bytes"]
    assert document(capsys, "ls", solid, 1, "Windows/System32/text.bin")[0]["size_bytes"] == 1800
    code, text = failed(capsys, "cat", solid, 2, "extra.txt")
    assert code == NotSupported.exit
    assert f"{solid}: " in text
    printed(capsys, "export", solid, 2, ordinary, "--compress", "lzx")
    assert base64.b64decode(document(capsys, "cat", ordinary, 1, "extra.txt")["base64"]) == b"extra"


def test_packages_of_an_image_without_windows_is_an_answer(
    wim: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = failed(capsys, "packages", wim, 1)
    assert code == NotFound.exit
    assert "has no SOFTWARE hive" in text


def test_hostile_names_cannot_write_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a\x1b[2Jb").write_text("x")
    imagex("capture", tree, tmp_path / "one.wim", "One")
    for tokens in (("info",), ("ls", 1), ("ls", 1, "--long")):
        assert "\x1b" not in printed(capsys, tokens[0], tmp_path / "one.wim", *tokens[1:])


def test_help_explains_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--help")
    for verb in ("info", "ls", "cat", "export", "extract", "verify", "packages"):
        assert f" {verb} " in text
    assert "--overwrite" in printed(capsys, "export", "--help")
