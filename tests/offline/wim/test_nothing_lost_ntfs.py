"""After an edit every other file is what it was: the old and the new WIM on NTFS volumes.

wimlib writes both to volumes, and wimlib and the tools of ntfs-3g read these. wimlib does not see
extended attributes: those are compared in the raw metadata, by a reader that shares no code with
the package, and on volumes that this package has applied, by ntfscat.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from offline.wim import ntfs
from offline.wim.images import INSTALLER, TIMES, sha1, write
from offline.wim.judges import accept, run
from offline.wim.ntfs import OnVolume
from offline.wim.rawmetadata import RawEntry, raw_entries
from offline.wim.test_unusual import LONE, TAGGED, plain, unusual
from wimsmith.offline.wim.format import tagged
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.tree import Tree
from wimsmith.offline.wim.verbs.apply import NewVolume, apply_new_volume
from wimsmith.offline.wim.workers._libwim import LibwimCodec
from wimsmith.offline.wim.writing.write import write_wim

VOLUME_BYTES = 16 << 20
NEW = b"new content " * 4000
HIVE = "Windows/System32/config/SOFTWARE"
MOVED = "Users/flags"


def add(tree: Tree) -> set[str]:
    tree.put_file("Windows/added.txt", sha1(NEW), security=INSTALLER, times=TIMES)
    tree.make_directory("Program Files/Added", times=TIMES)
    return {"/Windows/added.txt", "/Program Files", "/Program Files/Added"}


def remove(tree: Tree) -> set[str]:
    tree.remove("Windows/System32/incompressible.bin")
    tree.remove("sizes")
    tree.remove("many/17")
    below = {f"/sizes/{kind} {size}" for kind in ("text", "noise") for size in SIZES}
    return {"/Windows/System32/incompressible.bin", "/sizes", "/many/17"} | below


def replace_content(tree: Tree) -> set[str]:
    tree.replace_content(HIVE.lower(), sha1(NEW))
    tree.replace_content("many/7", sha1(NEW))
    return {f"/{HIVE}"} | {f"/many/{name}" for name in ("first", *range(1, 63))}


def secure(tree: Tree) -> set[str]:
    tree.set_security("same/two", INSTALLER)
    return {"/same/two"}


def rename(tree: Tree) -> set[str]:
    tree.move("same/one", "same/renamed")
    tree.move("flags", MOVED)
    names = {"sparse", "packed", "temp"}
    old, new = {f"/flags/{name}" for name in names}, {f"/{MOVED}/{name}" for name in names}
    return {"/same/one", "/same/renamed", "/flags", f"/{MOVED}"} | old | new


SIZES = (32_767, 32_768, 32_769, 65_536, 65_537, 4 * 32_768, 4 * 32_768 + 1)
EDITS: dict[str, Callable[[Tree], set[str]]] = {
    "add": add,
    "remove": remove,
    "replace": replace_content,
    "secure": secure,
    "rename": rename,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with everything that a file can have, as this package writes it."""
    path = tmp_path_factory.mktemp("base") / "base.wim"
    practice = unusual()
    practice.put(LONE, b"lone")
    write(path, practice, codec=LibwimCodec(), compression=Compression.LZX)
    return path


@pytest.fixture(scope="module")
def base_on_volume(base: Path) -> dict[str, OnVolume]:
    return on_volume(base, base.parent)


def on_volume(wim: Path, folder: Path) -> dict[str, OnVolume]:
    """What is on a volume that wimlib has applied an image to."""
    volume = ntfs.make_volume(folder / f"{wim.stem}.img", VOLUME_BYTES)
    run("wimlib-imagex", "apply", wim, 1, volume)
    found = ntfs.read_back(volume)
    volume.unlink()
    return found


def edited(base_path: Path, target: Path, names: list[str]) -> set[str]:
    """Edit an image; the paths that the edit was about."""
    codec, touched = LibwimCodec(), set[str]()
    with open_wim(base_path, codec) as base:
        tree = base.tree(1)
        for name in names:
            touched |= EDITS[name](tree)
        write_wim(target, base=base, trees={1: tree}, new_content={sha1(NEW): NEW})
    accept(target)
    return touched


def without_links(entry: OnVolume, gone: set[str]) -> OnVolume:
    return replace(entry, links=entry.links - gone)


def content_apart(entry: OnVolume) -> OnVolume:
    return replace(entry, raw=replace(entry.raw, hashes=()))


@pytest.mark.parametrize(
    "names",
    [list(EDITS), *(pytest.param([name], marks=pytest.mark.slow) for name in EDITS)],
)
def test_what_an_edit_does_not_name_is_on_the_volume_as_before(
    base: Path, base_on_volume: dict[str, OnVolume], tmp_path: Path, names: list[str]
) -> None:
    target = tmp_path / "edited.wim"
    touched = edited(base, target, names)
    after = on_volume(target, tmp_path)
    untouched = base_on_volume.keys() - touched
    assert len(untouched) > 60
    assert after.keys() - touched == untouched
    for path in untouched:
        assert without_links(after[path], touched) == without_links(
            base_on_volume[path], touched
        ), path
    raw_before, raw_after = (raw_entries(plain(one, tmp_path)) for one in (base, target))
    for path in untouched:
        assert raw_after[path] == raw_before[path], path
    assert sum(bool(raw_after[f"/{path}"].tagged) for path in TAGGED) == len(TAGGED)


def test_new_content_leaves_all_else_of_its_file(
    base: Path, base_on_volume: dict[str, OnVolume], tmp_path: Path
) -> None:
    """A hive with an object id, extended attributes and its own security; a file of 63 names."""
    target = tmp_path / "edited.wim"
    touched = edited(base, target, ["replace"])
    after = on_volume(target, tmp_path)
    for path in touched:
        assert content_apart(after[path]) == content_apart(base_on_volume[path]), path
        assert after[path].raw.hashes == (sha1(NEW),)
    raw_before, raw_after = (raw_entries(plain(one, tmp_path)) for one in (base, target))
    for path in touched:
        assert without_hashes(raw_after[path]) == without_hashes(raw_before[path]), path


def without_hashes(entry: RawEntry) -> RawEntry:
    return replace(entry, hashes=())


def test_a_moved_file_keeps_all_it_has(
    base: Path, base_on_volume: dict[str, OnVolume], tmp_path: Path
) -> None:
    target = tmp_path / "edited.wim"
    edited(base, target, ["rename"])
    after = on_volume(target, tmp_path)
    pairs = [("/same/one", "/same/renamed"), ("/flags/temp", f"/{MOVED}/temp")]
    for old, new in pairs:
        assert after[new].raw == base_on_volume[old].raw


def test_extended_attributes_are_on_the_volumes_this_package_applies(
    base: Path, tmp_path: Path
) -> None:
    target = tmp_path / "edited.wim"
    touched = edited(base, target, list(EDITS))
    volumes = [tmp_path / "old.img", tmp_path / "new.img"]
    for wim, volume in zip((base, target), volumes, strict=True):
        apply_new_volume(wim, 1, volume, NewVolume(VOLUME_BYTES))
    before, after = (ntfs.read_back(volume) for volume in volumes)
    with_some = {path for path, entry in before.items() if entry.extended}
    assert with_some == {"/Windows/System32", f"/{HIVE}"}
    for path in before.keys() - touched | {f"/{HIVE}"}:
        assert after[path].extended == before[path].extended
    expected = tagged.extended_of(TAGGED[HIVE])
    assert len(expected) == 3
    assert tagged.from_volume(after[f"/{HIVE}"].extended) == expected
