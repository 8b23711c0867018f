"""What the engine finds in an update package, as values of the columns of `Update`."""

from typing import Any

from wimsmith.offline.packages.facts import UpdateFacts
from wimsmith.offline.verdicts import Verdict
from wimsmith.updates.models import UpdateState

MAX_CODE = 120


def describe(facts: UpdateFacts) -> dict[str, Any]:
    """An update that could be read; refused if the file alone says that it cannot be applied."""
    values = {
        "identity": facts.identity.package_name if facts.identity else "",
        "article": facts.article,
        "title": facts.title,
        "kind": facts.kind.value if facts.kind else "",
        "release_type": facts.release_type,
        "architecture": facts.architecture.lower(),
        "language": facts.language,
        "parents": [[one.package_name for one in group] for group in facts.parents],
        "findings": [{"code": one.code, "text": one.text} for one in facts.obstacles],
    }
    if not facts.obstacles:
        return values | {"state": UpdateState.READY, "verdict": "", "reason_code": ""}
    first = facts.obstacles[0]
    return values | refusal(Verdict.NOT_SUPPORTED, first.code, first.text)


def refusal(verdict: Verdict, code: str, text: str) -> dict[str, Any]:
    """An update that is recorded, and not applied."""
    return {
        "state": UpdateState.REFUSED,
        "verdict": verdict,
        "reason_code": code[:MAX_CODE],
        "reason_text": text,
    }
