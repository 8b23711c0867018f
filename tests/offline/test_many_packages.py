"""Many packages on many images: the engine and the oracle read the same manifests alike."""

import random
from pathlib import Path

import pytest

from offline.randoms import Dice
from offline.workbench import agrees, bench, update_file
from wimsmith.practice.maker import Maker
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import FLAGS_A, FLAGS_B, Generation, ImageSpec


@pytest.fixture(scope="module")
def root() -> PracticeRoot:
    return PracticeRoot.new()


def random_image(seed: int) -> ImageSpec:
    dice = random.Random(seed)
    return ImageSpec(
        generation=list(Generation)[seed % 3],
        flags=[FLAGS_A, FLAGS_B][seed // 3 % 2],
        seed=f"image {seed}",
        size_bytes=dice.choice([1 << 19, 1 << 20, 3 << 20]),
        components=dice.choice([None, 3, 12]),
        revision=dice.choice([None, 700]),
        language=dice.choice(["en-US", "de-DE", "sr-Latn-RS"]),
    )


SEEDS = [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 60))]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_package_is_installed_as_its_manifests_say(
    tmp_path: Path, root: PracticeRoot, seed: int
) -> None:
    spec = random_image(seed)
    made = bench(tmp_path, root, spec)
    update = update_file(made, Dice(seed, Maker(spec.generation)).package())
    assert agrees(made, update) == []
