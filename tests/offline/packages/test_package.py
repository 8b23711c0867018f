"""Updates expanded to manifests, catalogs and payload, and what they say about themselves."""

from pathlib import Path

import pytest

from offline.packages.made import (
    COMPONENT,
    DEPLOYMENT,
    PROGRAM,
    TOKEN,
    Copy,
    MadePackage,
    component,
    delta,
    made_keyform,
    mum,
    patch_stream,
    signed_catalog,
)
from wimsmith.errors import DamagedInput, DamagedPackage, NotSupported, Untrusted
from wimsmith.offline.manifests.component import parse_component
from wimsmith.offline.manifests.identity import parse_package_name
from wimsmith.offline.packages.containers.kinds import ContainerKind
from wimsmith.offline.packages.containers.msu import parse_properties
from wimsmith.offline.packages.facts import inspect
from wimsmith.offline.packages.package import expand
from wimsmith.offline.packages.trust.following import TrustPolicy, verify
from wimsmith.practice.cabinet import build_cabinet
from wimsmith.practice.root import PracticeRoot

UNATTEND = (
    '<unattend xmlns="urn:schemas-microsoft-com:unattend"><servicing><package action="install">'
    '<assemblyIdentity name="Made-Package" version="1.2.3.4" language="neutral" '
    f'processorArchitecture="amd64" publicKeyToken="{TOKEN}"/>'
    '<source location="%configsetroot%\\Made.CAB"/></package></servicing></unattend>'
)
PROPERTIES = (
    'ApplicabilityInfo="Windows 10.0;"\r\nKB Article Number="7654321"\r\n'
    'Processor Architecture="amd64"\r\nSupport Link="http://example.org/?kbid=7654321"\r\n'
)


def msu(made: MadePackage, properties: bytes) -> bytes:
    return build_cabinet(
        {
            "WSUSSCAN.cab": b"metadata",
            "Made.cab": build_cabinet(made.files),
            "Made-pkgProperties.txt": properties,
            "Made.xml": UNATTEND.encode(),
        },
        trailing=b"\x30\x82 a signature" * 100,
    )


def test_a_cabinet_package(made: MadePackage, tmp_path: Path) -> None:
    package = expand(made.write(tmp_path / "made.cab"), tmp_path / "work")
    assert package.kind is ContainerKind.CABINET
    assert package.top.name == f"Made-Package~{TOKEN}~amd64~~1.2.3.4"
    assert package.top.raw == made.files["update.mum"]
    assert list(package.packages) == [package.top.name]
    assert set(package.manifests) == {made_keyform(COMPONENT), made_keyform(DEPLOYMENT)}
    assert package.payload(made.component_keyform.upper(), "TOOL.EXE").read_bytes() == PROGRAM
    assert all(tmp_path / "work" in file.path.parents for file in package.files.values())
    manifest = parse_component(package.decoded_manifest(made.component_keyform))
    assert manifest.identity.name == COMPONENT
    with pytest.raises(DamagedPackage, match=r"other\.exe is missing"):
        package.payload(made.component_keyform, "other.exe")
    with pytest.raises(DamagedPackage, match="manifest nothing is missing"):
        package.decoded_manifest("nothing")


@pytest.mark.parametrize("encoding", ["ascii", "utf-16", "utf-8-sig"])
def test_an_msu_around_a_cabinet(made: MadePackage, tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "made.msu"
    path.write_bytes(msu(made, PROPERTIES.encode(encoding)))
    package = expand(path, tmp_path / "work")
    assert package.kind is ContainerKind.MSU
    assert package.source == path
    assert package.description.article == "KB7654321"
    ((identity, cabinet),) = package.description.installs
    assert (identity.package_name, cabinet) == (package.top.name, "Made.CAB")
    facts = inspect(path, tmp_path / "inspect")
    assert (facts.kind, facts.article) == (ContainerKind.MSU, "KB1234567")
    assert facts.support_url == "http://example.org/?kbid=7654321"


def test_nested_cabinets_are_opened_to_a_depth(made: MadePackage, tmp_path: Path) -> None:
    data = build_cabinet(made.files)
    for depth in range(1, 5):
        data = build_cabinet({"cablist.ini": b"[list]", "inner.cab": data})
        (tmp_path / f"{depth}.cab").write_bytes(data)
    package = expand(tmp_path / "3.cab", tmp_path / "3")
    assert package.top.raw == made.files["update.mum"]
    with pytest.raises(DamagedPackage, match="nested more than 3 deep"):
        expand(tmp_path / "4.cab", tmp_path / "4")


def test_a_child_package_has_its_own_catalog(
    made: MadePackage, root: PracticeRoot, policy: TrustPolicy, tmp_path: Path
) -> None:
    child = mum("Made-Child")
    files = {"Made-Child~x.mum": child, "Made-Child~x.cat": signed_catalog(root, [child])}
    package = expand(made.changed(files).write(tmp_path / "made.cab"), tmp_path / "work")
    identity = parse_package_name(f"MADE-CHILD~{TOKEN}~AMD64~~1.2.3.4")
    found = package.package(identity)
    assert found is not None
    assert found.catalog is not None
    assert found.catalog.thumbprint != package.catalogs[0].thumbprint
    assert len(package.catalogs) == 2
    verify(package, policy)
    assert package.package(parse_package_name(f"Other~{TOKEN}~amd64~~1.2.3.4")) is None


def test_a_catalog_beside_no_package_vouches_for_nothing(
    made: MadePackage, root: PracticeRoot, tmp_path: Path
) -> None:
    evil = component("Evil", {})
    keyform = made_keyform("Evil")
    files = {f"{keyform}.manifest": evil, "evil.cat": signed_catalog(root, [evil])}
    package = expand(made.changed(files).write(tmp_path / "made.cab"), tmp_path / "work")
    with pytest.raises(Untrusted, match="no catalog lists"):
        package.decoded_manifest(keyform)


def test_the_branch_forward_twin_stands_apart(
    made: MadePackage, root: PracticeRoot, tmp_path: Path
) -> None:
    twin = mum("Made-Package", "<update name='other'/>")
    files = {"update-bf.mum": twin, "update-bf.cat": signed_catalog(root, [twin])}
    package = expand(made.changed(files).write(tmp_path / "made.cab"), tmp_path / "work")
    assert package.branch_forward is not None
    assert package.branch_forward.raw == twin
    assert package.top.raw == made.files["update.mum"]


@pytest.mark.parametrize(
    "files",
    [
        {"other.mum": mum("Made-Package", "<update name='other'/>")},
        {"update.mum": b"no XML"},
        {"update.mum": b"<assembly/>"},
        {"update.cat": b"no catalog"},
        {"update.cat": b""},
    ],
)
def test_broken_packages_are_damage(
    made: MadePackage, files: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(DamagedPackage):
        expand(made.changed(files).write(tmp_path / "made.cab"), tmp_path / "work")


def test_compressed_manifests_need_the_base_and_are_proved_by_the_catalog(
    made: MadePackage, policy: TrustPolicy, tmp_path: Path
) -> None:
    name = f"{made.component_keyform}.manifest"
    plain = made.files[name]
    base = plain[:90]
    stored = delta(patch_stream([Copy(90, slot=3), plain[90:]]), plain, digest=b"", algorithm=0)
    changed = made.changed({name: b"DCM\x01" + stored})
    package = expand(changed.write(tmp_path / "made.cab"), tmp_path / "work")
    assert package.manifests[made.component_keyform].compressed
    assert not package.manifests[made_keyform(DEPLOYMENT)].compressed
    assert package.decoded_manifest(made.component_keyform, base) == plain
    verify(package, policy, base_manifest=base)
    with pytest.raises(DamagedPackage, match="no base manifest is at hand"):
        package.decoded_manifest(made.component_keyform)
    with pytest.raises(Untrusted) as refusal:
        verify(package, policy, base_manifest=b"?" * 90)
    assert refusal.value.reason == "untrusted:manifest-hash"


def test_properties_are_read_line_by_line() -> None:
    text = 'A="b c"\r\n\r\nnonsense\r\n  D = e\r\nF="x=y"'
    assert parse_properties(text.encode()) == {"A": "b c", "D": "e", "F": "x=y"}
    with pytest.raises(DamagedPackage):
        parse_properties(b"\xff\xfeA")


@pytest.mark.parametrize(
    "changes",
    [{"Made.xml": b"<broken"}, {"Made-pkgProperties.txt": b"\xff\xfe\0"}, {"Made.cab": b"MSCF"}],
)
def test_a_broken_msu_is_damage(
    made: MadePackage, changes: dict[str, bytes], tmp_path: Path
) -> None:
    inside = {"WSUSSCAN.cab": b"", "Made.cab": build_cabinet(made.files), **changes}
    (tmp_path / "made.msu").write_bytes(build_cabinet(inside))
    with pytest.raises(DamagedPackage):
        expand(tmp_path / "made.msu", tmp_path / "work")


def test_the_real_satellite_package(real: Path, base_manifest: bytes, tmp_path: Path) -> None:
    (cabinet,) = (real / "cbs").glob("*en-US*.cab")
    package = expand(cabinet, tmp_path / "work")
    assert len(package.packages) == 2
    assert len(package.manifests) == 5
    (child,) = package.top.manifest.children
    assert package.package(child.identity) is not None
    assert package.top.manifest.unknown == ()
    advanced = [
        parse_component(package.decoded_manifest(keyform, base_manifest)).advanced
        for keyform in package.manifests
    ]
    assert advanced == [()] * 5
    facts = inspect(cabinet, tmp_path / "inspect")
    assert (facts.title, facts.language) == ("Internet Explorer 11", "en-US")
    assert facts.obstacles == ()


def test_the_real_neutral_package_names_its_advanced_elements(
    real: Path, base_manifest: bytes, tmp_path: Path
) -> None:
    (cabinet,) = (real / "cbs").glob("*amd64~~.cab")
    package = expand(cabinet, tmp_path / "work")
    advanced = {
        name
        for keyform in package.manifests
        for name in parse_component(package.decoded_manifest(keyform, base_manifest)).advanced
    }
    assert advanced == {
        "configuration",
        "ConfigureIEOptionalComponentsAI",
        "SetIEInstalledDateAI",
        "feature",
    }
    assert len(package.top.manifest.parents) == 2
    assert package.top.manifest.capabilities[0].name == "Browser.InternetExplorer"


def test_real_index_packages_are_described(real: Path, tmp_path: Path) -> None:
    facts = inspect(real / "msu" / "Windows6.1-KB2999226-x64.msu", tmp_path / "inspect")
    assert facts.kind is ContainerKind.MSU
    assert facts.identity is not None
    assert facts.identity.package_name == "Package_for_KB2999226~31bf3856ad364e35~amd64~~6.1.1.6"
    assert (facts.article, facts.restart) == ("KB2999226", "possible")
    assert facts.obstacles == ()
    assert len(facts.parents[0].identities) == 2
    (kb,) = (real / "cbs").glob("Windows6.1-KB2883457*.cab")
    described = inspect(kb, tmp_path / "kb")
    assert (described.article, described.release_type) == ("KB2883457", "Security Update")


def test_real_cabinets_of_other_things_are_no_packages(real: Path, tmp_path: Path) -> None:
    reasons = set()
    for number, path in enumerate(sorted((real / "cab").glob("*.cab"))):
        with pytest.raises((NotSupported, DamagedInput)) as refusal:
            expand(path, tmp_path / str(number))
        if isinstance(refusal.value, NotSupported):
            reasons.add(refusal.value.reason)
    assert reasons == {"not-cbs"}
