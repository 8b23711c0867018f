"""Stores of nonsense: the check ends in a report or in an error of ours, and writes nothing."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from wimsmith.errors import WimsmithError
from wimsmith.offline.changes import (
    ChangeSet,
    Content,
    DeleteKey,
    DeleteValue,
    PutFile,
    RegistryEdit,
    Remove,
    Rename,
    SetValue,
    TreeEdit,
)
from wimsmith.offline.components.store.lookups import (
    CATALOGS,
    CBS,
    COMPONENTS,
    CURRENT_VERSION,
    DEPLOYMENTS,
    WINNERS,
)
from wimsmith.offline.components.verification.examine import examine
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.wim.format.container import open_wim

ROUNDS = 25
PLACES = (
    ("SOFTWARE", CBS),
    ("SOFTWARE", WINNERS),
    ("SOFTWARE", CURRENT_VERSION),
    ("COMPONENTS", COMPONENTS),
    ("COMPONENTS", DEPLOYMENTS),
    ("COMPONENTS", CATALOGS),
    ("SYSTEM", "Select"),
)
FOLDERS = ("Windows/WinSxS", "Windows/WinSxS/Manifests", "Windows/WinSxS/Catalogs")
FURTHER = ("Windows/servicing/Packages", "Windows/WinSxS/Backup", "Windows/System32")
TEXTS = ("", "\0", "..", "a" * 300, "C:\\", "10.0.99999.1", "~~~~", "x" * 25 + "_0", "\u0130\ud800")


def damaged_registry(view: ImageView, chance: random.Random) -> Iterator[RegistryEdit]:
    for _ in range(chance.randrange(1, 40)):
        hive, place = chance.choice(PLACES)
        keys = list(view.hive(hive).walk(place))
        key = chance.choice(keys)
        values = list(key.values())
        if chance.randrange(8) == 0 and key.path != place:
            yield DeleteKey(hive, key.path)
        elif values and chance.randrange(4) == 0:
            yield DeleteValue(hive, key.path, chance.choice(values).name)
        else:
            name = chance.choice(values).name if values else "c!ghost"
            kind = chance.choice((0, 1, 2, 3, 4, 7, 11, 0x20001))
            yield SetValue(hive, key.path, name, kind, nonsense(chance))


def nonsense(chance: random.Random) -> bytes:
    text = chance.choice(TEXTS)
    return chance.choice(
        (
            b"",
            text.encode("utf-16-le", "surrogatepass"),
            text.encode("utf-8", "surrogatepass"),
            chance.randbytes(chance.randrange(64)),
            b"\xff\xff\xff\xff" * 3,
            b"Name, Culture=neutral, Version=1.2.3.4, Type=win32",
        )
    )


def damaged_tree(view: ImageView, chance: random.Random, spool: Path) -> ChangeSet:
    edits: list[TreeEdit] = []
    contents: dict[str, Content] = {}
    for _ in range(chance.randrange(1, 10)):
        folder = view.find(chance.choice((*FOLDERS, *FURTHER)))
        assert folder is not None
        assert folder.children is not None
        entries = [one for one in folder.children.values() if one.name != "config"]
        entry = chance.choice(entries)
        path = entry.path
        if any(edit.path == path or path.startswith(f"{edit.path}/") for edit in edits):
            continue
        if chance.randrange(3) == 0:
            edits.append(Remove(path))
        elif entry.is_directory:
            edits.append(Rename(path, f"{folder.path}/{chance.randbytes(8).hex()}"))
        else:
            content = spoilt(view.read(path), chance, spool)
            contents[content.sha1] = content
            edits.append(PutFile(path, content.sha1))
    return ChangeSet(tuple(edits), content=contents)


def spoilt(data: bytes, chance: random.Random, spool: Path) -> Content:
    image = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(image) + 1)
        image[at : at + chance.randrange(4)] = chance.choice((b"<", b"", b"DCM\x01", b"\xff" * 9))
    path = spool / hashlib.sha1(image, usedforsecurity=False).hexdigest()
    path.write_bytes(image)
    return Content.of_file(path)


@pytest.mark.parametrize(
    "rounds", [ROUNDS, pytest.param(1500, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_stores_of_nonsense_are_reported_on(sound_path: Path, tmp_path: Path, rounds: int) -> None:
    before = sound_path.read_bytes()
    chance = random.Random(rounds)
    found: set[str] = set()
    with open_wim(sound_path) as wim:
        for _ in range(rounds):
            view = open_view(wim, 1)
            view.stack(ChangeSet(registry=tuple(damaged_registry(view, chance))))
            view.stack(damaged_tree(view, chance, tmp_path))
            try:
                report = examine(view)
            except WimsmithError as error:
                found.add(error.code)
                continue
            assert all(one.count >= len(one.examples) > 0 for one in report.problems)
            found.update(one.code for one in report.problems)
    assert len(found) > 15
    assert sound_path.read_bytes() == before
