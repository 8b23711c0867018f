"""Expanding a cabinet whose files stand in a container index: members, copies and deltas.

The cabinet holds numbered members; the index says which file is a member as it is, which is an
identical copy of another file, and which is made by a delta from another file. Every member that
is used has the digest the index states before it is used, every file after it is made.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import DamagedPackage, LimitExceeded, NotSupported
from wimsmith.offline import paths
from wimsmith.offline.packages.containers.cabinet import CabinetFile
from wimsmith.offline.packages.containers.containerindex import (
    ContainerIndex,
    IndexedFile,
    IndexHash,
    Recipe,
    Source,
    SourceKind,
    ordered,
)
from wimsmith.offline.packages.deltas.batch import DeltaJob, expand_deltas
from wimsmith.offline.packages.limits import DEFAULT_LIMITS, PackageLimits
from wimsmith.offline.progress import Event, Progress, silent

_COPY_BYTES = 1 << 20
_DELTAS = frozenset({SourceKind.PA30, SourceKind.PA19})


@dataclass(frozen=True, slots=True)
class IndexSummary:
    """How the files of a container index are stored: numbers of files."""

    files: int
    members: int
    copies: int
    deltas: Mapping[str, int]


def expand_index(
    index: ContainerIndex,
    members: Mapping[str, CabinetFile],
    folder: Path,
    *,
    limits: PackageLimits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> dict[str, CabinetFile]:
    """Make all files of an index.

    Members that are a file as they are, and copies, are not written again: several files may have
    one path. What is made by deltas is written into `folder` under the ids of the index.

    Args:
        index: the index; its own limits have been checked.
        members: files of the expanded cabinet by folded name.
        folder: a new folder.
        limits: most that it may ask for.
        progress: told while files are made and checked.

    Returns:
        The files by folded name.

    Raises:
        DamagedPackage: a member is missing, a digest is wrong, or files are made in a circle.
        DamagedDelta: a delta is broken, or does not fit its basis.
        NotSupported: `delta-kind`, `delta-arch` or `delta-managed`.
        LimitExceeded: more bytes, memory or time than `limits` allow, or than is free.
        WorkerFailed: the child process could not be started or was ended from outside.
    """
    recipes = {file.id: _recipe(file) for file in index.files}
    bases = {number: one.basis for number, one in recipes.items() if one.basis is not None}
    files = list(ordered(index.files, bases))
    folder.mkdir()
    _check_space(index, members, recipes, folder, limits)
    workshop = _Workshop(members, folder)
    jobs = [job for file in files if (job := workshop.plan(file, recipes[file.id])) is not None]
    expand_deltas(jobs, folder, limits=limits, progress=progress)
    for done, file in enumerate(files, 1):
        workshop.check(file)
        progress(Event("check", done, len(files), "files"))
    return {paths.fold(file.name): workshop.result(file) for file in index.files}


def summarize(index: ContainerIndex) -> IndexSummary:
    """How many files are members, copies or made by deltas, as `expand_index` would make them."""
    recipes = [_recipe(file) for file in index.files]
    kinds = Counter(one.source.kind for one in recipes if one.source is not None)
    raw = kinds.pop(SourceKind.RAW, 0)
    copies = sum(one.source is None for one in recipes)
    return IndexSummary(len(recipes), raw, copies, {kind.value: kinds[kind] for kind in kinds})


def _recipe(file: IndexedFile) -> Recipe:
    """The way to make a file that costs least of those that are known.

    Raises:
        NotSupported: `express` or `delta-kind`, there is none.
    """
    inside = [one for one in file.recipes if not one.is_outside]
    if not inside:
        text = f"{file.name[:200]} is made from a file that the package does not hold"
        raise NotSupported("express", text)
    known = [one for one in inside if one.source is None or one.source.kind in _COSTS]
    if not known:
        kinds = ", ".join(sorted({one.source.kind for one in inside if one.source}))
        raise NotSupported("delta-kind", f"{file.name[:200]} is stored as {kinds}")
    return min(known, key=lambda one: 0 if one.source is None else _COSTS[one.source.kind])


_COSTS = {SourceKind.RAW: 0, SourceKind.PA30: 1, SourceKind.PA19: 2}


class _Workshop:
    """Where each file comes from and where its bytes are, while the index is expanded."""

    def __init__(self, members: Mapping[str, CabinetFile], folder: Path) -> None:
        self._members = members
        self._folder = folder
        self._paths: dict[int, Path] = {}
        self._checked: dict[tuple[Path, str], tuple[int, bytes]] = {}

    def plan(self, file: IndexedFile, recipe: Recipe) -> DeltaJob | None:
        """Note where the file will be; return the delta that makes it, if one does."""
        basis = None if recipe.basis is None else self._paths[recipe.basis]
        source = recipe.source
        if source is None:
            assert basis is not None
            self._paths[file.id] = basis
            return None
        member = self._member(file, source)
        if source.kind not in _DELTAS:
            self._paths[file.id] = member.path
            return None
        target = self._folder / str(file.id)
        self._paths[file.id] = target
        return DeltaJob(
            file.name, member.path, basis, target, file.size_bytes, proved_elsewhere=True
        )

    def check(self, file: IndexedFile) -> None:
        """Refuse a file that has not the size and digest of the index."""
        self._compare(self._paths[file.id], file.hash, file.size_bytes, file.name)

    def result(self, file: IndexedFile) -> CabinetFile:
        path = self._paths[file.id]
        return CabinetFile(file.name, path, file.size_bytes, file.written, file.attributes)

    def _member(self, file: IndexedFile, source: Source) -> CabinetFile:
        member = self._members.get(paths.fold(source.member))
        if member is None:
            raise DamagedPackage(f"{file.name[:200]}: there is no member {source.member[:200]!r}")
        if source.hash is not None:
            name = f"the member {member.name[:200]} of {file.name[:200]}"
            self._compare(member.path, source.hash, member.size_bytes, name)
        return member

    def _compare(self, path: Path, digest: IndexHash, size_bytes: int, name: str) -> None:
        found = self._digest(path, digest.algorithm)
        if found != (size_bytes, digest.digest):
            raise DamagedPackage(f"{name[:400]} is not what the container index states")

    def _digest(self, path: Path, algorithm: str) -> tuple[int, bytes]:
        known = self._checked.get((path, algorithm))
        if known is None:
            known = self._checked[path, algorithm] = _digest(path, algorithm)
        return known


def _digest(path: Path, algorithm: str) -> tuple[int, bytes]:
    """Size and digest of a file."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    size_bytes = 0
    with path.open("rb") as file:
        while block := file.read(_COPY_BYTES):
            digest.update(block)
            size_bytes += len(block)
    return size_bytes, digest.digest()


def _check_space(
    index: ContainerIndex,
    members: Mapping[str, CabinetFile],
    recipes: Mapping[int, Recipe],
    folder: Path,
    limits: PackageLimits,
) -> None:
    """Refuse an index that makes far more than it stores, or more than the disk can take.

    Copies take no space here, but would in an image.
    """
    stored = sum(member.size_bytes for member in members.values())
    total = index.total_bytes
    if total > limits.ratio_free_bytes and total > limits.ratio * stored:
        raise LimitExceeded(f"an index of {total} bytes made from {stored}")
    needed = sum(
        file.size_bytes
        for file in index.files
        if (source := recipes[file.id].source) is not None and source.kind in _DELTAS
    )
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise LimitExceeded(f"the package needs {needed} bytes of disk and {free} are free")
