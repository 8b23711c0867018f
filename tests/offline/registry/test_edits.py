"""Edits: lists of every kind, free cells taken again, what is deleted is gone."""

import struct

import pytest

from offline.registry import readers
from wimsmith.errors import NotSupported
from wimsmith.offline.registry import Hive, ValueType, encode_dword, encode_text

NOW = 0x01DA_0000_0000_0000
BASE_BYTES = 4096


def hive_with(count: int, minor: int) -> Hive:
    hive = Hive.new(version_minor=minor)
    for number in range(count):
        hive.create_key(f"Top\\key {number * 7919 % count:05}")
    return hive


def as_index_leaves(data: bytes) -> bytes:
    """The same hive with its fast leaves turned into index leaves (`li`), as NT 3.1 wrote them."""
    image = bytearray(data)
    at = BASE_BYTES
    while (at := image.find(b"lf", at)) != -1:
        size = -struct.unpack_from("<i", image, at - 4)[0]
        count = struct.unpack_from("<H", image, at + 2)[0]
        if at % 8 == 4 and 0 < count * 8 + 8 <= size:
            words = struct.unpack_from(f"<{count * 2}I", image, at + 4)
            image[at : at + 2] = b"li"
            struct.pack_into(f"<{count}I", image, at + 4, *words[::2])
        at += 2
    return bytes(image)


@pytest.mark.parametrize(("minor", "kind"), [(3, b"lf"), (5, b"lh"), (6, b"lh")])
def test_lists_have_the_kind_of_the_version_and_split_under_a_root(minor: int, kind: bytes) -> None:
    written = hive_with(1200, minor).serialize(NOW)
    assert written.count(b"ri\3\0") + written.count(b"ri\4\0") == 1
    assert kind in written
    assert readers.libregf_agrees(written)
    assert readers.python_registry_agrees(written)
    assert Hive.parse(written).check(strict=True) == 0


@pytest.mark.parametrize("count", [3, 700])
def test_index_leaves_are_read_and_edited(count: int) -> None:
    data = as_index_leaves(hive_with(count, 3).serialize(NOW))
    assert b"li" in data
    assert readers.libregf_agrees(data)
    hive = Hive.parse(data)
    assert len(list(hive.walk())) == count + 2
    for number in range(0, count, 2):
        assert hive.delete_key(f"Top\\key {number:05}")
    for number in range(count):
        hive.create_key(f"Top\\more {number:05}")
    assert hive.check(strict=True) == 0
    written = hive.serialize(NOW)
    assert readers.libregf_agrees(written)
    assert len(readers.ours(written)) == 2 + count + count // 2


def test_all_keys_can_go_and_come_again_in_the_same_space() -> None:
    hive = hive_with(1500, 5)
    size = len(hive.serialize(NOW))
    for _ in range(3):
        for number in range(1500):
            assert hive.delete_key(f"top\\KEY {number:05}")
        top = hive.key("Top")
        assert top is not None
        assert list(top.subkeys()) == []
        assert hive.check(strict=True) == 0
        for number in range(1500):
            hive.create_key(f"Top\\key {number:05}")
        assert hive.check(strict=True) == 0
    assert len(hive.serialize(NOW)) <= size * 1.1


def test_a_deleted_tree_takes_everything_below_along() -> None:
    hive = Hive.new()
    hive.create_key("Stays")
    before = readers.ours(hive.serialize(NOW))
    for number in range(50):
        path = f"Goes\\{number % 5}\\{number}"
        hive.create_key(path, class_name="class")
        hive.set_value(path, "big", ValueType.BINARY, bytes(40_000))
        hive.set_value(path, "small", ValueType.DWORD, encode_dword(number))
    assert hive.delete_key("goes")
    assert not hive.delete_key("goes")
    assert hive.check(strict=True) == 0, "nothing is left that nobody refers to"
    assert readers.libregf_agrees(hive.serialize(NOW), before)


def test_values_change_in_place_and_keep_their_order_and_name() -> None:
    hive = Hive.new()
    for name in ("First", "Second", "Third"):
        hive.set_value("Key", name, ValueType.SZ, encode_text(name))
    hive.set_value("Key", "SECOND", ValueType.BINARY, bytes(20_000))
    key = hive.key("Key")
    assert key is not None
    assert [value.name for value in key.values()] == ["First", "Second", "Third"]
    assert hive.delete_value("Key", "first")
    assert not hive.delete_value("Key", "first")
    assert not hive.delete_value("Nowhere", "first")
    assert [(value.name, len(value.data)) for value in key.values()] == [
        ("Second", 20_000),
        ("Third", 12),
    ]
    assert hive.check(strict=True) == 0
    hive.delete_value("Key", "second")
    hive.delete_value("Key", "third")
    assert list(key.values()) == []
    assert hive.check(strict=True) == 0


def test_many_values_under_one_key() -> None:
    hive = Hive.new()
    for number in range(3000):
        hive.set_value("Key", f"value {number}", ValueType.DWORD, encode_dword(number))
    for number in range(0, 3000, 2):
        hive.delete_value("Key", f"VALUE {number}")
    assert hive.check(strict=True) == 0
    written = hive.serialize(NOW)
    assert readers.libregf_agrees(written)
    assert len(readers.ours(written)["Key"]) == 1500


def test_only_edited_keys_get_the_new_time() -> None:
    hive = Hive.new()
    hive.set_value("A\\B", "x", ValueType.DWORD, encode_dword(1))
    hive.create_key("C")
    hive = Hive.parse(hive.serialize(1000))
    hive.set_value("A\\B", "x", ValueType.DWORD, encode_dword(2))
    hive.create_key("C\\D")
    hive = Hive.parse(hive.serialize(2000))
    assert {key.path: key.written for key in hive.walk()} == {
        "": 1000,
        "A": 1000,
        "A\\B": 2000,
        "C": 2000,
        "C\\D": 2000,
    }
    assert hive.written == 2000


def test_each_write_counts_up_and_ends_clean() -> None:
    data = Hive.new().serialize(NOW)
    for expected in (1, 2, 3):
        assert struct.unpack_from("<II", data, 4) == (expected, expected)
        data = Hive.parse(data).serialize(NOW)


def test_a_predefined_handle_has_no_values() -> None:
    hive = Hive.new()
    hive.create_key("Perflib\\009")
    data = bytearray(hive.serialize(NOW))
    key = hive.key("Perflib\\009")
    assert key is not None
    at = BASE_BYTES + key.offset + 4
    struct.pack_into("<H", data, at + 2, 0x60)
    struct.pack_into("<I", data, at + 36, 0x80000050)
    hive = Hive.parse(bytes(data))
    assert [list(key.values()) for key in hive.walk("Perflib\\009")] == [[]]
    with pytest.raises(NotSupported):
        hive.set_value("Perflib\\009", "x", ValueType.DWORD, encode_dword(1))
    assert hive.delete_key("Perflib")
