"""Images that tests of the gate copy and change."""

from collections.abc import Callable
from pathlib import Path

import pytest

from offline.components.gate.breaking import ForeignImage
from wimsmith.offline.components.gate.calibration import calibrate
from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.gate.report import CalibrationReport
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.image import open_view
from wimsmith.offline.verdicts import Finding
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.practice.image import build_image
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Generation, ImageSpec

SMALL = ImageSpec(Generation.WINDOWS_10, size_bytes=1 << 19, components=4, revision=600)
Gate = Callable[[Path], tuple[tuple[Finding, ...], CalibrationReport]]


@pytest.fixture(scope="session")
def small_image(tmp_path_factory: pytest.TempPathFactory, practice_signer: PracticeRoot) -> Path:
    path = tmp_path_factory.mktemp("gate") / "small.wim"
    build_image(SMALL, path, root=practice_signer)
    return path


@pytest.fixture
def image(small_image: Path, tmp_path: Path) -> ForeignImage:
    return ForeignImage(small_image, tmp_path / "image")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """What stops every update on the first index of a file, and the report of its calibration."""

    def ask(path: Path) -> tuple[tuple[Finding, ...], CalibrationReport]:
        with open_wim(path) as wim:
            store = Store(Draft(open_view(wim, 1), tmp_path / "spool", 0))
            return health_findings(store), calibrate(store)

    return ask
