"""Edits of what is installed: features and packages, by the component engine."""

from pathlib import Path

from wimsmith.errors import NotSupported
from wimsmith.offline.changes import ChangeSet
from wimsmith.offline.components.features.switching import set_features
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.components.outcome import Outcome
from wimsmith.offline.components.removal.removing import remove
from wimsmith.offline.edits.kinds import InstalledEdit, SetFeature
from wimsmith.offline.image import ImageView
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.roots import microsoft_anchors
from wimsmith.offline.progress import Progress
from wimsmith.offline.verdicts import Verdict


def installed_changes(
    edit: InstalledEdit, view: ImageView, spool: Path, now: int, progress: Progress
) -> ChangeSet:
    """What an edit changes; nothing if the image is so already.

    Raises:
        NotSupported: with the reason of the component engine.
    """
    options = ApplyOptions(TrustPolicy(microsoft_anchors()), now)
    if isinstance(edit, SetFeature):
        outcome = set_features({edit.feature: edit.enabled}, view, options, spool, progress)
    else:
        outcome = remove([edit.package], view, options, spool, progress)
    return _wanted(outcome)


def _wanted(outcome: Outcome) -> ChangeSet:
    if outcome.verdict is Verdict.APPLIED and outcome.changes is not None:
        return outcome.changes
    if outcome.verdict is Verdict.INSTALLED:
        return ChangeSet()
    raise NotSupported(outcome.code, outcome.text)
