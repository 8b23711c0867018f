"""Files that tests of commands read and never write."""

from pathlib import Path

import pytest

from cli.wimkit import two_images


@pytest.fixture(scope="session")
def two_images_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = two_images(tmp_path_factory.mktemp("cli"))
    path.chmod(0o444)
    return path


@pytest.fixture
def wim(two_images_path: Path) -> str:
    return str(two_images_path)
