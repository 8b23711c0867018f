"""What two components of one update both claim: which of them Windows lets win is not known.

Components of different families may name the same file or the same value. Where both mean the
same bytes nothing depends on the order; where they do not, the update is refused rather than
decided by chance. Within one component the value that stands later in its manifest counts.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from wimsmith.errors import NotSupported
from wimsmith.offline.paths import fold

if TYPE_CHECKING:
    from wimsmith.offline.components.install.writing import PlannedComponent


def check_conflicts(winning: Iterable["PlannedComponent"]) -> None:
    """Compare what all components that win are about to write outside the store.

    Raises:
        NotSupported: `ambiguous:destination` or `ambiguous:value`.
    """
    files: dict[str, tuple[bytes, str]] = {}
    values: dict[tuple[str, str, str], tuple[tuple[int, bytes], str]] = {}
    for planned in winning:
        key = planned.component.key
        for file in planned.files.files:
            for link in file.links:
                digest, owner = files.setdefault(fold(link), (file.digest.digest, key))
                if digest != file.digest.digest:
                    raise _ambiguous("destination", link, owner, key)
        for written in planned.registry:
            for one in written.values:
                place = (written.hive, fold(written.path), fold(one.value.name))
                said = (one.value.type, one.value.data)
                known, owner = values.get(place, (said, key))
                if known != said and owner != key:
                    where = f"{written.hive}\\{written.path}, value {one.value.name!r}"
                    raise _ambiguous("value", where, owner, key)
                values[place] = (said, key)


def _ambiguous(kind: str, where: str, one: str, other: str) -> NotSupported:
    claimed = f"{other} claims it twice" if one == other else f"{one} and {other} both claim it"
    return NotSupported(f"ambiguous:{kind}", f"{where}: {claimed} and differ")
