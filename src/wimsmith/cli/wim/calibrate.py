"""`wimsmith wim calibrate`: whether an image is understood well enough to be serviced."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from wimsmith.cli.output import (
    counted,
    note,
    options,
    print_json,
    print_line,
    print_table,
    progress_bar,
)
from wimsmith.cli.wimfile import References, open_file, printable
from wimsmith.errors import AlreadyExists, DamagedHive, NotSupported
from wimsmith.offline.components.gate.calibration import DEFAULT_SAMPLE
from wimsmith.offline.components.gate.calibration import calibrate as calibrated
from wimsmith.offline.components.gate.fingerprint import fingerprint as anonymised
from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.gate.report import CalibrationReport, RuleReport
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.image import open_view
from wimsmith.offline.progress import Progress
from wimsmith.offline.verdicts import Finding, Verdict, first
from wimsmith.offline.wim.format.container import Wim, naming
from wimsmith.offline.wim.writing.staging import Staging

Flag = Annotated[bool, Parameter(negative="")]
_GUIDE = "docs/guides/calibration.md"
_NOWHERE = Path("/nonexistent")
_NEXT = "`wimsmith wim service` applies updates to it."
_HINTS: Mapping[str, str] = {
    "pending": "Start Windows from the image once, so that it finishes its work, and capture it.",
    "image-damaged": "Take another image; `wimsmith wim health` says what is damaged.",
    "os-too-old": "Windows Vista is the oldest that is serviced.",
    "not-generalised": "Run sysprep /generalize and capture again, or --allow-not-generalised.",
}


def calibrate(
    file: Path,
    index: Annotated[int, Parameter(alias="-i")],
    *,
    full: Flag = False,
    fingerprint: Path | None = None,
    allow_not_generalised: Flag = False,
    ref: References = (),
) -> None:
    """Check whether the Windows in an image can be serviced, without changing anything.

    Before Wimsmith writes into an image, it re-derives what the image has: names, hashes, links,
    registry content. Each rule that does so is shown with the examples it was tried on:
    understood, not understood, or no example. A rule that is not understood stops servicing.

    With --fingerprint a file is written that you may send to the project: rules, counts and flags,
    no contents, no paths, no names but those that Microsoft publishes. The exit code is 39 if the
    image would be refused.

    Example: wimsmith wim calibrate install.wim 1 --fingerprint install.json

    Args:
        file: WIM file; it is only read.
        index: Number of the image, from 1.
        full: Look at everything instead of a sample; some minutes for a large image.
        fingerprint: New file for the anonymised form of the report.
        allow_not_generalised: Accept the Windows of one computer, as servicing would with the same
            option.
        ref: WIM file with content that FILE lacks (delta, metadata-only); may be repeated.
    """
    if fingerprint is not None and fingerprint.exists():
        raise AlreadyExists(str(fingerprint))
    with open_file(file, ref) as wim, naming(file), progress_bar() as progress:
        health, report = _examined(
            wim, index, progress, full=full, allow_not_generalised=allow_not_generalised
        )
    if options.json:
        stopping = [asdict(one) for one in health]
        print_json({"health": stopping, "calibration": report.as_data() if report else None})
    else:
        _tell(health, report)
    if fingerprint is not None and report is not None:
        _write_fingerprint(fingerprint, report, health)
        note(f"{fingerprint} was written; {_GUIDE} says what is in it and where to send it")
    _judge(health, report)


def _examined(
    wim: Wim, index: int, progress: Progress, *, full: bool, allow_not_generalised: bool
) -> tuple[tuple[Finding, ...], CalibrationReport | None]:
    """What stops servicing, and the report, unless the hives are too damaged for one."""
    found: tuple[Finding, ...] = ()
    sample = None if full else DEFAULT_SAMPLE
    try:
        store = Store(Draft(open_view(wim, index), _NOWHERE, now=0))
        found = health_findings(store, allow_not_generalised=allow_not_generalised)
        return found, calibrated(store, progress, sample=sample)
    except DamagedHive as error:
        damage = Finding(Verdict.NOT_SUPPORTED, "image-damaged", str(error))
        return found or (damage,), None


def _tell(health: Sequence[Finding], report: CalibrationReport | None) -> None:
    for finding in health:
        print_line(f"{finding.code}: {printable(finding.text)}")
    if report is None:
        return
    columns = ("rule", "state", "matched", "checked", "exempt")
    print_table(columns, [_row(rule) for rule in report.rules])
    for rule in report.rules:
        for example in rule.examples:
            print_line(f"{rule.name}: {printable(example.subject)}: {printable(example.text)}")
    for rule in report.rules:
        for reason, count in rule.exempt.items():
            print_line(f"{rule.name}: exempt, {printable(reason)}: {count}")


def _row(rule: RuleReport) -> tuple[object, ...]:
    exempt = sum(rule.exempt.values())
    word = f"{rule.word} (needed)" if rule.finding and not rule.checked else str(rule.word)
    return (rule.name, word, rule.matched, rule.checked, exempt)


def _write_fingerprint(target: Path, report: CalibrationReport, health: Sequence[Finding]) -> None:
    text = json.dumps(anonymised(report, health), indent=2) + "\n"
    with Staging(target) as staging:
        part = staging.folder / "fingerprint"
        part.write_text(text, encoding="ascii")
        staging.publish_file(part, overwrite=False)


def _judge(health: Sequence[Finding], report: CalibrationReport | None) -> None:
    """Say what comes next; raises NotSupported if the image would be refused."""
    decisive = first((*health, *(report.findings if report else ())))
    if decisive is None:
        looked = counted(len(report.rules) if report else 0, "rule")
        note(f"This image can be serviced: none of {looked} stands against it. {_NEXT}")
        return
    raise NotSupported(decisive.code, decisive.text, hint=_hint(decisive.code))


def _hint(code: str) -> str:
    if code.startswith("calibration:"):
        return f"Write a fingerprint with --fingerprint and send it: {_GUIDE} says where to."
    return _HINTS[code]
