"""The second reader of hives against the first, against programs of others, and against rubbish."""

import random
import struct
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offline.registry import readers
from offline.registry.mutators import mutate_hive, resummed, seed_hives
from offline.registry.test_properties import Edit, create_key, delete_key, delete_value, set_value
from offline.registry.test_real_hives import GOOD
from wimsmith.errors import DamagedHive, VerificationFailed
from wimsmith.offline.hiveproof import compare, read_hive
from wimsmith.offline.registry import Hive, ValueType, default_security, encode_text

NOW = 0x01DA_0000_0000_0000
MUTATIONS = 400


def dump(data: bytes) -> readers.Dump:
    return {key.path: frozenset(key.values) for key in read_hive(data)}


@given(
    edits=st.lists(st.one_of(create_key(), set_value(), delete_key(), delete_value()), max_size=30),
    minor=st.sampled_from([3, 5, 6]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_hives_read_alike_by_everybody(edits: list[Edit], minor: int) -> None:
    hive = Hive.new(version_minor=minor)
    model: dict[str, dict[str, tuple[int, bytes]]] = {"": {}}
    for edit in edits:
        edit(hive, model)
    data = hive.serialize(NOW)
    expected = {
        path: frozenset((name, kind, content) for name, (kind, content) in values.items())
        for path, values in model.items()
    }
    assert dump(data) == expected
    assert compare(data, hive.walk()) == len(expected)
    assert readers.libregf_agrees(data, dump(data))
    with TemporaryDirectory() as folder:
        assert readers.hivex_differs(data, expected, Path(folder)) == {}


@pytest.mark.parametrize("data", seed_hives(), ids=["1.3", "1.5", "1.6", "many"])
def test_every_kind_of_record_is_read_as_the_first_reader_reads_it(
    data: bytes, tmp_path: Path
) -> None:
    assert compare(data, Hive.parse(data).walk()) == len(readers.ours(data))
    assert readers.hivex_differs(data, dump(data), tmp_path) == {}


def test_regipy_reads_a_hive_of_plain_names_alike(tmp_path: Path) -> None:
    """It takes names outside of ASCII for UTF-8, and does not give the bytes of lists of texts."""
    hive = Hive.new()
    for number in range(300):
        hive.set_value(
            f"Key {number % 40}\\Below", f"v{number}", ValueType.BINARY, bytes([7] * number)
        )
    hive.set_value("Key 1", "number", ValueType.DWORD, bytes([1, 2, 3, 4]))
    data = hive.serialize(NOW)
    assert readers.by_regipy(data, tmp_path) == dump(data)


def test_classes_times_descriptors_and_links_are_read() -> None:
    hive = Hive.new()
    special = default_security().replace(b"\x19\x00\x02\x00", b"\x3f\x00\x0f\x00")
    hive.create_key("Key\\Below", special, class_name="a class")
    hive.set_value("Key\\Below", "", ValueType.SZ, encode_text("default"))
    root, key, below = read_hive(hive.serialize(NOW))
    assert (root.path, key.path, below.path) == ("", "Key", "Key\\Below")
    assert (below.class_name, below.written, below.security) == ("a class", NOW, special)
    assert key.security == default_security()
    assert below.values == (("", 1, encode_text("default")),)
    assert not below.is_link


@pytest.mark.parametrize("name", GOOD)
def test_real_hives_are_read_alike(real: Path, name: str) -> None:
    data = (real / name).read_bytes()
    keys, values = GOOD[name]
    found = dump(data)
    assert (len(found), sum(map(len, found.values()))) == (keys, values)
    assert compare(data, Hive.parse(data).walk()) == keys
    assert readers.libregf_agrees(data, found)


@pytest.mark.parametrize(
    "name", ["BadListHive", "TruncatedHive", "WrongOrderHive", "BadBaseBlockHive/BadBaseBlockHive"]
)
def test_real_bad_hives_are_refused(real: Path, name: str) -> None:
    with pytest.raises(DamagedHive):
        list(read_hive((real / "hive" / name).read_bytes()))


@pytest.mark.parametrize(
    "count", [MUTATIONS, pytest.param(20_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_mutated_hives_end_in_one_error_and_soon(count: int) -> None:
    chance = random.Random(count)
    seeds = seed_hives()
    refused = 0
    for _ in range(count):
        data = mutate_hive(chance.choice(seeds), chance)
        began = time.process_time()
        try:
            keys = sum(1 for _ in read_hive(data))
        except DamagedHive:
            refused += 1
        else:
            assert keys <= len(data) // 80
        assert time.process_time() - began < 10, "measured 0.01 s"
    assert 0.2 < refused / count < 1


def test_what_it_accepts_the_first_reader_reads_the_same() -> None:
    chance = random.Random(7)
    seeds = seed_hives()[:3]
    accepted = 0
    for _ in range(MUTATIONS):
        data = mutate_hive(chance.choice(seeds), chance)
        try:
            found = dump(data)
        except DamagedHive:
            continue
        accepted += 1
        assert readers.ours(data) == found
    assert accepted > MUTATIONS // 50


def changed(data: bytes, at: int, replacement: bytes) -> bytes:
    image = bytearray(data)
    image[at : at + len(replacement)] = replacement
    return resummed(image, random.Random(0))


def test_a_dirty_hive_is_refused() -> None:
    data = changed(seed_hives()[1], 4, struct.pack("<I", 77))
    with pytest.raises(DamagedHive, match="logs have the rest"):
        list(read_hive(data))


def test_one_other_byte_of_data_is_a_difference() -> None:
    hive = Hive.new()
    hive.set_value("Key", "name", ValueType.BINARY, b"0123456789")
    data = hive.serialize(NOW)
    other = changed(data, data.index(b"0123456789"), b"012345678X")
    with pytest.raises(VerificationFailed, match="values of 'Key'"):
        compare(other, hive.walk())


def test_a_key_that_one_reader_lacks_is_a_difference() -> None:
    hive = Hive.new()
    hive.create_key("Key")
    data = hive.serialize(NOW)
    hive.create_key("Other")
    with pytest.raises(VerificationFailed, match="'Other'"):
        compare(data, hive.walk())


def test_other_security_of_a_key_is_a_difference() -> None:
    hive = Hive.new()
    hive.create_key("Key")
    data = hive.serialize(NOW)
    special = default_security().replace(b"\x19\x00\x02\x00", b"\x3f\x00\x0f\x00")
    again = Hive.parse(data)
    again.create_key("Key", special)
    with pytest.raises(VerificationFailed, match="security of the key 'Key'"):
        compare(data, again.walk())


@pytest.mark.parametrize("users", [0, 2, 500])
def test_a_descriptor_counted_wrongly_is_damage(users: int) -> None:
    data = Hive.new().serialize(NOW)
    at = data.index(b"sk\0\0") + 12
    with pytest.raises(DamagedHive, match="have the descriptor of"):
        list(read_hive(changed(data, at, struct.pack("<I", users))))


def test_a_key_that_is_its_own_child_ends_the_reading() -> None:
    hive = Hive.new()
    hive.create_key("Key")
    data = hive.serialize(NOW)
    root = struct.unpack_from("<I", data, 36)[0]
    lists = data.index(b"lh\x01\0")
    with pytest.raises(DamagedHive):
        list(read_hive(changed(data, lists + 4, struct.pack("<I", root))))
