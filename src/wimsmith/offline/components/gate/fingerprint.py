"""What a user may send of a calibration: how the store is made, and nothing of what is in it.

Every field is described in docs/guides/calibration.md. Names go out as they are only where they
are names of Microsoft's, by their public key token; all others become a hash with a salt that is
thrown away, so that two of one file can be compared and nothing be looked up. Texts, paths,
contents, registry data and descriptors do not go out at all.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import wimsmith
from wimsmith.offline.components.gate.report import CalibrationReport, RuleReport
from wimsmith.offline.verdicts import Finding

FORMAT = "wimsmith-store-fingerprint-1"
MICROSOFT_TOKENS = frozenset(
    [
        "31bf3856ad364e35",  # Windows
        "6595b64144ccf1df",  # common controls and other libraries side by side
        "b03f5f7f11d50a3a",  # .NET Framework
        "b77a5c561934e089",  # the ECMA part of .NET Framework
        "89845dcd8080cc91",  # SQL Server and its parts in Windows
        "1fc8b3b9a1e18e3b",  # Visual C++ libraries
    ]
)
"""Public key tokens of assemblies that Microsoft publishes."""

_VERSION = re.compile(r"\d{1,5}(\.\d{1,5}){0,3}", re.ASCII)
_WORD = re.compile(r"[a-z0-9]{1,10}", re.ASCII)
_NAMES = (
    re.compile(r"[\w.-]+~([0-9a-f]{16})~\w*~[\w-]*~[\d.]+", re.ASCII),  # package
    re.compile(r"[a-z0-9]+_[\w.-]+_([0-9a-f]{16})_[\d.]+_[\w.-]+_[0-9a-f]{16}", re.ASCII),
    re.compile(r"[a-z0-9]+_[\w.-]+_([0-9a-f]{16})_[\w.-]+_[0-9a-f]{16}", re.ASCII),  # its family
    re.compile(r"[\w.-]+_([0-9a-f]{16})_[\d.]+_[0-9a-f]{16}", re.ASCII),  # deployment
)
"""Names in the store, with the public key token of who made what they name."""
_SALT_BYTES = 32
_SHOWN_DIGITS = 16

_STORE_FIELDS: Mapping[str, re.Pattern[str]] = {
    "windows": _VERSION,
    "architecture": _WORD,
    "store format": _VERSION,
    "servicing stack": _VERSION,
    "components": _VERSION,
    "deployments": _VERSION,
    "packages": _VERSION,
}
"""Facts that go out, and what they look like: whatever looks different stays here."""


def fingerprint(
    report: CalibrationReport, health: Sequence[Finding] = (), *, salt: bytes | None = None
) -> dict[str, Any]:
    """The anonymised form of a report, as plain values for JSON.

    Args:
        report: of the image.
        health: what stops every update on it; only the codes go out.
        salt: for tests; by default a new one, which nobody keeps.
    """
    name = _namer(secrets.token_bytes(_SALT_BYTES) if salt is None else salt)
    return {
        "format": FORMAT,
        "wimsmith": wimsmith.__version__,
        "full": report.is_full,
        "sample": {kind: count for kind, count in report.sample.items() if _is_kind(kind)},
        "store": _store(report.store),
        "health": sorted({one.code for one in health}),
        "rules": [_rule(one, name) for one in report.rules],
    }


def is_public(name: str) -> bool:
    """Whether the name of a component, deployment or package is one that Microsoft publishes."""
    matches = (pattern.fullmatch(name.lower()) for pattern in _NAMES)
    return any(match and match[1] in MICROSOFT_TOKENS for match in matches)


def _namer(salt: bytes) -> Callable[[str], str]:
    def name(subject: str) -> str:
        if is_public(subject):
            return subject
        digest = hashlib.sha256(salt + subject.lower().encode("utf-8", "surrogatepass"))
        return f"hidden:{digest.hexdigest()[:_SHOWN_DIGITS]}"

    return name


def _store(facts: Mapping[str, str]) -> dict[str, str]:
    return {
        field: facts[field]
        for field, pattern in _STORE_FIELDS.items()
        if pattern.fullmatch(facts.get(field, ""))
    }


def _rule(rule: RuleReport, name: Callable[[str], str]) -> dict[str, Any]:
    # every field is named here, so that a new one of the report is not sent before it was looked at
    return {
        "name": rule.name,
        "word": str(rule.word),
        "needed": rule.is_needed,
        "checked": rule.checked,
        "matched": rule.matched,
        "differing": rule.differing,
        "exempt": dict(rule.exempt),
        "examples": [name(one.subject) for one in rule.examples],
        "figures": {figure: dict(seen) for figure, seen in rule.figures.items()},
    }


def _is_kind(text: str) -> bool:
    return text in {"components", "deployments", "packages"}
