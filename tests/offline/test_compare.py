"""Differences of two images: what was made different, all of it, and nothing else."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from offline.wim.images import COMPONENT, INSTALLER, OBJECT_ID, Practice, rich, sha1, write
from offline.wim.test_unusual import EXTENDED, unusual
from wimsmith.offline.changes import Times
from wimsmith.offline.compare import (
    Aspect,
    Change,
    Difference,
    compare_hives,
    compare_trees,
)
from wimsmith.offline.registry import Hive
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.tree import EMPTY_SHA1, ZERO_SHA1, Entry, Reparse, Tree

TOOL, SOFTWARE = "Windows/System32/tool.dll", "Windows/System32/config/SOFTWARE"


def told(old: Tree, new: Tree, *, times: bool = False) -> dict[tuple[str, str], tuple[str, ...]]:
    found = list(compare_trees(old, new, times=times))
    rows = {(one.change.value, one.path): tuple(map(str, one.aspects)) for one in found}
    assert len(rows) == len(found)
    return rows


def at(tree: Tree, path: str) -> Entry:
    entry = tree.find(path)
    assert entry is not None, path
    return entry


def test_equal_images_have_no_difference() -> None:
    assert told(unusual().tree, unusual().tree, times=True) == {}


def test_each_fact_of_an_entry_is_told_by_its_name() -> None:
    old, new = rich().tree, rich().tree
    file = "Windows/System32/notes with spaces.txt"
    inode = at(new, file).inode
    inode.sha1 = sha1(b"other")
    assert told(old, new) == {("changed", file): ("content",)}
    inode.attributes |= 1
    inode.security = INSTALLER
    at(new, file).short_name = ""
    inode.times = Times(1, 2, 3)
    expected = ("content", "attributes", "short name", "security")
    assert told(old, new) == {("changed", file): expected}
    assert told(old, new, times=True) == {
        ("changed", file): ("content", "attributes", "times", "short name", "security")
    }


def test_streams_reparse_points_and_items_are_told() -> None:
    old, new = rich().tree, rich().tree
    new.put_stream("Windows", "folder stream", sha1(b"changed"))
    junction = at(new, "Documents and Settings").inode
    assert junction.reparse is not None
    junction.reparse = replace(junction.reparse, sha1=sha1(b"elsewhere"))
    at(new, SOFTWARE).inode.tagged = OBJECT_ID + EXTENDED
    at(new, "Windows/empty.log").inode.tagged = b"\x42\0\0\0\x08\0\0\0whatever"
    at(new, "Users/Default").inode.tagged = OBJECT_ID
    assert told(old, new) == {
        ("changed", "Windows"): ("streams",),
        ("changed", SOFTWARE): ("extended attributes",),
        ("changed", "Windows/empty.log"): ("other metadata",),
        ("changed", "Users/Default"): ("object id",),
        ("changed", "Documents and Settings"): ("reparse point",),
    }


def test_a_new_link_changes_the_other_names_too() -> None:
    old, new = rich().tree, rich().tree
    new.link("Users/tool.dll", TOOL)
    assert told(old, new) == {
        ("added", "Users/tool.dll"): (),
        ("changed", TOOL): ("hard links",),
        ("changed", f"{COMPONENT}/tool.dll"): ("hard links",),
    }
    new = rich().tree
    content = at(new, TOOL).inode.sha1
    new.put_file(TOOL, content, security=INSTALLER, times=at(new, TOOL).inode.times)
    found = told(old, new)
    assert found[("changed", f"{COMPONENT}/tool.dll")] == ("hard links",)
    assert found[("changed", TOOL)] == ("hard links", "streams")


def test_folders_come_and_go_with_what_is_in_them() -> None:
    old, new = rich().tree, rich().tree
    new.remove("Windows/System32/config")
    new.make_directory("Windows/New/Deep")
    assert told(old, new) == {
        ("removed", "Windows/System32/config"): (),
        ("removed", SOFTWARE): (),
        ("added", "Windows/New"): (),
        ("added", "Windows/New/Deep"): (),
    }
    assert {change for change, _ in told(new, old)} == {"added", "removed"}


def test_a_file_in_place_of_a_folder_is_another_entry() -> None:
    old, new = rich().tree, rich().tree
    new.remove("Windows/System32/config")
    new.put_file("Windows/System32/CONFIG", sha1(b"text"))
    assert told(old, new) == {
        ("removed", "Windows/System32/config"): (),
        ("removed", SOFTWARE): (),
        ("added", "Windows/System32/CONFIG"): (),
    }


def test_other_letters_of_a_name_are_a_change_of_the_name() -> None:
    old, new = rich().tree, rich().tree
    new.move("Windows/System32", "Windows/system32")
    assert told(old, new) == {("changed", "Windows/system32"): ("name",)}


def test_two_ways_to_say_empty_are_the_same() -> None:
    old, new = rich().tree, rich().tree
    at(old, "Windows/empty.log").inode.sha1 = EMPTY_SHA1
    at(new, "Windows/empty.log").inode.sha1 = ZERO_SHA1
    assert told(old, new) == {}


def test_names_that_cannot_be_looked_up_are_compared_as_well() -> None:
    def odd(content: bytes) -> Tree:
        tree = Tree.new()
        for name, key in (("a", "A"), ("..", "\0.."), ("x/y", "\0x/y")):
            entry = tree.put_file("new", sha1(content))
            assert tree.root.children is not None
            tree.root.children[key] = tree.root.children.pop("NEW")
            entry.name = name
        return tree

    assert set(told(odd(b"1"), odd(b"2"))) == {
        ("changed", "a"),
        ("changed", ".."),
        ("changed", "x/y"),
    }


@pytest.mark.parametrize("seed", range(20))
def test_random_edits_are_found_and_nothing_else(seed: int) -> None:
    """The differences, carried out on the old image, give the new one."""
    chance = random.Random(seed)
    old, new = unusual().tree, unusual().tree
    for number in range(chance.randrange(1, 12)):
        entries = [one for one in new.walk() if one.parent is not None and one.is_safe]
        entry = chance.choice(entries)
        match chance.randrange(5):
            case 0:
                new.remove(entry.path)
            case 1:
                new.put_file(f"{chance.randrange(9)}/{number}", sha1(b"%d" % number))
            case 2:
                entry.inode.attributes ^= 2
            case 3:
                entry.inode.security = chance.choice([None, INSTALLER])
            case _:
                if not entry.is_directory:
                    entry.inode.sha1 = sha1(b"c%d" % number)
    patched = {facts(one): one for one in old.walk()}
    wanted = {facts(one) for one in new.walk()}
    found = list(compare_trees(old, new, times=True))
    gone = {facts(one.old) for one in found if one.old is not None}
    came = {facts(one.new) for one in found if one.new is not None}
    assert patched.keys() - gone | came == wanted
    assert all(facts(one.old) != facts(one.new) for one in found if one.old and one.new)


def facts(entry: Entry) -> tuple[object, ...]:
    inode, names, at = entry.inode, [], entry
    while at.parent is not None:
        names.append(at.name)
        at = at.parent
    return (
        tuple(names),
        entry.short_name,
        inode.attributes,
        inode.security,
        inode.times,
        inode.sha1,
        inode.named_streams,
        inode.reparse,
        inode.tagged,
        frozenset(one.path for one in inode.entries) if len(inode.entries) > 1 else None,
    )


def hive(**values: str) -> bytes:
    made = Hive.new()
    for name, text in values.items():
        made.set_value("Practice\\Key", name, 1, text.encode("utf-16-le") + b"\0\0")
    return made.serialize(1)


def with_hives(path: Path, **hives: bytes) -> Path:
    practice = Practice()
    for name, data in hives.items():
        practice.put(f"Windows/System32/config/{name}", data)
    practice.put("Windows/large.bin", bytes(9000) + repr(sorted(hives.items())).encode())
    write(path, practice)
    return path


def test_keys_and_values_of_changed_hives_are_told(tmp_path: Path) -> None:
    same = hive(same="x")
    old = with_hives(
        tmp_path / "old.wim",
        SOFTWARE=hive(same="x", changed="one", gone="y"),
        SYSTEM=same,
        SAM=hive(a="1"),
        DRIVERS=b"regf" + bytes(9000),
    )
    new = with_hives(
        tmp_path / "new.wim",
        SOFTWARE=hive(same="x", changed="two", came="z"),
        SYSTEM=same,
        SAM=hive(a="2"),
        DRIVERS=b"regf" + bytes(9001),
    )
    with open_wim(old) as one, open_wim(new) as other:
        trees = one.tree(1), other.tree(1)
        found = list(compare_trees(*trees))
        hives = {
            item.path.rpartition("/")[2]: item
            for item in compare_hives(one, trees[0], other, trees[1], found)
        }
    assert hives.keys() == {"SOFTWARE", "SAM", "DRIVERS"}
    assert [(item.kind.value, item.name) for item in hives["SOFTWARE"].differences] == [
        ("added", "came"),
        ("changed", "changed"),
        ("removed", "gone"),
    ]
    assert [item.name for item in hives["SAM"].differences] == ["a"]
    assert "DRIVERS" not in hives["SAM"].error
    assert hives["DRIVERS"].error.startswith("The registry hive is damaged")


def test_a_difference_is_a_value_with_both_sides() -> None:
    old, new = rich().tree, rich().tree
    at(new, TOOL).inode.sha1 = sha1(b"new")
    (first, _) = compare_trees(old, new)
    assert isinstance(first, Difference)
    assert first.change is Change.CHANGED
    assert first.aspects == (Aspect.CONTENT,)
    assert first.old is not None
    assert first.old.inode.sha1 != sha1(b"new")


def test_a_reparse_point_that_came_or_went_is_told() -> None:
    old, new = rich().tree, rich().tree
    new.set_reparse("Windows/empty.log", Reparse(0xA000_000C, sha1(b"link")))
    assert told(old, new) == {("changed", "Windows/empty.log"): ("attributes", "reparse point")}
