"""Checking signatures of signed messages: digest, signer, chain to a trusted root, time.

The chain is built from the certificates in the message and the configured roots. Revocation is
not asked for: this server may have no way out, and what a package holds is pinned by hash anyway.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from wimsmith.errors import DamagedCatalog, Untrusted
from wimsmith.offline.packages.catalog import (
    SignedMessage,
    SignerFacts,
    parse_signed_message,
    time_of_token,
)

CODE_SIGNING = ExtendedKeyUsageOID.CODE_SIGNING
TIME_STAMPING = ExtendedKeyUsageOID.TIME_STAMPING
WINDOWS_COMPONENT = ObjectIdentifier("1.3.6.1.4.1.311.10.3.6")
_MAX_CHAIN = 8
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_DIGESTS: dict[str, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


@dataclass(frozen=True, slots=True)
class Anchors:
    """What chains may end in: certificates, and any certificate with one of these fingerprints.

    Fingerprints are SHA-256 of the certificate in lower-case hexadecimal.
    """

    certificates: tuple[x509.Certificate, ...] = ()
    fingerprints: frozenset[str] = frozenset()

    def hold(self, certificate_fingerprint: str) -> bool:
        """Whether the certificate with this fingerprint is an anchor."""
        return certificate_fingerprint in self.fingerprints or any(
            fingerprint(one) == certificate_fingerprint for one in self.certificates
        )


@dataclass(frozen=True, slots=True)
class SignatureFacts:
    """A signature that was found good."""

    signer: str
    usages: frozenset[ObjectIdentifier]
    anchor: str
    anchor_fingerprint: str
    signed_at: datetime | None


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate in lower-case hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def check_signature(message: SignedMessage, anchors: Anchors, now: datetime) -> SignatureFacts:
    """Check the one signature of a message, at the time its time stamp proves, else `now`.

    Raises:
        Untrusted: `catalog-signature`, `catalog-chain` or `catalog-time`.
        DamagedCatalog: a certificate or time stamp cannot be read.
    """
    if len(message.signers) != 1:
        raise Untrusted("catalog-signature", f"{len(message.signers)} signatures instead of one")
    signer = message.signers[0]
    if signer.content_type != message.content_type:
        raise Untrusted("catalog-signature", "the signature is about another kind of content")
    certificates = load_der(message.certificates)
    certificate = _check_signer(signer, certificates, "catalog-signature")
    signed_at = _proved_time(signer, certificates, anchors)
    anchor = _anchor(certificate, certificates, anchors, signed_at or now, "catalog-chain")
    return SignatureFacts(
        signer=certificate.subject.rfc4514_string(),
        usages=_usages(certificate),
        anchor=anchor.subject.rfc4514_string(),
        anchor_fingerprint=fingerprint(anchor),
        signed_at=signed_at,
    )


def load_der(certificates: Iterable[bytes]) -> tuple[x509.Certificate, ...]:
    """Certificates from DER, with the parts read that every check needs.

    Raises:
        DamagedCatalog: one of them is none.
    """
    try:
        loaded = tuple(x509.load_der_x509_certificate(one) for one in certificates)
        for one in loaded:  # parts are parsed when first asked for: ask here, where errors are met
            _ = (one.subject.rfc4514_string(), one.issuer.public_bytes(), one.serial_number)
            _ = (one.not_valid_before_utc, one.not_valid_after_utc)
    except _UNREADABLE as error:
        raise DamagedCatalog(f"a certificate: {error}") from error
    return loaded


def _check_signer(
    signer: SignerFacts, certificates: Sequence[x509.Certificate], link: str
) -> x509.Certificate:
    """The certificate whose key made a signature, which fits its content."""
    certificate = _certificate_of(signer, certificates, link)
    digest = _digest_class(signer.digest_algorithm, link)
    signed = signer.content
    if signer.signed_attributes:
        stated = hashlib.new(digest().name, signer.content, usedforsecurity=False).digest()
        if not hmac.compare_digest(stated, signer.message_digest):
            raise Untrusted(link, "the signed content was changed")
        signed = signer.signed_attributes
    if not _verifies(certificate, signer.signature, signed, digest()):
        raise Untrusted(link, "the signature does not fit its content")
    return certificate


def _certificate_of(
    signer: SignerFacts, certificates: Sequence[x509.Certificate], link: str
) -> x509.Certificate:
    for one in certificates:
        if one.serial_number == signer.serial and one.issuer.public_bytes() == signer.issuer:
            return one
    raise Untrusted(link, "the certificate of the signer is missing")


def _digest_class(name: str, link: str) -> type[hashes.HashAlgorithm]:
    if name not in _DIGESTS:
        raise Untrusted(link, f"digest algorithm {name[:60]}")
    return _DIGESTS[name]


def _verifies(
    certificate: x509.Certificate, signature: bytes, data: bytes, digest: hashes.HashAlgorithm
) -> bool:
    try:
        key = certificate.public_key()
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(digest))
        else:
            return False
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def _proved_time(
    signer: SignerFacts, certificates: Sequence[x509.Certificate], anchors: Anchors
) -> datetime | None:
    """When the signature existed, by a time stamp that itself leads to an anchor."""
    if signer.time_stamp is not None:
        return _time_of_token(signer, certificates, anchors)
    if signer.counter_signatures:
        return _time_of_counter_signature(signer.counter_signatures[0], certificates, anchors)
    return None


def _time_of_token(
    signer: SignerFacts, certificates: Sequence[x509.Certificate], anchors: Anchors
) -> datetime:
    assert signer.time_stamp is not None
    token = parse_signed_message(signer.time_stamp)
    posix, algorithm, imprint = time_of_token(token)
    digest = _digest_class(algorithm, "catalog-time")
    stated = hashlib.new(digest().name, signer.signature, usedforsecurity=False).digest()
    if len(token.signers) != 1 or not hmac.compare_digest(stated, imprint):
        raise Untrusted("catalog-time", "the time stamp is about another signature")
    known = (*load_der(token.certificates), *certificates)
    return _time_by(token.signers[0], posix, known, anchors)


def _time_of_counter_signature(
    signer: SignerFacts, certificates: Sequence[x509.Certificate], anchors: Anchors
) -> datetime:
    if signer.signing_time is None or not signer.signed_attributes:
        raise Untrusted("catalog-time", "the counter-signature states no time")
    return _time_by(signer, signer.signing_time, certificates, anchors)


def _time_by(
    signer: SignerFacts, posix: float, known: Sequence[x509.Certificate], anchors: Anchors
) -> datetime:
    certificate = _check_signer(signer, known, "catalog-time")
    try:
        when = datetime.fromtimestamp(posix, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Untrusted("catalog-time", "a time no calendar has") from error
    if TIME_STAMPING not in _usages(certificate):
        raise Untrusted("catalog-time", "the certificate of the time stamp is not for time stamps")
    _anchor(certificate, known, anchors, when, "catalog-time")
    return when


def _anchor(
    certificate: x509.Certificate,
    known: Sequence[x509.Certificate],
    anchors: Anchors,
    when: datetime,
    link: str,
) -> x509.Certificate:
    """The anchor at the end of the chain of a certificate, all of it valid at `when`."""
    pool = {fingerprint(one): one for one in (*anchors.certificates, *known)}
    current = certificate
    for depth in range(_MAX_CHAIN):
        if anchors.hold(fingerprint(current)):
            return current
        if not current.not_valid_before_utc <= when <= current.not_valid_after_utc:
            name = current.subject.rfc4514_string()
            raise Untrusted(link, f"{name[:200]} was not valid on {when:%Y-%m-%d}")
        issued = partial(_issued, current, depth)
        issuer = next(filter(issued, pool.values()), None)
        if issuer is None or issuer == current:
            break
        current = issuer
    name = current.subject.rfc4514_string()
    raise Untrusted(link, f"the chain ends in {name[:200]}, which is not a trusted root")


def _issued(certificate: x509.Certificate, depth: int, issuer: x509.Certificate) -> bool:
    """Whether `issuer` signed a certificate and may; `depth` counts authorities below it."""
    if certificate.issuer != issuer.subject or not _may_sign(issuer, depth):
        return False
    try:
        digest = certificate.signature_hash_algorithm
    except _UNREADABLE:
        return False
    if digest is None or digest.name not in _DIGESTS:
        return False
    return _verifies(issuer, certificate.signature, certificate.tbs_certificate_bytes, digest)


def _may_sign(issuer: x509.Certificate, depth: int) -> bool:
    try:
        limits = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not limits.ca or (limits.path_length is not None and depth > limits.path_length):
            return False
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid
    except _UNREADABLE:
        return False


def _usages(certificate: x509.Certificate) -> frozenset[ObjectIdentifier]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return frozenset()
    return frozenset(found.value)
