"""Security catalogs (`*.cat`): a signed list of the hashes of files.

A catalog is a PKCS#7 signed message (RFC 2315, RFC 5652) whose content is a certificate trust list
([MS-CAESO] and the public WinTrust headers name its parts). Early catalogs tag a member by its hash
in text and state the digest in an attribute; later ones use the hash itself as the tag.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509

from wimsmith.errors import DamagedCatalog

MAX_CATALOG_BYTES = 256 << 20

_TRUST_LIST = "1.3.6.1.4.1.311.10.1"
_MEMBERS_TAGGED_BY_HASH = "1.3.6.1.4.1.311.12.1.3"
_INDIRECT_DATA = "1.3.6.1.4.1.311.2.1.4"
_DIGEST_NAMES = {"sha1", "sha256"}


class _Attribute(core.Sequence):  # type: ignore[misc]  # asn1crypto is not typed
    _fields: ClassVar[list[Any]] = [
        ("type", core.ObjectIdentifier),
        ("values", core.SetOf, {"spec": core.Any}),
    ]


class _Attributes(core.SetOf):  # type: ignore[misc]  # asn1crypto is not typed
    _child_spec = _Attribute


class _Member(core.Sequence):  # type: ignore[misc]  # asn1crypto is not typed
    _fields: ClassVar[list[Any]] = [
        ("tag", core.OctetString),
        ("attributes", _Attributes, {"optional": True}),
    ]


class _Members(core.SequenceOf):  # type: ignore[misc]  # asn1crypto is not typed
    _child_spec = _Member


class _Usages(core.SequenceOf):  # type: ignore[misc]  # asn1crypto is not typed
    _child_spec = core.ObjectIdentifier


class _TrustList(core.Sequence):  # type: ignore[misc]  # asn1crypto is not typed
    _fields: ClassVar[list[Any]] = [
        ("usage", _Usages),
        ("list_identifier", core.OctetString, {"optional": True}),
        ("sequence_number", core.Integer, {"optional": True}),
        ("this_update", asn1_x509.Time),
        ("next_update", asn1_x509.Time, {"optional": True}),
        ("algorithm", algos.AlgorithmIdentifier),
        ("members", _Members, {"optional": True}),
        ("extensions", core.Any, {"explicit": 0, "optional": True}),
    ]


class _IndirectData(core.Sequence):  # type: ignore[misc]  # asn1crypto is not typed
    _fields: ClassVar[list[Any]] = [("data", core.Any), ("digest", algos.DigestInfo)]


@dataclass(frozen=True, slots=True)
class SignerFacts:
    """One signature: over `content` (octets), by the certificate of this issuer and serial.

    `signed_attributes` is the DER that was signed; empty means that `content` itself was.
    `time_stamp` is an RFC 3161 token, `counter_signatures` are PKCS#9 ones over `signature`.
    """

    issuer: bytes
    serial: int
    digest_algorithm: str
    signature_algorithm: str
    signature: bytes = field(repr=False)
    content: bytes = field(repr=False)
    signed_attributes: bytes = field(repr=False)
    message_digest: bytes = b""
    content_type: str = ""
    signing_time: float | None = None
    time_stamp: bytes | None = field(default=None, repr=False)
    counter_signatures: tuple["SignerFacts", ...] = ()


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A signed message taken apart: its content type, certificates (DER) and signatures."""

    content_type: str
    content: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)
    signers: tuple[SignerFacts, ...]


@dataclass(frozen=True, slots=True)
class Catalog:
    """A parsed catalog. Nothing in it is trusted before `trust.py` has checked its signature."""

    raw: bytes = field(repr=False)
    hashes: frozenset[bytes] = field(repr=False)
    message: SignedMessage = field(repr=False)

    @property
    def thumbprint(self) -> str:
        r"""SHA-256 of the file in hexadecimal: its name in `WinSxS\Catalogs`."""
        return hashlib.sha256(self.raw).hexdigest()

    def lists(self, data: bytes) -> bool:
        """Whether the catalog lists these bytes, by their SHA-256 or, in early ones, SHA-1."""
        if self.has_sha256:
            return hashlib.sha256(data).digest() in self.hashes
        return hashlib.sha1(data, usedforsecurity=False).digest() in self.hashes

    @property
    def has_sha256(self) -> bool:
        return any(len(one) == hashlib.sha256().digest_size for one in self.hashes)


def parse_catalog(data: bytes) -> Catalog:
    """Read a security catalog without judging its signature.

    Raises:
        DamagedCatalog: not a signed certificate trust list, or broken anywhere.
    """
    if len(data) > MAX_CATALOG_BYTES:
        raise DamagedCatalog(f"a catalog of {len(data)} bytes")
    message = parse_signed_message(data)
    if message.content_type != _TRUST_LIST:
        raise DamagedCatalog("a signed message without a trust list")
    try:
        trust_list = _TrustList.load(_reheaded(message.content), strict=True)
        hashes = frozenset(_hashes(trust_list))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DamagedCatalog(_sentence(error)) from error
    return Catalog(data, hashes, message)


def parse_signed_message(data: bytes) -> SignedMessage:
    """Take a PKCS#7 or CMS signed message apart.

    Raises:
        DamagedCatalog: not a signed message, or broken anywhere.
    """
    try:
        info = cms.ContentInfo.load(data, strict=False)
        if info["content_type"].native != "signed_data":
            raise DamagedCatalog("not a signed message")
        signed = info["content"]
        content_type = signed["encap_content_info"]["content_type"]
        content = _content_octets(signed["encap_content_info"]["content"])
        return SignedMessage(
            content_type=content_type.dotted,
            content=content,
            certificates=tuple(_certificates(signed)),
            signers=tuple(_signer(one, content) for one in signed["signer_infos"]),
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise DamagedCatalog(_sentence(error)) from error


def time_of_token(token: SignedMessage) -> tuple[float, str, bytes]:
    """Time (POSIX), digest algorithm and digest that an RFC 3161 time stamp is about.

    Raises:
        DamagedCatalog: the message is no time stamp.
    """
    try:
        info = tsp.TSTInfo.load(token.content, strict=True)
        imprint = info["message_imprint"]
        return (
            info["gen_time"].native.timestamp(),
            str(imprint["hash_algorithm"]["algorithm"].native),
            bytes(imprint["hashed_message"].native),
        )
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DamagedCatalog(_sentence(error)) from error


def _hashes(trust_list: Any) -> Iterator[bytes]:
    """Digests of all members; tags count only where the list says that they are the digests."""
    algorithm = trust_list["algorithm"]["algorithm"].dotted
    for member in trust_list["members"]:
        tag = bytes(member["tag"].native)
        if algorithm == _MEMBERS_TAGGED_BY_HASH and len(tag) in {20, 32}:
            yield tag
        if isinstance(member["attributes"], core.Void):
            continue
        for attribute in member["attributes"]:
            if attribute["type"].dotted == _INDIRECT_DATA:
                for value in attribute["values"]:
                    yield from _stated_digest(value)


def _stated_digest(value: Any) -> Iterator[bytes]:
    info = _IndirectData.load(value.dump(), strict=True)["digest"]
    if info["digest_algorithm"]["algorithm"].native in _DIGEST_NAMES:
        yield bytes(info["digest"].native)


def _content_octets(content: Any) -> bytes:
    """What is signed: the content without its own tag and length (RFC 2315, 9.3)."""
    if isinstance(content, core.Void):
        return b""
    element = content.parse() if isinstance(content, core.Any) else content
    if isinstance(element, core.OctetString):
        return bytes(element)
    return bytes(element.contents or b"")


def _reheaded(octets: bytes) -> bytes:
    """A SEQUENCE around content octets."""
    size = len(octets)
    if size < 0x80:
        return bytes([0x30, size]) + octets
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x30, 0x80 | len(length)]) + length + octets


def _certificates(signed: Any) -> Iterator[bytes]:
    if isinstance(signed["certificates"], core.Void):
        return
    for choice in signed["certificates"]:
        if choice.name == "certificate":
            if choice.chosen.serial_number <= 0:
                raise DamagedCatalog("a certificate whose serial number is not positive")
            yield bytes(choice.chosen.dump())


def _signer(info: Any, content: bytes) -> SignerFacts:
    identifier = info["sid"]
    if identifier.name != "issuer_and_serial_number":
        raise DamagedCatalog("a signer that is not named by issuer and serial number")
    signed = _attributes(info["signed_attrs"])
    unsigned = _attributes(info["unsigned_attrs"])
    signature = bytes(info["signature"].native)
    tokens = unsigned.get("microsoft_time_stamp_token", [])
    return SignerFacts(
        issuer=identifier.chosen["issuer"].dump(),
        serial=int(identifier.chosen["serial_number"].native),
        digest_algorithm=str(info["digest_algorithm"]["algorithm"].native),
        signature_algorithm=str(info["signature_algorithm"].signature_algo),
        signature=signature,
        content=content,
        signed_attributes=info["signed_attrs"].untag().dump() if signed else b"",
        message_digest=bytes(signed["message_digest"][0].native) if signed else b"",
        content_type=signed["content_type"][0].dotted if "content_type" in signed else "",
        signing_time=_signing_time(signed),
        time_stamp=bytes(tokens[0].dump()) if tokens else None,
        counter_signatures=tuple(
            _signer(one, signature) for one in unsigned.get("counter_signature", [])
        ),
    )


def _signing_time(attributes: dict[str, list[Any]]) -> float | None:
    if "signing_time" not in attributes:
        return None
    return cast("float", attributes["signing_time"][0].native.timestamp())


def _attributes(found: Any) -> dict[str, list[Any]]:
    if isinstance(found, core.Void):
        return {}
    attributes: dict[str, list[Any]] = {}
    for one in found:
        name = str(one["type"].native)
        if name in attributes or len(one["values"]) == 0:
            raise DamagedCatalog(f"attribute {name} twice or without a value")
        attributes[name] = list(one["values"])
    return attributes


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
