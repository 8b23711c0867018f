"""A hive whose last write did not end is completed from its logs, or refused: never half read."""

import random
import struct
from pathlib import Path
from typing import Any

import pytest
from regipy import recovery

from offline.registry import logbook, readers
from wimsmith.errors import DamagedHive
from wimsmith.offline.registry import Hive, ValueType, encode_text
from wimsmith.offline.registry.base import checksum
from wimsmith.offline.registry.marvin import marvin32

STEPS = 5


@pytest.fixture(scope="module")
def states() -> list[bytes]:
    """A hive and what it becomes in a few writes; it grows in some of them."""
    hive = Hive.new()
    for number in range(200):
        hive.set_value(f"Keys\\{number}", "v", ValueType.SZ, encode_text(f"value {number}"))
    found = [hive.serialize(1000)]
    for step in range(1, STEPS):
        hive = Hive.parse(found[-1])
        hive.set_value(f"Keys\\{step * 30}", "v", ValueType.SZ, encode_text(f"step {step}"))
        hive.set_value(f"Step {step}", "big", ValueType.BINARY, bytes([step]) * 3000 * step)
        found.append(hive.serialize(1000 + step))
    return found


@pytest.fixture
def entries(states: list[bytes]) -> list[bytes]:
    """Log entries with sequence numbers 7, 8, 9 and 10 that lead from state to state."""
    return [
        logbook.entry(states[step - 1], states[step], 6 + step) for step in range(1, len(states))
    ]


@pytest.fixture
def crashed(states: list[bytes]) -> bytes:
    return logbook.dirty(states[0], primary=8, secondary=7)


def test_marvin_has_its_published_value() -> None:
    state = marvin32("Abcdefg".encode("utf-16-le"), 0x5D70_D359_C498_B3F8)
    assert (state >> 32) ^ (state & 0xFFFFFFFF) == 0xBA62_7C81


def test_entries_of_one_log_are_replayed(
    states: list[bytes], entries: list[bytes], crashed: bytes, tmp_path: Path
) -> None:
    log = logbook.new_log(crashed, entries)
    hive = Hive.parse(crashed, [log])
    assert hive.check(strict=True) == 0
    recovered = hive.serialize(2000)
    assert readers.ours(recovered) == readers.ours(states[-1])
    assert struct.unpack_from("<I", recovered, 4) == (11,), "10 was the last entry"
    assert readers.libregf_agrees(recovered)


@pytest.mark.filterwarnings(
    "ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_another_program_replays_our_test_logs_to_the_same_hive(
    states: list[bytes], entries: list[bytes], tmp_path: Path
) -> None:
    # It cannot grow a file, so the bins are there from the start.
    grown = states[0] + states[-1][len(states[0]) :]
    crashed = logbook.dirty(grown, primary=8, secondary=7)
    (tmp_path / "hive").write_bytes(crashed)
    (tmp_path / "hive.LOG1").write_bytes(logbook.new_log(crashed, entries))
    replay: Any = recovery.apply_transaction_logs
    path, pages = replay(
        str(tmp_path / "hive"), str(tmp_path / "hive.LOG1"), restored_hive_path=str(tmp_path / "to")
    )
    assert pages > 0
    hive = Hive.parse(crashed, [(tmp_path / "hive.LOG1").read_bytes()])
    assert hive.serialize(1)[4096 + 32 :] == Path(path).read_bytes()[4096 + 32 :]


@pytest.mark.parametrize("order", [1, -1])
def test_entries_go_on_in_the_other_log_whatever_the_order(
    states: list[bytes], entries: list[bytes], crashed: bytes, order: int
) -> None:
    logs = [
        logbook.new_log(crashed, entries[:2]),
        logbook.new_log(crashed, entries[2:]),
        b"",
        bytes(512),
    ]
    hive = Hive.parse(crashed, logs[::order])
    assert readers.ours(hive.serialize(1)) == readers.ours(states[-1])


def test_entries_that_were_applied_before_are_passed_over(
    states: list[bytes], entries: list[bytes]
) -> None:
    crashed = logbook.dirty(states[2], primary=10, secondary=9)
    hive = Hive.parse(crashed, [logbook.new_log(crashed, entries)])
    assert readers.ours(hive.serialize(1)) == readers.ours(states[-1])


@pytest.mark.parametrize("keep", [40, 600, 4000, -1])
def test_a_torn_last_entry_ends_the_replay_before_it(
    states: list[bytes], entries: list[bytes], crashed: bytes, keep: int
) -> None:
    log = logbook.new_log(crashed, [*entries[:3], entries[3][:keep]])
    hive = Hive.parse(crashed, [log])
    assert hive.check(strict=True) == 0
    assert readers.ours(hive.serialize(1)) == readers.ours(states[3])


@pytest.mark.parametrize("at", [8, 12, 17, 24, 33, 45, 500, 4000])
def test_an_entry_with_a_flipped_bit_is_not_believed(
    states: list[bytes], entries: list[bytes], crashed: bytes, at: int
) -> None:
    bad = bytearray(entries[2])
    bad[at] ^= 0x10
    log = logbook.new_log(crashed, [*entries[:2], bytes(bad), entries[3]])
    hive = Hive.parse(crashed, [log])
    assert readers.ours(hive.serialize(1)) == readers.ours(states[2])


def test_a_gap_in_the_numbers_ends_the_replay(
    states: list[bytes], entries: list[bytes], crashed: bytes
) -> None:
    log = logbook.new_log(crashed, [entries[0], entries[2], entries[3]])
    hive = Hive.parse(crashed, [log])
    assert readers.ours(hive.serialize(1)) == readers.ours(states[1])


def test_stale_entries_behind_the_last_one_are_not_applied(
    states: list[bytes], entries: list[bytes], crashed: bytes
) -> None:
    stale = logbook.entry(states[1], states[0], 3)
    log = logbook.new_log(crashed, [*entries[:2], stale])
    hive = Hive.parse(crashed, [log])
    assert readers.ours(hive.serialize(1)) == readers.ours(states[2])


def test_numbers_run_over(states: list[bytes]) -> None:
    crashed = logbook.dirty(states[0], primary=0, secondary=0xFFFFFFFF)
    first = logbook.entry(states[0], states[1], 0xFFFFFFFF)
    second = logbook.entry(states[1], states[2], 0)
    hive = Hive.parse(crashed, [logbook.new_log(crashed, [first, second])])
    recovered = hive.serialize(1)
    assert readers.ours(recovered) == readers.ours(states[2])
    assert struct.unpack_from("<II", recovered, 4) == (1, 1)


def test_a_clean_hive_does_not_look_at_its_logs(states: list[bytes], entries: list[bytes]) -> None:
    hive = Hive.parse(states[0], [logbook.new_log(states[0], entries)])
    assert readers.ours(hive.serialize(1)) == readers.ours(states[0])


def test_a_hive_without_base_block_takes_the_newest_log(
    states: list[bytes], entries: list[bytes]
) -> None:
    broken = b"\0" * 512 + states[2][512:]
    logs = [
        logbook.new_log(logbook.dirty(states[0], primary=7, secondary=7), entries[:2]),
        logbook.new_log(logbook.dirty(states[2], primary=9, secondary=9), entries[2:]),
    ]
    assert readers.ours(Hive.parse(broken, logs).serialize(1)) == readers.ours(states[4])


@pytest.mark.parametrize("step", range(1, STEPS))
def test_an_old_log_is_replayed(states: list[bytes], step: int) -> None:
    before, after = states[step - 1], states[step]
    log = logbook.old_log(before, after)
    crashed = logbook.dirty(before[:12] + after[12:20] + before[20:], primary=9, secondary=8)
    hive = Hive.parse(crashed, [b"", log])
    assert hive.check(strict=True) == 0
    assert readers.ours(hive.serialize(1)) == readers.ours(after)


def test_an_old_log_of_another_moment_is_not_applied(states: list[bytes]) -> None:
    crashed = logbook.dirty(states[1], primary=9, secondary=8)
    with pytest.raises(DamagedHive, match="no log completes it"):
        Hive.parse(crashed, [logbook.old_log(states[1], states[2])])


@pytest.mark.parametrize("keep", [300, 600, 1024, 3000])
def test_an_old_log_that_is_cut_off_is_not_applied(states: list[bytes], keep: int) -> None:
    before, after = states[0], states[1]
    log = logbook.old_log(before, after)[:keep]
    crashed = logbook.dirty(before[:12] + after[12:20] + before[20:], primary=9, secondary=8)
    with pytest.raises(DamagedHive) as caught:
        Hive.parse(crashed, [log])
    assert "shut it down cleanly" in str(caught.value.hint)


def test_a_dirty_hive_without_logs_is_refused_and_says_what_to_do(crashed: bytes) -> None:
    for logs in ([], [b""], [bytes(4096)], [b"\xff" * 700]):
        with pytest.raises(DamagedHive) as caught:
            Hive.parse(crashed, logs)
        assert "shut it down cleanly" in str(caught.value.hint)


def test_damaged_logs_never_do_more_than_refuse(
    entries: list[bytes], states: list[bytes], crashed: bytes
) -> None:
    chance = random.Random(5)
    old = logbook.old_log(states[0], states[1])
    new = logbook.new_log(crashed, entries)
    for round_number in range(200):
        log = bytearray(old if round_number % 2 else new)
        for _ in range(chance.randrange(1, 6)):
            log[chance.randrange(min(len(log), 1200))] = chance.randrange(256)
        for resum in (False, True):
            if resum:
                struct.pack_into("<I", log, 508, checksum(log))
            try:
                list(Hive.parse(crashed, [bytes(log)]).walk())
            except DamagedHive:
                continue
