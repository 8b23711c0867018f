"""Following the chain of trust from the signature of a file to the last payload byte.

1. a file that carries a signature of its own (Authenticode) is the file that was signed: this is
   `verify_file`, which needs nothing but the file
2. every catalog that vouches for a package is signed, and the signer leads to a trusted root
3. the catalog of a package lists its manifest, and catalogs list every expanded manifest
4. a manifest is about the component that its file name says
5. payload has the digest that its manifest states

`verify` follows the rest and stops at the first link that breaks; `trustreport.py` tells people how
far the chain goes.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from wimsmith.errors import DamagedInput, Untrusted
from wimsmith.offline import paths
from wimsmith.offline.manifests.component import ComponentFile, ComponentManifest, parse_component
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.packages.package import ExpandedPackage, PackageFile
from wimsmith.offline.packages.trust.authenticode import FileSignature, check_cabinet
from wimsmith.offline.packages.trust.catalog import Catalog
from wimsmith.offline.packages.trust.signatures import WINDOWS_COMPONENT, Anchors
from wimsmith.offline.packages.trust.signers import SignatureFacts, check_signature
from wimsmith.offline.progress import Event, Progress, silent

SHA1_UNTIL = datetime(2021, 5, 10, tzinfo=UTC)
"""Microsoft signed with SHA-1 until its root of 2001 ran out on 9 May 2021."""

_MICROSOFT = "Microsoft Corporation"
_COPY_BYTES = 1 << 20


class Link(StrEnum):
    """Links of the chain, in the order they are followed."""

    PACKAGE_IDENTITY = "package-identity"
    FILE_SIGNATURE = "file-signature"
    FILE_HASH = "file-hash"
    FILE_CHAIN = "file-chain"
    FILE_TIME = "file-time"
    FILE_PURPOSE = "file-purpose"
    FILE_ALGORITHM = "file-algorithm"
    CATALOG = "catalog"
    CATALOG_SIGNATURE = "catalog-signature"
    CATALOG_CHAIN = "catalog-chain"
    CATALOG_TIME = "catalog-time"
    CATALOG_PURPOSE = "catalog-purpose"
    CATALOG_ALGORITHM = "catalog-algorithm"
    PACKAGE_HASH = "package-hash"
    MANIFEST_HASH = "manifest-hash"
    MANIFEST_NAME = "manifest-name"
    PAYLOAD_HASH = "payload-hash"


@dataclass(frozen=True, slots=True)
class CheckedLink:
    """One link that holds.

    `subject` is what was checked, `text` how: whose signature, which anchor, which digest.
    `algorithm` is the digest, `fingerprint` the SHA-256 of the certificate that decided, `time`
    the proved time of a signature.
    """

    link: Link
    subject: str
    text: str = ""
    algorithm: str = ""
    fingerprint: str = ""
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Whose packages are accepted.

    Args:
        microsoft: anchors below which only certificates for Windows components count, and for
            files only those of Microsoft itself.
        operator: further roots that the operator chose; any code-signing certificate counts.
        test: roots of generated practice packages, which count only with `allow_test_roots`.
        allow_test_roots: whether practice packages are accepted.
        now: time at which signatures without time stamp must be valid; None is the present.
        sha1_until: signatures that rely on SHA-1 count with a time stamp from before only;
            practice packages, which imitate early ones, are free of this.
        require_file_signature: whether a file without a signature of its own is refused.
    """

    microsoft: Anchors
    operator: Anchors = field(default_factory=Anchors)
    test: Anchors = field(default_factory=Anchors)
    allow_test_roots: bool = False
    now: datetime | None = None
    sha1_until: datetime = SHA1_UNTIL
    require_file_signature: bool = False

    def anchors(self) -> Anchors:
        """All anchors that count."""
        parts = [self.microsoft, self.operator, *([self.test] if self.allow_test_roots else [])]
        return Anchors(
            certificates=tuple(one for part in parts for one in part.certificates),
            fingerprints=frozenset(one for part in parts for one in part.fingerprints),
        )

    def is_test(self, facts: SignatureFacts) -> bool:
        """Whether a signature leads to a test root."""
        return self.test.hold(facts.anchor_fingerprint)

    def is_free(self, facts: SignatureFacts) -> bool:
        """Whether any signer counts below the anchor that a signature leads to."""
        return self.operator.hold(facts.anchor_fingerprint) or self.is_test(facts)

    def moment(self) -> datetime:
        """When signatures without time stamp must be valid."""
        return self.now or datetime.now(UTC)

    def weakness(self, facts: SignatureFacts, *digests: str) -> str:
        """What makes a signature too weak to count, empty if nothing does."""
        if "sha1" not in {*facts.digests, *digests} or self.is_test(facts):
            return ""
        if facts.signed_at is not None and facts.signed_at < self.sha1_until:
            return ""
        until = f"{self.sha1_until:%Y-%m-%d}"
        return f"it relies on SHA-1 and no time stamp proves that it is from before {until}"


def verify_catalog(catalog: Catalog, policy: TrustPolicy) -> SignatureFacts:
    """Check the signature of a catalog against a policy.

    Raises:
        Untrusted: `catalog-signature`, `catalog-chain`, `catalog-time`, `catalog-purpose` or
            `catalog-algorithm`.
        DamagedCatalog: a certificate or time stamp in it cannot be read.
    """
    facts = check_signature(catalog.message, policy.anchors(), policy.moment(), "catalog")
    if not policy.is_free(facts) and WINDOWS_COMPONENT not in facts.usages:
        raise Untrusted(Link.CATALOG_PURPOSE, f"{facts.signer[:200]} may not sign parts of Windows")
    if weakness := policy.weakness(facts):
        raise Untrusted(Link.CATALOG_ALGORITHM, weakness)
    return facts


def verify_file(path: Path, policy: TrustPolicy) -> tuple[FileSignature, ...]:
    """Check the signature of a `.cab` or `.msu` file itself; empty if it carries none.

    Raises:
        Untrusted: `file-signature`, `file-hash`, `file-chain`, `file-time`, `file-purpose` or
            `file-algorithm`; `file-signature` also for a missing one that the policy demands.
        OSError: the file cannot be read.
    """
    found = check_cabinet(path, policy.anchors(), policy.moment())
    if not found and policy.require_file_signature:
        raise Untrusted(Link.FILE_SIGNATURE, "the file carries no signature")
    for one in found:
        foreign = one.facts.organization != _MICROSOFT or one.facts.signs_drivers
        if foreign and not policy.is_free(one.facts):
            raise Untrusted(Link.FILE_PURPOSE, f"{one.facts.signer[:200]} does not sign updates")
    weaknesses = [policy.weakness(one.facts, one.algorithm) for one in found]
    if weaknesses and all(weaknesses):
        raise Untrusted(Link.FILE_ALGORITHM, weaknesses[0])
    return found


def verify(
    package: ExpandedPackage,
    policy: TrustPolicy,
    *,
    base_manifest: bytes | None = None,
    expected: AssemblyIdentity | None = None,
    progress: Progress = silent,
) -> tuple[CheckedLink, ...]:
    """Follow the whole chain of an expanded update.

    Args:
        package: the update.
        policy: whose signatures count.
        base_manifest: base text of the image, needed if manifests are stored as DCM.
        expected: identity that a catalogue promised for the update, if one did.
        progress: told after each manifest.

    Returns:
        Every link that was checked; all of them hold.

    Raises:
        Untrusted: the first link that breaks, with its name.
        DamagedInput: something in the update cannot be read at all.
    """
    links = list(verify_packages(package, policy, expected))
    for done, keyform in enumerate(sorted(package.manifests), 1):
        links += manifest_links(package, keyform, base_manifest)
        progress(Event("verify", done, len(package.manifests), "files"))
    return tuple(links)


def verify_packages(
    package: ExpandedPackage, policy: TrustPolicy, expected: AssemblyIdentity | None = None
) -> tuple[CheckedLink, ...]:
    """Follow the chain as far as the manifests of packages: all that needs no image.

    Raises:
        Untrusted: the first link that breaks, with its name.
        DamagedInput: a catalog cannot be read.
    """
    return tuple(package_links(package, policy, expected))


def file_links(path: Path, policy: TrustPolicy) -> Iterator[CheckedLink]:
    """The links of the signature of a file itself; none if it carries none.

    Raises: as `verify_file`.
    """
    for one in verify_file(path, policy):
        yield from _signature_links("file", path.name, one.facts)
        yield CheckedLink(Link.FILE_HASH, path.name, one.digest, one.algorithm)


def package_links(
    package: ExpandedPackage, policy: TrustPolicy, expected: AssemblyIdentity | None = None
) -> Iterator[CheckedLink]:
    """The links down to the manifests of packages, one after the other.

    Raises: as `verify_packages`.
    """
    if expected is not None:
        yield _identity_link(package, expected)
    for catalog in package.catalogs:
        yield from _signature_links("catalog", catalog.thumbprint, verify_catalog(catalog, policy))
    further = (package.branch_forward,) if package.branch_forward else ()
    for one in (*package.packages.values(), *further):
        yield _package_link(one)


def _signature_links(what: str, subject: str, facts: SignatureFacts) -> Iterator[CheckedLink]:
    signer, anchor = facts.chain[0], facts.chain[-1]
    yield CheckedLink(
        Link(f"{what}-signature"),
        subject,
        signer.subject,
        facts.algorithm,
        signer.fingerprint,
        facts.signed_at,
    )
    yield CheckedLink(
        Link(f"{what}-chain"),
        subject,
        anchor.subject,
        _weakest(facts.digests),
        anchor.fingerprint,
    )
    if facts.time is not None:
        yield CheckedLink(
            Link(f"{what}-time"),
            subject,
            f"{facts.time.when.isoformat(timespec='seconds')} ({facts.time.kind})",
            facts.time.algorithm,
            facts.time.chain[0].fingerprint,
            facts.time.when,
        )


def _weakest(digests: Iterable[str]) -> str:
    return min(digests, key=lambda name: hashlib.new(name, usedforsecurity=False).digest_size)


def _identity_link(package: ExpandedPackage, expected: AssemblyIdentity) -> CheckedLink:
    if paths.fold(expected.package_name) != paths.fold(package.top.name):
        raise Untrusted(
            Link.PACKAGE_IDENTITY,
            f"{package.top.name[:200]} came where {expected.package_name[:200]} was promised",
        )
    return CheckedLink(Link.PACKAGE_IDENTITY, package.top.name)


def _package_link(one: PackageFile) -> CheckedLink:
    if one.catalog is None:
        raise Untrusted(Link.CATALOG, f"there is no catalog for {one.name[:200]}")
    if not one.catalog.lists(one.raw):
        raise Untrusted(Link.PACKAGE_HASH, f"the catalog of {one.name[:200]} does not list it")
    algorithm = "sha256" if one.catalog.has_sha256 else "sha1"
    return CheckedLink(Link.PACKAGE_HASH, one.name, one.catalog.thumbprint, algorithm)


def manifest_links(
    package: ExpandedPackage, keyform: str, base_manifest: bytes | None
) -> Iterator[CheckedLink]:
    """The links from catalogs to a manifest and from there to its payload.

    Raises:
        Untrusted: `manifest-hash`, `manifest-name` or `payload-hash`.
        DamagedInput: the manifest cannot be read, or needs a base text that is not given.
    """
    data = package.decoded_manifest(keyform, base_manifest)
    manifest = parse_component(data)
    yield CheckedLink(Link.MANIFEST_HASH, keyform, hashlib.sha256(data).hexdigest(), "sha256")
    yield CheckedLink(Link.MANIFEST_NAME, keyform)
    for file in manifest.files:
        yield _payload_link(package, keyform, manifest, file)


def _payload_link(
    package: ExpandedPackage, keyform: str, manifest: ComponentManifest, file: ComponentFile
) -> CheckedLink:
    subject = paths.join(keyform, file.name)
    stated = file.hash
    if stated is None:
        raise Untrusted(Link.PAYLOAD_HASH, f"{manifest.identity.name[:200]} states no digest")
    try:
        path = package.payload_of(keyform, file).path
    except DamagedInput as error:
        raise Untrusted(Link.PAYLOAD_HASH, f"{subject[:300]} is missing") from error
    if _digest(path, stated.algorithm) != stated.digest:
        raise Untrusted(Link.PAYLOAD_HASH, f"{subject[:300]} is not what its manifest says")
    return CheckedLink(Link.PAYLOAD_HASH, subject, stated.digest.hex(), stated.algorithm)


def _digest(path: Path, algorithm: str) -> bytes:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_COPY_BYTES):
            digest.update(block)
    return digest.digest()
