"""Chains of certificates, judged at one moment by the rules of RFC 5280."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from offline.packages.madesignatures import CODE, LIFETIME, SERVERS, STAMPS, Party, party
from wimsmith.errors import DamagedCatalog, Untrusted
from wimsmith.offline.packages.trust.chains import MAX_CHAIN, build_chain
from wimsmith.offline.packages.trust.signatures import Anchors, describe, fingerprint, load_der

IN_2015 = datetime(2015, 1, 1, tzinfo=UTC)
LINK = "some-chain"


def chain(
    leaf: Party, known: Sequence[Party], anchors: Anchors, when: datetime = IN_2015
) -> list[str]:
    """Subjects of the chain of a certificate."""
    found = build_chain(
        leaf.certificate,
        [one.certificate for one in known],
        anchors,
        when=when,
        purpose=CODE,
        link=LINK,
    )
    return [describe(one).subject.partition(",")[0] for one in found]


def obstacle(leaf: Party, known: Sequence[Party], anchors: Anchors) -> str:
    with pytest.raises(Untrusted) as refusal:
        chain(leaf, known, anchors)
    assert refusal.value.reason == f"untrusted:{LINK}"
    return str(refusal.value.args[1])


def trusting(*anchors: Party) -> Anchors:
    return Anchors(tuple(one.certificate for one in anchors))


ROOT = party("Root", authority=True)


def test_a_chain_ends_in_the_first_anchor() -> None:
    middle = party("Middle", ROOT, authority=True)
    leaf = party("Leaf", middle)
    assert chain(leaf, [middle], trusting(ROOT)) == ["CN=Leaf", "CN=Middle", "CN=Root"]
    pinned = Anchors(fingerprints=frozenset({fingerprint(middle.certificate)}))
    assert chain(leaf, [middle], pinned) == ["CN=Leaf", "CN=Middle"]
    assert chain(leaf, [], trusting(leaf)) == ["CN=Leaf"]
    assert "which is not a trusted root" in obstacle(leaf, [], trusting(ROOT))


@pytest.mark.parametrize(
    ("middle", "words"),
    [
        ({"authority": False}, "may not issue"),
        ({"authority": True, "usage": "signs"}, "may not issue"),
        ({"authority": True, "purposes": [SERVERS]}, "other purposes"),
        ({"authority": True, "purposes": [STAMPS]}, "other purposes"),
        ({"authority": True, "years": (2016, 2020)}, "was not valid on 2015-01-01"),
        ({"authority": True, "years": (2000, 2014)}, "was not valid on 2015-01-01"),
        ({"authority": True, "critical": LIFETIME}, "critical extension"),
    ],
)
def test_what_stands_between_must_be_an_authority_for_it(
    middle: dict[str, object], words: str
) -> None:
    between = party("Middle", ROOT, **middle)  # type: ignore[arg-type]
    leaf = party("Leaf", between)
    assert words in obstacle(leaf, [between], trusting(ROOT))
    twin = party("Middle", ROOT, authority=True, purposes=[CODE, SERVERS])
    for known in ([between, twin], [twin, between]):
        assert chain(leaf, known, trusting(ROOT)) == ["CN=Leaf", "CN=Middle", "CN=Root"]


def test_an_anchor_too_has_to_be_valid() -> None:
    old = party("Old root", authority=True, years=(2000, 2010))
    leaf = party("Leaf", old)
    assert "CN=Old root" in obstacle(leaf, [], trusting(old))
    assert chain(leaf, [], trusting(old), datetime(2005, 1, 1, tzinfo=UTC))


def test_how_many_authorities_may_stand_below_another() -> None:
    narrow = party("Narrow", ROOT, authority=True, path_length=0)
    below = party("Below", narrow, authority=True)
    assert chain(party("Leaf", narrow), [narrow], trusting(ROOT))
    assert "CN=Narrow" in obstacle(party("Leaf", below), [narrow, below], trusting(ROOT))


def test_a_key_of_another_with_the_same_name_does_not_issue() -> None:
    middle = party("Middle", ROOT, authority=True)
    impostor = party("Middle", ROOT, authority=True, label="impostor")
    leaf = party("Leaf", impostor)
    assert "CN=Leaf" in obstacle(leaf, [middle], trusting(ROOT))


def test_chains_are_not_endless() -> None:
    known = [ROOT]
    for number in range(MAX_CHAIN):
        known.append(party(f"Number {number}", known[-1], authority=True, label="shared"))
    assert f"longer than {MAX_CHAIN}" in obstacle(known[-1], known[:-1], trusting(ROOT))
    assert len(chain(known[-2], known[:-2], trusting(ROOT))) == MAX_CHAIN


def test_rings_and_crowds_end() -> None:
    """Sixty authorities that all issued one another, none of them known."""
    subject = party("Ring", authority=True, label="shared")
    ring = [party("Ring", subject, authority=True, label="shared") for _number in range(60)]
    assert f"longer than {MAX_CHAIN}" in obstacle(ring[0], ring, trusting(ROOT))


def test_keys_of_a_kind_that_windows_does_not_know_issue_nothing() -> None:
    edwards = party("Edwards", authority=True, label="ed")
    assert "CN=Leaf" in obstacle(party("Leaf", edwards), [], trusting(edwards))


def test_an_algorithm_stated_in_two_ways() -> None:
    der = bytearray(ROOT.der)
    outside = der.rindex(bytes.fromhex("300d06092a864886f70d01010b0500"))
    der[outside + 13 : outside + 15] = b"\x04\x00"
    with pytest.raises(DamagedCatalog, match="two ways"):
        load_der([bytes(der)])


def test_bits_of_a_signature_that_are_called_unused() -> None:
    der = bytearray(ROOT.der)
    start = len(der) - 257
    assert der[start - 4 : start + 1] == b"\x03\x82\x01\x01\x00"
    der[start] = 1
    der[-1] &= 0xFE
    with pytest.raises(DamagedCatalog):
        load_der([bytes(der)])


def test_names_longer_than_the_standard_allows_do_no_harm() -> None:
    with pytest.warns(UserWarning, match="length must be"):
        long = party("L" * 70)
    (loaded,) = load_der([long.der])
    assert "L" * 70 in describe(loaded).subject
