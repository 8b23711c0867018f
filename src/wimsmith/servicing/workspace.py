"""The folder of one run: `<servicing drive>/ConfigMgr_OfflineImageServicing/<run id>/`.

    updates/ID-NAME.cab     link to the update in the library
    changes/NN-NAME/        what step NAME changes on index NN, saved whole or not at all
    work/                   scratch of the backend
    out.wim                 the new image
    exported.wim            the same without what no index needs, after a clean-up
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
    def work(self) -> Path:
        """For what the backend needs meanwhile."""
        return self.folder / "work"

    @property
    def out(self) -> Path:
        return self.folder / "out.wim"

    @property
    def exported(self) -> Path:
        return self.folder / "exported.wim"

    @property
    def facts(self) -> Path:
        return self.folder / "facts.json"

    def made(self, name: str) -> Path:
        """A file that a step has made, by the name that the step told."""
        return self.folder / Path(name).name

    def changes(self, index_number: int, name: str) -> Path:
        """Folder of what the step called `name` changes on an index."""
        return self.folder / "changes" / f"{index_number:02d}-{name}"

    def fresh_changes(self, index_number: int, name: str) -> Path:
        """The same, without what an earlier attempt left there."""
        folder = self.changes(index_number, name)
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def update(self, update_id: int, file_name: str) -> Path:
        """The update as a file with the name it came with, which tells its kind."""
        return self.updates / f"{update_id}-{file_name}"

    def make(self) -> None:
        for folder in (self.updates, self.folder / "changes"):
            folder.mkdir(parents=True, exist_ok=True)

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
