"""Whatever an image or an update holds: a verdict with its reason, and nothing is written."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from offline.components.hostile.conftest import Ask
from offline.components.hostile.storechanges import damaged_store, described
from offline.components.hostile.verbs import VERBS
from offline.components.hostile.xmlchanges import changed
from offline.components.kit import resigned
from offline.packages import madesignatures
from offline.packages.mutatedsignatures import changed_catalog, content_of
from wimsmith.offline.image import open_view
from wimsmith.offline.wim.format.container import Wim
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.updates import cabinet_files

SOUND = {
    ("gate", ""),
    ("calibrate", ""),
    ("plan", ""),
    ("install", "applied"),
    ("clean up", "cleaned"),
    ("health", ""),
}


def test_a_sound_image_passes_all_of_it(ask: Ask) -> None:
    """Else the other tests would see nothing but the gate."""
    seen = set()
    for seed, verbs in enumerate((VERBS, ("remove", "edit"), ("remove", "edit"))):
        asked = ask(seed)
        asked.ask(*verbs)
        seen |= asked.seen
    assert seen >= SOUND
    assert {("remove", "applied"), ("features", "applied"), ("edit", "")} <= seen
    assert {name for name, _ in seen} == set(VERBS)


@pytest.mark.parametrize(
    ("seeds", "verbs"),
    [
        (range(5), 3),
        pytest.param(
            range(5, 1500), len(VERBS), marks=[pytest.mark.slow, pytest.mark.timeout(7200)]
        ),
    ],
    ids=["few", "many"],
)
def test_damaged_stores(ask: Ask, wim: Wim, tmp_path: Path, seeds: range, verbs: int) -> None:
    seen = set()
    spool = tmp_path / "damage"
    for seed in seeds:
        spool.mkdir()
        changes = damaged_store(open_view(wim, 1), random.Random(seed), spool)
        asked = ask(seed, changes)
        try:
            asked.ask(*asked.chance.sample(list(VERBS), verbs))
        except Exception as error:
            error.add_note("\n".join([f"seed {seed}", *described(changes)]))
            raise
        seen |= asked.seen
        shutil.rmtree(asked.folder)
        shutil.rmtree(spool)
    assert len({code for _, code in seen}) > len(seeds) ** 0.5


def damaged_updates(
    root: PracticeRoot, newer: dict[str, bytes], seeds: range
) -> Iterator[tuple[int, dict[str, bytes], bool]]:
    """Updates with changed manifests, properly signed, or with changed catalogs.

    With each comes whether what a catalog lists was changed; its signer is nobody that is known.
    """
    everything = cabinet_files(preset("every-element"), root)
    world = madesignatures.world()
    for seed in seeds:
        chance = random.Random(seed)
        files = dict(chance.choice((newer, everything)))
        if chance.randrange(4) == 0:
            names = [one for one in files if one.endswith(".cat")]
            good = files[chance.choice(names)]
            data = changed_catalog(good, world, chance)
            twins = [one for one in names if files[one] == good]
            yield seed, files | dict.fromkeys(twins, data), content_of(good) not in data
            continue
        names = [one for one in files if one.endswith((".mum", ".manifest"))]
        for name in chance.choices(names, k=chance.choice((1, 1, 2))):
            data = changed(files[name], chance)
            twins = [one for one in names if files[one] == files[name]]
            files |= dict.fromkeys(twins, data)
        yield seed, resigned(files, root), False


@pytest.mark.parametrize(
    ("seeds", "verbs"),
    [
        (range(5), 2),
        pytest.param(
            range(5, 3000), len(VERBS), marks=[pytest.mark.slow, pytest.mark.timeout(7200)]
        ),
    ],
    ids=["few", "many"],
)
def test_damaged_updates(
    ask: Ask, newer: dict[str, bytes], practice_signer: PracticeRoot, seeds: range, verbs: int
) -> None:
    seen = set()
    for seed, files, untrusted in damaged_updates(practice_signer, newer, seeds):
        asked = ask(seed, files=files)
        asked.ask("plan", "install")
        answers = dict(asked.seen)
        if untrusted and answers["install"] == "applied":
            pytest.fail(f"seed {seed}: a catalog that was changed is trusted")
        seen |= asked.seen
        if asked.made:
            after = ask(-seed - 1, *asked.made, files=files)
            after.ask(*after.chance.sample(list(VERBS), verbs))
            seen |= {(f"{name}, after", code) for name, code in after.seen}
            shutil.rmtree(after.folder)
        shutil.rmtree(asked.folder)
    assert len({code for _, code in seen}) > len(seeds) ** 0.5
