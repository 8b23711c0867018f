"""What clean-up decides about everything in a store, and what becomes of the whole."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from wimsmith.offline.changes import ChangeSet
from wimsmith.offline.verdicts import Finding, Verdict


class Kind(StrEnum):
    """What an entry of the report is about."""

    PACKAGE = "package"
    DEPLOYMENT = "deployment"
    COMPONENT = "component"
    CATALOG = "catalog"
    CACHE = "cache"


class Fate(StrEnum):
    """What becomes of it. Emptied: manifest and key stay, the payload goes."""

    KEPT = "kept"
    EMPTIED = "emptied"
    REMOVED = "removed"


class Reason(StrEnum):
    """Why; the same words in logs, in JSON and in the tables of the documentation."""

    IN_USE = "in-use"
    STAGED = "staged"
    WINS = "wins"
    PERMANENT = "permanent"
    CHECKPOINT = "checkpoint"
    OWNED = "owned"
    OWNS = "owns"
    REQUIRED = "required"
    HOLDS = "holds"
    SIDE_BY_SIDE = "side-by-side"
    OTHER_KIND = "other-kind"
    SERVICING_STACK = "servicing-stack"
    NOT_UNDERSTOOD = "not-understood"
    WINNER_INCOMPLETE = "winner-incomplete"
    NO_PAYLOAD = "no-payload"
    SUPERSEDED = "superseded"
    PART = "part"
    UNUSED = "unused"
    DERIVED = "derived"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of one thing, and why; `by` names what the reason is about."""

    fate: Fate
    reason: Reason
    by: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the report: `name` is a package name, a keyform, a key, a hash or a path."""

    kind: Kind
    name: str
    fate: Fate
    reason: Reason
    by: str = ""


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """Everything in the store, with what became of it.

    Attributes:
        entries: by kind and name; caches only if they are removed.
        logical_bytes: size of all files that are gone, each counted once, before packing.
        file_count: how many files are gone.
        reset_base: whether the base was reset as well.
        warnings: sentences about what was asked for and not done.
    """

    entries: tuple[Entry, ...]
    logical_bytes: int
    file_count: int
    reset_base: bool
    warnings: tuple[str, ...] = ()

    def of(self, kind: Kind, fate: Fate) -> tuple[Entry, ...]:
        """The entries of one kind that have one fate."""
        return tuple(one for one in self.entries if (one.kind, one.fate) == (kind, fate))

    @property
    def counts(self) -> Mapping[tuple[Kind, Fate, Reason], int]:
        """How many entries there are of each kind, fate and reason."""
        return Counter((one.kind, one.fate, one.reason) for one in self.entries)


@dataclass(frozen=True, slots=True)
class CleanupOutcome:
    """What became of a clean-up.

    Attributes:
        code: of the finding that decided; `cleaned`, or `nothing-to-clean`.
        findings: all reasons against it.
        changes: what to do to the image; None unless the verdict is `APPLIED`, and empty if
            there is nothing to clean.
        report: None where clean-up was refused before it could decide.
    """

    verdict: Verdict
    code: str
    text: str
    findings: tuple[Finding, ...]
    changes: ChangeSet | None
    report: CleanupReport | None
