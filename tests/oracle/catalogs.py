"""Hashes that a security catalog lists, taken from its DER without looking at the signature."""

from collections.abc import Iterator
from hashlib import sha1, sha256

from asn1crypto import parser

_INDIRECT_DATA = bytes.fromhex("060a2b060104018237020104")
_OCTET_STRING, _SEQUENCE, _SET = 4, 16, 17
_CONTEXT = 2
_DIGEST_BYTES = (20, 32)


def listed_digests(catalog: bytes) -> frozenset[bytes]:
    """SHA-1 and SHA-256 of everything the catalog is about."""
    return frozenset(_digests(catalog))


def lists(catalog: bytes, data: bytes) -> bool:
    """Whether the catalog vouches for these bytes."""
    known = listed_digests(catalog)
    return sha256(data).digest() in known or sha1(data, usedforsecurity=False).digest() in known


def _digests(data: bytes) -> Iterator[bytes]:
    for tag, constructed, header, content in _elements(data):
        if not constructed:
            continue
        if tag == _SEQUENCE and content.startswith(_INDIRECT_DATA):
            yield from _last_octets(content)
        else:
            yield from _digests(content)
        assert header


def _last_octets(content: bytes) -> Iterator[bytes]:
    """Digests below an attribute SpcIndirectDataContent: the only octets of those lengths."""
    for tag, constructed, _, inner in _elements(content):
        if constructed:
            yield from _last_octets(inner)
        elif tag == _OCTET_STRING and len(inner) in _DIGEST_BYTES:
            yield inner


def _elements(data: bytes) -> Iterator[tuple[int, bool, bytes, bytes]]:
    at = 0
    while at < len(data):
        _, method, tag, header, content, trailer = parser.parse(data[at:], strict=False)
        yield tag, method == 1, header, content
        at += len(header) + len(content) + len(trailer)
