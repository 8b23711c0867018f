"""The chain of trust in stages that people can follow, from a report of the engine."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from wimsmith.offline.packages.trust.following import CheckedLink, Link
from wimsmith.offline.packages.trust.report import TrustReport

BASE_OPTIONS = "--image WIM --index N, or --base FILE"
_NAMES = re.compile(r"(?:^|,)CN=((?:\\.|[^,\\])*)")
_NO_SIGNATURE = "the file has none of its own; its catalogs count"
_AFTER = "not reached"
_NOT_OPENED = "not opened"
_CHAINS = {Link.FILE_SIGNATURE: Link.FILE_CHAIN, Link.CATALOG_SIGNATURE: Link.CATALOG_CHAIN}


class State(StrEnum):
    """What is known of a stage."""

    OK = "ok"
    FAILED = "failed"
    ABSENT = "absent"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Stage:
    """Links of one kind: how many hold, and what is to be said of them."""

    name: str
    state: State
    held: int
    text: str


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of links. One of type `counted` is there for each thing that was proved."""

    name: str
    counted: Link
    links: frozenset[Link]
    text: str


_KINDS = (
    _Kind(
        "file signature",
        Link.FILE_SIGNATURE,
        frozenset(one for one in Link if one.value.startswith("file-")),
        "",
    ),
    _Kind(
        "catalogs",
        Link.CATALOG_SIGNATURE,
        frozenset(one for one in Link if one.value.startswith("catalog")),
        "",
    ),
    _Kind(
        "packages",
        Link.PACKAGE_HASH,
        frozenset({Link.PACKAGE_HASH, Link.PACKAGE_IDENTITY}),
        "each package manifest is listed by its catalog",
    ),
    _Kind(
        "manifests",
        Link.MANIFEST_NAME,
        frozenset({Link.MANIFEST_HASH, Link.MANIFEST_NAME}),
        "each is listed by a catalog and has its own name",
    ),
    _Kind(
        "payload",
        Link.PAYLOAD_HASH,
        frozenset({Link.PAYLOAD_HASH}),
        "each file has the digest that its manifest states",
    ),
)


def stages_of(report: TrustReport, manifests: int | None) -> tuple[Stage, ...]:
    """The stages of a chain, those that were not reached as well.

    Args:
        report: the chain.
        manifests: how many manifests the package has, with those that could not be read; None if
            only the signature of the file itself was looked at.
    """
    stages = tuple(_stages(report, manifests or 0))
    if manifests is not None:
        return stages
    rest = (Stage(one.name, State.NOT_CHECKED, 0, _NOT_OPENED) for one in stages[1:])
    return (stages[0], *rest)


def common_name(subject: str) -> str:
    """The common name in a subject such as `CN=Somebody,O=Some company`, else all of it."""
    found = _NAMES.search(subject)
    return re.sub(r"\\(.)", r"\1", found[1]) if found else subject


def signers(report: TrustReport, signature: Link) -> str:
    """Whose signatures of one kind hold, and since when."""
    found = [one for one in report.links if one.link is signature]
    names = dict.fromkeys(common_name(one.text) for one in found)
    return f"{' and '.join(names)}{_times(found)}"


def _roots(report: TrustReport, signature: Link) -> str:
    """Up to which roots or authorities the signatures of one kind lead."""
    chain = _CHAINS[signature]
    names = dict.fromkeys(common_name(one.text) for one in report.links if one.link is chain)
    return f", below {' and '.join(names)}" if names else ""


def _stages(report: TrustReport, manifests: int) -> Iterator[Stage]:
    ended = False
    for kind in _KINDS:
        held = sum(one.link is kind.counted for one in report.links)
        if ended:
            yield Stage(kind.name, State.NOT_CHECKED, held, _AFTER)
        elif report.broken is not None and _is_about(report.broken.code, kind):
            ended = True
            yield Stage(kind.name, State.FAILED, held, report.broken.text)
        elif kind.counted is Link.FILE_SIGNATURE and not report.file_signed:
            yield Stage(kind.name, State.ABSENT, 0, _NO_SIGNATURE)
        else:
            yield _reached(report, kind, held, manifests)


def _reached(report: TrustReport, kind: _Kind, held: int, manifests: int) -> Stage:
    unread = len(report.unchecked)
    if unread and kind.counted in {Link.MANIFEST_NAME, Link.PAYLOAD_HASH}:
        what = "manifest" if unread == 1 else "manifests"
        text = f"not all: {unread} {what} stored compressed could not be read"
        return Stage(kind.name, State.NOT_CHECKED, held, text)
    if kind.counted is Link.MANIFEST_NAME and held < manifests:
        return Stage(kind.name, State.NOT_CHECKED, held, f"{manifests - held} {_AFTER}")
    if kind.counted in _CHAINS:
        who = f"by {signers(report, kind.counted)}{_roots(report, kind.counted)}"
        return Stage(kind.name, State.OK, held, who)
    return Stage(kind.name, State.OK, held, kind.text)


def _is_about(code: str, kind: _Kind) -> bool:
    """Whether what broke is of a kind; damage is of catalogs, or of manifests."""
    if code.startswith("damaged:"):
        return kind.name == ("catalogs" if code.endswith("catalog") else "manifests")
    return any(code == f"untrusted:{link}" for link in kind.links)


def _times(found: Sequence[CheckedLink]) -> str:
    moments = sorted(one.time for one in found if one.time is not None)
    if not moments:
        return ""
    days = dict.fromkeys(f"{one:%Y-%m-%d}" for one in (moments[0], moments[-1]))
    return f", {' to '.join(days)}"
