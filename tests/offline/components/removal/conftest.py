"""Workshops of each generation; the image of each is generated once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from offline.components.removal.kit import SMALL, Workshop
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import ImageSpec

Open = Callable[..., Workshop]


@pytest.fixture(scope="session")
def workshops(
    tmp_path_factory: pytest.TempPathFactory, practice_signer: PracticeRoot
) -> Callable[[ImageSpec, Path], Workshop]:
    folder = tmp_path_factory.mktemp("workshops")
    made: dict[str, Workshop] = {}

    def open_workshop(spec: ImageSpec, place: Path) -> Workshop:
        known = made.get(repr(spec))
        if known is None:
            known = Workshop.open(folder / str(len(made)), practice_signer, spec)
            made[repr(spec)] = known
        place.mkdir(parents=True, exist_ok=True)
        (place / "base.wim").unlink(missing_ok=True)
        (place / "base.wim").hardlink_to(known.bench.base)
        return Workshop(replace(known.bench, folder=place), spec.generation, known.remembered)

    return open_workshop


@pytest.fixture
def workshop(
    workshops: Callable[[ImageSpec, Path], Workshop], tmp_path: Path
) -> Callable[..., Workshop]:
    """A fresh workshop; keywords change the specification of its image."""

    def opened(**changes: object) -> Workshop:
        return workshops(replace(SMALL, **changes), tmp_path)  # type: ignore[arg-type]

    return opened
