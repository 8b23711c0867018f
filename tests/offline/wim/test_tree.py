"""Editing the tree of an image as Windows would see it."""

import pytest

from offline.wim.images import ADMINS, COMPONENT, INSTALLER, OBJECT_ID, rich, sha1
from wimsmith.errors import LimitExceeded, NotFound, NotSupported, PathConflict, UnsafePath
from wimsmith.offline.changes import Times
from wimsmith.offline.wim.format.tree import (
    EMPTY_SHA1,
    MAX_LINKS,
    ZERO_SHA1,
    Attribute,
    Entry,
    Reparse,
    Tree,
)

NEW = sha1(b"new content")
LATER = Times(7, 8, 9)


def found(tree: Tree, path: str) -> Entry:
    entry = tree.find(path)
    assert entry is not None, path
    return entry


def test_names_match_without_case_and_keep_theirs() -> None:
    tree = rich().tree
    entry = found(tree, r"windows\SYSTEM32\Config\software")
    assert entry.path == "Windows/System32/config/SOFTWARE"
    assert found(tree, "WINDOWS/system32/GR\u00dc\u00df\u20ac\U0001f600.TXT").name.startswith("gr")
    tree.put_file("WINDOWS/SYSTEM32/CONFIG/software", NEW)
    assert found(tree, "Windows/System32/config/SOFTWARE").name == "SOFTWARE"


def test_replaced_content_changes_in_all_links_and_keeps_everything_else() -> None:
    tree = rich().tree
    first, second = found(tree, f"{COMPONENT}/tool.dll"), found(tree, "Windows/System32/tool.dll")
    streams = first.inode.named_streams
    tree.replace_content("windows/system32/TOOL.DLL", NEW)
    assert first.inode is second.inode
    assert first.inode.sha1 == NEW
    assert (first.inode.security, first.inode.named_streams) == (INSTALLER, streams)
    assert (first.short_name, second.short_name) == ("", "TOOL~1")
    tree.replace_content("Windows/System32/config/SOFTWARE", NEW)
    assert found(tree, "Windows/System32/config/SOFTWARE").inode.tagged == OBJECT_ID


def test_new_file_over_a_link_leaves_the_group_and_inherits_name_and_security() -> None:
    tree = rich().tree
    other = found(tree, f"{COMPONENT}/tool.dll")
    old_content = other.inode.sha1
    entry = tree.put_file("Windows/System32/Tool.dll", NEW, times=LATER, attributes=0x21)
    assert tree.links(entry.inode) == [entry]
    assert tree.links(other.inode) == [other]
    assert (other.inode.sha1, entry.inode.sha1) == (old_content, NEW)
    assert (entry.name, entry.short_name, entry.inode.security) == ("tool.dll", "TOOL~1", INSTALLER)
    assert entry.inode.named_streams == ()
    assert entry.inode.times == LATER


def test_new_file_takes_what_it_is_given() -> None:
    tree = rich().tree
    entry = tree.put_file(
        "Windows/New Folder/new file.txt", NEW, security=INSTALLER, short_name="NEWFIL~1.TXT"
    )
    assert (entry.short_name, entry.inode.security) == ("NEWFIL~1.TXT", INSTALLER)
    assert found(tree, "Windows/New Folder").inode.security is None
    assert tree.put_file("Windows/plain.txt", NEW).inode.security is None


def test_link_adds_a_name_and_replaces_a_file_that_stands_there() -> None:
    tree = rich().tree
    notes = found(tree, "Windows/System32/notes with spaces.txt")
    linked = tree.link("Windows/System32/NOTES with spaces.txt", f"{COMPONENT}/tool.dll")
    assert linked is notes
    assert len(tree.links(linked.inode)) == 3
    assert linked.name == "notes with spaces.txt"
    assert not linked.short_name, "a file has one short name, and the other link has it"
    assert tree.link("windows/system32/tool.dll", f"{COMPONENT}/tool.dll").short_name == "TOOL~1"


def test_content_that_is_empty_needs_no_resource() -> None:
    tree = rich().tree
    assert tree.put_file("empty.txt", EMPTY_SHA1).inode.sha1 == ZERO_SHA1
    assert EMPTY_SHA1 not in tree.references()


def test_references_count_each_name_and_stream() -> None:
    practice = rich()
    counts = practice.tree.references()
    tool = found(practice.tree, f"{COMPONENT}/tool.dll").inode
    assert counts[tool.sha1] == 2
    assert counts[tool.named_streams[0].sha1] == 2
    assert counts[sha1(b"text")] == 2
    practice.tree.remove("Windows/System32")
    assert practice.tree.references()[tool.sha1] == 1


def test_removed_folder_takes_its_names_out_of_link_groups() -> None:
    tree = rich().tree
    kept = found(tree, "Windows/System32/tool.dll")
    tree.remove("windows/winsxs")
    assert tree.find(COMPONENT) is None
    assert tree.links(kept.inode) == [kept]
    assert len(list(tree.inodes())) == len({id(entry.inode) for entry in tree.walk()})


def test_directories_are_made_with_their_parents_and_changed_where_asked() -> None:
    tree = rich().tree
    entry = tree.make_directory("a/b/c", security=INSTALLER, attributes=Attribute.HIDDEN)
    assert entry.inode.attributes == Attribute.HIDDEN | Attribute.DIRECTORY
    assert found(tree, "a/b").inode.security is None
    again = tree.make_directory("A/B/C", times=LATER)
    assert (again, again.inode.security, again.inode.times) == (entry, INSTALLER, LATER)


@pytest.mark.parametrize(
    "edit",
    [
        lambda tree: tree.put_file("Windows", NEW),
        lambda tree: tree.put_file("", NEW),
        lambda tree: tree.make_directory("Windows/empty.log"),
        lambda tree: tree.put_file("Windows/empty.log/below", NEW),
        lambda tree: tree.put_file("Documents and Settings/below", NEW),
        lambda tree: tree.link("Users", "Windows/empty.log"),
        lambda tree: tree.remove(""),
        lambda tree: tree.set_reparse("Windows", Reparse(1, NEW)),
        lambda tree: tree.set_reparse("Windows/System32/tool.dll", Reparse(1, NEW)),
    ],
)
def test_files_directories_and_links_do_not_replace_one_another(edit: object) -> None:
    tree = rich().tree
    assert callable(edit)
    with pytest.raises(PathConflict):
        edit(tree)


@pytest.mark.parametrize(
    "edit",
    [
        lambda tree: tree.replace_content("nowhere", NEW),
        lambda tree: tree.replace_content("Windows", NEW),
        lambda tree: tree.link("new", "nowhere"),
        lambda tree: tree.link("new", "Windows"),
        lambda tree: tree.remove("Windows/nowhere"),
        lambda tree: tree.set_security("nowhere", ADMINS),
    ],
)
def test_edits_of_what_is_not_there_are_errors(edit: object) -> None:
    tree = rich().tree
    assert callable(edit)
    with pytest.raises(NotFound):
        edit(tree)


@pytest.mark.parametrize("name", ["..", "a:b", "CON", "trailing.", "x\0y", "n" * 256])
def test_new_names_must_suit_windows(name: str) -> None:
    tree = rich().tree
    with pytest.raises(UnsafePath):
        tree.put_file(f"Windows/{name}", NEW)
    with pytest.raises(UnsafePath):
        tree.make_directory(f"{name}/below")


def test_special_files_are_not_overwritten_in_place() -> None:
    tree = rich().tree
    link = tree.put_file("link", NEW)
    tree.set_reparse("link", Reparse(0xA000_000C, NEW))
    assert link.inode.reparse is not None
    with pytest.raises(NotSupported):
        tree.replace_content("link", NEW)
    with pytest.raises(NotSupported):
        tree.link("second", "link")
    tree.put_file("efs", NEW, attributes=Attribute.ENCRYPTED)
    with pytest.raises(NotSupported):
        tree.replace_content("efs", ZERO_SHA1)
    tree.put_file("link", NEW)
    assert found(tree, "link").inode.reparse is None


def test_a_file_has_as_many_names_as_ntfs_allows() -> None:
    tree = Tree.new()
    tree.put_file("first", NEW)
    for number in range(MAX_LINKS - 1):
        tree.link(f"name{number}", "first")
    with pytest.raises(LimitExceeded):
        tree.link("one more", "first")


def test_a_sha1_has_20_bytes() -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        Tree.new().put_file("x", b"short")


def test_what_is_made_without_times_takes_those_of_its_folder() -> None:
    """A clock would make equal edits give different images."""
    tree = Tree.new(times=LATER)
    tree.put_file("a/b/file", NEW)
    tree.make_directory("a/c")
    tree.link("d/link", "a/b/file")
    assert {entry.inode.times for entry in tree.walk()} == {LATER}
    assert Tree.new().root.inode.times == Times(0, 0, 0)


def test_a_moved_file_stays_itself() -> None:
    tree = rich().tree
    entry = found(tree, "Windows/System32/tool.dll")
    inode, names = entry.inode, len(entry.inode.entries)
    assert tree.move("windows/system32/TOOL.DLL", "Users/Default/tool.dll") is entry
    assert tree.find("Windows/System32/tool.dll") is None
    assert found(tree, "users/default/tool.dll").inode is inode
    assert (entry.path, entry.short_name) == ("Users/Default/tool.dll", "TOOL~1")
    assert len(inode.entries) == names
    tree.move("Users/Default/tool.dll", "Users/Default/Tool.DLL")
    assert (entry.name, entry.short_name) == ("Tool.DLL", "TOOL~1")
    tree.move("Users/Default/tool.dll", "Users/Default/other.dll")
    assert (entry.name, entry.short_name) == ("other.dll", "")


def test_a_short_name_that_the_new_folder_has_does_not_come_along() -> None:
    tree = rich().tree
    tree.put_file("Users/Default/toolbox.exe", NEW, short_name="tool~1")
    entry = tree.move("Windows/System32/tool.dll", "Users/Default/tool.dll")
    assert entry.short_name == ""


def test_a_moved_folder_takes_what_is_in_it_along() -> None:
    tree = rich().tree
    below = [entry.path for entry in tree.walk(found(tree, "Windows"))]
    tree.move("Windows", "Users/Default/Windows.old")
    moved = [entry.path for entry in tree.walk(found(tree, "Users/Default/Windows.old"))]
    assert moved == [path.replace("Windows", "Users/Default/Windows.old", 1) for path in below]


@pytest.mark.parametrize(
    ("path", "new_path", "error"),
    [
        ("", "x", PathConflict),
        ("Windows", "", PathConflict),
        ("Windows", "Windows/System32/x", PathConflict),
        ("Windows", "windows/x", PathConflict),
        ("Windows/empty.log", "Windows/System32", PathConflict),
        ("Windows/empty.log", "Users/Default/no/x", NotFound),
        ("Windows/empty.log", "Documents and Settings/x", PathConflict),
        ("Windows/empty.log", "Windows/System32/tool.dll/x", PathConflict),
        ("Windows/empty.log", "Windows/a?b", UnsafePath),
        ("none", "x", NotFound),
    ],
)
def test_a_move_that_cannot_be_changes_nothing(
    path: str, new_path: str, error: type[Exception]
) -> None:
    tree = rich().tree
    before = [(entry.path, entry.short_name) for entry in tree.walk()]
    with pytest.raises(error):
        tree.move(path, new_path)
    assert [(entry.path, entry.short_name) for entry in tree.walk()] == before
