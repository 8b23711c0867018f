r"""Which hive a key is in: by the roots of a running Windows, by mount name, or of one user."""

from pathlib import Path

import pytest

from offline.edits.editkit import (
    CONFIG,
    NOW,
    edited,
    file_differences,
    plan_of,
    practice_image,
    seen,
    user_hive,
    value_differences,
)
from wimsmith.errors import InvalidInput, NotFound, NotSupported, UnsafePath
from wimsmith.offline.edits.effects import KeyChange, ValueChange
from wimsmith.offline.edits.kinds import (
    Add,
    DeleteRegistryKey,
    DeleteRegistryValue,
    Edit,
    ImportReg,
    MakeRegistryKey,
    SetRegistryValue,
)
from wimsmith.offline.registry import Hive, Value

USER = "Users/Kim/NTUSER.DAT"
CLASSES = "Users/Kim/AppData/Local/Microsoft/Windows/UsrClass.dat"
SERVICE = "Windows/ServiceProfiles/NetworkService/NTUSER.DAT"
ONE = b"\1\0\0\0"
KEY_FLAGS_AT, KEY_NAME_AT, KEY_LINK = 2, 76, 0x10


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image like Windows with hives of a user and of a service account."""
    path = practice_image(tmp_path / "install.wim")
    (tmp_path / "user.dat").write_bytes(user_hive())
    edited(
        path,
        *(Add(tmp_path / "user.dat", name, parents=True) for name in (USER, CLASSES, SERVICE)),
    )
    return path


def set_value(key: str, hive: str | None = None, data: bytes = ONE) -> SetRegistryValue:
    return SetRegistryValue(key, "x", 4, data, hive)


@pytest.mark.parametrize(
    ("key", "hive", "path", "inside"),
    [
        (r"HKLM\SOFTWARE\New", None, f"{CONFIG}/SOFTWARE", "New"),
        (r"software\New", None, f"{CONFIG}/SOFTWARE", "New"),
        (r"HKEY_CLASSES_ROOT\.new", None, f"{CONFIG}/SOFTWARE", r"Classes\.new"),
        (r"HKLM\System\CurrentControlSet\New", None, f"{CONFIG}/SYSTEM", r"ControlSet001\New"),
        (r"CurrentControlSet\New", "SYSTEM", f"{CONFIG}/SYSTEM", r"ControlSet001\New"),
        (r"HKU\.DEFAULT\New", None, f"{CONFIG}/DEFAULT", "New"),
        (r"HKU\S-1-5-18\New", None, f"{CONFIG}/DEFAULT", "New"),
        (r"COMPONENTS\New", None, f"{CONFIG}/COMPONENTS", "New"),
        (r"HKCU\Software\New", None, "Users/Default/NTUSER.DAT", r"Software\New"),
        (r"Software\New", "NTUSER", "Users/Default/NTUSER.DAT", r"Software\New"),
        ("New", "Users\\Default\\ntuser.dat", "Users/Default/NTUSER.DAT", "New"),
        (r"HKCU\Software\New", USER, USER, r"Software\New"),
        (r"Software\New", "users/kim/ntuser.dat", USER, r"Software\New"),
        (r"HKCU\Software\Classes\.new", USER, CLASSES, ".new"),
        (r"Software\Classes\.new", USER, CLASSES, ".new"),
        (".new", CLASSES, CLASSES, ".new"),
        (r"HKU\S-1-5-20\New", None, SERVICE, "New"),
    ],
)
def test_a_key_goes_to_its_hive_and_to_no_other(
    image: Path, tmp_path: Path, key: str, hive: str | None, path: str, inside: str
) -> None:
    more = (USER, CLASSES, SERVICE)
    before = seen(image, tmp_path, more=more)
    edited(image, set_value(key, hive))
    after = seen(image, tmp_path, more=more)
    assert file_differences(before, after) == {path}
    assert {
        ("-" + one, None) if side == "-" else (one, value)
        for one, value, side in value_differences(before.hives[path], after.hives[path])
    } == {(inside, None), (inside, ("x", 4, ONE))}


@pytest.mark.parametrize(
    ("key", "hive", "reason"),
    [
        (r"HKLM\SAM\SAM\Domains", None, "accounts of the machine"),
        (r"HKLM\SECURITY\Policy", None, "secrets of the machine"),
        ("SAM", "SAM", "accounts of the machine"),
        ("Policy", "Windows/System32/config/SECURITY", "secrets of the machine"),
        (r"HKLM\HARDWARE\x", None, "anew at each start"),
        (r"HKU\S-1-5-21-1-2-3-1001\x", None, "of the users only"),
        (r"HKCC\x", None, "hardware profile"),
        (r"Nowhere\x", None, "no hive of an image"),
        (r"HKLM\SOFTWARE\x", "SYSTEM", "is not in the hive SYSTEM"),
        ("x", "Windows/win.ini", "is not changed"),
        ("x", "Users/Kim/../../NTUSER.DAT", "is not changed"),
        (r"HKCU\Software\Classes\x", None, "UsrClass|USRCLASS"),
    ],
)
def test_hives_that_are_not_edited_are_refused_by_name(
    image: Path, key: str, hive: str | None, reason: str
) -> None:
    before = image.read_bytes()
    with pytest.raises(NotSupported, match=reason) as told:
        edited(image, set_value(key, hive))
    assert told.value.reason == "hive"
    assert image.read_bytes() == before


def test_a_hive_that_is_not_there_is_not_found(image: Path) -> None:
    with pytest.raises(NotFound, match=r"USERS/LEE/NTUSER\.DAT"):
        edited(image, set_value("x", "Users/Lee/NTUSER.DAT"))


def test_a_reg_file_of_a_mounted_hive_finds_its_user(image: Path, tmp_path: Path) -> None:
    reg = tmp_path / "user.reg"
    reg.write_text(
        "Windows Registry Editor Version 5.00\n\n[HKEY_USERS\\OFFLINE\\Software\\New]\n"
        '@="v"\n\n[HKEY_USERS\\OFFLINE\\Software\\Classes\\.new]\n',
        encoding="utf-16",
    )
    with pytest.raises(NotSupported, match=r"line 3: .*of the users only"):
        edited(image, ImportReg(reg))
    with pytest.raises(NotSupported, match=r"line 3: ") as told:
        edited(image, ImportReg(reg, USER))
    assert told.value.reason == "hive"
    edited(image, ImportReg(reg, USER, r"HKU\OFFLINE"))
    hives = seen(image, tmp_path, more=(USER, CLASSES)).hives
    assert ("", 1, b"v\0\0\0") in hives[USER][r"Software\New"]
    assert ".new" in hives[CLASSES]
    with pytest.raises(InvalidInput, match="root without a hive"):
        edited(image, ImportReg(reg, root=r"HKU\OFFLINE"))


def test_the_line_of_a_refused_hive_is_told(image: Path, tmp_path: Path) -> None:
    reg = tmp_path / "sam.reg"
    reg.write_text(
        "REGEDIT4\n\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\a]\n\n[HKEY_LOCAL_MACHINE\\SAM\\a]\n"
    )
    with pytest.raises(NotSupported, match="line 5: the hive SAM"):
        edited(image, ImportReg(reg))


def test_old_reg_files_are_read_in_their_code_page(image: Path, tmp_path: Path) -> None:
    reg = tmp_path / "old.reg"
    text = 'REGEDIT4\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Old]\r\n"\u0424"="\u0414\u0430"\r\n'
    reg.write_bytes(text.encode("cp1251"))
    edited(image, ImportReg(reg, code_page=1251))
    hives = seen(image, tmp_path).hives
    value = ("\u0424", 1, "\u0414\u0430\0".encode("utf-16-le"))
    assert value in hives[f"{CONFIG}/SOFTWARE"]["Old"]


def test_keys_behind_links_are_refused(image: Path, tmp_path: Path) -> None:
    """Windows would follow them; nobody can know here where a running system leads them."""
    hive = Hive.parse(user_hive())
    hive.create_key(r"Software\Link")
    data = bytearray(hive.serialize(NOW))
    data[data.index(b"Link") - KEY_NAME_AT + KEY_FLAGS_AT] |= KEY_LINK
    (tmp_path / "linked.dat").write_bytes(data)
    linked = Hive.parse(bytes(data)).key(r"Software\Link")
    assert linked is not None
    assert linked.is_link
    edited(image, Add(tmp_path / "linked.dat", USER, overwrite=True))
    refused: tuple[Edit, ...] = (
        set_value(r"Software\Link\x", USER),
        DeleteRegistryKey(r"Software\Link\x", USER),
        MakeRegistryKey(r"Software\Link\x", USER),
        DeleteRegistryValue(r"Software\Link", "x", USER),
    )
    for edit in refused:
        with pytest.raises(NotSupported) as told:
            edited(image, edit)
        assert told.value.reason == "registry-link"


def test_the_hive_of_a_real_user_keeps_all_else(real: Path, image: Path, tmp_path: Path) -> None:
    edited(image, Add(real / "hive/NTUSER-WIN7.DAT", USER, overwrite=True))
    before = seen(image, tmp_path, more=(USER,)).hives[USER]
    edited(image, set_value(r"HKCU\Control Panel\Desktop\New", USER))
    after = seen(image, tmp_path, more=(USER,)).hives[USER]
    key = r"Control Panel\Desktop\New"
    assert len(before) > 1000
    assert set(value_differences(before, after)) == {(key, None, "+"), (key, ("x", 4, ONE), "+")}


def test_values_are_told_before_and_after_without_passwords(image: Path) -> None:
    edited(image, set_value(r"SOFTWARE\Key\Below"))
    plan = plan_of(
        image,
        set_value(r"SOFTWARE\Key\Below", data=bytes(4)),
        SetRegistryValue(r"SOFTWARE\Key", "DefaultPassword", 1, b"s\0\0\0"),
        DeleteRegistryKey(r"SOFTWARE\Key"),
    )
    assert [one.changes for one in plan.results] == [
        (ValueChange("SOFTWARE", r"Key\Below", "x", Value("x", 4, ONE), Value("x", 4, bytes(4))),),
        (
            ValueChange(
                "SOFTWARE", "Key", "DefaultPassword", None, Value("DefaultPassword", 1, b""), True
            ),
        ),
        (KeyChange("SOFTWARE", "Key", made=False, below=1),),
    ]
    assert "s" not in plan.results[1].text.split()


def test_names_no_key_can_have_are_refused(image: Path) -> None:
    for key in ("SOFTWARE\\" + "a" * 256, "SOFTWARE\\a\0b"):
        with pytest.raises(UnsafePath):
            edited(image, set_value(key))
    with pytest.raises(InvalidInput, match="without a name"):
        edited(image, set_value("\\"))
    with pytest.raises(NotSupported, match="root of a hive"):
        edited(image, DeleteRegistryKey("SOFTWARE"))
