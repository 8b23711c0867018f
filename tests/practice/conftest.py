"""Generated once for the tests of this folder."""

from pathlib import Path

import pytest

from practice.outside import Builder
from wimsmith.practice.image import build_image
from wimsmith.practice.presets import internet_explorer
from wimsmith.practice.root import PracticeRoot, practice_root
from wimsmith.practice.spec import Generation, ImageSpec


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> PracticeRoot:
    return practice_root(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, root: PracticeRoot) -> Path:
    """A small image of Windows 10 with two indexes and two extra packages."""
    target = tmp_path_factory.mktemp("image") / "practice.wim"
    spec = ImageSpec(
        indexes=2, size_bytes=1 << 20, revision=264, extra_packages=internet_explorer()
    )
    build_image(spec, target, root=root)
    return target


@pytest.fixture
def build(tmp_path: Path, root: PracticeRoot) -> Builder:
    """Builds small images of what a test wants."""
    numbers = iter(range(100))

    def make(spec: ImageSpec) -> Path:
        target = tmp_path / f"{next(numbers)}.wim"
        build_image(spec, target, root=root)
        return target

    return make


@pytest.fixture(params=list(Generation))
def generation(request: pytest.FixtureRequest) -> Generation:
    value: Generation = request.param
    return value
