"""Names of generated stores, checked on names that Microsoft's tools made."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith.practice.names import (
    Identity,
    component_key,
    deployment_key,
    file_value,
    identity_text,
    reference_value,
    text_hash,
    winners_key,
)


def _identity(row: Mapping[str, str]) -> Identity:
    return Identity(
        row["name"],
        row["version"],
        row["processorArchitecture"],
        row["language"],
        row["publicKeyToken"],
        row["versionScope"],
        row["type"],
    )


def test_every_real_component_name_is_reproduced(real: Path) -> None:
    with (real / "vectors" / "keyforms.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) > 50
    assert [component_key(_identity(row)) for row in rows] == [row["keyform"] for row in rows]


def test_known_component_names() -> None:
    """Published names: a plain one, one with a long name, one with a type."""
    names = [
        component_key(Identity(name, version, token="31bf3856ad364e35", type=kind))
        for name, version, kind in (
            ("0472ac4ea845f224500a0ebe11b828d8", "6.1.7601.18937", ""),
            ("dual_netvg63a.inf", "10.0.26100.1", "dualModeDriver"),
        )
    ]
    assert names == [
        "amd64_0472ac4ea845f224500a0ebe11b828d8_31bf3856ad364e35_6.1.7601.18937_none_13e315de6b893642",
        "amd64_dual_netvg63a.inf_31bf3856ad364e35_10.0.26100.1_none_9162a10543917fc7",
    ]


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
def test_published_reference_names_are_reproduced(identifier: str, expected: str) -> None:
    assert reference_value("i", identifier) == expected


def test_a_deployment_carries_the_hash_of_its_own_component_name() -> None:
    """Seen in public store listings: both names of a deployment end in the same hash."""
    identity = Identity("Microsoft-Practice-Feature-Deployment-LanguagePack", "10.0.1.2")
    name = deployment_key(identity)
    assert name.startswith("microsoft-p..anguagepack_")
    assert name.rpartition("_")[2] == component_key(identity).rpartition("_")[2]


def test_file_values_are_cut_after_25_characters() -> None:
    assert file_value("AssignedAccessRuntime.dll") == "f!AssignedAccessRuntime.dll"
    name = "ProactiveTelemetryInterface.js"
    assert file_value(name) == f"f!{name[:25]}_{text_hash(name):016x}"


def test_identity_text_says_the_type_before_the_version() -> None:
    identity = Identity("A", "1.2.3.4", language="en-US", type="win32", version_scope="")
    assert identity_text(identity) == (
        "A, Culture=en-US, Type=win32, Version=1.2.3.4, PublicKeyToken=7072616374696365,"
        " ProcessorArchitecture=amd64"
    )


def test_package_names() -> None:
    name = "Package_for_KB1~31bf3856ad364e35~amd64~~1.0.2.0"
    identity = Identity.package(name)
    assert identity.package_name == name
    assert identity.index_name == "Package_for_KB1~31bf3856ad364e35~amd64~~0.0.0.0"


_NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=80)


@given(_NAMES, st.sampled_from(["amd64", "wow64", "x86", "msil"]))
def test_names_keep_their_form(name: str, architecture: str) -> None:
    identity = Identity(name, "1.2.3.4", architecture)
    key = component_key(identity)
    assert re.fullmatch(
        rf"{architecture}_[a-z0-9.]{{1,40}}_[0-9a-f]{{16}}_1\.2\.3\.4_none_[0-9a-f]{{16}}", key
    )
    assert component_key(identity) == key.lower()
    other = identity.at("1.2.3.5")
    assert component_key(other) != key
    assert winners_key(other) == winners_key(identity)
