"""What an update would likely do to an index, judged from stored facts alone.

The engine judges again, with the files, when the update is applied; this list is what can be
chosen from. A parent counts as there when a package of its name and build is
installed, whatever its revision.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from wimsmith.offline.facts import PackageState
from wimsmith.offline.verdicts import UpdateStatus, Verdict, status, word
from wimsmith.servicing.rules import Candidate

APPLICABLE = "applicable"


@dataclass(frozen=True, slots=True)
class Identity:
    """Parts of `name~token~architecture~language~version` that are compared, folded."""

    family: str
    architecture: str
    version: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> Self:
        parts = (text.lower().split("~") + [""] * 5)[:5]
        version = tuple(int(part) for part in parts[4].split(".") if part.isdecimal())
        return cls("~".join(parts[:4]), parts[2], version)


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index: its architecture, and the identities of installed packages."""

    number: int
    architecture: str
    installed: MappingProxyType[str, frozenset[tuple[int, ...]]]

    @classmethod
    def of(cls, number: int, architecture: str, packages: Iterable[tuple[str, int]]) -> Self:
        found: dict[str, set[tuple[int, ...]]] = {}
        for text, state in packages:
            if state >= PackageState.INSTALLED:
                one = Identity.of(text)
                found.setdefault(one.family, set()).add(one.version)
        frozen = {family: frozenset(versions) for family, versions in found.items()}
        return cls(number, architecture, MappingProxyType(frozen))


@dataclass(frozen=True, slots=True)
class Likely:
    """What would likely become of an update on an index."""

    index: int
    likely: str
    status: int
    word: str
    code: str = ""
    text: str = ""


def judge(update: Candidate, index: IndexState) -> Likely:
    """The first verdict that holds, in the order of the table of verdicts."""
    if update.refused is Verdict.FAILED:
        return _likely(index, Verdict.FAILED, update.code, update.text)
    own = Identity.of(update.identity)
    if own.architecture and index.architecture and own.architecture != index.architecture:
        text = f"the update is for {own.architecture}, the index is {index.architecture}"
        return _likely(index, Verdict.NOT_APPLICABLE, "arch", text)
    present = index.installed.get(own.family, frozenset())
    if own.version in present:
        return _likely(index, Verdict.INSTALLED)
    if present and max(present) > own.version:
        return _likely(index, Verdict.SUPERSEDED)
    if update.refused is not None:
        return _likely(index, update.refused, update.code, update.text)
    for group in update.parents:
        missing = _missing_parent(group, index)
        if missing is not None:
            return missing
    return Likely(index.number, APPLICABLE, UpdateStatus.APPLICABLE, "Applicable")


def _missing_parent(group: Sequence[str], index: IndexState) -> Likely | None:
    wanted = [Identity.of(parent) for parent in group]
    there = [(one, index.installed.get(one.family, frozenset())) for one in wanted]
    if any(one.version[:3] == version[:3] for one, versions in there for version in versions):
        return None
    if any(versions for _, versions in there):
        return _likely(index, Verdict.NOT_APPLICABLE, "build", f"{group[0]} is of another build")
    return _likely(index, Verdict.PREREQUISITE_MISSING, "parent", group[0])


def _likely(index: IndexState, verdict: Verdict, code: str = "", text: str = "") -> Likely:
    about = text if verdict is Verdict.PREREQUISITE_MISSING else ""
    return Likely(
        index.number, verdict, int(status(verdict, code)), word(verdict, about), code, text
    )
