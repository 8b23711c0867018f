"""What is shown of an entry beside its content: items behind it, where it leads, whose it is."""

import struct
import subprocess
from pathlib import Path

import pytest

from offline.wim.images import JUNCTION_TAG, rich
from wimsmith.errors import DamagedSecurity, InvalidInput, UnknownAlias
from wimsmith.offline.sidnames import NAMES, name_of, sid_of
from wimsmith.offline.wim.format.behind import Behind, UnixData, read_behind
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.reparse import (
    APP_LINK,
    JUNCTION,
    LINUX_LINK,
    SYMBOLIC_LINK,
    kind_of,
    target_of,
)
from wimsmith.offline.wim.format.tree import Tree
from wimsmith.offline.wim.format.wildcards import matching, name_matcher
from wimsmith.offline.wim.workers._libwim import LibwimCodec


def item(tag: int, data: bytes) -> bytes:
    return struct.pack("<II", tag, len(data)) + data + bytes(-len(data) % 8)


def test_items_are_told_apart() -> None:
    attribute = struct.pack("<HBB", 1, 3, 0) + b"KEY\0" + b"v"
    behind = read_behind(item(1, bytes(64)) + item(2, attribute) + item(99, b"?") + bytes(8))
    assert behind.object_id == bytes(64)
    assert [(one.name, one.value) for one in behind.extended_attributes] == [(b"KEY", b"v")]
    assert behind.other == ((99, b"?"),)
    assert read_behind(b"") == Behind()


@pytest.mark.parametrize(
    "data",
    [b"\1", item(1, b"x" * 16)[:-1], struct.pack("<II", 1, 1 << 31), item(2, b"\xff\xff\xff\xff")],
)
def test_bytes_that_are_no_items_are_kept_in_view(data: bytes) -> None:
    behind = read_behind(data)
    assert behind.other or behind == Behind(), data
    assert not behind.extended_attributes


def test_what_wimlib_keeps_of_unix_files_is_read(tmp_path: Path) -> None:
    folder, path = tmp_path / "folder", tmp_path / "unix.wim"
    folder.mkdir()
    (folder / "file").touch()
    (folder / "file").chmod(0o741)
    (folder / "link").symlink_to("sub/target")
    command = ["wimlib-imagex", "capture", folder, path, "Unix", "--unix-data"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    owner = (folder / "file").stat()
    with open_wim(path, LibwimCodec()) as wim:
        tree = wim.tree(1)
        file, link = tree.find("file"), tree.find("link")
        assert file is not None
        assert link is not None
        assert link.inode.reparse is not None
        data = wim.read_blob(link.inode.reparse.sha1)
    unix = read_behind(file.inode.tagged).unix
    assert unix == UnixData(owner.st_uid, owner.st_gid, 0o100741, 0)
    assert kind_of(link.inode.reparse.tag) == "symbolic link"
    assert target_of(link.inode.reparse.tag, data) == "sub\\target"


def test_a_junction_leads_where_people_would_say() -> None:
    practice = rich()
    entry = practice.tree.find("Documents and Settings")
    assert entry is not None
    assert entry.inode.reparse is not None
    data = practice.content[entry.inode.reparse.sha1]
    assert isinstance(data, bytes)
    assert target_of(JUNCTION_TAG, data) == "C:\\Users"


@pytest.mark.parametrize(
    ("tag", "data", "target"),
    [
        (APP_LINK, b"\3\0\0\0" + "a\0b\0C:\\x.exe\0000\0".encode("utf-16-le"), "C:\\x.exe"),
        (APP_LINK, b"\3\0\0\0" + "a\0".encode("utf-16-le"), None),
        (LINUX_LINK, b"\2\0\0\0../x", "../x"),
        (JUNCTION, b"", None),
        (JUNCTION, struct.pack("<4H", 0, 400, 402, 6) + b"short", None),
        (SYMBOLIC_LINK, struct.pack("<4HI", 0, 3, 4, 3, 0) + b"odd size", None),
        (0x8000_0017, bytes(16), None),
    ],
)
def test_data_that_leads_nowhere_is_no_target(tag: int, data: bytes, target: str | None) -> None:
    assert target_of(tag, data) == target


def test_tags_have_names() -> None:
    assert kind_of(0x8000_0017) == "WOF compressed"
    assert kind_of(0x9000_601A) == "cloud file"
    assert kind_of(0x42) == "tag 0x00000042"


@pytest.mark.parametrize(
    ("account", "sid"),
    [
        ("SY", "S-1-5-18"),
        ("nt authority\\system", "S-1-5-18"),
        ("Administrators", "S-1-5-32-544"),
        ("trustedinstaller", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"),
        ("s-1-5-21-1-2-3-500", "S-1-5-21-1-2-3-500"),
    ],
)
def test_accounts_are_found_by_sid_alias_and_name(account: str, sid: str) -> None:
    assert sid_of(account) == sid


def test_every_name_leads_back_to_its_account() -> None:
    assert {sid_of(name) for name in NAMES.values()} == set(NAMES)
    assert name_of("S-1-5-21-1-2-3-500") == "Administrator"
    assert name_of("S-1-5-21-1-2-3-1001") == ""


@pytest.mark.parametrize(
    ("account", "error"),
    [("Fred", InvalidInput), ("QQ", UnknownAlias), ("S-1-x", DamagedSecurity)],
)
def test_an_account_that_nobody_knows_is_refused(account: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        sid_of(account)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*.DLL", "kernel32.dll", True),
        ("*.dll", "kernel32.dll.mui", False),
        ("k?rnel*", "KERNEL32.DLL", True),
        ("a.c", "abc", False),
        ("[a]", "a", False),
        ("stra\u00dfe*", "STRA\u00dfE.txt", True),
        ("**x**", "aaxaa", True),
    ],
)
def test_names_match_patterns_as_on_windows(pattern: str, name: str, *, matches: bool) -> None:
    assert name_matcher(pattern)(name) is matches


def test_paths_match_patterns_each_once_and_in_order() -> None:
    tree = Tree.new()
    for path in ("a/x.txt", "a/b/x.txt", "a/b/c/x.txt", "b/y.txt"):
        tree.put_file(path, bytes(20))

    def matched(pattern: str) -> list[str]:
        return [entry.path for entry in matching(tree, pattern)]

    assert matched("**/x.txt") == ["a/x.txt", "a/b/x.txt", "a/b/c/x.txt"]
    assert matched("a/*/x.txt") == ["a/b/x.txt"]
    assert matched("**/**/b/**") == ["a/b", "a/b/x.txt", "a/b/c", "a/b/c/x.txt", "b", "b/y.txt"]
    assert matched("A\\**\\C") == ["a/b/c"]
    assert matched("x.txt") == []
