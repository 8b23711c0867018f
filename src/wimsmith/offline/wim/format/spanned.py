"""Finding the parts of a split set: files with one GUID, each with its number and their total.

`imagex` and wimlib call them NAME.swm, NAME2.swm, NAME3.swm. A part that was renamed is found by
its GUID among the files of that kind in the folder.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from wimsmith.errors import DamagedWim, InvalidInput, LimitExceeded, NotSupported
from wimsmith.offline.wim.format import remedies
from wimsmith.offline.wim.format.opened import WimFile

MAX_PARTS = 512
"""Each is an open file."""
MAX_SCANNED = 4096
"""Files of a folder that are opened in search of renamed parts."""
_MAX_SHOWN = 10


class PartFinder:
    """Collects the open files of the set that one file is a part of."""

    def __init__(self, first: WimFile, opener: Callable[[Path], WimFile]) -> None:
        if first.header.total_parts > MAX_PARTS:
            raise LimitExceeded(
                f"{first.path} is one of {first.header.total_parts} parts, more than {MAX_PARTS}"
            )
        self._first = first
        self._open = opener
        self._faults: dict[int, str] = {}
        self.parts = {first.header.part_number: first}

    def offer(self, file: WimFile) -> bool:
        """Take an open file if it is a part that was not there yet.

        Raises:
            DamagedWim: a part of this set that counts its parts otherwise.
        """
        header, total = file.header, self._first.header.total_parts
        if not header.is_spanned or header.guid != self._first.header.guid:
            return False
        if header.total_parts != total:
            raise DamagedWim(
                f"{self._first.path} is of {total} parts, {file.path} of {header.total_parts}"
            )
        return self.parts.setdefault(header.part_number, file) is file

    def search(self) -> None:
        """Look for what is missing: by its name, then by its GUID among the files beside."""
        for number in self.missing:
            self._try(self._path_of(number), number)
        if self.missing:
            for path in _beside(self._first.path):
                self._try(path)

    @property
    def missing(self) -> list[int]:
        """Numbers of the parts that were not found."""
        every = range(1, self._first.header.total_parts + 1)
        return [number for number in every if number not in self.parts]

    def refuse_missing(self) -> None:
        """Return if no part is missing.

        Raises:
            NotSupported: the names and numbers of those that are.
        """
        missing = self.missing
        if not missing:
            return
        header = self._first.header
        names = [
            f"{number} ({self._faults.get(number, self._path_of(number).name)})"
            for number in missing[:_MAX_SHOWN]
        ]
        more = f" and {len(missing) - _MAX_SHOWN} more" if len(missing) > _MAX_SHOWN else ""
        raise NotSupported(
            "split-set",
            f"part {header.part_number} of a split set of {header.total_parts} files;"
            f" missing beside it: {', '.join(names)}{more}",
            hint=remedies.JOIN,
        )

    def _path_of(self, number: int) -> Path:
        """Path that part `number` is expected to have."""
        return part_path(self._first.path, self._first.header.part_number, number)

    def _try(self, path: Path, number: int | None = None) -> None:
        """Look at a file that may be a part; one with the name of part `number` should be."""
        try:
            file = self._open(path)
        except (OSError, DamagedWim, NotSupported, InvalidInput) as error:
            if number is not None and not isinstance(error, FileNotFoundError):
                self._faults[number] = f"{path.name}, which cannot be used: {error}"
            return
        if not self.offer(file):
            file.close()


def part_path(path: Path, number: int, wanted: int) -> Path:
    """Path of part `wanted`, made from that of part `number`.

    Part 1 has no number in its name: NAME.swm, NAME2.swm, NAME3.swm.
    """
    stem = path.stem
    if number > 1:
        stem = stem.removesuffix(str(number))
    return path.with_name(f"{stem}{wanted if wanted > 1 else ''}{path.suffix}")


def _beside(path: Path) -> Iterator[Path]:
    """Files in the same folder with the same suffix, in order."""
    suffix = path.suffix.lower()
    with os.scandir(path.parent) as entries:
        names: Sequence[str] = [
            entry.name
            for entry in entries
            if entry.name.lower().endswith(suffix) and entry.is_file()
        ]
    numbered = sorted(names, key=_natural)
    yield from (path.with_name(name) for name in numbered[:MAX_SCANNED])


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts part2 before part10."""
    pieces = re.split(r"(\d+)", name)
    return [(int(piece), "") if piece.isdecimal() else (0, piece) for piece in pieces]
