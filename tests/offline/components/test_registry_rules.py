r"""Which hive and key a manifest's key means; table of "Registry Keys Affected by WOW64"."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith.errors import DamagedManifest, NotSupported
from wimsmith.offline.components.install.registry_rules import (
    KeyTarget,
    multi_strings,
    target_of,
    value_data,
    value_type,
)

HKLM = "HKEY_LOCAL_MACHINE"


def target(key: str, component: str = "amd64", image: str = "amd64") -> KeyTarget:
    return target_of(
        key, component_architecture=component, image_architecture=image, control_set="ControlSet002"
    )


@pytest.mark.parametrize(
    ("key", "hive", "path"),
    [
        (rf"{HKLM}\SOFTWARE\Microsoft\X", "SOFTWARE", r"Microsoft\X"),
        (rf"{HKLM}\Software", "SOFTWARE", ""),
        (rf"{HKLM}\SYSTEM\CurrentControlSet\Services\X", "SYSTEM", r"ControlSet002\Services\X"),
        (rf"{HKLM}\System\currentcontrolset", "SYSTEM", "ControlSet002"),
        (rf"{HKLM}\SYSTEM\Setup\X", "SYSTEM", r"Setup\X"),
        (rf"{HKLM}\SYSTEM\ControlSet001\X", "SYSTEM", r"ControlSet001\X"),
        (r"HKEY_CLASSES_ROOT\CLSID\{1}", "SOFTWARE", r"Classes\CLSID\{1}"),
        ("HKEY_CLASSES_ROOT", "SOFTWARE", "Classes"),
        (r"HKEY_USERS\.DEFAULT\Control Panel", "DEFAULT", "Control Panel"),
        (r"hkey_current_user\Software\X" + "\\", "NTUSER", r"Software\X"),
    ],
)
def test_hives_of_keys(key: str, hive: str, path: str) -> None:
    assert target(key) == KeyTarget(hive, path)


@pytest.mark.parametrize(
    "key",
    [
        rf"{HKLM}\SAM\X",
        rf"{HKLM}\SECURITY\Policy",
        rf"{HKLM}\HARDWARE",
        rf"{HKLM}\SOFTWAREX",
        r"HKEY_USERS\S-1-5-19\X",
        r"HKEY_CURRENT_CONFIG\X",
        "Nothing",
    ],
)
def test_hives_that_are_left_alone(key: str) -> None:
    with pytest.raises(NotSupported) as refusal:
        target(key)
    assert refusal.value.reason == "hive"


@pytest.mark.parametrize("key", ["", rf"{HKLM}\SOFTWARE\\X", rf"\{HKLM}\SOFTWARE"])
def test_empty_names_are_damage(key: str) -> None:
    with pytest.raises((DamagedManifest, NotSupported)):
        target(key)


SHARED = (
    r"Classes\.txt",
    r"Classes\Appid\X",
    r"Classes\HCP",
    r"Clients\X",
    r"Policies\X",
    r"RegisteredApplications",
    r"Microsoft\COM3",
    r"Microsoft\Cryptography\Calais\Current",
    r"Microsoft\Cryptography\Calais\Readers",
    r"Microsoft\Cryptography\Services",
    r"Microsoft\CTF\SystemShared",
    r"Microsoft\CTF\TIP\{1}",
    r"Microsoft\DFS",
    r"Microsoft\Driver Signing",
    r"Microsoft\EnterpriseCertificates",
    r"Microsoft\EventSystem",
    r"Microsoft\MSMQ",
    r"Microsoft\Non-Driver Signing",
    r"Microsoft\Notepad\DefaultFonts",
    r"Microsoft\OLE",
    r"Microsoft\RAS",
    r"Microsoft\RPC",
    r"Microsoft\Shared Tools\MSInfo",
    r"Microsoft\SystemCertificates",
    r"Microsoft\TermServLicensing",
    r"Microsoft\TransactionServer",
    r"Microsoft\Windows\CurrentVersion\App Paths\x.exe",
    r"Microsoft\Windows\CurrentVersion\Control Panel\Cursors\Schemes",
    r"Microsoft\Windows\CurrentVersion\Explorer\AutoplayHandlers",
    r"Microsoft\Windows\CurrentVersion\Explorer\DriveIcons",
    r"Microsoft\Windows\CurrentVersion\Explorer\KindMap",
    r"Microsoft\Windows\CurrentVersion\Group Policy",
    r"Microsoft\Windows\CurrentVersion\Policies",
    r"Microsoft\Windows\CurrentVersion\PreviewHandlers",
    r"Microsoft\Windows\CurrentVersion\Setup",
    r"Microsoft\Windows\CurrentVersion\Telephony\Locations",
    r"Microsoft\Windows NT\CurrentVersion\Console",
    r"Microsoft\Windows NT\CurrentVersion\FontDpi",
    r"Microsoft\Windows NT\CurrentVersion\FontLink",
    r"Microsoft\Windows NT\CurrentVersion\FontMapper",
    r"Microsoft\Windows NT\CurrentVersion\Fonts",
    r"Microsoft\Windows NT\CurrentVersion\FontSubstitutes",
    r"Microsoft\Windows NT\CurrentVersion\Gre_Initialize",
    r"Microsoft\Windows NT\CurrentVersion\Image File Execution Options\x.exe",
    r"Microsoft\Windows NT\CurrentVersion\Language Pack",
    r"Microsoft\Windows NT\CurrentVersion\NetworkCards",
    r"Microsoft\Windows NT\CurrentVersion\Perflib",
    r"Microsoft\Windows NT\CurrentVersion\Ports",
    r"Microsoft\Windows NT\CurrentVersion\Print",
    r"Microsoft\Windows NT\CurrentVersion\ProfileList",
    r"Microsoft\Windows NT\CurrentVersion\Time Zones",
)


@pytest.mark.parametrize("path", SHARED)
@pytest.mark.parametrize("component", ["wow64", "x86"])
def test_keys_that_32_bit_programs_share(path: str, component: str) -> None:
    assert target(rf"{HKLM}\SOFTWARE\{path}", component) == KeyTarget("SOFTWARE", path)
    upper = target(rf"{HKLM}\SOFTWARE\{path.upper()}", component)
    assert upper == KeyTarget("SOFTWARE", path.upper())


@pytest.mark.parametrize(
    ("key", "path"),
    [
        (rf"{HKLM}\SOFTWARE\Vendor", r"Wow6432Node\Vendor"),
        (rf"{HKLM}\SOFTWARE\Microsoft", r"Wow6432Node\Microsoft"),
        (
            rf"{HKLM}\SOFTWARE\Microsoft\Windows\CurrentVersion\Run",
            r"Wow6432Node\Microsoft\Windows\CurrentVersion\Run",
        ),
        (
            rf"{HKLM}\SOFTWARE\Microsoft\Cryptography",
            r"Wow6432Node\Microsoft\Cryptography",
        ),
        (
            rf"{HKLM}\SOFTWARE\Microsoft\Windows NT\CurrentVersion\FontsX",
            r"Wow6432Node\Microsoft\Windows NT\CurrentVersion\FontsX",
        ),
        (
            r"HKEY_CLASSES_ROOT\CLSID\{1}\InProcServer32",
            r"Classes\Wow6432Node\CLSID\{1}\InProcServer32",
        ),
        (r"HKEY_CLASSES_ROOT\interface\{1}", r"Classes\Wow6432Node\interface\{1}"),
        (r"HKEY_CLASSES_ROOT\DirectShow", r"Classes\Wow6432Node\DirectShow"),
        (r"HKEY_CLASSES_ROOT\Media Type", r"Classes\Wow6432Node\Media Type"),
        (r"HKEY_CLASSES_ROOT\MediaFoundation", r"Classes\Wow6432Node\MediaFoundation"),
    ],
)
def test_keys_that_32_bit_programs_have_for_themselves(key: str, path: str) -> None:
    assert target(key, "wow64") == KeyTarget("SOFTWARE", path, redirected=True)
    assert not target(key, "amd64").redirected
    assert not target(key, "msil").redirected
    assert not target(key, "x86", image="x86").redirected


def test_users_have_the_same_five_class_keys() -> None:
    found = target(r"HKEY_CURRENT_USER\Software\Classes\CLSID\{1}", "wow64")
    assert found == KeyTarget("NTUSER", r"Software\Classes\Wow6432Node\CLSID\{1}", redirected=True)
    assert not target(r"HKEY_CURRENT_USER\Software\Vendor", "wow64").redirected
    assert not target(rf"{HKLM}\SYSTEM\CurrentControlSet\X", "wow64").redirected


@pytest.mark.parametrize(
    ("path", "real"),
    [
        (r"Wow6432Node\Vendor", r"Wow6432Node\Vendor"),
        (r"Wow6432Node\Classes\CLSID\{1}", r"Classes\Wow6432Node\CLSID\{1}"),
        (r"Wow6432Node\Classes\AppID\{1}", r"Classes\AppID\{1}"),
        (r"Classes\Wow6432Node\TypeLib\{1}", r"Classes\TypeLib\{1}"),
        (r"Classes\wow6432node\Protocols\X", r"Classes\PROTOCOLS\X"),
    ],
)
def test_the_node_itself_is_taken_as_written_and_links_are_followed(path: str, real: str) -> None:
    for component in ("wow64", "amd64"):
        assert target(rf"{HKLM}\SOFTWARE\{path}", component) == KeyTarget("SOFTWARE", real)


def test_32_bit_keys_on_other_machines_are_refused() -> None:
    with pytest.raises(NotSupported) as refusal:
        target(rf"{HKLM}\SOFTWARE\Vendor", "wow64", image="arm64")
    assert refusal.value.reason == "wow64-key"


def same(text: str) -> str:
    return text


@pytest.mark.parametrize(
    ("kind", "text", "number", "data"),
    [
        ("REG_SZ", "aé", 1, b"a\0\xe9\0\0\0"),
        ("REG_SZ", "", 1, b"\0\0"),
        ("reg_expand_sz", "%x%", 2, b"%\0x\0%\0\0\0"),
        ("REG_BINARY", "00ffA0", 3, b"\0\xff\xa0"),
        ("REG_BINARY", "", 3, b""),
        ("REG_DWORD", "0x0000002a", 4, b"\x2a\0\0\0"),
        ("REG_DWORD", "7", 4, b"\x07\0\0\0"),
        ("REG_DWORD", "0xFFFFFFFF", 4, b"\xff\xff\xff\xff"),
        ("REG_DWORD_BIG_ENDIAN", "0x1", 5, b"\0\0\0\x01"),
        ("REG_MULTI_SZ", '"a","b"', 7, b"a\0\0\0b\0\0\0\0\0"),
        ("REG_MULTI_SZ", "", 7, b"\0\0"),
        ("REG_QWORD", "0123456789abcdef", 11, bytes.fromhex("0123456789abcdef")),
        ("REG_QWORD", "0x1", 11, b"\x01" + bytes(7)),
        ("REG_NONE", "", 0, b""),
        ("REG_NONE", "0102", 0, b"\x01\x02"),
        ("00020001", "deadbeef", 0x20001, b"\xde\xad\xbe\xef"),
        ("00000001", "6100", 1, b"a\0"),
        ("FFFF0012", "", 0xFFFF0012, b""),
    ],
)
def test_values_of_every_type(kind: str, text: str, number: int, data: bytes) -> None:
    assert value_type(kind) == number
    assert value_data(kind, text, same) == data


def test_macros_are_expanded_in_text_only() -> None:
    def expand(text: str) -> str:
        return text.replace("$(x)", "X")

    assert value_data("REG_SZ", "a$(x)", expand) == "aX\0".encode("utf-16-le")
    assert value_data("REG_MULTI_SZ", '"$(x)","b"', expand) == "X\0b\0\0".encode("utf-16-le")
    with pytest.raises(DamagedManifest):
        value_data("REG_BINARY", "$(x)", expand)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("REG_WHAT", "x"),
        ("SZ", "x"),
        ("0002000", "x"),
        ("REG_DWORD", "0x1ffffffff"),
        ("REG_DWORD", "-1"),
        ("REG_DWORD", "many"),
        ("REG_QWORD", "123"),
        ("REG_BINARY", "0g"),
        ("REG_MULTI_SZ", '"a" "b"'),
        ("REG_MULTI_SZ", '"a'),
        ("REG_MULTI_SZ", '"a",'),
    ],
)
def test_values_that_are_not_of_their_type(kind: str, text: str) -> None:
    with pytest.raises(DamagedManifest):
        value_data(kind, text, same)


@pytest.mark.parametrize(
    ("text", "strings"),
    [
        ('"a b","c"', ("a b", "c")),
        ('"a" , "b"', ("a", "b")),
        ('"with ""quotes"""', ('with "quotes"',)),
        ('"a,b"', ("a,b",)),
        ('""', ("",)),
        ("plain", ("plain",)),
        ("", ()),
    ],
)
def test_lists_of_strings(text: str, strings: tuple[str, ...]) -> None:
    assert multi_strings(text) == strings


@given(st.lists(st.text(st.characters(codec="utf-16", exclude_characters="\0")), max_size=5))
def test_any_list_of_strings_is_read_as_it_was_quoted(strings: list[str]) -> None:
    quoted = ",".join('"' + one.replace('"', '""') + '"' for one in strings)
    assert multi_strings(quoted) == tuple(strings)
