"""Hives made to lead a reader in circles or to make it read a thing many times over."""

import struct
import time
from dataclasses import dataclass, field

import pytest

from offline.registry.replay import checksum
from wimsmith.errors import DamagedHive
from wimsmith.offline.registry import Hive, ValueType

BASE_BYTES = 4096
NOWHERE = 0xFFFFFFFF
NOW = 1 << 56
ROOT, NAMED = 0x0C, 0x20
BOUND_S = 20.0
DEEP = 300


@dataclass(slots=True)
class Maker:
    """Writes the cells of a hive one by one, right or wrong."""

    cells: bytearray = field(default_factory=lambda: bytearray(32))

    def add(self, record: bytes, room: int = 0) -> int:
        offset = len(self.cells)
        size = -(-(max(len(record), room) + 4) // 8) * 8
        self.cells += struct.pack("<i", -size) + record.ljust(size - 4, b"\0")
        return offset

    def put(self, offset: int, at: int, number: int) -> None:
        struct.pack_into("<I", self.cells, offset + 4 + at, number)

    def key(
        self,
        name: bytes,
        parent: int,
        *,
        flags: int = NAMED,
        subkeys: tuple[int, int] = (0, NOWHERE),
        values: tuple[int, int] = (0, NOWHERE),
        class_name: tuple[int, int] = (NOWHERE, 0),
        security: int = 0,
    ) -> int:
        counts = (subkeys[0], 0, subkeys[1], NOWHERE, *values, security, class_name[0])
        head = struct.pack("<2sHQII", b"nk", flags, NOW, 0, parent)
        tail = struct.pack("<8I5I", *counts, 0, 0, 0, 0, 0)
        return self.add(head + tail + struct.pack("<HH", len(name), class_name[1]) + name)

    def list(self, kind: bytes, entries: list[int]) -> int:
        words = entries
        if kind in {b"lf", b"lh"}:
            words = [word for entry in entries for word in (entry, 0)]
        return self.add(kind + struct.pack(f"<H{len(words)}I", len(entries), *words))

    def security(self, size: int = 20) -> int:
        descriptor = struct.pack("<BBHIIII", 1, 0, 0x8000, 0, 0, 0, 0).ljust(size, b"\0")
        offset = self.add(struct.pack("<2sH4I", b"sk", 0, 0, 0, 1, len(descriptor)) + descriptor)
        self.put(offset, 4, offset)
        self.put(offset, 8, offset)
        return offset

    def hive(self, root: int, minor: int = 5) -> bytes:
        """The file: one bin around all cells, or the last of them free."""
        size = -(-(len(self.cells) + 8) // 4096) * 4096
        free = size - len(self.cells)
        bins = bytearray(self.cells + struct.pack("<i", free).ljust(free, b"\0"))
        struct.pack_into("<4sII", bins, 0, b"hbin", 0, size)
        base = bytearray(BASE_BYTES)
        struct.pack_into("<4sIIQ7I", base, 0, b"regf", 1, 1, NOW, 1, minor, 0, 1, root, size, 1)
        struct.pack_into("<I", base, 508, checksum(base))
        return bytes(base + bins)


def read_all(data: bytes) -> int:
    """Read as anybody does; the number of keys."""
    hive = Hive.parse(data)
    count = 0
    for key in hive.walk():
        count += 1
        _ = key.security, key.class_name
        for _value in key.values():
            pass
    return count


def refused(data: bytes, match: str) -> None:
    for use in (read_all, lambda data: Hive.parse(data).check(), edit):
        started = time.process_time()
        with pytest.raises(DamagedHive, match=match):
            use(data)
        assert time.process_time() - started < BOUND_S, "measured 0.01 s"


def edit(data: bytes) -> None:
    hive = Hive.parse(data)
    hive.create_key("a\\b\\c\\new")
    for key in list(hive.root.subkeys()):
        hive.delete_key(key.path)
    hive.set_value("", "v", ValueType.BINARY, b"12345")
    hive.check()


def chain(maker: Maker, depth: int, times: int, kind: bytes = b"li") -> int:
    """A key in a key in a key..., each listed so many times by the one above."""
    security = maker.security()
    root = above = maker.key(b"ROOT", 0, flags=NAMED | ROOT, security=security)
    for _ in range(depth):
        below = maker.key(b"a", above, security=security)
        maker.put(above, 20, times)
        maker.put(above, 28, maker.list(kind, [below] * times))
        above = below
    return root


def test_the_maker_makes_sound_hives() -> None:
    maker = Maker()
    data = maker.hive(chain(maker, DEEP, 1))
    assert read_all(data) == DEEP + 1


@pytest.mark.parametrize("kind", [b"li", b"lf", b"lh"])
def test_a_key_listed_twice_on_every_level_is_not_met_two_to_the_power_of_depth_times(
    kind: bytes,
) -> None:
    maker = Maker()
    refused(maker.hive(chain(maker, DEEP, 2, kind)), "has a key twice")


def test_a_key_below_itself() -> None:
    maker = Maker()
    root = chain(maker, 2, 1)
    maker.put(root, 28, maker.list(b"lh", [root]))
    refused(maker.hive(root), "does not belong")


def test_the_root_below_one_of_its_keys() -> None:
    """Its parent field means nothing to Windows, and can name that key."""
    maker = Maker()
    security = maker.security()
    root = maker.key(b"ROOT", 0, flags=NAMED, security=security)
    below = maker.key(b"a", root, security=security)
    maker.put(root, 20, 1)
    maker.put(root, 28, maker.list(b"li", [below]))
    maker.put(below, 20, 1)
    maker.put(below, 28, maker.list(b"li", [root]))
    maker.put(root, 16, below)
    refused(maker.hive(root), "does not belong")


def test_lists_of_lists_of_lists() -> None:
    maker = Maker()
    root = chain(maker, 1, 1)
    leaf = struct.unpack_from("<I", maker.cells, root + 4 + 28)[0]
    maker.put(root, 28, maker.list(b"ri", [maker.list(b"ri", [leaf])]))
    refused(maker.hive(root), "nested")
    itself = maker.list(b"ri", [0])
    maker.put(itself, 4, itself)
    maker.put(root, 28, itself)
    refused(maker.hive(root), "nested")


@pytest.mark.parametrize("count", [1 << 31, 0xFFFFFFFF, 0x10000, 60_000])
def test_a_root_of_lists_that_repeats_a_large_leaf(count: int) -> None:
    """Two lists of a few hundred kilobytes stand for four thousand million entries."""
    maker = Maker()
    root = chain(maker, 1, 1)
    key = struct.unpack_from("<I", maker.cells, root + 4 + 28)[0]
    leaf = maker.list(b"li", [key] * 0xFFFF)
    maker.put(root, 28, maker.list(b"ri", [leaf] * 0xFFFF))
    maker.put(root, 20, count)
    refused(maker.hive(root), "claims|does not have|not one|twice")


def test_descriptors_in_a_loop_that_does_not_close() -> None:
    maker = Maker()
    root = chain(maker, 1, 1)
    first, second, third = (maker.security() for _ in range(3))
    for offset, following, before in (
        (first, second, third),
        (second, third, first),
        (third, second, second),
    ):
        maker.put(offset, 4, following)
        maker.put(offset, 8, before)
    maker.put(root, 44, first)
    data = maker.hive(root)
    with pytest.raises(DamagedHive, match=r"linked one way|not closed"):
        Hive.parse(data).check()
    with pytest.raises(DamagedHive, match=r"linked one way|not closed"):
        Hive.parse(data).create_key("new")


def value(maker: Maker, size: int, data: int, name: bytes = b"v") -> int:
    return maker.add(struct.pack("<2sHIIIHH", b"vk", len(name), size, data, 3, 1, 0) + name)


def test_big_data_whose_segments_are_one() -> None:
    maker = Maker()
    segment = maker.add(bytes(16_344))
    count = 200
    segments = maker.add(struct.pack(f"<{count}I", *[segment] * count))
    maker.add(bytes(16_344 * count))
    data = maker.add(struct.pack("<2sHI", b"db", count, segments))
    item = value(maker, 16_344 * count, data)
    root = maker.key(b"ROOT", 0, values=(1, maker.add(struct.pack("<I", item))))
    maker.put(root, 44, maker.security())
    refused(maker.hive(root), "used twice")


def test_big_data_that_is_its_own_list() -> None:
    maker = Maker()
    data = maker.add(struct.pack("<2sHI", b"db", 2, 0), 64)
    maker.put(data, 4, data)
    maker.add(bytes(40_000))
    item = value(maker, 16_345, data)
    root = maker.key(b"ROOT", 0, values=(1, maker.add(struct.pack("<I", item))))
    maker.put(root, 44, maker.security())
    refused(maker.hive(root), "used twice|no cell")


def test_many_values_of_one_large_cell() -> None:
    """Ten megabytes would be a hundred gigabytes of data."""
    maker = Maker()
    content = maker.add(bytes(2_000_000))
    items = [value(maker, 2_000_000, content) for _ in range(50_000)]
    values = (len(items), maker.add(struct.pack(f"<{len(items)}I", *items)))
    root = maker.key(b"ROOT", 0, values=values)
    maker.put(root, 44, maker.security())
    refused(maker.hive(root, minor=3), "used twice")


def test_one_value_many_times() -> None:
    maker = Maker()
    item = value(maker, 1_000_000, maker.add(bytes(1_000_000)))
    count = 200_000
    values = (count, maker.add(struct.pack(f"<{count}I", *[item] * count)))
    root = maker.key(b"ROOT", 0, values=values)
    maker.put(root, 44, maker.security())
    refused(maker.hive(root, minor=3), "lists a value twice")


def test_many_keys_with_one_list_of_many_values() -> None:
    maker = Maker()
    security = maker.security()
    items = [value(maker, 0, 0, b"%d" % number) for number in range(20_000)]
    values = (len(items), maker.add(struct.pack(f"<{len(items)}I", *items)))
    root = maker.key(b"ROOT", 0, security=security)
    keys = [
        maker.key(b"%05d" % number, root, values=values, security=security)
        for number in range(20_000)
    ]
    maker.put(root, 20, len(keys))
    maker.put(root, 28, maker.list(b"li", keys))
    refused(maker.hive(root), "used twice|no cell")


def test_many_keys_with_one_class_and_one_huge_descriptor() -> None:
    maker = Maker()
    security = maker.security(3_000_000)
    name = maker.add(bytes(0xFFFE))
    root = maker.key(b"ROOT", 0, security=security)
    keys = [maker.key(b"%05d" % number, root, security=security) for number in range(20_000)]
    maker.put(root, 20, len(keys))
    maker.put(root, 28, maker.list(b"li", keys))
    started = time.process_time()
    assert read_all(maker.hive(root)) == 20_001
    assert time.process_time() - started < BOUND_S, "measured 0.2 s: the descriptor is kept"
    for key in keys:
        maker.put(key, 48, name)
        maker.put(key, 72, 5 | 0xFFFE << 16)
    with pytest.raises(DamagedHive, match="used twice"):
        read_all(maker.hive(root))


def test_cells_inside_cells_are_no_cells() -> None:
    """Each record would be a large one that overlaps all others."""
    maker = Maker()
    security = maker.security()
    inner = maker.add(bytes(4) + struct.pack("<i4x", -1_000_000) * 120_000)
    maker.add(bytes(1_000_000))
    items = [value(maker, 900_000, inner + 8 * number) for number in range(1, 50)]
    values = (len(items), maker.add(struct.pack(f"<{len(items)}I", *items)))
    root = maker.key(b"ROOT", 0, values=values, security=security)
    refused(maker.hive(root, minor=3), "is no cell's|or is none")


@pytest.mark.parametrize(
    ("at", "number"), [(20, 1 << 31), (36, 1 << 31), (72, 0xFFFFFFFF), (28, 4), (40, 12), (44, 0)]
)
def test_counts_and_offsets_that_cannot_be(at: int, number: int) -> None:
    maker = Maker()
    root = chain(maker, 1, 1)
    maker.put(root, 36, 1)
    maker.put(root, at, number)
    with pytest.raises(DamagedHive):
        read_all(maker.hive(root))


def test_a_check_reads_the_name_of_the_root_and_all_classes() -> None:
    maker = Maker()
    root = chain(maker, 1, 1)
    below = maker.list(b"li", [])
    maker.put(root, 72, 60_000)
    with pytest.raises(DamagedHive, match="bytes"):
        Hive.parse(maker.hive(root)).check()
    maker.put(root, 72, 4 | 60_000 << 16)
    maker.put(root, 48, below)
    with pytest.raises(DamagedHive, match="bytes"):
        Hive.parse(maker.hive(root)).check()


def test_a_rename_beside_damage_is_refused_not_wrong() -> None:
    maker = Maker()
    root = chain(maker, 2, 1)
    hive = Hive.parse(maker.hive(root))
    key = hive.key("a")
    assert key is not None
    maker.put(key.offset, 48, 0x00F00001)
    maker.put(key.offset, 72, 1 | 8 << 16)
    with pytest.raises(DamagedHive):
        Hive.parse(maker.hive(root)).rename_key("a", "a name that needs a larger cell")
