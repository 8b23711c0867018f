"""Signed messages (PKCS#7, RFC 2315; CMS, RFC 5652) taken apart, without judging any signature.

Catalogs, signatures of files and time stamps (RFC 3161) are such messages. Authenticode adds two
unsigned attributes: a time stamp and further signatures of the same file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from asn1crypto import cms, core, tsp

from wimsmith.errors import DamagedCatalog
from wimsmith.offline.packages.trust.der import check_shape

MAX_CERTIFICATES = 64
MAX_SIGNERS = 8
MAX_PART_BYTES = 1 << 20

_NESTED_SIGNATURE = "microsoft_nested_signature"
_BROKEN = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What the general reader raises for foreign bytes; a missing part is an attribute of nothing."""


@dataclass(frozen=True, slots=True)
class TokenBinding:
    """Which certificate a time stamp says it is from (RFC 2634, RFC 5035)."""

    algorithm: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class SignerFacts:
    """One signature: over `content` (octets), by the certificate of this issuer and serial.

    `signed_attributes` is the DER that was signed; empty means that `content` itself was.
    `time_stamp` is an RFC 3161 token, `counter_signatures` are PKCS#9 ones over `signature`,
    `nested` are further signed messages about the same file.
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
    binding: TokenBinding | None = None
    time_stamp: bytes | None = field(default=None, repr=False)
    counter_signatures: tuple["SignerFacts", ...] = ()
    nested: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A signed message taken apart: its content type, certificates (DER) and signatures."""

    content_type: str
    content: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)
    signers: tuple[SignerFacts, ...]


@dataclass(frozen=True, slots=True)
class TimeToken:
    """What a time stamp says: a time (POSIX) about a digest."""

    posix: float
    digest_algorithm: str
    digest: bytes


def parse_signed_message(data: bytes) -> SignedMessage:
    """Take a PKCS#7 or CMS signed message apart; zeros may follow it.

    Raises:
        DamagedCatalog: not a signed message, too deep or too large, or broken anywhere.
    """
    try:
        end = check_shape(data)
        if data[end:].strip(b"\0"):
            raise DamagedCatalog("bytes after the end of the signed message")
        info = cms.ContentInfo.load(data[:end], strict=True)
        if info["content_type"].native != "signed_data":
            raise DamagedCatalog("not a signed message")
        return _message(info["content"])
    except _BROKEN as error:
        raise DamagedCatalog(sentence(error)) from error


def parse_time_token(message: SignedMessage) -> TimeToken:
    """What an RFC 3161 time stamp says.

    Raises:
        DamagedCatalog: the message is no time stamp.
    """
    try:
        info = tsp.TSTInfo.load(message.content, strict=True)
        imprint = info["message_imprint"]
        return TimeToken(
            info["gen_time"].native.timestamp(),
            str(imprint["hash_algorithm"]["algorithm"].native),
            bytes(imprint["hashed_message"].native),
        )
    except _BROKEN as error:
        raise DamagedCatalog(sentence(error)) from error


def sentence(error: Exception) -> str:
    """What an error of a parser says, on one short line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _message(signed: Any) -> SignedMessage:
    for part in ("digest_algorithms", "certificates", "signer_infos"):
        if len(signed[part].contents or b"") > MAX_PART_BYTES:
            raise DamagedCatalog(f"{part} of more than {MAX_PART_BYTES} bytes")
    inner = signed["encap_content_info"]
    content = _content_octets(inner["content"])
    return SignedMessage(
        content_type=inner["content_type"].dotted,
        content=content,
        certificates=tuple(_certificates(signed["certificates"])),
        signers=tuple(
            _signer(one, content) for one in _few(signed["signer_infos"], MAX_SIGNERS, "signatures")
        ),
    )


def _few(values: Any, most: int, what: str) -> Iterator[Any]:
    for number, one in enumerate(values):
        if number == most:
            raise DamagedCatalog(f"more than {most} {what}")
        yield one


def _content_octets(content: Any) -> bytes:
    """What is signed: the content without its own tag and length (RFC 2315, 9.3)."""
    if isinstance(content, core.Void):
        return b""
    element = content.parse() if isinstance(content, core.Any) else content
    if isinstance(element, core.OctetString):
        return bytes(element)
    return bytes(element.contents or b"")


def _certificates(found: Any) -> Iterator[bytes]:
    if isinstance(found, core.Void):
        return
    for choice in _few(found, MAX_CERTIFICATES, "certificates"):
        if choice.name == "certificate":
            if choice.chosen.serial_number <= 0:
                raise DamagedCatalog("a certificate whose serial number is not positive")
            yield bytes(choice.chosen.dump())


def _signer(info: Any, content: bytes, depth: int = 0) -> SignerFacts:
    identifier = info["sid"]
    if identifier.name != "issuer_and_serial_number":
        raise DamagedCatalog("a signer that is not named by issuer and serial number")
    signed = _attributes(info["signed_attrs"])
    unsigned = _attributes(info["unsigned_attrs"])
    signature = bytes(info["signature"].native)
    tokens = unsigned.get("microsoft_time_stamp_token", [])
    counter = unsigned.get("counter_signature", [])
    if counter and depth:
        raise DamagedCatalog("a counter-signature of a counter-signature")
    nested = _few(unsigned.get(_NESTED_SIGNATURE, []), MAX_SIGNERS, "nested signatures")
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
        binding=_binding(signed),
        time_stamp=bytes(tokens[0].dump()) if tokens else None,
        counter_signatures=tuple(
            _signer(one, signature, depth + 1)
            for one in _few(counter, MAX_SIGNERS, "counter-signatures")
        ),
        nested=tuple(bytes(one.dump()) for one in nested),
    )


def _signing_time(attributes: dict[str, list[Any]]) -> float | None:
    if "signing_time" not in attributes:
        return None
    return cast("float", attributes["signing_time"][0].native.timestamp())


def _binding(attributes: dict[str, list[Any]]) -> TokenBinding | None:
    if "signing_certificate_v2" in attributes:
        first = attributes["signing_certificate_v2"][0]["certs"][0]
        algorithm = str(first["hash_algorithm"]["algorithm"].native)
        return TokenBinding(algorithm, bytes(first["cert_hash"].native))
    if "signing_certificate" in attributes:
        first = attributes["signing_certificate"][0]["certs"][0]
        return TokenBinding("sha1", bytes(first["cert_hash"].native))
    return None


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
