"""Planning a run: 5,000 updates against one index of 3,500 packages and 15,000 families.

The updates are of a kind to make planning work: chains of parents, versions of one name, children
per language, a condition each; half of them do not apply. No peer plans without Windows.
"""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.rows import Row, measure
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.manifests.package import (
    Applicable,
    ChildPackage,
    PackageManifest,
    Parent,
    Update,
    UpdateComponent,
)
from wimsmith.offline.planning.description import UpdateDescription
from wimsmith.offline.planning.order import Chosen
from wimsmith.offline.planning.plan import plan
from wimsmith.offline.planning.snapshot import Snapshot, pack, unpack
from wimsmith.offline.planning.state import Image

_TOKEN = "31bf3856ad364e35"
_COUNTS = (1_250, 2_500, 5_000)
_PACKAGES, _FAMILIES, _LANGUAGES = 3_500, 15_000, 6
_BUILD = Version(10, 0, 19041, 1)


def run(work: Path) -> list[Row]:
    """One row per number of updates, and one for reading a snapshot from where it is kept."""
    del work
    state = image_state()
    packed = pack(state.as_data())
    rows = [
        measure(
            f"read a snapshot of {len(packed) >> 10} KiB",
            lambda: len(Snapshot.from_data(unpack(packed)).packages),
        )
    ]
    for count in _COUNTS:
        chosen = list(updates(count))
        rows.append(measure(f"plan {count} updates", partial(_plan, state, chosen)))
    return rows


def _plan(state: Snapshot, chosen: list[Chosen]) -> int:
    return len(plan(state, chosen).steps)


def image_state() -> Snapshot:
    """An index as large as one of a Windows 11."""
    chance = random.Random(1)
    return Snapshot(
        image=Image(
            *(10, 0, 19041, "amd64", r"C:\Windows", "Windows", "ControlSet001", ("en-US",)),
            revision=1,
            base_build=19041,
            editions=("Professional",),
            installation_type="Client",
        ),
        packages={
            _package(f"Inbox-{number}", _BUILD).package_name: chance.choice((0x40, 0x70))
            for number in range(_PACKAGES)
        },
        updates={},
        families={f"{chance.getrandbits(64):016x}": "10.0.19041.1" for _ in range(_FAMILIES)},
        stack=_BUILD,
    )


def updates(count: int) -> Iterator[Chosen]:
    """Updates that need each other, supersede each other, or belong elsewhere."""
    chance = random.Random(2)
    for key in range(count):
        version = Version(1, 0, key % 4, key % 100)
        top = _package(f"Package_for_KB{key // 4}", version)
        parents = [_package(f"Inbox-{chance.randrange(2 * _PACKAGES)}", _BUILD) for _ in range(8)]
        if key >= 8 and chance.random() < 0.5:
            earlier = chance.randrange(key // 4)
            parents = [_package(f"Package_for_KB{earlier}", Version(1, 0, 0, 0))]
        children = [
            PackageManifest(
                _package(f"{top.name}-MiniLP", version, language),
                parents=(Parent((_package("LP", _BUILD, language),)),),
                updates=(Update("one", components=(_component(f"L{key}", version),)),),
            )
            for language in ("de-DE", "fr-FR", "it-IT", "ja-JP", "ko-KR", "zh-CN")[:_LANGUAGES]
        ]
        condition = UpdateComponent("revision", (_component(f"F{key}", version),))
        own = Update(
            "one",
            components=(_component(f"D{key}", version),),
            packages=tuple(ChildPackage(one.identity, "hidden") for one in children),
            applicable=Applicable("staged", (condition,)),
        )
        manifest = PackageManifest(top, parents=(Parent(tuple(parents)),), updates=(own,))
        packages = {one.identity.package_name.lower(): one for one in (manifest, *children)}
        installs = {keyform(own.components[0]): (_component(f"C{key}", version),)}
        yield Chosen(key, UpdateDescription(manifest, packages, installs))


def _package(name: str, version: Version, language: str = "neutral") -> AssemblyIdentity:
    return AssemblyIdentity(name, version, "amd64", language, _TOKEN)


def _component(name: str, version: Version) -> AssemblyIdentity:
    return AssemblyIdentity(name, version, "amd64", "neutral", _TOKEN, "nonSxS")
