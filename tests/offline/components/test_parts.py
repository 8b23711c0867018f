"""Files, directories and keys of one component: what is decided before anything is written."""

from pathlib import Path

import pytest

from offline.components.made import FOLDER_SD, TOKEN, MemoryImage, component_identity, store_of
from wimsmith.errors import DamagedManifest, NotSupported
from wimsmith.offline.components.install.descriptions import (
    expander,
    file_descriptor,
    key_descriptor,
)
from wimsmith.offline.components.install.registry import plan_registry, write_registry
from wimsmith.offline.components.store.basemanifest import ManifestReader
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.manifests.component import ComponentManifest, parse_component
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.security import compile_sddl, display_sddl


def manifest(body: str, *, descriptors: str = "", name: str = "Practice") -> ComponentManifest:
    text = (
        '<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0">'
        f'<assemblyIdentity name="{name}" version="1.0.0.0" language="neutral" '
        f'processorArchitecture="amd64" publicKeyToken="{TOKEN}" versionScope="nonSxS"/>'
        f"{body}<trustInfo><security><accessControl><securityDescriptorDefinitions>{descriptors}"
        "</securityDescriptorDefinitions></accessControl></security></trustInfo></assembly>"
    )
    return parse_component(text.encode())


def definition(sddl: str) -> str:
    return f'<securityDescriptorDefinition name="SD" sddl="{sddl}"/>'


@pytest.fixture
def image() -> MemoryImage:
    return MemoryImage()


def test_descriptors_are_stored_with_the_rights_of_their_kind(
    image: MemoryImage, tmp_path: Path
) -> None:
    one = manifest("", descriptors=definition("O:SYG:SYD:P(A;;GA;;;SY)"))
    file = file_descriptor(store_of(image, tmp_path), one, "SD", "")
    assert file.data
    assert display_sddl(file.data) == "O:SYG:SYD:PAI(A;;FA;;;SY)"
    key = key_descriptor(one, "SD")
    assert key.data
    assert display_sddl(key.data) == "O:SYG:SYD:PAI(A;;KA;;;SY)"


def test_inherited_and_missing_descriptors(image: MemoryImage, tmp_path: Path) -> None:
    one = manifest("", descriptors=definition("(inherit)"))
    assert file_descriptor(store_of(image, tmp_path), one, "SD", "").inherits
    nothing = key_descriptor(one, None)
    assert (nothing.data, nothing.inherits) == (None, False)


@pytest.mark.parametrize("descriptors", [definition("O:SYD:(A;;FA;;;DA)"), ""])
def test_a_descriptor_that_cannot_be_compiled_is_taken_from_what_is_replaced(
    image: MemoryImage, tmp_path: Path, descriptors: str
) -> None:
    image.put("Windows/System32/a.dll", b"", security=FOLDER_SD)
    one, store = manifest("", descriptors=descriptors), store_of(image, tmp_path)
    assert file_descriptor(store, one, "SD", "Windows/System32/a.dll").data == FOLDER_SD
    for replaced in ("", "Windows/System32/none.dll"):
        with pytest.raises(NotSupported) as refusal:
            file_descriptor(store, one, "SD", replaced)
        assert refusal.value.reason == "calibration:security"
    with pytest.raises(NotSupported) as refusal:
        key_descriptor(one, "SD")
    assert refusal.value.reason == "calibration:security"


KEY = r"HKEY_LOCAL_MACHINE\SOFTWARE\Practice"


def written(image: MemoryImage, tmp_path: Path, one: ComponentManifest) -> Store:
    store = store_of(image, tmp_path)
    texts = expander(store, ManifestReader(store), one, {})
    write_registry(store.draft, plan_registry(store, one, texts))
    return store


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        ("", False),
        ('mutable="true"', True),
        ('mutable="true" operationHint="replace"', False),
        ('operationHint="replace"', False),
        ('mutable="false"', False),
    ],
)
def test_who_wins_over_a_value_that_is_there(
    image: MemoryImage, tmp_path: Path, attributes: str, kept: bool
) -> None:
    image.text("SOFTWARE", "Practice", "V", "mine")
    value = f'<registryValue name="V" valueType="REG_SZ" value="theirs" {attributes}/>'
    value += value.replace('"V"', '"New"')
    one = manifest(
        f'<registryKeys><registryKey keyName="{KEY}">{value}</registryKey></registryKeys>'
    )
    store = written(image, tmp_path, one)
    found = store.software.value("Practice", "V")
    assert found
    assert found.text() == ("mine" if kept else "theirs")
    assert store.software.value("Practice", "New")


@pytest.mark.parametrize(("owner", "changes"), [("true", True), ("false", False), (None, True)])
def test_a_key_of_others_keeps_its_descriptor(
    image: MemoryImage, tmp_path: Path, owner: str | None, changes: bool
) -> None:
    image.hives["SOFTWARE"].create_key("Practice", FOLDER_SD)
    attribute = "" if owner is None else f'owner="{owner}"'
    one = manifest(
        f'<registryKeys><registryKey keyName="{KEY}" {attribute}>'
        '<securityDescriptor name="SD"/></registryKey></registryKeys>',
        descriptors=definition("O:SYG:SYD:PAI(A;;KA;;;SY)"),
    )
    image.stack(written(image, tmp_path, one).draft.changes)
    key = image.hives["SOFTWARE"].key("Practice")
    assert key
    assert (key.security != FOLDER_SD) is changes


def test_a_key_without_an_owner_in_its_descriptor_gets_that_of_the_key_above(
    image: MemoryImage, tmp_path: Path
) -> None:
    above = compile_sddl("O:BAG:BUD:P(A;;KA;;;SY)")
    image.hives["SOFTWARE"].create_key("Practice", above)
    one = manifest(
        rf'<registryKeys><registryKey keyName="{KEY}\New">'
        '<securityDescriptor name="SD"/></registryKey></registryKeys>',
        descriptors=definition("D:P(A;CI;GA;;;SY)"),
    )
    image.stack(written(image, tmp_path, one).draft.changes)
    key = image.hives["SOFTWARE"].key(r"Practice\New")
    assert key
    assert key.security
    assert display_sddl(key.security) == "O:BAG:BUD:PAI(A;;KA;;;SY)(A;CIIO;GA;;;SY)"


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ('operationHint="append"', "advanced-new:registryValue/operationHint"),
        ('operationHint="prepend"', "advanced-new:registryValue/operationHint"),
    ],
)
def test_values_that_add_to_what_is_there_are_refused(
    image: MemoryImage, tmp_path: Path, attributes: str, reason: str
) -> None:
    value = f'<registryValue name="V" valueType="REG_MULTI_SZ" value="" {attributes}/>'
    one = manifest(
        f'<registryKeys><registryKey keyName="{KEY}">{value}</registryKey></registryKeys>'
    )
    with pytest.raises(NotSupported) as refusal:
        written(image, tmp_path, one)
    assert refusal.value.reason == reason


def test_links_between_keys_are_refused_by_name(image: MemoryImage, tmp_path: Path) -> None:
    value = '<registryValue name="SymbolicLinkValue" valueType="REG_LINK" value="x"/>'
    one = manifest(
        f'<registryKeys><registryKey keyName="{KEY}">{value}</registryKey></registryKeys>'
    )
    with pytest.raises(NotSupported) as refusal:
        written(image, tmp_path, one)
    assert refusal.value.reason == "registry-link"


def test_descriptors_that_change_others_are_refused(image: MemoryImage, tmp_path: Path) -> None:
    hint = definition("O:SYG:SYD:P").replace("/>", ' operationHint="merge"/>')
    with pytest.raises(NotSupported) as refusal:
        file_descriptor(store_of(image, tmp_path), manifest("", descriptors=hint), "SD", "")
    assert refusal.value.reason == "advanced-new:securityDescriptorDefinition/operationHint"


def test_a_hive_that_the_image_lacks_is_damage(image: MemoryImage, tmp_path: Path) -> None:
    del image.hives["NTUSER"]
    one = manifest(
        r'<registryKeys><registryKey keyName="HKEY_CURRENT_USER\Practice"/></registryKeys>'
    )
    with pytest.raises(NotSupported) as refusal:
        written(image, tmp_path, one)
    assert refusal.value.reason == "image-damaged"


def test_damage_in_a_value_is_told_with_its_place(image: MemoryImage, tmp_path: Path) -> None:
    value = '<registryValue name="V" valueType="REG_DWORD" value="much"/>'
    one = manifest(
        f'<registryKeys><registryKey keyName="{KEY}">{value}</registryKey></registryKeys>'
    )
    with pytest.raises(DamagedManifest, match=r"SOFTWARE\\Practice, value 'V'"):
        written(image, tmp_path, one)


def test_texts_may_come_from_the_language_satellite_in_the_image(
    image: MemoryImage, tmp_path: Path
) -> None:
    """A neutral component names a satellite for any language; the image's own is taken."""
    image.language("de-DE")
    satellite = component_identity("Practice.Resources", "1.0.0.0", language="de-DE")
    strings = (
        "<localization><resources culture='de-DE'><stringTable><string id='t' value='Titel'/>"
        "</stringTable></resources></localization>"
    )
    text = (
        '<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0">'
        '<assemblyIdentity name="Practice.Resources" version="1.0.0.0" language="de-DE" '
        f'processorArchitecture="amd64" publicKeyToken="{TOKEN}" versionScope="nonSxS"/>'
        f"{strings}</assembly>"
    )
    assert image.component(satellite, text.encode()) == keyform(satellite)
    dependency = (
        '<dependency discoverable="no" resourceType="Resources"><dependentAssembly '
        'dependencyType="prerequisite"><assemblyIdentity name="Practice.Resources" '
        f'version="1.0.0.0" processorArchitecture="amd64" language="*" publicKeyToken="{TOKEN}" '
        'versionScope="nonSxS"/></dependentAssembly></dependency>'
    )
    store = store_of(image, tmp_path)
    texts = expander(store, ManifestReader(store), manifest(dependency), {})
    assert texts.expand("$(resourceString.t)") == "Titel"
    alone = expander(store, ManifestReader(store), manifest(""), {})
    with pytest.raises(NotSupported):
        alone.expand("$(resourceString.t)")


def test_texts_are_those_of_the_language_that_windows_was_installed_in(
    image: MemoryImage, tmp_path: Path
) -> None:
    for name, number in (("de-DE", 0x407), ("fr-FR", 0x40C)):
        image.language(name)
        path = rf"ControlSet001\Control\MUI\UILanguages\{name}"
        image.number("SYSTEM", path, "LCID", number)
    image.text("SYSTEM", r"ControlSet001\Control\Nls\Language", "InstallLanguage", "040c")
    tables = "".join(
        f"<resources culture='{name}'><stringTable><string id='t' value='{text}'/></stringTable>"
        "</resources>"
        for name, text in (("de-DE", "Titel"), ("en-US", "Title"), ("fr-FR", "Titre"))
    )
    store = store_of(image, tmp_path)
    one = manifest(f"<localization>{tables}</localization>")
    assert expander(store, ManifestReader(store), one, {}).expand("$(string.t)") == "Titre"
