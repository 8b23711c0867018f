"""Everything that can be asked of an image, asked of one that may hold anything.

Each verb ends in a verdict with its reason, or in one of our errors. Only what is applied, cleaned
or planned has changes, and these can be written.
"""

import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from offline.components.kit import unpacked
from wimsmith.errors import WimsmithError
from wimsmith.offline.changes import ChangeSet
from wimsmith.offline.components.cleanup.clean import clean_up
from wimsmith.offline.components.features.switching import set_features
from wimsmith.offline.components.gate.calibration import calibrate
from wimsmith.offline.components.gate.fingerprint import fingerprint
from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.gate.remembered import remember
from wimsmith.offline.components.gate.report import CalibrationReport
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.components.install.reasons import component_reasons
from wimsmith.offline.components.removal.names import packages_named
from wimsmith.offline.components.removal.removing import remove
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.components.verification.examine import examine
from wimsmith.offline.edits.kinds import Edit, RemovePackage, SetFeature, SetRegistryValue
from wimsmith.offline.edits.planning import plan_edits
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.packages.facts import facts_of
from wimsmith.offline.planning.description import UpdateDescription, describe
from wimsmith.offline.planning.order import Chosen
from wimsmith.offline.planning.plan import plan
from wimsmith.offline.planning.snapshot import Snapshot, pack, take, unpack
from wimsmith.offline.verdicts import Finding, Verdict
from wimsmith.offline.wim.format.container import Wim

REFUSED = "refused"


@dataclass
class Asked:
    """One image with changes stacked on it, and an update; each verb is asked on its own view.

    `seen` are the codes of all answers by the name of the verb.
    """

    wim: Wim
    sets: list[ChangeSet]
    files: dict[str, bytes]
    names: tuple[str, ...]
    features: tuple[str, ...]
    options: ApplyOptions
    folder: Path
    chance: random.Random
    seen: set[tuple[str, str]] = field(default_factory=set)
    made: list[ChangeSet] = field(default_factory=list)

    def ask(self, *verbs: str) -> None:
        """Ask verbs by name, all of them if none is named."""
        for name in verbs or VERBS:
            try:
                code = VERBS[name](self)
            except WimsmithError as error:
                code = error.code
            self.seen.add((name, code))

    @property
    def view(self) -> ImageView:
        """The image; every other time its calibration counts as passed, so that more is reached."""
        view = open_view(self.wim, 1, self.sets)
        if self.chance.randrange(2):
            remember(view, CalibrationReport(()))
        return view

    def store(self) -> Store:
        return Store(Draft(self.view, Path(os.devnull), 0))

    def spool(self) -> Path:
        return self.folder / f"spool-{len(list(self.folder.iterdir()))}"

    def kept(self, changes: ChangeSet | None, *, done: bool, findings: Iterable[Finding]) -> None:
        """What is done can be written; what is not says why and has nothing to be written."""
        assert done == (changes is not None)
        if changes is None:
            assert list(findings)
            return
        after = open_view(self.wim, 1, [*self.sets, changes])
        for hive in after.changed_hives().values():
            hive.serialize(self.options.now)
        for content in changes.content.values():
            assert content.path.stat().st_size == content.size_bytes
        self.made.append(changes)


def _gate(asked: Asked) -> str:
    return _first(health_findings(asked.store()))


def _calibrated(asked: Asked) -> str:
    report = calibrate(asked.store(), sample=None)
    fingerprint(report, salt=bytes(16))
    return _first(report.findings)


def _planned(asked: Asked) -> str:
    """Plan two updates against the image, and against a snapshot of it: both say the same."""
    package = unpacked(asked.files, asked.folder / "planned")
    package.source.touch()
    described = describe(facts_of(package, examine=component_reasons), [package])
    assert described is not None
    kept = UpdateDescription.from_data(unpack(pack(described.as_data())))
    store = asked.store()
    snapshot = Snapshot.from_data(unpack(pack(take(store).as_data())))
    chosen = [Chosen(1, kept), Chosen(2, kept)]
    found = plan(store, chosen)
    again = plan(snapshot, chosen)
    assert [one.judgement.findings for one in found.steps] == [
        one.judgement.findings for one in again.steps
    ]
    decisive = found.steps[0].judgement.decisive
    return decisive.code if decisive else ""


def _installed(asked: Asked) -> str:
    package = unpacked(asked.files, asked.folder / "installed")
    outcome = apply(package, asked.view, asked.options)
    asked.kept(outcome.changes, done=outcome.verdict is Verdict.APPLIED, findings=outcome.findings)
    return outcome.code


def _removed(asked: Asked) -> str:
    outcome = remove(_package(asked), asked.view, asked.options, asked.spool())
    asked.kept(outcome.changes, done=outcome.verdict is Verdict.APPLIED, findings=outcome.findings)
    return outcome.code


def _package(asked: Asked) -> list[str]:
    """One of the packages that are named, by the names that the image has for it."""
    name = asked.chance.choice(asked.names)
    packages = packages_named(asked.store(), name)
    return [one.package_name for one in packages] or [name]


def _switched(asked: Asked) -> str:
    wanted = {name: bool(asked.chance.randrange(2)) for name in asked.features}
    outcome = set_features(wanted, asked.view, asked.options, asked.spool())
    if outcome.verdict is Verdict.INSTALLED:
        return outcome.code
    asked.kept(outcome.changes, done=outcome.verdict is Verdict.APPLIED, findings=outcome.findings)
    return outcome.code


def _cleaned(asked: Asked) -> str:
    reset_base = bool(asked.chance.randrange(2))
    outcome = clean_up(asked.view, asked.spool(), asked.options.now, reset_base=reset_base)
    asked.kept(outcome.changes, done=outcome.verdict is Verdict.APPLIED, findings=outcome.findings)
    return outcome.code


def _examined(asked: Asked) -> str:
    report = examine(asked.view, content=bool(asked.chance.randrange(2)))
    for one in report.problems:
        assert one.count >= len(one.examples) > 0
    return report.problems[0].code if report.problems else ""


def _edited(asked: Asked) -> str:
    edits: list[Edit] = [
        SetRegistryValue(r"HKLM\SYSTEM\CurrentControlSet\Control", "x", 4, bytes(4)),
        SetFeature(asked.chance.choice(asked.features), enabled=True),
        *map(RemovePackage, _package(asked)),
    ]
    chosen = asked.chance.sample(edits, asked.chance.randrange(1, len(edits) + 1))
    planned = plan_edits(asked.view, chosen, asked.spool(), asked.options.now)
    assert (planned.changes is None) == (planned.error is not None)
    if planned.error is not None:
        assert str(planned.named_error())
        return REFUSED
    asked.kept(planned.changes, done=True, findings=())
    return ""


def _first(findings: tuple[Finding, ...]) -> str:
    return findings[0].code if findings else ""


VERBS: dict[str, Callable[[Asked], str]] = {
    "gate": _gate,
    "calibrate": _calibrated,
    "plan": _planned,
    "install": _installed,
    "remove": _removed,
    "features": _switched,
    "clean up": _cleaned,
    "health": _examined,
    "edit": _edited,
}
