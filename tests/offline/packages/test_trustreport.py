"""The chain told link by link, and the signature of the file as its first gate."""

import hashlib
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from offline.packages import madesignatures as signed
from offline.packages.made import Copy, MadePackage, delta, patch_stream, signed_catalog
from offline.packages.madesignatures import World, world
from wimsmith.errors import Untrusted
from wimsmith.offline.manifests.identity import parse_package_name
from wimsmith.offline.packages.package import ExpandedPackage, expand
from wimsmith.offline.packages.trust.following import Link, TrustPolicy, verify, verify_file
from wimsmith.offline.packages.trust.report import (
    BrokenLink,
    TrustReport,
    TrustVerdict,
    examine,
    examine_file,
)
from wimsmith.offline.packages.trust.roots import microsoft_anchors
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.practice.root import PracticeRoot

IN_2015 = datetime(2015, 7, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def here() -> World:
    return world()


@pytest.fixture
def both(policy: TrustPolicy, here: World) -> TrustPolicy:
    """Trusts the practice root and the root of signed files."""
    return replace(policy, operator=Anchors((here.root.certificate,)))


def written(made: MadePackage, here: World, path: Path) -> Path:
    """The package as a signed file with a time stamp."""
    cabinet = signed.bare_cabinet(made.files)
    stamp = signed.token(here.stamper, [here.stamper], IN_2015)
    blob = signed.file_signature(here, cabinet, unsigned=[stamp])
    path.write_bytes(signed.with_signature(cabinet, blob))
    return path


def signed_package(made: MadePackage, here: World, folder: Path) -> ExpandedPackage:
    return expand(written(made, here, folder / "made.cab"), folder / "work")


def links_of(report: TrustReport) -> list[Link]:
    return [one.link for one in report.links]


def test_every_link_of_a_good_package_is_told(
    made: MadePackage, here: World, both: TrustPolicy, tmp_path: Path
) -> None:
    package = signed_package(made, here, tmp_path)
    report = examine(package, both, expected=package.top.identity)
    assert report.verdict is TrustVerdict.TRUSTED
    assert report.broken is None
    assert (report.file_signed, report.test_root, report.unchecked) == (True, True, ())
    assert "not checked" in report.revocation
    assert links_of(report) == [
        Link.FILE_SIGNATURE,
        Link.FILE_CHAIN,
        Link.FILE_TIME,
        Link.FILE_HASH,
        Link.PACKAGE_IDENTITY,
        Link.CATALOG_SIGNATURE,
        Link.CATALOG_CHAIN,
        Link.PACKAGE_HASH,
        *[Link.MANIFEST_HASH, Link.MANIFEST_NAME, Link.PAYLOAD_HASH],
        *[Link.MANIFEST_HASH, Link.MANIFEST_NAME],
    ]
    assert report.links[4:] == verify(package, both, expected=package.top.identity)
    by_link = {one.link: one for one in report.links}
    assert by_link[Link.FILE_SIGNATURE].text == "CN=Signer,O=Made"
    assert by_link[Link.FILE_SIGNATURE].time == IN_2015
    assert by_link[Link.FILE_TIME].text == "2015-07-21T00:00:00+00:00 (RFC 3161)"
    assert by_link[Link.FILE_CHAIN].fingerprint == hashlib.sha256(here.root.der).hexdigest()
    assert by_link[Link.FILE_HASH].algorithm == "sha256"
    json.dumps(asdict(report), default=str)


def test_the_links_before_a_break_are_told(
    made: MadePackage, here: World, both: TrustPolicy, tmp_path: Path
) -> None:
    changed = made.changed({made.payload_name: b"MZ something else"})
    report = examine(signed_package(changed, here, tmp_path), both)
    assert report.verdict is TrustVerdict.UNTRUSTED
    assert report.broken is not None
    assert report.broken.code == "untrusted:payload-hash"
    assert made.component_keyform in report.broken.text
    assert Link.PACKAGE_HASH in links_of(report)
    assert Link.PAYLOAD_HASH not in links_of(report)


def test_a_file_changed_after_signing_is_refused_whatever_is_in_it(
    made: MadePackage, here: World, both: TrustPolicy, tmp_path: Path
) -> None:
    """Everything inside holds; the file is still not the one that was signed."""
    data = bytearray(written(made, here, tmp_path / "made.cab").read_bytes())
    data[32] ^= 1  # the set identifier, which nothing inside depends on
    (tmp_path / "made.cab").write_bytes(data)
    package = expand(tmp_path / "made.cab", tmp_path / "work")
    assert verify(package, both)
    with pytest.raises(Untrusted) as refusal:
        verify_file(tmp_path / "made.cab", both)
    assert refusal.value.reason == "untrusted:file-hash"
    assert examine(package, both).broken == BrokenLink(
        "untrusted:file-hash", "the file is not the one that was signed"
    )


def test_unsigned_files_are_said_to_be_unsigned(
    made: MadePackage, policy: TrustPolicy, tmp_path: Path
) -> None:
    package = expand(made.write(tmp_path / "made.cab"), tmp_path / "work")
    report = examine(package, policy)
    assert (report.verdict, report.file_signed) == (TrustVerdict.TRUSTED, False)
    strict = replace(policy, require_file_signature=True)
    assert examine(package, strict).broken == BrokenLink(
        "untrusted:file-signature", "the file carries no signature"
    )


def test_another_identity_than_promised(
    made: MadePackage, policy: TrustPolicy, tmp_path: Path
) -> None:
    package = expand(made.write(tmp_path / "made.cab"), tmp_path / "work")
    other = parse_package_name("Other-Package~0123456789abcdef~amd64~~1.2.3.4")
    report = examine(package, policy, expected=other)
    assert report.links == ()
    assert report.broken is not None
    assert report.broken.code == "untrusted:package-identity"


def test_manifests_that_need_an_image_are_named_as_unchecked(
    made: MadePackage, policy: TrustPolicy, tmp_path: Path
) -> None:
    name = f"{made.component_keyform}.manifest"
    plain = made.files[name]
    stored = delta(patch_stream([Copy(90, slot=3), plain[90:]]), plain, digest=b"", algorithm=0)
    changed = made.changed({name: b"DCM\x01" + stored})
    package = expand(changed.write(tmp_path / "made.cab"), tmp_path / "work")
    report = examine(package, policy)
    assert report.verdict is TrustVerdict.INCOMPLETE
    assert report.unchecked == (made.component_keyform,)
    whole = examine(package, policy, base_manifest=plain[:90])
    assert (whole.verdict, whole.unchecked) == (TrustVerdict.TRUSTED, ())
    wrong = examine(package, policy, base_manifest=b"?" * 90)
    assert wrong.broken is not None
    assert wrong.broken.code == "untrusted:manifest-hash"


def test_a_manifest_that_cannot_be_read_is_where_the_chain_breaks(
    made: MadePackage, root: PracticeRoot, policy: TrustPolicy, tmp_path: Path
) -> None:
    name = f"{made.component_keyform}.manifest"
    files = made.changed({name: b"<assembly", "update.cat": None}).files
    catalog = signed_catalog(root, list(files.values()))
    broken = made.changed({name: b"<assembly", "update.cat": catalog})
    package = expand(broken.write(tmp_path / "made.cab"), tmp_path / "work")
    report = examine(package, policy)
    assert report.verdict is TrustVerdict.UNTRUSTED
    assert report.broken is not None
    assert report.broken.code == "damaged:damaged-manifest"


def test_a_file_alone_is_never_trusted(
    made: MadePackage, here: World, both: TrustPolicy, tmp_path: Path
) -> None:
    report = examine_file(written(made, here, tmp_path / "made.cab"), both)
    assert report.verdict is TrustVerdict.INCOMPLETE
    assert report.unchecked == ("made.cab",)
    assert report.file_signed
    stranger = examine_file(tmp_path / "made.cab", replace(both, operator=Anchors()))
    assert stranger.broken is not None
    assert stranger.broken.code == "untrusted:file-time"


def test_real_packages_link_by_link(real: Path, base_manifest: bytes, tmp_path: Path) -> None:
    policy = TrustPolicy(microsoft_anchors())
    (cabinet,) = (real / "cbs").glob("*en-US*.cab")
    package = expand(cabinet, tmp_path / "work")
    report = examine(package, policy, base_manifest=base_manifest)
    assert report.verdict is TrustVerdict.TRUSTED
    assert (report.file_signed, report.test_root) == (True, False)
    assert {one.algorithm for one in report.links if one.link is not Link.MANIFEST_NAME} == {
        "sha256"
    }
    assert examine(package, policy).verdict is TrustVerdict.INCOMPLETE


def test_real_msu_is_judged_before_anything_is_opened(real: Path) -> None:
    (msu,) = (real / "msu").glob("*.msu")
    report = examine_file(msu, TrustPolicy(microsoft_anchors()))
    assert report.broken is None
    assert [one.algorithm for one in report.links if one.link is Link.FILE_HASH] == [
        "sha1",
        "sha256",
    ]
