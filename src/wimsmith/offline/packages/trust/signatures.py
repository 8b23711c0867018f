"""Certificates, and whether a key made a signature. Chains are built in `chains.py`."""

import hashlib
import hmac
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from wimsmith.errors import DamagedCatalog, Untrusted
from wimsmith.offline.packages.trust.der import BIT_STRING, SEQUENCE, element, elements, expect
from wimsmith.offline.packages.trust.signedmessage import SignerFacts

CODE_SIGNING = ExtendedKeyUsageOID.CODE_SIGNING
TIME_STAMPING = ExtendedKeyUsageOID.TIME_STAMPING
WINDOWS_COMPONENT = ObjectIdentifier("1.3.6.1.4.1.311.10.3.6")
HARDWARE_DRIVER = ObjectIdentifier("1.3.6.1.4.1.311.10.3.5")
LIFETIME_SIGNING = ObjectIdentifier("1.3.6.1.4.1.311.10.3.13")

_PADDINGS = (padding.PKCS1v15, padding.PSS)
MIN_RSA_BITS = 1024
MAX_RSA_BITS = 8192

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
DIGESTS: dict[str, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
"""Digests that count; MD5 and older ones never do."""


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
class CertificateFacts:
    """A certificate as shown to people; `digest` is that of the signature of its issuer."""

    subject: str
    issuer: str
    serial: str
    fingerprint: str
    valid_from: datetime
    valid_until: datetime
    key: str
    digest: str


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate in lower-case hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def describe(certificate: x509.Certificate) -> CertificateFacts:
    """The facts of a certificate that `load_der` has read."""
    return CertificateFacts(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial=f"{certificate.serial_number:x}",
        fingerprint=fingerprint(certificate),
        valid_from=certificate.not_valid_before_utc,
        valid_until=certificate.not_valid_after_utc,
        key=_key_text(certificate),
        digest=digest_of(certificate),
    )


def load_der(certificates: Iterable[bytes]) -> tuple[x509.Certificate, ...]:
    """Certificates from DER, with the parts read that every check needs.

    Raises:
        DamagedCatalog: one of them is none.
    """
    try:
        with warnings.catch_warnings():  # names longer than RFC 5280 allows occur and do no harm
            warnings.simplefilter("ignore", UserWarning)
            return tuple(map(_loaded, certificates))
    except UNREADABLE as error:
        raise DamagedCatalog(f"a certificate: {error}") from error


def _loaded(der: bytes) -> x509.Certificate:
    """A certificate, asked for its parts here, where errors are met: they are parsed when asked."""
    _check_outside(der)
    one = x509.load_der_x509_certificate(der)
    _ = (one.subject.rfc4514_string(), one.issuer.rfc4514_string(), one.serial_number)
    _ = (one.issuer.public_bytes(), one.not_valid_before_utc, one.not_valid_after_utc)
    return one


def _check_outside(der: bytes) -> None:
    """Refuse a certificate that could be written in another way and still be signed.

    Its algorithm is stated inside and outside of what is signed (RFC 5280, 4.1.1.2), and its
    signature is a string of bits, of which the last could be said to be unused.
    """
    whole = expect(element(der, 0, len(der)), SEQUENCE)
    body = expect(element(der, whole.start, whole.end), SEQUENCE)
    outside = expect(element(der, body.end, whole.end), SEQUENCE)
    bits = expect(element(der, outside.end, whole.end), BIT_STRING)
    inside = next((one for one in elements(der, body) if one.tag == SEQUENCE), None)
    if inside is None or der[inside.start : inside.end] != der[outside.start : outside.end]:
        raise ValueError("the algorithm of the signature is stated in two ways")
    if der[bits.start : bits.start + 1] != b"\0":
        raise ValueError("a signature that is not made of whole bytes")


def check_signer(
    signer: SignerFacts, certificates: Sequence[x509.Certificate], link: str
) -> x509.Certificate:
    """The certificate whose key made a signature, which fits its content.

    Raises:
        Untrusted: `link`; it does not fit, or its certificate is missing.
    """
    certificate = certificate_of(signer, certificates, link)
    digest = digest_class(signer.digest_algorithm, link)()
    signed = signer.content
    if signer.signed_attributes:
        stated = digest_bytes(digest.name, signer.content)
        if not hmac.compare_digest(stated, signer.message_digest):
            raise Untrusted(link, "the signed content was changed")
        signed = signer.signed_attributes
    if not _verifies(certificate, signer.signature, signed, digest, padding.PKCS1v15()):
        raise Untrusted(link, "the signature does not fit its content")
    return certificate


def certificate_of(
    signer: SignerFacts, certificates: Sequence[x509.Certificate], link: str
) -> x509.Certificate:
    """The certificate that a signature names.

    Raises:
        Untrusted: `link`; it is not among `certificates`.
    """
    for one in certificates:
        if one.serial_number == signer.serial and one.issuer.public_bytes() == signer.issuer:
            return one
    raise Untrusted(link, "the certificate of the signer is missing")


def digest_class(name: str, link: str) -> type[hashes.HashAlgorithm]:
    """A digest that counts.

    Raises:
        Untrusted: `link`; the digest `name` does not count.
    """
    if name not in DIGESTS:
        raise Untrusted(link, f"digest algorithm {name[:60]}")
    return DIGESTS[name]


def digest_bytes(name: str, data: bytes) -> bytes:
    """The digest of `data` by one of `DIGESTS`."""
    return hashlib.new(name, data, usedforsecurity=False).digest()


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the key of `issuer` signed a certificate that names it as its issuer."""
    name = digest_of(certificate)
    if name not in DIGESTS or certificate.issuer != issuer.subject:
        return False
    try:
        parameters = certificate.signature_algorithm_parameters
        body = certificate.tbs_certificate_bytes
    except UNREADABLE:
        return False
    scheme = parameters if isinstance(parameters, _PADDINGS) else padding.PKCS1v15()
    return _verifies(issuer, certificate.signature, body, DIGESTS[name](), scheme)


def digest_of(certificate: x509.Certificate) -> str:
    """Name of the digest in the signature of a certificate, empty if it is not known."""
    try:
        digest = certificate.signature_hash_algorithm
    except UNREADABLE:
        return ""
    return digest.name if digest is not None else ""


def _verifies(
    certificate: x509.Certificate,
    signature: bytes,
    data: bytes,
    digest: hashes.HashAlgorithm,
    scheme: padding.PKCS1v15 | padding.PSS,
) -> bool:
    """Whether the key of a certificate made a signature; `scheme` is that of RSA keys."""
    if not _acceptable_key(certificate):
        return False
    try:
        key = certificate.public_key()
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, scheme, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(digest))
        else:
            return False
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def _acceptable_key(certificate: x509.Certificate) -> bool:
    """Whether a key is of a kind and size that Windows accepts and that is checked quickly."""
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return False
    if isinstance(key, rsa.RSAPublicKey):
        return MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS
    return isinstance(key, ec.EllipticCurvePublicKey)


def _key_text(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return ""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {key.curve.name}"
    return type(key).__name__
