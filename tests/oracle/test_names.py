"""The oracle's own names, against names that real packages carry."""

import csv
from pathlib import Path

import pytest

from oracle.names import (
    Identity,
    component_key,
    deployment_key,
    file_value,
    identity_text,
    index_name,
    reference_value,
)

WINDOWS = "31bf3856ad364e35"


def test_real_store_names_are_recomputed(real: Path) -> None:
    with (real / "vectors" / "keyforms.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) > 80
    for row in rows:
        identity = Identity(
            row["name"],
            row["version"],
            row["processorArchitecture"],
            row["language"],
            row["publicKeyToken"],
            row["versionScope"] or "",
            row["type"] or "",
        )
        assert component_key(identity) == row["keyform"]


@pytest.mark.parametrize(
    ("name", "version", "key"),
    [
        (
            "Windows Foundation",
            "6.1.7601.17514",
            "windowsfoundation_31bf3856ad364e35_6.1.7601.17514_615fdfe2a739474c",
        ),
        ("WinPE", "6.1.7601.17514", "winpe_31bf3856ad364e35_6.1.7601.17514_b103c6caf44fb2e9"),
    ],
)
def test_published_deployment_keys_are_recomputed(name: str, version: str, key: str) -> None:
    identity = Identity(name, version, "amd64", "neutral", WINDOWS, "nonSxS")
    assert deployment_key(identity) == key


def test_a_published_reference_name_is_recomputed() -> None:
    identifier = "Package_4_for_KB948610~31bf3856ad364e35~x86~~6.0.6001.2123.948610-238_neutral_GDR"
    assert reference_value("i", identifier).endswith("_9239eb5df3a843a1")
    assert reference_value("i", identifier).startswith("i!CBS_package_4_for_kb948610~31bf")


def test_other_forms() -> None:
    identity = Identity("A Name", "10.0.1.2", "amd64", "en-US", WINDOWS, "nonSxS")
    assert identity.package_name == f"A Name~{WINDOWS}~amd64~en-US~10.0.1.2"
    assert index_name(identity) == f"A Name~{WINDOWS}~amd64~en-US~0.0.0.0"
    assert identity_text(identity) == (
        f"A Name, Culture=en-US, Version=10.0.1.2, PublicKeyToken={WINDOWS}, "
        "ProcessorArchitecture=amd64, versionScope=NonSxS"
    )
    assert file_value("x" * 25) == "f!" + "x" * 25
    assert file_value("x" * 26).startswith("f!" + "x" * 25 + "_")
