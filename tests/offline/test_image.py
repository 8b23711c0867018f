"""What one index looks like to the engine, before and after changes that nobody has written."""

from pathlib import Path

import pytest

from wimsmith.errors import LimitExceeded, NotFound, NotSupported, UnsafePath
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
    ReplaceContent,
    SetValue,
)
from wimsmith.offline.facts import PackageState, control_set, image_facts
from wimsmith.offline.image import open_view
from wimsmith.offline.security import compile_sddl, display_sddl, inherit
from wimsmith.offline.wim.format.container import Wim

HOSTS = "Windows/System32/drivers/etc/hosts"


def text_value(key: str, name: str, text: str, hive: str = "SOFTWARE") -> SetValue:
    return SetValue(hive, key, name, 1, (text + "\0").encode("utf-16-le"))


@pytest.fixture
def content(tmp_path: Path) -> Content:
    path = tmp_path / "new.bin"
    path.write_bytes(b"new content")
    return Content.of_file(path)


def test_files_are_found_as_windows_finds_them(image: Wim) -> None:
    view = open_view(image, 1)
    assert view.exists("windows/system32/CONFIG/software")
    assert view.read("WINDOWS/system32/config/SOFTWARE")[:4] == b"regf"
    assert not view.exists("Windows/System32/nothing")
    with pytest.raises(NotFound, match="index 1 of install"):
        view.read("Windows/System32/nothing")
    with pytest.raises(NotFound):
        view.read("Windows")


def test_facts_come_from_the_hives(image: Wim) -> None:
    facts = image_facts(open_view(image, 2))
    assert facts is not None
    assert facts.os_version == f"10.0.19041.{facts.revision}"
    assert (facts.build, facts.architecture) == (19041, "amd64")
    assert facts.edition == image.image(2).windows.edition_id  # type: ignore[union-attr]
    assert {package.article for package in facts.updates} == {"KB4000001"}
    assert all(package.state >= PackageState.STAGED for package in facts.packages)
    assert all(not package.warning for package in facts.packages)


def test_a_package_whose_manifest_is_gone_is_listed_with_a_warning(image: Wim) -> None:
    view = open_view(image, 1)
    facts = image_facts(view)
    assert facts is not None
    update = facts.updates[0]
    view.stack(ChangeSet(tree=(Remove(f"Windows/servicing/Packages/{update.identity}.mum"),)))

    again = image_facts(view)

    assert again is not None
    found = next(one for one in again.packages if one.identity == update.identity)
    assert found.warning.endswith(".mum is missing")
    assert found.article == "KB4000001"


def test_an_index_without_windows_has_no_facts(image: Wim) -> None:
    view = open_view(image, 1)
    view.stack(ChangeSet(tree=(Remove("Windows/System32/config/SOFTWARE"),)))
    assert image_facts(view) is None


def test_the_boot_control_set_is_the_default_one(image: Wim) -> None:
    view = open_view(image, 1)
    assert control_set(view) == "ControlSet001"
    view.stack(ChangeSet(registry=(SetValue("SYSTEM", "Select", "Default", 4, b"\x02\0\0\0"),)))
    assert control_set(view) == "ControlSet002"


def test_stacked_changes_are_seen_by_later_reads(image: Wim, content: Content) -> None:
    first = ChangeSet(
        tree=(
            MakeDirectory("Windows/Practice"),
            PutFile("Windows/Practice/a.dll", content.sha1),
            Link("Windows/System32/a.dll", "Windows/Practice/a.dll"),
        ),
        registry=(text_value(r"New\Key", "name", "one"),),
        content={content.sha1: content},
    )
    second = ChangeSet(
        tree=(Remove("Windows/Practice"),),
        registry=(
            text_value(r"New\Key", "name", "two"),
            DeleteValue("SOFTWARE", r"New\Key", "absent"),
            CreateKey("SOFTWARE", r"New\Empty"),
            DeleteKey("SOFTWARE", r"New\Absent"),
        ),
    )

    view = open_view(image, 1, [first, second])

    assert view.read("Windows/System32/a.dll") == b"new content"
    assert not view.exists("Windows/Practice")
    key = view.hive("SOFTWARE").key(r"New\Key")
    assert key is not None
    assert key.value("NAME").text() == "two"  # type: ignore[union-attr]
    assert set(view.changed_hives()) == {"SOFTWARE"}
    assert open_view(image, 1).hive("SOFTWARE").key("New") is None


def test_replaced_content_is_seen_through_every_link(image: Wim, content: Content) -> None:
    view = open_view(image, 1)
    linked = next(e for e in view.tree.walk() if len(e.inode.entries) > 1 and not e.is_directory)
    names = [entry.path for entry in linked.inode.entries]

    view.stack(
        ChangeSet(tree=(ReplaceContent(names[0], content.sha1),), content={content.sha1: content})
    )

    assert {view.read(name) for name in names} == {b"new content"}


@pytest.mark.parametrize("name", ["SAM", "SECURITY", "..", "NTUSER.DAT"])
def test_hives_that_are_not_serviced_are_refused(image: Wim, name: str) -> None:
    with pytest.raises(NotSupported):
        open_view(image, 1).hive(name)


def test_an_edit_cannot_make_a_name_that_windows_refuses(image: Wim, content: Content) -> None:
    changes = ChangeSet(
        tree=(PutFile("Windows/../../x", content.sha1),), content={content.sha1: content}
    )
    with pytest.raises(UnsafePath):
        open_view(image, 1).stack(changes)


def test_what_is_new_inherits_its_security_as_on_windows(image: Wim, content: Content) -> None:
    view = open_view(image, 1)
    view.stack(
        ChangeSet(
            tree=(PutFile("Windows/New/a.dll", content.sha1),), content={content.sha1: content}
        )
    )
    above = view.tree.find("Windows").inode  # type: ignore[union-attr]
    assert above.security is not None
    folder = view.tree.find("Windows/New").inode  # type: ignore[union-attr]
    assert folder.security is not None
    file = view.tree.find("Windows/New/a.dll").inode  # type: ignore[union-attr]
    assert folder.security == inherit(above.security, is_directory=True)
    assert file.security == inherit(folder.security, is_directory=False)
    assert folder.times == file.times == above.times


def test_new_keys_inherit_their_security_as_on_windows(image: Wim) -> None:
    view = open_view(image, 1)
    descriptor = compile_sddl("O:BAG:SYD:PAI(A;CI;KA;;;SY)(A;;KR;;;BU)")
    view.stack(
        ChangeSet(
            registry=(
                CreateKey("SOFTWARE", "Top", descriptor),
                CreateKey("SOFTWARE", r"Top\Made"),
                text_value(r"Top\By\Value", "name", "text"),
                CreateKey("SOFTWARE", r"Top\Above\Own", descriptor),
            )
        )
    )
    hive = view.hive("SOFTWARE")
    for path in ("Made", "By", r"By\Value", "Above"):
        key = hive.key(rf"Top\{path}")
        assert key is not None
        assert display_sddl(key.security) == "O:BAG:SYD:AI(A;CIID;KA;;;SY)"
    for path in ("Top", r"Top\Above\Own"):
        key = hive.key(path)
        assert key is not None
        assert key.security == descriptor


def test_a_hive_that_is_too_large_is_not_read(image: Wim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wimsmith.offline.image.MAX_HIVE_BYTES", 4096)
    with pytest.raises(LimitExceeded):
        open_view(image, 1).hive("SOFTWARE")
