"""Elements that need an installer of Windows: new ones are refused, unchanged ones are not."""

from pathlib import Path

import pytest

from offline.components.made import TOKEN, MemoryImage, component_identity, store_of
from wimsmith.offline.components.install.advanced import advanced_findings
from wimsmith.offline.components.store.basemanifest import ManifestReader
from wimsmith.offline.manifests.component import parse_component
from wimsmith.offline.verdicts import Verdict

NAME = "Practice-Advanced"
SERVICE = (
    "<memberships><categoryMembership><id name='Microsoft.Windows.Categories.Services' "
    "version='{category}' typeName='Service'/><categoryInstance subcategory='x'>"
    "<serviceData name='x' displayName='$(resourceString.title)' start='{start}'/>"
    "</categoryInstance></categoryMembership></memberships>"
)
STRINGS = (
    "<localization><resources culture='en-US'><stringTable>"
    "<string id='title' value='{title}'/><string id='other' value='{other}'/>"
    "</stringTable></resources></localization>"
)


def manifest(version: str, body: str) -> bytes:
    return (
        '<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0">'
        f'<assemblyIdentity name="{NAME}" version="{version}" language="neutral" '
        f'processorArchitecture="amd64" publicKeyToken="{TOKEN}" versionScope="nonSxS"/>'
        f"{body}</assembly>"
    ).encode()


def codes(tmp_path: Path, new: str, old: str | None, old_version: str = "1.0.0.1") -> list[str]:
    image = MemoryImage()
    if old is not None:
        image.component(component_identity(NAME, old_version), manifest(old_version, old))
    store = store_of(image, tmp_path)
    data = manifest("1.0.0.2", new)
    findings = list(advanced_findings(store, ManifestReader(store), data, parse_component(data)))
    assert all(finding.verdict is Verdict.NOT_SUPPORTED for finding in findings)
    return [finding.code for finding in findings]


def service(start: str = "auto", title: str = "T", category: str = "6.1", other: str = "o") -> str:
    texts = STRINGS.format(title=title, other=other)
    return SERVICE.format(start=start, category=category) + texts


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("<configuration><x/></configuration>", "advanced-new:configuration"),
        ("<file name='a'><lodctr/></file>", "advanced-new:file/lodctr"),
        ("<somethingAI/>", "advanced-new:somethingAI"),
        (service(), "advanced-new:memberships/Service"),
    ],
)
def test_elements_of_components_that_are_new_are_refused(
    tmp_path: Path, body: str, code: str
) -> None:
    assert code in codes(tmp_path, body, None)


def test_primitive_components_are_let_through(tmp_path: Path) -> None:
    assert codes(tmp_path, "<file name='a.dll'/><directories/>", None) == []


@pytest.mark.parametrize(
    ("new", "changed"),
    [
        (service(), False),
        (service(category="10.0"), False),
        (service(other="another text that the element does not use"), False),
        (service() + "<debuggingInfo><x/></debuggingInfo>", False),
        (service(start="demand"), True),
        (service(title="Another"), True),
        (service() + "<configuration/>", True),
        ("", True),
    ],
)
def test_only_what_changed_since_the_installed_version_counts(
    tmp_path: Path, new: str, changed: bool
) -> None:
    found = codes(tmp_path, new, service())
    assert bool(found) is changed
    assert all(code.startswith("advanced-changed:") for code in found)


def test_files_may_change_around_an_element(tmp_path: Path) -> None:
    old = "<file name='a'><lodctr x='1'/></file>"
    assert codes(tmp_path, old + "<file name='b'/>", old) == []
    assert codes(tmp_path, old.replace("'1'", "'2'"), old) == ["advanced-changed:file/lodctr"]


def test_below_a_newer_version_the_same_elements_need_nothing(tmp_path: Path) -> None:
    """The newer one stays in use; what it asked for is what the older one asks for."""
    assert codes(tmp_path, "<configuration/>", "<configuration/>", "1.0.0.3") == []
    found = codes(tmp_path, "<configuration/>", "<configuration x='1'/>", "1.0.0.3")
    assert found == ["advanced-changed:configuration"]
    assert codes(tmp_path, "", "<configuration/>", "1.0.0.3") == []


def test_attributes_whose_meaning_is_not_known_are_never_let_through(tmp_path: Path) -> None:
    key = "<registryKeys><registryKey keyName='HKEY_LOCAL_MACHINE\\SOFTWARE\\X' {}/></registryKeys>"
    assert codes(tmp_path, key.format("owner='true'"), None) == []
    code = "advanced-new:registryKeys/registryKey@deleted"
    assert codes(tmp_path, key.format("deleted='true'"), None) == [code]
    assert codes(tmp_path, key.format("deleted='true'"), key.format("deleted='true'")) == [code]


def test_an_installed_manifest_that_is_not_what_the_store_says_is_damage(tmp_path: Path) -> None:
    image = MemoryImage()
    key = image.component(component_identity(NAME, "1.0.0.1"), manifest("1.0.0.1", service()))
    image.put(f"Windows/WinSxS/Manifests/{key}.manifest", b"<other/>")
    store = store_of(image, tmp_path)
    data = manifest("1.0.0.2", service())
    findings = list(advanced_findings(store, ManifestReader(store), data, parse_component(data)))
    assert [finding.code for finding in findings] == ["image-damaged"]
