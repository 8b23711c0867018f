"""Keys get other names: in their sorted place, with all that belongs to them."""

import struct
from pathlib import Path

import pytest

from offline.registry import readers
from wimsmith.errors import NotFound, NotSupported, PathConflict, UnsafePath
from wimsmith.offline.registry import Hive, ValueType, default_security, encode_text

NOW = 0x01DA_0000_0000_0000
BASE_BYTES = 4096


@pytest.fixture
def hive() -> Hive:
    special = default_security().replace(b"\x19\x00\x02\x00", b"\x3f\x00\x0f\x00")
    made = Hive.new()
    for number in range(700):
        made.create_key(f"Top\\{number:03}")
    made.create_key("Top\\333", special)
    made.set_value("Top\\333", "v", ValueType.SZ, encode_text("text"))
    made.set_value("Top\\333", "big", ValueType.BINARY, bytes(50_000))
    made.create_key("Top\\333\\Below\\Deep", class_name="class")
    made.set_value("Top\\333\\Below", "w", ValueType.SZ, encode_text("below"))
    return Hive.parse(made.serialize(NOW))


@pytest.mark.parametrize(
    "name", ["a", "000a", "zzz", "a name that needs a larger cell", "\u0414\u0430", "33\u00e9"]
)
def test_a_key_keeps_all_but_its_name(hive: Hive, name: str, tmp_path: Path) -> None:
    before = readers.ours(hive.serialize(NOW))
    key = hive.key("Top\\333")
    assert key is not None
    security = key.security
    renamed = hive.rename_key("TOP\\333", name)
    assert (renamed.name, renamed.path) == (name, f"Top\\{name}")
    assert renamed.security == security
    assert hive.check(strict=True) == 0
    written = hive.serialize(NOW + 1)
    expected = {path.replace("Top\\333", f"Top\\{name}"): values for path, values in before.items()}
    assert readers.libregf_agrees(written, expected)
    assert readers.python_registry_agrees(written, expected)
    assert readers.hivex_differs(written, expected, tmp_path) == {}
    assert Hive.parse(written).check(strict=True) == 0
    again = Hive.parse(written)
    assert again.key("Top\\333") is None
    below = again.key(f"top\\{name.upper()}\\below\\deep")
    assert below is not None
    assert below.class_name == "class"
    times = {key.path: key.written for key in again.walk()}
    assert {path for path, time in times.items() if time > NOW} == {"Top", f"Top\\{name}"}


def test_it_can_be_edited_on(hive: Hive) -> None:
    renamed = hive.rename_key("Top\\333", "a name that needs a larger cell")
    hive.set_value(renamed.path, "V", ValueType.SZ, encode_text("other"))
    hive.create_key(f"{renamed.path}\\Below\\More")
    hive.delete_value(renamed.path, "big")
    hive.rename_key(f"{renamed.path}\\Below", "B")
    assert hive.check(strict=True) == 0
    assert hive.delete_key(renamed.path)
    assert hive.check(strict=True) == 0
    assert readers.libregf_agrees(hive.serialize(NOW))


def test_the_case_alone_can_change(hive: Hive) -> None:
    hive.create_key("Top\\Name")
    assert hive.rename_key("top\\name", "NAME").name == "NAME"
    assert hive.check(strict=True) == 0
    assert "Top\\NAME" in readers.by_libregf(hive.serialize(NOW))


def test_the_only_key_of_its_parent() -> None:
    hive = Hive.new()
    hive.create_key("A")
    hive.rename_key("A", "B")
    assert [key.name for key in hive.root.subkeys()] == ["B"]
    assert hive.check(strict=True) == 0


def test_names_that_cannot_be_leave_the_hive_as_it_is(hive: Hive) -> None:
    before = hive.serialize(NOW)
    with pytest.raises(PathConflict):
        hive.rename_key("Top\\333", "444")
    with pytest.raises(NotFound):
        hive.rename_key("Top\\nowhere", "444")
    with pytest.raises(NotFound):
        hive.rename_key("Nowhere\\333", "444")
    with pytest.raises(NotSupported):
        hive.rename_key("", "ROOT2")
    for name in ("", "a\\b", "a" * 256, "nul\0"):
        with pytest.raises(UnsafePath):
            hive.rename_key("Top\\333", name)
    hive.rename_key("Top\\333", "333")
    assert hive.serialize(NOW) == before


def test_virtualisation_flags_stay_and_are_handed_down() -> None:
    hive = Hive.new()
    hive.create_key("Software\\Kept")
    data = bytearray(hive.serialize(NOW))
    for path, flags in (("Software", 0xE), ("Software\\Kept", 0x2)):
        key = hive.key(path)
        assert key is not None
        field = BASE_BYTES + key.offset + 4 + 54
        struct.pack_into("<H", data, field, 0x10 | flags)
    hive = Hive.parse(bytes(data))
    hive.create_key("Software\\A very long name of a key")
    hive.create_key("Software\\Kept\\New")
    hive.rename_key("Software\\Kept", "Kept under a name that is longer than before")
    hive.delete_key("Software\\Nothing")
    written = hive.serialize(NOW)
    flags_of = {
        key.name[:4]: struct.unpack_from("<HH", written, BASE_BYTES + key.offset + 4 + 52)
        for key in hive.walk()
    }
    assert flags_of["Soft"][1] == 0x1E
    assert flags_of["Kept"] == (6, 0x12)
    assert flags_of["A ve"] == (0, 0x0E), "handed down"
    assert flags_of["New"] == (0, 0), "not handed down"
    assert hive.check(strict=True) == 0
