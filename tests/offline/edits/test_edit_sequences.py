"""Random edits, one after the other, on an image with everything that is rare.

A model of the image, a plain dictionary of raw entries and of groups of names, goes through the
same edits by its own rules. What a second parser and wimlib then read must be the model: what no
edit named has every field as before.
"""

import hashlib
import os
import random
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from offline.wim.images import rich, write
from offline.wim.judges import accept, link_groups, listing, run
from offline.wim.rawmetadata import RawEntry, raw_entries
from offline.wim.test_unusual import unusual
from offline.wim.test_write import comparable, ntfs_volume
from wimsmith.offline.edits.kinds import Add, Delete, Edit, MakeFolder, Move, Replace
from wimsmith.offline.edits.writing import edit_image
from wimsmith.offline.security import inherit
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers._libwim import LibwimCodec

DIRECTORY, ARCHIVE, REPARSE, ENCRYPTED = 0x10, 0x20, 0x400, 0x4000
WRITTEN_NS = 1_600_000_000_000_000_000
WRITTEN = 116_444_736_000_000_000 + WRITTEN_NS // 100
CONTENTS = (b"", b"short", b"new content " * 900)


@dataclass
class Model:
    """Entries by path with a leading `/`; names of one file have one group."""

    entries: dict[str, RawEntry]
    groups: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> "Model":
        model = cls(raw_entries(path))
        for number, names in enumerate(link_groups(path)):
            model.groups |= {f"/{name}": number for name in names}
        return model

    def link_groups(self) -> set[frozenset[str]]:
        numbers = set(self.groups.values())
        groups = (frozenset(self.names(number)) for number in numbers)
        return {frozenset(name[1:] for name in group) for group in groups if len(group) > 1}

    def names(self, group: int) -> list[str]:
        return [path for path, number in self.groups.items() if number == group]

    def find(self, path: str) -> str | None:
        """The path as it is spelt in the image."""
        return next((one for one in self.entries if one.upper() == path.upper()), None)

    def below(self, path: str) -> list[str]:
        return [one for one in self.entries if one == path or one.startswith(f"{path}/")]

    def children(self, path: str) -> list[str]:
        return [one for one in self.entries if one and one.rpartition("/")[0] == path]

    def is_folder(self, path: str) -> bool:
        return bool(self.entries[path].attributes & DIRECTORY)

    def make_folder(self, path: str, times: bytes | None = None) -> None:
        above = self.entries[path.rpartition("/")[0]]
        self.entries[path] = made(above, DIRECTORY, times or above.times)

    def put(self, path: str, content: bytes) -> None:
        above = self.entries[path.rpartition("/")[0]]
        new = replace(made(above, ARCHIVE, struct.pack("<3Q", *[WRITTEN] * 3)), hashes=of(content))
        there = self.find(path)
        if there is not None:
            old = self.entries[there]
            new = replace(new, security=old.security, short_name=old.short_name)
            self.groups.pop(there, None)
        self.entries[there or path] = new

    def remove(self, path: str) -> None:
        for gone in self.below(path):
            del self.entries[gone]
            self.groups.pop(gone, None)

    def move(self, path: str, new_path: str) -> None:
        there = self.find(new_path)
        if there is not None and there != path:
            self.remove(there)
        folder, name = new_path.rpartition("/")[::2]
        taken = {
            text
            for one in self.children(folder)
            if one != path
            for text in (one.rpartition("/")[2].upper(), self.short_name(one).upper())
        }
        kept = self.short_name(path)
        if name.upper() != path.rpartition("/")[2].upper() or kept.upper() in taken:
            self.entries[path] = replace(self.entries[path], short_name=b"")
        for old in self.below(path):
            new = new_path + old[len(path) :]
            self.entries[new] = self.entries.pop(old)
            if old in self.groups:
                self.groups[new] = self.groups.pop(old)

    def replace(self, path: str, content: bytes) -> None:
        names = self.names(self.groups[path]) if path in self.groups else [path]
        for name in names:
            self.entries[name] = replace(self.entries[name], hashes=of(content))

    def short_name(self, path: str) -> str:
        return self.entries[path].short_name.decode("utf-16-le")


def made(above: RawEntry, attributes: int, times: bytes) -> RawEntry:
    assert above.security is not None
    security = inherit(above.security, is_directory=bool(attributes & DIRECTORY))
    return RawEntry(attributes, security, bytes(16), times, (), (), 0, b"", b"", b"")


def of(content: bytes) -> tuple[bytes, ...]:
    return (hashlib.sha1(content).digest(),) if content else ()


class Player:
    """Chooses edits that can be done, and does each to the model as well."""

    def __init__(self, model: Model, sources: Path, seed: int) -> None:
        self.model = model
        self.sources = sources
        self.chance = random.Random(seed)
        self.count = 0

    def edit(self) -> Edit:
        choices = (
            self.add,
            self.add,
            self.add_folder,
            self.overwrite,
            self.delete,
            self.move,
            self.move,
            self.move_over,
            self.replace,
            self.replace,
            self.make_folder,
        )
        while True:
            edit = self.chance.choice(choices)()
            if edit is not None:
                return edit

    def add(self) -> Edit | None:
        path, content = self.new_path(), self.chance.choice(CONTENTS)
        self.model.put(path, content)
        return Add(self.source(content), self.spelt(path))

    def add_folder(self) -> Edit | None:
        path, content = self.new_path(), self.chance.choice(CONTENTS[1:])
        folder = self.sources / f"folder {self.count}"
        (folder / "in").mkdir(parents=True)
        (folder / "one").write_bytes(content)
        (folder / "in/two").hardlink_to(folder / "one")
        for each in (folder / "one", folder / "in", folder):
            os.utime(each, ns=(WRITTEN_NS, WRITTEN_NS))
        times = struct.pack("<3Q", *[WRITTEN] * 3)
        self.model.make_folder(path, times)
        self.model.make_folder(f"{path}/in", times)
        for name in ("one", "in/two"):
            self.model.put(f"{path}/{name}", content)
            self.model.groups[f"{path}/{name}"] = 1_000_000 + self.count
        return Add(folder, self.spelt(path))

    def overwrite(self) -> Edit | None:
        path, content = self.some_file(), self.chance.choice(CONTENTS)
        self.model.put(path, content)
        return Add(self.source(content), self.spelt(path), overwrite=True)

    def delete(self) -> Edit | None:
        path = self.some_path()
        if path.count("/") < 2 and self.chance.random() < 0.9:
            return None  # else soon nothing is left
        self.model.remove(path)
        return Delete(self.spelt(path), recursive=True)

    def move(self) -> Edit | None:
        path, new = self.some_path(), self.new_path()
        if self.chance.random() < 0.3:
            new = f"{new.rpartition('/')[0]}/{path.rpartition('/')[2]}"
            if self.model.find(new) not in {None, path}:
                return None
        if f"{new}/".upper().startswith(f"{path}/".upper()) and new.upper() != path.upper():
            return None
        self.model.move(path, new)
        return Move(self.spelt(path), new)

    def move_over(self) -> Edit | None:
        path, new = self.some_file(), self.some_file()
        if path == new:
            return None
        self.model.move(path, new)
        return Move(self.spelt(path), new, overwrite=True)

    def replace(self) -> Edit | None:
        path, content = self.some_file(), self.chance.choice(CONTENTS)
        if self.model.entries[path].attributes & (REPARSE | ENCRYPTED):
            return None
        self.model.replace(path, content)
        return Replace(self.spelt(path), self.source(content))

    def make_folder(self) -> Edit | None:
        path = self.new_path()
        self.model.make_folder(path)
        return MakeFolder(self.spelt(path))

    def source(self, content: bytes) -> Path:
        path = self.sources / f"content {len(content)}"
        path.write_bytes(content)
        os.utime(path, ns=(WRITTEN_NS, WRITTEN_NS))
        return path

    def some_path(self) -> str:
        return self.chance.choice([path for path in self.model.entries if path])

    def some_file(self) -> str:
        files = [path for path in self.model.entries if not self.model.is_folder(path)]
        return self.chance.choice(files)

    def new_path(self) -> str:
        folders = [
            path
            for path, entry in self.model.entries.items()
            if self.model.is_folder(path) and not entry.attributes & REPARSE
        ]
        self.count += 1
        return f"{self.chance.choice(folders)}/new {self.count}"

    def spelt(self, path: str) -> str:
        """The path with folders as Windows would take them as well, in other letters."""
        folder, name = path.rpartition("/")[::2]
        return f"{folder.swapcase()}/{name}" if self.chance.random() < 0.3 else path


def play(tmp_path: Path, seed: int, edits: int) -> None:
    base, target, sources = tmp_path / "base.wim", tmp_path / "new.wim", tmp_path / "sources"
    sources.mkdir()
    write(base, unusual())
    player = Player(Model.of(base), sources, seed)
    planned = [player.edit() for _ in range(edits)]
    edit_image(base, 1, planned, target, codec=LibwimCodec())
    accept(target)
    found = raw_entries(target)
    assert found.keys() == player.model.entries.keys()
    for path, entry in player.model.entries.items():
        assert found[path] == entry, path
    assert link_groups(target) == player.model.link_groups()


@pytest.mark.parametrize("seed", range(10))
def test_random_edits_do_what_the_model_does(tmp_path: Path, seed: int) -> None:
    play(tmp_path, seed, 15)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 400))
def test_many_random_edits_do_what_the_model_does(tmp_path: Path, seed: int) -> None:
    play(tmp_path, seed, 40)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_edits_left_alone_is_the_same_on_a_volume(tmp_path: Path, seed: int) -> None:
    """Both files are applied to NTFS volumes and captured again: equal, where no edit was."""
    codec = LibwimCodec()
    base, edited, sources = tmp_path / "base.wim", tmp_path / "new.wim", tmp_path / "sources"
    sources.mkdir()
    write(base, rich())
    player = Player(Model.of(base), sources, seed)
    edit_image(base, 1, [player.edit() for _ in range(8)], edited, codec=codec)
    before, after = (seen_on_a_volume(path, tmp_path) for path in (base, edited))
    asked, got = raw_entries(base), raw_entries(edited)
    assert before.keys() == {path[1:] for path in asked if path}
    assert after.keys() == {path[1:] for path in got if path}
    groups = link_groups(base) ^ link_groups(edited)
    touched = {name for group in groups for name in group}
    same = {path[1:] for path in asked.keys() & got.keys() if asked[path] == got[path]} - touched
    assert len(same) > 10
    for path in same - {""}:
        assert before[path] == after[path], path


def seen_on_a_volume(wim: Path, folder: Path) -> dict[str, object]:
    volume, again = folder / "volume", folder / "again.wim"
    ntfs_volume(volume)
    run("wimlib-imagex", "apply", wim, 1, volume)
    run("wimlib-imagex", "capture", volume, again, "Again", "--norpfix")
    seen = comparable(listing(again))
    again.unlink()
    seen.pop("", None)
    return seen


def test_edits_one_by_one_in_place_are_the_same_as_all_at_once(tmp_path: Path) -> None:
    base, at_once, sources = tmp_path / "base.wim", tmp_path / "once.wim", tmp_path / "sources"
    sources.mkdir()
    write(base, unusual())
    player = Player(Model.of(base), sources, 77)
    planned = [player.edit() for _ in range(6)]
    edit_image(base, 1, planned, at_once, codec=LibwimCodec(), modified=5)
    for edit in planned:
        edit_image(base, 1, [edit], None, codec=LibwimCodec(), modified=5)
    assert raw_entries(base) == raw_entries(at_once)
    with open_wim(base) as one, open_wim(at_once) as other:
        assert one.images == other.images
        assert one.metadata(1) == other.metadata(1)
