"""What becomes of a file with several packages, from what became of each: all of them, or none.

The same rule when they are planned and when they are applied. Parts are taken in their order. One
that does not apply is not required, and is in nobody's way; the first that should be applied and
cannot be stops all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wimsmith.offline.verdicts import Finding, Verdict

_STOPPING = frozenset([Verdict.FAILED, Verdict.NOT_SUPPORTED, Verdict.PREREQUISITE_MISSING])
_TELLING = (Verdict.INSTALLED, Verdict.SUPERSEDED, Verdict.NOT_APPLICABLE)
"""What says most of a file no part of which is to be applied, the most telling first."""


@dataclass(frozen=True, slots=True)
class PartResult:
    """What became of one part, or would; `name` is the file name of its cabinet.

    `findings` are all reasons against it, the one that decides first; `verdict` is then that of
    the first.
    """

    name: str
    verdict: Verdict
    findings: tuple[Finding, ...] = ()

    @property
    def stops(self) -> bool:
        """Whether nothing of the whole file may be applied because of it."""
        return self.verdict in _STOPPING

    @property
    def named(self) -> tuple[Finding, ...]:
        """The findings, each with the name of the part in its words."""
        return tuple(replace(one, text=f"{self.name}: {one.text}") for one in self.findings)


def against(results: Sequence[PartResult]) -> tuple[Finding, ...]:
    """Why nothing of a file is applied, the reason that decides first; nothing if some of it is.

    Args:
        results: those of its parts in their order, up to the first that stops all of them.
    """
    stopping = [one for one in results if one.stops]
    if not stopping and any(one.verdict is Verdict.APPLIED for one in results):
        return ()
    decisive = stopping or sorted(results, key=lambda one: _TELLING.index(one.verdict))
    first = decisive[0]
    return (*first.named, *(found for one in results if one is not first for found in one.named))


def remarks(results: Sequence[PartResult]) -> tuple[Finding, ...]:
    """Why parts of a file that is applied are not required."""
    return tuple(found for one in results for found in one.named)
