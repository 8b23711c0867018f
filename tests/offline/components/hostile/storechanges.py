"""Stores changed by someone who knows how they hang together: hives, trees, manifests, deltas.

What a change needs to be believed goes with it: a manifest that says something else has its hash
in the registry, so that it is the meaning of it that counts, not its bytes.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from offline.components.hostile.xmlchanges import changed
from offline.components.test_compressed import compressed
from wimsmith.offline.changes import (
    ChangeSet,
    Content,
    CreateKey,
    DeleteKey,
    DeleteValue,
    Edit,
    Link,
    MakeDirectory,
    PutFile,
    RegistryEdit,
    Remove,
    Rename,
    SetValue,
    TreeEdit,
    stack,
)
from wimsmith.offline.components.store.lookups import (
    CATALOGS,
    CBS,
    COMPONENTS,
    CURRENT_VERSION,
    DEPLOYMENTS,
    WINNERS,
)
from wimsmith.offline.image import ImageView
from wimsmith.offline.registry.hive import Key
from wimsmith.offline.wim.format.tree import Entry

MANIFESTS = "Windows/WinSxS/Manifests"
PLACES = (
    *(("COMPONENTS", one) for one in (COMPONENTS, DEPLOYMENTS, CATALOGS, "")),
    *(("SOFTWARE", rf"{CBS}\{one}") for one in ("Packages", "PackageIndex", "ComponentDetect")),
    *(("SOFTWARE", one) for one in (CBS, WINNERS, CURRENT_VERSION)),
    *(("SYSTEM", one) for one in ("Select", "ControlSet001\\Control")),
)
FOLDERS = (
    *(MANIFESTS, "Windows/WinSxS", "Windows/WinSxS/Catalogs", "Windows/WinSxS/Backup"),
    *("Windows/servicing/Packages", "Windows/System32", "Windows"),
)
DATA = (
    *(
        b"",
        b"\0",
        b"\xff" * 3,
        b"\xff" * 4,
        b"\xff" * 8,
        bytes(4),
        b"\x70\0\0\0",
        b"A\0",
        b"\0\xd8",
    ),
    *(b"Name, Culture=neutral, Version=1.2.3.4, Type=win32", b"\x04\0\0\0\xff\xff\xff\xffabcd"),
    *(
        text.encode("utf-16-le")
        for text in ("", "\0", "1\0", "10.0.99999.1\0", "..\\..\0", "a~b~c~~1\0", "x" * 300 + "\0")
    ),
)
NAMES = (
    *("", "x", "c!x", "f!x", "f!..\\..\\x", "p!x", "i!", "s!CBS_x", "10.0.99999.1", "\u0663.1.1.1"),
    *("CurrentState", "identity", "S256H", "CF", "Default", "SystemRoot"),
)
KEYS = ("x", "amd64_x", "a~b~c~d~1.0.0.0", "..", "k" * 255, "\u0130")
TYPES = (0, 1, 2, 3, 4, 7, 11, 0x20001)
Places = Sequence[tuple[str, str]]
Change = Callable[[ImageView, random.Random, Path], ChangeSet]


def damaged_store(view: ImageView, chance: random.Random, spool: Path) -> ChangeSet:
    """Changes of one kind, or of all; the view is left as it was."""
    kinds: tuple[Change, ...] = (_registry, _registry, _files, _manifests)
    chosen = [chance.choice(kinds)] if chance.randrange(4) else list(kinds)
    return stack(*(change(view, chance, spool) for change in chosen))


def _registry(view: ImageView, chance: random.Random, _spool: Path) -> ChangeSet:
    return damaged_registry(view, chance)


def damaged_registry(view: ImageView, chance: random.Random, places: Places = PLACES) -> ChangeSet:
    """Changes of values and keys at some places."""
    return stack(*(kind(view, chance, places) for kind in chance.choices((values, keys), k=2)))


def a_hive(name: str) -> Places:
    """The places that count in one hive."""
    return tuple(one for one in PLACES if one[0] == name)


def values(view: ImageView, chance: random.Random, places: Places = PLACES) -> ChangeSet:
    """Values that are gone, that are of another type, or that another key has."""
    edits: list[RegistryEdit] = []
    for _ in range(chance.choice((1, 1, 3, 12))):
        hive, key = _a_key(view, chance, places)
        own = list(key.values())
        one = chance.choice(own) if own else None
        name = one.name if one and chance.randrange(4) else chance.choice(NAMES)
        if one and chance.randrange(6) == 0:
            edits.append(DeleteValue(hive, key.path, one.name))
            continue
        data, kind = chance.choice(DATA), chance.choice(TYPES)
        if one and chance.randrange(2):
            data, kind = _bent(one.data, chance), one.type
        others = list(_a_key(view, chance, places)[1].values())
        if others and chance.randrange(4) == 0:
            other = chance.choice(others)
            data, kind = other.data, other.type
        edits.append(SetValue(hive, key.path, name, kind, data))
    return ChangeSet(registry=tuple(edits))


def _bent(data: bytes, chance: random.Random) -> bytes:
    """Bytes with one bit other, cut short, or with more behind them."""
    at = chance.randrange(len(data) + 1)
    if at < len(data) and chance.randrange(2):
        return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
    return data[:at] + chance.choice((b"", b"\0", chance.randbytes(3), data))


def keys(view: ImageView, chance: random.Random, places: Places = PLACES) -> ChangeSet:
    """Keys that are gone, that have another name, and keys that nothing else knows of."""
    edits: list[RegistryEdit] = []
    for _ in range(chance.choice((1, 1, 2, 5))):
        hive, key = _a_key(view, chance, places)
        above, _, name = key.path.rpartition("\\")
        if not above:
            continue
        if chance.randrange(3):
            edits.append(DeleteKey(hive, key.path))
        if chance.randrange(3):
            new = rf"{above}\{chance.choice((*KEYS, _bent_name(name, chance)))}"
            edits.append(CreateKey(hive, new))
            edits += (SetValue(hive, new, one.name, one.type, one.data) for one in key.values())
    return ChangeSet(registry=tuple(edits))


def _a_key(view: ImageView, chance: random.Random, places: Places) -> tuple[str, Key]:
    """A key at one of the places that count, or up to three levels below it."""
    while True:
        hive, place = chance.choice(places)
        key = view.hive(hive).key(place)
        for _ in range(chance.randrange(4)):
            below = list(key.subkeys()) if key else []
            key = chance.choice(below) if below else key
        if key is not None:
            return hive, key


def _bent_name(name: str, chance: random.Random) -> str:
    at = chance.randrange(len(name))
    digit = chance.choice("0123456789abcdef_.~")
    return chance.choice((name[:at] + digit + name[at + 1 :], name[:at] + name[at + 1 :] or "x"))


def _files(view: ImageView, chance: random.Random, spool: Path) -> ChangeSet:
    """Files and folders that are gone, elsewhere, those of another, or of another kind."""
    edits: list[TreeEdit] = []
    contents: dict[str, Content] = {}
    touched: set[str] = set()
    for _ in range(chance.choice((1, 1, 3, 8))):
        entry, other = _an_entry(view, chance), _an_entry(view, chance)
        path, elsewhere = entry.path, f"{path_above(other.path)}/{chance.randbytes(4).hex()}"
        if any(_overlap(one, two) for one in touched for two in (path, elsewhere, other.path)):
            continue
        touched |= {path, elsewhere, other.path}
        match chance.randrange(6):
            case 0 | 1:
                edits.append(Remove(path))
            case 2 if not _overlap(path, elsewhere):
                edits.append(Rename(path, elsewhere))
            case 3 if not entry.is_directory and not other.is_directory and entry is not other:
                edits.append(Link(path, other.path))
            case 4:
                edits += (Remove(path), MakeDirectory(path))
            case _:
                data = b"" if entry.is_directory else _bent(view.read(path), chance)
                content = kept(data, spool)
                contents[content.sha1] = content
                edits += (Remove(path), PutFile(path, content.sha1))
    return ChangeSet(tuple(edits), content=contents)


def _an_entry(view: ImageView, chance: random.Random) -> Entry:
    """A file or folder in one of the places that count, but for the hives and what is above."""
    while True:
        folder = view.find(chance.choice(FOLDERS))
        children = list((folder.children or {}).values()) if folder else []
        if not children:
            continue
        entry = chance.choice(children)
        if entry.children and chance.randrange(2):
            entry = chance.choice(list(entry.children.values()))
        if not any(one.startswith(f"{entry.path}/") for one in (*FOLDERS, _CONFIG)):
            return entry


_CONFIG = "Windows/System32/config/"


def _manifests(view: ImageView, chance: random.Random, spool: Path) -> ChangeSet:
    """Manifests of components and packages that say something else, and are what was stated."""
    edits: list[Edit] = []
    contents: dict[str, Content] = {}
    components, packages = (
        [one.path for one in (folder.children or {}).values() if one.name.endswith(end)]
        for folder, end in (
            (view.find(MANIFESTS), ".manifest"),
            (view.find("Windows/servicing/Packages"), ".mum"),
        )
        if folder is not None
    )
    for path in chance.sample(
        (components, packages)[chance.randrange(4) == 0], chance.choice((1, 3))
    ):
        text = changed(view.read(path), chance)
        data = _packed(text, chance)
        content = kept(data, spool)
        contents[content.sha1] = content
        edits.append(PutFile(path, content.sha1))
        key = path.rpartition("/")[2].removesuffix(".manifest")
        if path.endswith(".manifest") and chance.randrange(8):
            digest = hashlib.sha256(text).digest()
            edits.append(SetValue("COMPONENTS", rf"{COMPONENTS}\{key}", "S256H", 3, digest))
    return ChangeSet(
        tuple(one for one in edits if isinstance(one, TreeEdit)),
        tuple(one for one in edits if isinstance(one, RegistryEdit)),
        contents,
    )


def _packed(text: bytes, chance: random.Random) -> bytes:
    """A manifest as it is, as a delta, or as a delta that is damaged."""
    if text.startswith(b"DCM"):
        return _bent(text, chance)
    try:
        packed = compressed(text)
    except StopIteration:  # it has nothing in common with the base
        return text
    return chance.choice((text, text, packed, packed, _bent(packed, chance)))


def kept(data: bytes, spool: Path) -> Content:
    """Data as a content of a change set."""
    path = spool / hashlib.sha1(data, usedforsecurity=False).hexdigest()
    path.write_bytes(data)
    return Content.of_file(path)


def path_above(path: str) -> str:
    return path.rpartition("/")[0]


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def described(changes: ChangeSet) -> Iterator[str]:
    """The changes as short lines, for the message of a test that fails."""
    yield from (repr(one)[:200] for one in (*changes.tree, *changes.registry))
