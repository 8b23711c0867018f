import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith.errors import DamagedInput
from wimsmith.offline.changes import (
    ChangeSet,
    Content,
    CreateKey,
    DeleteKey,
    DeleteValue,
    Link,
    MakeDirectory,
    PutFile,
    Remove,
    Rename,
    ReplaceContent,
    SetSecurity,
    SetValue,
    Times,
    load,
    save,
    stack,
)

TIMES = Times(1, 2, 3)


def every_edit(content: Content) -> ChangeSet:
    return ChangeSet(
        tree=(
            MakeDirectory("Windows/New", security=b"\x01\x00", attributes=0x10, times=TIMES),
            PutFile("Windows/New/a.dll", content.sha1, b"sd", 0x20, TIMES, "A~1.DLL"),
            ReplaceContent("Windows/b.dll", content.sha1),
            ReplaceContent("Windows/b2.dll", content.sha1, 7),
            Rename("Windows/b.dll", "Windows/New/b.dll"),
            Link("Windows/c.dll", "Windows/New/a.dll"),
            SetSecurity("Windows/c.dll", b"sd2"),
            Remove("Windows/old"),
        ),
        registry=(
            SetValue("SOFTWARE", "A\\B", "", 3, b"\xff\x00"),
            DeleteValue("SOFTWARE", "A\\B", "gone"),
            CreateKey("SYSTEM", "ControlSet001\\X", b"sd"),
            DeleteKey("COMPONENTS", "DerivedData\\VersionedIndex\\1"),
        ),
        content={content.sha1: content},
    )


@pytest.fixture
def content(tmp_path: Path) -> Content:
    path = tmp_path / "payload.bin"
    path.write_bytes(b"payload")
    return Content.of_file(path)


def test_a_saved_change_set_comes_back_equal_and_stands_on_its_own(
    tmp_path: Path, content: Content
) -> None:
    changes = every_edit(content)
    save(changes, tmp_path / "01-KB1")
    content.path.unlink()

    loaded = load(tmp_path / "01-KB1")

    assert (loaded.tree, loaded.registry) == (changes.tree, changes.registry)
    assert loaded.content[content.sha1].path.read_bytes() == b"payload"


def test_content_that_changed_before_saving_is_refused_and_leaves_nothing(
    tmp_path: Path, content: Content
) -> None:
    content.path.write_bytes(b"other")
    with pytest.raises(DamagedInput, match="expected SHA-1"):
        save(every_edit(content), tmp_path / "01")
    assert not (tmp_path / "01").exists()


def test_content_that_changed_after_saving_is_refused(tmp_path: Path, content: Content) -> None:
    save(every_edit(content), tmp_path / "01")
    stored = tmp_path / "01" / "content" / content.sha1
    stored.unlink()
    stored.write_bytes(b"tampered")
    with pytest.raises(DamagedInput, match="expected SHA-1"):
        load(tmp_path / "01")


@pytest.mark.parametrize("broken", ["{", '{"format": 99}', "[]", '{"format": 1, "content": {}}'])
def test_a_broken_document_is_one_clear_error(tmp_path: Path, broken: str) -> None:
    (tmp_path / "changes.json").write_text(broken)
    with pytest.raises(DamagedInput):
        load(tmp_path)


def test_a_set_that_an_older_version_saved_is_read(tmp_path: Path, content: Content) -> None:
    save(every_edit(content), tmp_path / "01")
    document = json.loads((tmp_path / "01/changes.json").read_text())
    rows = [row for row in document["tree"] if row["op"] != "rename"]
    for row in rows:
        row.pop("written", None)
    document |= {"format": 1, "tree": rows}
    (tmp_path / "01/changes.json").write_text(json.dumps(document))
    loaded = load(tmp_path / "01")
    assert ReplaceContent("Windows/b2.dll", content.sha1) in loaded.tree
    assert len(loaded.tree) == len(rows)


def test_an_unknown_edit_is_refused(tmp_path: Path) -> None:
    document = {"format": 1, "content": {}, "tree": [{"op": "format-disk"}], "registry": []}
    (tmp_path / "changes.json").write_text(json.dumps(document))
    with pytest.raises(DamagedInput):
        load(tmp_path)


def test_a_left_over_of_an_interrupted_save_does_not_stand_in_the_way(
    tmp_path: Path, content: Content
) -> None:
    (tmp_path / "01.part" / "content").mkdir(parents=True)
    save(every_edit(content), tmp_path / "01")
    assert not (tmp_path / "01.part").exists()
    assert load(tmp_path / "01")


def test_content_that_nobody_brings_is_named() -> None:
    changes = ChangeSet(tree=(PutFile("a", "00" * 20),))
    assert changes.missing_content() == {"00" * 20}


names = st.sampled_from(["a", "b", "c/d", "c/e"])
edits = st.one_of(
    st.builds(Remove, names),
    st.builds(Link, names, names),
    st.builds(MakeDirectory, names),
    st.builds(Rename, names, names),
)
sets = st.builds(ChangeSet, tree=st.lists(edits, max_size=4).map(tuple))


@given(sets, sets, sets)
def test_stacking_is_associative_and_keeps_order(a: ChangeSet, b: ChangeSet, c: ChangeSet) -> None:
    assert stack(stack(a, b), c) == stack(a, stack(b, c))
    assert stack(a, b).tree == a.tree + b.tree
