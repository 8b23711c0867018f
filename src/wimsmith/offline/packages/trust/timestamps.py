"""When a signature existed: RFC 3161 tokens and PKCS#9 counter-signatures (RFC 2985).

Both are signatures over the signature, by an authority for time stamps whose chain has to lead to
an anchor at the very time that it states.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from wimsmith.errors import Untrusted
from wimsmith.offline.packages.trust.chains import build_chain, may_sign_content, usages
from wimsmith.offline.packages.trust.signatures import (
    TIME_STAMPING,
    Anchors,
    CertificateFacts,
    check_signer,
    describe,
    digest_bytes,
    digest_class,
    load_der,
)
from wimsmith.offline.packages.trust.signedmessage import (
    SignerFacts,
    TokenBinding,
    parse_signed_message,
    parse_time_token,
)

_TIME_STAMP_INFO = "1.2.840.113549.1.9.16.1.4"
_DATA = "1.2.840.113549.1.7.1"


@dataclass(frozen=True, slots=True)
class TimeFacts:
    """A proved time: who stamped it and how. `kind` is `RFC 3161` or `PKCS#9`."""

    when: datetime
    kind: str
    algorithm: str
    chain: tuple[CertificateFacts, ...]


def proved_time(
    signer: SignerFacts, certificates: Sequence[x509.Certificate], anchors: Anchors, link: str
) -> TimeFacts | None:
    """When a signature existed; None if it has no time stamp.

    Raises:
        Untrusted: `link`; there is a time stamp that does not hold.
        DamagedCatalog: a time stamp or a certificate in it cannot be read.
    """
    if signer.time_stamp is not None:
        return _time_of_token(signer.time_stamp, signer.signature, certificates, anchors, link)
    if signer.counter_signatures:
        return _time_of_counter_signature(signer.counter_signatures[0], certificates, anchors, link)
    return None


def _time_of_token(
    stamp: bytes,
    signature: bytes,
    certificates: Sequence[x509.Certificate],
    anchors: Anchors,
    link: str,
) -> TimeFacts:
    message = parse_signed_message(stamp)
    token = parse_time_token(message)
    digest = digest_class(token.digest_algorithm, link)
    stated = digest_bytes(digest().name, signature)
    if len(message.signers) != 1 or not hmac.compare_digest(stated, token.digest):
        raise Untrusted(link, "the time stamp is about another signature")
    if {message.content_type, message.signers[0].content_type} != {_TIME_STAMP_INFO}:
        raise Untrusted(link, "the time stamp signs another kind of content")
    known = (*load_der(message.certificates), *certificates)
    return _time_by(message.signers[0], token.posix, "RFC 3161", known, anchors, link)


def _time_of_counter_signature(
    signer: SignerFacts, certificates: Sequence[x509.Certificate], anchors: Anchors, link: str
) -> TimeFacts:
    if signer.signing_time is None or not signer.signed_attributes:
        raise Untrusted(link, "the counter-signature states no time")
    if signer.content_type != _DATA:
        raise Untrusted(link, "the counter-signature is about another kind of content")
    return _time_by(signer, signer.signing_time, "PKCS#9", certificates, anchors, link)


def _time_by(
    signer: SignerFacts,
    posix: float,
    kind: str,
    known: Sequence[x509.Certificate],
    anchors: Anchors,
    link: str,
) -> TimeFacts:
    certificate = check_signer(signer, known, link)
    try:
        when = datetime.fromtimestamp(posix, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Untrusted(link, "a time no calendar has") from error
    if TIME_STAMPING not in usages(certificate) or not may_sign_content(certificate):
        raise Untrusted(link, "the certificate of the time stamp is not for time stamps")
    if signer.binding is not None and not _bound(signer.binding, certificate, link):
        raise Untrusted(link, "the time stamp is bound to another certificate")
    chain = build_chain(certificate, known, anchors, when=when, purpose=TIME_STAMPING, link=link)
    return TimeFacts(when, kind, signer.digest_algorithm, tuple(map(describe, chain)))


def _bound(binding: TokenBinding, certificate: x509.Certificate, link: str) -> bool:
    digest = digest_class(binding.algorithm, link)
    der = certificate.public_bytes(Encoding.DER)
    return hmac.compare_digest(digest_bytes(digest().name, der), binding.digest)
