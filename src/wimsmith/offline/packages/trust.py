"""Following the chain of trust from a catalog's signature to the last payload byte.

1. every catalog that vouches for a package is signed, and the signer leads to a trusted root
2. the catalog of a package lists its manifest, and catalogs list every expanded manifest
3. a manifest is about the component that its file name says
4. payload has the digest that its manifest states
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from wimsmith.errors import DamagedInput, Untrusted
from wimsmith.offline import paths
from wimsmith.offline.manifests.component import ComponentFile, ComponentManifest, parse_component
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.packages.catalog import Catalog
from wimsmith.offline.packages.package import ExpandedPackage, PackageFile
from wimsmith.offline.packages.signatures import (
    CODE_SIGNING,
    WINDOWS_COMPONENT,
    Anchors,
    SignatureFacts,
    check_signature,
)
from wimsmith.offline.progress import Event, Progress, silent

_COPY_BYTES = 1 << 20


class Link(StrEnum):
    """Links of the chain, in the order they are followed."""

    PACKAGE_IDENTITY = "package-identity"
    CATALOG = "catalog"
    CATALOG_SIGNATURE = "catalog-signature"
    CATALOG_CHAIN = "catalog-chain"
    CATALOG_TIME = "catalog-time"
    CATALOG_PURPOSE = "catalog-purpose"
    PACKAGE_HASH = "package-hash"
    MANIFEST_HASH = "manifest-hash"
    MANIFEST_NAME = "manifest-name"
    PAYLOAD_HASH = "payload-hash"


@dataclass(frozen=True, slots=True)
class CheckedLink:
    """One link that holds. `subject` is what was checked, `text` how."""

    link: Link
    subject: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Whose packages are accepted.

    Args:
        microsoft: anchors below which only certificates for Windows components count.
        operator: further roots that the operator chose; any code-signing certificate counts.
        test: roots of generated practice packages, which count only with `allow_test_roots`.
        allow_test_roots: whether practice packages are accepted.
        now: time at which signatures without time stamp must be valid; None is the present.
    """

    microsoft: Anchors
    operator: Anchors = field(default_factory=Anchors)
    test: Anchors = field(default_factory=Anchors)
    allow_test_roots: bool = False
    now: datetime | None = None

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


def verify_catalog(catalog: Catalog, policy: TrustPolicy) -> SignatureFacts:
    """Check the signature of a catalog against a policy.

    Raises:
        Untrusted: `catalog-signature`, `catalog-chain`, `catalog-time` or `catalog-purpose`.
        DamagedCatalog: a certificate or time stamp in it cannot be read.
    """
    now = policy.now or datetime.now(UTC)
    facts = check_signature(catalog.message, policy.anchors(), now)
    if CODE_SIGNING not in facts.usages:
        raise Untrusted(Link.CATALOG_PURPOSE, f"{facts.signer[:200]} may not sign programs")
    free = policy.operator.hold(facts.anchor_fingerprint) or policy.is_test(facts)
    if not free and WINDOWS_COMPONENT not in facts.usages:
        raise Untrusted(Link.CATALOG_PURPOSE, f"{facts.signer[:200]} may not sign parts of Windows")
    return facts


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
        links += _manifest_links(package, keyform, base_manifest)
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
    return tuple(_package_links(package, policy, expected))


def _package_links(
    package: ExpandedPackage, policy: TrustPolicy, expected: AssemblyIdentity | None
) -> Iterator[CheckedLink]:
    if expected is not None:
        yield _identity_link(package, expected)
    for catalog in package.catalogs:
        facts = verify_catalog(catalog, policy)
        yield CheckedLink(Link.CATALOG_SIGNATURE, catalog.thumbprint, facts.signer)
        yield CheckedLink(Link.CATALOG_CHAIN, catalog.thumbprint, facts.anchor)
        if facts.signed_at is not None:
            yield CheckedLink(
                Link.CATALOG_TIME, catalog.thumbprint, facts.signed_at.isoformat(timespec="seconds")
            )
    further = (package.branch_forward,) if package.branch_forward else ()
    for one in (*package.packages.values(), *further):
        yield _package_link(one)


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
    return CheckedLink(Link.PACKAGE_HASH, one.name, one.catalog.thumbprint)


def _manifest_links(
    package: ExpandedPackage, keyform: str, base_manifest: bytes | None
) -> Iterator[CheckedLink]:
    data = package.decoded_manifest(keyform, base_manifest)
    manifest = parse_component(data)
    yield CheckedLink(Link.MANIFEST_HASH, keyform, hashlib.sha256(data).hexdigest())
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
    return CheckedLink(Link.PAYLOAD_HASH, subject, stated.digest.hex())


def _digest(path: Path, algorithm: str) -> bytes:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_COPY_BYTES):
            digest.update(block)
    return digest.digest()
