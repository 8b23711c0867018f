"""Updates that administrators have ruled out, with who, when and why."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wimsmith.errors import DamagedManifest, InvalidInput
from wimsmith.offline.manifests.identity import Version, parse_package_name
from wimsmith.offline.planning.description import UpdateDescription
from wimsmith.offline.verdicts import EXCLUDED, Finding, Verdict

_ARTICLE = re.compile(r"(?:kb)?(\d{5,8})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An update that is not to be applied.

    Attributes:
        subject: article (`KB5005033`), or package (`name~token~architecture~language~version`,
            or without the version for all versions), as `check_subject` returns it.
        reason: why, for people.
        since: the day it was ruled out, as `2026-11-21`.
        image: the image that it is about, empty for all.
    """

    subject: str
    reason: str
    since: str
    image: str = ""


def check_subject(text: str) -> str:
    """The form in which an article or package is kept.

    Raises:
        InvalidInput: it is neither.
    """
    article = _ARTICLE.fullmatch(text.strip())
    if article:
        return f"KB{article[1]}"
    parts = text.strip().split("~")
    version = parts.pop() if len(parts) == 5 else ""
    if len(parts) != 4:
        raise _neither(text)
    try:
        checked = parse_package_name("~".join([*parts, version or str(Version(0, 0, 0, 0))]))
    except DamagedManifest as error:
        raise _neither(text) from error
    return checked.package_name if version else checked.package_name.rpartition("~")[0]


def exclusion_findings(
    update: UpdateDescription, exclusions: Iterable[Exclusion]
) -> Iterator[Finding]:
    """Every exclusion that an update falls under; one that holds several packages, by any."""
    tops = [top.identity.package_name.lower() for top in update.tops]
    articles = {one.article.lower() for one in (update, *update.parts)}
    names = {*articles, *tops, *(name.rpartition("~")[0] for name in tops)}
    for one in exclusions:
        if one.subject.lower() in names:
            where = f"for image {one.image}" if one.image else "for all images"
            text = f"{one.subject} is excluded {where} since {one.since}: {one.reason}"
            yield Finding(Verdict.NOT_ATTEMPTED, EXCLUDED, text)


def _neither(text: str) -> InvalidInput:
    return InvalidInput(
        f"{text[:200]!r} is neither an article nor a package",
        hint="Name it as KB5005033, or as name~token~architecture~language~version.",
    )
