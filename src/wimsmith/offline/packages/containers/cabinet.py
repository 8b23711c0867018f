"""Expanding cabinet files through libarchive, in a child process with limits.

The child writes files named by number into an empty folder, so no name of a stranger ever reaches
this server's file system; names are checked here and kept beside the number.
"""

import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import DamagedPackage, LimitExceeded, WorkerFailed
from wimsmith.offline.packages.containers.cablisting import CabinetEntry, list_cabinet
from wimsmith.offline.packages.limits import DEFAULT_LIMITS, PackageLimits
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.process import CRASHES, OVERRUNS, Completed, Limits, python_module, run

_DAMAGED_STATUS = 3
_MEMORY_STATUS = 4
_WORKER = "wimsmith.offline.packages.containers.cabworker"


@dataclass(frozen=True, slots=True)
class CabinetFile:
    """An expanded file: its name in the cabinet and where its bytes are."""

    name: str
    path: Path
    size_bytes: int
    written: int
    attributes: int


def expand_cabinet(
    cabinet: Path,
    folder: Path,
    *,
    wanted: Collection[str] | None = None,
    limits: PackageLimits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> tuple[CabinetFile, ...]:
    """Expand the files of a cabinet into `folder`, which must not exist yet.

    Every file has the size that the directory of the cabinet states, or nothing is returned.

    Args:
        cabinet: the cabinet.
        folder: gets the files under numbers.
        wanted: names of the only files to write, as in the listing; by default all.
        limits: most that it may ask for.
        progress: told while it is expanded.

    Raises:
        DamagedPackage: not a cabinet, or broken anywhere.
        NotSupported: `not-cbs`, one of a set of cabinets, or compressed as no package is.
        UnsafePath: a name that Windows could not hold or that leaves its folder.
        LimitExceeded: more files, bytes, memory or time than `limits` allow, or than is free.
        WorkerFailed: the child process could not be started or was ended from outside.
        OSError: the cabinet or the folder cannot be used.
    """
    entries = {
        number: entry
        for number, entry in enumerate(list_cabinet(cabinet, limits=limits))
        if wanted is None or entry.name in wanted
    }
    folder.mkdir()
    _check_free_space(entries.values(), folder)
    watcher = _Watcher(entries, folder, progress)
    numbers = b"" if wanted is None else " ".join(map(str, entries)).encode()
    if wanted is None or entries:
        _run_worker(cabinet, folder, numbers, limits, watcher)
    watcher()
    return tuple(_checked(entry, folder / str(number)) for number, entry in entries.items())


def _check_free_space(entries: Iterable[CabinetEntry], folder: Path) -> None:
    needed = sum(entry.size_bytes for entry in entries)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise LimitExceeded(f"the package needs {needed} bytes of disk and {free} are free")


def _run_worker(
    cabinet: Path, folder: Path, numbers: bytes, limits: PackageLimits, watcher: "_Watcher"
) -> None:
    done = run(
        [*python_module(_WORKER), cabinet.absolute(), folder.absolute()],
        cwd=Path("/"),
        stdin=numbers,
        timeout_s=limits.wall_s,
        limits=Limits(
            memory_bytes=limits.memory_bytes,
            cpu_s=limits.cpu_s,
            file_bytes=limits.file_bytes,
            open_files=64,
        ),
        poll=watcher,
        check=False,
    )
    if done.returncode != 0:
        raise _failure(done)


def _failure(done: Completed) -> DamagedPackage | LimitExceeded | WorkerFailed:
    if done.returncode == _DAMAGED_STATUS:
        return DamagedPackage(done.error_text)
    if done.returncode in CRASHES:
        return DamagedPackage("the cabinet reader crashed on it")
    if done.returncode == _MEMORY_STATUS or done.returncode in OVERRUNS:
        return LimitExceeded("expanding the cabinet took too much memory or time")
    return WorkerFailed(f"expanding a cabinet: status {done.returncode} {done.error_text}".rstrip())


class _Watcher:
    """Reports how far the child is by the files it has finished; each next number starts a file."""

    def __init__(
        self, entries: Mapping[int, CabinetEntry], folder: Path, progress: Progress
    ) -> None:
        self._expected = [(folder / str(number), one.size_bytes) for number, one in entries.items()]
        self._progress = progress
        self._finished = 0
        self._done_bytes = 0
        self._total_bytes = sum(size for _path, size in self._expected)

    def __call__(self) -> None:
        while self._finished < len(self._expected) and self._is_finished():
            self._done_bytes += self._expected[self._finished][1]
            self._finished += 1
        self._progress(Event("expand", self._done_bytes, self._total_bytes, "bytes"))

    def _is_finished(self) -> bool:
        path, size_bytes = self._expected[self._finished]
        try:
            return path.stat().st_size == size_bytes
        except FileNotFoundError:
            return False


def _checked(entry: CabinetEntry, path: Path) -> CabinetFile:
    size_bytes = path.stat().st_size if path.is_file() else None
    if size_bytes != entry.size_bytes:
        raise DamagedPackage(f"{entry.name[:200]} is incomplete")
    return CabinetFile(entry.name, path, entry.size_bytes, entry.written, entry.attributes)
