"""A hive made from nothing is read by others exactly as it was meant."""

import time
from pathlib import Path

import pytest

from offline.registry import readers
from wimsmith.errors import DamagedHive, LimitExceeded, NotSupported, UnsafePath
from wimsmith.offline.registry import (
    Hive,
    ValueType,
    default_security,
    encode_dword,
    encode_multi_text,
    encode_qword,
    encode_text,
)

NOW = 0x01DA_0000_0000_0000
EVERY_TYPE = {
    "none": (ValueType.NONE, b""),
    "text": (ValueType.SZ, encode_text("caf\u00e9 \u4e2d\u6587 \U0001f600")),
    "expand": (ValueType.EXPAND_SZ, encode_text("%SystemRoot%\\x")),
    "binary": (ValueType.BINARY, bytes(range(256))),
    "dword": (ValueType.DWORD, encode_dword(0xFFFFFFFE)),
    "big endian": (ValueType.DWORD_BIG_ENDIAN, b"\0\0\1\2"),
    "link": (ValueType.LINK, encode_text("\\Registry\\Machine")[:-2]),
    "list": (ValueType.MULTI_SZ, encode_multi_text(["a", "b c"])),
    "resource": (ValueType.RESOURCE_LIST, b"\1" * 20),
    "descriptor": (ValueType.FULL_RESOURCE_DESCRIPTOR, b"\2" * 5),
    "requirements": (ValueType.RESOURCE_REQUIREMENTS_LIST, b"\3" * 8),
    "qword": (ValueType.QWORD, encode_qword(1 << 63)),
    "": (ValueType.SZ, encode_text("the default")),
    "short": (ValueType.BINARY, b"abc"),
    "driver": (0x00020001, b"as it is"),
}


@pytest.mark.parametrize("minor", [3, 5, 6])
def test_every_value_type_is_read_by_others_as_it_was_written(minor: int) -> None:
    hive = Hive.new(version_minor=minor)
    for name, (kind, data) in EVERY_TYPE.items():
        hive.set_value("Types", name, kind, data)
    written = hive.serialize(NOW)
    values = {(name, int(kind), data) for name, (kind, data) in EVERY_TYPE.items()}
    assert readers.ours(written) == {"": frozenset(), "Types": values}
    assert readers.libregf_agrees(written)
    assert readers.python_registry_agrees(written)
    assert Hive.parse(written).check(strict=True) == 0


def test_values_say_what_they_mean() -> None:
    hive = Hive.new()
    for name, (kind, data) in EVERY_TYPE.items():
        hive.set_value("Types", name, kind, data)
    key = hive.key("types")
    assert key is not None
    values = {value.name: value for value in key.values()}
    assert values["text"].text() == "caf\u00e9 \u4e2d\u6587 \U0001f600"
    assert values["list"].strings() == ("a", "b c")
    assert values["dword"].dword() == 0xFFFFFFFE
    assert values["big endian"].dword() == 0x102
    assert values["qword"].qword() == 1 << 63
    assert values["link"].text() == "\\Registry\\Machine"
    with pytest.raises(DamagedHive, match="'short' has 3 bytes"):
        values["short"].dword()


@pytest.mark.parametrize("size", [4, 5, 16_343, 16_344, 16_345, 32_688, 32_689, 300_000])
@pytest.mark.parametrize("minor", [3, 5])
def test_data_of_every_size_survive(size: int, minor: int, tmp_path: Path) -> None:
    data = bytes(index * 7 % 251 for index in range(size))
    hive = Hive.new(version_minor=minor)
    hive.set_value("Key", "big", ValueType.BINARY, data)
    hive.set_value("Key", "small", ValueType.BINARY, b"x" * 10)
    written = hive.serialize(NOW)
    expected = readers.ours(written)
    assert expected["Key"] == {("big", 3, data), ("small", 3, b"x" * 10)}
    assert readers.by_libregf(written) == expected
    assert readers.by_regipy(written, tmp_path) == expected
    assert readers.python_registry_agrees(written, expected)
    assert (b"db" in written) == (size > 16_344 and minor == 5)


def test_names_of_every_script_are_found_in_any_case(tmp_path: Path) -> None:
    names = [
        "plain",
        "Caf\u00e9",
        "\u041f\u0440\u0438\u0432\u0435\u0442",
        "\u4e2d\u6587",
        "\U0001f600",
    ]
    hive = Hive.new()
    for name in names:
        hive.set_value(f"Names\\{name}", f"v-{name}", ValueType.BINARY, b"12345")
    written = hive.serialize(NOW)
    again = Hive.parse(written)
    for name in names:
        key = again.key(f"NAMES\\{name.upper()}")
        assert key is not None
        assert key.name == name
        assert key.value(f"V-{name.upper()}") is not None
    assert readers.libregf_agrees(written)
    assert readers.python_registry_agrees(written)
    assert again.check(strict=True) == 0


def test_security_is_shared_by_content_and_counted(tmp_path: Path) -> None:
    special = default_security().replace(b"\x19\x00\x02\x00", b"\x3f\x00\x0f\x00")
    hive = Hive.new()
    for number in range(20):
        hive.create_key(f"Plain\\{number}")
        hive.create_key(f"Special\\{number}", special)
    written = hive.serialize(NOW)
    assert written.count(b"sk\0\0") == 2
    rows, _ = readers.by_reglookup(written, tmp_path)
    assert len({row.dacl for row in rows.values()}) == 2
    assert rows["Plain/3"].owner == "S-1-5-32-544"
    hive = Hive.parse(written)
    key = hive.key("special\\7")
    assert key is not None
    assert key.security == special
    hive.delete_key("Special")
    assert hive.check(strict=True) == 0
    assert hive.serialize(NOW).count(b"sk\0\0") == 2, "a freed cell keeps its bytes"
    hive.create_key("Plain\\3", special)
    assert hive.check(strict=True) == 0
    changed = hive.key("Plain\\3")
    assert changed is not None
    assert changed.security == special


def test_a_key_below_shares_the_descriptor_of_its_parent() -> None:
    special = default_security().replace(b"\x19\x00\x02\x00", b"\x3f\x00\x0f\x00")
    hive = Hive.new()
    hive.create_key("A", special)
    hive.set_value("A\\B\\C", "x", ValueType.DWORD, encode_dword(1))
    assert [key.security for key in hive.walk("A")] == [special] * 3


def test_a_descriptor_that_windows_would_not_load_is_refused() -> None:
    hive = Hive.new()
    for bad in (b"", default_security()[:20], b"\2" + default_security()[1:]):
        with pytest.raises(DamagedHive, match="security descriptor"):
            hive.create_key("A", bad)


def test_times_and_class_names_are_read_by_others(tmp_path: Path) -> None:
    hive = Hive.new()
    hive.create_key("Lsa\\JD", class_name="1a2b3c4d")
    written = hive.serialize(133_000_000_000_000_000)
    rows, _ = readers.by_reglookup(written, tmp_path)
    assert rows["Lsa/JD"].class_name == "1a2b3c4d"
    assert {row.time for row in rows.values()} == {"2022-06-18 04:26:40"}
    key = Hive.parse(written).key("Lsa\\JD")
    assert key is not None
    assert key.class_name == "1a2b3c4d"
    assert key.written == 133_000_000_000_000_000


def test_writing_is_repeatable() -> None:
    def build() -> Hive:
        hive = Hive.new()
        for number in range(300):
            hive.set_value(
                f"K{number % 17}\\{number}", "v", ValueType.SZ, encode_text("x" * number)
            )
            if number % 3 == 0:
                hive.delete_key(f"K{(number + 5) % 17}")
        return hive

    assert build().serialize(NOW) == build().serialize(NOW)
    hive = build()
    assert hive.serialize(NOW + 1) != hive.serialize(NOW)
    assert hive.serialize(NOW) == build().serialize(NOW)


def test_ten_thousand_keys_under_one_are_fast_and_small() -> None:
    hive = Hive.new()
    started = time.perf_counter()
    for number in range(10_000):
        hive.set_value(f"Many\\Key {number:05}", "Value", ValueType.SZ, encode_text("some text"))
    written = hive.serialize(NOW)
    assert time.perf_counter() - started < 10, "measured 0.7 s on an idle machine"
    assert len(written) < 3_000_000
    assert Hive.parse(written).check(strict=True) == 0
    assert len(readers.by_libregf(written)) == 10_002


@pytest.mark.parametrize("name", ["a" * 256, "nul\0", ""])
def test_names_that_no_key_can_have_are_refused(name: str) -> None:
    with pytest.raises(UnsafePath):
        Hive.new(name)


def test_limits_of_the_format_are_kept() -> None:
    hive = Hive.new(version_minor=3)
    with pytest.raises(LimitExceeded):
        hive.set_value("A", "v", ValueType.BINARY, bytes((1 << 20) + 1))
    with pytest.raises(LimitExceeded):
        hive.create_key("\\".join("a" * 513))
    with pytest.raises(UnsafePath):
        hive.set_value("A", "v" * 16_384, ValueType.BINARY, b"")
    with pytest.raises(UnsafePath):
        hive.create_key("a" * 256)
    with pytest.raises(NotSupported):
        hive.delete_key("")
    assert hive.check(strict=True) == 0
    deep = hive.create_key("\\".join("a" * 512))
    assert len(deep.path) == 1023
    assert len(list(hive.walk())) == 513
