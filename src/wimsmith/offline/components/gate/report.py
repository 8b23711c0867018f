"""What re-deriving an image's own store has shown, rule by rule."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from wimsmith.offline.verdicts import Finding, Verdict

MAX_EXAMPLES = 8
_SHARE_THAT_MAY_DIFFER = 10
"""Content may have been changed since: up to one in so many examples of a class."""
_MAX_DISTINCT = 64
_OTHERS = "others"


class Word(StrEnum):
    """How a rule stands."""

    UNDERSTOOD = "understood"
    NOT_UNDERSTOOD = "not understood"
    NO_EXAMPLE = "no example"


@dataclass(frozen=True, slots=True)
class Example:
    """One thing that a rule does not reproduce: its name in the store, and what is wrong."""

    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class RuleReport:
    """One rule, checked.

    Attributes:
        name: as in the reason code `calibration:<name>`.
        is_needed: whether servicing is refused where the image has no example of it.
        matched, differing: examples that the rule reproduces, and that it does not.
        exempt: examples that say nothing about the rule, counted by the reason.
        examples: the first of those that differ, allowed or not.
        figures: how often which value was seen, by the name of the figure.
        is_understood: whether what differs is none, or within what may differ.
    """

    name: str
    is_needed: bool
    matched: int
    differing: int
    exempt: Mapping[str, int]
    examples: tuple[Example, ...]
    figures: Mapping[str, Mapping[str, int]]
    is_understood: bool

    @property
    def checked(self) -> int:
        """Examples that say something about the rule."""
        return self.matched + self.differing

    @property
    def word(self) -> Word:
        if not self.checked:
            return Word.NO_EXAMPLE
        return Word.UNDERSTOOD if self.is_understood else Word.NOT_UNDERSTOOD

    @property
    def finding(self) -> Finding | None:
        """What stops servicing, if the rule does."""
        text = ""
        if self.word is Word.NO_EXAMPLE and self.is_needed:
            text = "the image has no example of it"
        elif self.word is Word.NOT_UNDERSTOOD:
            first = self.examples[0]
            text = (
                f"{self.differing} of {self.checked} examples in the image follow another rule, "
                f"the first: {first.subject}: {first.text}"
            )
        return Finding(Verdict.NOT_SUPPORTED, f"calibration:{self.name}", text) if text else None


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """All rules, checked on one image.

    Attributes:
        sample: how many things were looked at, by their kind.
        store: facts of the store as a whole, such as its format.
        is_full: whether everything was looked at rather than a sample.
    """

    rules: tuple[RuleReport, ...]
    sample: Mapping[str, int] = field(default_factory=dict)
    store: Mapping[str, str] = field(default_factory=dict)
    is_full: bool = False

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What stops servicing: rules that are not understood, or needed and without example."""
        return tuple(one.finding for one in self.rules if one.finding)

    @property
    def is_understood(self) -> bool:
        return not self.findings

    def rule(self, name: str) -> RuleReport:
        """The rule called `name`; raises KeyError."""
        return {one.name: one for one in self.rules}[name]

    def as_data(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {
            "understood": self.is_understood,
            "full": self.is_full,
            "sample": dict(self.sample),
            "store": dict(self.store),
            "rules": [_rule_data(one) for one in self.rules],
            "findings": [{"code": one.code, "text": one.text} for one in self.findings],
        }


class Tally:
    """Counts one rule while the image is read.

    A rule of form holds always or not at all. With `content` it is one of content, which setup,
    administrators and other tools may have changed: classes of examples, such as all texts of one
    hive, are each understood if at least nine in ten are as the rule has them.
    """

    def __init__(self, name: str, *, needed: bool = False, content: bool = False) -> None:
        self.name = name
        self._needed = needed
        self._content = content
        self._matched: Counter[str] = Counter()
        self._differing: Counter[str] = Counter()
        self._exempt: Counter[str] = Counter()
        self._examples: dict[str, list[Example]] = {}
        self._figures: dict[str, Counter[str]] = {}

    def matches(self, kind: str = "") -> None:
        """One more example that is as the rule has it, of a class of content."""
        self._matched[kind] += 1

    def differs(self, subject: str, text: str, kind: str = "") -> None:
        """One more example that is not."""
        self._differing[kind] += 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(Example(subject, text))

    def expect(self, holds: bool, subject: str, text: str, kind: str = "") -> None:
        """One more example; `text` says what is wrong if it does not hold."""
        if holds:
            self.matches(kind)
        else:
            self.differs(subject, text, kind)

    def exempts(self, reason: str, count: int = 1) -> None:
        """Examples that say nothing about the rule, and why."""
        if count:
            self._exempt[reason] += count

    def saw(self, figure: str, value: str) -> None:
        """Count a value that is only reported."""
        seen = self._figures.setdefault(figure, Counter())
        seen[value if value in seen or len(seen) < _MAX_DISTINCT else _OTHERS] += 1

    def report(self) -> RuleReport:
        bad = [kind for kind in self._differing if not self._may_differ(kind)]
        order = [*bad, *(kind for kind in self._differing if kind not in bad)]
        examples = [one for kind in order for one in self._examples[kind]]
        return RuleReport(
            name=self.name,
            is_needed=self._needed,
            matched=self._matched.total(),
            differing=self._differing.total(),
            exempt=dict(sorted(self._exempt.items())),
            examples=tuple(examples[:MAX_EXAMPLES]),
            figures={name: dict(seen.most_common()) for name, seen in self._figures.items()},
            is_understood=not bad,
        )

    def _may_differ(self, kind: str) -> bool:
        differing = self._differing[kind]
        total = self._matched[kind] + differing
        return self._content and differing * _SHARE_THAT_MAY_DIFFER <= total


def _rule_data(rule: RuleReport) -> dict[str, Any]:
    return {
        "name": rule.name,
        "word": str(rule.word),
        "needed": rule.is_needed,
        "checked": rule.checked,
        "matched": rule.matched,
        "differing": rule.differing,
        "exempt": dict(rule.exempt),
        "examples": [{"subject": one.subject, "text": one.text} for one in rule.examples],
        "figures": {name: dict(seen) for name, seen in rule.figures.items()},
    }
