"""The parts of the oracle, each against things that are known from elsewhere."""

from hashlib import sha1, sha256
from pathlib import Path

import pytest
from asn1crypto import algos, core

from oracle import catalogs
from oracle.observe import read_hive
from oracle.package import NotProved, expand_cabinet, read_update
from oracle.places import Places
from oracle.security import Descriptor, of_bytes, of_sddl

EN_US = "Microsoft-Windows-InternetExplorer-Optional-Package~31bf3856ad364e35~amd64~en-US~.cab"


def attribute(digest: bytes, algorithm: str) -> bytes:
    """An attribute SpcIndirectDataContent, as catalogs hold one for each member."""
    info = algos.DigestInfo({"digest_algorithm": {"algorithm": algorithm}, "digest": digest})
    data = core.Sequence()
    data.contents = core.ObjectIdentifier("1.3.6.1.4.1.311.2.1.25").dump()
    content = core.Sequence()
    content.contents = data.dump() + info.dump()
    values = core.Set()
    values.contents = content.dump()
    outer = core.Sequence()
    outer.contents = core.ObjectIdentifier("1.3.6.1.4.1.311.2.1.4").dump() + values.dump()
    return bytes(outer.dump())


def test_a_catalog_vouches_for_what_it_lists_and_nothing_else() -> None:
    old, new = sha1(b"old").digest(), sha256(b"new").digest()
    identifier = core.OctetString(sha1(b"an identifier is no digest of a file").digest())
    members = core.Sequence()
    members.contents = identifier.dump() + attribute(old, "sha1") + attribute(new, "sha256")
    catalog = members.dump()
    assert catalogs.listed_digests(catalog) == {old, new}
    assert catalogs.lists(catalog, b"old")
    assert catalogs.lists(catalog, b"new")
    assert not catalogs.lists(catalog, b"an identifier is no digest of a file")


def test_a_real_package_is_proved_by_its_catalogs(real: Path, tmp_path: Path) -> None:
    folder = expand_cabinet(real / "cbs" / EN_US, tmp_path)
    catalog = (folder / "update.cat").read_bytes()
    manifest = (folder / "update.mum").read_bytes()
    assert catalogs.lists(catalog, manifest)
    assert not catalogs.lists(catalog, manifest + b" ")


def test_decoded_manifests_are_not_believed_unseen(real: Path, tmp_path: Path) -> None:
    folder = expand_cabinet(real / "cbs" / EN_US, tmp_path)
    plain = next(
        path.read_bytes()
        for path in folder.glob("*.manifest")
        if not path.read_bytes().startswith(b"DCM")
    )
    decoded = {path.stem: plain for path in folder.glob("*.manifest")}
    with pytest.raises(NotProved):
        read_update(folder, decoded)


def test_sddl_and_bytes_meet_in_one_form() -> None:
    sids = (
        bytes.fromhex("01020000000000052000000020020000"),
        bytes.fromhex("010100000000000512000000"),
    )
    ace = bytes.fromhex("00031800a9001200") + sids[0]
    acl = bytes.fromhex("0200") + (8 + len(ace)).to_bytes(2, "little") + b"\1\0\0\0" + ace
    head = bytes.fromhex("01000494") + b"".join(
        number.to_bytes(4, "little")
        for number in (20 + len(acl), 20 + len(acl) + len(sids[0]), 0, 20)
    )
    data = head + acl + sids[0] + sids[1]
    expected = Descriptor(
        owner="S-1-5-32-544",
        group="S-1-5-18",
        protected=True,
        access=((0, 3, 0x1200A9, "S-1-5-32-544"),),
        audit=(),
    )
    assert of_bytes(data) == expected
    assert of_sddl("O:BAG:SYD:PAI(A;OICI;0x1200a9;;;BA)", for_key=False) == expected
    assert of_sddl("O:BAG:SYD:PAI(A;OICI;GRGX;;;BA)", for_key=False) != expected


def test_entries_with_two_effects_are_read_as_two() -> None:
    """As an installed Windows shows them: one takes effect, the other waits."""
    found = of_sddl("O:SYG:SYD:P(A;CI;GA;;;BA)(A;OICIIO;GA;;;CO)(A;CI;KR;;;BU)", for_key=True)
    assert found.access == (
        (0, 0, 0xF003F, "S-1-5-32-544"),
        (0, 0x0A, 0x10000000, "S-1-5-32-544"),
        (0, 0x0B, 0x10000000, "S-1-3-0"),
        (0, 2, 0x20019, "S-1-5-32-545"),
    )


def test_a_long_sid_and_an_audit_entry_are_read_from_sddl() -> None:
    trusted = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
    text = f"O:{trusted}G:{trusted}D:P(A;;FA;;;{trusted})(A;;GRGX;;;BU)S:(AU;FASA;0x000D0116;;;WD)"
    found = of_sddl(text, for_key=False)
    assert found.owner == found.group == trusted
    assert found.access == ((0, 0, 0x1F01FF, trusted), (0, 0, 0x1200A9, "S-1-5-32-545"))
    assert found.audit == ((2, 0xC0, 0xD0116, "S-1-1-0"),)


@pytest.mark.parametrize(
    ("architecture", "key", "place"),
    [
        ("amd64", r"HKEY_LOCAL_MACHINE\SOFTWARE\X", ("SOFTWARE", "X")),
        ("wow64", r"HKEY_LOCAL_MACHINE\SOFTWARE\X", ("SOFTWARE", r"Wow6432Node\X")),
        ("x86", r"HKEY_LOCAL_MACHINE\Software\Policies\X", ("SOFTWARE", r"Policies\X")),
        ("wow64", r"HKEY_LOCAL_MACHINE\SOFTWARE\PoliciesX", ("SOFTWARE", r"Wow6432Node\PoliciesX")),
        ("wow64", r"HKEY_CLASSES_ROOT\CLSID\{1}", ("SOFTWARE", r"Classes\Wow6432Node\CLSID\{1}")),
        ("wow64", r"HKEY_CLASSES_ROOT\.txt", ("SOFTWARE", r"Classes\.txt")),
        (
            "wow64",
            r"HKEY_LOCAL_MACHINE\SOFTWARE\Classes\Interface\{1}",
            ("SOFTWARE", r"Classes\Wow6432Node\Interface\{1}"),
        ),
        (
            "wow64",
            r"HKEY_LOCAL_MACHINE\SOFTWARE\Wow6432Node\X",
            ("SOFTWARE", r"Wow6432Node\X"),
        ),
        (
            "wow64",
            r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\X",
            ("SYSTEM", r"ControlSet002\Services\X"),
        ),
        ("amd64", r"HKEY_USERS\.DEFAULT\Software\X", ("DEFAULT", r"Software\X")),
        ("amd64", r"HKEY_CURRENT_USER\Software\X", ("NTUSER", r"Software\X")),
    ],
)
def test_keys_go_where_the_registry_redirector_would_send_them(
    architecture: str, key: str, place: tuple[str, str]
) -> None:
    assert Places(architecture, {}, "ControlSet002").key(key) == place


def test_macros_lead_into_the_image_and_read_as_on_the_running_system() -> None:
    native, redirected = Places("amd64", {"a": "text"}), Places("wow64", {})
    assert native.in_image("$(runtime.system32)\\de\\") == "Windows/System32/de"
    assert redirected.in_image("$(runtime.programFiles)\\X") == "Program Files (x86)/X"
    assert native.in_image("$(runtime.bootDrive)\\X") == "X"
    assert native.text("$(string.a): $(runtime.windows)") == "text: C:\\Windows"
    assert redirected.text("$(runtime.system32)\\x.dll,-1") == "C:\\Windows\\SysWOW64\\x.dll,-1"


def test_a_real_hive_is_read_exactly(real: Path) -> None:
    keys = read_hive((real / "hive" / "NTUSER-WIN7.DAT").read_bytes())
    assert len(keys) == 2288
    assert sum(len(key.values) for key in keys.values()) == 5470
    slots = keys[r"software\microsoft\windows\shell\bagmru"].values["nodeslots"]
    assert (slots.type, len(slots.data)) == (3, 2)
    assert of_bytes(keys[""].security).owner.startswith("S-1-5-")
