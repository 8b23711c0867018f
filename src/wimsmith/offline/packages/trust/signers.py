"""Judging the signature of a signed message: its signer, chain, time, purpose and strength.

The rules are those of Windows for code. With a time stamp the chain has to be valid at the stamped
time, else now; a certificate for lifetime signing (`1.3.6.1.4.1.311.10.3.13`) has to be valid now
in any case. What a broken link is called begins with the thing signed: `catalog` or `file`.
"""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from wimsmith.errors import Untrusted
from wimsmith.offline.packages.trust.chains import build_chain, may_sign_content, usages
from wimsmith.offline.packages.trust.signatures import (
    CODE_SIGNING,
    HARDWARE_DRIVER,
    LIFETIME_SIGNING,
    Anchors,
    CertificateFacts,
    check_signer,
    describe,
    load_der,
)
from wimsmith.offline.packages.trust.signedmessage import SignedMessage
from wimsmith.offline.packages.trust.timestamps import TimeFacts, proved_time


@dataclass(frozen=True, slots=True)
class SignatureFacts:
    """A signature that was found good.

    `chain` goes from the signer to the anchor; `digests` are all that the signature and the
    certificates below the anchor rely on.
    """

    usages: frozenset[ObjectIdentifier]
    organization: str
    algorithm: str
    chain: tuple[CertificateFacts, ...]
    digests: frozenset[str]
    time: TimeFacts | None = None

    @property
    def signer(self) -> str:
        return self.chain[0].subject

    @property
    def anchor(self) -> str:
        return self.chain[-1].subject

    @property
    def anchor_fingerprint(self) -> str:
        return self.chain[-1].fingerprint

    @property
    def signed_at(self) -> datetime | None:
        """The proved time, None without a time stamp."""
        return self.time.when if self.time else None

    @property
    def signs_drivers(self) -> bool:
        """Whether the signer vouches for drivers of other publishers."""
        prefix = HARDWARE_DRIVER.dotted_string
        return any(f"{one.dotted_string}.".startswith(f"{prefix}.") for one in self.usages)


def check_signature(
    message: SignedMessage, anchors: Anchors, now: datetime, what: str
) -> SignatureFacts:
    """Check the one signature of a message about code.

    Args:
        message: the message.
        anchors: what chains may end in.
        now: moment at which signatures without time stamp have to be valid.
        what: what is signed, which begins the names of broken links.

    Raises:
        Untrusted: `WHAT-signature`, `WHAT-time`, `WHAT-chain` or `WHAT-purpose`.
        DamagedCatalog: a certificate or time stamp cannot be read.
    """
    if len(message.signers) != 1:
        text = f"{len(message.signers)} signatures instead of one"
        raise Untrusted(f"{what}-signature", text)
    signer = message.signers[0]
    if signer.content_type != message.content_type:
        text = "the signature is about another kind of content"
        raise Untrusted(f"{what}-signature", text)
    certificates = load_der(message.certificates)
    certificate = check_signer(signer, certificates, f"{what}-signature")
    time = proved_time(signer, certificates, anchors, f"{what}-time")
    purposes = usages(certificate)
    for_life = LIFETIME_SIGNING in purposes
    when = now if time is None or for_life else time.when
    chain = build_chain(
        certificate,
        certificates,
        anchors,
        when=when,
        purpose=CODE_SIGNING,
        link=f"{what}-chain",
    )
    if CODE_SIGNING not in purposes or not may_sign_content(certificate):
        name = certificate.subject.rfc4514_string()
        raise Untrusted(f"{what}-purpose", f"{name[:200]} may not sign programs")
    facts = tuple(map(describe, chain))
    return SignatureFacts(
        usages=purposes,
        organization=_organization(certificate),
        algorithm=signer.digest_algorithm,
        chain=facts,
        digests=frozenset({signer.digest_algorithm, *(one.digest for one in facts[:-1])}),
        time=time,
    )


def _organization(certificate: x509.Certificate) -> str:
    """The one organization that a subject names, empty if it names none or several."""
    found = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(found[0].value) if len(found) == 1 else ""
