"""A small image that tests of the health check copy and break."""

from pathlib import Path

import pytest

from offline.components.gate.breaking import ForeignImage
from wimsmith.practice.image import build_image
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Generation, ImageSpec


@pytest.fixture(scope="session")
def sound_path(tmp_path_factory: pytest.TempPathFactory, practice_signer: PracticeRoot) -> Path:
    """An image without compression, so that its content can be found in the file."""
    path = tmp_path_factory.mktemp("health") / "sound.wim"
    spec = ImageSpec(Generation.WINDOWS_10, size_bytes=1 << 19, components=4, revision=600)
    build_image(spec, path, root=practice_signer)
    return path


@pytest.fixture
def subject(sound_path: Path, tmp_path: Path) -> ForeignImage:
    return ForeignImage(sound_path, tmp_path / "image")
