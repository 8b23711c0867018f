"""What is rare in hives is kept through edits, and read by others as before."""

import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

from offline.registry import readers
from offline.registry.replay import checksum
from wimsmith.errors import DamagedHive
from wimsmith.offline.registry import Hive, ValueType, default_security, encode_dword, encode_text
from wimsmith.offline.security import compile_sddl

NOW = 0x01DA_0000_0000_0000
BASE_BYTES = 4096
VOLATILE, LINK, TOMBSTONE = 0x0001, 0x0010, 0x0002
AT_FLAGS, AT_VOLATILE_COUNT, AT_VOLATILE_LIST, AT_SECURITY = 2, 24, 32, 44


def field(data: bytearray, hive: Hive, path: str, at: int, form: str, value: int) -> None:
    """Overwrite a field of a key in a serialised hive."""
    key = hive.key(path)
    assert key is not None
    struct.pack_into(form, data, BASE_BYTES + key.offset + 4 + at, value)


def accepted(written: bytes, folder: Path) -> readers.Dump:
    """All keys and values, as four readers see them."""
    dump = readers.ours(written)
    assert readers.libregf_agrees(written, dump)
    assert readers.python_registry_agrees(written, dump)
    keys, values = readers.by_reglookup(written, folder)
    assert len(keys) == len(dump)
    assert len(values) == sum(map(len, dump.values()))
    return dump


@pytest.mark.parametrize("minor", [3, 4, 5, 6])
def test_everything_rare_survives_edits_in_every_version(minor: int, tmp_path: Path) -> None:
    hive = Hive.new(version_minor=minor)
    for number in range(60):
        path = f"Top\\key {number:03}"
        hive.create_key(path, class_name=f"class {number}" if number % 2 else "")
        for size in range(6):
            hive.set_value(path, f"{size} bytes", ValueType.BINARY, bytes(range(size)))
    times = 60 if minor == 4 else 4096  # of 1.4 libregf does not read values in segments
    hive.set_value("Top\\huge", "huge", ValueType.BINARY, bytes(range(256)) * times)
    target = encode_text("\\Registry\\Machine")[:-2]
    hive.set_value("Top\\link", "SymbolicLinkValue", ValueType.LINK, target)
    data = bytearray(hive.serialize(NOW))
    field(data, hive, "Top\\link", AT_FLAGS, "<H", 0x20 | LINK)
    field(data, hive, "Top", AT_VOLATILE_COUNT, "<I", 3)
    field(data, hive, "Top", AT_VOLATILE_LIST, "<I", 0x80000AB8)
    field(data, hive, "Top\\key 003", AT_FLAGS, "<H", 0x20 | VOLATILE)
    before = accepted(bytes(data), tmp_path)
    hive = Hive.parse(bytes(data))
    link = hive.key("Top\\link")
    assert link is not None
    assert link.is_link
    for number in range(0, 60, 3):
        assert hive.delete_key(f"top\\KEY {number:03}")
        hive.set_value(f"Top\\key {number + 1:03}", "0 BYTES", ValueType.BINARY, b"123")
    hive.set_value("Top\\huge", "huge", ValueType.SZ, encode_text("small"))
    hive.set_value("Top\\other", "huge", ValueType.BINARY, bytes(times * 256))
    assert hive.check(strict=True) == 0
    written = hive.serialize(NOW)
    after = accepted(written, tmp_path)
    kept = {path for path in before if not path.endswith("huge") and after.get(path)}
    same = {path for path in kept if after[path] == before[path]}
    assert len(same) == 20 + 1, "one of three keys, and the link"
    again = Hive.parse(written).key("Top\\key 005")
    assert again is not None
    assert again.class_name == "class 5"


def test_five_thousand_descriptors(tmp_path: Path) -> None:
    hive = Hive.new()
    texts = [f"O:BAG:SYD:(A;CI;KA;;;S-1-5-21-1-2-3-{number})" for number in range(5000)]
    started = time.process_time()
    for number, text in enumerate(texts):
        hive.create_key(f"Many\\{number}", compile_sddl(text))
    hive = Hive.parse(hive.serialize(NOW))
    for number in range(0, 5000, 2):
        hive.delete_key(f"Many\\{number}")
        hive.create_key(f"Shared\\{number}", compile_sddl(texts[number + 1]))
    assert hive.check(strict=True) == 0
    assert time.process_time() - started < 20, "measured 1 s"
    written = hive.serialize(NOW)
    assert readers.libregf_agrees(written)
    rows, _ = readers.by_reglookup(written, tmp_path)
    assert len({row.dacl for row in rows.values()}) == 2501
    assert rows["Shared/4998"].dacl == rows["Many/4999"].dacl


def test_a_descriptor_that_counts_too_few_users_is_not_freed_under_them() -> None:
    """Programs that edit hives on other systems leave such counts; Windows corrects them."""
    special = compile_sddl("O:BAG:SYD:(A;CI;KA;;;WD)")
    hive = Hive.new()
    for name in "ABC":
        hive.create_key(name, special)
    data = bytearray(hive.serialize(NOW))
    at = data.index(special) - 8
    assert struct.unpack_from("<I", data, at) == (3,)
    struct.pack_into("<I", data, at, 1)
    hive = Hive.parse(bytes(data))
    with pytest.raises(DamagedHive, match="counts 1 users, has 3"):
        hive.check(strict=True)
    hive.delete_key("A")
    hive.create_key("D")
    assert [key.security == special for key in hive.root.subkeys()] == [True, True, False]
    assert hive.check(strict=True) == 0
    hive.delete_key("B")
    hive.delete_key("C")
    assert hive.check(strict=True) == 0


def test_seventy_thousand_values_in_one_key(tmp_path: Path) -> None:
    hive = Hive.new()
    started = time.process_time()
    for number in range(70_000):
        hive.set_value("Key", f"value {number}", ValueType.DWORD, encode_dword(number))
    for number in range(1000):
        hive.delete_value("Key", f"value {number * 70}")
    assert time.process_time() - started < 20, "measured 1.5 s"
    assert hive.check(strict=True) == 0
    written = hive.serialize(NOW)
    assert len(readers.by_libregf(written)["Key"]) == 69_000
    assert len(readers.by_reglookup(written, tmp_path)[1]) == 69_000


def test_space_of_deleted_keys_is_used_again_among_foreign_free_cells() -> None:
    """Free cells of other writers are not joined, and still hold old records."""
    hive = Hive.new()
    for number in range(400):
        hive.set_value(f"K\\{number}", "v", ValueType.BINARY, bytes([number % 256]) * 500)
    data = bytearray(hive.serialize(NOW))
    hive.delete_key("K")
    size = len(data)
    hive = Hive.parse(hive.serialize(NOW))
    for number in range(400):
        hive.set_value(f"K\\{number}", "v", ValueType.BINARY, bytes([number % 255]) * 500)
    assert hive.check(strict=True) == 0
    assert len(hive.serialize(NOW)) <= size + 4096


@pytest.mark.slow
def test_a_hundred_thousand_subkeys(tmp_path: Path) -> None:
    hive = Hive.new()
    started = time.process_time()
    for number in range(100_000):
        hive.create_key(f"Many\\{number * 7919 % 100_000:06}")
    hive = Hive.parse(hive.serialize(NOW))
    for number in range(0, 100_000, 10):
        assert hive.delete_key(f"Many\\{number:06}")
    assert hive.check(strict=True) == 0
    written = hive.serialize(NOW)
    assert time.process_time() - started < 120, "measured 12 s"
    assert len(readers.by_libregf(written)) == 90_002
    assert len(readers.by_reglookup(written, tmp_path)[0]) == 90_002
    assert default_security() == Hive.parse(written).root.security


def test_a_hive_that_another_program_edited_is_edited_on(tmp_path: Path) -> None:
    """reged keeps neither the counts of descriptors nor the fields for the largest name."""
    hive = Hive.new()
    for number in range(30):
        hive.set_value(f"K\\{number}", "v", ValueType.SZ, encode_text("x" * number))
    path, script = tmp_path / "x.hive", tmp_path / "x.reg"
    path.write_bytes(hive.serialize(NOW))
    big = ",".join(["41"] * 20_000)
    text = f'[P\\K\\7\\A longer name]\r\n"big"=hex:{big}\r\n"d"=dword:00000005\r\n'
    script.write_text(f"Windows Registry Editor Version 5.00\r\n\r\n{text}", newline="")
    outside(tmp_path, "reged", "-I", "-C", path, "P", script)
    outside(tmp_path, "hivexsh", "-w", path, text="cd K\nadd Zed\ncd 4\ndel\ncommit\n")
    hive = Hive.parse(path.read_bytes())
    with pytest.raises(DamagedHive, match="counts 32 users, has 33"):
        hive.check()
    value = hive.value("K\\7\\A longer name", "big")
    assert value is not None
    assert value.data == b"A" * 20_000
    hive.delete_key("K\\5")
    hive.set_value("K\\Zed\\More", "v", ValueType.DWORD, encode_dword(1))
    written = hive.serialize(NOW)
    Hive.parse(written).check()
    with pytest.raises(DamagedHive, match="longer subkey name"):
        Hive.parse(written).check(strict=True)
    assert len(accepted(written, tmp_path)) == 2 + 28 + 3


def outside(folder: Path, program: str, *arguments: object, text: str = "") -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs the program {program}")
    command = [program, *map(str, arguments)]
    done = subprocess.run(
        command, input=text.encode(), capture_output=True, cwd=folder, check=False
    )
    assert done.returncode in {0, 2}, done.stdout + done.stderr  # 2: reged wrote the hive


def test_large_data_in_one_cell_are_read_in_every_version() -> None:
    """hivex writes them so; Windows would use segments, and so do we when they change."""
    hive = Hive.new(version_minor=3)
    hive.set_value("Key", "large", ValueType.BINARY, bytes(range(256)) * 200)
    data = bytearray(hive.serialize(NOW))
    struct.pack_into("<I", data, 24, 5)
    struct.pack_into("<I", data, 508, checksum(data))
    hive = Hive.parse(bytes(data))
    value = hive.value("Key", "large")
    assert value is not None
    assert value.data == bytes(range(256)) * 200
    assert hive.check(strict=True) == 0
    hive.set_value("Key", "large", ValueType.BINARY, bytes(60_000))
    assert hive.check(strict=True) == 0
    written = hive.serialize(NOW)
    assert b"db\x04\0" in written
    assert readers.libregf_agrees(written)
