"""What is done to a store at random, and the packages that come for it."""

import random
from collections.abc import Iterator
from dataclasses import replace

from wimsmith.practice.baseline import GAMES_FEATURE
from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import Identity
from wimsmith.practice.spec import (
    Applicable,
    ComponentSpec,
    DeploymentSpec,
    DirectorySpec,
    FileSpec,
    KeySpec,
    PackageSpec,
    UpdateEntry,
    ValueSpec,
)

FAMILIES = ("Disk", "Net", "Text", "Side")
GDR, LDR = 300, 22_000
FEATURES = ("Practice-Games", "Practice-Printing")
RULES = ("", "", "hotfix", "install", "revision", "branches", "branches")
SHAPES = ("", "", "child", "children", "feature")
Step = tuple[str, tuple[object, ...]]
Members = list[tuple[str, str]]


class Dice:
    """Draws what is done next; the same seed gives the same sequence."""

    def __init__(self, seed: int) -> None:
        """Throw."""
        self._random = random.Random(seed)

    def steps(self, count: int) -> Iterator[Step]:
        """What is done: its name, and what it is done with."""
        for _ in range(count):
            kind = self._random.choices(("apply", "remove", "switch", "clean"), (8, 4, 2, 1))[0]
            yield kind, getattr(self, f"_{kind}")()

    def _apply(self) -> tuple[object, ...]:
        families = self._random.sample(FAMILIES, self._random.randint(1, 3))
        members = [(family, self._random.choice(RULES)) for family in families]
        shape = self._random.choice(SHAPES)
        return self._random.choice("XYZ"), self._random.randint(1, 6), members, shape

    def _remove(self) -> tuple[object, ...]:
        return (self._random.randint(0, 9),)

    def _switch(self) -> tuple[object, ...]:
        return self._random.choice(FEATURES), self._random.choice([True, False])

    def _clean(self) -> tuple[object, ...]:
        return (self._random.choice([False, False, True]),)


def package(maker: Maker, name: str, step: int, members: Members, shape: str) -> PackageSpec:
    """A package of one of a few names: plain, in one or two carriers, or following a feature."""
    entries = tuple(_entries(maker, name, step, members))
    article, version = f"KB520000{name}", f"{step}.0.0.0"
    if shape == "feature":
        first = replace(
            entries[0],
            name=GAMES_FEATURE,
            applicable=Applicable("staged", follow_parent=GAMES_FEATURE),
        )
        parents = (maker.parent("Practice-Optional-Package"),)
        return maker.package(article, version, first, *entries[1:], parents=parents)
    if not shape:
        return maker.package(article, version, *entries)
    inner = UpdateEntry(
        "inner", child=maker.package(f"{article}_RTM", version, *entries, visible=False)
    )
    if shape == "child":
        return maker.package(article, version, inner)
    between = maker.package(f"{article}_SP", version, inner, visible=False)
    return maker.package(article, version, inner, UpdateEntry("between", child=between))


def _entries(maker: Maker, name: str, step: int, members: Members) -> Iterator[UpdateEntry]:
    for family, rule in members:
        where = f"Practice-{name}-{family}-{step}"
        if rule == "hotfix":
            yield _entry(family, _deployment(maker, where, family, step, LDR), "")
            continue
        if rule != "branches":
            yield _entry(family, _deployment(maker, where, family, step, GDR), rule)
            continue
        yield _entry(f"{family}-ldr", _deployment(maker, where, family, step, LDR), "revision")
        yield _entry(f"{family}-gdr", _deployment(maker, where, family, step, GDR), "install")


def _entry(name: str, deployment: DeploymentSpec, rule: str) -> UpdateEntry:
    identities = tuple(one.identity for one in deployment.components)
    applicable = Applicable("staged", elevate=((rule, identities),)) if rule else None
    return UpdateEntry(name, deployment, applicable=applicable)


def _deployment(maker: Maker, where: str, family: str, step: int, branch: int) -> DeploymentSpec:
    """A component and, every other step, its 32-bit twin in a deployment of its own."""
    own = _component(maker, family, step, branch, "amd64")
    made = maker.deployment(f"{where}-{branch}", branch + step, own)
    if step % 2:
        return made
    twin = _component(maker, family, step, branch, "wow64")
    identity = replace(made.identity, architecture="wow64")
    return replace(made, nested=(DeploymentSpec(identity, (twin,)),))


def _component(
    maker: Maker, family: str, step: int, branch: int, architecture: str
) -> ComponentSpec:
    """A component whose files, values and folders differ from version to version.

    `Disk` has copies for starting Windows, `Side` may be there in several versions, and the last
    steps of `Text` are of another major.minor.
    """
    who = f"{family} {branch + step} {architecture}"
    system, own = "$(runtime.system32)\\", f"$(runtime.programFiles)\\Sequence {family}\\"
    files = [FileSpec(f"{family}.dll", program(who, 3000), system, links=(f"{own}{family}.dll",))]
    if step % 2:
        files.append(FileSpec("odd.dll", program(f"{who} odd", 2000), own))
    if step > 2:
        files.append(FileSpec("payload.bin", program(f"{who} payload", 1500), None))
    key = f"HKEY_LOCAL_MACHINE\\SOFTWARE\\Practice\\Sequence\\{family}"
    values = (
        ValueSpec("Version", "REG_SZ", who),
        ValueSpec(f"Only{step}", "REG_DWORD", f"0x{step:08x}"),
        ValueSpec("Kept", "REG_SZ", who, mutable=True),
    )
    version = maker.version(branch + step)
    if family == "Text" and step > 4:
        major, minor, *rest = version.split(".")
        version = ".".join([major, str(int(minor) + 1), *rest])
    identity = Identity(f"Practice-Sequence-{family}", version, architecture)
    if family == "Side":
        identity = replace(identity, version_scope="", type="win32")
        return ComponentSpec(
            identity, tuple(replace(one, destination=None, links=()) for one in files)
        )
    return ComponentSpec(
        identity,
        tuple(files),
        (KeySpec(key, values), KeySpec(f"{key}\\{branch + step}")),
        (DirectorySpec(own), DirectorySpec(f"{own}{step}")),
        memberships=("SingleInstanceFiles", *(["BootRecovery"] if family == "Disk" else [])),
    )
