"""Containers that are refused by name: each code with its sentence, from made files."""

import os
from pathlib import Path

import pytest

from offline.packages.made import component_identity, identity_xml, mum
from wimsmith.errors import DamagedPackage, NotSupported
from wimsmith.offline.packages.containers.kinds import ContainerKind
from wimsmith.offline.packages.facts import inspect
from wimsmith.offline.packages.package import expand
from wimsmith.practice.cabinet import build_cabinet

TOP = mum("Made-Package")
KEYFORM = "amd64_made_0123456789abcdef_1.2.3.4_none_0123456789abcdef"
INDEX = b'<Container xmlns="urn:ContainerIndex" type="CAB">%s<Files/></Container>'
PROPERTIES = b'KB Article Number="1234567"\r\n'


def refusal(path: Path, folder: Path) -> NotSupported:
    with pytest.raises(NotSupported) as refused:
        expand(path, folder / "work")
    facts = inspect(path, folder / "inspect")
    assert [one.code for one in facts.obstacles] == [refused.value.reason]
    assert facts.obstacles[0].text == refused.value.args[1]
    return refused.value


@pytest.mark.parametrize(
    ("name", "data", "code", "sentence"),
    [
        ("a.msu", b"MSWIM\0\0\0" + bytes(200), "container-wim", "an update in a WIM container"),
        ("a.esd", b"MSWIM\0\0\0" + bytes(200), "not-cbs", "a Windows image"),
        ("a.exe", b"MZ" + bytes(200), "not-cbs", "a program"),
        ("a.msi", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(200), "not-cbs", "Installer file"),
        ("a.appx", b"PK\x03\x04" + bytes(200), "not-cbs", "app package"),
        ("a.psf", b"PSTREAM\0" + bytes(200), "psfx", "differentials"),
        ("a.txt", b"plain text", "not-cbs", "not a cabinet"),
    ],
)
def test_other_files(tmp_path: Path, name: str, data: bytes, code: str, sentence: str) -> None:
    (tmp_path / name).write_bytes(data)
    refused = refusal(tmp_path / name, tmp_path)
    assert refused.reason == code
    assert sentence in str(refused)


@pytest.mark.parametrize(
    ("name", "files", "code", "sentence"),
    [
        ("a-express.cab", {"update.mum": TOP}, "express", "deltas against older ones"),
        ("a-baseless.cab", {"update.mum": TOP}, "baseless", "need others from outside"),
        ("a.cab", {"update.mum": TOP, "express.psf.cix.xml": b""}, "psfx", "differentials"),
        ("a.cab", {"update.mum": TOP, "a.psf": b""}, "psfx", "differentials"),
        ("a.cab", {"update.mum": TOP, f"{KEYFORM}\\f\\a.dll": b"PA30"}, "psfx", "differentials"),
        ("a.cab", {"update.mum": TOP, f"{KEYFORM}\\n\\a.dll": b"PA30"}, "psfx", "differentials"),
        ("a.cab", {"LCUCompDB_KB1.xml.cab": b""}, "uup", "metadata of a unified update"),
        ("a.cab", {"onepackage.AggregatedMetadata.cab": b""}, "uup", "metadata"),
        ("a.cab", {"driver.inf": b"", "driver.sys": b""}, "not-cbs", "a driver cabinet"),
        ("a.cab", {"FodMetadata.xml": b""}, "not-cbs", "metadata of features on demand"),
        ("a.cab", {"readme.txt": b""}, "not-cbs", "no update.mum"),
        (
            "a.cab",
            {"update.mum": TOP, "_manifest_.cix.xml": INDEX % b""},
            "not-cbs",
            "no update.mum",
        ),
        (
            "a.cab",
            {
                "update.mum": TOP,
                "_manifest_.cix.xml": INDEX
                % b'<DeltaBasisSearch><Location id="1" path="%windir%"/></DeltaBasisSearch>',
            },
            "express",
            "files that it does not hold",
        ),
    ],
)
def test_other_cabinets(
    tmp_path: Path, name: str, files: dict[str, bytes], code: str, sentence: str
) -> None:
    (tmp_path / name).write_bytes(build_cabinet(files))
    refused = refusal(tmp_path / name, tmp_path)
    assert refused.reason == code
    assert sentence in str(refused)


def test_a_component_folder_named_like_a_differential_needs_a_keyform(tmp_path: Path) -> None:
    (tmp_path / "a.cab").write_bytes(build_cabinet({"update.mum": TOP, "tools\\f\\a.dll": b""}))
    assert expand(tmp_path / "a.cab", tmp_path / "work").top.name.startswith("Made-Package")


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"a.cab": b"", "a.psf": b""}, "psfx"),
        ({"a-express.cab": b""}, "express"),
        ({"a-baseless.cab": b""}, "baseless"),
        ({"LCUCompDB_KB1.xml.cab": b""}, "uup"),
    ],
)
def test_update_sets(tmp_path: Path, files: dict[str, bytes], code: str) -> None:
    data = build_cabinet({"WSUSSCAN.cab": b"", "x-pkgProperties.txt": PROPERTIES, **files})
    (tmp_path / "a.msu").write_bytes(data)
    assert refusal(tmp_path / "a.msu", tmp_path).reason == code


def test_an_update_set_around_something_else(tmp_path: Path) -> None:
    data = build_cabinet({"WSUSSCAN.cab": b"", "a.cab": b"MZ a program"})
    (tmp_path / "a.msu").write_bytes(data)
    assert refusal(tmp_path / "a.msu", tmp_path).reason == "not-cbs"


def test_an_update_set_around_nothing_is_damage(tmp_path: Path) -> None:
    (tmp_path / "a.msu").write_bytes(build_cabinet({"WSUSSCAN.cab": b""}))
    with pytest.raises(DamagedPackage):
        expand(tmp_path / "a.msu", tmp_path / "work")


@pytest.mark.parametrize("data", [b"", b"MSCF" + bytes(100)])
def test_empty_and_broken_files_are_damage(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.msu").write_bytes(data)
    with pytest.raises(DamagedPackage):
        expand(tmp_path / "a.msu", tmp_path / "work")


def test_a_package_that_says_it_is_made_of_differentials(tmp_path: Path) -> None:
    inside = '<customInformation PackageFormat="PSFX"/>'
    (tmp_path / "a.cab").write_bytes(build_cabinet({"update.mum": mum("P", inside)}))
    assert refusal(tmp_path / "a.cab", tmp_path).reason == "psfx"


OFFLINE = '<packageExtended packageSize="1" completelyOfflineCapable="no"/>'
DRIVER = f'<update name="u"><driver inf="a.inf">{identity_xml("D")}</driver></update>'
ELEVATE = (
    '<update name="u"><applicable disposition="staged"><updateComponent elevate="distribution">'
    f"{component_identity('C')}</updateComponent></applicable></update>"
)
RIDDLE = '<update name="u"><applicable><riddle/></applicable></update>'


@pytest.mark.parametrize(
    ("top", "code", "sentence"),
    [
        (mum("P", OFFLINE), "not-offline-capable", "cannot be installed offline"),
        (mum("P", DRIVER), "driver-element", "installs drivers"),
        (mum("P", ELEVATE), "elevate-unproven", "distribution"),
        (mum("P", RIDDLE), "elevate-unproven", "riddle"),
        (mum("P", "<mystery/>"), "advanced-new:package/mystery", "which is unknown"),
        (mum("P", attributes='releaseType="Service Pack"'), "service-pack", "service pack"),
        (mum("Microsoft-Windows-Client-LanguagePack-Package"), "language-pack", "language pack"),
        (mum("Some-Language-Pack-Thing"), "language-pack", "language pack"),
        (mum("Package_for_Hotpatch"), "hotpatch", "running programs"),
        (
            mum("X-ProfessionalEdition-Edition", attributes='targetEdition="Professional"'),
            "edition-upgrade",
            "Professional",
        ),
    ],
)
def test_what_a_package_manifest_alone_rules_out(
    tmp_path: Path, top: bytes, code: str, sentence: str
) -> None:
    (tmp_path / "a.cab").write_bytes(build_cabinet({"update.mum": top}))
    facts = inspect(tmp_path / "a.cab", tmp_path / "work")
    assert [one.code for one in facts.obstacles] == [code]
    assert sentence in facts.obstacles[0].text


@pytest.mark.parametrize(
    "top",
    [
        mum("P", attributes='releaseType="Language Pack"'),  # the satellite of a feature
        mum("P", '<packageExtended completelyOfflineCapable="yes"/>'),
        mum("P", ELEVATE.replace("distribution", "revision")),
        mum("Some-Edition-Thing"),
    ],
)
def test_what_rules_nothing_out(tmp_path: Path, top: bytes) -> None:
    (tmp_path / "a.cab").write_bytes(build_cabinet({"update.mum": top}))
    assert inspect(tmp_path / "a.cab", tmp_path / "work").obstacles == ()


def test_a_folder_or_pipe_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "a.cab").mkdir()
    os.mkfifo(tmp_path / "b.cab")
    for name in ("a.cab", "b.cab"):
        with pytest.raises(DamagedPackage):
            expand(tmp_path / name, tmp_path / "work")


def test_a_link_to_a_package_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a.cab").write_bytes(build_cabinet({"update.mum": TOP}))
    (tmp_path / "b").symlink_to(tmp_path / "a.cab")
    assert expand(tmp_path / "b", tmp_path / "work").kind is ContainerKind.CABINET


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    payload = build_cabinet({"update.mum": TOP, "empty.bin": b""}, trailing=b"signature")
    update_set = build_cabinet(
        {
            "WSUSSCAN.cab": b"",
            "a-pkgProperties.txt": PROPERTIES,
            "readme.html": b"<html>",
            "something.new": b"\0" * 99,
            "a.cab": payload,
        },
        compress=False,
        reserve=b"r" * 20,
    )
    (tmp_path / "cab.msu").write_bytes(payload)
    (tmp_path / "msu.cab").write_bytes(update_set)
    (tmp_path / "none").write_bytes(payload)
    kinds = {
        name: expand(tmp_path / name, tmp_path / f"{name}-work").kind
        for name in ("cab.msu", "msu.cab", "none")
    }
    assert kinds == {
        "cab.msu": ContainerKind.CABINET,
        "msu.cab": ContainerKind.MSU,
        "none": ContainerKind.CABINET,
    }
