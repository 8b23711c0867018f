"""Chains of certificates: from the one that signed to an anchor, judged at one moment (RFC 5280).

Every certificate has to be valid at that moment, the anchor too; every issuer has to be an
authority that may issue certificates, that may stand so far up, and that is not limited to other
purposes. An extension that is marked critical and not understood ends a chain. Authorities with one
name are all tried, within a budget. Revocation is not asked for: this server may have no way out,
and what a package holds is pinned by hash anyway.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, ObjectIdentifier

from wimsmith.errors import Untrusted
from wimsmith.offline.packages.trust.signatures import UNREADABLE, Anchors, fingerprint, issued

MAX_CHAIN = 8
MAX_STEPS = 100

_UNDERSTOOD = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)


def build_chain(
    certificate: x509.Certificate,
    known: Sequence[x509.Certificate],
    anchors: Anchors,
    *,
    when: datetime,
    purpose: ObjectIdentifier,
    link: str,
) -> tuple[x509.Certificate, ...]:
    """The certificate, its issuer and so on up to an anchor.

    Args:
        certificate: the one at the bottom.
        known: certificates that may stand between.
        anchors: what the chain has to end in.
        when: moment at which all of them have to be valid.
        purpose: extended key usage that no authority of the chain may exclude.
        link: named if there is no such chain.

    Raises:
        Untrusted: `link`, with what stood in the way of the longest attempt.
    """
    pool = {fingerprint(one): one for one in (*anchors.certificates, *known)}
    trusted = anchors.fingerprints | {fingerprint(one) for one in anchors.certificates}
    search = _Search(tuple(pool.values()), trusted, when, purpose)
    found = search.above((certificate,))
    if found is None:
        raise Untrusted(link, search.obstacle)
    return found


def usages(certificate: x509.Certificate) -> frozenset[ObjectIdentifier]:
    """What a certificate says it is for; empty if it does not say or cannot be read."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (x509.ExtensionNotFound, *UNREADABLE):
        return frozenset()
    return frozenset(found.value)


def may_sign_content(certificate: x509.Certificate) -> bool:
    """Whether the key usage of a certificate, if it has one, is for signatures."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except UNREADABLE:
        return False
    return usage.digital_signature or usage.content_commitment


@dataclass(slots=True)
class _Search:
    """A depth-first search for an anchor; `obstacle` is what ended the longest attempt."""

    pool: tuple[x509.Certificate, ...]
    trusted: frozenset[str]
    when: datetime
    purpose: ObjectIdentifier
    steps: int = 0
    obstacle: str = ""
    obstacle_height: int = field(default=0)

    def above(self, chain: tuple[x509.Certificate, ...]) -> tuple[x509.Certificate, ...] | None:
        """The chain, completed to an anchor; None if there is no way."""
        top = chain[-1]
        name = top.subject.rfc4514_string()[:200]
        if not top.not_valid_before_utc <= self.when <= top.not_valid_after_utc:
            self._blocked(chain, f"{name} was not valid on {self.when:%Y-%m-%d}")
            return None
        if unknown := _not_understood(top):
            self._blocked(chain, f"{name} has the critical extension {unknown}")
            return None
        if fingerprint(top) in self.trusted:
            return chain
        if len(chain) == MAX_CHAIN:
            self._blocked(chain, f"the chain is longer than {MAX_CHAIN} certificates")
            return None
        self._blocked(chain, f"the chain ends in {name}, which is not a trusted root")
        for issuer in self._issuers(top, chain):
            if reason := self._unfit(issuer, chain):
                self._blocked((*chain, issuer), reason)
            elif found := self.above((*chain, issuer)):
                return found
        return None

    def _issuers(
        self, top: x509.Certificate, chain: Iterable[x509.Certificate]
    ) -> Iterator[x509.Certificate]:
        for one in self.pool:
            if one.subject != top.issuer or one in chain:
                continue
            self.steps += 1
            if self.steps > MAX_STEPS:
                return
            if issued(top, one):
                yield one

    def _unfit(self, issuer: x509.Certificate, chain: Sequence[x509.Certificate]) -> str:
        """Why an authority could not have issued the top of a chain, empty if it could."""
        name = issuer.subject.rfc4514_string()[:200]
        below = sum(one.subject != one.issuer for one in chain[1:])
        if not _is_authority(issuer, below):
            return f"{name} may not issue the certificates below it"
        purposes = usages(issuer)
        if purposes and not purposes & {self.purpose, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}:
            return f"{name} is an authority for other purposes"
        return ""

    def _blocked(self, chain: Sequence[x509.Certificate], reason: str) -> None:
        if len(chain) > self.obstacle_height:
            self.obstacle, self.obstacle_height = reason, len(chain)


def _is_authority(issuer: x509.Certificate, below: int) -> bool:
    """Whether a certificate is that of an authority; `below` counts authorities under it."""
    try:
        limits = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not limits.ca or (limits.path_length is not None and below > limits.path_length):
            return False
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid
    except UNREADABLE:
        return False


def _not_understood(certificate: x509.Certificate) -> str:
    """A critical extension that is not understood, or that extensions cannot be read."""
    try:
        for one in certificate.extensions:
            if one.critical and one.oid not in _UNDERSTOOD:
                return str(one.oid.dotted_string)
    except UNREADABLE:
        return "that cannot be read"
    return ""
