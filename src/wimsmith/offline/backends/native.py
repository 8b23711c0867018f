"""Servicing by Wimsmith's own engine: the folder of a finished step is a saved change set."""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from wimsmith.errors import (
    CleanUpFailed,
    DamagedInput,
    InvalidState,
    LimitExceeded,
    NotSupported,
    Untrusted,
)
from wimsmith.offline import changes
from wimsmith.offline.backends.interface import (
    NOTHING_DONE,
    CleanUpReport,
    GateReport,
    PlannedUpdate,
    Probe,
    StepOutcome,
)
from wimsmith.offline.changes import ChangeSet
from wimsmith.offline.commit import CommitReport, commit_views
from wimsmith.offline.components.cleanup.clean import clean_up
from wimsmith.offline.components.cleanup.report import Fate
from wimsmith.offline.components.cleanup.sizes import freed_content, require_single_index
from wimsmith.offline.components.features.switching import set_features
from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.gate.remembered import calibrated, remember
from wimsmith.offline.components.gate.report import CalibrationReport
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.components.install.reasons import component_reasons
from wimsmith.offline.components.install.several import apply_parts
from wimsmith.offline.components.outcome import Outcome, finding_of, refused
from wimsmith.offline.components.removal.names import packages_named
from wimsmith.offline.components.removal.removing import remove
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.components.verification.result import verify_written
from wimsmith.offline.edits.kinds import Edit
from wimsmith.offline.edits.planning import plan_edits
from wimsmith.offline.facts import image_facts
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.inplace import hold_for_replacing
from wimsmith.offline.packages.facts import UpdateFacts, inspect, inspect_all
from wimsmith.offline.packages.package import PackagePart, expand_parts
from wimsmith.offline.packages.trust.following import verify_file
from wimsmith.offline.planning.description import UpdateDescription, describe
from wimsmith.offline.planning.order import Chosen
from wimsmith.offline.planning.plan import plan
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.verdicts import Verdict
from wimsmith.offline.wim.format.container import Wim
from wimsmith.offline.wim.verbs.export import ExportReport, export_images
from wimsmith.offline.wim.workers.budget import codec_workers
from wimsmith.offline.wim.workers.worker import CodecPool
from wimsmith.offline.wim.writing.making import opened
from wimsmith.offline.wim.writing.watch import Watch

_NOWHERE = Path("/nonexistent")
"""Where a draft that is only read would keep new content."""


class NativeBackend:
    """Servicing by Wimsmith's own engine; experimental."""

    name = "native"

    def probe(self, image: Path, index: int, progress: Progress = silent) -> Probe:
        """See `Backend.probe`."""
        with opened(image, Watch(progress)) as wim:
            view = open_view(wim, index)
            facts = image_facts(view)
            health = health_findings(_store_of(view)) if facts else ()
            return Probe(index, facts, health)

    def inspect(self, update: Path, work: Path, progress: Progress = silent) -> UpdateFacts:
        """See `Backend.inspect`."""
        return inspect(update, work, examine=component_reasons, progress=progress)

    @contextmanager
    def open(
        self,
        image: Path,
        work: Path,
        options: ApplyOptions,
        *,
        done: Mapping[int, Sequence[Path]] = NOTHING_DONE,
        passed: Collection[int] = (),
        replace: bool = False,
        progress: Progress = silent,
    ) -> "Iterator[NativeSession]":
        """See `Backend.open`."""
        watch = Watch(progress)
        watch.tell(Event("open image"))
        with opened(image, watch) as wim:
            if replace:
                hold_for_replacing(wim)
            yield NativeSession(wim, work, options, done, watch, passed=passed, replace=replace)

    def export(self, source: Path, target: Path, progress: Progress = silent) -> ExportReport:
        """See `Backend.export`."""
        return export_images(source, None, target, progress=progress)


class NativeSession:
    """One run on one image. Opening an index takes long, so it is kept for the steps to come."""

    def __init__(
        self,
        wim: Wim,
        work: Path,
        options: ApplyOptions,
        done: Mapping[int, Sequence[Path]],
        watch: Watch,
        *,
        passed: Collection[int],
        replace: bool,
    ) -> None:
        self._wim = wim
        self._work = work
        self._options = options
        self._done = {number: list(folders) for number, folders in done.items() if folders}
        self._watch = watch
        self._passed = set(passed)
        self._replace = replace
        self._views: dict[int, ImageView] = {}
        self._ended = False

    def gate(self, index: int) -> GateReport:
        """See `Session.gate`."""
        store = _store_of(self._view(index))
        allow = self._options.allow_not_generalised
        findings = health_findings(store, allow_not_generalised=allow)
        if findings:
            return GateReport(findings)
        report = calibrated(store, self._watch.tell)
        if not report.findings:
            self._passed.add(index)
        return GateReport(report.findings, tuple(report.as_data()["rules"]))

    def plan(self, index: int, updates: Sequence[Path]) -> tuple[PlannedUpdate, ...]:
        """See `Session.plan`."""
        described = {key: self._described(update) for key, update in enumerate(updates)}
        chosen = [Chosen(key, one) for key, one in described.items() if one is not None]
        try:
            steps = plan(_store_of(self._view(index)), chosen).steps
        except DamagedInput:  # of packages nested beyond all use; applying tells of which update
            return tuple(PlannedUpdate(update) for update in updates)
        known = [PlannedUpdate(updates[one.key], one.judgement.decisive) for one in steps]
        others = (PlannedUpdate(updates[key]) for key, one in described.items() if one is None)
        return (*known, *others)

    def apply(self, index: int, update: Path, out: Path) -> StepOutcome:
        """See `Session.apply`."""

        def work(view: ImageView, spool: Path) -> Outcome:
            try:
                parts = expand_parts(update, spool, progress=self._watch.tell)
                if len(parts) > 1 or parts[0].package is not None:
                    verify_file(update, self._options.trust)
            except (NotSupported, Untrusted, DamagedInput, LimitExceeded) as error:
                return refused(update.name, error)
            return self._apply(index, view, parts)

        return self._step(index, out, work)

    def remove(self, index: int, package: str, out: Path) -> StepOutcome:
        """See `Session.remove`."""

        def work(view: ImageView, spool: Path) -> Outcome:
            try:
                found = packages_named(_store_of(view), package)
            except (NotSupported, DamagedInput) as error:
                return refused(package, error)
            names = [one.package_name for one in found] or [package]
            return remove(names, view, self._options, spool, self._watch.tell)

        return self._step(index, out, work)

    def set_features(self, index: int, wanted: Mapping[str, bool], out: Path) -> StepOutcome:
        """See `Session.set_features`."""

        def work(view: ImageView, spool: Path) -> Outcome:
            return set_features(wanted, view, self._options, spool, self._watch.tell)

        return self._step(index, out, work)

    def edit(self, index: int, edits: Sequence[Edit], out: Path) -> StepOutcome:
        """See `Session.edit`."""
        with self._scratch() as spool:
            now = self._options.now
            made = plan_edits(self._view(index), edits, spool, now, self._watch.tell)
            del self._views[index]  # it has the edits, whose content goes with the spool
            if made.error is not None:
                finding = finding_of(made.named_error() or made.error)
                return StepOutcome(finding.verdict, finding.code, finding.text, (finding,))
            folder = self._save(index, made.changes, out)
        if folder is None:
            return StepOutcome(Verdict.INSTALLED, "unchanged", "all of it is so already")
        count = sum(one.change_count for one in made.results)
        text = " ".join(
            [f"{count} changes.", *(sentence for one in made.results for sentence in one.warnings)]
        )
        return StepOutcome(Verdict.APPLIED, "applied", text, folder=folder)

    def clean_up(self, index: int, out: Path, *, reset_base: bool) -> CleanUpReport:
        """See `Session.clean_up`."""
        view = self._view(index)
        try:
            require_single_index(self._wim)
        except NotSupported as error:
            raise CleanUpFailed(error, hint=error.hint) from error
        with self._scratch() as spool:
            outcome = clean_up(
                view,
                spool,
                self._options.now,
                reset_base=reset_base,
                allow_not_generalised=self._options.allow_not_generalised,
                progress=self._watch.tell,
            )
            if outcome.verdict is not Verdict.APPLIED or outcome.report is None:
                raise CleanUpFailed(f"{outcome.text} ({outcome.code})")
            before = freed_content(view).packed_bytes
            folder = self._save(index, outcome.changes, out)
        report = outcome.report
        return CleanUpReport(
            reset_base=report.reset_base,
            text=outcome.text,
            removed=tuple(one.name for one in report.entries if one.fate is Fate.REMOVED),
            emptied=tuple(one.name for one in report.entries if one.fate is Fate.EMPTIED),
            counts=tuple(
                {"kind": kind, "fate": fate, "reason": reason, "count": count}
                for (kind, fate, reason), count in sorted(report.counts.items())
            ),
            logical_bytes=report.logical_bytes,
            packed_bytes=freed_content(view).packed_bytes - before,
            folder=folder,
            warnings=report.warnings,
        )

    def commit(self, target: Path | None) -> CommitReport:
        """See `Session.commit`."""
        if (target is None) != self._replace:
            raise InvalidState("a session either replaces its image or names a target")
        if not self._done:
            raise InvalidState("nothing was changed")
        views = {number: self._view(number) for number in sorted(self._done)}
        self._end()
        workers = codec_workers(self._wim.compression, self._wim.chunk_size)
        with CodecPool(workers, beat=self._watch.beat) as codec:
            return commit_views(
                self._wim,
                views,
                target or self._wim.path.resolve(),
                codec=codec,
                modified=self._options.now,
                in_place=self._replace,
                prove=partial(verify_written, views=views, progress=self._watch.tell),
                progress=self._watch.tell,
            )

    def discard(self) -> None:
        """See `Session.discard`."""
        self._end()
        for folders in self._done.values():
            for folder in folders:
                shutil.rmtree(folder)

    def _apply(self, index: int, view: ImageView, parts: Sequence[PackagePart]) -> Outcome:
        (first, *others) = parts
        if others:
            del self._views[index]  # parts are stacked on it, whose content goes with the spool
            return apply_parts(parts, view, self._options, self._watch.tell)
        if first.package is not None:
            return apply(first.package, view, self._options, self._watch.tell)
        assert first.obstacle is not None, "a package that is not opened says why"
        return refused(first.name, first.obstacle.as_error())

    def _described(self, update: Path) -> UpdateDescription | None:
        """What planning needs of an update; None for files whose fault `apply` tells."""
        with self._scratch() as spool:
            try:
                facts, packages = inspect_all(update, spool, progress=self._watch.tell)
            except (DamagedInput, LimitExceeded, NotSupported, Untrusted):
                return None
            return describe(facts, packages)

    def _step(
        self, index: int, out: Path, work: Callable[[ImageView, Path], Outcome]
    ) -> StepOutcome:
        """Do one step in a scratch folder of its own, and save what it changes."""
        view = self._view(index)
        with self._scratch() as spool:
            outcome = work(view, spool)
            saved = self._save(index, outcome.changes, out)
        return StepOutcome(
            verdict=outcome.verdict,
            code=outcome.code,
            text=outcome.text,
            findings=outcome.findings,
            packages=outcome.packages,
            folder=saved,
        )

    def _save(self, index: int, made: ChangeSet | None, out: Path) -> Path | None:
        """Save a change set, and let the steps to come see it."""
        if not made:
            return None
        self._watch.tell(Event("save changes"))
        changes.save(made, out)
        if index in self._views:
            self._views[index].stack(changes.load(out))
        self._done.setdefault(index, []).append(out)
        return out

    def _view(self, index: int) -> ImageView:
        if self._ended:
            raise InvalidState("the session has ended")
        if index not in self._views:
            saved = [changes.load(folder) for folder in self._done.get(index, ())]
            self._views[index] = open_view(self._wim, index, saved)
            if index in self._passed:
                remember(self._views[index], CalibrationReport(()))
        return self._views[index]

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """An empty folder, which goes when the step ends; one that a crash left goes first."""
        folder = self._work / "scratch"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _end(self) -> None:
        if self._ended:
            raise InvalidState("the session has ended")
        self._ended = True


def _store_of(view: ImageView) -> Store:
    """The component store of an index, to be looked at."""
    return Store(Draft(view, _NOWHERE, 0))
