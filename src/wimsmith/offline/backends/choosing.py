"""Which backend does a run: one does all of it, since two writers never work on one image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wimsmith.errors import NotSupported
from wimsmith.offline.verdicts import Finding


@dataclass(frozen=True, slots=True)
class Offer:
    """What one backend can do of a run.

    Attributes:
        backend: its name.
        stopped: why it must not touch this image at all; empty if it may.
        refused: updates that it cannot apply, by name, each with the reason that decides.
    """

    backend: str
    stopped: tuple[Finding, ...] = ()
    refused: Mapping[str, Finding] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend of a run, and the updates that it leaves out with the reason."""

    backend: str
    refused: Mapping[str, Finding]


def choose(offers: Sequence[Offer], updates: Sequence[str]) -> Choice:
    """The first backend that can do all of what any of them can.

    Updates that no backend can apply are left out with a reason, and do not stop the others.

    Args:
        offers: the backends there are, the preferred one first.
        updates: names of the updates of the run.

    Raises:
        NotSupported: `no-backend`, none may touch the image; `two-backends`, no single one can
            apply all updates that can be applied.
    """
    able = [offer for offer in offers if not offer.stopped]
    if not able:
        raise NotSupported("no-backend", _why_stopped(offers))
    possible = {name for name in updates if any(name not in one.refused for one in able)}
    for offer in able:
        if possible.isdisjoint(offer.refused):
            return Choice(
                offer.backend,
                {name: offer.refused[name] for name in updates if name in offer.refused},
            )
    raise NotSupported(
        "two-backends",
        _who_can(able, sorted(possible)),
        hint="Make a run for each backend: two writers never work on one image in one run.",
    )


def _why_stopped(offers: Sequence[Offer]) -> str:
    reasons = [
        f"{offer.backend}: {finding.text} ({finding.code})"
        for offer in offers
        for finding in offer.stopped
    ]
    return "nobody may change this image; " + "; ".join(reasons or ["there is no backend"])


def _who_can(able: Sequence[Offer], updates: Sequence[str]) -> str:
    needed = (
        f"{name} needs {' or '.join(one.backend for one in able if name not in one.refused)}"
        for name in updates
        if any(name in one.refused for one in able)
    )
    return "; ".join(needed)
