"""Security catalogs: what they list, and what becomes of broken ones."""

import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.packages.made import signed_catalog
from wimsmith.errors import DamagedCatalog, DamagedInput, Untrusted
from wimsmith.offline.packages.catalog import parse_catalog, parse_signed_message
from wimsmith.offline.packages.signatures import Anchors
from wimsmith.offline.packages.trust import TrustPolicy, verify_catalog
from wimsmith.practice.root import PracticeRoot

MEMBERS = (b"one", b"two", b"three")


def test_later_catalogs_list_sha256_and_early_ones_sha1(root: PracticeRoot) -> None:
    later = parse_catalog(signed_catalog(root, MEMBERS))
    assert later.has_sha256
    assert {hashlib.sha256(one).digest() for one in MEMBERS} <= later.hashes
    assert {hashlib.sha1(one).digest() for one in MEMBERS} <= later.hashes
    early = parse_catalog(signed_catalog(root, MEMBERS, sha256=False))
    assert early.hashes == {hashlib.sha1(one).digest() for one in MEMBERS}
    for catalog in (later, early):
        assert all(catalog.lists(one) for one in MEMBERS)
        assert not catalog.lists(b"four")


def test_a_sha1_alone_does_not_count_where_sha256_is_listed(root: PracticeRoot) -> None:
    catalog = parse_catalog(signed_catalog(root, [b"other"]))
    forged = catalog.hashes | {hashlib.sha1(b"evil").digest()}
    assert not type(catalog)(catalog.raw, frozenset(forged), catalog.message).lists(b"evil")


def test_the_thumbprint_is_the_name_in_the_store(root: PracticeRoot) -> None:
    data = signed_catalog(root, MEMBERS)
    assert parse_catalog(data).thumbprint == hashlib.sha256(data).hexdigest()


def test_an_empty_catalog_lists_nothing(root: PracticeRoot) -> None:
    catalog = parse_catalog(signed_catalog(root, []))
    assert catalog.hashes == frozenset()
    assert not catalog.lists(b"")


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x80", b"\x30\x03\x02\x01\x01", bytes(50)])
def test_other_bytes_are_damage(data: bytes) -> None:
    with pytest.raises(DamagedCatalog):
        parse_catalog(data)


@given(st.binary(max_size=200))
def test_any_bytes_give_our_error(data: bytes) -> None:
    with pytest.raises(DamagedCatalog):
        parse_catalog(data)


def test_every_changed_byte_is_noticed(root: PracticeRoot) -> None:
    source = random.Random(17)
    good = signed_catalog(root, MEMBERS)
    policy = TrustPolicy(Anchors(), operator=Anchors((root.certificate,)))
    listed = parse_catalog(good).hashes
    verify_catalog(parse_catalog(good), policy)
    for _count in range(1500):
        changed = bytearray(good)
        changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
        try:
            catalog = parse_catalog(bytes(changed))
            verify_catalog(catalog, policy)
        except (DamagedInput, Untrusted):
            continue
        # Certificates beside the chain and unsigned parts may change; what is listed may not.
        assert catalog.hashes == listed


def test_real_catalogs(real: Path) -> None:
    drivers = sorted((real / "driver").rglob("*.cat"))
    assert len(drivers) == 2
    for path in drivers:
        message = parse_signed_message(path.read_bytes())
        (signer,) = message.signers
        assert (
            hashlib.new(signer.digest_algorithm, signer.content).digest() == signer.message_digest
        )
        assert parse_catalog(path.read_bytes()).hashes
