"""Changes become a new file: what was asked for, nothing else, and the base as it was."""

import hashlib
from pathlib import Path

import pytest

from offline.registry import readers
from offline.wim import judges
from wimsmith.errors import Cancelled, DamagedInput, VerificationFailed
from wimsmith.offline.changes import (
    ChangeSet,
    Content,
    Link,
    PutFile,
    Remove,
    ReplaceContent,
    SetValue,
    load,
    save,
)
from wimsmith.offline.commit import _prove, commit
from wimsmith.offline.facts import CURRENT_VERSION
from wimsmith.offline.image import open_view
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.format.codec import Codec
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.format.metadata import serialize_metadata
from wimsmith.offline.wim.format.tree import Tree
from wimsmith.offline.wim.writing import plan

NOW = 133_000_000_000_000_000
SOFTWARE = "Windows/System32/config/SOFTWARE"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def content(tmp_path: Path) -> Content:
    path = tmp_path / "new.bin"
    path.write_bytes(b"new content")
    return Content.of_file(path)


def linked_file(wim: Wim, index: int) -> list[str]:
    """All names of some file that has several."""
    for entry in wim.tree(index).walk():
        if not entry.is_directory and len(entry.inode.entries) > 1:
            return sorted(name.path for name in entry.inode.entries)
    pytest.fail("the practice image has no hard links")


def test_an_edit_of_three_files_changes_nothing_else(
    image: Wim, codec: Codec, content: Content, tmp_path: Path
) -> None:
    names = linked_file(image, 2)
    gone = "Windows/System32/config/SOFTWARE.LOG1"
    removed = (Remove(gone),) if image.tree(2).find(gone) else ()
    changes = ChangeSet(
        tree=(
            ReplaceContent(names[0], content.sha1),
            PutFile("Windows/System32/new.dll", content.sha1),
            Link("Windows/new link.dll", "Windows/System32/new.dll"),
            *removed,
        ),
        content={content.sha1: content},
    )
    source_before = sha256(image.path)
    target = tmp_path / "out.wim"

    commit(image, {2: [changes]}, target, codec=codec, modified=NOW)

    judges.accept(target)
    before, after = judges.listing(image.path, 2), judges.listing(target, 2)
    new = {"Windows/System32/new.dll", "Windows/new link.dll"}
    assert after.keys() - before.keys() == new
    assert before.keys() - after.keys() == {edit.path for edit in removed}
    for path in before.keys() & after.keys():
        if path in names:
            assert {hash_ for _, hash_ in after[path].streams} == {content.sha1}
            assert without_link_ids(after[path]) == without_link_ids(before[path])
        else:
            assert comparable(after[path]) == comparable(before[path]), path
    kept = {group for group in judges.link_groups(target, 2) if not group & new}
    assert kept == judges.link_groups(image.path, 2)
    for untouched in (1, 3):
        assert judges.listing(image.path, untouched) == judges.listing(target, untouched)
    assert sha256(image.path) == source_before


def without_link_ids(entry: judges.Listed) -> dict[str, str]:
    return {name: value for name, value in entry.fields if "Link Group" not in name}


def comparable(entry: judges.Listed) -> object:
    return without_link_ids(entry), entry.streams, entry.link_count


def test_a_changed_hive_is_read_alike_by_other_readers(
    image: Wim, codec: Codec, tmp_path: Path
) -> None:
    revision = SetValue("SOFTWARE", CURRENT_VERSION, "UBR", 4, (4242).to_bytes(4, "little"))
    target = tmp_path / "out.wim"

    commit(image, {1: [ChangeSet(registry=(revision,))]}, target, codec=codec, modified=NOW)

    with open_wim(target, codec) as written:
        entry = written.tree(1).find(SOFTWARE)
        assert entry is not None
        hive = written.read_blob(entry.inode.sha1)
        assert written.image(1).windows.service_pack_build == 4242  # type: ignore[union-attr]
        assert written.image(1).modified == NOW
        assert written.image(2) == image.image(2)
    assert readers.libregf_agrees(hive)
    assert readers.python_registry_agrees(hive)
    found = readers.ours(hive)[CURRENT_VERSION]
    assert ("UBR", 4, (4242).to_bytes(4, "little")) in found


def test_the_same_changes_at_the_same_time_give_the_same_bytes(
    image: Wim, codec: Codec, content: Content, tmp_path: Path
) -> None:
    changes = ChangeSet(
        tree=(PutFile("Windows/x.dll", content.sha1),),
        registry=(SetValue("SYSTEM", "Practice", "v", 4, b"\1\0\0\0"),),
        content={content.sha1: content},
    )
    reports = [
        commit(image, {1: [changes]}, tmp_path / name, codec=codec, modified=NOW)
        for name in ("a.wim", "b.wim")
    ]
    save(changes, tmp_path / "saved")
    loaded = load(tmp_path / "saved")
    reports.append(commit(image, {1: [loaded]}, tmp_path / "c.wim", codec=codec, modified=NOW))
    assert len({report.sha256 for report in reports}) == 1
    assert reports[0].sha256 == sha256(tmp_path / "a.wim")


def test_every_index_of_three_can_change_in_one_file(
    image: Wim, codec: Codec, content: Content, tmp_path: Path
) -> None:
    changes = {
        number: [
            ChangeSet(
                tree=(PutFile(f"Windows/{number}.dll", content.sha1),),
                content={content.sha1: content},
            )
        ]
        for number in (1, 2, 3)
    }
    report = commit(image, changes, tmp_path / "out.wim", codec=codec, modified=NOW)
    assert report.indexes == (1, 2, 3)
    assert (report.new_content_count, report.new_content_bytes) == (1, len(b"new content"))
    judges.accept(report.path)
    for number in (1, 2, 3):
        assert f"Windows/{number}.dll" in judges.listing(report.path, number)


def test_content_that_nobody_brings_is_refused_before_anything_is_written(
    image: Wim, codec: Codec, tmp_path: Path
) -> None:
    changes = ChangeSet(tree=(PutFile("Windows/x.dll", "ab" * 20),))
    with pytest.raises(DamagedInput, match="neither"):
        commit(image, {1: [changes]}, tmp_path / "out.wim", codec=codec, modified=NOW)
    assert list(tmp_path.iterdir()) == []


def test_content_that_changed_on_its_way_leaves_no_file(
    image: Wim, codec: Codec, content: Content, tmp_path: Path
) -> None:
    changes = ChangeSet(
        tree=(PutFile("Windows/x.dll", content.sha1),), content={content.sha1: content}
    )
    content.path.write_bytes(b"nEw content")
    with pytest.raises(DamagedInput):
        commit(image, {1: [changes]}, tmp_path / "out.wim", codec=codec, modified=NOW)
    assert list(tmp_path.iterdir()) == [content.path]


@pytest.mark.parametrize("phase", ["copy", "compress"])
def test_cancel_leaves_no_file(
    image: Wim, codec: Codec, content: Content, tmp_path: Path, phase: str
) -> None:
    changes = ChangeSet(
        tree=(PutFile("Windows/x.dll", content.sha1),), content={content.sha1: content}
    )

    def cancel(event: Event) -> None:
        if event.phase == phase:
            raise Cancelled("by the test")

    with pytest.raises(Cancelled):
        commit(
            image, {1: [changes]}, tmp_path / "o.wim", codec=codec, modified=NOW, progress=cancel
        )
    assert list(tmp_path.iterdir()) == [content.path]


def test_an_image_that_was_not_to_change_and_did_is_told(
    image: Wim, codec: Codec, content: Content, tmp_path: Path
) -> None:
    target = tmp_path / "out.wim"
    put = ChangeSet((PutFile("Windows/x.dll", content.sha1),), content={content.sha1: content})
    commit(image, {1: [put]}, target, codec=codec, modified=NOW)
    with open_wim(target, codec) as written:
        _prove(written, image, [1])
        with pytest.raises(VerificationFailed, match="index 1 was not to change"):
            _prove(written, image, [2])


def test_other_changes_give_a_file_of_another_identity(
    image: Wim, codec: Codec, content: Content, tmp_path: Path
) -> None:
    guids = {image.header.guid}
    for name in ("a.dll", "b.dll"):
        put = PutFile(f"Windows/{name}", content.sha1)
        changes = ChangeSet((put,), content={content.sha1: content})
        commit(image, {1: [changes]}, tmp_path / name, codec=codec, modified=NOW)
        with open_wim(tmp_path / name, codec) as written:
            guids.add(written.header.guid)
    assert len(guids) == 3


def test_a_file_that_is_refused_never_gets_its_name(
    image: Wim, codec: Codec, content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof is made to fail by a serializer that forgets a short name."""

    def forgetful(tree: Tree) -> bytes:
        for entry in tree.walk():
            if entry.name == "x.dll":
                entry.short_name = ""
        data = serialize_metadata(tree)
        for entry in tree.walk():
            if entry.name == "x.dll":
                entry.short_name = "X~1.DLL"
        return data

    monkeypatch.setattr(plan, "serialize_metadata", forgetful)
    edit = PutFile("Windows/x.dll", content.sha1, short_name="X~1.DLL")
    changes = ChangeSet(tree=(edit,), content={content.sha1: content})
    with pytest.raises(VerificationFailed, match=r"x\.dll differs"):
        commit(image, {1: [changes]}, tmp_path / "out.wim", codec=codec, modified=NOW)
    assert list(tmp_path.iterdir()) == [content.path]


def test_the_revision_in_the_xml_follows_a_hive_that_was_put_there(
    image: Wim, codec: Codec, tmp_path: Path
) -> None:
    view = open_view(image, 1)
    view.hive("SOFTWARE").set_value(CURRENT_VERSION, "UBR", 4, (777).to_bytes(4, "little"))
    hive = tmp_path / "SOFTWARE"
    hive.write_bytes(view.hive("SOFTWARE").serialize(NOW))
    new = Content.of_file(hive)
    changes = ChangeSet(tree=(ReplaceContent(SOFTWARE, new.sha1),), content={new.sha1: new})
    target = tmp_path / "out.wim"
    commit(image, {1: [changes]}, target, codec=codec, modified=NOW)
    with open_wim(target, codec) as written:
        windows = written.image(1).windows
        assert windows is not None
        assert windows.service_pack_build == 777
