"""Edits of files: security, attributes, links and streams, and what is refused or told."""

from pathlib import Path

import pytest

from offline.edits.editkit import (
    NOW,
    content,
    edited,
    plan_of,
    practice_image,
)
from offline.wim.images import rich, write
from offline.wim.judges import listing, run
from wimsmith.errors import (
    NotFound,
    NotSupported,
    UnsafePath,
    WimsmithError,
)
from wimsmith.offline.edits.kinds import (
    Access,
    Add,
    Delete,
    Edit,
    MakeFolder,
    Move,
    Replace,
    Secure,
    SetRegistryValue,
)
from wimsmith.offline.edits.words import read_script
from wimsmith.offline.security import display_sddl
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers._libwim import LibwimCodec


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file with three images like Windows, in a folder of its own."""
    folder = tmp_path / "images"
    folder.mkdir()
    return practice_image(folder / "install.wim", indexes=3)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    (folder / "tree/below").mkdir(parents=True)
    (folder / "tree/tool.exe").write_bytes(b"MZ tool")
    (folder / "tree/below/empty").touch()
    return folder


def test_descriptors_attributes_and_times_are_those_that_were_said(
    image: Path, sources: Path
) -> None:
    sddl = "O:BAG:SYD:P(A;OICI;FA;;;BA)"
    edited(
        image,
        Add(sources / "tree", "New", Access(sddl, "S-1-5-18"), attributes=0x3, time=NOW),
        MakeFolder("Folder", Access("O:SYG:SYD:(A;;FA;;;SY)"), attributes=0x2, time=NOW),
        Secure("Windows/win.ini", Access(owner="S-1-5-32-545")),
        Add(sources / "tree", "Windows/Temp", Access(sddl), overwrite=True),
    )
    with open_wim(image, LibwimCodec()) as wim:
        tree = wim.tree(1)

        def stored(path: str) -> str:
            entry = tree.find(path)
            assert entry is not None
            assert entry.inode.security is not None
            return display_sddl(entry.inode.security)

        assert stored("New") == "O:SYG:SYD:PAI(A;OICI;FA;;;BA)"
        assert stored("New/below/empty").endswith("(A;ID;FA;;;BA)")
        assert stored("Folder") == "O:SYG:SYD:(A;;FA;;;SY)"
        assert stored("Windows/win.ini").startswith("O:BUG:SY")
        assert stored("Windows/Temp") == "O:BAG:SYD:PAI(A;OICI;FA;;;BA)"
        tool, folder = tree.find("New/tool.exe"), tree.find("Folder")
        assert tool is not None
        assert folder is not None
        assert (tool.inode.attributes, folder.inode.attributes) == (0x3, 0x12)
        assert {*vars_of(tool.inode.times), *vars_of(folder.inode.times)} == {NOW}


def vars_of(times: object) -> list[int]:
    return [getattr(times, name) for name in ("created", "accessed", "written")]


def test_places_of_servicing_are_edited_with_a_warning(image: Path, sources: Path) -> None:
    with open_wim(image, LibwimCodec()) as wim:
        tree = wim.tree(1)
        projected = next(
            entry.path
            for entry in tree.walk()
            if len(entry.inode.entries) > 1 and entry.path.startswith("Windows/System32/")
        )
    tool = sources / "tree/tool.exe"
    plan = plan_of(
        image,
        Add(tool, projected, overwrite=True),
        Add(tool, "Windows/WinSxS/"),
        Delete("Windows/servicing", recursive=True),
        SetRegistryValue(r"COMPONENTS\Key", "a", 4, bytes(4)),
        Add(tool, "Windows/Temp/"),
    )
    told = [" ".join(one.warnings) for one in plan.results]
    assert "under this name alone" in told[0]
    assert "component store" in told[1]
    assert "records of servicing" in told[2]
    assert "COMPONENTS" in told[3]
    assert told[4] == ""
    plan = plan_of(image, Replace(projected, tool), Delete("Windows/System32", recursive=True))
    assert "also in the store" in plan.results[0].warnings[0]
    assert "times)" in " ".join(plan.results[1].warnings)
    (change,) = plan.results[0].changes
    assert getattr(change, "names", 0) > 1


def test_links_are_not_followed(tmp_path: Path, sources: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "real").mkdir(parents=True)
    (tree / "link").symlink_to("real")
    (tree / "file link").symlink_to("real/file")
    path = tmp_path / "links.wim"
    run("wimlib-imagex", "capture", tree, path)
    before = path.read_bytes()
    refused: list[tuple[Edit, type[WimsmithError]]] = [
        (Add(sources / "tree/tool.exe", "link/"), WimsmithError),
        (MakeFolder("link/new", parents=True), WimsmithError),
        (Replace("link", sources / "tree/tool.exe"), NotFound),
        (Replace("file link", sources / "tree/tool.exe"), NotSupported),
    ]
    for edit, error in refused:
        with pytest.raises(error):
            edited(path, edit)
        assert path.read_bytes() == before
    edited(path, Delete("link"))
    assert "real" in listing(path)


def test_links_of_a_source_lead_no_further_than_its_script(image: Path, sources: Path) -> None:
    (sources / "tree/inside").symlink_to("tool.exe")
    words = "add tree New --links follow\n"
    (sources / "list").write_text(words)
    edited(image, *read_script(sources / "list"))
    assert content(image, "New/inside") == b"MZ tool"
    before = image.read_bytes()
    for target in ("/etc/hostname", "/etc", "../../images"):
        (sources / "tree/inside").unlink()
        (sources / "tree/inside").symlink_to(target)
        (sources / "list").write_text(words.replace("New", "Other"))
        with pytest.raises(UnsafePath, match="leads out of"):
            edited(image, *read_script(sources / "list"))
        assert image.read_bytes() == before


def test_content_is_replaced_beneath_named_streams_and_short_names(
    tmp_path: Path, sources: Path
) -> None:
    path = tmp_path / "rich.wim"
    write(path, rich())
    before = listing(path)
    streamed = "Windows/System32/tool.dll"
    edited(path, Replace(streamed, sources / "tree/tool.exe"))
    after = listing(path)
    named = {one for one in before[streamed].streams if "Named data" in one[0]}
    assert named
    assert named <= after[streamed].streams
    assert after[streamed].get("Short Name") == before[streamed].get("Short Name")
    assert after[streamed].streams != before[streamed].streams


@pytest.mark.parametrize("path", ["../x", "a/../../x", "con", "Windows/aux.txt", "a:b", "x. "])
def test_paths_that_no_windows_has_are_refused(image: Path, sources: Path, path: str) -> None:
    before = image.read_bytes()
    edits: tuple[Edit, ...] = (
        Add(sources / "tree/tool.exe", path, parents=True),
        MakeFolder(path, parents=True),
        Move("Windows/win.ini", path, parents=True),
    )
    for edit in edits:
        with pytest.raises(UnsafePath):
            edited(image, edit)
    assert image.read_bytes() == before
