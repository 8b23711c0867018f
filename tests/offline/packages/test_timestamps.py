"""Time stamps of both kinds: who may stamp, and what a stamp is about."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from offline.packages import madesignatures as made
from offline.packages.madesignatures import World, counter_signature, token, world
from offline.packages.mutatedsignatures import parse
from wimsmith.errors import DamagedCatalog, Untrusted
from wimsmith.offline.packages.trust.signatures import Anchors, load_der
from wimsmith.offline.packages.trust.signedmessage import parse_signed_message
from wimsmith.offline.packages.trust.timestamps import TimeFacts, proved_time
from wimsmith.practice.der import utc_time

IN_2015 = datetime(2015, 7, 21, 17, 39, 20, tzinfo=UTC)
CONTENT = made.indirect_data("sha256", bytes(32))

TSA_SECTION = """
[tsa]
serial = serial
crypto_device = builtin
signer_cert = stamper.pem
signer_key = key.pem
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha1, sha256
ess_cert_id_chain = no
"""


@pytest.fixture(scope="module")
def here() -> World:
    return world()


def time_of(here: World, *stamps: made.Stamp) -> TimeFacts | None:
    """The time that stamps prove for a signature of the signer."""
    certificates = [*here.chain, here.stamper]
    blob = made.message(
        made.INDIRECT_DATA, CONTENT, here.signer, certificates, unsigned=list(stamps)
    )
    message = parse_signed_message(blob)
    anchors = Anchors((here.root.certificate,))
    (signer,) = message.signers
    return proved_time(signer, load_der(message.certificates), anchors, "some-time")


def test_both_kinds_prove_a_time(here: World) -> None:
    for stamp, kind in (
        (token(here.stamper, [here.stamper], IN_2015), "RFC 3161"),
        (token(here.stamper, [], IN_2015, digest="sha512"), "RFC 3161"),
        (counter_signature(here.stamper, IN_2015), "PKCS#9"),
        (counter_signature(here.stamper, IN_2015, digest="sha256"), "PKCS#9"),
    ):
        found = time_of(here, stamp)
        assert found is not None
        assert (found.when, found.kind) == (IN_2015, kind)
        assert [one.subject for one in found.chain] == ["CN=Stamper,O=Made", "CN=Root,O=Made"]
    assert time_of(here) is None


def test_a_token_of_another_program(here: World, tmp_path: Path) -> None:
    def stamp(signature: bytes) -> bytes:
        for name, data in (
            ("stamper.pem", here.stamper.pem),
            ("key.pem", here.stamper.key_pem),
            ("signature", signature),
            ("tsa.cnf", TSA_SECTION.encode()),
            ("serial", b"01\n"),
        ):
            (tmp_path / name).write_bytes(data)
        query = "openssl ts -query -data signature -sha256 -cert -out query"
        reply = "openssl ts -reply -config tsa.cnf -section tsa -queryfile query"
        for command in (query, f"{reply} -token_out -out token"):
            subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
        return made.attribute(made.TOKEN_ATTRIBUTE, (tmp_path / "token").read_bytes())

    found = time_of(here, stamp)
    assert found is not None
    assert abs(found.when - datetime.now(UTC)) < timedelta(hours=1)


def test_a_token_with_lengths_left_open(here: World) -> None:
    """Some services for time stamps write BER, where an end is marked instead of a length said."""

    def stamp(signature: bytes) -> bytes:
        attribute = parse(token(here.stamper, [here.stamper], IN_2015)(signature))
        inside = attribute.inside[1].inside[0].inside
        kind, content = inside[0].encode(), inside[1].inside[0].inside
        signed = b"\x30\x80" + b"".join(one.encode() for one in content) + b"\0\0"
        message = b"\x30\x80" + kind + b"\xa0\x80" + signed + b"\0\0" * 2
        return made.attribute(made.TOKEN_ATTRIBUTE, message)

    found = time_of(here, stamp)
    assert found is not None
    assert found.when == IN_2015


def stamper(here: World, **arguments: object) -> made.Party:
    given = {"purposes": [made.STAMPS], **arguments}
    return made.party("Other stamper", here.root, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"purposes": [made.CODE]}, "not for time stamps"),
        ({"purposes": ()}, "not for time stamps"),
        ({"usage": "neither"}, "not for time stamps"),
        ({"years": (2016, 2020)}, "was not valid on 2015-07-21"),
        ({"years": (2000, 2015)}, "was not valid on 2015-07-21"),
    ],
)
def test_who_may_stamp(here: World, arguments: dict[str, object], words: str) -> None:
    other = stamper(here, **arguments)
    with pytest.raises(Untrusted, match=words) as refusal:
        time_of(here, token(other, [other], IN_2015))
    assert refusal.value.reason == "untrusted:some-time"


def test_a_stamper_below_a_root_nobody_trusts(here: World) -> None:
    alone = made.party("Alone", purposes=[made.STAMPS])
    with pytest.raises(Untrusted, match="which is not a trusted root"):
        time_of(here, token(alone, [alone], IN_2015))


def test_what_a_stamp_is_about(here: World) -> None:
    known = [here.stamper]
    for stamp, words in (
        (token(here.stamper, known, IN_2015, about=b"other"), "about another signature"),
        (token(here.stamper, known, IN_2015, bound_to=here.signer), "bound to another"),
        (token(here.stamper, known, IN_2015, digest="md5"), "digest algorithm md5"),
        (about_content(here, made.DATA, with_time=True), "changed"),
        (about_content(here, made.INDIRECT_DATA, with_time=True), "another kind of content"),
        (about_content(here, made.DATA, with_time=False), "states no time"),
    ):
        with pytest.raises(Untrusted, match=words) as refusal:
            time_of(here, stamp)
        assert refusal.value.reason == "untrusted:some-time"


def about_content(here: World, content_type: str, *, with_time: bool) -> made.Stamp:
    """A counter-signature over something else than the signature."""
    time = made.attribute("1.2.840.113549.1.9.5", utc_time("150721173920Z"))
    more = [time] if with_time else []
    info = made.signer_info(b"something else", content_type, here.stamper, more=more)
    return lambda _signature: made.attribute(made.COUNTER_ATTRIBUTE, info)


def test_a_counter_signature_whose_certificate_is_missing(here: World) -> None:
    foreign = made.party("Alone", purposes=[made.STAMPS])
    with pytest.raises(Untrusted, match="missing"):
        time_of(here, counter_signature(foreign, IN_2015))


def test_several_stamps_in_several_attributes_are_damage(here: World) -> None:
    stamp = counter_signature(here.stamper, IN_2015)
    with pytest.raises(DamagedCatalog, match="twice"):
        time_of(here, stamp, stamp)
