"""What a package that is not opened says about itself: what it is, and which build it leads to.

For updates in WIM containers, packages of differentials and metadata of unified updates. Nothing
here is proved by a signature: it is for planning, never for installing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from wimsmith.errors import Cancelled, Interrupted, LimitExceeded, WimsmithError
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.package import PackageManifest, parse_package
from wimsmith.offline.packages.compdb import BuildStep, is_compdb, parse_compdb
from wimsmith.offline.packages.containers.cabinet import CabinetFile
from wimsmith.offline.packages.containers.containerindex import parse_container_index
from wimsmith.offline.packages.containers.kinds import (
    INDEX_NAME,
    PSF_INDEX_SUFFIX,
    PSF_MAGIC,
    SCAN_CABINET,
    TOP_MANIFEST,
    Obstacle,
    is_metadata,
)
from wimsmith.offline.packages.containers.msu import MsuDescription, describe, is_description
from wimsmith.offline.packages.containers.psfx import (
    DifferentialSummary,
    stream_index,
    summarize_differentials,
)
from wimsmith.offline.packages.containers.shelves import Shelf, open_shelf
from wimsmith.offline.packages.limits import DEFAULT_LIMITS, PackageLimits
from wimsmith.offline.progress import Progress, silent

PLANNED_REASONS = frozenset({"container-wim", "psfx", "uup", "express", "baseless"})
_MAX_MEMBER_BYTES = 2 << 30
_NEEDS = {
    "container-wim": "a Windows with a servicing stack that opens WIM containers",
    "psfx": "the files of the version that the differentials were made against, and its stack",
    "uup": "the payload that this metadata describes",
    "express": "the full package, which holds all its files",
    "baseless": "the full package, which holds all its files",
}
_STACK_PREFIX = "ssu-"
_OTHER_CABINETS = (SCAN_CABINET, "desktopdeployment")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the container and its size in bytes."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PlannedFacts:
    """A package that is refused, as it describes itself; what nothing states is empty or None.

    `steps` are those of all composition databases: cumulative update, servicing stack and others.
    `packages` are identities of package manifests that could be read, the main one first.
    `servicing_stacks` are the cabinets of servicing stacks it brings. `needed` says what it would
    take to install it. `unread` names what could not be read, with the reason.
    """

    source: Path
    size_bytes: int
    obstacle: Obstacle
    needed: str
    members: tuple[Member, ...] = ()
    steps: tuple[BuildStep, ...] = ()
    packages: tuple[AssemblyIdentity, ...] = ()
    top: PackageManifest | None = None
    servicing_stacks: tuple[str, ...] = ()
    differentials: DifferentialSummary | None = None
    description: MsuDescription = field(default_factory=MsuDescription)
    unread: tuple[str, ...] = ()

    @property
    def update(self) -> BuildStep | None:
        """The step of the last cumulative update, or of what else leads to a build."""
        leading = [step for step in self.steps if step.leads_to is not None]
        cumulative = [step for step in leading if step.kind == "lcu"]
        return max(cumulative or leading, key=_target, default=None)

    @property
    def needs_build(self) -> Version | None:
        """The build that the update is made against: a released version or a checkpoint."""
        return None if self.update is None else self.update.needs

    @property
    def leads_to_build(self) -> Version | None:
        """The build after the update."""
        return None if self.update is None else self.update.leads_to

    @property
    def article(self) -> str:
        """Number of the knowledge base article, as `KB5043080`, or the empty text."""
        if self.update is not None and self.update.article:
            return self.update.article
        return self.description.article or ("" if self.top is None else self.top.identifier)

    @property
    def architecture(self) -> str:
        found = [step.architecture for step in self.steps if step.architecture]
        found += [one.architecture for one in self.packages]
        return next(iter(found), self.description.properties.get("Processor Architecture", ""))


def planned_facts(
    path: Path,
    work: Path,
    obstacle: Obstacle,
    *,
    limits: PackageLimits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> PlannedFacts | None:
    """Read what a refused package says about itself, as far as it can be read.

    Args:
        path: the file.
        work: folder for what is taken out of it; the caller removes it.
        obstacle: why it is refused, as `unwrap` says.
        limits: most that it may ask for.
        progress: told while parts are taken out.

    Returns:
        None if it is refused for another reason than `PLANNED_REASONS`.

    Raises:
        Cancelled: `progress` did.
        OSError: the file or the folder cannot be used.
    """
    if obstacle.code not in PLANNED_REASONS:
        return None
    work.mkdir(parents=True, exist_ok=True)
    planner = _Planner(work, limits, progress)
    planner.read(path)
    return PlannedFacts(
        source=path,
        size_bytes=path.stat().st_size,
        obstacle=obstacle,
        needed=_NEEDS[obstacle.code],
        members=tuple(planner.members),
        steps=tuple(planner.steps.values()),
        packages=tuple(dict.fromkeys(planner.packages)),
        top=planner.top,
        servicing_stacks=tuple(planner.stacks),
        differentials=planner.differentials,
        description=planner.description,
        unread=tuple(planner.unread),
    )


def _target(step: BuildStep) -> Version:
    return step.leads_to or Version(0, 0, 0, 0)


class _Planner:
    """Collects facts from a container and those in it; what cannot be read is noted."""

    def __init__(self, work: Path, limits: PackageLimits, progress: Progress) -> None:
        self._work = work
        self._limits = limits
        self._progress = progress
        self._folders = 0
        self._left_bytes = limits.total_bytes
        self.members: list[Member] = []
        self.steps: dict[str, BuildStep] = {}
        self.packages: list[AssemblyIdentity] = []
        self.top: PackageManifest | None = None
        self.stacks: list[str] = []
        self.differentials: DifferentialSummary | None = None
        self.description = MsuDescription()
        self.unread: list[str] = []

    def read(self, path: Path) -> None:
        """Read the outermost file."""
        with path.open("rb") as file:
            is_stream = file.read(len(PSF_MAGIC)) == PSF_MAGIC
        if is_stream:
            self._attempt(path.name, lambda: self._read_stream(path))
        else:
            self._attempt(path.name, lambda: self._read_container(path, 0))

    def _attempt(self, name: str, read: Callable[[], None]) -> None:
        try:
            read()
        except (Cancelled, Interrupted):
            raise
        except WimsmithError as error:
            self.unread.append(f"{name[:200]}: {error}")

    def _read_container(self, path: Path, depth: int) -> None:
        if depth > self._limits.nesting:
            raise LimitExceeded(f"containers nested more than {self._limits.nesting} deep")
        if self._folders >= self._limits.cabinets:
            raise LimitExceeded(f"more than {self._limits.cabinets} containers in each other")
        with open_shelf(path, self._limits, self._progress) as shelf:
            if depth == 0:
                self.members = [Member(name, shelf.sizes[name]) for name in sorted(shelf.sizes)]
            handlers = {
                name: handler
                for name in sorted(shelf.sizes)
                if (handler := self._handler(name, depth)) is not None
            }
            for name in [name for name in handlers if shelf.sizes[name] > _MAX_MEMBER_BYTES]:
                self.unread.append(f"{name[:200]}: it has {shelf.sizes[name]} bytes")
                del handlers[name]
            files = self._fetch(shelf, list(handlers))
        for file in sorted(files, key=lambda one: _priority(one.name)):
            self._attempt(file.name, partial(handlers[file.name], file))
        self._read_descriptions([file for file in files if handlers[file.name] == self._note])

    def _handler(self, name: str, depth: int) -> Callable[[CabinetFile], None] | None:
        """What to do with a member, or None to leave it where it is."""
        folded = name.lower()
        if "/" in name:
            return None
        if folded == TOP_MANIFEST:
            return self._read_manifest
        if folded == INDEX_NAME or folded.endswith(PSF_INDEX_SUFFIX):
            return self._read_index
        if is_compdb(name) and folded.endswith(".xml"):
            return self._read_compdb
        if is_description(name) and depth == 0:
            return self._note
        if is_metadata(folded) and folded.endswith(".cab"):
            return partial(self._read_member, depth=depth)
        if folded.startswith(_STACK_PREFIX) and folded.endswith(".cab"):
            return self._read_stack
        is_payload = folded.endswith((".cab", ".wim")) and not folded.startswith(_OTHER_CABINETS)
        return partial(self._read_member, depth=depth) if is_payload else None

    def _fetch(self, shelf: Shelf, names: Sequence[str]) -> tuple[CabinetFile, ...]:
        """Take members out; all of them together may have as many bytes as one package."""
        self._left_bytes -= sum(shelf.sizes[name] for name in names)
        if self._left_bytes < 0:
            raise LimitExceeded(f"parts of more than {self._limits.total_bytes} bytes")
        self._folders += 1
        return shelf.fetch(names, self._work / f"part-{self._folders}")

    def _read_member(self, file: CabinetFile, *, depth: int) -> None:
        self._read_container(file.path, depth + 1)

    def _read_stack(self, file: CabinetFile) -> None:
        self.stacks.append(file.name)
        with open_shelf(file.path, self._limits, self._progress) as shelf:
            names = [name for name in shelf.sizes if name.lower() == TOP_MANIFEST]
            for found in self._fetch(shelf, names):
                self.packages.append(parse_package(found.path.read_bytes()).identity)

    def _read_manifest(self, file: CabinetFile) -> None:
        manifest = parse_package(file.path.read_bytes())
        self.top = self.top or manifest
        self.packages.insert(0, manifest.identity)

    def _read_index(self, file: CabinetFile) -> None:
        self._take_index(file.path.read_bytes())

    def _read_stream(self, path: Path) -> None:
        data = stream_index(path, self._work, limits=self._limits)
        if data is not None:
            self._take_index(data)

    def _take_index(self, data: bytes) -> None:
        index = parse_container_index(data, limits=self._limits)
        self.differentials = self.differentials or summarize_differentials(index)

    def _read_compdb(self, file: CabinetFile) -> None:
        step = parse_compdb(file.name, file.path.read_bytes())
        if step is not None:
            self.steps[file.name.lower()] = step

    def _note(self, _file: CabinetFile) -> None:
        """Descriptions are read together."""

    def _read_descriptions(self, files: Sequence[CabinetFile]) -> None:
        def read() -> None:
            self.description = describe(files)

        if files:
            self._attempt(files[0].name, read)


def _priority(name: str) -> tuple[bool, str]:
    """Servicing stacks last, so that the first manifest is that of the update."""
    return name.lower().startswith(_STACK_PREFIX), name
