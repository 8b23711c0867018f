"""Values out of plain data: what is of another kind than it was written as is an error at once."""

from collections.abc import Iterable, Mapping
from typing import Any

from wimsmith.offline.manifests.identity import Version
from wimsmith.offline.verdicts import Finding, Verdict


def text(value: Any) -> str:
    """A text.

    Raises:
        TypeError: it is none; so of all that follow.
    """
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in place of a text")
    return value


def texts(values: Any) -> tuple[str, ...]:
    """A list of texts."""
    return tuple(map(text, listed(values)))


def number(value: Any) -> int:
    """A number of 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or value.bit_length() > 64:
        raise TypeError(f"{type(value).__name__} in place of a number")
    return value


def flag(value: Any) -> bool:
    """Yes or no."""
    if not isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} in place of yes or no")
    return value


def maybe_flag(value: Any) -> bool | None:
    """Yes, no, or not said."""
    return None if value is None else flag(value)


def version_or_none(value: Any) -> Version | None:
    """A version; none if the text is empty."""
    return Version.parse(text(value)) if value != "" else None


def listed(values: Any) -> Iterable[Any]:
    """A list, whatever is in it."""
    if not isinstance(values, list | tuple):
        raise TypeError(f"{type(values).__name__} in place of a list")
    return values


def numbers_by_name(values: Any) -> Mapping[str, int]:
    """Numbers by names."""
    return {text(name): number(value) for name, value in values.items()}


def findings_from(rows: Any) -> tuple[Finding, ...]:
    """Findings, each a list of verdict, code and text."""
    return tuple(
        Finding(Verdict(verdict), text(code), text(words)) for verdict, code, words in listed(rows)
    )
