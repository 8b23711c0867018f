"""Security catalogs (`*.cat`): a signed list of the hashes of files.

A catalog is a signed message whose content is a certificate trust list ([MS-CAESO] and the public
WinTrust headers name its parts). Early catalogs tag a member by its hash in text and state the
digest in an attribute; later ones use the hash itself as the tag. Catalogs of cumulative updates
have tens of thousands of members, so the list is read with the small reader of `der.py`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from asn1crypto import core

from wimsmith.errors import DamagedCatalog
from wimsmith.offline.packages.trust.der import (
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    SET,
    Element,
    element,
    elements,
    expect,
)
from wimsmith.offline.packages.trust.signedmessage import (
    SignedMessage,
    parse_signed_message,
    sentence,
)

MAX_CATALOG_BYTES = 64 << 20
MAX_MEMBERS = 400_000

_TRUST_LIST = "1.3.6.1.4.1.311.10.1"
_OPTIONAL_BEFORE_TIME = {OCTET_STRING, 0x02}
_TIMES = {0x17, 0x18}
_DIGEST_BYTES = {20, 32}


def _oid(dotted: str) -> bytes:
    return bytes(core.ObjectIdentifier(dotted).contents)


_MEMBERS_TAGGED_BY_HASH = _oid("1.3.6.1.4.1.311.12.1.3")
_INDIRECT_DATA = _oid("1.3.6.1.4.1.311.2.1.4")
_DIGESTS = {_oid("1.3.14.3.2.26"): 20, _oid("2.16.840.1.101.3.4.2.1"): 32}


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
        DamagedCatalog: not a signed certificate trust list, too large, or broken anywhere.
    """
    if len(data) > MAX_CATALOG_BYTES:
        raise DamagedCatalog(f"a catalog of {len(data)} bytes")
    message = parse_signed_message(data)
    if message.content_type != _TRUST_LIST:
        raise DamagedCatalog("a signed message without a trust list")
    try:
        return Catalog(data, frozenset(_hashes(message.content)), message)
    except ValueError as error:
        raise DamagedCatalog(sentence(error)) from error


def _hashes(trust_list: bytes) -> Iterator[bytes]:
    """Digests of all members; tags count only where the list says that they are the digests.

    `trust_list` is the content of the SEQUENCE: usages, optional identifier and number, times,
    kind of members, members, extensions.
    """
    parts = list(elements(trust_list, Element(SEQUENCE, 0, len(trust_list))))
    if not parts:
        raise ValueError("an empty trust list")
    expect(parts.pop(0), SEQUENCE)
    while parts and parts[0].tag in _OPTIONAL_BEFORE_TIME:
        parts.pop(0)
    if not parts or parts[0].tag not in _TIMES:
        raise ValueError("a trust list without a time")
    while parts and parts[0].tag in _TIMES:
        parts.pop(0)
    if not parts:
        raise ValueError("a trust list that does not say what its members are")
    kind = _first(trust_list, expect(parts.pop(0), SEQUENCE), OBJECT_IDENTIFIER)
    tagged = trust_list[kind.start : kind.end] == _MEMBERS_TAGGED_BY_HASH
    if parts and parts[0].tag == SEQUENCE:
        for number, member in enumerate(elements(trust_list, parts[0])):
            if number == MAX_MEMBERS:
                raise ValueError(f"more than {MAX_MEMBERS} members")
            yield from _of_member(trust_list, expect(member, SEQUENCE), tagged=tagged)


def _of_member(data: bytes, member: Element, *, tagged: bool) -> Iterator[bytes]:
    tag = _first(data, member, OCTET_STRING)
    if tagged and tag.end - tag.start in _DIGEST_BYTES:
        yield data[tag.start : tag.end]
    if tag.end == member.end:
        return
    for attribute in elements(data, expect(element(data, tag.end, member.end), SET)):
        kind = _first(data, expect(attribute, SEQUENCE), OBJECT_IDENTIFIER)
        if data[kind.start : kind.end] != _INDIRECT_DATA:
            continue
        for value in elements(data, expect(element(data, kind.end, attribute.end), SET)):
            yield from _stated_digest(data, expect(value, SEQUENCE))


def _stated_digest(data: bytes, indirect: Element) -> Iterator[bytes]:
    """The digest in the indirect data of a member, if it is of a kind that counts."""
    subject = _first(data, indirect, SEQUENCE)
    info = expect(element(data, subject.end, indirect.end), SEQUENCE)
    algorithm = _first(data, info, SEQUENCE)
    kind = _first(data, algorithm, OBJECT_IDENTIFIER)
    digest = expect(element(data, algorithm.end, info.end), OCTET_STRING)
    if _DIGESTS.get(data[kind.start : kind.end]) == digest.end - digest.start:
        yield data[digest.start : digest.end]


def _first(data: bytes, parent: Element, tag: int) -> Element:
    return expect(element(data, parent.start, parent.end), tag)
