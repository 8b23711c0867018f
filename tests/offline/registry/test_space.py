"""Space that edits give back is used again: no hive grows for ever."""

import random
import struct

import pytest

from offline.registry import readers
from wimsmith.offline.registry import Hive, ValueType, default_security, encode_dword

NOW = 0x01DA_0000_0000_0000
PAGE = 4096


def leaf_counts(hive: Hive, data: bytes, path: str) -> list[int]:
    """Entries of each leaf in the list of a key, as the file has them."""
    key = hive.key(path)
    assert key is not None
    top = struct.unpack_from("<I", data, PAGE + key.offset + 4 + 28)[0]
    kind, count = struct.unpack_from("<2sH", data, PAGE + top + 4)
    if kind != b"ri":
        return [count]
    leaves = struct.unpack_from(f"<{count}I", data, PAGE + top + 8)
    return [struct.unpack_from("<H", data, PAGE + leaf + 6)[0] for leaf in leaves]


@pytest.mark.parametrize("minor", [3, 5])
def test_a_value_that_grows_each_time_takes_the_place_of_its_forerunners(minor: int) -> None:
    hive = Hive.new(version_minor=minor)
    for size in range(20_000, 120_000, 500):
        hive.set_value("Key", "v", ValueType.BINARY, bytes(size))
    data = hive.serialize(NOW)
    assert len(data) < 3 * 120_000, "200 of them would take 14 MB"
    again = Hive.parse(data)
    assert again.check(strict=True) == 0
    assert readers.by_libregf(data)["Key"] == {("v", 3, bytes(119_500))}


def test_bins_that_have_become_empty_are_joined_for_what_no_one_of_them_holds() -> None:
    hive = Hive.new(version_minor=3)
    for number in range(100):
        hive.set_value("Key", f"{number}", ValueType.BINARY, bytes([number]) * 4000)
    hive.create_key("Behind")
    size = len(hive.serialize(NOW))
    for number in range(100):
        hive.delete_value("Key", f"{number}")
    hive.set_value("Key", "large", ValueType.BINARY, b"x" * 300_000)
    data = hive.serialize(NOW)
    assert len(data) == size
    assert Hive.parse(data).check(strict=True) == 0
    assert readers.by_libregf(data)["Key"] == {("large", 3, b"x" * 300_000)}


def test_an_empty_bin_at_the_end_grows() -> None:
    hive = Hive.new(version_minor=3)
    hive.set_value("Key", "v", ValueType.BINARY, bytes(50_000))
    size = len(hive.serialize(NOW))
    hive.delete_value("Key", "v")
    hive.set_value("Key", "v", ValueType.BINARY, bytes(60_000))
    data = hive.serialize(NOW)
    assert len(data) == size + 2 * PAGE
    assert Hive.parse(data).check(strict=True) == 0


def test_random_edits_for_a_long_time_need_little_more_than_what_is_there() -> None:
    chance = random.Random(9)
    hive = Hive.new()
    for number in range(6000):
        key, name = f"K\\{chance.randrange(60)}", f"{chance.randrange(4)}"
        match chance.randrange(4):
            case 0:
                hive.delete_key(key)
            case 1:
                hive.delete_value(key, name)
            case _:
                size = chance.choice((8, 90, 900, 4000, 9000, 30_000))
                hive.set_value(key, name, ValueType.BINARY, bytes([number % 256]) * size)
    data = hive.serialize(NOW)
    live = sum(len(value[2]) for values in readers.ours(data).values() for value in values)
    assert len(data) < 4 * live + 500_000
    assert Hive.parse(data).check(strict=True) == 0
    assert readers.libregf_agrees(data)


def test_small_leaves_join() -> None:
    hive = Hive.new()
    for number in range(2000):
        hive.create_key(f"Top\\{number:05}")
    assert len(leaf_counts(hive, hive.serialize(NOW), "Top")) >= 3
    for number in range(2000):
        if number % 100:
            hive.delete_key(f"Top\\{number:05}")
    data = hive.serialize(NOW)
    assert leaf_counts(hive, data, "Top") == [20]
    assert hive.check(strict=True) == 0
    assert readers.libregf_agrees(data)
    for number in range(2000):
        hive.create_key(f"Top\\{number:05}")
    assert hive.check(strict=True) == 0
    assert len(readers.by_libregf(hive.serialize(NOW))) == 2002


def test_one_key_of_each_leaf_does_not_keep_the_leaves() -> None:
    """Keys that come in order, of which few stay: a leaf of 4 KiB for each would add up."""
    hive = Hive.new()
    for number in range(3000):
        hive.create_key(f"Log\\{number:06}")
        if number >= 300 and (number - 300) % 500:
            hive.delete_key(f"Log\\{number - 300:06}")
    data = hive.serialize(NOW)
    assert len(leaf_counts(hive, data, "Log")) <= 3
    assert len(data) < 90_000
    assert Hive.parse(data).check(strict=True) == 0


def test_the_last_user_of_a_descriptor_takes_it_along() -> None:
    special = default_security().replace(b"\x19\x00\x02\x00", b"\x3f\x00\x0f\x00")
    hive = Hive.new()
    size = len(hive.serialize(NOW))
    for _ in range(200):
        hive.create_key("A\\B", special)
        hive.create_key("A\\B\\C")
        hive.create_key("A\\B", default_security())
        assert hive.check(strict=True) == 0
        hive.delete_key("A")
    assert hive.check(strict=True) == 0
    assert len(hive.serialize(NOW)) == size


def test_new_data_of_the_same_size_stay_in_their_cell() -> None:
    hive = Hive.new()
    for number in range(20):
        hive.set_value("Key", f"{number}", ValueType.BINARY, bytes([number]) * 100)
    before = hive.serialize(NOW)
    hive = Hive.parse(before)
    hive.set_value("Key", "7", ValueType.BINARY, b"z" * 98)
    after = hive.serialize(NOW)
    changed = [at for at in range(PAGE + 32, len(after)) if before[at] != after[at]]
    assert max(changed) - min(changed) < 200, "the data, and the size in the record of the value"


def test_a_value_that_stays_as_it_is_is_no_edit() -> None:
    hive = Hive.new()
    hive.set_value("Key", "v", ValueType.DWORD, encode_dword(7))
    hive = Hive.parse(hive.serialize(NOW))
    hive.set_value("KEY", "V", ValueType.DWORD, encode_dword(7))
    hive.create_key("Key")
    hive = Hive.parse(hive.serialize(NOW + 5))
    assert [key.written for key in hive.walk()] == [NOW, NOW]
    hive.set_value("Key", "v", ValueType.BINARY, encode_dword(7))
    assert [key.written for key in Hive.parse(hive.serialize(NOW + 9)).walk()] == [NOW, NOW + 9]
