"""Catalogs: signatures and structure, judged by osslsigncode, asn1crypto and real catalogs."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms, core, parser
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from practice.outside import run
from wimsmith.practice.catalogs import CatalogSpec, build_catalog
from wimsmith.practice.root import PracticeRoot, practice_root

MEMBERS = (b"<assembly/>", b"<assembly>other</assembly>")


def _kind(value: Any) -> str:
    """Shape of a DER value: tags, and object identifiers by their text."""
    class_, method, tag, _header, content, _trailer = value
    if (class_, tag) == (0, 6):
        return str(core.ObjectIdentifier.load(b"\x06" + bytes([len(content)]) + content).dotted)
    if method == 0:
        return f"{class_}:{tag}"
    inside, position = [], 0
    while position < len(content):
        item = parser.parse(content[position:])
        inside.append(_kind(item))
        position += len(item[3]) + len(item[4]) + len(item[5])
    return f"{class_}:{tag}({','.join(inside)})"


def _trust_list(catalog: bytes) -> list[str]:
    """Shapes of the parts of the trust list inside a catalog."""
    signed = cms.ContentInfo.load(catalog)["content"]
    content = signed["encap_content_info"]["content"].contents
    shapes, position = [], 0
    while position < len(content):
        item = parser.parse(content[position:])
        shapes.append(_kind(item))
        position += len(item[3]) + len(item[4]) + len(item[5])
    return shapes


def _member_shapes(catalog: bytes) -> set[str]:
    return set(_split(_trust_list(catalog)[4]))


def _split(shape: str) -> list[str]:
    """The shapes inside a sequence."""
    inner, depth, start, found = shape[shape.index("(") + 1 : -1], 0, 0, []
    for place, character in enumerate(inner):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            found.append(inner[start:place])
            start = place + 1
    return [*found, inner[start:]]


def _verify(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["osslsigncode", "verify", "-CAfile", folder / "root.pem", "-in", folder / "a.cat"]
    return subprocess.run(
        [str(one) for one in command], check=False, capture_output=True, text=True
    )


@pytest.mark.parametrize("sha256", [True, False])
def test_osslsigncode_verifies_signature_and_chain(
    root: PracticeRoot, tmp_path: Path, sha256: bool
) -> None:
    (tmp_path / "a.cat").write_bytes(build_catalog(CatalogSpec(MEMBERS, sha256=sha256), root))
    (tmp_path / "root.pem").write_bytes(root.pem)
    output = _verify(tmp_path).stdout
    assert "Signature verification: ok" in output
    assert "Number of verified signatures: 1" in output


def test_a_stranger_is_not_verified(root: PracticeRoot, tmp_path: Path) -> None:
    stranger = PracticeRoot.new("stranger")
    (tmp_path / "a.cat").write_bytes(build_catalog(CatalogSpec(MEMBERS), stranger))
    (tmp_path / "root.pem").write_bytes(root.pem)
    assert _verify(tmp_path).returncode != 0


@pytest.mark.parametrize("sha256", [True, False])
def test_the_signature_is_over_the_attributes_and_they_hold_the_digest(
    root: PracticeRoot, sha256: bool
) -> None:
    signed = cms.ContentInfo.load(build_catalog(CatalogSpec(MEMBERS, sha256=sha256), root))[
        "content"
    ]
    signer = signed["signer_infos"][0]
    content = signed["encap_content_info"]["content"].contents
    digest = hashlib.new("sha256" if sha256 else "sha1", content).digest()
    values = {one["type"].native: one["values"][0] for one in signer["signed_attrs"]}
    assert values["message_digest"].native == digest
    algorithm: hashes.HashAlgorithm = hashes.SHA256() if sha256 else hashes.SHA1()
    root.signer_key.public_key().verify(
        signer["signature"].native,
        signer["signed_attrs"].untag().dump(),
        padding.PKCS1v15(),
        algorithm,
    )


def test_members_are_sorted_digests_of_both_kinds(root: PracticeRoot) -> None:
    catalog = build_catalog(CatalogSpec(MEMBERS), root)
    expected = sorted(
        hashlib.new(name, data).digest() for name in ("sha1", "sha256") for data in MEMBERS
    )
    places = [catalog.index(digest) for digest in expected]
    assert places == sorted(places)


def test_without_a_root_there_is_no_signer() -> None:
    signed = cms.ContentInfo.load(build_catalog(CatalogSpec(MEMBERS), None))["content"]
    assert len(signed["signer_infos"]) == 0


@pytest.mark.parametrize(
    ("package", "sha256"),
    [
        (
            "Microsoft-Windows-InternetExplorer-Optional-Package~31bf3856ad364e35~amd64~en-US~.cab",
            True,
        ),
        ("Windows6.1-KB2883457-amd64.cab", False),
    ],
)
def test_the_shape_is_that_of_real_catalogs(
    real: Path, tmp_path: Path, root: PracticeRoot, package: str, sha256: bool
) -> None:
    run("cabextract", "-q", "-F", "update.cat", "-d", tmp_path, real / "cbs" / package)
    theirs = (tmp_path / "update.cat").read_bytes()
    ours = build_catalog(CatalogSpec(MEMBERS, package_name="A-Package", sha256=sha256), root)
    real_parts, our_parts = _trust_list(theirs), _trust_list(ours)
    assert our_parts[:4] == real_parts[:4]
    assert len(our_parts) == len(real_parts)
    attributes = {shape for part in (our_parts[5], real_parts[5]) for shape in _split(part)}
    assert all(shape.startswith("0:16(") for shape in attributes)
    assert _member_shapes(ours) <= _member_shapes(theirs)


def test_a_root_is_made_once_per_folder(tmp_path: Path) -> None:
    first, second = practice_root(tmp_path / "a"), practice_root(tmp_path / "a")
    assert first.pem == second.pem == (tmp_path / "a" / "practice-root.pem").read_bytes()
    assert practice_root(tmp_path / "b").pem != first.pem
    assert (tmp_path / "a" / "practice-root.key").stat().st_mode & 0o777 == 0o600
    certificate = x509.load_pem_x509_certificate(first.pem)
    assert certificate.fingerprint(hashes.SHA256()).hex() == first.fingerprint
    assert "worthless" in certificate.subject.rfc4514_string()
