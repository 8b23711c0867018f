"""Whatever is installed and removed again, the store is as it was; for random packages."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from offline.components.kit import unpacked
from offline.components.removal.kit import Workshop
from wimsmith.offline.changes import ChangeSet
from wimsmith.offline.components.install.apply import apply
from wimsmith.offline.components.removal.removing import remove
from wimsmith.offline.image import HIVE_PATHS, ImageView, open_view
from wimsmith.offline.registry.hive import Key
from wimsmith.offline.verdicts import Verdict
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.format.tree import Entry
from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import Identity
from wimsmith.practice.spec import (
    Applicable,
    ComponentSpec,
    DirectorySpec,
    FileSpec,
    Generation,
    KeySpec,
    PackageSpec,
    UpdateEntry,
    UpdateSpec,
    ValueSpec,
)
from wimsmith.practice.updates import cabinet_files

Opened = Callable[..., Workshop]
FAMILIES = ("One", "Two", "Three")
REVISIONS = (300, 400, 500)
FOLDERS = (
    "$(runtime.system32)\\",
    "$(runtime.programFiles)\\Random\\",
    "$(runtime.programFiles)\\Random\\deep\\",
)
KEY = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Practice\\Random"
SHARED = ("VersionedIndex", "ApplicabilityEvaluationCache")


@dataclass(frozen=True)
class Drawn:
    """A version of one of three families; some files, values and folders all of them share."""

    family: str
    revision: int
    files: dict[str, int]
    values: dict[str, bool]
    extra: int

    def component(self, maker: Maker) -> ComponentSpec:
        who = f"{self.family} {self.revision}"
        files = tuple(
            FileSpec(
                f"{name}.dll",
                program(f"{who} {name}", 2000),
                FOLDERS[folder],
                links=(f"{FOLDERS[1]}linked\\{name}.dll",) if name == "b" and self.extra else (),
            )
            for name, folder in self.files.items()
        )
        values = tuple(
            ValueSpec(name, "REG_SZ", who, mutable=mutable) for name, mutable in self.values.items()
        )
        keys = [KeySpec(KEY, values)] if values else []
        if self.extra >= 2:
            keys.append(KeySpec(f"{KEY}\\{self.family}\\below", (), owner=self.extra == 2))
        directories = (DirectorySpec(FOLDERS[1]),) if self.extra == 1 else ()
        identity = Identity(f"Practice-Random-{self.family}", maker.version(self.revision))
        return ComponentSpec(identity, files, tuple(keys), directories)


PLACES = st.dictionaries(st.sampled_from(("a", "b", "own")), st.integers(0, 2), min_size=1)
VALUES = st.dictionaries(st.sampled_from(("Shared", "One", "Extra")), st.booleans())
VERSIONS = tuple(product(FAMILIES, REVISIONS))
CONTENTS = st.fixed_dictionaries(
    {
        one: st.builds(Drawn, st.just(one[0]), st.just(one[1]), PLACES, VALUES, st.integers(0, 3))
        for one in VERSIONS
    }
)
UPDATES = st.tuples(
    st.sampled_from(("", "install", "revision")),
    st.lists(st.sampled_from(VERSIONS), min_size=1, max_size=2),
)
STACKS = st.lists(st.lists(UPDATES, min_size=1, max_size=2), min_size=2, max_size=4)
Contents = dict[tuple[str, int], Drawn]
Updates = list[tuple[str, list[tuple[str, int]]]]


def package(maker: Maker, contents: Contents, number: int, updates: Updates) -> PackageSpec | None:
    """The package that a drawn list means; None if it has two of one version."""
    entries, seen = [], set()
    for place, (rule, drawn) in enumerate(updates):
        for one in drawn:
            if one in seen:
                return None
            seen.add(one)
        members = [contents[one].component(maker) for one in drawn]
        deployment = maker.deployment(f"Practice-Random-{number}-{place}", 300, *members)
        identities = tuple(one.identity for one in members)
        applicable = Applicable("staged", elevate=((rule, identities),)) if rule else None
        entries.append(UpdateEntry(f"update-{place}", deployment, applicable=applicable))
    return maker.package(f"KB510000{number}", "1.0.0.0", *entries)


def facts(view: ImageView) -> dict[str, object]:
    r"""All of an index that a removal has to give back.

    Left out are the hive files themselves, times, `DerivedData\VersionedIndex` and cached
    evaluations, and folders and keys that hold nothing: those on the way to a file or value
    belong to nobody.
    """
    found: dict[str, object] = {}
    groups: dict[int, list[str]] = {}
    for path, entry in _entries(view):
        groups.setdefault(id(entry.inode), []).append(path)
        inode = entry.inode
        found[path] = (inode.sha1, inode.security, inode.attributes, entry.short_name)
    for names in groups.values():
        for path in names:
            found[path] = (found[path], tuple(sorted(names)))
    for name in ("SOFTWARE", "SYSTEM", "COMPONENTS", "DEFAULT", "NTUSER"):
        root = view.hive(name).key("")
        assert root
        for key in _keys(root):
            values = {one.name.lower(): (one.type, one.data) for one in key.values()}
            if values:
                found[f"{name}\\{key.path}".lower()] = (key.security, values)
    return found


def _entries(view: ImageView) -> Iterator[tuple[str, Entry]]:
    hives = {path.lower() for path in HIVE_PATHS.values()}
    waiting = [("", view.tree.root)]
    while waiting:
        folder, entry = waiting.pop()
        for child in (entry.children or {}).values():
            path = f"{folder}/{child.name}".lstrip("/").lower()
            if child.is_directory:
                waiting.append((path, child))
            elif path not in hives:
                yield path, child


def _keys(key: Key) -> Iterator[Key]:
    yield key
    for below in key.subkeys():
        if below.name not in SHARED:
            yield from _keys(below)


class Bench:
    """One opened image, in which every example begins anew."""

    def __init__(self, made: Workshop, wim: Wim, folder: Path) -> None:
        self.made, self.wim, self.folder = made, wim, folder
        self.number = 0

    def view(self, sets: list[ChangeSet]) -> ImageView:
        return open_view(self.wim, 1, sets)

    def install(self, sets: list[ChangeSet], spec: PackageSpec) -> tuple[str, ChangeSet] | None:
        self.number += 1
        files = cabinet_files(UpdateSpec(spec, "random.cab"), self.made.bench.root)
        update = unpacked(files, self.folder / f"update-{self.number}")
        outcome = apply(update, self.view(sets), self.made.options)
        if outcome.changes is None:
            return None  # superseded or staged only: nothing to take back
        return outcome.packages[0], outcome.changes

    def remove(self, sets: list[ChangeSet], name: str) -> ChangeSet | None:
        spool = self.folder / f"spool-{self.number}-{len(sets)}"
        outcome = remove([name], self.view(sets), self.made.options, spool)
        if outcome.code in {"shared-value", "shared-file"}:
            return None  # three owners of one place: who had it before the last, nobody can tell
        assert outcome.verdict is Verdict.APPLIED, outcome
        assert outcome.changes is not None
        return outcome.changes


@pytest.fixture
def opened(workshop: Opened, tmp_path: Path, generation: Generation) -> Iterator[Bench]:
    made = workshop(generation=generation)
    with open_wim(made.bench.base) as wim:
        yield Bench(made, wim, tmp_path)


@pytest.mark.parametrize(
    ("generation", "examples"),
    [
        (Generation.WINDOWS_10, 5),
        *(pytest.param(one, 50, marks=pytest.mark.slow) for one in Generation),
    ],
)
def test_removing_in_turn_gives_back_every_state(opened: Bench, examples: int) -> None:
    undone = 0

    @settings(
        max_examples=examples,
        phases=(Phase.explicit, Phase.generate),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(CONTENTS, STACKS)
    def check(contents: Contents, drawn: list[Updates]) -> None:
        nonlocal undone
        sets: list[ChangeSet] = []
        history: list[tuple[str, dict[str, object]]] = []
        for number, updates in enumerate(drawn):
            spec = package(opened.made.maker, contents, number, updates)
            state = facts(opened.view(sets))
            found = opened.install(sets, spec) if spec else None
            if found is not None:
                history.append((found[0], state))
                sets.append(found[1])
        for name, state in reversed(history):
            changes = opened.remove(sets, name)
            if changes is None:
                return
            sets.append(changes)
            after = facts(opened.view(sets))
            assert _different(state, after) == {}
            undone += 1

    check()
    assert undone > examples, "most of what is drawn can be taken back"


def _different(before: dict[str, object], after: dict[str, object]) -> dict[str, object]:
    return {
        name: (before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
