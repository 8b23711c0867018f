"""A list of edits is the same whether it becomes one change set or several, saved in between."""

from collections.abc import Iterator, Sequence
from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.edits.editkit import NOW, boot_image, planned
from wimsmith.offline.changes import ChangeSet, load, save, stack
from wimsmith.offline.edits.kinds import (
    Access,
    Add,
    Delete,
    DeleteRegistryKey,
    DeleteRegistryValue,
    Edit,
    MakeFolder,
    MakeRegistryKey,
    Move,
    Replace,
    Secure,
    SetRegistryValue,
)
from wimsmith.offline.edits.planning import plan_edits
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.workers._libwim import LibwimCodec

_NUMBERS = count()
_NAMES = ("tools", "tools/a", "TOOLS/b", "Windows/System32/startnet.cmd", "Windows/x", "y")
_HIVES = ("Windows/System32/config/DEFAULT", "Windows/System32/config/SYSTEM")
_KEYS = (
    r"SOFTWARE\Old",
    r"SOFTWARE\New\Below",
    r"HKLM\SYSTEM\CurrentControlSet\New",
    r"DEFAULT\Old",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stacking")
    boot_image(folder)
    for name in ("one", "two"):
        (folder / name).write_text(name)
    (folder / "full/below").mkdir(parents=True)
    (folder / "full/a").write_text("one")
    return folder


@pytest.fixture(scope="module")
def wim(folder: Path) -> Iterator[Wim]:
    with open_wim(folder / "boot.wim", LibwimCodec()) as wim:
        yield wim


def edits(folder: Path) -> st.SearchStrategy[list[Edit]]:
    names = st.sampled_from((*_NAMES, *_HIVES))
    sources = st.sampled_from([folder / name for name in ("one", "two", "full")])
    files = st.sampled_from([folder / "one", folder / "two"])
    keys, values = st.sampled_from(_KEYS), st.sampled_from(["", "a", "A", "b"])
    access = st.sampled_from([Access(), Access("O:BAG:SYD:(A;;FA;;;BA)")])
    yes = st.booleans()
    kinds: list[st.SearchStrategy[Edit]] = [
        st.builds(Add, sources, names, access, overwrite=yes, parents=yes),
        st.builds(Delete, names, yes),
        st.builds(Move, names, names, overwrite=yes, parents=yes),
        st.builds(Replace, names, files, yes),
        st.builds(MakeFolder, names, access, parents=yes),
        st.builds(Secure, names, st.just(Access("O:SYG:SYD:(A;;FA;;;SY)"))),
        st.builds(SetRegistryValue, keys, values, st.sampled_from([1, 4]), st.binary(max_size=4)),
        st.builds(DeleteRegistryValue, keys, values),
        st.builds(MakeRegistryKey, keys),
        st.builds(DeleteRegistryKey, keys),
    ]
    return st.lists(st.one_of(kinds), max_size=12)


def image_of(view: ImageView) -> object:
    """All that a commit would write of an image."""
    files = [
        (
            entry.path,
            entry.short_name,
            entry.inode.attributes,
            entry.inode.security,
            entry.inode.times,
            entry.inode.sha1,
            len(entry.inode.entries),
        )
        for entry in view.tree.walk()
    ]
    hives = {name: hive.serialize(NOW) for name, hive in view.changed_hives().items()}
    keys = {
        name: [
            (key.path, key.security, sorted((one.name, one.type, one.data) for one in key.values()))
            for key in hive.walk()
        ]
        for name, hive in view.changed_hives().items()
    }
    return sorted(files, key=str), keys, hives.keys()


def planned_in_parts(
    wim: Wim, folder: Path, parts: Sequence[Sequence[Edit]]
) -> tuple[list[ChangeSet], ImageView]:
    """A set for each part, each saved and loaded before the next is planned on top of it."""
    sets: list[ChangeSet] = []
    for part in parts:
        view = open_view(wim, 1, sets)
        plan = plan_edits(view, part, folder, NOW)
        assert plan.changes is not None
        saved = folder / f"saved{next(_NUMBERS)}"
        save(plan.changes, saved)
        sets.append(load(saved))
    return sets, open_view(wim, 1, sets)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_one_set_equals_several_stacked_ones(wim: Wim, folder: Path, data: st.DataObject) -> None:
    equals_its_parts(wim, folder, data)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_many_lists_equal_their_parts(wim: Wim, folder: Path, data: st.DataObject) -> None:
    equals_its_parts(wim, folder, data)


def equals_its_parts(wim: Wim, folder: Path, data: st.DataObject) -> None:
    possible: list[Edit] = []
    for edit in data.draw(edits(folder)):
        if planned(wim, folder, [*possible, edit]).changes is not None:
            possible.append(edit)
    cut = sorted(data.draw(st.sets(st.integers(0, len(possible)), max_size=3)))
    bounds = [0, *cut, len(possible)]
    parts = [possible[at:end] for at, end in pairwise(bounds)]

    view = ImageView(wim, 1)
    one = plan_edits(view, possible, folder, NOW)
    assert one.changes is not None
    expected = image_of(view)
    assert image_of(open_view(wim, 1, [one.changes])) == expected
    sets, stacked = planned_in_parts(wim, folder, parts)
    assert image_of(stacked) == expected
    assert image_of(open_view(wim, 1, [stack(*sets)])) == expected
    told = sum(result.change_count for result in one.results)
    assert told == len(one.changes.tree) + len(one.changes.registry)
    assert bool(one.changes) == any(result.changed for result in one.results)


def test_the_same_list_again_changes_nothing_that_it_did_not_undo(wim: Wim, folder: Path) -> None:
    wanted: list[Edit] = [
        Add(folder / "full", "tools", overwrite=True),
        SetRegistryValue(r"SOFTWARE\New", "a", 4, bytes(4)),
        Replace("Windows/System32/startnet.cmd", folder / "one"),
    ]
    view = ImageView(wim, 1)
    first = plan_edits(view, wanted, folder, NOW)
    again = plan_edits(view, wanted, folder, NOW)
    assert [one.changed for one in first.results] == [True] * 3
    assert [one.changed for one in again.results] == [False] * 3
