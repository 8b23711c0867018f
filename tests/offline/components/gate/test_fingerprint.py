"""What a fingerprint says, and above all what it does not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from offline.components.gate.breaking import CBS, COMPONENTS, ForeignImage, number
from offline.components.gate.conftest import SMALL, Gate
from wimsmith.offline.components.gate.fingerprint import FORMAT, fingerprint, is_public
from wimsmith.offline.components.gate.report import CalibrationReport, Example, RuleReport
from wimsmith.practice.image import build_image
from wimsmith.practice.maker import program
from wimsmith.practice.names import Identity
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.security import Ace, Descriptor
from wimsmith.practice.spec import (
    DESCRIPTORS,
    ComponentSpec,
    DeploymentSpec,
    FileSpec,
    KeySpec,
    PackageSpec,
    UpdateEntry,
    ValueSpec,
)

COMPANY = "Contoso-Payroll"
USER, COMPUTER = "anneliese.mustermann", "FINANCE-PC-17"
PRODUCT = "00330-80000-00000-AA123"
ACCOUNT = "S-1-5-21-1111111111-2222222222-3333333333-1001"
PRIVATE = (COMPANY, USER, COMPUTER, PRODUCT, ACCOUNT, "payroll", "1111111111", "00330")
FIELDS = {"format", "wimsmith", "full", "sample", "store", "health", "rules"}
RULE_FIELDS = {
    "name",
    "word",
    "needed",
    "checked",
    "matched",
    "differing",
    "exempt",
    "examples",
    "figures",
}
CURRENT_VERSION = r"Microsoft\Windows NT\CurrentVersion"
PACKAGES = rf"{CBS}\Packages"


@pytest.fixture
def company_image(tmp_path: Path, practice_signer: PracticeRoot) -> ForeignImage:
    """An image with a component of a company, an account of a domain, a user and a computer."""
    account = Descriptor(ACCOUNT, "SY", (Ace("FA", ACCOUNT),))
    file = FileSpec(f"{COMPANY}.dll", program(COMPANY), security="OURS")
    key = KeySpec(
        rf"HKEY_LOCAL_MACHINE\SOFTWARE\{COMPANY}", (ValueSpec("User", "REG_EXPAND_SZ", USER),)
    )
    component = ComponentSpec(
        Identity(COMPANY, "1.0.0.0", token="c0ffee00c0ffee00"),
        (file,),
        (key,),
        descriptors={**DESCRIPTORS, "OURS": account},
    )
    deployment = DeploymentSpec(
        Identity(f"{COMPANY}-Deployment", "1.0.0.0", token="c0ffee00c0ffee00"), (component,)
    )
    identity = Identity.package(f"{COMPANY}-Package~c0ffee00c0ffee00~amd64~~1.0.0.0")
    package = PackageSpec(identity, (UpdateEntry(COMPANY, deployment),))
    path = tmp_path / "company.wim"
    build_image(replace(SMALL, extra_packages=(package,)), path, root=practice_signer)
    image = ForeignImage(path, tmp_path / "image")
    _plant(image)
    return image


def _plant(image: ForeignImage) -> None:
    """Private texts where reports look, and facts that differ beside them."""
    with image.hive("SOFTWARE") as hive:
        hive.set(CURRENT_VERSION, "RegisteredOwner", f"string:{USER}")
        hive.set(CURRENT_VERSION, "ProductId", f"string:{PRODUCT}")
        hive.set(COMPANY, "User", f"string:{COMPUTER}")
        own = next(name for name in hive.keys(PACKAGES) if COMPANY in name)
        hive.set(rf"{PACKAGES}\{own}", "InstallUser", f"string:{ACCOUNT}")
        hive.set(rf"{PACKAGES}\{own}", "CurrentState", number(0x33))
        hive.set(rf"{PACKAGES}\{own}\Owners", COMPUTER, number(0x20070))
        hive.add(rf"{PACKAGES}\{USER}", {"CurrentState": number(0x70)})
        hive.add(rf"{CBS}\ComponentDetect\{COMPUTER}", {USER: f"string:{PRODUCT}"})
        hive.add(rf"{CBS}\UpdateDetect\{COMPUTER}", {USER: f"string:{PRODUCT}"})
    with image.hive("SYSTEM") as hive:
        hive.set(r"ControlSet001\Services\Tcpip\Parameters", "Hostname", f"string:{COMPUTER}")
    with image.hive("COMPONENTS") as hive:
        key = next(name for name in hive.keys(COMPONENTS) if "contoso-payroll_" in name)
        hive.set(rf"{COMPONENTS}\{key}", f"f!{USER}.dll", number(1))
        hive.set(rf"{COMPONENTS}\{key}", "identity", f"string:{COMPUTER}")
        hive.set(rf"{COMPONENTS}\{key}", f"c!{USER}", number(1))


def test_nothing_private_goes_out(company_image: ForeignImage, gate: Gate) -> None:
    health, report = gate(company_image.path)
    told = json.dumps(report.as_data()).lower()
    assert all(text.lower() in told for text in (COMPANY, USER, COMPUTER)), "they were in sight"
    assert {one.code for one in report.findings} >= {
        "calibration:identity",
        "calibration:f!",
        "calibration:c!",
        "calibration:owners",
        "calibration:states",
        "calibration:package-name",
        "calibration:detect",
    }
    sent = json.dumps(fingerprint(report, health)).lower()
    assert [text for text in PRIVATE if text.lower() in sent] == []


def test_every_field_is_one_of_the_documented_ones(small_image: Path, gate: Gate) -> None:
    health, report = gate(small_image)
    sent = fingerprint(report, health)
    assert set(sent) == FIELDS
    assert all(set(rule) == RULE_FIELDS for rule in sent["rules"])
    assert sent["format"] == FORMAT
    assert sent["store"]["windows"] == "10.0.19041.600"
    assert sent["store"]["servicing stack"] == "10.0.19041.1"
    guide = (Path(__file__).parents[4] / "docs/guides/calibration.md").read_text()
    assert all(f"`{field}`" in guide for field in FIELDS | RULE_FIELDS)
    assert all(f"`{rule['name']}`" in guide for rule in sent["rules"])


def one_rule(*subjects: str) -> CalibrationReport:
    examples = tuple(Example(subject, "a text that stays here") for subject in subjects)
    return CalibrationReport(
        (RuleReport("keyform", True, 1, len(subjects), {}, examples, {}, False),)
    )


def test_hidden_names_can_be_compared_within_one_fingerprint_only() -> None:
    report = one_rule("amd64_ours_c0ffee00c0ffee00_1.0.0.0_none_0123456789abcdef", "other", "OTHER")
    first, second, third = fingerprint(report)["rules"][0]["examples"]
    assert second == third != first
    assert all(name.startswith("hidden:") for name in (first, second))
    assert fingerprint(report)["rules"][0]["examples"] != [first, second, third]
    assert "stays here" not in json.dumps(fingerprint(report))


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("Microsoft-Windows-Foundation-Package~31bf3856ad364e35~amd64~~10.0.19041.1", True),
        ("Package_for_KB1~31bf3856ad364e35~amd64~de-DE~1.0.0.0", True),
        ("amd64_microsoft-windows-a..b_31bf3856ad364e35_10.0.1.1_none_0123456789abcdef", True),
        ("x86_system.web_b03f5f7f11d50a3a_none_0123456789abcdef", True),
        ("microsoft-w..-deployment_31bf3856ad364e35_10.0.1.1_0123456789abcdef", True),
        ("Contoso~c0ffee00c0ffee00~amd64~~1.0.0.0", False),
        ("Contoso~31bf3856ad364e35", False),
        ("31bf3856ad364e35", False),
        ("C:/Users/anneliese_31bf3856ad364e35_x", False),
        (r"ComponentDetect\Contoso~31bf3856ad364e35~amd64~~1.0.0.0", False),
    ],
)
def test_whose_names_are_public(name: str, public: bool) -> None:
    assert is_public(name) is public


def test_facts_that_look_otherwise_than_expected_stay_here() -> None:
    facts = {"windows": f"10.0 of {USER}", "architecture": COMPUTER, "something": PRODUCT}
    sent = fingerprint(replace(one_rule(), store=facts, sample={USER: 1, "packages": 2}))
    assert (sent["store"], sent["sample"]) == ({}, {"packages": 2})
