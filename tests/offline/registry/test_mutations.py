"""Damaged hives: whatever is broken, the answer is one of our errors, soon."""

import random
import struct
import time
from collections.abc import Callable

import pytest

from wimsmith.errors import WimsmithError
from wimsmith.offline.registry import Hive, ValueType, encode_text
from wimsmith.offline.registry.base import checksum

ROUNDS = 500


@pytest.fixture(scope="module")
def seed_hive() -> bytes:
    """A small hive with every kind of record in it."""
    hive = Hive.new()
    for number in range(700):
        hive.create_key(f"Many\\{number}")
    hive.create_key("Class", class_name="a class")
    hive.set_value("Values", "big", ValueType.BINARY, bytes(40_000))
    for number in range(20):
        hive.set_value("Values", f"text {number}", ValueType.SZ, encode_text("x" * number))
    hive.delete_value("Values", "text 3")
    return hive.serialize(1 << 56)


def mutated(data: bytes, chance: random.Random) -> bytes:
    image = bytearray(data)
    for _ in range(chance.randrange(1, 9)):
        at = chance.randrange(4096, len(image) - 4)
        match chance.randrange(4):
            case 0:
                image[at] ^= 1 << chance.randrange(8)
            case 1:
                struct.pack_into("<I", image, at & ~3, chance.randrange(1 << 32))
            case 2:
                struct.pack_into("<I", image, at & ~3, chance.randrange(len(image)) & ~7)
            case _:
                source = chance.randrange(4096, len(image) - 64)
                image[at : at + 8] = image[source : source + 8]
    del image[len(data) :]
    if chance.randrange(10) == 0:
        struct.pack_into("<I", image, 20 + 4 * chance.randrange(7), chance.randrange(1 << 32))
    struct.pack_into("<I", image, 508, checksum(image))
    return bytes(image)


def use(data: bytes) -> None:
    """All that anybody does with a hive: read it, check it, change it, write it."""
    hive = Hive.parse(data)
    for key in hive.walk():
        assert len(key.class_name) < len(data)
        assert len(key.security) < len(data)
        for value in key.values():
            assert len(value.data) < len(data)
    hive.check(strict=True)


def change(data: bytes) -> bytes:
    hive = Hive.parse(data)
    hive.set_value("Many\\345\\New", "value", ValueType.BINARY, bytes(20_000))
    hive.set_value("Values", "text 5", ValueType.BINARY, bytes(300))
    hive.delete_value("Values", "big")
    hive.delete_key("Many\\100")
    hive.delete_key("Class")
    hive.create_key("Many\\100")
    hive.delete_key("Many")
    return hive.serialize(1 << 57)


@pytest.mark.parametrize("action", [use, change])
def test_mutated_hives_end_in_our_errors(
    seed_hive: bytes, action: Callable[[bytes], object]
) -> None:
    chance = random.Random(action.__name__)
    refused, slowest = 0, 0.0
    for _ in range(ROUNDS // 2):
        data = mutated(seed_hive, chance)
        started = time.perf_counter()
        try:
            action(data)
        except WimsmithError:
            refused += 1
        slowest = max(slowest, time.perf_counter() - started)
    assert refused > 0
    assert slowest < 5, "measured 0.05 s"


def test_truncated_hives_end_in_our_errors(seed_hive: bytes) -> None:
    for size in [*range(0, 600, 37), *range(600, len(seed_hive), 4001)]:
        with pytest.raises(WimsmithError):
            use(seed_hive[:size])


def test_a_small_file_cannot_ask_for_much_memory() -> None:
    hive = Hive.new()
    hive.set_value("Key", "big", ValueType.BINARY, bytes(33_000))
    data = bytearray(hive.serialize(1))
    record = data.index(b"vk\3\0")
    struct.pack_into("<I", data, record + 4, 0x3FFFFFFF)
    with pytest.raises(WimsmithError, match="claims"):
        use(bytes(data))
