"""What the engine finds in an update package, as values of the columns of `Update`."""

from collections.abc import Iterable
from typing import Any

from wimsmith.offline.packages.facts import UpdateFacts
from wimsmith.offline.packages.obstacles import Reason
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
        "parents": [[one.package_name for one in parent.identities] for parent in facts.parents],
        "findings": _reasons(facts.obstacles),
        "details": _details(facts),
    }
    if not facts.obstacles:
        return values | {"state": UpdateState.READY, "verdict": "", "reason_code": ""}
    first = facts.obstacles[0]
    return values | refusal(Verdict.NOT_SUPPORTED, first.code, first.text)


def _details(facts: UpdateFacts) -> dict[str, Any]:
    """What helps to plan with the update, of all that is known; see `schemas.UpdateDetails`."""
    planning = facts.planning
    return {
        "leads_to": str(facts.leads_to or ""),
        "needs_build": str((planning and planning.needs_build) or ""),
        "needed": planning.needed if planning else "",
        "servicing_stacks": list(planning.servicing_stacks) if planning else [],
        "branches": list(facts.branches),
        "conditions": _reasons({one.code: one for one in reversed(facts.conditions)}.values()),
        "parts": [
            {
                "name": part.name,
                "identity": part.identity.package_name if part.identity else "",
                "article": part.article,
                "leads_to": str(part.leads_to or ""),
                "findings": _reasons(part.obstacles),
            }
            for part in facts.parts
        ],
    }


def _reasons(reasons: Iterable[Reason]) -> list[dict[str, str]]:
    return [{"code": one.code, "text": one.text} for one in reasons]


def refusal(verdict: Verdict, code: str, text: str) -> dict[str, Any]:
    """An update that is recorded, and not applied."""
    return {
        "state": UpdateState.REFUSED,
        "verdict": verdict,
        "reason_code": code[:MAX_CODE],
        "reason_text": text,
    }
