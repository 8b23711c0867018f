"""The chain of trust: it holds for what was signed, and its first broken link is named."""

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from offline.packages.made import COMPONENT, MadePackage, component, signed_catalog
from offline.packages.madesignatures import (
    Stamp,
    World,
    counter_signature,
    message,
    token,
    world,
)
from offline.packages.mutatedsignatures import content_of
from wimsmith.errors import DamagedCatalog, Untrusted
from wimsmith.offline.manifests.identity import parse_package_name
from wimsmith.offline.packages.containers.cabinet import expand_cabinet
from wimsmith.offline.packages.package import ExpandedPackage, expand
from wimsmith.offline.packages.trust.catalog import Catalog, parse_catalog
from wimsmith.offline.packages.trust.following import (
    CheckedLink,
    Link,
    TrustPolicy,
    verify,
    verify_catalog,
)
from wimsmith.offline.packages.trust.roots import (
    MICROSOFT_AUTHORITIES,
    MICROSOFT_ROOTS,
    microsoft_anchors,
)
from wimsmith.offline.packages.trust.signatures import (
    WINDOWS_COMPONENT,
    Anchors,
    fingerprint,
    load_der,
)
from wimsmith.practice.root import PracticeRoot


def expanded(made: MadePackage, folder: Path) -> ExpandedPackage:
    return expand(made.write(folder / "made.cab"), folder / "work")


def broken_link(made: MadePackage, folder: Path, policy: TrustPolicy) -> str:
    with pytest.raises(Untrusted) as refusal:
        verify(expanded(made, folder), policy)
    return refusal.value.reason


def test_a_signed_package_holds_in_every_link(
    made: MadePackage, policy: TrustPolicy, tmp_path: Path
) -> None:
    links = verify(expanded(made, tmp_path), policy)
    kinds = [link.link for link in links]
    assert kinds.count(Link.CATALOG_SIGNATURE) == 1
    assert kinds.count(Link.PACKAGE_HASH) == 1
    assert kinds.count(Link.MANIFEST_HASH) == kinds.count(Link.MANIFEST_NAME) == 2
    assert kinds.count(Link.PAYLOAD_HASH) == 1
    assert any("practice root" in link.text for link in links if link.link is Link.CATALOG_CHAIN)


def test_practice_packages_count_only_where_they_are_allowed(
    made: MadePackage, policy: TrustPolicy, tmp_path: Path
) -> None:
    closed = TrustPolicy(policy.microsoft, test=policy.test)
    assert broken_link(made, tmp_path, closed) == "untrusted:catalog-chain"
    assert policy.is_test(verify_catalog(parse_catalog(made.files["update.cat"]), policy))


def test_a_stranger_s_signature_does_not_count(
    made: MadePackage, stranger: PracticeRoot, policy: TrustPolicy, tmp_path: Path
) -> None:
    members = [made.files["update.mum"]]
    forged = signed_catalog(stranger, members)
    assert broken_link(made.changed({"update.cat": forged}), tmp_path, policy) == (
        "untrusted:catalog-chain"
    )


def test_a_catalog_without_signature(
    made: MadePackage, policy: TrustPolicy, tmp_path: Path
) -> None:
    unsigned = signed_catalog(None, [made.files["update.mum"]])  # type: ignore[arg-type]
    assert broken_link(made.changed({"update.cat": unsigned}), tmp_path, policy) == (
        "untrusted:catalog-signature"
    )


def test_a_changed_list_breaks_the_signature(
    made: MadePackage, policy: TrustPolicy, tmp_path: Path
) -> None:
    catalog = made.files["update.cat"]
    listed = parse_catalog(catalog)
    some = next(one for one in listed.hashes if catalog.count(one) == 1)
    changed = catalog.replace(some, bytes(len(some)))
    assert broken_link(made.changed({"update.cat": changed}), tmp_path, policy) == (
        "untrusted:catalog-signature"
    )


def test_a_package_without_catalog(made: MadePackage, policy: TrustPolicy, tmp_path: Path) -> None:
    without = made.changed({"update.cat": None})
    assert broken_link(without, tmp_path, policy) == "untrusted:catalog"


def test_a_package_manifest_its_catalog_does_not_list(
    made: MadePackage, root: PracticeRoot, policy: TrustPolicy, tmp_path: Path
) -> None:
    manifests = [data for name, data in made.files.items() if name.endswith(".manifest")]
    other = made.changed({"update.cat": signed_catalog(root, manifests)})
    assert broken_link(other, tmp_path, policy) == "untrusted:package-hash"


def test_a_manifest_no_catalog_lists(
    made: MadePackage, policy: TrustPolicy, tmp_path: Path
) -> None:
    name = f"{made.component_keyform}.manifest"
    changed = made.changed({name: made.files[name] + b"<!-- more -->"})
    assert broken_link(changed, tmp_path, policy) == "untrusted:manifest-hash"


def test_a_manifest_under_another_s_name(
    made: MadePackage, root: PracticeRoot, policy: TrustPolicy, tmp_path: Path
) -> None:
    alien = component("Alien", {})
    signed = [alien, *(data for name, data in made.files.items() if not name.endswith("cat"))]
    changed = made.changed(
        {
            f"{made.component_keyform}.manifest": alien,
            "update.cat": signed_catalog(root, signed),
        }
    )
    assert broken_link(changed, tmp_path, policy) == "untrusted:manifest-name"


@pytest.mark.parametrize("payload", [b"MZ something else", None])
def test_payload_that_is_not_what_its_manifest_states(
    made: MadePackage, policy: TrustPolicy, tmp_path: Path, payload: bytes | None
) -> None:
    changed = made.changed({made.payload_name: payload})
    assert broken_link(changed, tmp_path, policy) == "untrusted:payload-hash"


def test_payload_without_a_stated_digest(
    made: MadePackage, root: PracticeRoot, policy: TrustPolicy, tmp_path: Path
) -> None:
    silent = component(COMPONENT, {}, '<file name="tool.exe"/>')
    name = f"{made.component_keyform}.manifest"
    changed = made.changed({name: silent})
    catalog = signed_catalog(root, list(changed.files.values()))
    changed = changed.changed({"update.cat": catalog})
    assert broken_link(changed, tmp_path, policy) == "untrusted:payload-hash"


def test_the_package_must_be_the_one_that_was_promised(
    made: MadePackage, policy: TrustPolicy, tmp_path: Path
) -> None:
    package = expanded(made, tmp_path)
    links = verify(package, policy, expected=package.top.identity)
    assert links[0] == CheckedLink(Link.PACKAGE_IDENTITY, package.top.name)
    other = parse_package_name("Other-Package~0123456789abcdef~amd64~~1.2.3.4")
    with pytest.raises(Untrusted) as refusal:
        verify(package, policy, expected=other)
    assert refusal.value.reason == "untrusted:package-identity"
    assert "Other-Package" in str(refusal.value)


def test_a_signature_without_time_stamp_must_be_valid_now(
    made: MadePackage, root: PracticeRoot
) -> None:
    catalog = parse_catalog(made.files["update.cat"])
    anchors = Anchors((root.certificate,))
    for year, holds in ((1999, False), (2050, True), (2105, False)):
        policy = TrustPolicy(Anchors(), operator=anchors, now=datetime(year, 6, 1, tzinfo=UTC))
        if holds:
            assert verify_catalog(catalog, policy).signed_at is None
            continue
        with pytest.raises(Untrusted, match="was not valid on"):
            verify_catalog(catalog, policy)


def test_an_anchor_may_be_named_by_fingerprint(made: MadePackage, root: PracticeRoot) -> None:
    pinned = Anchors(fingerprints=frozenset({fingerprint(root.signer)}))
    facts = verify_catalog(
        parse_catalog(made.files["update.cat"]), TrustPolicy(Anchors(), operator=pinned)
    )
    assert facts.anchor_fingerprint == fingerprint(root.signer)


def test_below_microsoft_roots_only_parts_of_windows_count(
    made: MadePackage, root: PracticeRoot
) -> None:
    strict = TrustPolicy(Anchors((root.certificate,)))
    with pytest.raises(Untrusted) as refusal:
        verify_catalog(parse_catalog(made.files["update.cat"]), strict)
    assert refusal.value.reason == "untrusted:catalog-purpose"


def resigned(root: PracticeRoot, **changes: bool) -> PracticeRoot:
    """The same root with a signer certificate that lacks something."""
    usage = (
        ExtendedKeyUsageOID.CODE_SIGNING
        if changes.get("code_signing", True)
        else ExtendedKeyUsageOID.SERVER_AUTH
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(root.signer.subject)
        .issuer_name(root.certificate.subject)
        .public_key(root.signer_key.public_key())
        .serial_number(77)
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2090, 1, 1, tzinfo=UTC))
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    )
    key = root.root_key if changes.get("by_root", True) else root.signer_key
    other = PracticeRoot(root.root_key, root.signer_key, root.name)
    other.__dict__["signer"] = builder.sign(key, hashes.SHA256())
    return other


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"code_signing": False}, "untrusted:catalog-purpose"),
        ({"by_root": False}, "untrusted:catalog-chain"),
    ],
)
def test_what_a_signer_must_have(root: PracticeRoot, change: dict[str, bool], reason: str) -> None:
    catalog = parse_catalog(signed_catalog(resigned(root, **change), [b"x"]))
    with pytest.raises(Untrusted) as refusal:
        verify_catalog(catalog, TrustPolicy(Anchors(), operator=Anchors((root.certificate,))))
    assert refusal.value.reason == reason


def test_an_end_certificate_cannot_issue_others(root: PracticeRoot) -> None:
    """The practice signer signs a certificate; its basic constraints forbid that."""
    below = PracticeRoot(root.signer_key, root.root_key, root.name)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Leaf")]))
        .issuer_name(root.signer.subject)
        .public_key(root.root_key.public_key())
        .serial_number(78)
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2090, 1, 1, tzinfo=UTC))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .sign(root.signer_key, hashes.SHA256())
    )
    below.__dict__["signer"] = leaf
    below.__dict__["certificate"] = root.signer
    catalog = parse_catalog(signed_catalog(below, [b"x"]))
    with pytest.raises(Untrusted) as refusal:
        verify_catalog(catalog, TrustPolicy(Anchors(), operator=Anchors((root.certificate,))))
    assert refusal.value.reason == "untrusted:catalog-chain"


def test_bytes_that_are_no_certificate() -> None:
    with pytest.raises(DamagedCatalog):
        load_der([b"\x30\x00"])


TRUST_LIST = "1.3.6.1.4.1.311.10.1"
IN_2013 = datetime(2013, 8, 28, tzinfo=UTC)


def catalog_of(
    made_by: World, root: PracticeRoot, *, digest: str = "sha256", stamps: Sequence[Stamp] = ()
) -> Catalog:
    """A catalog by the signer of a world, with time stamps."""
    content = content_of(signed_catalog(root, [b"x"]))
    known = [*made_by.chain, made_by.stamper]
    return parse_catalog(
        message(TRUST_LIST, content, made_by.signer, known, digest=digest, unsigned=stamps)
    )


def test_time_stamps_keep_catalogs_of_expired_signers(root: PracticeRoot) -> None:
    here = world(years=(2012, 2014))
    policy = TrustPolicy(Anchors(), operator=Anchors((here.root.certificate,)))
    for stamp in (
        token(here.stamper, [here.stamper], IN_2013),
        counter_signature(here.stamper, IN_2013),
    ):
        facts = verify_catalog(catalog_of(here, root, stamps=[stamp]), policy)
        assert facts.signed_at == IN_2013
    with pytest.raises(Untrusted) as refusal:
        verify_catalog(catalog_of(here, root), policy)
    assert refusal.value.reason == "untrusted:catalog-chain"


def test_sha1_in_catalogs_counts_only_with_an_early_time_stamp(root: PracticeRoot) -> None:
    here = world()
    policy = TrustPolicy(Anchors(), operator=Anchors((here.root.certificate,)))
    early, late = (
        counter_signature(here.stamper, when)
        for when in (IN_2013, datetime(2022, 1, 1, tzinfo=UTC))
    )
    facts = verify_catalog(catalog_of(here, root, digest="sha1", stamps=[early]), policy)
    assert facts.digests == {"sha1", "sha256"}
    for stamps in ([], [late]):
        with pytest.raises(Untrusted) as refusal:
            verify_catalog(catalog_of(here, root, digest="sha1", stamps=stamps), policy)
        assert refusal.value.reason == "untrusted:catalog-algorithm"


def test_signers_of_parts_of_windows_count_below_microsoft_roots(root: PracticeRoot) -> None:
    here = world(purposes=[ExtendedKeyUsageOID.CODE_SIGNING, WINDOWS_COMPONENT])
    policy = TrustPolicy(Anchors((here.root.certificate,)))
    assert verify_catalog(catalog_of(here, root), policy).anchor == "CN=Root,O=Made"


def test_another_verifier_agrees_on_made_catalogs(
    root: PracticeRoot, stranger: PracticeRoot, tmp_path: Path
) -> None:
    (tmp_path / "root.pem").write_bytes(root.pem)
    for signer, holds in ((root, True), (stranger, False)):
        (tmp_path / "made.cat").write_bytes(signed_catalog(signer, [b"x", b"y"]))
        judged = subprocess.run(
            ["osslsigncode", "verify", "-CAfile", "root.pem", "-in", "made.cat"],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert (b"Signature verification: ok" in judged.stdout) is holds, judged.stdout


def test_real_packages_lead_to_pinned_microsoft_certificates(
    real: Path, base_manifest: bytes, tmp_path: Path
) -> None:
    policy = TrustPolicy(microsoft_anchors())
    payload_links = 0
    for number, cabinet in enumerate(sorted((real / "cbs").glob("*nternet*.cab"))):
        package = expand(cabinet, tmp_path / str(number))
        links = verify(package, policy, base_manifest=base_manifest)
        payload_links += sum(link.link is Link.PAYLOAD_HASH for link in links)
        times = [link.text for link in links if link.link is Link.CATALOG_TIME]
        assert len(times) == 2
        assert all(time.startswith("2019-12-07T06:") for time in times)
        without_base = [one for one in package.manifests.values() if one.compressed]
        assert without_base
    assert payload_links == 4


def test_real_windows_7_catalogs_hold_by_their_counter_signatures(
    real: Path, tmp_path: Path
) -> None:
    policy = TrustPolicy(microsoft_anchors())
    files = expand_cabinet(real / "cbs" / "Windows6.1-KB2883457-amd64.cab", tmp_path / "kb")
    catalogs = [file for file in files if file.name.endswith(".cat")]
    assert len(catalogs) == 6
    for file in catalogs:
        facts = verify_catalog(parse_catalog(file.path.read_bytes()), policy)
        assert facts.signed_at is not None
        assert facts.signed_at.date().isoformat() == "2013-08-28"


def test_real_catalogs_of_driver_publishers_are_no_parts_of_windows(real: Path) -> None:
    hardware = "c255dd781def59db1c3e67bc0e02f1b1c74c32b91a4ed43086f28ce26e5c88ca"
    for path in (real / "driver").rglob("*.cat"):
        catalog = parse_catalog(path.read_bytes())
        pinned = Anchors(
            fingerprints=MICROSOFT_ROOTS | MICROSOFT_AUTHORITIES | frozenset({hardware})
        )
        with pytest.raises(Untrusted) as refusal:
            verify_catalog(catalog, TrustPolicy(pinned))
        assert refusal.value.reason == "untrusted:catalog-purpose"


def test_pinned_authorities_are_issued_by_pinned_roots(real: Path, tmp_path: Path) -> None:
    policy = TrustPolicy(Anchors(microsoft_anchors().certificates))
    assert {fingerprint(one) for one in policy.microsoft.certificates} == MICROSOFT_ROOTS
    for number, cabinet in enumerate(sorted((real / "cbs").glob("*.cab"))):
        for file in expand_cabinet(cabinet, tmp_path / str(number)):
            if file.name.endswith(".cat"):
                facts = verify_catalog(parse_catalog(file.path.read_bytes()), policy)
                assert facts.anchor_fingerprint in MICROSOFT_ROOTS
