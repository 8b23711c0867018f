"""Names of the component store, against real and published ones."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith.errors import DamagedManifest
from wimsmith.offline.manifests.identity import (
    AssemblyIdentity,
    Version,
    identity_from_attributes,
    parse_package_name,
)
from wimsmith.offline.manifests.names import (
    deployment_key,
    file_value_name,
    identity_string,
    keyform,
    keyform_without_version,
    reference_value_name,
    string_hash,
)


def identity(name: str, version: str, **attributes: str) -> AssemblyIdentity:
    known = {
        "name": name,
        "version": version,
        "processorArchitecture": "amd64",
        "language": "neutral",
        "publicKeyToken": "31bf3856ad364e35",
        "versionScope": "nonSxS",
    }
    return identity_from_attributes(known | attributes)


ESU = identity("Microsoft-Windows-SLC-Component-ExtendedSecurityUpdatesAI", "6.1.7603.25000")


def test_every_real_component_name_is_computed(real: Path) -> None:
    with (real / "vectors" / "keyforms.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    computed = [keyform(identity_from_attributes(row)) for row in _without_answers(rows)]
    assert computed == [row["keyform"] for row in rows]
    assert len(rows) >= 95


def _without_answers(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{key: row[key] for key in row if key not in {"keyform", "ok"}} for row in rows]


@pytest.mark.parametrize(
    ("architecture", "version", "expected"),
    [
        ("amd64", "6.1.7603.25000", "caceb5163345f228"),
        ("x86", "6.1.7603.25000", "6eb019927ae880f2"),
        ("amd64", "6.1.7602.26174", "c8a07a4e3654e54a"),
        ("x86", "6.1.7602.26174", "6c81deca7df77414"),
    ],
)
def test_published_component_names(architecture: str, version: str, expected: str) -> None:
    one = identity(ESU.name, version, processorArchitecture=architecture)
    assert keyform(one) == (
        f"{architecture}_microsoft-windows-s..edsecurityupdatesai_31bf3856ad364e35_"
        f"{version}_none_{expected}"
    )


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (
            ESU,
            "amd64_microsoft-windows-s..edsecurityupdatesai_31bf3856ad364e35_none_0e8b36cfce2fb332",
        ),
        (
            identity(ESU.name, "6.1.7603.25000", processorArchitecture="x86"),
            "x86_microsoft-windows-s..edsecurityupdatesai_31bf3856ad364e35_none_b26c9b4c15d241fc",
        ),
        (
            identity(
                "Microsoft.Windows.Common-Controls",
                "6.0.26100.8037",
                publicKeyToken="6595b64144ccf1df",
                versionScope="",
                type="win32",
            ),
            "amd64_microsoft.windows.common-controls_6595b64144ccf1df_none_62fe57338acfab7a",
        ),
    ],
)
def test_published_names_of_winners_leave_the_version_out(
    one: AssemblyIdentity, expected: str
) -> None:
    assert keyform_without_version(one) == expected


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (
            identity("Windows Foundation", "6.1.7601.17514"),
            "windowsfoundation_31bf3856ad364e35_6.1.7601.17514_615fdfe2a739474c",
        ),
        (
            identity("WinPE", "6.1.7601.17514"),
            "winpe_31bf3856ad364e35_6.1.7601.17514_b103c6caf44fb2e9",
        ),
        (
            identity("microsoft-windows-client-desktop-required-deployment050", "10.0.26100.8037"),
            "microsoft-w..ployment050_31bf3856ad364e35_10.0.26100.8037_aa6931116f1f24c1",
        ),
    ],
)
def test_published_deployment_keys(one: AssemblyIdentity, expected: str) -> None:
    assert deployment_key(one) == expected


def test_published_identity_strings() -> None:
    assert identity_string(ESU) == (
        "Microsoft-Windows-SLC-Component-ExtendedSecurityUpdatesAI, Culture=neutral, "
        "Version=6.1.7603.25000, PublicKeyToken=31bf3856ad364e35, "
        "ProcessorArchitecture=amd64, versionScope=NonSxS"
    )
    shared = identity("Some.Controls", "6.0.1.2", versionScope="", type="win32", language="en-US")
    assert identity_string(shared) == (
        "Some.Controls, Culture=en-US, Type=win32, Version=6.0.1.2, "
        "PublicKeyToken=31bf3856ad364e35, ProcessorArchitecture=amd64"
    )


def test_file_values_keep_25_characters_and_the_case() -> None:
    assert file_value_name("AssignedAccessRuntime.dll") == "f!AssignedAccessRuntime.dll"
    published = "f!windows.media.speech.uxre_be5691ea15f31de0"
    assert file_value_name("windows.media.speech.uxres.dll") == published
    assert file_value_name("Windows.Media.Speech.UXRes.dll").lower() == published


def test_files_in_folders_are_named_as_windows_separates_them() -> None:
    assert file_value_name("sub/tool.exe") == "f!sub\\tool.exe"
    long = "folder/a-name-of-more-than-25.txt"
    assert file_value_name(long) == file_value_name(long.replace("/", "\\"))


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (
            "Package_4_for_KB948610~31bf3856ad364e35~x86~~6.0.6001.2123.948610-238_neutral_GDR",
            "i!CBS_package_4_for_kb948610~31bf3856ad364e35~x86~~6.0.6001.2123.9_9239eb5df3a843a1",
        ),
        (
            "Microsoft-Windows-NetFx4-OC-Package~31bf3856ad364e35~amd64~~10.0.17763.1.NetFx4",
            "i!CBS_microsoft-windows-netfx4-oc-package~31bf3856ad364e35~amd64~~_13acec2cc6eef42a",
        ),
    ],
)
def test_published_reference_values(identifier: str, expected: str) -> None:
    assert reference_value_name("i!", identifier) == expected


def test_package_names_and_their_index() -> None:
    one = identity("Some-Package", "10.0.1.2", language="en-US")
    assert one.package_name == "Some-Package~31bf3856ad364e35~amd64~en-US~10.0.1.2"
    assert one.package_index_name == "Some-Package~31bf3856ad364e35~amd64~en-US~0.0.0.0"
    assert identity("P", "1.0.0.0").package_name == "P~31bf3856ad364e35~amd64~~1.0.0.0"


def test_versions_order_as_numbers() -> None:
    assert Version.parse("10.0.19041.1000") > Version.parse("10.0.19041.999")
    assert Version.parse("10.0.1.1").branch == "10.0"


@pytest.mark.parametrize(
    "text", ["", "1", "1.2.3", "1.2.3.4.5", "1.2.3.65536", "1.2.3.x", "\uff11.2.3.4"]
)
def test_malformed_versions_are_refused(text: str) -> None:
    with pytest.raises(DamagedManifest):
        Version.parse(text)


@pytest.mark.parametrize("name", ["", "..\\x", "a/b", "a:b", "a\x00", "x" * 2000, "a~b", "Größe"])
def test_an_identity_cannot_leave_the_folder_its_name_goes_to(name: str) -> None:
    with pytest.raises(DamagedManifest):
        identity(name, "1.0.0.0")


versions = st.builds(Version, *[st.integers(0, 0xFFFF)] * 4)
names = st.text(
    st.characters(codec="ascii", exclude_characters='/\\:*?"<>|~', exclude_categories=["Cc"]),
    min_size=1,
).filter(lambda text: text.strip(" \t\r\n") == text)


@given(name=names, version=versions, language=st.sampled_from(["", "en-US", "zh-Hant-TW"]))
def test_package_names_read_back(name: str, version: Version, language: str) -> None:
    one = AssemblyIdentity(name, version, "amd64", language, "31bf3856ad364e35")
    back = parse_package_name(one.package_name)
    assert back.package_name == one.package_name
    assert back.family == one.family
    assert keyform(back) == keyform(one)


@given(st.text())
def test_the_hash_ignores_case_and_fits_64_bits(text: str) -> None:
    assert string_hash(text) == string_hash(text.lower())
    assert 0 <= string_hash(text) < 1 << 64
