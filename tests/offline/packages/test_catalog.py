"""Security catalogs: what they list, and what becomes of broken ones."""

import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.packages.made import signed_catalog
from offline.packages.madesignatures import message, world
from offline.packages.mutatedsignatures import TRUST_LIST, content_of, parse
from wimsmith.errors import DamagedCatalog, DamagedInput, Untrusted
from wimsmith.offline.packages.trust import catalog
from wimsmith.offline.packages.trust.catalog import parse_catalog
from wimsmith.offline.packages.trust.following import TrustPolicy, verify_catalog
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.packages.trust.signedmessage import parse_signed_message
from wimsmith.practice.root import PracticeRoot

MEMBERS = (b"one", b"two", b"three")


def test_later_catalogs_list_sha256_and_early_ones_sha1(root: PracticeRoot) -> None:
    later = parse_catalog(signed_catalog(root, MEMBERS))
    assert later.has_sha256
    assert {hashlib.sha256(one).digest() for one in MEMBERS} <= later.hashes
    assert {hashlib.sha1(one).digest() for one in MEMBERS} <= later.hashes
    early = parse_catalog(signed_catalog(root, MEMBERS, sha256=False))
    assert early.hashes == {hashlib.sha1(one).digest() for one in MEMBERS}
    for either in (later, early):
        assert all(either.lists(one) for one in MEMBERS)
        assert not either.lists(b"four")


def test_a_sha1_alone_does_not_count_where_sha256_is_listed(root: PracticeRoot) -> None:
    other = parse_catalog(signed_catalog(root, [b"other"]))
    forged = other.hashes | {hashlib.sha1(b"evil").digest()}
    assert not type(other)(other.raw, frozenset(forged), other.message).lists(b"evil")


def test_the_thumbprint_is_the_name_in_the_store(root: PracticeRoot) -> None:
    data = signed_catalog(root, MEMBERS)
    assert parse_catalog(data).thumbprint == hashlib.sha256(data).hexdigest()


def test_an_empty_catalog_lists_nothing(root: PracticeRoot) -> None:
    empty = parse_catalog(signed_catalog(root, []))
    assert empty.hashes == frozenset()
    assert not empty.lists(b"")


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
    for _count in range(250):
        changed = bytearray(good)
        changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
        try:
            found = parse_catalog(bytes(changed))
            verify_catalog(found, policy)
        except (DamagedInput, Untrusted):
            continue
        # Certificates beside the chain and unsigned parts may change; what is listed may not.
        assert found.hashes == listed


def test_catalogs_that_ask_for_too_much(
    root: PracticeRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world()
    content = content_of(signed_catalog(root, MEMBERS))
    assert parse_catalog(message(TRUST_LIST, content, here.signer, [here.signer] * 64)).hashes
    with pytest.raises(DamagedCatalog, match="more than 64 certificates"):
        parse_catalog(message(TRUST_LIST, content, here.signer, [here.signer] * 65))
    monkeypatch.setattr(catalog, "MAX_MEMBERS", 5)
    with pytest.raises(DamagedCatalog, match="more than 5 members"):
        parse_catalog(signed_catalog(root, MEMBERS))
    monkeypatch.setattr(catalog, "MAX_CATALOG_BYTES", 100)
    with pytest.raises(DamagedCatalog, match="a catalog of"):
        parse_catalog(signed_catalog(root, MEMBERS))


def test_tags_count_only_in_lists_that_say_so(root: PracticeRoot) -> None:
    """An early list tags members by text: bytes that look like a hash are none there."""
    evil = hashlib.sha1(b"evil").digest()
    early = signed_catalog(root, [b"x" * 7], sha256=False)
    text = hashlib.sha1(b"x" * 7).hexdigest().upper() + "\0"
    tag = text.encode("utf-16-le")
    assert tag in early
    tree = parse(early)
    for node in tree.all():
        if node.content == tag:
            node.content = evil
    assert evil not in parse_catalog(tree.encode()).hashes


def test_zeros_may_follow_a_catalog_and_nothing_else(root: PracticeRoot) -> None:
    good = signed_catalog(root, MEMBERS)
    assert parse_catalog(good + bytes(3)).hashes == parse_catalog(good).hashes
    with pytest.raises(DamagedCatalog, match="after the end"):
        parse_catalog(good + b"x")


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
