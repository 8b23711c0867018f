"""The folder of one run: `<servicing drive>/ConfigMgr_OfflineImageServicing/<run id>/`.

    updates/ID-NAME.cab     link to the update in the library
    changes/NN-ID/          change set of update ID on index NN, saved whole or not at all
    expanded/               scratch of the update that is being applied
    out.wim                 the new image
    facts.json              what was found in it

The base image is read in place. Each file belongs to one step, which makes it anew when repeated.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from wimsmith.errors import NotEnoughSpace
from wimsmith.storage.files import free_bytes


@dataclass(frozen=True, slots=True)
class Workspace:
    """Paths of the workspace of one run."""

    folder: Path

    @classmethod
    def of(cls, folder: str) -> Self:
        return cls(Path(folder))

    @property
    def updates(self) -> Path:
        return self.folder / "updates"

    @property
    def expanded(self) -> Path:
        return self.folder / "expanded"

    @property
    def out(self) -> Path:
        return self.folder / "out.wim"

    @property
    def facts(self) -> Path:
        return self.folder / "facts.json"

    def changes(self, index_number: int, place: int) -> Path:
        """Folder of the change set of the update at `place` on an index."""
        return self.folder / "changes" / f"{index_number:02d}-{place:04d}"

    def update(self, update_id: int, file_name: str) -> Path:
        """The update as a file with the name it came with, which tells its kind."""
        return self.updates / f"{update_id}-{file_name}"

    def make(self) -> None:
        for folder in (self.updates, self.folder / "changes"):
            folder.mkdir(parents=True, exist_ok=True)

    def fresh_expanded(self) -> Path:
        """An empty scratch folder."""
        shutil.rmtree(self.expanded, ignore_errors=True)
        self.expanded.mkdir(parents=True)
        return self.expanded

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def check_space(needs: Iterable[tuple[Path, int, str]]) -> None:
    """Refuse before the first byte is written what would not fit.

    Args:
        needs: Folder, bytes that will be written there, and what for; folders on one filesystem
            are added up.

    Raises:
        NotEnoughSpace: with the needed and the free bytes of every filesystem that is too small.
    """
    wanted: dict[int, tuple[Path, int, list[str]]] = {}
    for folder, size_bytes, text in needs:
        device = folder.stat().st_dev
        _, total, texts = wanted.get(device, (folder, 0, []))
        wanted[device] = (folder, total + size_bytes, [*texts, text])
    short = [
        f"{folder} ({' and '.join(texts)}): {size_bytes} bytes are needed, {free} are free"
        for folder, size_bytes, texts in wanted.values()
        if (free := free_bytes(folder)) < size_bytes
    ]
    if short:
        raise NotEnoughSpace("; ".join(short), hint="Free some space, or set servicing_drive.")


def sweep(folder: Path, alive: set[str]) -> list[str]:
    """Remove workspaces of runs, imports and conversions that are over; returns their names."""
    if not folder.is_dir():
        return []
    left = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in alive)
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in left]
