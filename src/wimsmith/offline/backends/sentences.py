"""Sentences of a servicing run, as readers of OfflineServicingMgr.log know them.

The site and the command on files log the same sentences, each to its own logger.
"""

import logging
from collections.abc import Mapping
from enum import StrEnum

from wimsmith.offline.verdicts import NOT_SUPPORTED_LINE, Verdict, word

GOOD = frozenset([Verdict.APPLIED, Verdict.INSTALLED, Verdict.SUPERSEDED, Verdict.NOT_APPLICABLE])
"""Verdicts after which all is as it was wanted, or has no business in the image."""
PROBLEMS = frozenset([Verdict.FAILED, Verdict.NOT_SUPPORTED, Verdict.PREREQUISITE_MISSING])
"""Verdicts after which something that was asked for is not there."""
UNMOUNTING = "UnMounting Image (Commit Changes = 1)..."
DISCARDING = "UnMounting Image (Commit Changes = 0)..."


class Kind(StrEnum):
    """What somebody may ask for."""

    UPDATE = "update"
    REMOVE = "remove"
    FEATURE_ON = "feature-on"
    FEATURE_OFF = "feature-off"
    EDIT = "edit"


_BEGINNINGS: Mapping[Kind, str] = {
    Kind.UPDATE: "Processing update %s on index %d",
    Kind.REMOVE: "Removing package %s from index %d",
    Kind.FEATURE_ON: "Enabling feature %s on index %d",
    Kind.FEATURE_OFF: "Disabling feature %s on index %d",
    Kind.EDIT: "Editing (%s) index %d",
}
_PHASES: Mapping[Kind, str] = {
    Kind.UPDATE: "update",
    Kind.REMOVE: "remove",
    Kind.FEATURE_ON: "enable feature",
    Kind.FEATURE_OFF: "disable feature",
    Kind.EDIT: "edit",
}
_NOUNS: Mapping[Kind, str] = {
    Kind.UPDATE: "Update",
    Kind.REMOVE: "Package",
    Kind.FEATURE_ON: "Feature",
    Kind.FEATURE_OFF: "Feature",
    Kind.EDIT: "Edit",
}
_DONE: Mapping[Kind, str] = {
    Kind.REMOVE: "Removed",
    Kind.FEATURE_ON: "Enabled",
    Kind.FEATURE_OFF: "Disabled",
    Kind.EDIT: "Done",
}

_ALREADY = "Already so"
_WOULD_BE_DONE = "Applicable"


def phase(kind: Kind, name: str) -> str:
    """The phase of progress in which one thing is done."""
    return f"{_PHASES[kind]} {name}"


def outcome_word(
    verdict: Verdict, text: str = "", kind: Kind = Kind.UPDATE, *, dry_run: bool = False
) -> str:
    """What users read of an outcome; `text` names a missing prerequisite."""
    if verdict is Verdict.APPLIED and dry_run:
        return _WOULD_BE_DONE
    if verdict is Verdict.APPLIED and kind in _DONE:
        return _DONE[kind]
    if verdict is Verdict.INSTALLED and kind in _DONE:
        return _ALREADY
    return word(verdict, text)


def log_line(
    verdict: Verdict, name: str, text: str, kind: Kind = Kind.UPDATE, *, dry_run: bool = False
) -> str:
    """The line for what became of one thing on one index."""
    if verdict is Verdict.NOT_SUPPORTED and kind is Kind.UPDATE:
        return NOT_SUPPORTED_LINE
    about = f" ({text})" if text else ""
    return f"{_NOUNS[kind]} {name}: {outcome_word(verdict, kind=kind, dry_run=dry_run)}{about}"


def tell_beginning(log: logging.Logger, kind: Kind, name: str, index: int) -> None:
    """Say that something is about to be done."""
    log.info(_BEGINNINGS[kind], name, index)


def tell_outcome(
    log: logging.Logger,
    kind: Kind,
    name: str,
    index: int,
    verdict: Verdict,
    text: str,
    *,
    dry_run: bool = False,
) -> None:
    """Say what became of it; an update that is not supported gets a second line with the reason."""
    level = logging.WARNING if verdict in PROBLEMS else logging.INFO
    log.log(level, "%s", log_line(verdict, name, text, kind, dry_run=dry_run))
    if verdict is Verdict.NOT_SUPPORTED and kind is Kind.UPDATE:
        log.warning("Update %s on index %d: %s", name, index, text)
