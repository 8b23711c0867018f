"""`wimsmith wim add|rm|mv|replace|mkdir`: one change, nothing else, and the old file or the new."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from cli.wimkit import document, failed, imagex, printed
from offline.wim.images import COMPONENT, INSTALLER, rich, write
from offline.wim.judges import Listed, accept, listing
from wimsmith.cli.main import run
from wimsmith.errors import (
    AlreadyExists,
    InvalidInput,
    InvalidState,
    NoSuchIndex,
    NotFound,
    NotSupported,
    PathConflict,
    UnsafePath,
)
from wimsmith.offline.security import display_sddl, inherit
from wimsmith.offline.wim.format.container import open_wim

TOOL = "Windows/System32/tool.dll"
NOTES = "Windows/System32/notes with spaces.txt"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rich.wim"
    write(path, rich())
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Files and folders of this machine, two of them names of one file."""
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    (folder / "one.txt").write_bytes(b"new content")
    (folder / "sub/twin.txt").hardlink_to(folder / "one.txt")
    (folder / "sub/empty").touch()
    os.utime(folder / "one.txt", ns=(1, 1_600_000_000_123_456_700))
    return folder


def comparable(entry: Listed) -> object:
    fields = [(name, value) for name, value in entry.fields if "Link Group" not in name]
    return fields, entry.streams, entry.link_count


def untouched(before: Path, after: Path, *, besides: set[str]) -> None:
    """wimlib sees every entry as it was but those named."""
    accept(after)
    old, new = listing(before), listing(after)
    assert old.keys() - besides == new.keys() - besides
    for name in old.keys() - besides:
        assert comparable(old[name]) == comparable(new[name]), name


def test_a_file_is_added_and_inherits(
    path: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new.wim"
    before = path.read_bytes()
    text = printed(capsys, "add", path, 1, source / "one.txt", "Windows/", "--target", target)
    assert text.startswith(f"{target}: index 1, 1 change, 1 new content of 11 B, ")
    assert path.read_bytes() == before
    untouched(path, target, besides={"Windows/one.txt"})
    (row,) = document(capsys, "ls", target, 1, "Windows/one.txt")
    assert row["sha1"] == hashlib.sha1(b"new content").hexdigest()
    assert (row["attributes"], row["short_name"], row["links"]) == ("A", "", 1)
    assert set(row["filetimes"].values()) == {116_444_736_000_000_000 + 16_000_000_001_234_567}
    with open_wim(path) as wim:
        folder = wim.tree(1).find("Windows")
        assert folder is not None
        assert folder.inode.security is not None
        expected = inherit(folder.inode.security, is_directory=False)
    assert row["security"]["sddl"] == display_sddl(expected)


def test_a_folder_is_added_with_its_links_and_in_place(
    path: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.wim"
    old.write_bytes(path.read_bytes())
    path.chmod(0o640)
    report = document(capsys, "add", path, 1, source, "Windows/Added", "--in-place")
    assert (report["in_place"], report["new_content_count"]) == (True, 1)
    assert report["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    added = {"Windows/Added", "Windows/Added/sub"}
    files = {"Windows/Added/one.txt", "Windows/Added/sub/twin.txt", "Windows/Added/sub/empty"}
    untouched(old, path, besides=added | files)
    assert listing(path)["Windows/Added/one.txt"].link_count == 2
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(one.name for one in tmp_path.iterdir()) == ["old.wim", "rich.wim", "source"]


def test_what_is_there_is_replaced_only_when_told(
    path: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = path.read_bytes()
    code, text = failed(capsys, "add", path, 1, source / "one.txt", NOTES, "--in-place")
    assert (code, "--overwrite" in text, "wimsmith wim replace" in text) == (
        AlreadyExists.exit,
        True,
        True,
    )
    assert path.read_bytes() == before
    target = tmp_path / "new.wim"
    printed(capsys, "add", path, 1, source / "one.txt", NOTES, "--overwrite", "--target", target)
    (row,) = document(capsys, "ls", target, 1, NOTES)
    assert row["short_name"] == "NOTESW~1.TXT"
    assert row["sha1"] == hashlib.sha1(b"new content").hexdigest()
    code, text = failed(capsys, "mkdir", path, 1, "X", "--target", target)
    assert (code, str(target) in text) == (AlreadyExists.exit, True)


def test_security_and_attributes_can_be_said(
    path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sddl = "O:BAG:BAD:PAI(A;OICI;FA;;;BA)(A;OICIIO;GR;;;BU)"
    printed(
        capsys, "add", path, 1, source, "Made", "--in-place", "--sddl", sddl,
        "--owner", "NT SERVICE\\TrustedInstaller", "--attributes", "RH",
    )  # fmt: skip
    rows = {row["path"]: row for row in document(capsys, "ls", path, 1, "Made/**")}
    installer = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
    assert rows["Made"]["security"]["sddl"] == sddl.replace("O:BA", f"O:{installer}")
    assert rows["Made"]["attributes"] == "D"
    one = rows["Made/one.txt"]
    assert one["attributes"] == "RH"
    assert one["security"]["sddl"] == f"O:{installer}G:BAD:AI(A;ID;FA;;;BA)(A;ID;FR;;;BU)"
    assert one["security"]["owner"] == installer
    printed(capsys, "mkdir", path, 1, "Made/Hidden", "--attributes", "H", "--in-place")
    assert document(capsys, "ls", path, 1, "Made/H*")[0]["attributes"] == "DH"
    for arguments in (("--attributes", "X"), ("--owner", "Fred"), ("--sddl", "O:NONSENSE")):
        code, text = failed(capsys, "mkdir", path, 1, "Y", "--in-place", *arguments)
        assert code != 0
        assert arguments[1].removeprefix("O:") in text


def test_removing_a_name_leaves_the_other_names(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new.wim"
    code, text = failed(capsys, "rm", path, 1, COMPONENT, "--in-place")
    assert (code, "--recursive" in text) == (InvalidInput.exit, True)
    printed(capsys, "rm", path, 1, COMPONENT, "-r", "--target", target)
    untouched(path, target, besides={COMPONENT, f"{COMPONENT}/tool.dll", TOOL})
    assert listing(target)[TOOL].link_count == 1
    with open_wim(target) as wim:
        entry = wim.tree(1).find(TOOL)
        assert entry is not None
        assert entry.inode.security == INSTALLER
        assert wim.read_blob(entry.inode.sha1) == b"MZ library" * 5000
    printed(capsys, "rm", target, 1, "documents and settings", "--in-place")
    assert "Documents and Settings" not in listing(target)
    code, text = failed(capsys, "rm", path, 1, "/", "--recursive", "--in-place")
    assert (code, "root" in text) == (InvalidInput.exit, True)
    code, text = failed(capsys, "rm", path, 1, "Nothing", "--in-place")
    assert (code, "wimsmith wim ls" in text) == (NotFound.exit, True)


def test_moving_keeps_everything_but_the_place(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new.wim"
    printed(capsys, "mv", path, 1, "windows/system32", "Users/", "--target", target)
    accept(target)
    old, new = listing(path), listing(target)
    moved = {name.replace("Windows/System32", "Users/System32") for name in old}
    assert new.keys() == moved
    for name in old:
        there = new[name.replace("Windows/System32", "Users/System32")]
        assert comparable(there) == comparable(old[name]), name
    printed(capsys, "mv", path, 1, NOTES, "Windows/System32/Notes.txt", "--in-place")
    (row,) = document(capsys, "ls", path, 1, "Windows/System32/Notes.txt")
    assert (row["name"], row["short_name"]) == ("Notes.txt", "")
    printed(
        capsys,
        "mv",
        path,
        1,
        "Windows/System32/NOTES.TXT",
        "windows/system32/nOtEs.txt",
        "--in-place",
    )
    assert "Windows/System32/nOtEs.txt" in listing(path)


@pytest.mark.parametrize(
    ("old", "new", "error", "word"),
    [
        ("Windows", "Windows/System32/Deep", InvalidInput, "into itself"),
        ("Windows", "WINDOWS/system32/", InvalidInput, "into itself"),
        ("", "Elsewhere", InvalidInput, "root"),
        (NOTES, "Windows/EMPTY.LOG", AlreadyExists, "--overwrite"),
        (NOTES, "Users", AlreadyExists, "/"),
        ("Windows/System32/config", "Windows/empty.log", AlreadyExists, "Remove it first"),
        (NOTES, "No/Such/Folder/x", NotFound, "--parents"),
        (NOTES, "Windows/empty.log/x", PathConflict, "file or a link"),
        (NOTES, "Windows/con.txt", UnsafePath, "con.txt"),
        (NOTES, "Windows/System32/TOOL~1", PathConflict, "tool.dll"),
        ("Nothing", "x", NotFound, "wimsmith wim ls"),
    ],
)
def test_a_move_that_cannot_be_is_refused(
    path: Path,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    error: type[NotFound],
    word: str,
) -> None:
    before = path.read_bytes()
    code, text = failed(capsys, "mv", path, 1, old, new, "--in-place")
    assert code == error.exit, text
    assert word in text
    assert path.read_bytes() == before


def test_a_file_is_moved_over_another_when_told(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed(capsys, "mv", path, 1, NOTES, "Windows/empty.log", "--overwrite", "--in-place")
    accept(path)
    (row,) = document(capsys, "ls", path, 1, "Windows/empty.log")
    assert (row["size_bytes"], row["streams"]) == (4, [])
    assert NOTES not in listing(path)


def test_replaced_content_keeps_everything_else_of_the_file(
    path: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, component = tmp_path / "new.wim", f"{COMPONENT}/tool.dll"
    printed(capsys, "replace", path, 1, TOOL, source / "one.txt", "--target", target)
    untouched(path, target, besides={TOOL, component})
    for name in (TOOL, component):
        (old,) = document(capsys, "ls", path, 1, name)
        (new,) = document(capsys, "ls", target, 1, name)
        assert new["sha1"] == hashlib.sha1(b"new content").hexdigest()
        assert new | {"sha1": 0, "size_bytes": 0} == old | {"sha1": 0, "size_bytes": 0}
    printed(capsys, "replace", path, 1, TOOL, source / "one.txt", "--source-time", "--in-place")
    (new,) = document(capsys, "ls", path, 1, TOOL)
    assert new["written"] == "2020-09-13T12:26:40Z"
    assert new["created"] == old["created"]
    code, text = failed(capsys, "replace", path, 1, "Windows", source / "one.txt", "--in-place")
    assert (code, "directory" in text) == (NotFound.exit, True)


def test_folders_above_are_made_only_when_told(
    path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (("mkdir", path, 1, "A/B"), ("add", path, 1, source, "A/B")):
        code, text = failed(capsys, *arguments, "--in-place")
        assert (code, "--parents" in text) == (NotFound.exit, True)
    printed(capsys, "mkdir", path, 1, "A/B", "--parents", "--in-place")
    printed(capsys, "mkdir", path, 1, "a/b", "--parents", "--in-place")
    code, _ = failed(capsys, "mkdir", path, 1, "a/b", "--in-place")
    assert code == AlreadyExists.exit
    printed(capsys, "add", path, 1, source / "one.txt", "A/C/D/", "--parents", "--in-place")
    assert {"A/B", "A/C/D/one.txt"} <= listing(path).keys()


def test_a_source_that_windows_could_not_hold_is_refused(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = path.read_bytes()
    for name in ("con.txt", "a:b", "end."):
        folder = tmp_path / f"bad {len(name)}{name[0]}"
        folder.mkdir()
        (folder / name).touch()
        code, text = failed(capsys, "add", path, 1, folder, "X", "--in-place")
        assert (code, name in text) == (UnsafePath.exit, True)
    twins = tmp_path / "twins"
    twins.mkdir()
    (twins / "a").touch()
    (twins / "A").touch()
    code, text = failed(capsys, "add", path, 1, twins, "X", "--in-place")
    assert (code, "one name on Windows" in text) == (PathConflict.exit, True)
    odd = tmp_path / "odd"
    odd.mkdir()
    os.mkfifo(odd / "pipe")
    code, text = failed(capsys, "add", path, 1, odd, "X", "--in-place")
    assert (code, "a pipe" in text) == (NotSupported.exit, True)
    (odd / "pipe").unlink()
    (odd / os.fsdecode(b"not utf8 \xff")).touch()
    code, text = failed(capsys, "add", path, 1, odd, "X", "--in-place")
    assert code == UnsafePath.exit
    assert path.read_bytes() == before
    code, text = failed(capsys, "add", path, 1, tmp_path / "none", "X", "--in-place")
    assert f"{tmp_path / 'none'}: No such file or directory" in text


def test_symbolic_links_are_refused_followed_or_left_out(
    path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "link").symlink_to("one.txt")
    (source / "loop").symlink_to(".")
    code, text = failed(capsys, "add", path, 1, source, "X", "--in-place")
    assert (code, "--links" in text) == (NotSupported.exit, True)
    code, text = failed(capsys, "add", path, 1, source, "X", "--in-place", "--links", "follow")
    assert (code, "leads back" in text) == (PathConflict.exit, True)
    (source / "loop").unlink()
    printed(capsys, "add", path, 1, source, "X", "--in-place", "--links", "follow")
    assert listing(path)["X/link"].streams == listing(path)["X/one.txt"].streams
    printed(capsys, "add", path, 1, source, "Y", "--in-place", "--links", "skip")
    assert "Y/link" not in listing(path)
    assert "Y/one.txt" in listing(path)


def test_what_may_not_be_replaced_is_not(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = failed(capsys, "mkdir", path, 1, "X")
    assert code == InvalidInput.exit
    assert "hint: --target NEW.wim leaves" in text
    path.chmod(0o444)
    code, text = failed(capsys, "mkdir", path, 1, "X", "--in-place")
    assert (code, "is read-only" in text) == (InvalidInput.exit, True)
    path.chmod(0o644)
    whole = bytearray(path.read_bytes())
    whole[16] |= 4
    path.write_bytes(whole)
    code, text = failed(capsys, "mkdir", path, 1, "X", "--in-place")
    assert (code, "says that it is read-only" in text) == (NotSupported.exit, True)
    code, text = failed(capsys, "mkdir", path, 7, "X", "--target", path.with_name("new.wim"))
    assert code == NoSuchIndex.exit


def test_a_file_that_another_program_changes_is_left_alone(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen(
        ["flock", "--exclusive", path, "sh", "-c", "echo held; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        code, text = failed(capsys, "mkdir", path, 1, "X", "--in-place")
        holder.communicate(b"\n")
    assert (code, "being changed by another process" in text) == (InvalidState.exit, True)
    printed(capsys, "mkdir", path, 1, "X", "--in-place")


def test_a_link_to_the_file_stays_a_link(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = tmp_path / "link.wim"
    link.symlink_to(path.name)
    printed(capsys, "mkdir", link, 1, "X", "--in-place")
    assert link.is_symlink()
    assert "X" in listing(path)


@pytest.mark.parametrize(
    "form", ["--compress=none", "--compress=XPRESS", "--compress=LZX", "--compress=LZMS",
             "--solid", "--pipable"]
)  # fmt: skip
def test_files_of_every_form_are_edited(
    path: Path, source: Path, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base, target = tmp_path / "base.wim", tmp_path / "new.wim"
    imagex("export", path, 1, base, form)
    before = base.read_bytes()
    printed(capsys, "add", base, 1, source, "Windows/Added", "--target", target)
    printed(capsys, "replace", target, 1, TOOL, source / "one.txt", "--in-place")
    added = {"Windows/Added", "Windows/Added/sub"}
    added |= {f"Windows/Added/{name}" for name in ("one.txt", "sub/twin.txt", "sub/empty")}
    untouched(base, target, besides=added | {TOOL, f"{COMPONENT}/tool.dll"})
    assert base.read_bytes() == before
    assert (
        document(capsys, "info", base)["compression"]
        == (document(capsys, "info", target)["compression"])
    )


def test_files_that_lack_content_are_not_edited(
    path: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, base, delta = tmp_path / "source", tmp_path / "base.wim", tmp_path / "delta.wim"
    imagex("capture", folder, base, "Base")
    (folder / "more").write_bytes(b"more")
    imagex("capture", folder, delta, "Delta", f"--delta-from={base}")
    before = delta.read_bytes()
    code, text = failed(capsys, "mkdir", delta, 1, "X", "--in-place")
    assert (code, "delta" in text, "hint: " in text) == (NotSupported.exit, True, True)
    assert delta.read_bytes() == before


def test_help_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("add", "rm", "mv", "replace", "mkdir"):
        assert run(["wim", verb, "--help"]) == 0
        text = capsys.readouterr().out
        assert "--target" in text
        assert "--in-place" in text
