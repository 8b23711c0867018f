"""An image in which packages come and go, and what is seen of it by readers that are not ours."""

import hashlib
import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from offline.workbench import NOW, Bench, bench
from oracle.compare import differences
from oracle.observe import HIVE_PATHS, observe
from oracle.state import ImageState
from oracle.want import ImageWant
from wimsmith.offline.changes import (
    ChangeSet,
    Content,
    RegistryEdit,
    ReplaceContent,
    SetValue,
    TreeEdit,
)
from wimsmith.offline.commit import commit
from wimsmith.offline.components.features.switching import set_features
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.components.outcome import Outcome
from wimsmith.offline.components.removal.removing import remove
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.image import open_view
from wimsmith.offline.packages.package import expand
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.roots import microsoft_anchors
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.verdicts import Verdict
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.practice.maker import Maker
from wimsmith.practice.names import component_key
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import ComponentSpec, Generation, ImageSpec, PackageSpec, UpdateSpec
from wimsmith.practice.updates import build_update

CBS = r"Microsoft\Windows\CurrentVersion\Component Based Servicing"
WINNERS = r"Microsoft\Windows\CurrentVersion\SideBySide\Winners"
SMALL = ImageSpec(size_bytes=1 << 19, components=4)


@dataclass
class Remembered:
    """Updates that were installed into one image, for workshops that start in the same way.

    An outcome is kept by the change sets below it, which only live on where they are kept as well.
    """

    folder: Path
    _outcomes: dict[tuple[str, tuple[int, ...]], Outcome] = field(default_factory=dict)

    def outcome(self, update: str, below: Sequence[ChangeSet]) -> Outcome | None:
        return self._outcomes.get((update, tuple(map(id, below))))

    def keep(self, update: str, below: Sequence[ChangeSet], outcome: Outcome) -> None:
        known = {id(one.changes) for one in self._outcomes.values()}
        if all(id(one) in known for one in below):
            self._outcomes[update, tuple(map(id, below))] = outcome

    def place(self) -> Path:
        """A new folder that stays."""
        self.folder.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(dir=self.folder))


@dataclass
class Workshop:
    """A generated image, and the change sets that have been made to it so far."""

    bench: Bench
    generation: Generation
    remembered: Remembered
    sets: list[ChangeSet] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def open(cls, folder: Path, root: PracticeRoot, spec: ImageSpec = SMALL) -> "Workshop":
        folder.mkdir(parents=True, exist_ok=True)
        return cls(bench(folder, root, spec), spec.generation, Remembered(folder / "installed"))

    @property
    def maker(self) -> Maker:
        return Maker(self.generation)

    @property
    def options(self) -> ApplyOptions:
        test = Anchors((self.bench.root.certificate,))
        return ApplyOptions(TrustPolicy(microsoft_anchors(), test=test, allow_test_roots=True), NOW)

    def install(self, update: PackageSpec | UpdateSpec | Path) -> str:
        """Install an update that has to apply; the name of its package."""
        if isinstance(update, PackageSpec):
            update = UpdateSpec(update, "made.cab")
        outcome = self.remembered.outcome(repr(update), self.sets)
        if outcome is None:
            outcome = self._installed(update)
            self.remembered.keep(repr(update), self.sets, outcome)
        self._keep(outcome)
        return outcome.packages[0]

    def _installed(self, update: UpdateSpec | Path) -> Outcome:
        folder = self.remembered.place()
        if isinstance(update, UpdateSpec):
            file = folder / f"made.{update.container.extension}"
            update = build_update(update, file, root=self.bench.root)
        package = expand(update, folder / "expanded")
        with open_wim(self.bench.base) as wim:
            return apply(package, open_view(wim, 1, self.sets), self.options)

    def remove(self, *names: str, progress: Progress = silent) -> Outcome:
        """Ask for packages to be removed; what comes of it is not kept."""
        with open_wim(self.bench.base) as wim:
            view = open_view(wim, 1, self.sets)
            return remove(names, view, self.options, self._spool(), progress)

    def removed(self, *names: str) -> Outcome:
        """Remove packages that have to be removable."""
        outcome = self.remove(*names)
        self._keep(outcome)
        return outcome

    def switch(self, wanted: Mapping[str, bool], progress: Progress = silent) -> Outcome:
        """Ask for features; what comes of it is not kept."""
        with open_wim(self.bench.base) as wim:
            view = open_view(wim, 1, self.sets)
            return set_features(wanted, view, self.options, self._spool(), progress)

    def switched(self, wanted: Mapping[str, bool]) -> Outcome:
        """Switch features that have to be switchable."""
        outcome = self.switch(wanted)
        self._keep(outcome)
        return outcome

    def edit(self, *edits: TreeEdit | RegistryEdit) -> None:
        """Change the image by hand."""
        tree = tuple(one for one in edits if isinstance(one, TreeEdit))
        registry = tuple(one for one in edits if isinstance(one, RegistryEdit))
        self.sets.append(ChangeSet(tree, registry))

    def put(self, path: str, data: bytes) -> None:
        """Replace the content of a file by hand, and so of all its names."""
        source = self.bench.folder / f"put-{next(self._numbers)}"
        source.write_bytes(data)
        content = Content.of_file(source)
        edit = ReplaceContent(path, content.sha1)
        self.sets.append(ChangeSet((edit,), (), {content.sha1: content}))

    def replace_manifest(self, component: ComponentSpec, advanced: str) -> None:
        """Give a component in the store elements that only Windows could have installed."""
        key = component_key(component.identity)
        path = f"Windows/WinSxS/Manifests/{key}.manifest"
        with self.store() as store:
            data = store.draft.read(path)
        data = data.replace(b"</assembly>", advanced.encode() + b"</assembly>")
        digest = hashlib.sha256(data).digest()
        self.put(path, data)
        self.edit(SetValue("COMPONENTS", rf"DerivedData\Components\{key}", "S256H", 3, digest))

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The image as the engine sees it now."""
        with open_wim(self.bench.base) as wim:
            yield Store(Draft(open_view(wim, 1, self.sets), self._spool(), NOW))

    def commit(self) -> Path:
        """A WIM file with everything done so far."""
        target = self.bench.folder / f"committed-{next(self._numbers)}.wim"
        if not any(self.sets):
            target.hardlink_to(self.bench.base)
            return target
        with WorkerCodec() as codec, open_wim(self.bench.base, codec) as wim:
            commit(wim, {1: self.sets}, target, codec=codec, modified=NOW)
        return target

    def observe(self) -> ImageState:
        """The committed image as wimlib and two hive readers see it."""
        return observe(self.commit(), 1)

    def _keep(self, outcome: Outcome) -> None:
        assert (outcome.verdict, outcome.code) == (Verdict.APPLIED, "applied"), outcome
        assert outcome.changes is not None
        self.sets.append(outcome.changes)

    def _spool(self) -> Path:
        return self.bench.folder / f"spool-{next(self._numbers)}"


def number(image: ImageState, hive: str, key: str, name: str) -> int:
    """A number in a hive, which has to be there."""
    found = image.value(hive, key, name)
    assert found is not None, f"{hive}\\{key} has no value {name}"
    return found.number


def text(image: ImageState, hive: str, key: str, name: str = "") -> str:
    """A text in a hive, which has to be there."""
    found = image.value(hive, key, name)
    assert found is not None, f"{hive}\\{key} has no value {name}"
    return found.text


def lasting_differences(before: ImageState, after: ImageState) -> list[str]:
    r"""What is other than before, but for what a removal is allowed to leave.

    Allowed are: other bytes of the hive files themselves; that `DerivedData\VersionedIndex` and
    cached evaluations are gone; times of folders; and folders and keys without content that no
    manifest of what was removed names as its own.
    """
    return [line for line in differences(ImageWant(before), after) if not _allowed(line, after)]


def _allowed(line: str, after: ImageState) -> bool:
    hive_files = tuple(path.lower() + ":" for path in HIVE_PATHS.values())
    if line.startswith(hive_files) or "\\versionedindex" in line:
        return True
    rest = line.partition(": ")[2]
    if rest.startswith("changed from ('FILE_ATTRIBUTE_DIRECTORY"):
        return True
    if line.startswith("extra file: "):
        entry = after.entries[rest]
        return entry.is_directory and not any(
            one.startswith(rest + "/") and not other.is_directory
            for one, other in after.entries.items()
        )
    if line.startswith("extra key: "):
        hive, _, key = rest.partition("\\")
        below = [
            one for name, one in after.hives[hive].items() if (name + "\\").startswith(key + "\\")
        ]
        return not any(one.values for one in below)
    return False
