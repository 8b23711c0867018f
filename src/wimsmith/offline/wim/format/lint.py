"""Names in an image that Windows or this program cannot use, although the format can hold them."""

from dataclasses import dataclass, field
from enum import StrEnum

from wimsmith.errors import UnsafePath
from wimsmith.offline import paths
from wimsmith.offline.wim.format.tree import Entry, Tree, is_safe_name

MAX_LISTED = 1000
"""So many are told with their paths; all are counted."""
_MAX_SHOWN = 1000
_MAX_PATH = paths.MAX_PATH_CHARACTERS


class NameFault(StrEnum):
    """What is wrong with a name; the worst that applies."""

    LEADS_ELSEWHERE = "means another place, or has a separator in it"
    TWIN = "differs from another name in its folder by case alone"
    LONG_PATH = "has a path that is longer than Windows can use"
    UNUSABLE = "is a device, ends in a dot or space, is too long, or has characters Windows refuses"


@dataclass(frozen=True, slots=True)
class UnusableName:
    """One entry with such a name. `path` is for reading only: it may not mean what it says."""

    index: int
    path: str
    fault: NameFault


@dataclass(slots=True)
class NameFindings:
    """Entries whose names cannot be used: how many, and the first of them."""

    count: int = 0
    first: list[UnusableName] = field(default_factory=list)

    def look_at(self, tree: Tree, index: int) -> None:
        """Add what image `index` has; of folders with too long a path only the topmost."""
        pending = [(tree.root, 0)]
        while pending:
            folder, above = pending.pop()
            for key, entry in (folder.children or {}).items():
                length = above + bool(above) + len(entry.name)
                fault = _fault(entry, key, is_too_long=above <= _MAX_PATH < length)
                if fault is not None:
                    self._add(index, entry, fault)
                pending.append((entry, length))

    def _add(self, index: int, entry: Entry, fault: NameFault) -> None:
        self.count += 1
        if len(self.first) < MAX_LISTED:
            self.first.append(UnusableName(index, shown_path(entry)[:_MAX_SHOWN], fault))


def shown_path(entry: Entry) -> str:
    """Path for people, also where a hostile name makes it unusable for anything else."""
    names: list[str] = []
    at: Entry | None = entry
    while at is not None and at.parent is not None:
        names.append(at.name)
        at = at.parent
    return "/".join(reversed(names))


def _fault(entry: Entry, key: str, *, is_too_long: bool) -> NameFault | None:
    if not is_safe_name(entry.name):
        return NameFault.LEADS_ELSEWHERE
    if key != paths.fold(entry.name):
        return NameFault.TWIN
    if is_too_long:
        return NameFault.LONG_PATH
    try:
        paths.check_name(entry.name)
    except UnsafePath:
        return NameFault.UNUSABLE
    return None
