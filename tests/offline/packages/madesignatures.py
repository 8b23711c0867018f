"""Certificates, signed messages, time stamps and signed cabinets, made for tests.

Nothing here is shared with what is tested; DER is written by the practice generator's writer.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import count

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from wimsmith.practice.cabinet import build_cabinet
from wimsmith.practice.der import (
    explicit,
    implicit,
    integer,
    null,
    octets,
    oid,
    sequence,
    set_of,
    tlv,
    utc_time,
)

SIGNED_DATA = "1.2.840.113549.1.7.2"
INDIRECT_DATA = "1.3.6.1.4.1.311.2.1.4"
CAB_DATA = "1.3.6.1.4.1.311.2.1.25"
DATA = "1.2.840.113549.1.7.1"
TIME_STAMP_INFO = "1.2.840.113549.1.9.16.1.4"
TOKEN_ATTRIBUTE = "1.3.6.1.4.1.311.3.3.1"
COUNTER_ATTRIBUTE = "1.2.840.113549.1.9.6"
NESTED_ATTRIBUTE = "1.3.6.1.4.1.311.2.4.1"
WINDOWS_COMPONENT = ObjectIdentifier("1.3.6.1.4.1.311.10.3.6")
HARDWARE = ObjectIdentifier("1.3.6.1.4.1.311.10.3.5.1")
LIFETIME = ObjectIdentifier("1.3.6.1.4.1.311.10.3.13")
CODE = ExtendedKeyUsageOID.CODE_SIGNING
STAMPS = ExtendedKeyUsageOID.TIME_STAMPING
SERVERS = ExtendedKeyUsageOID.SERVER_AUTH
DIGEST_OIDS = {
    "md5": "1.2.840.113549.2.5",
    "sha1": "1.3.14.3.2.26",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
FILES = {"update.mum": b"<assembly/>" * 30, "b.txt": bytes(range(256)) * 50}

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_serials = count(1000)


@cache
def key(label: str) -> Key:
    """A key for a label, made once; `ed` and labels with `ec` have elliptic curves."""
    if label == "ed":
        return ed25519.Ed25519PrivateKey.generate()
    if label.startswith("ec"):
        return ec.generate_private_key(ec.SECP256R1())
    bits = int(label.rpartition("-")[2]) if "-" in label else 2048
    return rsa.generate_private_key(65537, bits)


@dataclass(frozen=True)
class Party:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def party(
    name: str,
    issuer: Party | None = None,
    *,
    label: str | None = None,
    purposes: Sequence[ObjectIdentifier] = (),
    authority: bool = False,
    path_length: int | None = None,
    usage: str | None = None,
    years: tuple[int, int] = (2000, 2090),
    organization: str = "Made",
    critical: ObjectIdentifier | None = None,
) -> Party:
    """A certificate below `issuer`, or of its own.

    Args:
        name: common name; also the label of the key.
        issuer: who signs; itself by default.
        label: of the key, if another than the name.
        purposes: extended key usages; none leaves the extension out.
        authority: whether it may issue certificates.
        path_length: how many authorities may stand below.
        usage: `signs`, `issues` or `neither`; by default what fits, empty leaves it out.
        years: from the start of the first to the start of the second.
        organization: in the name.
        critical: an extension nobody knows.
    """
    own = key(label or name)
    subject = _name(name, organization)
    builder = x509.CertificateBuilder(
        issuer_name=issuer.certificate.subject if issuer else subject,
        subject_name=subject,
        public_key=own.public_key(),
        serial_number=next(_serials),
        not_valid_before=datetime(years[0], 1, 1, tzinfo=UTC),
        not_valid_after=datetime(years[1], 1, 1, tzinfo=UTC),
    ).add_extension(x509.BasicConstraints(authority, path_length), critical=True)
    if purposes:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage(purposes), critical=tuple(purposes) == (STAMPS,)
        )
    stated = usage if usage is not None else ("issues" if authority else "signs")
    if stated:
        builder = builder.add_extension(_usage(stated), critical=True)
    if critical:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(critical, b"\x05\x00"), critical=True
        )
    by = issuer.key if issuer else own
    digest = None if isinstance(by, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Party(builder.sign(by, digest), own)


@dataclass(frozen=True)
class World:
    """A root, an authority below it, a signer of code and a service for time stamps."""

    root: Party
    authority: Party
    signer: Party
    stamper: Party

    @property
    def chain(self) -> tuple[Party, ...]:
        return (self.signer, self.authority)


def world(**signer: object) -> World:
    """The four, with other arguments for the signer."""
    root = party("Root", authority=True)
    authority = party("Authority", root, authority=True, path_length=0)
    arguments = {"purposes": [CODE], **signer}
    return World(
        root,
        authority,
        party("Signer", authority, **arguments),  # type: ignore[arg-type]
        party("Stamper", root, purposes=[STAMPS]),
    )


Stamp = Callable[[bytes], bytes]
"""Makes an unsigned attribute from a signature."""


def message(
    content_type: str,
    content: bytes,
    signer: Party,
    certificates: Iterable[Party],
    *,
    digest: str = "sha256",
    unsigned: Sequence[Stamp] = (),
    stated_type: str | None = None,
    wrapped: bool = False,
) -> bytes:
    """A signed message about `content` (DER), `wrapped` in an octet string as CMS has it."""
    octets_ = content if wrapped else _inside(content)
    inner = octets(content) if wrapped else content
    info = signer_info(
        octets_, stated_type or content_type, signer, digest=digest, unsigned=unsigned
    )
    parts = [
        integer(3 if wrapped else 1),
        set_of([algorithm(digest)]),
        sequence(oid(content_type), explicit(0, inner)),
        explicit(0, *(one.der for one in certificates)),
        set_of([info]),
    ]
    return sequence(oid(SIGNED_DATA), explicit(0, sequence(*parts)))


def signer_info(
    content: bytes,
    content_type: str,
    signer: Party,
    *,
    digest: str = "sha256",
    unsigned: Sequence[Stamp] = (),
    more: Sequence[bytes] = (),
) -> bytes:
    """One signature over content octets, with signed attributes."""
    signed = set_of(
        [
            attribute("1.2.840.113549.1.9.3", oid(content_type)),
            attribute("1.2.840.113549.1.9.4", octets(hashlib.new(digest, content).digest())),
            *more,
        ]
    )
    signature = _signature(signer.key, signed, digest)
    scheme = (
        sequence(oid("1.2.840.113549.1.1.1"), null())
        if isinstance(signer.key, rsa.RSAPrivateKey)
        else sequence(oid("1.2.840.10045.4.3.2"))
    )
    certificate = signer.certificate
    parts = [
        integer(1),
        sequence(certificate.issuer.public_bytes(), integer(certificate.serial_number)),
        algorithm(digest),
        tlv(0xA0, _inside(signed)),
        scheme,
        octets(signature),
    ]
    if unsigned:
        attributes = set_of([make(signature) for make in unsigned])
        parts.append(tlv(0xA1, _inside(attributes)))
    return sequence(*parts)


def token(
    stamper: Party,
    certificates: Iterable[Party],
    when: datetime,
    *,
    digest: str = "sha256",
    about: bytes | None = None,
    bound_to: Party | None = None,
) -> Stamp:
    """An RFC 3161 time stamp as an unsigned attribute, `about` something else if given."""
    known = list(certificates)

    def make(signature: bytes) -> bytes:
        imprint = hashlib.new(digest, signature if about is None else about).digest()
        info = sequence(
            integer(1),
            oid("1.2.3.4"),
            sequence(algorithm(digest), octets(imprint)),
            integer(7),
            tlv(0x18, when.strftime("%Y%m%d%H%M%SZ").encode()),
        )
        bound = sequence(
            sequence(sequence(octets(hashlib.sha256((bound_to or stamper).der).digest())))
        )
        more = [attribute("1.2.840.113549.1.9.16.2.47", bound)]
        signed = signer_info(info, TIME_STAMP_INFO, stamper, digest=digest, more=more)
        parts = [
            integer(3),
            set_of([algorithm(digest)]),
            sequence(oid(TIME_STAMP_INFO), explicit(0, octets(info))),
            explicit(0, *(one.der for one in known)),
            set_of([signed]),
        ]
        stamp = sequence(oid(SIGNED_DATA), explicit(0, sequence(*parts)))
        return attribute(TOKEN_ATTRIBUTE, stamp)

    return make


def counter_signature(stamper: Party, when: datetime, *, digest: str = "sha1") -> Stamp:
    """A PKCS#9 counter-signature as an unsigned attribute."""

    def make(signature: bytes) -> bytes:
        time = attribute("1.2.840.113549.1.9.5", utc_time(when.strftime("%y%m%d%H%M%SZ")))
        info = signer_info(signature, DATA, stamper, digest=digest, more=[time])
        return attribute(COUNTER_ATTRIBUTE, info)

    return make


def nested(blob: bytes) -> Stamp:
    """A further signature of the same file as an unsigned attribute."""
    return lambda _signature: attribute(NESTED_ATTRIBUTE, blob)


def indirect_data(name: str, digest: bytes, kind: str = CAB_DATA) -> bytes:
    """What the signature of a file is about."""
    link = explicit(2, implicit(0))
    return sequence(sequence(oid(kind), link), sequence(algorithm(name), octets(digest)))


def cabinet_digest(cabinet: bytes, name: str) -> bytes:
    """The digest of a cabinet with the reserved area of a signed one."""
    end = int.from_bytes(cabinet[8:12], "little")
    return hashlib.new(name, cabinet[:4] + cabinet[8:34] + cabinet[56:end]).digest()


def bare_cabinet(content: dict[str, bytes] | None = None) -> bytes:
    """A cabinet with room for the place of a signature."""
    return build_cabinet(content or FILES, reserve=b"\0\0\x10\0" + bytes(16))


def with_signature(cabinet: bytes, blob: bytes) -> bytes:
    """A cabinet with a signature behind it, in the place that its header says."""
    padded = blob + bytes(-len(blob) % 8)
    place = len(cabinet).to_bytes(4, "little") + len(padded).to_bytes(4, "little")
    return cabinet[:44] + place + cabinet[52:] + padded


def file_signature(
    made: World,
    cabinet: bytes,
    *,
    digest: str = "sha256",
    unsigned: Sequence[Stamp] = (),
    extra: Iterable[Party] = (),
) -> bytes:
    """The signature of a cabinet by the signer of a world."""
    content = indirect_data(digest, cabinet_digest(cabinet, digest))
    certificates = [*made.chain, *extra]
    return message(
        INDIRECT_DATA, content, made.signer, certificates, digest=digest, unsigned=unsigned
    )


def signed_cabinet(
    made: World,
    *,
    digest: str = "sha256",
    unsigned: Sequence[Stamp] = (),
    extra: Iterable[Party] = (),
) -> bytes:
    """A small cabinet, signed."""
    cabinet = bare_cabinet()
    blob = file_signature(made, cabinet, digest=digest, unsigned=unsigned, extra=extra)
    return with_signature(cabinet, blob)


def attribute(kind: str, *values: bytes) -> bytes:
    return sequence(oid(kind), set_of(values))


def algorithm(name: str) -> bytes:
    return sequence(oid(DIGEST_OIDS[name]), null())


def _signature(own: Key, data: bytes, digest: str) -> bytes:
    kinds: dict[str, type[hashes.HashAlgorithm]] = {
        "md5": hashes.MD5,
        "sha1": hashes.SHA1,
        "sha256": hashes.SHA256,
        "sha384": hashes.SHA384,
        "sha512": hashes.SHA512,
    }
    chosen = kinds[digest]()
    if isinstance(own, rsa.RSAPrivateKey):
        return own.sign(data, padding.PKCS1v15(), chosen)
    assert isinstance(own, ec.EllipticCurvePrivateKey)
    return own.sign(data, ec.ECDSA(chosen))


def _inside(element: bytes) -> bytes:
    return element[2 if element[1] < 0x80 else 2 + (element[1] & 0x7F) :]


def _name(common: str, organization: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common, _validate=len(common) <= 64),
        ]
    )


def _usage(kind: str) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=kind == "signs",
        content_commitment=False,
        key_encipherment=kind == "neither",
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=kind == "issues",
        crl_sign=kind == "issues",
        encipher_only=False,
        decipher_only=False,
    )
