"""A practice image that tests of the engine read and never write."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.practice.image import build_image
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import ImageSpec


@pytest.fixture(scope="session")
def codec() -> Iterator[WorkerCodec]:
    with WorkerCodec() as codec:
        yield codec


@pytest.fixture(scope="session")
def practice_signer() -> PracticeRoot:
    return PracticeRoot.new()


@pytest.fixture(scope="session")
def image_path(
    tmp_path_factory: pytest.TempPathFactory, codec: WorkerCodec, practice_signer: PracticeRoot
) -> Path:
    """A file with three indexes, read-only."""
    path = tmp_path_factory.mktemp("image") / "install.wim"
    build_image(ImageSpec(indexes=3), path, root=practice_signer, codec=codec)
    path.chmod(0o444)
    return path


@pytest.fixture
def image(image_path: Path, codec: WorkerCodec) -> Iterator[Wim]:
    with open_wim(image_path, codec) as wim:
        yield wim
