"""Edits of an update are seen by its own later steps, and by nobody else until they are stacked."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.components.made import FOLDER_SD, MemoryImage, draft_of
from wimsmith.errors import NotFound, PathConflict, UnsafePath
from wimsmith.offline.changes import Link, MakeDirectory, PutFile
from wimsmith.offline.components.store.hive_draft import HiveDraft
from wimsmith.offline.hiveedits import edit_hive
from wimsmith.offline.registry.hive import Hive
from wimsmith.offline.security import compile_sddl, display_sddl, inherit

SD = compile_sddl("O:BAG:BAD:P(A;;FA;;;BA)")


@pytest.fixture
def image() -> MemoryImage:
    image = MemoryImage()
    image.put("Windows/System32/old.dll", b"old", security=SD, short_name="OLD~1.DLL")
    image.tree.make_directory("Windows/System32", security=FOLDER_SD)
    return image


def test_own_writes_are_read_back_and_the_image_is_untouched(
    image: MemoryImage, tmp_path: Path
) -> None:
    draft = draft_of(image, tmp_path)
    draft.put_bytes("Windows/WinSxS/x/new.dll", b"new")
    draft.link("Windows/System32/OLD.DLL", "windows/winsxs/X/new.dll")
    assert draft.read("windows/system32/old.dll") == b"new"
    assert draft.find("Windows/System32/old.dll") is draft.find("Windows/WinSxS/x/new.dll")
    assert image.read("Windows/System32/old.dll") == b"old"
    assert not image.exists("Windows/WinSxS")


def test_stacked_edits_give_what_the_draft_showed(image: MemoryImage, tmp_path: Path) -> None:
    draft = draft_of(image, tmp_path)
    draft.put_bytes("Windows/WinSxS/x/new.dll", b"new", SD, 0x22)
    draft.link("Windows/System32/old.dll", "Windows/WinSxS/x/new.dll")
    image.stack(draft.changes)
    entry = image.find("Windows/System32/old.dll")
    stored = image.find("Windows/WinSxS/x/new.dll")
    assert entry
    assert stored
    assert entry.inode is stored.inode
    assert entry.short_name == "OLD~1.DLL"
    assert (stored.inode.security, stored.inode.attributes) == (SD, 0x22)
    assert image.read("Windows/System32/old.dll") == b"new"


def test_new_folders_and_files_inherit(image: MemoryImage, tmp_path: Path) -> None:
    draft = draft_of(image, tmp_path)
    draft.put_bytes("Windows/System32/sub/deeper/a.txt", b"a")
    made = [edit for edit in draft.changes.tree if isinstance(edit, MakeDirectory)]
    assert [edit.path for edit in made] == ["Windows/System32/sub", "Windows/System32/sub/deeper"]
    assert made[0].security == inherit(FOLDER_SD, is_directory=True)
    file = draft.find("Windows/System32/sub/deeper/a.txt")
    assert file
    assert file.security
    assert display_sddl(file.security) == "O:SYG:SYD:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)"


def test_a_replaced_file_keeps_its_descriptor_unless_one_is_given(
    image: MemoryImage, tmp_path: Path
) -> None:
    draft = draft_of(image, tmp_path)
    draft.put_bytes("Windows/System32/old.dll", b"other")
    file = draft.find("Windows/System32/old.dll")
    assert file
    assert file.security == SD


def test_an_existing_directory_is_left_alone(image: MemoryImage, tmp_path: Path) -> None:
    draft = draft_of(image, tmp_path)
    draft.make_directory("Windows/System32")
    assert not draft.changes
    draft.make_directory("Windows/System32", SD)
    image.stack(draft.changes)
    entry = image.find("Windows/System32")
    assert entry
    assert entry.inode.security == SD


def test_content_is_brought_once(image: MemoryImage, tmp_path: Path) -> None:
    draft = draft_of(image, tmp_path)
    source = tmp_path / "payload"
    source.write_bytes(b"same")
    draft.put_bytes("a", b"same")
    draft.put_file("b", source, written=5)
    draft.put_bytes("b", b"same", attributes=0x20)
    changes = draft.changes
    assert set(changes.content) == {hashlib.sha1(b"same").hexdigest()}
    assert not changes.missing_content()
    put = [edit for edit in changes.tree if isinstance(edit, PutFile)]
    assert [edit.times.written for edit in put if edit.times] == [
        draft_of(image, tmp_path)._times.written,
        5,
    ]


def test_spooled_content_that_is_linked_elsewhere_is_not_written_again(
    image: MemoryImage, tmp_path: Path
) -> None:
    draft_of(image, tmp_path).put_bytes("a", b"data")
    spooled = next(tmp_path.iterdir())
    before = spooled.stat().st_mtime_ns
    draft_of(image, tmp_path).put_bytes("a", b"data")
    assert spooled.stat().st_mtime_ns == before


def test_directories_list_what_is_there_and_what_is_new(image: MemoryImage, tmp_path: Path) -> None:
    draft = draft_of(image, tmp_path)
    draft.put_bytes("Windows/System32/New.txt", b"")
    draft.put_bytes("Windows/System32/sub/x.txt", b"")
    assert draft.names_in("windows/system32") == ["New.txt", "old.dll", "sub"]
    assert draft.names_in("nowhere") == []


@pytest.mark.parametrize("path", ["Windows", "Windows/System32/old.dll/x"])
def test_files_and_directories_do_not_replace_each_other(
    image: MemoryImage, tmp_path: Path, path: str
) -> None:
    with pytest.raises(PathConflict):
        draft_of(image, tmp_path).put_bytes(path, b"x")


def test_nothing_is_written_through_links(image: MemoryImage, tmp_path: Path) -> None:
    image.tree.make_directory("Documents and Settings", attributes=0x410)
    entry = image.find("Documents and Settings")
    assert entry
    entry.inode.attributes |= 0x400
    with pytest.raises(PathConflict):
        draft_of(image, tmp_path).put_bytes("Documents and Settings/x", b"")


def test_what_is_not_there_cannot_be_read_or_linked(image: MemoryImage, tmp_path: Path) -> None:
    draft = draft_of(image, tmp_path)
    with pytest.raises(NotFound):
        draft.read("Windows/none")
    with pytest.raises(NotFound):
        draft.link("a", "Windows/System32")
    with pytest.raises(UnsafePath):
        draft.put_bytes("a/../b", b"")


def test_linking_twice_is_one_edit(image: MemoryImage, tmp_path: Path) -> None:
    draft = draft_of(image, tmp_path)
    for _ in range(2):
        draft.link("Windows/again.dll", "Windows/System32/old.dll")
    assert [edit for edit in draft.changes.tree if isinstance(edit, Link)] == [
        Link("Windows/again.dll", "Windows/System32/old.dll")
    ]


NAMES = st.sampled_from(["A", "a", "B\\c", "b\\C\\d", "e", "B"])
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), NAMES, st.sampled_from(["", "v", "W"]), st.binary(max_size=4)),
        st.tuples(st.just("unset"), NAMES, st.sampled_from(["", "V", "w"]), st.just(b"")),
        st.tuples(st.just("make"), NAMES, st.just(""), st.just(b"")),
        st.tuples(st.just("delete"), NAMES, st.just(""), st.just(b"")),
    ),
    max_size=12,
)


@settings(max_examples=200)
@given(EDITS, EDITS)
def test_a_hive_draft_reads_as_the_hive_will(
    before: list[tuple[str, str, str, bytes]], edits: list[tuple[str, str, str, bytes]]
) -> None:
    hive = Hive.new()
    _carry_out(HiveDraft("X", hive, []), before, hive)
    record: list[object] = []
    draft = HiveDraft("X", hive, record)  # type: ignore[arg-type]
    for edit in edits:
        _one(draft, edit)
    shown = _dump_draft(draft, "")
    for change in record:
        edit_hive(hive, change)  # type: ignore[arg-type]
    assert _dump_hive(hive) == shown


def _carry_out(draft: HiveDraft, edits: list[tuple[str, str, str, bytes]], hive: Hive) -> None:
    for edit in edits:
        _one(draft, edit)
    for change in draft._record:
        edit_hive(hive, change)


def _one(draft: HiveDraft, edit: tuple[str, str, str, bytes]) -> None:
    verb, key, name, data = edit
    match verb:
        case "set":
            draft.set_value(key, name, 3, data)
        case "unset":
            draft.delete_value(key, name)
        case "make":
            draft.create_key(key)
        case "delete":
            draft.delete_key(key)


def _dump_draft(draft: HiveDraft, path: str) -> dict[str, dict[str, bytes]]:
    found = {path.lower(): {value.name.lower(): value.data for value in draft.values(path)}}
    for name in draft.subkeys(path):
        child = f"{path}\\{name}" if path else name
        assert draft.exists(child)
        found |= _dump_draft(draft, child)
    return found


def _dump_hive(hive: Hive) -> dict[str, dict[str, bytes]]:
    return {
        key.path.lower(): {value.name.lower(): value.data for value in key.values()}
        for key in hive.walk()
    }
