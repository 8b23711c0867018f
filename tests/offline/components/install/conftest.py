"""Images and updates that the stories of installing share, each made once."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from offline.components.install.story import NOW, Build, Expand
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.packages.package import ExpandedPackage, expand
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.roots import MICROSOFT_AUTHORITIES, MICROSOFT_ROOTS
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.practice.image import build_image
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Generation, ImageSpec
from wimsmith.practice.updates import build_update


@pytest.fixture(scope="session")
def signer() -> PracticeRoot:
    return PracticeRoot.new()


@pytest.fixture(scope="session")
def options(signer: PracticeRoot) -> ApplyOptions:
    policy = TrustPolicy(
        Anchors(fingerprints=MICROSOFT_ROOTS | MICROSOFT_AUTHORITIES),
        test=Anchors((signer.certificate,)),
        allow_test_roots=True,
    )
    return ApplyOptions(policy, NOW)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, signer: PracticeRoot) -> Iterator[Build]:
    """Opened images by specification, each generated once."""
    folder = tmp_path_factory.mktemp("images")
    made: dict[str, Wim] = {}

    def make(spec: ImageSpec) -> Wim:
        name = hashlib.sha256(repr(spec).encode()).hexdigest()[:16]
        if name not in made:
            build_image(spec, folder / f"{name}.wim", root=signer)
            made[name] = open_wim(folder / f"{name}.wim").__enter__()
        return made[name]

    yield make
    for wim in made.values():
        wim.__exit__(None, None, None)


@pytest.fixture
def expanded(tmp_path: Path, signer: PracticeRoot) -> Expand:
    """A generated update, expanded."""
    numbers = iter(range(100))

    def make(name: str, generation: Generation = Generation.WINDOWS_10) -> ExpandedPackage:
        file = build_update(preset(name, generation), tmp_path / f"{name}.cab", root=signer)
        return expand(file, tmp_path / f"{name}-{next(numbers)}")

    return make


@pytest.fixture
def language_package(real: Path, tmp_path: Path) -> ExpandedPackage:
    return expand(next((real / "cbs").glob("*en-US*.cab")), tmp_path / "en-us")


@pytest.fixture
def base_manifest(real: Path) -> bytes:
    return (real / "dcm" / "base_manifest.bin").read_bytes()
