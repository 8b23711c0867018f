"""Real hives: good ones are read as others read them, bad ones are refused at once."""

from pathlib import Path

import pytest

from offline.registry import readers
from wimsmith.errors import DamagedHive
from wimsmith.offline.registry import Hive, ValueType, encode_text

NOW = 0x01DA_0000_0000_0000
GOOD = {
    "hive/BigDataHive": (2, 2),
    "hive/ManySubkeysHive": (5003, 0),
    "hive/NTUSER-WIN7.DAT": (2288, 5470),
    "hive/UnicodeHive": (3, 0),
    "hive/minimal": (1, 0),
    "bcd/bios/bcd": (65, 45),
    "bcd/uefi/bcd": (66, 46),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_hive_is_read_whole_and_is_consistent(real: Path, name: str) -> None:
    hive = Hive.parse((real / name).read_bytes())
    keys = list(hive.walk())
    assert (len(keys), sum(len(list(key.values())) for key in keys)) == GOOD[name]
    assert hive.check(strict=True) == 0


@pytest.mark.parametrize("name", GOOD)
def test_a_good_hive_is_read_as_others_read_it(real: Path, name: str, tmp_path: Path) -> None:
    data = (real / name).read_bytes()
    mine = readers.ours(data)
    assert readers.libregf_agrees(data)
    assert readers.python_registry_agrees(data)
    keys, values = readers.by_reglookup(data, tmp_path)
    assert len(keys) == len(mine)
    assert len(values) == sum(map(len, mine.values()))


@pytest.mark.parametrize("name", GOOD)
def test_an_edit_leaves_the_rest_of_a_real_hive_alone(
    real: Path, name: str, tmp_path: Path
) -> None:
    data = (real / name).read_bytes()
    hive = Hive.parse(data)
    hive.set_value("Wimsmith\\Test", "Name", ValueType.SZ, encode_text("value"))
    written = hive.serialize(NOW)
    new = ("Name", 1, encode_text("value"))
    expected = {**readers.ours(data), "Wimsmith": frozenset(), "Wimsmith\\Test": frozenset([new])}
    assert readers.ours(written) == expected
    assert readers.libregf_agrees(written, expected)
    assert readers.python_registry_agrees(written, expected)
    assert Hive.parse(written).check(strict=True) == 0
    keys, _ = readers.by_reglookup(written, tmp_path)
    assert "Wimsmith/Test" in keys
    hive = Hive.parse(written)
    assert hive.delete_key("wimsmith")
    assert hive.check(strict=True) == 0
    assert readers.libregf_agrees(hive.serialize(NOW), readers.ours(data))


def test_untouched_cells_keep_their_bytes(real: Path) -> None:
    data = (real / "hive/NTUSER-WIN7.DAT").read_bytes()
    hive = Hive.parse(data)
    hive.set_value("Environment", "TEMP", ValueType.SZ, encode_text("C:\\T"))
    written = hive.serialize(NOW)
    changed = sum(left != right for left, right in zip(data[4096:], written[4096:], strict=False))
    assert changed < 200


def test_what_lies_behind_the_declared_bins_is_not_the_hive(real: Path) -> None:
    data = (real / "hive/BigDataHive").read_bytes()
    assert len(data) == 262_144
    hive = Hive.parse(data)
    written = hive.serialize(NOW)
    assert len(written) == 4096 + 143_360
    hive.set_value("New", "big", ValueType.BINARY, bytes(100_000))
    grown = hive.serialize(NOW)
    assert grown[4096 + 143_360 :].startswith(b"hbin")
    assert readers.by_libregf(grown)["New"] == {("big", 3, bytes(100_000))}


def test_keys_in_the_wrong_order_are_read_but_not_called_consistent(real: Path) -> None:
    hive = Hive.parse((real / "hive/WrongOrderHive").read_bytes())
    assert len(list(hive.walk())) == 11
    with pytest.raises(DamagedHive, match="not sorted"):
        hive.check(strict=True)
    hive.create_key("1\\new")
    hive.create_key("2\\new")
    assert hive.check(strict=True) == 0, "editing a list puts it in order"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("BadListHive", "does not belong to the key"),
        ("TruncatedHive", "491520 bytes declared, 12288 there"),
        ("BadBaseBlockHive/BadBaseBlockHive", "no log completes it"),
        ("BadBaseBlockHive/BadBaseBlockHive.LOG1", "not a hive's"),
    ],
)
def test_a_bad_hive_is_refused_with_the_reason(real: Path, name: str, reason: str) -> None:
    with pytest.raises(DamagedHive, match=reason):
        list(Hive.parse((real / "hive" / name).read_bytes()).walk())


def test_a_hive_without_base_block_comes_back_from_its_log(real: Path, tmp_path: Path) -> None:
    folder = real / "hive" / "BadBaseBlockHive"
    data = (folder / "BadBaseBlockHive").read_bytes()
    log = (folder / "BadBaseBlockHive.LOG1").read_bytes()
    for logs in ([log], [b"", log], [log, bytes(8192)]):
        hive = Hive.parse(data, logs)
        assert hive.version == (1, 3)
        assert hive.check(strict=True) == 0
        assert len(list(hive.walk("key_with_many_subkeys"))) == 5002
        value = hive.value("key_with_many_subkeys\\4500", "V")
        assert value is not None
        assert value.strings() == ("a", "bb", "ccc")
    written = hive.serialize(NOW)
    assert readers.libregf_agrees(written)
    assert len(readers.by_reglookup(written, tmp_path)[0]) == 5003
