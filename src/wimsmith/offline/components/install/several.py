"""Applying an update whose file holds several packages: each on top of the former, all or nothing.

What the rule is, and why: docs/internals/component-store.md.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from wimsmith.errors import Untrusted, WimsmithError
from wimsmith.offline import changes
from wimsmith.offline.changes import ChangeSet
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.components.outcome import Outcome, decided, log_outcome, refused
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.components.store.view import View
from wimsmith.offline.packages.package import PackagePart
from wimsmith.offline.packages.trust.following import Link
from wimsmith.offline.paths import fold
from wimsmith.offline.planning.description import describe_part
from wimsmith.offline.planning.parts import PartResult, against, remarks
from wimsmith.offline.planning.plan import judge
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.verdicts import Verdict

_NO_SPOOL = Path(os.devnull)
"""A draft that is only read keeps no content."""


class StackingView(View, Protocol):
    """A view that can be made to show what has been done: `image.ImageView` is one."""

    def stack(self, changes: ChangeSet) -> None:
        """Let later reads see `changes`."""


def apply_parts(
    parts: Sequence[PackagePart],
    view: StackingView,
    options: ApplyOptions,
    progress: Progress = silent,
) -> Outcome:
    """Apply all packages of one file that have business in an index, in their order, or none.

    Args:
        parts: the packages, at least one, in the order in which they are to be installed.
        view: shows the index; a part that is applied before others is stacked on it, so that it
            is good for nothing afterwards unless the outcome is without changes.
        options: what applying depends on; the package that a catalogue promised is one of them.
        progress: told of each part; may raise to cancel.

    Returns:
        One outcome, whose change set does what all parts do. Its findings name their parts; if it
        is applied they say why some parts are not required.

    Raises: as `apply`.
    """
    if options.expected is not None:
        wanted = options.expected.package_name
        tops = {fold(one.package.top.name) for one in parts if one.package is not None}
        if fold(wanted) not in tops:
            text = f"none of its packages is {wanted[:200]}, which was promised"
            return refused(parts[0].name, Untrusted(Link.PACKAGE_IDENTITY, text))
        options = replace(options, expected=None)
    outcomes: list[Outcome] = []
    results: list[PartResult] = []
    for place, part in enumerate(parts, 1):
        progress(Event(f"package {place} of {len(parts)}, {part.name}"))
        outcome = _applied(part, view, options, progress)
        results.append(PartResult(part.name, outcome.verdict, outcome.findings))
        outcomes.append(outcome)
        if results[-1].stops:
            break
        if outcome.changes is not None and place < len(parts):
            view.stack(outcome.changes)
    return _whole(outcomes, results)


def _applied(
    part: PackagePart, view: StackingView, options: ApplyOptions, progress: Progress
) -> Outcome:
    if part.package is not None:
        return apply(part.package, view, options, progress)
    assert part.obstacle is not None, "a part that is not opened says why"
    description = describe_part(part)
    if description is None:
        return refused(part.name, part.obstacle.as_error())
    try:
        judgement = judge(Store(Draft(view, _NO_SPOOL, options.now)), description)
    except WimsmithError as error:
        return refused(part.name, error)
    outcome = decided(judgement.findings)
    log_outcome(part.name, outcome)
    return outcome


def _whole(outcomes: Sequence[Outcome], results: Sequence[PartResult]) -> Outcome:
    findings = against(results)
    if findings:
        decisive = findings[0]
        return Outcome(decisive.verdict, decisive.code, decisive.text, findings, None, ())
    done = [one for one in outcomes if one.changes is not None]
    names = ", ".join(one.name for one in results if one.verdict is Verdict.APPLIED)
    left = "; ".join(f"{one.name} is not required" for one in results if one.findings)
    return Outcome(
        Verdict.APPLIED,
        "applied",
        f"{names} applied{'; ' if left else ''}{left}",
        remarks(results),
        changes.stack(*(one.changes for one in done if one.changes is not None)),
        tuple(dict.fromkeys(name for one in done for name in one.packages)),
    )
