"""The story image of each generation, built once and read only."""

from collections.abc import Callable
from pathlib import Path

import pytest

from offline.components.cleanup.story import build, spec
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import FLAGS_A, Generation, StoreFlags

Story = Callable[..., Path]


@pytest.fixture(scope="session")
def story(
    tmp_path_factory: pytest.TempPathFactory, codec: WorkerCodec, practice_signer: PracticeRoot
) -> Story:
    """Path of the story image of a generation."""
    made: dict[tuple[Generation, StoreFlags], Path] = {}

    def find(generation: Generation = Generation.WINDOWS_10, flags: StoreFlags = FLAGS_A) -> Path:
        if (generation, flags) not in made:
            folder = tmp_path_factory.mktemp("story")
            made[generation, flags] = build(folder, spec(generation, flags), practice_signer, codec)
            made[generation, flags].chmod(0o444)
        return made[generation, flags]

    return find
