"""How far the chain of trust of an update goes, told link by link instead of stopping at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from wimsmith.errors import DamagedInput, Untrusted
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.packages.package import ExpandedPackage
from wimsmith.offline.packages.trust.following import (
    CheckedLink,
    Link,
    TrustPolicy,
    file_links,
    manifest_links,
    package_links,
)
from wimsmith.offline.progress import Event, Progress, silent

REVOCATION = "not checked: certificates are judged without network"


class TrustVerdict(StrEnum):
    """What the links of an update come to."""

    TRUSTED = "trusted"
    INCOMPLETE = "incomplete"
    UNTRUSTED = "untrusted"


@dataclass(frozen=True, slots=True)
class BrokenLink:
    """Where the chain breaks: code of the table of verdicts and a sentence."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class TrustReport:
    """The links of an update, ready to be shown; `asdict` of it is plain data.

    `links` hold and were checked in this order; `broken` is the first that does not, which ended
    the check. `unchecked` are manifests that could not be read without the base text of an image.
    `file_signed` says whether the file itself carries a signature, `test_root` whether a signature
    leads to a root of practice packages.
    """

    verdict: TrustVerdict
    links: tuple[CheckedLink, ...]
    broken: BrokenLink | None
    unchecked: tuple[str, ...]
    file_signed: bool
    test_root: bool
    revocation: str = REVOCATION


def examine(
    package: ExpandedPackage,
    policy: TrustPolicy,
    *,
    base_manifest: bytes | None = None,
    expected: AssemblyIdentity | None = None,
    progress: Progress = silent,
) -> TrustReport:
    """Follow the chain of an expanded update until it ends or breaks, its file first.

    Args:
        package: the update.
        policy: whose signatures count.
        base_manifest: base text of an image; without it, manifests stored as DCM stay unchecked.
        expected: identity that was promised for the update, if one was.
        progress: told after each manifest.

    Raises:
        OSError: a file of the update cannot be read.
    """
    readable = sorted(
        keyform
        for keyform, one in package.manifests.items()
        if base_manifest is not None or not one.compressed
    )

    def links() -> Iterator[CheckedLink]:
        yield from file_links(package.source, policy)
        yield from package_links(package, policy, expected)
        for done, keyform in enumerate(readable, 1):
            yield from manifest_links(package, keyform, base_manifest)
            progress(Event("verify", done, len(readable), "files"))

    return _report(links(), policy, tuple(sorted(set(package.manifests) - set(readable))))


def examine_file(path: Path, policy: TrustPolicy) -> TrustReport:
    """Check only the signature of a `.cab` or `.msu` file itself, whatever is in it.

    The verdict is never `trusted`, since nothing inside was followed.

    Raises:
        OSError: the file cannot be read.
    """
    return _report(file_links(path, policy), policy, (path.name,))


def _report(
    following: Iterator[CheckedLink], policy: TrustPolicy, unchecked: tuple[str, ...]
) -> TrustReport:
    links: list[CheckedLink] = []
    broken = None
    try:
        links.extend(following)
    except Untrusted as error:
        broken = BrokenLink(error.reason, str(error.args[1]))
    except DamagedInput as error:
        broken = BrokenLink(f"damaged:{error.code}", str(error))
    verdict = TrustVerdict.INCOMPLETE if unchecked else TrustVerdict.TRUSTED
    chains = [one for one in links if one.link in {Link.FILE_CHAIN, Link.CATALOG_CHAIN}]
    return TrustReport(
        verdict=TrustVerdict.UNTRUSTED if broken else verdict,
        links=tuple(links),
        broken=broken,
        unchecked=unchecked,
        file_signed=any(one.link is Link.FILE_HASH for one in links),
        test_root=any(policy.test.hold(one.fingerprint) for one in chains),
    )
