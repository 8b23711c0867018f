"""Clean-up of one index: superseded versions out of the store as a change set, or nothing.

Nothing here writes a WIM; what the change set frees is `sizes.freed_content`.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from wimsmith.errors import Cancelled, Interrupted, WimsmithError
from wimsmith.offline import paths
from wimsmith.offline.components.cleanup.closure import check_result, gaps
from wimsmith.offline.components.cleanup.facts import StoreFacts, read_facts
from wimsmith.offline.components.cleanup.knowledge import package_knowledge, unreadable_components
from wimsmith.offline.components.cleanup.report import (
    CleanupOutcome,
    CleanupReport,
    Entry,
    Fate,
    Kind,
)
from wimsmith.offline.components.cleanup.resetbase import note_reset, why_skipped
from wimsmith.offline.components.cleanup.rules import Decision, decide
from wimsmith.offline.components.cleanup.sizes import SizedView, files_below, removed_files
from wimsmith.offline.components.cleanup.writing import Writer
from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.gate.remembered import calibrated
from wimsmith.offline.components.outcome import decided, finding_of
from wimsmith.offline.components.store.basemanifest import ManifestReader
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import WINSXS, Store
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.verdicts import Finding, Verdict
from wimsmith.offline.wim.format.tree import Entry as Name

log = logging.getLogger("wimsmith.offline")

_MAX_FINDINGS = 50


def clean_up(
    view: SizedView,
    spool: Path,
    now: int,
    *,
    reset_base: bool,
    allow_not_generalised: bool = False,
    progress: Progress = silent,
) -> CleanupOutcome:
    """Remove what newer versions have replaced from the component store of one index.

    Without `reset_base` superseded packages go, with the components that nothing else uses, and
    installed updates can still be removed. With it the payload of every replaced version goes:
    installed updates stay for good. Where the image has switched that off, as Windows 11 has, it is
    cleaned up without, and the report warns of it.

    Args:
        view: the index, with what has been done to it so far.
        spool: folder for content; clean-up brings none.
        now: FILETIME of the run.
        reset_base: whether to reset the base as well.
        allow_not_generalised: whether the Windows of one computer may be cleaned all the same.
        progress: told about manifests read and components removed.

    Raises:
        Cancelled, Interrupted: `progress` asked for it.
        OSError: the file cannot be read.
    """
    log.info("Cleaning up the component store%s", " and resetting its base" if reset_base else "")
    try:
        run = _Cleanup(view, spool, now, progress, reset_base=reset_base)
        outcome = run.run(allow_not_generalised=allow_not_generalised)
    except (Cancelled, Interrupted):
        raise
    except WimsmithError as error:
        outcome = _refused((finding_of(error),), None)
    _log(outcome)
    return outcome


class _Cleanup:
    def __init__(
        self, view: SizedView, spool: Path, now: int, progress: Progress, *, reset_base: bool
    ) -> None:
        self.view = view
        self.now = now
        self.progress = progress
        self.reset_base = reset_base
        self.warnings: tuple[str, ...] = ()
        self.draft = Draft(view, spool, now)
        self.store = Store(self.draft)
        self.reader = ManifestReader(Store(Draft(view, spool, now)))

    def run(self, *, allow_not_generalised: bool) -> CleanupOutcome:
        findings = health_findings(self.store, allow_not_generalised=allow_not_generalised)
        if findings:
            return _refused(findings, None)
        if self.reset_base and (skipped := why_skipped(self.store)):
            self.reset_base, self.warnings = False, (skipped,)
        findings = calibrated(self.store, self.progress).findings
        if findings:
            return _refused(findings, None)
        facts = read_facts(self.store)
        damage = tuple(islice(map(_damaged, gaps(self.store, facts)), _MAX_FINDINGS))
        if damage:
            return _refused(damage, None)
        decision = self._decide(facts)
        linked = tuple(islice(self._linked_payload(facts, decision), _MAX_FINDINGS))
        if linked:
            return _refused(linked, self._report(facts, decision, ()))
        return self._write(facts, decision)

    def _decide(self, facts: StoreFacts) -> Decision:
        """Decide, and decide again without what turns out to be unreadable."""
        knowledge = package_knowledge(self.store, facts)
        checked: set[str] = set()
        while True:
            decision = decide(facts, knowledge, reset_base=self.reset_base)
            leaving = {
                name: facts.components[name]
                for fate in (Fate.REMOVED, Fate.EMPTIED)
                for name in decision.components_with(fate)
                if name not in checked
            }
            unreadable = unreadable_components(self.reader, leaving, self.progress)
            if not unreadable:
                return decision
            checked |= leaving.keys()
            knowledge = replace(knowledge, unreadable=knowledge.unreadable | unreadable)

    def _linked_payload(self, facts: StoreFacts, decision: Decision) -> Iterator[Finding]:
        """Payload that is to go and that the system uses under another name."""
        going = {
            paths.fold(self.store.payload_path(facts.components[name].key))
            for fate in (Fate.REMOVED, Fate.EMPTIED)
            for name in decision.components_with(fate)
        }
        for folder in sorted(going):
            entry = self.view.find(folder)
            for file in files_below(entry) if entry else ():
                in_use = next(self._names_in_use(file, going), None)
                if in_use is not None:
                    text = f"{file.path} is to go, but {in_use} is the same file"
                    yield Finding(Verdict.NOT_SUPPORTED, "linked-payload", text)

    def _names_in_use(self, file: Name, going: set[str]) -> Iterator[str]:
        """Names of a file outside the store; none if payload that stays has the file as well."""
        store = paths.fold(f"{self.store.image.windows}/{WINSXS}") + "/"
        names = [paths.fold(one.path) for one in file.inode.entries]
        folders = [
            store + name.removeprefix(store).partition("/")[0]
            for name in names
            if name.startswith(store)
        ]
        if all(folder in going for folder in folders):
            yield from (one.path for one in file.inode.entries if not _is_below(one.path, store))

    def _write(self, facts: StoreFacts, decision: Decision) -> CleanupOutcome:
        others = Writer(self.store, facts, decision).write(self.progress)
        if self.reset_base:
            note_reset(self.store, self.now)
        check_result(self.store, facts, read_facts(self.store), decision)
        report = self._report(facts, decision, others)
        changed = any(one.fate is not Fate.KEPT for one in report.entries)
        code = "cleaned" if changed else "nothing-to-clean"
        changes = self.draft.changes
        return CleanupOutcome(Verdict.APPLIED, code, _summary(report), (), changes, report)

    def _report(
        self, facts: StoreFacts, decision: Decision, others: tuple[Entry, ...]
    ) -> CleanupReport:
        count, size_bytes = removed_files(self.view, self.draft.changes.tree)
        judged = (
            (Kind.PACKAGE, decision.packages, {n: one.name for n, one in facts.packages.items()}),
            (
                Kind.DEPLOYMENT,
                decision.deployments,
                {n: one.key for n, one in facts.deployments.items()},
            ),
            (
                Kind.COMPONENT,
                decision.components,
                {n: one.key for n, one in facts.components.items()},
            ),
        )
        entries = [
            Entry(kind, names[name], one.fate, one.reason, one.by)
            for kind, judgements, names in judged
            for name, one in sorted(judgements.items())
        ]
        return CleanupReport((*entries, *others), size_bytes, count, self.reset_base, self.warnings)


def _is_below(path: str, folder: str) -> bool:
    return paths.fold(path).startswith(folder)


def _damaged(text: str) -> Finding:
    return Finding(Verdict.NOT_SUPPORTED, "image-damaged", text)


def _refused(findings: tuple[Finding, ...], report: CleanupReport | None) -> CleanupOutcome:
    outcome = decided(findings)
    return CleanupOutcome(outcome.verdict, outcome.code, outcome.text, findings, None, report)


def _summary(report: CleanupReport) -> str:
    packages = len(report.of(Kind.PACKAGE, Fate.REMOVED))
    removed = len(report.of(Kind.COMPONENT, Fate.REMOVED))
    emptied = len(report.of(Kind.COMPONENT, Fate.EMPTIED))
    more = f", the payload of {emptied} more" if emptied else ""
    return (
        f"{packages} packages and {removed} components removed{more}; "
        f"{report.file_count} files, {report.logical_bytes} bytes"
    )


def _log(outcome: CleanupOutcome) -> None:
    """Write what became of the clean-up to the log: counts by reason, or what is against it."""
    if outcome.verdict is Verdict.NOT_SUPPORTED:
        log.warning("%s: %s", outcome.code, outcome.text)
    log.info("Clean-up: %s (%s): %s", outcome.verdict, outcome.code, outcome.text)
    for warning in outcome.report.warnings if outcome.report else ():
        log.warning("%s", warning)
    for finding in outcome.findings:
        log.info("  %s %s: %s", finding.verdict, finding.code, finding.text)
    for (kind, fate, reason), count in sorted(
        outcome.report.counts.items() if outcome.report else ()
    ):
        log.info("  %s %s (%s): %d", kind, fate, reason, count)
