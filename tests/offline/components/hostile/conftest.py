"""An image with something of everything, some of it compressed, and updates for it."""

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from offline.components.cleanup.story import NOW, build, spec, update
from offline.components.hostile.storechanges import MANIFESTS, kept
from offline.components.hostile.verbs import Asked
from offline.components.kit import files_of
from offline.components.test_compressed import BASE, compressed
from wimsmith.offline.changes import ChangeSet, ReplaceContent
from wimsmith.offline.commit import commit
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.practice.baseline import FEATURES_OFF
from wimsmith.practice.maker import Maker
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Generation, PackageState

NAMES = ("KB7000001", "KB7000003", "KB7000005", "KB7000006", "Practice-Nothing", "7000004")
Ask = Callable[..., Asked]


@pytest.fixture(scope="session")
def spoilt_path(
    tmp_path_factory: pytest.TempPathFactory, codec: WorkerCodec, practice_signer: PracticeRoot
) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    image = replace(spec(Generation.WINDOWS_10), base_manifest=BASE, detections=True)
    plain, path = build(folder, image, practice_signer, codec), folder / "spoilt.wim"
    with open_wim(plain, codec) as wim:
        changes = some_compressed(open_view(wim, 1), folder)
        commit(wim, {1: [changes]}, path, codec=codec, modified=NOW)
    path.chmod(0o444)
    return path


def some_compressed(view: ImageView, folder: Path) -> ChangeSet:
    """Every third manifest as a delta."""
    entry = view.find(MANIFESTS)
    assert entry is not None
    assert entry.children is not None
    edits, contents = [], {}
    for name in sorted(one.path for one in entry.children.values())[::3]:
        content = kept(compressed(view.read(name)), folder)
        contents[content.sha1] = content
        edits.append(ReplaceContent(name, content.sha1))
    return ChangeSet(tuple(edits), content=contents)


@pytest.fixture
def wim(spoilt_path: Path, codec: WorkerCodec) -> Iterator[Wim]:
    """The image, of which no byte changes, beside which nothing appears."""
    before, beside = _state(spoilt_path)
    with open_wim(spoilt_path, codec) as wim:
        yield wim
    assert _state(spoilt_path) == (before, beside)


def _state(path: Path) -> tuple[str, list[str]]:
    return hashlib.sha256(path.read_bytes()).hexdigest(), sorted(
        str(one) for one in path.parent.rglob("*")
    )


@pytest.fixture(scope="session")
def newer(practice_signer: PracticeRoot) -> dict[str, bytes]:
    """Files of an update that replaces what the image has in two versions already."""
    maker = Maker(Generation.WINDOWS_10)
    parts = [maker.component(f"Practice-{one}", 500) for one in ("Alone", "Plain", "New")]
    package = update(maker, "KB7000003", 3, PackageState.INSTALLED, *parts)
    return files_of(package, practice_signer, maker)


@pytest.fixture
def ask(wim: Wim, newer: dict[str, bytes], practice_signer: PracticeRoot, tmp_path: Path) -> Ask:
    """Ask for the image with changes, and an update; without any, for one that is sound."""
    anchors = Anchors((practice_signer.certificate,))
    options = ApplyOptions(TrustPolicy(Anchors(), test=anchors, allow_test_roots=True), NOW)

    def asked(seed: int, *sets: ChangeSet, files: dict[str, bytes] | None = None) -> Asked:
        folder = tmp_path / f"asked-{seed}"
        folder.mkdir()
        chance = random.Random(seed)
        return Asked(
            wim, list(sets), files or newer, NAMES, tuple(FEATURES_OFF), options, folder, chance
        )

    return asked
