"""`wimsmith wim diff`: how two images differ, as text and as data, and in its exit code."""

from pathlib import Path

import pytest

from cli.wimkit import document, failed, imagex, printed
from offline.test_compare import hive, with_hives
from offline.wim.images import COMPONENT, INSTALLER, rich, sha1, write
from wimsmith.errors import NoSuchIndex, NotFound
from wimsmith.offline.changes import Times
from wimsmith.offline.wim.writing.write import write_wim

DIFFERENT = 1
TOOL = "Windows/System32/tool.dll"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two files whose images differ in one of everything."""
    old, new = tmp_path / "old.wim", tmp_path / "new.wim"
    write(old, rich())
    practice = rich()
    tree = practice.tree
    tree.replace_content(TOOL, practice.add(b"MZ other"))
    tree.set_security(TOOL, None)
    tree.remove("Windows/System32/incompressible.bin")
    practice.put("Windows/added.txt", b"added")
    entry = tree.find("Windows/System32/notes with spaces.txt")
    assert entry is not None
    entry.short_name = ""
    entry.inode.attributes |= 1
    entry.inode.times = Times(7, 8, 9)
    tree.put_stream("Windows/empty.log", "aside", practice.add(b"longer aside"))
    tree.set_security("Users", INSTALLER)
    write(new, practice)
    return old, new


def test_equal_images_end_with_zero_and_nothing_to_say(
    wim: str, pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, "diff", wim, 1, wim, 1) == ""
    assert printed(capsys, "diff", pair[0], 1, pair[0], 1, "--times", "--hives") == ""
    assert document(capsys, "diff", wim, 2, wim, 2) == {
        "equal": True,
        "differences": [],
        "hives": [],
    }


def test_two_images_of_one_file_are_compared(wim: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "diff", wim, 1, wim, 2, code=DIFFERENT) == "added    extra.txt\n"
    assert printed(capsys, "diff", wim, 2, wim, 1, code=DIFFERENT) == "removed  extra.txt\n"


def test_what_changed_is_told_with_both_sides(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, "diff", pair[0], 1, pair[1], 1, code=DIFFERENT)
    old, new = sha1(b"MZ library" * 5000).hex()[:12], sha1(b"MZ other").hex()[:12]
    sddl = "O:SYG:SYD:P(A;;FA;;;SY)(A;;0x1200a9;;;BU)"
    admins = "O:BAG:BAD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)"
    tool = [
        f"         content: 48.8 KiB {old} -> 8 B {new}",
        f"         security: {sddl} -> -",
    ]
    assert sorted(text.splitlines()) == sorted(
        [
            "added    Windows/added.txt",
            "removed  Windows/System32/incompressible.bin",
            f"changed  {TOOL}: content, security",
            *tool,
            f"changed  {COMPONENT}/tool.dll: content, security",
            *tool,
            "changed  Windows/System32/notes with spaces.txt: attributes, short name",
            "         attributes: A (0x20) -> RA (0x21)",
            "         short name: NOTESW~1.TXT -> -",
            "changed  Windows/empty.log: streams",
            "         stream: aside (5 B) -> -",
            "         stream: - -> aside (12 B)",
            "changed  Users: security",
            f"         security: {admins} -> {sddl}",
        ]
    )
    brief = printed(capsys, "diff", pair[0], 1, pair[1], 1, "--brief", code=DIFFERENT)
    assert brief.splitlines() == [line for line in text.splitlines() if line[0] != " "]
    times = printed(capsys, "diff", pair[0], 1, pair[1], 1, "--times", code=DIFFERENT)
    assert "attributes, times, short name" in times
    assert "written: 2016-02-15T08:53:40Z (131000000200000000) -> " in times


def test_data_has_all_of_both_sides(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    found = document(capsys, "diff", pair[0], 1, pair[1], 1, code=DIFFERENT)
    assert found["equal"] is False
    rows = {row["path"]: row for row in found["differences"]}
    assert rows["Windows/added.txt"]["old"] is None
    assert rows["Windows/added.txt"]["new"]["size_bytes"] == 5
    tool = rows[TOOL]
    assert (tool["change"], tool["aspects"]) == ("changed", ["content", "security"])
    assert tool["old"]["sha1"] == sha1(b"MZ library" * 5000).hex()
    assert tool["new"]["security"] is None
    assert tool["old"]["link_names"] == tool["new"]["link_names"]


def test_changed_keys_and_values_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = with_hives(tmp_path / "old.wim", SOFTWARE=hive(a="one", gone="y"), SYSTEM=hive(b="1"))
    new = with_hives(tmp_path / "new.wim", SOFTWARE=hive(a="two", new="z"), SYSTEM=hive(b="1"))
    without = printed(capsys, "diff", old, 1, new, 1, code=DIFFERENT)
    assert "REG_SZ" not in without
    text = printed(capsys, "diff", old, 1, new, 1, "--hives", code=DIFFERENT)
    assert "hive     Windows/System32/config/SOFTWARE\n" in text
    assert "~ Practice\\Key : a  REG_SZ one -> REG_SZ two\n" in text
    assert "hive     Windows/System32/config/SYSTEM" not in text
    found = document(capsys, "diff", old, 1, new, 1, "--hives", code=DIFFERENT)["hives"]
    assert [one["path"] for one in found] == ["Windows/System32/config/SOFTWARE"]
    kinds = [(row["change"], row["name"]) for row in found[0]["differences"]]
    assert kinds == [("changed", "a"), ("removed", "gone"), ("added", "new")]


def test_a_delta_is_compared_by_hashes_and_read_with_its_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, base, delta = tmp_path / "folder", tmp_path / "base.wim", tmp_path / "delta.wim"
    folder.mkdir()
    for name in ("kept", "changed"):
        (folder / name).write_bytes(name.encode() * 1000)
    imagex("capture", folder, base, "Base")
    (folder / "changed").write_bytes(b"new content" * 50)
    imagex("capture", folder, delta, "Delta", f"--delta-from={base}")
    text = printed(capsys, "diff", base, 1, delta, 1, "--brief", code=DIFFERENT)
    assert text == "changed  changed: content\n"
    assert document(capsys, "ls", delta, 1, "kept")[0]["size_bytes"] is None
    assert "elsewhere" in printed(capsys, "ls", delta, 1, "kept", "--all")
    code, text = failed(capsys, "cat", delta, 1, "kept")
    assert code == NotFound.exit
    assert document(capsys, "ls", delta, 1, "kept", "--ref", base)[0]["size_bytes"] == 4000
    assert document(capsys, "cat", delta, 1, "kept", "--ref", base)["size_bytes"] == 4000


def test_an_index_that_is_not_there_is_an_error_not_a_difference(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = failed(capsys, "diff", wim, 1, wim, 3)
    assert (code, "which has 2" in text) == (NoSuchIndex.exit, True)
    write_wim(tmp_path / "empty.wim", trees={1: rich().tree}, new_content=rich().content)
    assert printed(capsys, "diff", wim, 1, tmp_path / "empty.wim", 1, code=DIFFERENT)
