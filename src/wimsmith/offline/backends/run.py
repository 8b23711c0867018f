"""One run on one index of a file, without a site: what is asked for, in order, into one new file.

The site does the same steps one by one, each of them durable. Here they follow each other in one
session, and no file is written before all of them are done.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from wimsmith.errors import NothingApplied, PartlyApplied, UpdateFailed
from wimsmith.offline.backends.interface import (
    Backend,
    CleanUpReport,
    GateReport,
    Session,
    StepOutcome,
)
from wimsmith.offline.backends.sentences import (
    DISCARDING,
    GOOD,
    UNMOUNTING,
    Kind,
    phase,
    tell_beginning,
    tell_outcome,
)
from wimsmith.offline.commit import CommitReport
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.verdicts import Finding, Verdict, first

SENTENCES = "wimsmith.servicing"
"""Logger of the sentences that stand in OfflineServicingMgr.log."""

log = logging.getLogger(SENTENCES)

_ROLLED_BACK = "Rolled back: nothing was committed"


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be done to one index, in this order: remove, add, switch features, clean up.

    Args:
        image: the WIM.
        index: number of the index.
        target: the new file; None replaces the image.
        remove: packages, as identities or as KB numbers.
        updates: update files, in any order; they are put in order.
        features: which features to switch on (True) or off.
        clean_up: remove superseded components.
        reset_base: the same, and make what is installed permanent.
        export: copy the result once more, to drop what no image needs.
        continue_on_error: keep what worked when something fails.
        dry_run: only say what would be done; nothing is written.
    """

    image: Path
    index: int
    target: Path | None = None
    remove: tuple[str, ...] = ()
    updates: tuple[Path, ...] = ()
    features: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    clean_up: bool = False
    reset_base: bool = False
    export: bool = False
    continue_on_error: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one thing that was asked for."""

    kind: Kind
    name: str
    verdict: Verdict
    code: str = ""
    text: str = ""
    findings: tuple[Finding, ...] = ()
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Step:
    """Something to do; `work` gets the folder for its result."""

    kind: Kind
    name: str
    work: Callable[[Path], StepOutcome]


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run.

    `failed` names the row that ended it; then nothing was written. `freed_bytes` is by how much the
    file became smaller, negative if it grew.
    """

    backend: str
    gate: GateReport
    rows: tuple[Row, ...] = ()
    failed: str = ""
    clean_up: CleanUpReport | None = None
    commit: CommitReport | None = None
    sha256: str = ""
    before_bytes: int = 0
    committed_bytes: int = 0
    after_bytes: int = 0

    @property
    def written(self) -> bool:
        return self.commit is not None

    @property
    def freed_bytes(self) -> int:
        return self.before_bytes - self.after_bytes if self.written else 0


def judge(report: Report) -> None:
    """Return if all that was asked for is so now, or has no business in this image.

    Raises:
        UpdateFailed: something failed, and nothing was written.
        NothingApplied: nothing was done, and at least one thing should have been.
        PartlyApplied: some things were done, and at least one more should have been.
    """
    bad = [row for row in report.rows if row.verdict not in GOOD]
    if not bad:
        return
    culprit = next((row for row in bad if row.verdict is Verdict.FAILED), bad[0])
    about = f"{culprit.kind} {culprit.name}: {culprit.text or culprit.verdict} ({culprit.code})"
    if len(bad) > 1:
        about = f"{len(bad)} of {len(report.rows)}, for example {about}"
    if report.failed:
        raise UpdateFailed(about, hint="Leave it out, or say --continue-on-error.")
    kind = (
        PartlyApplied
        if any(row.verdict is Verdict.APPLIED for row in report.rows)
        else (NothingApplied)
    )
    raise kind(about, hint="`docs/concepts/verdicts.md` explains the reason codes.")


def service_file(
    backend: Backend,
    request: Request,
    options: ApplyOptions,
    work: Path,
    progress: Progress = silent,
) -> Report:
    """Do all that `request` asks for.

    Args:
        backend: who does it.
        request: what is to be done.
        options: time, trust and the like.
        work: an empty folder, which the caller removes.
        progress: may raise to cancel; then no file is left.

    Returns:
        A row for each thing that was asked for, with its verdict.

    Raises:
        CleanUpFailed: the clean-up did; nothing was written.
        VerificationFailed: the new file is not what was planned; nothing is left of it.
        NoSuchIndex, DamagedInput, AlreadyExists, InvalidState, NotEnoughSpace, OSError
    """
    return _Run(backend, request, options, work, progress).go()


class _Run:
    """A run while it is done."""

    def __init__(
        self,
        backend: Backend,
        request: Request,
        options: ApplyOptions,
        work: Path,
        progress: Progress,
    ) -> None:
        self._backend = backend
        self._request = request
        self._options = options
        self._work = work
        self._progress = progress
        self._rows: list[Row] = []
        self._changes = 0
        self._updates = request.updates

    def go(self) -> Report:
        asked = self._request
        opened = self._backend.open(
            asked.image,
            self._work,
            self._options,
            replace=asked.target is None and not asked.dry_run,
            progress=self._progress,
        )
        with opened as session:
            gate = session.gate(asked.index)
            report = Report(self._backend.name, gate, before_bytes=asked.image.stat().st_size)
            decisive = first(gate.findings)
            if decisive is not None:
                return self._ended(report, Verdict.NOT_SUPPORTED, decisive.code, decisive.text)
            for step in self._steps(session):
                if not self._do(step) and not (asked.continue_on_error or asked.dry_run):
                    log.info(DISCARDING)
                    report = replace(report, failed=step.name)
                    return self._ended(report, Verdict.NOT_ATTEMPTED, "", _ROLLED_BACK)
            clean_up = self._clean_up(session)
            report = replace(report, rows=tuple(self._rows), clean_up=clean_up)
            if not self._changes or asked.dry_run:
                return report
            report = self._commit(session, report)
        return self._export(report)

    def _steps(self, session: Session) -> Iterator[_Step]:
        asked, index = self._request, self._request.index
        for name in asked.remove:
            yield _Step(Kind.REMOVE, name, partial(session.remove, index, name))
        planned = session.plan(index, asked.updates) if asked.updates else ()
        self._updates = tuple(one.update for one in planned)
        for one in planned:
            work = partial(session.apply, index, one.update)
            if one.finding is not None:
                work = partial(_left_out, one.finding)
            yield _Step(Kind.UPDATE, one.update.name, work)
        for name, on in asked.features.items():
            kind = Kind.FEATURE_ON if on else Kind.FEATURE_OFF
            yield _Step(kind, name, partial(session.set_features, index, {name: on}))

    def _do(self, step: _Step) -> bool:
        """Do one step, and keep a row of it; False if it failed."""
        tell_beginning(log, step.kind, step.name, self._request.index)
        self._progress(Event(phase(step.kind, step.name)))
        outcome = step.work(self._folder())
        self._changes += outcome.changed
        self._rows.append(
            Row(
                step.kind,
                step.name,
                outcome.verdict,
                outcome.code,
                outcome.text,
                outcome.findings,
                outcome.packages,
            )
        )
        index, verdict = self._request.index, outcome.verdict
        dry_run = self._request.dry_run
        tell_outcome(log, step.kind, step.name, index, verdict, outcome.text, dry_run=dry_run)
        return outcome.verdict is not Verdict.FAILED

    def _clean_up(self, session: Session) -> CleanUpReport | None:
        asked = self._request
        if not (asked.clean_up or asked.reset_base):
            return None
        self._progress(Event("clean up"))
        report = session.clean_up(asked.index, self._folder(), reset_base=asked.reset_base)
        self._changes += report.changed
        for warning in report.warnings:
            log.warning("%s", warning)
        return report

    def _commit(self, session: Session, report: Report) -> Report:
        asked = self._request
        log.info(UNMOUNTING)
        target = self._work / "committed.wim" if asked.export else asked.target
        made = session.commit(target)
        return replace(
            report,
            commit=made,
            sha256=made.sha256,
            committed_bytes=made.size_bytes,
            after_bytes=made.size_bytes,
        )

    def _export(self, report: Report) -> Report:
        asked = self._request
        if report.commit is None or not asked.export or asked.target is None:
            return report
        made = self._backend.export(report.commit.path, asked.target, self._progress)
        return replace(report, after_bytes=made.size_bytes)

    def _folder(self) -> Path:
        """Where the next step may save what it changes."""
        return self._work / "steps" / f"{len(self._rows):04d}"

    def _asked(self) -> Iterator[tuple[Kind, str]]:
        """All that was asked for, in the order in which it is done."""
        yield from ((Kind.REMOVE, name) for name in self._request.remove)
        yield from ((Kind.UPDATE, update.name) for update in self._updates)
        for name, on in self._request.features.items():
            yield (Kind.FEATURE_ON if on else Kind.FEATURE_OFF), name

    def _ended(self, report: Report, verdict: Verdict, code: str, text: str) -> Report:
        """The report of a run that wrote nothing, with a row for all that was asked for."""
        done = [
            row
            if row.verdict is not Verdict.APPLIED
            else replace(row, verdict=verdict, code=code, text=text)
            for row in self._rows
        ]
        left = islice(self._asked(), len(done), None)
        others = [Row(kind, name, verdict, code, text if code else "") for kind, name in left]
        return replace(report, rows=(*done, *others))


def _left_out(finding: Finding, _out: Path) -> StepOutcome:
    """The outcome of an update of which the plan says that it is not applied."""
    return StepOutcome(finding.verdict, finding.code, finding.text, (finding,))
