"""Random sequences of everything that is done to a store; after each step it is whole.

Judges after each step: the check of the whole store, every rule of calibration on all that there
is, and for installations the oracle. At the end another program reads the written file.
"""

import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from offline.components.drawn import Dice, Members, Step, package
from offline.components.removal.kit import Workshop
from offline.workbench import conventions
from oracle.compare import differences
from oracle.expect import expected_after
from oracle.package import expand_cabinet, read_update
from wimsmith.offline.changes import ChangeSet
from wimsmith.offline.components.cleanup.clean import clean_up
from wimsmith.offline.components.features.switching import set_features
from wimsmith.offline.components.gate.calibration import calibrate
from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.components.outcome import Outcome
from wimsmith.offline.components.removal.removing import remove
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.components.verification.examine import examine
from wimsmith.offline.components.verification.report import Severity
from wimsmith.offline.image import open_view
from wimsmith.offline.packages.package import expand
from wimsmith.offline.verdicts import Verdict
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import (
    FLAGS_A,
    FLAGS_B,
    Generation,
    ImageSpec,
    StoreFlags,
    UpdateSpec,
)
from wimsmith.practice.updates import build_update

HOUR = 36_000_000_000
SHORT = 21
"""The seed of a short sequence that has some of everything."""
EXPECTED_REFUSALS = {
    *("superseded", "installed", "components", "staged"),
    *("not-installed", "reset-base", "needed-by", "shared-value", "shared-file"),
    "unchanged",
}


class Sequence:
    """One image to which things are done, each judged."""

    def __init__(self, made: Workshop, flags: StoreFlags, *, with_oracle: bool) -> None:
        self.made = made
        self.flags = flags
        self.with_oracle = with_oracle
        self.installed: list[str] = []
        self.number = 0
        self.done: Counter[str] = Counter()

    @property
    def options(self) -> ApplyOptions:
        """Those of the workshop; an hour goes by with each step."""
        options = self.made.options
        return replace(options, now=options.now + self.number * HOUR)

    def do(self, step: Step) -> None:
        kind, arguments = step
        self.number += 1
        changes = getattr(self, f"_{kind}")(*arguments)
        if changes is not None:
            self.done[kind] += 1
            self.made.sets.append(changes)
            self.judge()

    def judge(self) -> None:
        """Nothing is wrong with the store, and the next update would be let in."""
        with open_wim(self.made.bench.base) as wim:
            view = open_view(wim, 1, self.made.sets)
            report = examine(view)
            assert [(one.code, one.examples) for one in report.of(Severity.ERROR)] == []
            assert [(one.code, one.examples) for one in report.of(Severity.WARNING)] == []
            store = Store(Draft(view, self._spool(), self.options.now))
            calibration = calibrate(store, sample=None)
            assert (health_findings(store), calibration.findings) == ((), ())
            assert {one.name: one.examples for one in calibration.rules if one.differing} == {}

    def _apply(self, name: str, version: int, members: Members, shape: str) -> ChangeSet | None:
        made = self.made
        spec = package(made.maker, name, version, members, shape)
        file = build_update(
            UpdateSpec(spec, "step.cab"), self._spool() / "step.cab", root=made.bench.root
        )
        with open_wim(made.bench.base) as wim:
            expanded = expand(file, self._spool())
            outcome = apply(expanded, open_view(wim, 1, made.sets), self.options)
        changes = self._result(outcome)
        if changes is not None:
            if spec.identity.package_name not in self.installed:
                self.installed.append(spec.identity.package_name)
            if self.with_oracle:
                self._compare(file, changes)
        return changes

    def _compare(self, file: Path, changes: ChangeSet) -> None:
        before = self.made.observe()
        folder = expand_cabinet(file, self._spool())
        want = expected_after(read_update(folder), before, conventions(self.flags))
        self.made.sets.append(changes)
        after = self.made.observe()
        self.made.sets.pop()
        assert differences(want, after) == []

    def _remove(self, number: int) -> ChangeSet | None:
        if not self.installed:
            return None
        name = self.installed[-1 - number % len(self.installed)]
        with open_wim(self.made.bench.base) as wim:
            view = open_view(wim, 1, self.made.sets)
            changes = self._result(remove([name], view, self.options, self._spool()))
        if changes is not None:
            self.installed.remove(name)
        return changes

    def _switch(self, feature: str, on: bool) -> ChangeSet | None:
        with open_wim(self.made.bench.base) as wim:
            view = open_view(wim, 1, self.made.sets)
            return self._result(set_features({feature: on}, view, self.options, self._spool()))

    def _clean(self, reset_base: bool) -> ChangeSet | None:
        with open_wim(self.made.bench.base) as wim:
            view = open_view(wim, 1, self.made.sets)
            outcome = clean_up(view, self._spool(), self.options.now, reset_base=reset_base)
        if outcome.verdict is not Verdict.APPLIED:
            assert {one.code for one in outcome.findings} == {"reset-base-disabled"}
        return outcome.changes

    def _result(self, outcome: Outcome) -> ChangeSet | None:
        if outcome.verdict is Verdict.APPLIED:
            assert outcome.changes is not None
            return outcome.changes
        assert outcome.changes is None
        assert outcome.code in EXPECTED_REFUSALS, outcome
        return None

    def _spool(self) -> Path:
        self.number += 1
        folder = self.made.bench.folder / f"sequence-{self.number}"
        folder.mkdir()
        return folder


@pytest.mark.parametrize(
    ("generation", "flags", "seeds", "steps", "with_oracle"),
    [
        (Generation.WINDOWS_7, FLAGS_A, range(SHORT, SHORT + 1), 8, False),
        *(
            pytest.param(one, flags, range(25), 12, True, marks=pytest.mark.slow)
            for one, flags in (
                (Generation.WINDOWS_7, FLAGS_B),
                (Generation.WINDOWS_10, FLAGS_A),
                (Generation.WINDOWS_11, FLAGS_B),
            )
        ),
    ],
)
def test_a_store_is_whole_after_every_step(
    tmp_path: Path,
    practice_signer: PracticeRoot,
    generation: Generation,
    flags: StoreFlags,
    seeds: range,
    steps: int,
    with_oracle: bool,
) -> None:
    spec = ImageSpec(generation, size_bytes=1 << 19, components=4, flags=flags)
    made = Workshop.open(tmp_path, practice_signer, spec)
    done: Counter[str] = Counter()
    for seed in seeds:
        folder = tmp_path / f"seed-{seed}"
        folder.mkdir()
        (folder / "base.wim").hardlink_to(made.bench.base)
        fresh = Workshop(replace(made.bench, folder=folder), generation, made.remembered)
        sequence = Sequence(fresh, flags, with_oracle=with_oracle)
        for step in Dice(seed).steps(steps):
            sequence.do(step)
        done += sequence.done
        subprocess.run(["wimlib-imagex", "verify", fresh.commit()], check=True, capture_output=True)
        shutil.rmtree(folder)
    assert done["apply"] >= 2 * len(seeds)
    assert done["remove"] >= len(seeds) // 2 + 1
