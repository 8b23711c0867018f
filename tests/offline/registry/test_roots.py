"""Keys of a running Windows, and where they lie in the hives of an image."""

import pytest

from wimsmith.errors import NotSupported
from wimsmith.offline.changes import CreateKey, DeleteKey, DeleteValue, SetValue
from wimsmith.offline.registry import Hive, ValueType, encode_dword, encode_text
from wimsmith.offline.registry.regfile import parse_reg
from wimsmith.offline.registry.roots import (
    KeyPlace,
    RegistryRoots,
    default_control_set,
    mount_name,
    registry_edits,
)

ROOTS = RegistryRoots("ControlSet002", {"HKLM\\Offline": "SOFTWARE", "P": "SYSTEM"})


@pytest.mark.parametrize(
    ("key", "hive", "path"),
    [
        ("HKEY_LOCAL_MACHINE\\SOFTWARE", "SOFTWARE", ""),
        ("hklm\\software\\Microsoft", "SOFTWARE", "Microsoft"),
        ("HKLM\\SYSTEM\\Setup", "SYSTEM", "Setup"),
        ("HKLM\\SYSTEM\\currentcontrolset\\Services", "SYSTEM", "ControlSet002\\Services"),
        ("HKLM\\SYSTEM\\ControlSet001\\Services", "SYSTEM", "ControlSet001\\Services"),
        ("HKLM\\SAM\\SAM", "SAM", "SAM"),
        ("HKLM\\SECURITY", "SECURITY", ""),
        ("HKLM\\COMPONENTS\\DerivedData", "COMPONENTS", "DerivedData"),
        ("HKLM\\DRIVERS\\X", "DRIVERS", "X"),
        ("HKLM\\BCD00000000\\Objects", "BCD", "Objects"),
        ("HKCR\\.txt", "SOFTWARE", "Classes\\.txt"),
        ("HKEY_CLASSES_ROOT\\Wow6432Node\\CLSID", "SOFTWARE", "Classes\\Wow6432Node\\CLSID"),
        ("HKCR\\Wow6432Node\\AppID\\x", "SOFTWARE", "Classes\\AppID\\x"),
        ("HKLM\\SOFTWARE\\WOW6432Node\\Classes\\CLSID", "SOFTWARE", "Classes\\Wow6432Node\\CLSID"),
        ("HKLM\\SOFTWARE\\Wow6432Node\\Classes\\TypeLib", "SOFTWARE", "Classes\\TypeLib"),
        ("HKLM\\SOFTWARE\\Wow6432Node\\Microsoft", "SOFTWARE", "Wow6432Node\\Microsoft"),
        ("HKU\\.default\\Software", "DEFAULT", "Software"),
        ("HKEY_USERS\\S-1-5-18\\Software", "DEFAULT", "Software"),
        ("HKCU\\Software", "NTUSER", "Software"),
        ("HKLM\\OFFLINE\\Microsoft", "SOFTWARE", "Microsoft"),
        ("P\\CurrentControlSet\\Control", "SYSTEM", "ControlSet002\\Control"),
    ],
)
def test_keys_have_a_place(key: str, hive: str, path: str) -> None:
    assert ROOTS.place(key) == KeyPlace(hive, path)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("HKLM\\HARDWARE\\DESCRIPTION", "makes this key anew"),
        ("HKCC\\Software", "hardware profile"),
        ("HKU\\S-1-5-21-1-2-3-1000\\Software", "only .DEFAULT"),
        ("HKU\\S-1-5-18_Classes", "only .DEFAULT"),
        ("HKLM\\SOFTWARES\\x", "no hive of an image"),
        ("HKLM", "no hive of an image"),
        ("Q\\x", "no hive of an image"),
    ],
)
def test_others_are_refused_with_the_reason(key: str, reason: str) -> None:
    with pytest.raises(NotSupported, match=reason) as raised:
        ROOTS.place(key)
    assert raised.value.reason == "hive"


def test_the_current_control_set_must_be_known() -> None:
    with pytest.raises(NotSupported, match="which control set"):
        RegistryRoots().place("HKLM\\SYSTEM\\CurrentControlSet\\Services")


def test_the_control_set_that_starts_is_the_default_one() -> None:
    system = Hive.new()
    assert default_control_set(system) is None
    system.set_value("Select", "Current", ValueType.DWORD, encode_dword(1))
    assert default_control_set(system) == "ControlSet001"
    system.set_value("Select", "Default", ValueType.DWORD, encode_dword(3))
    assert default_control_set(system) == "ControlSet003"
    system.set_value("Select", "Default", ValueType.SZ, b"")
    assert default_control_set(system) is None


def test_files_are_known_by_their_names() -> None:
    names = {"software": "SOFTWARE", "NTUSER.DAT": "NTUSER", "ntuser.man": "NTUSER", "BCD": "BCD"}
    assert {name: mount_name(name) for name in names} == names
    assert mount_name("SOFTWARE.bak") is None


def test_a_file_becomes_edits_of_hives() -> None:
    text = (
        'REGEDIT4\n[HKLM\\SOFTWARE\\A]\n"v"="x"\n"w"=-\n[-HKCU\\B]\n'
        "[HKLM\\SYSTEM\\CurrentControlSet\\C]\n"
    )
    assert registry_edits(parse_reg(text.encode()).edits, ROOTS) == (
        CreateKey("SOFTWARE", "A"),
        SetValue("SOFTWARE", "A", "v", ValueType.SZ, encode_text("x")),
        DeleteValue("SOFTWARE", "A", "w"),
        DeleteKey("NTUSER", "B"),
        CreateKey("SYSTEM", "ControlSet002\\C"),
    )
    edits = parse_reg(b"REGEDIT4\n\n[HKLM\\HARDWARE\\A]\n").edits
    with pytest.raises(NotSupported, match="line 3: "):
        registry_edits(edits, ROOTS)
