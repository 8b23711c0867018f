"""Security catalogs: a certificate trust list of file hashes in a signed message.

Structure as in real catalogs: an early kind (`1.3.6.1.4.1.311.12.1.2`, SHA-1 members tagged by
their hash in UTF-16) and a later one (`...12.1.3`, SHA-1 and SHA-256 members tagged by the hash
itself). Object identifiers: [MS-OSHARED] and the public WinTrust headers.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from wimsmith.practice.der import (
    bmp_string,
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
from wimsmith.practice.root import PracticeRoot

_SIGNED_DATA = "1.2.840.113549.1.7.2"
_TRUST_LIST = "1.3.6.1.4.1.311.10.1"
_CATALOG_LIST = "1.3.6.1.4.1.311.12.1.1"
_MEMBERS_1 = "1.3.6.1.4.1.311.12.1.2"
_MEMBERS_2 = "1.3.6.1.4.1.311.12.1.3"
_NAME_VALUE = "1.3.6.1.4.1.311.12.2.1"
_MEMBER_INFO_1 = "1.3.6.1.4.1.311.12.2.2"
_MEMBER_INFO_2 = "1.3.6.1.4.1.311.12.2.3"
_INDIRECT_DATA = "1.3.6.1.4.1.311.2.1.4"
_SUBJECT_LINK = "1.3.6.1.4.1.311.2.1.25"
_PUBLISHER_INFO = "1.3.6.1.4.1.311.2.1.12"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_SHA1 = "1.3.14.3.2.26"
_SHA256 = "2.16.840.1.101.3.4.2.1"
_RSA = "1.2.840.113549.1.1.1"
_FLAT_FILE = "{DE351A42-8E59-11D0-8C47-00C04FC295EE}"


@dataclass(frozen=True, slots=True)
class CatalogSpec:
    """What a catalog says: `members` are the contents it vouches for."""

    members: tuple[bytes, ...]
    package_name: str = ""
    os_versions: str = "2:10.0"
    sha256: bool = True
    created: str = "240514170000Z"


def build_catalog(spec: CatalogSpec, root: PracticeRoot | None) -> bytes:
    """The catalog as a `.cat` file; without a root it carries no signature at all."""
    trust_list = _trust_list(spec)
    content = sequence(oid(_TRUST_LIST), explicit(0, sequence(*trust_list)))
    digest = _algorithm(_SHA256 if spec.sha256 else _SHA1)
    parts = [integer(1), set_of([digest] if root else []), content]
    if root:
        certificates = [
            one.public_bytes(serialization.Encoding.DER) for one in (root.signer, root.certificate)
        ]
        parts.append(explicit(0, *certificates))
        parts.append(set_of([_signer(root, b"".join(trust_list), sha256=spec.sha256)]))
    else:
        parts.append(set_of([]))
    return sequence(oid(_SIGNED_DATA), explicit(0, sequence(*parts)))


def _trust_list(spec: CatalogSpec) -> list[bytes]:
    identifier = hashlib.md5(b"".join(spec.members), usedforsecurity=False).digest()
    kind = sequence(oid(_MEMBERS_2 if spec.sha256 else _MEMBERS_1), null())
    attributes = [_name_value("OSAttr", spec.os_versions)]
    if spec.package_name:
        attributes.append(_name_value("PackageName", spec.package_name))
    return [
        sequence(oid(_CATALOG_LIST)),
        octets(identifier),
        utc_time(spec.created),
        kind,
        sequence(*_members(spec)),
        explicit(0, sequence(*attributes)),
    ]


def _members(spec: CatalogSpec) -> Iterable[bytes]:
    contents = dict.fromkeys(spec.members)
    sha1 = [hashlib.sha1(data, usedforsecurity=False).digest() for data in contents]
    if not spec.sha256:
        return [_early_member(digest) for digest in sorted(sha1)]
    sha256 = [hashlib.sha256(data).digest() for data in contents]
    return [_member(digest) for digest in sorted(sha1 + sha256)]


def _member(digest: bytes) -> bytes:
    """A later member; only SHA-256 ones say the digest a second time."""
    attributes = [_attribute(_MEMBER_INFO_2, implicit(2))]
    if len(digest) == 32:
        attributes.append(_attribute(_INDIRECT_DATA, _indirect(digest, _SHA256)))
    return sequence(octets(digest), set_of(attributes))


def _early_member(digest: bytes) -> bytes:
    tag = (digest.hex().upper() + "\0").encode("utf-16-le")
    info = sequence(bmp_string(_FLAT_FILE), integer(0x200))
    attributes = [
        _attribute(_MEMBER_INFO_1, info),
        _attribute(_INDIRECT_DATA, _indirect(digest, _SHA1)),
    ]
    return sequence(octets(tag), set_of(attributes))


def _indirect(digest: bytes, algorithm: str) -> bytes:
    subject = sequence(oid(_SUBJECT_LINK), explicit(2, implicit(0)))
    return sequence(subject, sequence(_algorithm(algorithm), octets(digest)))


def _name_value(name: str, value: str) -> bytes:
    text = (value + "\0").encode("utf-16-le")
    pair = sequence(bmp_string(name), integer(0x10010001), octets(text))
    return sequence(oid(_NAME_VALUE), octets(pair))


def _signer(root: PracticeRoot, content: bytes, *, sha256: bool) -> bytes:
    algorithm: hashes.HashAlgorithm = hashes.SHA256() if sha256 else hashes.SHA1()  # noqa: S303 - as early catalogs
    name = "sha256" if sha256 else "sha1"
    attributes = [
        _attribute(_PUBLISHER_INFO, sequence()),
        _attribute(_CONTENT_TYPE, oid(_TRUST_LIST)),
        _attribute(_MESSAGE_DIGEST, octets(hashlib.new(name, content).digest())),
    ]
    signed = set_of(attributes)
    signature = root.signer_key.sign(signed, padding.PKCS1v15(), algorithm)
    issuer = root.signer.issuer.public_bytes()
    return sequence(
        integer(1),
        sequence(issuer, integer(root.signer.serial_number)),
        _algorithm(_SHA256 if sha256 else _SHA1),
        tlv(0xA0, signed[_header_size(signed) :]),
        _algorithm(_RSA),
        octets(signature),
    )


def _header_size(element: bytes) -> int:
    return 2 if element[1] < 0x80 else 2 + (element[1] & 0x7F)


def _attribute(kind: str, *values: bytes) -> bytes:
    return sequence(oid(kind), set_of(values))


def _algorithm(kind: str) -> bytes:
    return sequence(oid(kind), null())
