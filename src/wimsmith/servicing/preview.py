"""What updates would likely do to an index, judged from what is kept of both.

The rules are the engine's own (`offline.planning`), on a snapshot of the index instead of the
index. The engine judges again, with the files, when an update is applied.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wimsmith.offline.planning.description import UpdateDescription
from wimsmith.offline.planning.exclusions import Exclusion, exclusion_findings
from wimsmith.offline.planning.order import Chosen, order
from wimsmith.offline.planning.plan import Judgement
from wimsmith.offline.planning.plan import judge as judge_update
from wimsmith.offline.planning.plan import plan as plan_updates
from wimsmith.offline.planning.snapshot import Snapshot
from wimsmith.offline.planning.state import Image
from wimsmith.offline.planning.telling import untold
from wimsmith.offline.verdicts import (
    EXCLUDED,
    Finding,
    UpdateStatus,
    Verdict,
    ordered,
    status,
    word,
)

APPLICABLE, UNKNOWN = "applicable", "unknown"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An update that can be chosen.

    Attributes:
        description: what planning needs of it; as far as it is known if there is a `doubt`.
        refused: why it is never applied, as its import found.
        doubt: why it cannot be judged from what is kept of it.
    """

    update_id: int
    description: UpdateDescription
    refused: Finding | None = None
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index; `doubt` says why there is no snapshot of it, if there is none."""

    number: int
    image: Image
    snapshot: Snapshot | None
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Likely:
    """What would likely become of an update on an index; `findings` are all reasons."""

    index: int
    likely: str
    status: int
    word: str
    code: str = ""
    text: str = ""
    findings: tuple[Finding, ...] = ()


def judge(update: Candidate, index: IndexState, exclusions: Sequence[Exclusion] = ()) -> Likely:
    """The first verdict that holds, in the order of the table of verdicts, and all others."""
    judgement = None
    if index.snapshot is not None and not update.doubt:
        with untold():
            judgement = judge_update(
                index.snapshot,
                update.description,
                exclusions=exclusions,
                obstacles=index.snapshot.obstacles,
            )
    return likely(update, index, _findings(update, judgement, exclusions))


def likely(update: Candidate, index: IndexState, findings: tuple[Finding, ...]) -> Likely:
    """What would likely become of an update, by what `in_order` found against it."""
    if findings:
        return _decided(index.number, findings)
    doubt = update.doubt or index.doubt
    if doubt:
        number = int(UpdateStatus.CHECK_NOT_SUPPORTED)
        return Likely(index.number, UNKNOWN, number, "Cannot tell", "no-facts", doubt)
    return Likely(index.number, APPLICABLE, UpdateStatus.APPLICABLE, "Applicable")


def in_order(
    index: IndexState, chosen: Sequence[Candidate], exclusions: Sequence[Exclusion] = ()
) -> Iterator[tuple[int, tuple[Finding, ...]]]:
    """Numbers of the chosen updates in the order of a run, with what speaks against each."""
    by_number = {one.update_id: one for one in chosen}
    updates = [Chosen(one.update_id, one.description) for one in chosen]
    if index.snapshot is None:
        for found in order(index.image, updates).updates:
            yield found.key, _findings(by_number[found.key], None, exclusions)
        return
    for step in plan_updates(index.snapshot, updates, exclusions=exclusions).steps:
        update = by_number[step.key]
        judgement = None if update.doubt else step.judgement
        yield step.key, _findings(update, judgement, exclusions)


def _findings(
    update: Candidate, judgement: Judgement | None, exclusions: Sequence[Exclusion]
) -> tuple[Finding, ...]:
    """All that is known to speak against an update, the finding that decides first."""
    if judgement is None:
        found = (*exclusion_findings(update.description, exclusions), update.refused)
        return ordered(tuple(one for one in found if one is not None))
    if update.refused is not None and update.refused.verdict is Verdict.FAILED:
        return ordered((*judgement.findings, update.refused))
    return judgement.findings


def _decided(index_number: int, findings: tuple[Finding, ...]) -> Likely:
    decisive = findings[0]
    verdict, code, text = decisive.verdict, decisive.code, decisive.text
    about = text if verdict is Verdict.PREREQUISITE_MISSING else ""
    said = "Excluded" if code == EXCLUDED else word(verdict, about)
    number = int(status(verdict, code))
    return Likely(index_number, verdict.value, number, said, code, text, findings)
