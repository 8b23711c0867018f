"""Files in a container that is looked into without expanding all of it: cabinets and WIM files."""

from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from wimsmith.errors import DamagedPackage, LimitExceeded, UnsafePath
from wimsmith.offline.packages.containers.cabinet import CabinetFile, expand_cabinet
from wimsmith.offline.packages.containers.cablisting import MAGIC, list_cabinet
from wimsmith.offline.packages.containers.kinds import WIM_MAGIC
from wimsmith.offline.packages.limits import PackageLimits
from wimsmith.offline.progress import Progress
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.format.tree import Entry
from wimsmith.offline.wim.workers.worker import WorkerCodec

_MAX_ENTRIES = 200_000


class Shelf(Protocol):
    """Files by name; a context manager."""

    sizes: Mapping[str, int]

    def __enter__(self) -> Self:
        """Files can be fetched until the block is left."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the container."""

    def fetch(self, names: Collection[str], folder: Path) -> tuple[CabinetFile, ...]:
        """Write some of the files into a new folder, under numbers."""


def open_shelf(path: Path, limits: PackageLimits, progress: Progress) -> Shelf:
    """Look into a cabinet, or into the first image of a WIM file.

    Raises:
        DamagedPackage: neither, or its directory is broken.
        DamagedWim, NotSupported, LimitExceeded: the WIM file cannot be read.
    """
    with path.open("rb") as file:
        magic = file.read(len(WIM_MAGIC))
    if magic.startswith(MAGIC):
        return _CabinetShelf(path, limits, progress)
    if magic == WIM_MAGIC:
        return _WimShelf(path, limits)
    raise DamagedPackage("neither a cabinet nor a WIM file")


class _CabinetShelf:
    def __init__(self, path: Path, limits: PackageLimits, progress: Progress) -> None:
        self._path = path
        self._limits = limits
        self._progress = progress
        self.sizes: Mapping[str, int] = {
            one.name: one.size_bytes for one in list_cabinet(path, limits=limits)
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is open."""

    def fetch(self, names: Collection[str], folder: Path) -> tuple[CabinetFile, ...]:
        return expand_cabinet(
            self._path, folder, wanted=names, limits=self._limits, progress=self._progress
        )


class _WimShelf:
    """The first image of a WIM file."""

    def __init__(self, path: Path, limits: PackageLimits) -> None:
        self._limits = limits
        self._codec = WorkerCodec()
        self._wim = open_wim(path, self._codec)
        try:
            self._entries = _files(self._wim)
        except BaseException:
            self._close()
            raise
        self.sizes: Mapping[str, int] = {
            name: self._wim.size_of(entry.inode.sha1)
            for name, entry in self._entries.items()
            if entry.inode.sha1 in self._wim.blobs or not any(entry.inode.sha1)
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def fetch(self, names: Collection[str], folder: Path) -> tuple[CabinetFile, ...]:
        folder.mkdir()
        found = []
        for number, name in enumerate(sorted(names)):
            entry, path = self._entries[name], folder / str(number)
            size_bytes = self.sizes[name]
            if size_bytes > self._limits.file_bytes:
                raise LimitExceeded(f"{name[:200]} has {size_bytes} bytes")
            with path.open("xb") as file:
                file.writelines(self._wim.open_blob(entry.inode.sha1))
            inode = entry.inode
            found.append(CabinetFile(name, path, size_bytes, inode.written, inode.attributes))
        return tuple(found)

    def _close(self) -> None:
        self._wim.close()
        self._codec.close()


def _files(wim: Wim) -> dict[str, Entry]:
    """Files of the first image by path; those with unusable names are left out."""
    found: dict[str, Entry] = {}
    for entry in wim.tree(1).walk():
        if entry.is_directory or entry.inode.reparse is not None:
            continue
        if len(found) >= _MAX_ENTRIES:
            raise LimitExceeded(f"a container of more than {_MAX_ENTRIES} files")
        try:
            found[entry.path] = entry
        except UnsafePath:
            continue
    return found
