"""What became of one update, or of one change to what is installed, on one index."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from wimsmith.errors import (
    Cancelled,
    DamagedHive,
    DamagedInput,
    Interrupted,
    NotSupported,
    Untrusted,
    WimsmithError,
)
from wimsmith.offline.changes import ChangeSet
from wimsmith.offline.verdicts import NOT_SUPPORTED_LINE, Finding, Verdict, ordered

log = logging.getLogger("wimsmith.offline")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one update on one index.

    Attributes:
        code, text: of the finding that decided; `applied` where none did.
        findings: all reasons, the one that decided first. Of a file with several packages that is
            applied: why some of them are not required.
        changes: what to do to the image; None unless the verdict is `APPLIED`.
        packages: names of the packages written, the top one first.
    """

    verdict: Verdict
    code: str
    text: str
    findings: tuple[Finding, ...]
    changes: ChangeSet | None
    packages: tuple[str, ...]


def refused(name: str, error: WimsmithError) -> Outcome:
    """The outcome of the update called `name`, which `error` stops, logged like every other."""
    outcome = decided((finding_of(error),))
    log_outcome(name, outcome)
    return outcome


def answered(name: str, change: Callable[[], Outcome]) -> Outcome:
    """What becomes of a change called `name`, logged; errors that stop it are reasons as well.

    Raises:
        Cancelled, Interrupted: the change was asked to end.
    """
    try:
        outcome = change()
    except (Cancelled, Interrupted):
        raise
    except WimsmithError as error:
        return refused(name, error)
    log_outcome(name, outcome)
    return outcome


def finding_of(error: WimsmithError) -> Finding:
    """What an error means as a verdict."""
    match error:
        case NotSupported():
            return Finding(Verdict.NOT_SUPPORTED, error.reason, str(error.args[1]))
        case Untrusted():
            return Finding(Verdict.FAILED, error.reason, str(error))
        case DamagedHive():  # packages hold no hives: it is one of the image
            return Finding(Verdict.NOT_SUPPORTED, "image-damaged", str(error))
        case DamagedInput():
            return Finding(Verdict.FAILED, f"damaged:{error.code}", str(error))
    return Finding(Verdict.FAILED, error.code, str(error))


def decided(findings: tuple[Finding, ...]) -> Outcome:
    """The outcome without changes that `findings`, at least one, lead to."""
    assert findings, "an outcome without changes has a reason"
    told = ordered(findings)
    decisive = told[0]
    return Outcome(decisive.verdict, decisive.code, decisive.text, told, None, ())


def log_outcome(name: str, outcome: Outcome) -> None:
    """Write what became of the update or package `name` to the log, with every reason."""
    if outcome.verdict is Verdict.NOT_SUPPORTED:
        log.warning("%s", NOT_SUPPORTED_LINE)
        log.warning("%s: %s", outcome.code, outcome.text)
    log.info("Package %s: %s (%s)", name, outcome.verdict, outcome.code)
    for finding in outcome.findings:
        log.info("  %s %s: %s", finding.verdict, finding.code, finding.text)
