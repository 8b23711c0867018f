"""Which state each package and update of a file reaches in an image."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from oracle.names import Identity, winners_key
from oracle.package import PackagePart, UpdateFile
from oracle.state import ImageState
from oracle.xmlfacts import Condition, Parent

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
    """The top-level package and those below it that are not absent.

    A package that several others carry takes part once: as far as any of them takes it, and
    hidden only if all of them hide it.
    """
    found: dict[str, Target] = {}
    before: dict[str, Target] | None = None
    while found != before:  # a package may stand before its parent
        before = dict(found)
        for target in _resolved(update, image, update.top, INSTALLED, found, hidden=False):
            one = found.setdefault(target.part.name, target)
            found[target.part.name] = Target(
                one.part,
                max(one.state, target.state),
                {name: max(state, one.updates[name]) for name, state in target.updates.items()},
                one.hidden and target.hidden,
            )
    return tuple(found.values())


def known_packages(image: ImageState) -> Iterator[tuple[Identity, int]]:
    """Packages that the image knows, with their states."""
    for key in image.subkeys("SOFTWARE", rf"{CBS}\Packages"):
        name, token, architecture, language, version = key.path.rpartition("\\")[2].split("~")
        state = key.values["currentstate"].number
        yield Identity(name, version, architecture, language or "neutral", token), state


def _resolved(
    update: UpdateFile,
    image: ImageState,
    part: PackagePart,
    limit: int,
    found: Mapping[str, Target],
    *,
    hidden: bool,
) -> Iterator[Target]:
    """A package and those below it, once for each that carries it; `found` grows meanwhile."""
    parents, applicable = _applicable(image, part.facts.parents, found)
    state = min(applicable, limit)
    if state == ABSENT:
        return
    followed = _followed(image, parents, found)
    states: dict[str, int] = {}
    for change in part.facts.updates:
        _update_state(image, part, change.name, state, followed, states)
    yield Target(part, state, states, hidden)
    for change in part.facts.updates:
        for identity, child_hidden in change.packages:
            child = update.part(identity)
            below = states[change.name]
            yield from _resolved(update, image, child, below, found, hidden=child_hidden)


def _applicable(
    image: ImageState, parents: tuple[Parent, ...], found: Mapping[str, Target]
) -> tuple[dict[str, int], int]:
    """Matching parents with their levels, in the image or coming along; and the best level."""
    if not parents:
        return {}, INSTALLED
    five_parts = image.value("SOFTWARE", CURRENT_VERSION, "CurrentMajorVersionNumber") is None
    present = [(identity, _level(state)) for identity, state in known_packages(image)]
    present += [(one.part.facts.identity, one.state) for one in found.values()]
    levels: dict[str, int] = {}
    for identity, level in present:
        if any(
            _matches(wanted, identity, parent.compare, five_parts=five_parts)
            for parent in parents
            for wanted in parent.identities
        ):
            levels[identity.package_name] = max(level, levels.get(identity.package_name, 0))
    return levels, max(levels.values(), default=ABSENT)


def _level(state: int) -> int:
    return INSTALLED if state >= INSTALLED else STAGED if state >= STAGED else ABSENT


def _followed(
    image: ImageState, parents: Mapping[str, int], found: Mapping[str, Target]
) -> dict[str, int]:
    """Updates of the parents by name in lower case: the best parent that has one says its state."""
    states: dict[str, int] = {}
    for name in sorted(parents, key=parents.__getitem__):
        own: dict[str, int] = {}
        for key in image.hives["SOFTWARE"].values():
            if key.path.lower() == rf"{CBS}\Packages\{name}\Updates".lower():
                own = {update.lower(): value.number for update, value in key.values.items()}
        if name in found:
            own |= {update.lower(): state for update, state in found[name].updates.items()}
        states |= own
    return states


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
    image: ImageState,
    part: PackagePart,
    name: str,
    package: int,
    followed: Mapping[str, int],
    states: dict[str, int],
) -> int:
    """State of an update of a package that gets as far as `package`; `states` remembers it.

    Families that are looked for are alternatives, as the identities within one element are; every
    update that is followed counts. An update that follows one that is not there is staged.
    """
    if name in states:
        return states[name]
    states[name] = min(STAGED, package)
    change = next(one for one in part.facts.updates if one.name == name)
    names = {one.name for one in part.facts.updates}
    fallback = STAGED if change.disposition == "staged" else ABSENT
    levels = []
    families = [one for one in change.conditions if one.kind not in {"parent", "self"}]
    if families:
        holds = any(_holds(image, one) for one in families)
        levels.append(INSTALLED if holds else fallback)
    for one in change.conditions:
        level = STAGED
        if one.kind == "parent" and one.update.lower() in followed:
            level = max(_level(followed[one.update.lower()]), fallback)
        elif one.kind == "self" and one.update in names:
            other = _update_state(image, part, one.update, package, followed, states)
            level = max(_level(other), fallback)
        if one.kind in {"parent", "self"}:
            levels.append(level)
    states[name] = min([package, *levels])
    return states[name]


def _holds(image: ImageState, one: Condition) -> bool:
    match one.kind:
        case "install":
            return True
        case "revision":
            return any(_older(image, each) for each in one.identities)
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
