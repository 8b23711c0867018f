"""What became of one update on one index: the words every part of the product uses."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

NOT_SUPPORTED_LINE = "Not applying this update binary, it is not supported"


EXCLUDED = "excluded"
"""Code of the finding that administrators have ruled an update out."""


class Verdict(StrEnum):
    """Outcomes, in the order in which they are decided: the first that holds is the verdict."""

    FAILED = "failed"
    NOT_APPLICABLE = "not-applicable"
    INSTALLED = "installed"
    SUPERSEDED = "superseded"
    NOT_SUPPORTED = "not-supported"
    PREREQUISITE_MISSING = "prerequisite-missing"
    APPLIED = "applied"
    NOT_ATTEMPTED = "not-attempted"


class UpdateStatus(IntEnum):
    """Status numbers of an update on an index, as Configuration Manager stores them."""

    UNKNOWN = 0
    NOT_REQUIRED = 1
    INSTALLED = 2
    APPLICABLE = 3
    CHECK_NOT_SUPPORTED = 4
    INSTALLED_CHECK_NOT_SUPPORTED = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason for a verdict: `code` such as `parent` or `advanced-new:configuration`."""

    verdict: Verdict
    code: str
    text: str


_ORDER = tuple(Verdict)
_LATE_CODES = frozenset(["components"])

_STATUS = {
    Verdict.FAILED: UpdateStatus.APPLICABLE,
    Verdict.NOT_APPLICABLE: UpdateStatus.NOT_REQUIRED,
    Verdict.INSTALLED: UpdateStatus.INSTALLED,
    Verdict.SUPERSEDED: UpdateStatus.NOT_REQUIRED,
    Verdict.NOT_SUPPORTED: UpdateStatus.CHECK_NOT_SUPPORTED,
    Verdict.PREREQUISITE_MISSING: UpdateStatus.APPLICABLE,
    Verdict.APPLIED: UpdateStatus.INSTALLED,
    Verdict.NOT_ATTEMPTED: UpdateStatus.UNKNOWN,
}

_WORDS = {
    Verdict.FAILED: "Failed",
    Verdict.NOT_APPLICABLE: "Not applicable",
    Verdict.INSTALLED: "Already installed",
    Verdict.SUPERSEDED: "Not required",
    Verdict.NOT_SUPPORTED: "Not supported",
    Verdict.PREREQUISITE_MISSING: "Prerequisite missing",
    Verdict.APPLIED: "Installed",
    Verdict.NOT_ATTEMPTED: "Not attempted",
}


def first(findings: tuple[Finding, ...]) -> Finding | None:
    """The finding that decides: the one whose verdict comes first in the order of verdicts.

    That no component applies is known only after the parents are: it gives way to a missing
    prerequisite, other than the not-applicable findings that the identity alone decides.
    """
    return min(findings, key=_rank, default=None)


def ordered(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """All findings, the one that decides first, then the others in the order of verdicts."""
    return tuple(sorted(findings, key=_rank))


def _rank(finding: Finding) -> tuple[int, int]:
    if finding.code == EXCLUDED:
        return -1, 0  # nobody looks further at an update that administrators have ruled out
    if finding.code in _LATE_CODES:
        return _ORDER.index(Verdict.PREREQUISITE_MISSING), 1
    return _ORDER.index(finding.verdict), 0


def status(verdict: Verdict, code: str = "") -> UpdateStatus:
    """UpdateStatus of a verdict; a missing parent means that the update is not required."""
    if verdict is Verdict.PREREQUISITE_MISSING and code == "parent":
        return UpdateStatus.NOT_REQUIRED
    return _STATUS[verdict]


def word(verdict: Verdict, about: str = "") -> str:
    """What users read; `about` names the missing prerequisite."""
    if verdict is Verdict.PREREQUISITE_MISSING and about:
        return f"{_WORDS[verdict]}: {about}"
    return _WORDS[verdict]
