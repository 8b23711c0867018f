"""Authenticode of cabinets, and so of `.msu` files, which are cabinets.

A signed cabinet has a reserved area of 20 bytes in its header: `00 00 10 00`, then offset and size
of the signature, 4 bytes each, then zeros. The signature stands behind the declared end and reaches
to the end of the file, with zeros up to a multiple of 8. It is a signed message about an
SpcIndirectDataContent with the digest of the cabinet:

| bytes | |
|---|---|
| 0 to 3 | the magic |
| 8 to 33 | from the size of the cabinet to the set identifier |
| 56 to the declared end | the last 4 reserved bytes and everything behind the header |

What the digest leaves out (the reserved words, the number in the set, the sizes of reserved areas,
the place of the signature) has only one value here, so a signed cabinet has no byte to play with.
Further signatures of the same file are unsigned attributes of the first; all have to hold.

Sources: the Authenticode and Cabinet SDK documents of Microsoft; the ranges were recomputed from
real files.
"""

import hashlib
import hmac
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from asn1crypto import algos, core

from wimsmith.errors import DamagedCatalog, Untrusted
from wimsmith.offline.packages.trust.der import (
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    Element,
    check_shape,
    element,
    expect,
)
from wimsmith.offline.packages.trust.signatures import DIGESTS, Anchors
from wimsmith.offline.packages.trust.signedmessage import (
    SignedMessage,
    parse_signed_message,
    sentence,
)
from wimsmith.offline.packages.trust.signers import SignatureFacts, check_signature

MAX_SIGNATURE_BYTES = 1 << 20

_INDIRECT_DATA = "1.3.6.1.4.1.311.2.1.4"
_HEADER = struct.Struct("<4sIIIIIBBHHHHH")
_RESERVE = struct.Struct("<HBB4sIII")
_HAS_RESERVE = 4
_MARK = b"\x00\x00\x10\x00"
_SIGNED_FROM = _HEADER.size + 4 + 16
_HEADER_RANGE = slice(8, 34)
_ALIGNMENT = 8
_COPY_BYTES = 1 << 20
_KINDS = {
    bytes(core.ObjectIdentifier(one).contents)
    for one in ("1.3.6.1.4.1.311.2.1.25", "1.3.6.1.4.1.311.2.1.28")
}


@dataclass(frozen=True, slots=True)
class FileSignature:
    """A signature of a file that holds; `digest` is that of the file in hexadecimal."""

    algorithm: str
    digest: str
    facts: SignatureFacts


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the parts of a signed cabinet are, and the first bytes that its digest is about."""

    head: bytes
    end: int
    size_bytes: int


def check_cabinet(path: Path, anchors: Anchors, now: datetime) -> tuple[FileSignature, ...]:
    """Check all signatures of a cabinet file: none, or the first and those nested in it.

    Raises:
        Untrusted: `file-signature`, `file-hash`, `file-time`, `file-chain` or `file-purpose`.
        OSError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            place = _place(file, path.stat().st_size)
            return () if place is None else tuple(_checked(file, place, anchors, now))
    except DamagedCatalog as error:
        raise Untrusted("file-signature", f"it cannot be read: {error.args[0]}") from error
    except ValueError as error:
        raise Untrusted("file-signature", f"it cannot be read: {sentence(error)}") from error


def _checked(
    file: BinaryIO, place: _Place, anchors: Anchors, now: datetime
) -> Iterator[FileSignature]:
    file.seek(place.end)
    for message in _messages(file.read(place.size_bytes)):
        name, digest = _stated_digest(message.content)
        if not hmac.compare_digest(_digest(file, place, name), digest):
            raise Untrusted("file-hash", "the file is not the one that was signed")
        facts = check_signature(message, anchors, now, "file")
        yield FileSignature(name, digest.hex(), facts)


def _place(file: BinaryIO, file_bytes: int) -> _Place | None:
    head = file.read(_SIGNED_FROM)
    if head[:4] != b"MSCF":
        raise Untrusted("file-signature", "the file does not start as a cabinet")
    if len(head) < _HEADER.size:
        raise Untrusted("file-signature", "the file ends in its header")
    header = _HEADER.unpack_from(head)
    end, flags = header[2], header[10]
    if end > file_bytes:
        raise Untrusted("file-signature", "the cabinet is cut off")
    if not flags & _HAS_RESERVE or not _has_signature(head):
        if _has_more_than_zeros(file, end):
            text = "bytes follow the cabinet, and its header does not say that they sign it"
            raise Untrusted("file-signature", text)
        return None
    _check_fixed(header, head)
    offset, size = _RESERVE.unpack_from(head, _HEADER.size)[4:6]
    if offset != end or offset + size != file_bytes or not 0 < size <= MAX_SIGNATURE_BYTES:
        raise Untrusted("file-signature", "the signature is not where the header says")
    return _Place(head[:4] + head[_HEADER_RANGE], end, size)


def _has_signature(head: bytes) -> bool:
    """Whether the reserved area has the size of one that names a signature, and names one."""
    if len(head) < _SIGNED_FROM:
        return False
    header_bytes, *_rest = _RESERVE.unpack_from(head, _HEADER.size)
    return header_bytes == 20 and any(head[_HEADER.size + 4 : _SIGNED_FROM])


def _check_fixed(header: tuple[Any, ...], head: bytes) -> None:
    """Refuse other values than the only ones in fields that the digest leaves out."""
    _size, folder, data, mark, _offset, _bytes, zero = _RESERVE.unpack_from(head, _HEADER.size)
    if (header[1], header[12], folder, data, mark, zero) != (0, 0, 0, 0, _MARK, 0):
        raise Untrusted("file-signature", "the header has values that no signed cabinet has")


def _has_more_than_zeros(file: BinaryIO, start: int) -> bool:
    file.seek(start)
    while block := file.read(_COPY_BYTES):
        if block.strip(b"\0"):
            return True
    return False


def _messages(blob: bytes) -> Iterator[SignedMessage]:
    """The signed message of a file and those nested in its signature."""
    whole = check_shape(blob)
    if len(blob) - whole >= _ALIGNMENT or blob[whole:].strip(b"\0"):
        raise DamagedCatalog("bytes after the end of the signature")
    first = _about_a_file(parse_signed_message(blob))
    yield first
    for signer in first.signers:
        for nested in signer.nested:
            message = _about_a_file(parse_signed_message(nested))
            if any(one.nested for one in message.signers):
                raise DamagedCatalog("a signature nested in a nested one")
            yield message


def _about_a_file(message: SignedMessage) -> SignedMessage:
    if message.content_type != _INDIRECT_DATA:
        raise DamagedCatalog("a signed message that is not about a file")
    return message


def _stated_digest(content: bytes) -> tuple[str, bytes]:
    """Name of the digest and the digest of the file, from an SpcIndirectDataContent.

    Raises:
        ValueError: it is broken, or about another kind of file.
        Untrusted: `file-hash`, a digest that does not count.
    """
    data = element(content, 0, len(content))
    kind = expect(element(content, data.start, data.end), OBJECT_IDENTIFIER)
    if content[kind.start : kind.end] not in _KINDS:
        raise ValueError("it is about another kind of file")
    info = expect(element(content, data.end, len(content)), SEQUENCE)
    algorithm = expect(element(content, info.start, info.end), SEQUENCE)
    digest = expect(element(content, algorithm.end, info.end), OCTET_STRING)
    name = _digest_name(content, algorithm)
    if name not in DIGESTS:
        raise Untrusted("file-hash", f"digest algorithm {name[:60]}")
    return name, content[digest.start : digest.end]


def _digest_name(content: bytes, algorithm: Element) -> str:
    kind = expect(element(content, algorithm.start, algorithm.end), OBJECT_IDENTIFIER)
    dotted = core.ObjectIdentifier(contents=content[kind.start : kind.end]).dotted
    return str(algos.DigestAlgorithmId(dotted).native)


def _digest(file: BinaryIO, place: _Place, name: str) -> bytes:
    digest = hashlib.new(name, place.head, usedforsecurity=False)
    file.seek(_SIGNED_FROM)
    remaining = place.end - _SIGNED_FROM
    while remaining > 0 and (block := file.read(min(remaining, _COPY_BYTES))):
        digest.update(block)
        remaining -= len(block)
    return digest.digest()
