"""Which state each package and update of a file reaches in an image."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from oracle.names import Identity, winners_key
from oracle.package import PackagePart, UpdateFile
from oracle.state import ImageState
from oracle.xmlfacts import Condition, Parent, Update

CBS = r"Microsoft\Windows\CurrentVersion\Component Based Servicing"
WINNERS = r"Microsoft\Windows\CurrentVersion\SideBySide\Winners"
ABSENT, STAGED, SUPERSEDED, INSTALLED = 0, 0x40, 0x50, 0x70
CURRENT_VERSION = r"Microsoft\Windows NT\CurrentVersion"
_FIRST_LIMITED_DISTRIBUTION = 20_000
"""Before Windows 10, revisions from here on were for those who had asked for a fix (LDR)."""


@dataclass(frozen=True, slots=True)
class Target:
    """A package that takes part, with the state of its updates; `hidden` from users or not."""

    part: PackagePart
    state: int
    updates: Mapping[str, int]
    hidden: bool


def targets(update: UpdateFile, image: ImageState) -> tuple[Target, ...]:
    """The top-level package and those below it that are not absent."""
    return tuple(_resolved(update, image, update.top, INSTALLED, hidden=False))


def known_packages(image: ImageState) -> Iterator[tuple[Identity, int]]:
    """Packages that the image knows, with their states."""
    for key in image.subkeys("SOFTWARE", rf"{CBS}\Packages"):
        name, token, architecture, language, version = key.path.rpartition("\\")[2].split("~")
        state = key.values["currentstate"].number
        yield Identity(name, version, architecture, language or "neutral", token), state


def _resolved(
    update: UpdateFile, image: ImageState, part: PackagePart, limit: int, *, hidden: bool
) -> Iterator[Target]:
    parent, applicable = _applicable(image, part.facts.parents)
    state = min(applicable, limit)
    if state == ABSENT:
        return
    states: dict[str, int] = {}
    for change in part.facts.updates:
        states[change.name] = _update_state(image, change, state, parent, states)
    yield Target(part, state, states, hidden)
    for change in part.facts.updates:
        for identity, child_hidden in change.packages:
            child = update.part(identity)
            below = states[change.name]
            yield from _resolved(update, image, child, below, hidden=child_hidden)


def _applicable(image: ImageState, parents: tuple[Parent, ...]) -> tuple[str, int]:
    """Name of the best matching parent, and the state that it allows."""
    best = ("", INSTALLED if not parents else ABSENT)
    five_parts = image.value("SOFTWARE", CURRENT_VERSION, "CurrentMajorVersionNumber") is None
    for identity, state in known_packages(image):
        level = INSTALLED if state >= INSTALLED else STAGED if state >= STAGED else ABSENT
        matches = any(
            _matches(wanted, identity, parent.compare, five_parts=five_parts)
            for parent in parents
            for wanted in parent.identities
        )
        if matches and level > best[1]:
            best = (identity.package_name, level)
    return best


def _matches(
    wanted: Identity, present: Identity, compare: Mapping[str, str], *, five_parts: bool
) -> bool:
    """Whether each part of a version for itself is equal, or not lower.

    Public CBS logs print one result per part (`VersionComp: EQ, BuildComp: GE, RevisionComp: GE`),
    so that a higher build makes up for no lower revision.
    """
    if wanted.package_name.lower().split("~")[:4] != present.package_name.lower().split("~")[:4]:
        return False
    left, right = _parts(wanted.numbers), _parts(present.numbers)
    assert set(compare) <= set(left)
    names = left if five_parts else ("version", "build", "revision")
    rules = {"version": "EQ", **compare}
    return all(
        right[name] == left[name] if rules.get(name) == "EQ" else right[name] >= left[name]
        for name in names
    )


def _parts(numbers: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """A version in the parts that are compared; a service pack raised the build number."""
    return {
        "version": numbers[:2],
        "service": numbers[2:3],
        "build": numbers[2:3],
        "distribution": (_branch_of(numbers),),
        "revision": numbers[3:],
    }


def _branch_of(numbers: tuple[int, ...]) -> int:
    """1 for LDR, 0 for GDR and for Windows 10 and later, which have one branch."""
    return int(numbers[0] < 10 and numbers[3] >= _FIRST_LIMITED_DISTRIBUTION)


def _update_state(
    image: ImageState, update: Update, package: int, parent: str, siblings: Mapping[str, int]
) -> int:
    levels = [_condition(image, one, package, parent, siblings) for one in update.conditions]
    allowed = min(levels, default=INSTALLED)
    if allowed >= package:
        return package
    fallback = STAGED if update.disposition == "staged" else ABSENT
    return min(max(allowed, fallback), package)


def _condition(
    image: ImageState, one: Condition, package: int, parent: str, siblings: Mapping[str, int]
) -> int:
    match one.kind:
        case "parent":
            value = image.value("SOFTWARE", rf"{CBS}\Packages\{parent}\Updates", one.update)
            return value.number if value else ABSENT
        case "self":
            return siblings[one.update]
        case "install":
            return INSTALLED
        case "revision":
            return INSTALLED if any(_older(image, each) for each in one.identities) else ABSENT
    raise AssertionError(f"a condition that the oracle does not know: {one.kind}")


def _older(image: ImageState, identity: Identity) -> bool:
    """Whether the newest lower version of the family is of the same build and branch."""
    family = rf"{WINNERS}\{winners_key(identity)}"
    versions = [
        tuple(map(int, name.split(".")))
        for branch in image.subkeys("SOFTWARE", family)
        for name in branch.values
        if name
    ]
    lower = max((one for one in versions if one < identity.numbers), default=None)
    return lower is not None and _line(lower) == _line(identity.numbers)


def _line(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return (*numbers[:3], _branch_of(numbers))
