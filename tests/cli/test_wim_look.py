"""`wimsmith wim info|ls|cat|packages`: what an image says is shown, all of it and as it is."""

import base64
import hashlib
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from cli.wimkit import TEXT, document, failed, imagex, printed
from offline.wim.images import COMPONENT, TIMES, rich, write
from offline.wim.judges import run as judged
from wimsmith.cli.main import run
from wimsmith.errors import InvalidInput, NoSuchIndex, NotFound
from wimsmith.offline.wim.format.document import ImageEdit, WindowsInfo
from wimsmith.offline.wim.format.tree import Reparse, Tree
from wimsmith.offline.wim.writing.write import write_wim

SYMBOLIC_LINK = 0xA000_000C
WINDOWS = WindowsInfo(
    architecture=9,
    product_name="Practice System",
    edition_id="Professional",
    installation_type="Client",
    hal="acpiapic",
    product_type="WinNT",
    product_suite="Terminal Server",
    languages=("en-US", "de-DE"),
    default_language="de-DE",
    major=10,
    minor=0,
    build=19045,
    service_pack_build=2965,
    service_pack_level=1,
    branch="vb_release",
    system_root="WINDOWS",
)


@pytest.fixture(scope="module")
def rich_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of everything that an entry can have."""
    practice = rich()
    names = "sub\\target".encode("utf-16-le")
    data = struct.pack("<4HI", 0, len(names), 0, len(names), 1) + names
    practice.put("Users/link", b"")
    practice.tree.set_reparse("Users/link", Reparse(SYMBOLIC_LINK, practice.add(data)))
    entry = practice.tree.find("Windows/System32/config/SOFTWARE")
    assert entry is not None
    attribute = struct.pack("<HBB", 2, 4, 0x80) + b"$KEY\0" + b"\1\2"
    entry.inode.tagged = (
        struct.pack("<II", 1, 64) + bytes(range(64))
        + struct.pack("<II", 2, len(attribute)) + attribute + bytes(-len(attribute) % 8)
        + struct.pack("<II", 0x7777_7777, 3) + b"odd" + bytes(5)
    )  # fmt: skip
    path = tmp_path_factory.mktemp("rich") / "rich.wim"
    write(path, practice)
    return path


def row(capsys: pytest.CaptureFixture[str], path: Path, inside: str) -> dict[str, object]:
    (found,) = document(capsys, "ls", path, 1, inside)
    assert isinstance(found, dict)
    return found


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


def test_ls_goes_as_deep_as_an_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep.wim"
    tree = Tree.new()
    tree.make_directory("/".join("d" * 1500))
    write_wim(path, trees={1: tree})
    assert len(printed(capsys, "ls", path, 1, "--recursive").splitlines()) == 1500


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


def test_info_tells_of_one_image_what_dism_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "windows.wim"
    edit = ImageEdit(
        name="Practice Pro",
        description="A description",
        display_name="Practice 10 Pro",
        flags="Professional",
        created=TIMES.created,
        modified=TIMES.written,
        windows=WINDOWS,
        values={"WIMBOOT": "1"},
    )
    trees = {1: Tree.new(), 2: Tree.new()}
    write_wim(path, trees=trees, images={1: edit, 2: ImageEdit(name="PE")}, boot_index=2)
    lines = [line.strip() for line in printed(capsys, "info", path, 1).splitlines()]
    told = dict(re.split(r":\s+", line, maxsplit=1) for line in lines)
    assert told == {
        "index": "1",
        "name": "Practice Pro",
        "description": "A description",
        "display name": "Practice 10 Pro",
        "flags": "Professional",
        "size": "0 B",
        "hard link bytes": "0 B",
        "folders": "1",
        "files": "0",
        "created": "2016-02-15T08:53:20Z",
        "modified": "2016-02-15T08:53:40Z",
        "bootable": "no",
        "WIMBoot": "yes",
        "architecture": "amd64",
        "product name": "Practice System",
        "edition": "Professional",
        "installation": "Client",
        "product type": "WinNT",
        "product suite": "Terminal Server",
        "HAL": "acpiapic",
        "version": "10.0.19045.2965",
        "branch": "vb_release",
        "service pack build": "2965",
        "service pack level": "1",
        "languages": "en-US, de-DE (default)",
        "system root": "WINDOWS",
    }
    assert document(capsys, "info", path, 2)["boot"] is True
    assert "Practice Pro" in printed(capsys, "info", path, "--long")
    code, text = failed(capsys, "info", path, 3)
    assert (code, "which has 2" in text) == (NoSuchIndex.exit, True)


def test_info_prints_the_xml_document_as_wimlib_does(
    wim: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = subprocess.run(["wimlib-imagex", "info", wim, "--xml"], capture_output=True, check=True)
    expected = done.stdout.decode("utf-16").rstrip("\n")
    assert printed(capsys, "info", wim, "--xml").rstrip("\n") == expected
    assert document(capsys, "info", wim, "--xml")["xml"].rstrip("\n") == expected


def test_info_names_the_kind_of_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "big").write_bytes(bytes(range(256)) * 9000)
    (folder / "other").write_bytes(bytes(range(255)) * 9000)
    imagex("capture", folder, tmp_path / "a.wim", "--compress=none", "--no-check")
    imagex("split", tmp_path / "a.wim", tmp_path / "a.swm", "2.5")
    imagex("capture", folder, tmp_path / "a.esd", "--solid", "--check")
    plain = document(capsys, "info", tmp_path / "a.wim")
    assert (plain["kinds"], plain["parts"], plain["integrity_table"]) == ([], 1, False)
    split = document(capsys, "info", tmp_path / "a.swm")
    assert (split["kinds"], split["part"], split["parts"]) == (["split-set"], 1, 2)
    solid = document(capsys, "info", tmp_path / "a.esd")
    assert (solid["kinds"], solid["compression"], solid["integrity_table"]) == (
        ["solid"],
        "lzms",
        True,
    )
    assert "kinds:" in printed(capsys, "info", tmp_path / "a.esd")


def test_ls_tells_everything_of_an_entry(
    rich_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    software = row(capsys, rich_path, "Windows/System32/config/SOFTWARE")
    assert software["attributes"] == "HSA"
    assert software["object_id"] == bytes(range(64)).hex()
    assert software["extended_attributes"] == [{"name": "$KEY", "flags": 0x80, "value": "0102"}]
    assert software["other_items"] == [{"tag": 0x7777_7777, "data": b"odd".hex()}]
    assert software["filetimes"] == {
        "created": TIMES.created,
        "accessed": TIMES.accessed,
        "written": TIMES.written,
    }
    security = software["security"]
    assert isinstance(security, dict)
    assert security["sddl"] == "O:SYG:SYD:P(A;;FA;;;SY)(A;;0x1200a9;;;BU)"
    assert security["accounts"] == {
        "S-1-5-18": "NT AUTHORITY\\SYSTEM",
        "S-1-5-32-545": "BUILTIN\\Users",
    }
    tool = row(capsys, rich_path, "Windows/System32/tool.dll")
    assert tool["short_name"] == "TOOL~1"
    assert tool["links"] == 2
    assert tool["link_names"] == [f"{COMPONENT}/tool.dll", "Windows/System32/tool.dll"]
    stream = {
        "name": "Zone.Identifier",
        "size_bytes": 14,
        "sha1": hashlib.sha1(b"[ZoneTransfer]").hexdigest(),
    }
    assert tool["streams"] == [stream]
    junction = row(capsys, rich_path, "Doc*")["reparse"]
    assert junction == {"tag": 0xA000_0003, "kind": "junction", "target": "C:\\Users"}


def test_ls_shows_for_people_what_they_ask_for(
    rich_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool, software = "Windows/System32/tool.dll", "Windows/System32/config/SOFTWARE"
    assert printed(capsys, "ls", rich_path, 1, tool, "--links").splitlines() == [
        tool,
        f"    link:                {COMPONENT}/tool.dll",
        f"    link:                {tool}",
    ]
    assert printed(capsys, "ls", rich_path, 1, tool, "--streams").splitlines()[1:] == [
        "    stream:              Zone.Identifier, 14 B"
    ]
    assert printed(capsys, "ls", rich_path, 1, software, "--acl").splitlines()[1:] == [
        "    security:            O:SYG:SYD:P(A;;FA;;;SY)(A;;0x1200a9;;;BU)",
        "    owner:               NT AUTHORITY\\SYSTEM",
        "    group:               NT AUTHORITY\\SYSTEM",
        "    accounts:            BUILTIN\\Users",
    ]
    everything = printed(capsys, "ls", rich_path, 1, software, "--all")
    for text in (bytes(range(64)).hex(), "$KEY, 2 B", "tag 0x77777777, 3 B", "2016-02-15"):
        assert text in everything
    assert "Users/link -> sub\\target" in printed(capsys, "ls", rich_path, 1, "-rl")
    assert "junction to C:\\Users" in printed(capsys, "ls", rich_path, 1, "Doc*", "--all")


def test_ls_finds_by_pattern(rich_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def listed(*tokens: str) -> list[str]:
        return printed(capsys, "ls", rich_path, 1, *tokens).splitlines()

    assert listed("windows/*/TOOL.*") == ["Windows/System32/tool.dll"]
    assert listed("**/tool.dll") == ["Windows/System32/tool.dll", f"{COMPONENT}/tool.dll"]
    assert listed("Windows/System32/*.t?t") == [
        "Windows/System32/notes with spaces.txt",
        "Windows/System32/gr\u00fc\u00df\u20ac\U0001f600.txt",
    ]
    assert listed("Windows/System32", "--pattern", "TOOL*") == ["tool.dll"]
    assert listed("--recursive", "--pattern", "*.log") == ["Windows/empty.log"]
    assert listed("Windows/**", "--pattern", "*.log") == ["Windows/empty.log"]
    code, text = failed(capsys, "ls", rich_path, 1, "*.sys")
    assert (code, "*.sys in index 1" in text) == (NotFound.exit, True)


def test_ls_agrees_with_wimlib_about_every_path(
    rich_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = judged("wimlib-imagex", "dir", rich_path, 1).splitlines()
    ours = printed(capsys, "ls", rich_path, 1, "-r").splitlines()
    assert sorted(f"/{path}" for path in ours) == sorted(path for path in theirs if path != "/")


def test_cat_reads_named_streams(
    rich_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    arguments = ["wim", "cat", str(rich_path), "1"]
    assert run([*arguments, "Windows/System32/tool.dll", "--stream", "zone.identifier"]) == 0
    assert capfdbinary.readouterr().out == b"[ZoneTransfer]"
    assert run([*arguments, "Windows", "--stream", "folder stream"]) == 0
    assert capfdbinary.readouterr().out == b"of a directory"
    assert run([*arguments, "Windows/empty.log", "--stream", "none"]) == NotFound.exit
    assert b"--streams" in capfdbinary.readouterr().err


def test_content_of_a_solid_file_is_read(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solid = tmp_path / "two.esd"
    imagex("export", wim, "all", solid, "--solid")
    facts = document(capsys, "info", solid)
    assert facts["solid"] is True
    assert facts["content_bytes"] == document(capsys, "info", wim)["content_bytes"]
    assert row(capsys, solid, "Windows/System32/text.bin")["size_bytes"] == len(TEXT)
    assert base64.b64decode(document(capsys, "cat", solid, 2, "extra.txt")["base64"]) == b"extra"


def test_a_folder_has_no_content(wim: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = failed(capsys, "cat", wim, 1, "Windows")
    assert (code, "wimsmith wim ls" in text) == (InvalidInput.exit, True)


def test_all_names_of_a_file_are_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file with a thousand names made a listing of a million lines."""
    (tmp_path / "tree").mkdir()
    first = tmp_path / "tree/0"
    first.write_text("x")
    for number in range(1, 1000):
        (tmp_path / f"tree/{number}").hardlink_to(first)
    imagex("capture", tmp_path / "tree", tmp_path / "links.wim", "Links")
    lines = printed(capsys, "ls", tmp_path / "links.wim", 1, "--links").splitlines()
    assert len(lines) == 1000 + 1000 + 999
    assert lines[1:1001] == [
        f"    link:                {name}" for name in sorted(map(str, range(1000)))
    ]
    assert lines[1001:1003] == ["1", "    link:                0 and so on, see above"]
    rows = document(capsys, "ls", tmp_path / "links.wim", 1)
    assert {len(row["link_names"]) for row in rows} == {1000}


def test_info_of_an_uncompressed_file_names_no_chunks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tree").mkdir()
    path = tmp_path / "plain.wim"
    imagex("capture", tmp_path / "tree", path, "Plain", "--compress=none")
    assert "chunk size" not in printed(capsys, "info", path)
    assert document(capsys, "info", path)["chunk_size_bytes"] == 0
