"""Mutates the hives of a component store, and asks everything of an image that has them.

    PYTHONPATH=tests python -m fuzz.fuzz_store SECONDS

With Atheris installed, coverage guides the search. An input is a byte that says which hive, and
the hive. The rest of the image is sound, and so are the hives that an input does not replace.
"""

import hashlib
import logging
import os
import random
import sys
import tempfile
from pathlib import Path

from fuzz.guided import run
from fuzz.mutation import feed
from offline.components.hostile.storechanges import a_hive, damaged_registry
from offline.registry.mutators import resummed
from wimsmith.offline.changes import ChangeSet, Content, ReplaceContent
from wimsmith.offline.components.cleanup.clean import clean_up
from wimsmith.offline.components.cleanup.closure import gaps
from wimsmith.offline.components.cleanup.facts import read_facts
from wimsmith.offline.components.cleanup.knowledge import package_knowledge
from wimsmith.offline.components.cleanup.rules import decide
from wimsmith.offline.components.gate.calibration import calibrate
from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.components.verification.examine import examine
from wimsmith.offline.facts import image_facts
from wimsmith.offline.image import ImageView, hive_path, open_view
from wimsmith.offline.planning.snapshot import Snapshot, take
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.practice.image import build_image
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Generation, ImageSpec

_HIVES = ("COMPONENTS", "SOFTWARE", "SYSTEM")
_NOW = 133_600_000_000_000_000


class Target:
    """A small image, opened once; each input replaces one of its hives."""

    def __init__(self, wim: Wim, folder: Path) -> None:
        self._wim = wim
        self._folder = folder

    def seeds(self) -> list[bytes]:
        view = open_view(self._wim, 1)
        return [bytes([place]) + view.read(hive_path(name)) for place, name in enumerate(_HIVES)]

    def test_one_input(self, data: bytes) -> None:
        """Ask for everything; anything but an error of ours is a finding."""
        feed((self._ask,), data)

    def invent(self, data: bytes, chance: random.Random) -> bytes:
        """A sound hive in which values and keys are others."""
        name = _HIVES[data[0] % len(_HIVES)]
        view = open_view(self._wim, 1)
        changes = damaged_registry(view, chance, a_hive(name))
        view.stack(changes)
        return data[:1] + view.hive(name).serialize(_NOW)

    def _ask(self, data: bytes) -> None:
        if not data:
            return
        feed((self._look, self._plan, self._check, self._clean, self._decide), data)

    def _view(self, data: bytes) -> ImageView:
        file = self._folder / "hive"
        file.write_bytes(data[1:])
        sha1 = hashlib.sha1(data[1:], usedforsecurity=False).hexdigest()
        edit = ReplaceContent(hive_path(_HIVES[data[0] % len(_HIVES)]), sha1)
        content = {sha1: Content(sha1, len(data) - 1, file)}
        return open_view(self._wim, 1, [ChangeSet((edit,), content=content)])

    def _store(self, data: bytes) -> Store:
        return Store(Draft(self._view(data), Path(os.devnull), 0))

    def _look(self, data: bytes) -> None:
        image_facts(self._view(data))
        health_findings(self._store(data))
        calibrate(self._store(data), sample=None)

    def _plan(self, data: bytes) -> None:
        snapshot = take(self._store(data))
        assert Snapshot.from_data(snapshot.as_data()) == snapshot

    def _check(self, data: bytes) -> None:
        report = examine(self._view(data), content=False)
        assert all(one.count >= len(one.examples) > 0 for one in report.problems)

    def _clean(self, data: bytes) -> None:
        outcome = clean_up(self._view(data), self._folder / "spool", _NOW, reset_base=True)
        assert outcome.changes is not None or outcome.findings

    def _decide(self, data: bytes) -> None:
        """What clean-up decides of a store that calibration would not have let through."""
        store = self._store(data)
        facts = read_facts(store)
        list(gaps(store, facts))
        decision = decide(facts, package_knowledge(store, facts), reset_base=True)
        assert decision.components.keys() == facts.components.keys()


def repair(data: bytes, chance: random.Random) -> bytes:
    """Make the sum of the base block right, mostly."""
    return data[:1] + resummed(bytearray(data[1:]), chance)


def main() -> None:
    """Build the image, and feed it."""
    logging.disable()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = ImageSpec(Generation.WINDOWS_10, size_bytes=1 << 18, components=2)
        build_image(spec, folder / "image.wim", root=PracticeRoot.new())
        with open_wim(folder / "image.wim") as wim:
            target = Target(wim, folder)
            run(
                float(sys.argv[1]),
                target.seeds(),
                target.test_one_input,
                invent=target.invent,
                repair=repair,
            )


if __name__ == "__main__":
    main()
