"""Taking the payload of an update out of its wrappers: `.msu`, nested cabinets, container index.

What cannot be opened is refused by name (`kinds.py`). What comes out are the files of packages,
as a cabinet with everything in full would hold them.
"""

import filecmp
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wimsmith.errors import DamagedInput, DamagedPackage, LimitExceeded, NotSupported
from wimsmith.offline import paths
from wimsmith.offline.manifests.package import PackageManifest, parse_package
from wimsmith.offline.manifests.xmlreader import MAX_XML_BYTES
from wimsmith.offline.packages.containers.cabinet import CabinetFile, expand_cabinet
from wimsmith.offline.packages.containers.cablisting import check_names, list_cabinet
from wimsmith.offline.packages.containers.containerindex import parse_container_index
from wimsmith.offline.packages.containers.ipd import IndexSummary, expand_index, summarize
from wimsmith.offline.packages.containers.kinds import (
    INDEX_NAME,
    TOP_MANIFEST,
    ContainerKind,
    Obstacle,
    cabinet_obstacle,
    check_file,
    index_obstacle,
    is_nested,
    is_update_set,
)
from wimsmith.offline.packages.containers.msu import (
    MsuDescription,
    describe,
    is_description,
    parse_order,
    payload_cabinets,
    set_obstacle,
)
from wimsmith.offline.packages.limits import DEFAULT_LIMITS, PackageLimits
from wimsmith.offline.progress import Progress, silent

_TOP = paths.fold(TOP_MANIFEST)
_INDEX = paths.fold(INDEX_NAME)


@dataclass(frozen=True, slots=True)
class Container:
    """One package taken out of its wrappers: its files and what was written on the box.

    `name` is the file name of its cabinet. `obstacle` is set if the payload cannot be expanded;
    `top` is then its top manifest, if that could be read all the same. `index` says how the files
    were stored if the cabinet had a container index.
    """

    source: Path
    kind: ContainerKind
    files: Mapping[str, CabinetFile]
    description: MsuDescription = field(default_factory=MsuDescription)
    obstacle: Obstacle | None = None
    top: PackageManifest | None = None
    name: str = ""
    index: IndexSummary | None = None


def unwrap(
    path: Path,
    work: Path,
    *,
    limits: PackageLimits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> Container:
    """Take the payload out of an update file that holds one package.

    Raises:
        NotSupported: no cabinet, one of a set, or `several-packages`.
        DamagedPackage, DamagedInput: broken anywhere.
        LimitExceeded: it asks for more than `limits` allow.
    """
    found = unwrap_all(path, work, limits=limits, progress=progress)
    if len(found) > 1:
        names = ", ".join(one.name for one in found)[:300]
        raise NotSupported(
            "several-packages",
            f"several packages in one file, to be installed in order: {names}",
            hint="Take the cabinets out of it and use them one by one, in this order.",
        )
    return found[0]


def unwrap_all(
    path: Path,
    work: Path,
    *,
    limits: PackageLimits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> tuple[Container, ...]:
    """Take all packages out of an update file, in the order they are to be installed.

    Raises:
        NotSupported: no cabinet, or one of a set.
        DamagedPackage, DamagedInput: broken anywhere.
        LimitExceeded: it asks for more than `limits` allow, all levels taken together.
    """
    work.mkdir(parents=True, exist_ok=True)
    return tuple(_Unwrapper(path, work, limits, progress).open(path, path.name, 0))


class _Unwrapper:
    """Opens cabinets in cabinets; what one level writes is missing to the next."""

    def __init__(self, source: Path, work: Path, limits: PackageLimits, progress: Progress) -> None:
        self._source = source
        self._work = work
        self._limits = limits
        self._progress = progress
        self._folders = 0
        self._cabinets = 0

    def open(
        self, cabinet: Path, name: str, depth: int, *, is_part: bool = False
    ) -> list[Container]:
        if depth > self._limits.nesting:
            raise DamagedPackage(f"cabinets nested more than {self._limits.nesting} deep")
        self._cabinets += 1
        if self._cabinets > self._limits.cabinets:
            raise LimitExceeded(f"more than {self._limits.cabinets} cabinets in each other")
        try:
            check_file(cabinet)
            names = [entry.name for entry in list_cabinet(cabinet, limits=self._limits)]
        except NotSupported as error:
            if depth == 0:
                raise
            return [self._refused(name, _obstacle(error), None)]
        if is_update_set(names):
            return self._open_set(cabinet, names, depth)
        obstacle = cabinet_obstacle(name, names, is_part=is_part)
        if obstacle is not None:
            return [self._refused(name, obstacle, self._top_of(cabinet, names))]
        files = _by_folded_name(self._expand(cabinet))
        if _INDEX not in files:
            found = Container(self._source, ContainerKind.CABINET, files, name=name)
        else:
            found = self._expand_index(name, files)
        if found.obstacle is None and is_nested([file.name for file in found.files.values()]):
            return self._open_parts(found, depth)
        return [found]

    def _open_set(self, cabinet: Path, names: Sequence[str], depth: int) -> list[Container]:
        obstacle = set_obstacle(names)
        if obstacle is not None:
            texts = self._expand(cabinet, [name for name in names if is_description(name)])
            found = [self._refused(cabinet.name, obstacle, None)]
            description = describe(texts)
        else:
            files = self._expand(cabinet)
            description = describe(files)
            payload = payload_cabinets(files, description)
            found = [one for file in payload for one in self._open_member(file, depth)]
        return [replace(one, kind=ContainerKind.MSU, description=description) for one in found]

    def _open_member(
        self, file: CabinetFile, depth: int, *, is_part: bool = False
    ) -> list[Container]:
        try:
            return self.open(file.path, file.name, depth + 1, is_part=is_part)
        except DamagedPackage as error:
            raise DamagedPackage(f"{file.name[:200]}: {error.args[0]}") from error

    def _open_parts(self, outer: Container, depth: int) -> list[Container]:
        """Packages in a cabinet that holds a list of cabinets.

        Usually all of them together are one package, and its manifest may stand in any.
        """
        lists = [file for file in outer.files.values() if is_nested([file.name])]
        cabinets = [file for file in outer.files.values() if paths.fold(file.name).endswith(".CAB")]
        parts = [
            part
            for file in _in_order(cabinets, lists)
            for part in self._open_member(file, depth, is_part=True)
        ]
        refused = [part for part in parts if part.obstacle is not None]
        if refused:
            return refused[:1]
        taken = {file.path for file in (*lists, *cabinets)}
        rest = {name: file for name, file in outer.files.items() if file.path not in taken}
        whole = [part for part in parts if _TOP in part.files]
        if len(whole) > 1 and _TOP not in rest and len(whole) == len(parts):
            return whole
        return [self._merged(outer, [rest, *(part.files for part in parts)])]

    def _merged(self, outer: Container, trees: Iterable[Mapping[str, CabinetFile]]) -> Container:
        merged: dict[str, CabinetFile] = {}
        for tree in trees:
            for name, file in tree.items():
                known = merged.setdefault(name, file)
                if known is not file and not filecmp.cmp(known.path, file.path, shallow=False):
                    raise DamagedPackage(f"two files with one name: {file.name[:200]}")
        names = [file.name for file in merged.values()]
        check_names(names)
        obstacle = cabinet_obstacle(outer.name, names)
        if obstacle is not None:
            return self._refused(outer.name, obstacle, None)
        return replace(outer, files=merged)

    def _expand(
        self, cabinet: Path, wanted: Sequence[str] | None = None
    ) -> tuple[CabinetFile, ...]:
        folder = self._work / f"level-{self._folders}"
        self._folders += 1
        files = expand_cabinet(
            cabinet, folder, wanted=wanted, limits=self._limits, progress=self._progress
        )
        self._spend([file.size_bytes for file in files])
        return files

    def _expand_index(self, name: str, members: Mapping[str, CabinetFile]) -> Container:
        index = parse_container_index(_read_text(members[_INDEX]), limits=self._limits)
        obstacle = index_obstacle(index)
        top = _read_manifest(members[_TOP]) if _TOP in members else None
        if obstacle is not None:
            return self._refused(name, obstacle, top)
        folder = self._work / f"level-{self._folders}"
        self._folders += 1
        try:
            files = expand_index(
                index, members, folder, limits=self._limits, progress=self._progress
            )
        except NotSupported as error:
            return self._refused(name, _obstacle(error), top)
        self._spend([file.size_bytes for file in files.values()])
        summary = summarize(index)
        return Container(self._source, ContainerKind.CABINET, files, name=name, index=summary)

    def _spend(self, sizes: Sequence[int]) -> None:
        self._limits = replace(
            self._limits,
            total_bytes=self._limits.total_bytes - sum(sizes),
            files=self._limits.files - len(sizes),
        )

    def _top_of(self, cabinet: Path, names: Sequence[str]) -> PackageManifest | None:
        """The top manifest of a cabinet that is not expanded."""
        wanted = [name for name in names if paths.fold(name) == _TOP]
        return _read_manifest(self._expand(cabinet, wanted)[0]) if wanted else None

    def _refused(self, name: str, obstacle: Obstacle, top: PackageManifest | None) -> Container:
        return Container(
            self._source, ContainerKind.CABINET, {}, obstacle=obstacle, top=top, name=name
        )


def _obstacle(refusal: NotSupported) -> Obstacle:
    return Obstacle(refusal.reason, str(refusal.args[1]))


def _by_folded_name(files: Iterable[CabinetFile]) -> dict[str, CabinetFile]:
    return {paths.fold(file.name): file for file in files}


def _in_order(cabinets: Sequence[CabinetFile], lists: Sequence[CabinetFile]) -> list[CabinetFile]:
    """Cabinets as the list of cabinets names them, then the others."""
    named = [paths.fold(name) for one in lists for name in parse_order(_read_text(one))]
    places = {name: place for place, name in reversed(list(enumerate(named)))}
    return sorted(cabinets, key=lambda file: places.get(paths.fold(file.name), len(named)))


def _read_manifest(file: CabinetFile) -> PackageManifest | None:
    """The manifest in a file, which in an index may as well be a delta."""
    try:
        return parse_package(_read_text(file))
    except DamagedInput:
        return None


def _read_text(file: CabinetFile) -> bytes:
    if file.size_bytes > MAX_XML_BYTES:
        raise DamagedPackage(f"{file.name[:200]} has {file.size_bytes} bytes")
    return file.path.read_bytes()
