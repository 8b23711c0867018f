"""What is not public is copied from siblings in the same image, or refused by name."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from offline.components.made import TOKEN, MemoryImage, component_identity, store_of
from wimsmith.errors import NotSupported
from wimsmith.offline.components.store.lookups import PACKAGE_INDEX, PACKAGES
from wimsmith.offline.components.store.references import parse_reference, split_identifier
from wimsmith.offline.components.store.siblings import (
    Siblings,
    ThumbprintRule,
)
from wimsmith.offline.manifests.identity import AssemblyIdentity, parse_package_name
from wimsmith.offline.manifests.names import deployment_key, keyform, string_hash
from wimsmith.offline.manifests.package import Applicable, Update, UpdateComponent
from wimsmith.offline.registry.values import Value

NEW = component_identity("New-Component", "10.0.19041.5")
DEPLOYMENT = component_identity("Old-Deployment", "10.0.19041.1")
PACKAGE = f"Old-Package~{TOKEN}~amd64~~10.0.19041.1"


def old(number: int, version: str = "10.0.19041.1") -> AssemblyIdentity:
    return component_identity(f"Old-Component-{number}", version)


@pytest.fixture
def image() -> MemoryImage:
    return MemoryImage()


def siblings(image: MemoryImage, tmp_path: Path) -> Siblings:
    return Siblings(store_of(image, tmp_path))


def refused(rule: str, ask: Callable[[], object]) -> None:
    with pytest.raises(NotSupported) as refusal:
        ask()
    assert refusal.value.reason == f"calibration:{rule}"


def test_an_empty_store_teaches_nothing(image: MemoryImage, tmp_path: Path) -> None:
    rules = siblings(image, tmp_path)
    refused("CF", lambda: rules.component_flags(NEW, is_deployment=False, has_files=True))
    refused("f!", lambda: rules.file_flags(is_installed=True))
    refused("p!", lambda: rules.reference_data("p!", Update("x")))
    refused("owners", lambda: rules.owner_flag(is_top_level=True))
    refused("trusted", lambda: rules.package_number("Trusted"))
    refused("thumbprint", lambda: rules.thumbprint_rule)
    refused("winners", lambda: rules.deployments_win)
    refused("package-index", lambda: rules.index_values(parse_package_name(PACKAGE)))
    refused("backup", lambda: rules.backup_suffix("x.dll"))


@pytest.mark.parametrize("flags", [0x4, 0x100, None])
def test_component_flags_are_those_of_most_siblings_of_the_kind(
    image: MemoryImage, tmp_path: Path, flags: int | None
) -> None:
    for number in range(3):
        image.component(old(number), flags=flags, files={"a.dll": 1}, owner=DEPLOYMENT)
    image.component(old(9), flags=0x80, files={"a.dll": 1}, owner=DEPLOYMENT)
    image.component(component_identity("Policy", "10.0.19041.1"), flags=0x8, owner=DEPLOYMENT)
    image.component(DEPLOYMENT, flags=0x10)
    rules = siblings(image, tmp_path)
    assert rules.component_flags(NEW, is_deployment=False, has_files=True) == flags


def test_components_whose_payload_is_gone_are_no_example(
    image: MemoryImage, tmp_path: Path
) -> None:
    """Public measurements say that such components have a flag of their own."""
    for number in range(3):
        key = image.component(old(number), flags=0x40, files={"a.dll": 1}, owner=DEPLOYMENT)
        image.tree.remove(f"Windows/WinSxS/{key}")
    image.component(old(9), flags=0xC, files={"a.dll": 1}, owner=DEPLOYMENT)
    rules = siblings(image, tmp_path)
    assert rules.component_flags(NEW, is_deployment=False, has_files=True) == 0xC


def test_an_older_version_of_the_same_component_is_the_nearest_sibling(
    image: MemoryImage, tmp_path: Path
) -> None:
    for number in range(3):
        image.component(old(number), flags=0x4, files={"a.dll": 1}, owner=DEPLOYMENT)
    image.component(
        component_identity("New-Component", "10.0.19041.1"), flags=0x104, files={"b": 1}
    )
    rules = siblings(image, tmp_path)
    assert rules.component_flags(NEW, is_deployment=False, has_files=True) == 0x104


def test_file_flags_depend_on_whether_the_component_is_installed(
    image: MemoryImage, tmp_path: Path
) -> None:
    staged = component_identity("Staged-Deployment", "10.0.19041.1")
    image.component(old(1), files={"a.dll": 0x41}, owner=DEPLOYMENT)
    image.component(old(2), files={"a.dll": 0x81}, owner=staged)
    image.deployment(DEPLOYMENT, f"{PACKAGE}.One", "00", {"i!": b"4"})
    image.deployment(staged, f"{PACKAGE}.Two", "00", {"p!": b"4"})
    rules = siblings(image, tmp_path)
    assert rules.file_flags(is_installed=True) == 0x41
    assert rules.file_flags(is_installed=False) == 0x81


def test_a_kind_that_is_not_there_takes_what_all_agree_on(
    image: MemoryImage, tmp_path: Path
) -> None:
    image.component(old(1), files={"a.dll": 0x41}, owner=DEPLOYMENT)
    image.deployment(DEPLOYMENT, f"{PACKAGE}.One", "00", {"i!": b"4"})
    assert siblings(image, tmp_path).file_flags(is_installed=False) == 0x41


def with_rule(image: MemoryImage, number: int, elevate: str, data: dict[str, bytes]) -> None:
    """A deployment of an update with an elevation, with the manifest that says so."""
    package = f"Package_{number}~{TOKEN}~amd64~~1.0.0.0"
    condition = ""
    if elevate:
        condition = (
            f'<applicable disposition="staged"><updateComponent elevate="{elevate}">'
            f'<assemblyIdentity name="X" version="1.0.0.0" processorArchitecture="amd64" '
            f'publicKeyToken="{TOKEN}" language="neutral"/></updateComponent></applicable>'
        )
    text = (
        '<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0">'
        f'<assemblyIdentity name="Package_{number}" version="1.0.0.0" language="neutral" '
        f'processorArchitecture="amd64" publicKeyToken="{TOKEN}"/>'
        f'<package releaseType="Update"><update name="one.two">{condition}</update></package>'
        "</assembly>"
    )
    image.put(f"Windows/servicing/Packages/{package}.mum", text.encode())
    image.package(package)
    identity = component_identity(f"Deployment-{number}", "1.0.0.0")
    image.deployment(identity, f"{package}.one.two", "00", data)


def elevated(kind: str) -> Update:
    return Update("new", applicable=Applicable("staged", (UpdateComponent(kind, ()),)))


def test_reference_data_are_those_of_updates_with_the_same_elevation(
    image: MemoryImage, tmp_path: Path
) -> None:
    with_rule(image, 1, "", {"p!": b"4", "i!": b"5"})
    with_rule(image, 2, "install", {"p!": b"16"})
    rules = siblings(image, tmp_path)
    assert rules.reference_data("p!", Update("new")) == b"4"
    assert rules.reference_data("p!", elevated("install")) == b"16"
    assert rules.reference_data("i!", elevated("install")) == b"5"
    refused("p!", lambda: rules.reference_data("p!", elevated("revision")))
    refused("s!", lambda: rules.reference_data("s!", Update("new")))


def package_key(image: MemoryImage, name: str, owner: str, flag: int, visible: int) -> None:
    image.package(name)
    image.number("SOFTWARE", rf"{PACKAGES}\{name}\Owners", owner, flag << 16 | 0x70)
    image.number("SOFTWARE", rf"{PACKAGES}\{name}", "Visibility", visible)


OTHER = PACKAGE.replace("Old", "Other")


def test_owner_flags_and_visibility_by_kind(image: MemoryImage, tmp_path: Path) -> None:
    package_key(image, PACKAGE, PACKAGE, 2, 3)
    package_key(image, OTHER, PACKAGE, 6, 4)
    rules = siblings(image, tmp_path)
    assert rules.owner_flag(is_top_level=True) == 2
    assert rules.owner_flag(is_top_level=False) == 6
    assert rules.visibility("Visibility", hidden=False) == 3
    assert rules.visibility("Visibility", hidden=True) == 4
    assert rules.package_number("Trusted") is None


def test_most_packages_that_own_themselves_may_be_hidden(
    image: MemoryImage, tmp_path: Path
) -> None:
    package_key(image, PACKAGE, PACKAGE, 2, 1)
    for number in range(3):
        name = PACKAGE.replace("Old", f"Hidden-{number}")
        package_key(image, name, name if number else PACKAGE, 2, 2)
    rules = siblings(image, tmp_path)
    assert rules.visibility("Visibility", hidden=False) == 1
    assert rules.visibility("Visibility", hidden=True) == 2


def test_visibility_falls_back_on_its_documented_meaning_only_where_that_is_confirmed(
    image: MemoryImage, tmp_path: Path
) -> None:
    package_key(image, PACKAGE, PACKAGE, 2, 1)
    rules = siblings(image, tmp_path)
    assert rules.visibility("Visibility", hidden=True) == 2
    package_key(image, PACKAGE, PACKAGE, 2, 3)
    rules = siblings(image, tmp_path)
    refused("visibility", lambda: rules.visibility("Visibility", hidden=True))


def test_the_index_is_written_as_siblings_have_it(image: MemoryImage, tmp_path: Path) -> None:
    image.package(PACKAGE)
    index = rf"{PACKAGE_INDEX}\Old-Package~{TOKEN}~amd64~~0.0.0.0"
    image.text("SOFTWARE", index, "", PACKAGE)
    image.number("SOFTWARE", index, "10.0.19041.1", 7)
    image.text("SOFTWARE", index, "Other", "stays")
    new = parse_package_name(f"New~{TOKEN}~amd64~en-US~2.0.0.0")
    values = {one.name: one for one in siblings(image, tmp_path).index_values(new)}
    assert values[""].text() == f"New~{TOKEN}~amd64~en-US~2.0.0.0"
    assert values["2.0.0.0"].dword() == 7
    assert values["Other"].text() == "stays"


@pytest.mark.parametrize("rule", list(ThumbprintRule))
@pytest.mark.parametrize("upper", [False, True])
def test_the_thumbprint_rule_is_read_from_deployments(
    image: MemoryImage, tmp_path: Path, rule: ThumbprintRule, upper: bool
) -> None:
    catalog = hashlib.sha256(b"a catalog").hexdigest()
    manifest = b"<a deployment/>"
    image.component(DEPLOYMENT, manifest)
    image.hives["COMPONENTS"].create_key(rf"CanonicalData\Catalogs\{catalog}")
    by_rule = {
        ThumbprintRule.CATALOG: catalog,
        ThumbprintRule.DEPLOYMENT_MANIFEST: hashlib.sha256(manifest).hexdigest(),
    }
    thumbprint = by_rule[rule].upper() if upper else by_rule[rule]
    image.deployment(DEPLOYMENT, f"{PACKAGE}.x", thumbprint, {"i!": b"4"})
    rules = siblings(image, tmp_path)
    assert rules.thumbprint_rule is rule
    assert rules.thumbprint_is_upper is upper


def test_deployments_that_follow_different_rules_teach_nothing(
    image: MemoryImage, tmp_path: Path
) -> None:
    image.component(DEPLOYMENT, b"<m/>")
    image.deployment(DEPLOYMENT, f"{PACKAGE}.x", hashlib.sha256(b"<m/>").hexdigest(), {})
    second = component_identity("Second-Deployment", "10.0.19041.1")
    image.hives["COMPONENTS"].create_key(r"CanonicalData\Catalogs\ab")
    image.deployment(second, f"{PACKAGE}.y", "ab", {})
    rules = siblings(image, tmp_path)
    refused("thumbprint", lambda: rules.thumbprint_rule)


@pytest.mark.parametrize("wins", [True, False])
def test_whether_deployments_are_among_the_winners(
    image: MemoryImage, tmp_path: Path, wins: bool
) -> None:
    image.component(DEPLOYMENT)
    image.deployment(DEPLOYMENT, f"{PACKAGE}.x", "00", {"i!": b"4"})
    if not wins:
        image.hives["SOFTWARE"].delete_key(r"Microsoft\Windows\CurrentVersion\SideBySide\Winners")
    assert siblings(image, tmp_path).deployments_win is wins


@pytest.mark.parametrize(
    "rule",
    [
        lambda name: f"{string_hash(name) & 0xFFFFFFFF:08x}",
        lambda name: f"{string_hash(name) >> 32:08x}",
    ],
)
def test_names_of_backups_follow_the_image(
    image: MemoryImage, tmp_path: Path, rule: Callable[[str], str]
) -> None:
    for name in ("winload.exe", "a_b.sys"):
        image.put(f"Windows/WinSxS/Backup/{keyform(old(1))}_{name}_{rule(name)}", b"x")
    assert siblings(image, tmp_path).backup_suffix("Other.DLL") == rule("other.dll")
    image.put(f"Windows/WinSxS/Backup/{keyform(old(1))}_odd.exe_12345678", b"x")
    rules = siblings(image, tmp_path)
    assert rules.backup_suffix("odd.exe") == "12345678"
    refused("backup", lambda: rules.backup_suffix("other.dll"))


def test_who_owns_children_of_children(image: MemoryImage, tmp_path: Path) -> None:
    package_key(image, PACKAGE, PACKAGE, 2, 1)
    package_key(image, OTHER, PACKAGE, 2, 2)
    assert siblings(image, tmp_path).owner_is_top
    package_key(image, OTHER.replace("Other", "Below"), OTHER, 2, 2)
    assert not siblings(image, tmp_path).owner_is_top


def test_references_are_taken_apart() -> None:
    data = b"\x03\0\0\0\x02\0\0\0abc16"
    found = parse_reference(Value("i!CBS_x", 3, data))
    assert found
    assert (found.mark, found.identifier, found.data) == ("i!", "abc", b"16")
    assert found.to_bytes() == data
    for damaged in (data[:-1], data + b"x", b"", b"\x03\0\0\0\x02\0\0\0ab\xff16"):
        assert parse_reference(Value("i!CBS_x", 3, damaged)) is None
    assert parse_reference(Value("appid", 3, data)) is None


def test_identifiers_are_package_and_update() -> None:
    assert split_identifier("N~t~amd64~~10.0.17763.1.Net.Fx4") == (
        "N~t~amd64~~10.0.17763.1",
        "Net.Fx4",
    )


def test_names_of_deployments_and_components_end_in_the_same_hash() -> None:
    assert deployment_key(DEPLOYMENT)[-16:] == keyform(DEPLOYMENT)[-16:]
