"""What a check of a store found: counted by code, with the first examples."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from wimsmith.offline.components.verification.codes import CODES

MAX_EXAMPLES = 5
_MAX_EXAMPLE_CHARACTERS = 300


class Severity(StrEnum):
    """How bad a finding is.

    `ERROR`: a reference leads nowhere or content is not what is stated; servicing would fail on it.
    `WARNING`: unusual, and perhaps meant. `NOTE`: seen in sound images, or the owner's own doing.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Area(StrEnum):
    """What is checked, in the order in which people read it."""

    HIVES = "hives"
    PENDING = "pending"
    BUILD = "build"
    PACKAGES = "packages"
    DEPLOYMENTS = "deployments"
    CATALOGS = "catalogs"
    COMPONENTS = "components"
    MANIFESTS = "manifests"
    PAYLOAD = "payload"
    WINNERS = "winners"
    DESTINATIONS = "destinations"
    BACKUPS = "backups"
    REGISTRY = "registry"
    ORPHANS = "orphans"


@dataclass(frozen=True, slots=True)
class Problem:
    """All findings of one code: what it means, how many, the first of them, and what to do."""

    code: str
    severity: Severity
    area: Area
    count: int
    text: str
    advice: str
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AreaCount:
    """How many things of one area were checked, and how many findings there were."""

    area: Area
    checked: int
    errors: int
    warnings: int
    notes: int


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Findings about the store of one index.

    Attributes:
        has_store: False for images without a component store, where only the rest was checked.
        content_checked: whether payload files were read and compared with their digests.
        problems: worst first.
    """

    has_store: bool
    content_checked: bool
    areas: tuple[AreaCount, ...]
    problems: tuple[Problem, ...]

    @property
    def is_sound(self) -> bool:
        return not self.of(Severity.ERROR)

    def of(self, severity: Severity) -> tuple[Problem, ...]:
        """The problems of one severity."""
        return tuple(one for one in self.problems if one.severity is severity)


class Findings:
    """Collects findings while a check runs; `only` are the names that matter, None for all."""

    def __init__(self, only: Iterable[str] | None = None) -> None:
        """Names in `only` are compared without case."""
        self._only = None if only is None else frozenset(name.lower() for name in only)
        self._checked: Counter[Area] = Counter()
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def covers(self, *names: str) -> bool:
        """Whether findings about something with one of these names are wanted."""
        return self._only is None or any(name.lower() in self._only for name in names)

    def checked(self, area: Area, count: int = 1) -> None:
        """Count things that were looked at."""
        self._checked[area] += count

    def add(self, code: str, example: str, *names: str) -> None:
        """Note a finding; `names` are the packages, deployments or components that it is about."""
        if not self.covers(*names):
            return
        self._counts[code] += 1
        examples = self._examples.setdefault(code, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(example[:_MAX_EXAMPLE_CHARACTERS])

    @property
    def has_errors(self) -> bool:
        """Whether something worse than a warning was found so far."""
        return any(CODES[code].severity == Severity.ERROR for code in self._counts)

    def report(self, *, has_store: bool, content_checked: bool) -> HealthReport:
        """Everything so far."""
        order = {code: number for number, code in enumerate(CODES)}
        ranks = tuple(Severity)
        problems = sorted(
            map(self._problem, self._counts),
            key=lambda one: (ranks.index(one.severity), order[one.code]),
        )
        return HealthReport(
            has_store=has_store,
            content_checked=content_checked,
            areas=tuple(self._areas(problems)),
            problems=tuple(problems),
        )

    def _problem(self, code: str) -> Problem:
        facts = CODES[code]
        return Problem(
            code=code,
            severity=Severity(facts.severity),
            area=Area(facts.area),
            count=self._counts[code],
            text=facts.text,
            advice=facts.advice,
            examples=tuple(self._examples[code]),
        )

    def _areas(self, problems: Iterable[Problem]) -> Iterable[AreaCount]:
        found: Mapping[tuple[Area, Severity], int] = Counter(
            {
                (area, severity): sum(
                    one.count for one in problems if (one.area, one.severity) == (area, severity)
                )
                for area in Area
                for severity in Severity
            }
        )
        for area in Area:
            counts = [found[area, severity] for severity in Severity]
            if self._checked[area] or any(counts):
                yield AreaCount(area, self._checked[area], *counts)
