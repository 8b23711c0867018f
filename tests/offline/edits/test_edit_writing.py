"""Edits as values, and what is left behind when writing them fails or is cancelled."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from offline.wim.images import INSTALLER, rich, write
from wimsmith.errors import (
    AlreadyExists,
    Cancelled,
    DamagedInput,
    InvalidInput,
    InvalidState,
    WimsmithError,
)
from wimsmith.offline.changes import MakeDirectory, PutFile, Rename
from wimsmith.offline.descriptors import SecurityDescriptor
from wimsmith.offline.edits.files import file_changes
from wimsmith.offline.edits.kinds import Access, Add, Delete, Edit, MakeFolder, Move, Replace
from wimsmith.offline.edits.writing import edit_image
from wimsmith.offline.image import ImageView
from wimsmith.offline.progress import Event, silent
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.workers._libwim import LibwimCodec

NOW = 133_000_000_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "images" / "rich.wim"
    path.parent.mkdir()
    write(path, rich())
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(b"new content")
    return path


def stands_alone(path: Path, before: bytes) -> None:
    """Nothing but the file as it was is in its folder."""
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


def edited(path: Path, *edits: Edit, in_place: bool = True) -> Path:
    target = path.with_name("new.wim")
    report = edit_image(
        path, 1, edits, None if in_place else target, codec=LibwimCodec(), modified=NOW
    )
    assert report.path == (path if in_place else target)
    return report.path


def test_an_edit_becomes_a_value_and_changes_nothing_yet(path: Path, source: Path) -> None:
    with open_wim(path) as wim:
        view = ImageView(wim, 1)
        before = [entry.path for entry in view.tree.walk()]
        changes = file_changes(Add(source, "Windows/"), view.tree, silent)
        (put,) = changes.tree
        assert isinstance(put, PutFile)
        assert put.path == "Windows/source.bin"
        assert changes.content[put.sha1].path == source
        moved = file_changes(Move("Windows", "A/B/Windows", parents=True), view.tree, silent)
        assert moved.tree == (MakeDirectory("A/B"), Rename("Windows", "A/B/Windows"))
        assert [entry.path for entry in view.tree.walk()] == before


def test_later_edits_see_what_earlier_ones_did(path: Path, source: Path) -> None:
    edited(
        path,
        MakeFolder("New"),
        Add(source, "New/"),
        Move("New/source.bin", "New/moved.bin"),
        Replace("New/moved.bin", path.with_name("rich.wim")),
        Delete("Windows", recursive=True),
        Move("New", "Windows"),
    )
    with open_wim(path) as wim:
        tree = wim.tree(1)
        entry = tree.find("Windows/moved.bin")
        assert entry is not None
        assert tree.find("Windows/System32") is None
        assert wim.size_of(entry.inode.sha1) > 100_000


def test_one_edit_that_cannot_be_leaves_all_undone(path: Path, source: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(AlreadyExists):
        edited(path, Add(source, "Windows/"), MakeFolder("Users"))
    stands_alone(path, before)


def test_an_owner_replaces_the_inherited_one_and_nothing_else(path: Path) -> None:
    system = "S-1-5-18"
    edited(path, MakeFolder("A"), MakeFolder("B", Access(owner=system)))
    with open_wim(path) as wim:
        tree = wim.tree(1)
        made = [tree.find(name) for name in "AB"]
        one, other = (
            SecurityDescriptor.from_bytes(entry.inode.security)
            for entry in made
            if entry is not None and entry.inode.security is not None
        )
    assert other.owner == system
    assert (one.group, one.dacl, one.control) == (other.group, other.dacl, other.control)


def test_an_owner_needs_something_to_be_inherited(path: Path) -> None:
    with open_wim(path) as wim:
        view = ImageView(wim, 1)
        view.tree.set_security("Users", None)
        with pytest.raises(InvalidInput, match="no security descriptor"):
            file_changes(MakeFolder("Users/New", Access(owner="S-1-5-18")), view.tree, silent)
        view.tree.set_security("Users", INSTALLER)
        assert file_changes(MakeFolder("Users/New", Access(owner="S-1-5-18")), view.tree, silent)


def test_a_source_that_changes_on_its_way_is_refused(path: Path, source: Path) -> None:
    before = path.read_bytes()

    def meddle(event: Event) -> None:
        if event.phase == "copy":
            source.write_bytes(b"nEw content")

    with pytest.raises(DamagedInput):
        edit_image(path, 1, [Add(source, "X")], None, codec=LibwimCodec(), progress=meddle)
    stands_alone(path, before)


def test_cancel_in_every_phase_leaves_the_old_file_alone(path: Path, source: Path) -> None:
    before = path.read_bytes()
    phases: set[str] = set()
    edit_image(
        path,
        1,
        [Add(source, "X")],
        path.parent.parent / "other.wim",
        codec=LibwimCodec(),
        progress=lambda event: phases.add(event.phase),
    )
    assert {"plan", "read files", "read images", "copy", "compress", "hash", "check"} <= phases
    for phase in sorted(phases):
        with pytest.raises(Cancelled):
            edit_image(
                path,
                1,
                [Add(source, "X")],
                None,
                codec=LibwimCodec(),
                progress=cancel_at(phase),
            )
        stands_alone(path, before)


def cancel_at(phase: str) -> Callable[[Event], None]:
    def progress(event: Event) -> None:
        if event.phase == phase:
            raise Cancelled("by the test")

    return progress


@pytest.mark.parametrize("call", ["rename", "replace", "fsync", "fchmod", "pwrite", "link"])
def test_a_fault_in_any_call_leaves_the_old_file_or_the_new(
    path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Each call is made to fail once, the first, then the second, until none is left to fail."""
    before = path.read_bytes()
    reached = 0
    while True:
        path.write_bytes(before)
        left = [reached]
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing(getattr(os, call), left))
            try:
                edit_image(path, 1, [Add(source, "X")], None, codec=LibwimCodec(), modified=NOW)
            except (OSError, WimsmithError):
                failed = True
            else:
                failed = False
        if left[0] >= 0:
            break
        reached += 1
        assert [one.name for one in path.parent.iterdir()] == [path.name]
        with open_wim(path, LibwimCodec()) as wim:
            is_new = wim.tree(1).find("X") is not None
            assert wim.verify_integrity(silent)
        assert is_new or path.read_bytes() == before
        assert failed or is_new
    assert reached > 0 or call in {"rename", "link"}


def failing(real: Callable[..., object], left: list[int]) -> Callable[..., object]:
    def call(*arguments: object, **options: object) -> object:
        left[0] -= 1
        if left[0] == -1:
            raise OSError(5, "made to fail by the test")
        return real(*arguments, **options)

    return call


def test_two_edits_of_one_file_at_a_time_are_refused(path: Path, source: Path) -> None:
    refusals: list[WimsmithError] = []

    def second(event: Event) -> None:
        if event.phase == "copy" and not refusals:
            try:
                edited(path, MakeFolder("Second"))
            except InvalidState as error:
                refusals.append(error)

    edit_image(path, 1, [Add(source, "X")], None, codec=LibwimCodec(), progress=second)
    assert refusals
    with open_wim(path) as wim:
        names = names_in(wim)
    assert "X" in names
    assert "Second" not in names


def names_in(wim: Wim) -> set[str]:
    return {entry.name for entry in wim.tree(1).walk()}
