"""Random edits that only the logs know: a second replay and the model say what must come out."""

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from offline.registry import logbook, model, readers, replay
from wimsmith.errors import DamagedHive
from wimsmith.offline.registry import Hive, ValueType, encode_text
from wimsmith.offline.registry.logs import recover

NOW = 0x01DB_0000_0000_0000
REAL = (
    "minimal",
    "BigDataHive",
    pytest.param("NTUSER-WIN7.DAT", marks=pytest.mark.slow),
    pytest.param("ManySubkeysHive", marks=pytest.mark.slow),
)
MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Story:
    """What a hive was after each of its writes, as a file and as others read it."""

    states: list[bytes]
    dumps: list[readers.Dump]


Tell = Callable[[Story, random.Random], None]


def tell(data: bytes, chance: random.Random, writes: int) -> Story:
    """Edit a hive at random, one write after the other."""
    dump = readers.by_libregf(data)
    root = model.new_model(dump, readers.details_by_libregf(data))
    hive = Hive.parse(data)
    player = model.Player(Hive.parse(hive.serialize(NOW)), root, chance)
    story = Story([player.write(NOW)], [model.as_dump(root)])
    for number in range(1, writes + 1):
        player.reopen(story.states[-1])
        player.play(chance.randint(1, 8))
        story.states.append(player.write(NOW + number))
        story.dumps.append(model.as_dump(root))
    return story


def proved(crashed: bytes, logs: list[bytes], expected: readers.Dump) -> None:
    """The engine, the second replay and the model agree, whatever the order of the logs."""
    wanted = replay.replay(crashed, logs)
    for order in (logs, [b"", *logs[::-1], bytes(512)]):
        assert recover(crashed, order)[: len(wanted)] == wanted
        hive = Hive.parse(crashed, order)
        assert hive.check() == 0
        # The reader of others sees the hive that the second replay made.
        assert readers.libregf_differs(hive.serialize(1), expected) == {}
    assert readers.libregf_differs(wanted, expected) == {}


def tear(entry: bytes, chance: random.Random) -> bytes:
    """An entry whose writing did not end: its front, or its front and what was there before."""
    cut = chance.randrange(1, len(entry))
    if chance.randrange(2):
        return entry[:cut]
    end = entry[cut:]
    return entry[:cut] + bytes(byte ^ 0x55 for byte in end)


def tell_logs_of_new_format(story: Story, chance: random.Random) -> None:
    first = chance.choice((1, 5000, 0xFFFFFFFE))
    numbers = [(first + step) & MASK for step in range(len(story.states) - 1)]
    entries = [
        logbook.entry(before, after, number)
        for (before, after), number in zip(pairwise(story.states), numbers, strict=True)
    ]
    applied = chance.randrange(len(entries))
    torn = chance.randrange(applied, len(entries)) if chance.randrange(2) else len(entries)
    written = entries[:torn]
    if torn < len(entries):
        written.append(tear(entries[torn], chance))
    if chance.randrange(2):
        # Of an earlier time, and right in itself: numbers that do not follow.
        written.append(logbook.entry(story.states[-1], story.states[0], (first - 9) & MASK))
    switch = chance.randrange(len(written) + 1)
    base = story.states[applied]
    logs = [logbook.log_of(base, part) for part in (written[:switch], written[switch:]) if part]
    crashed = logbook.dirty(base, primary=(numbers[applied] + 1) & MASK, secondary=numbers[applied])
    if torn == applied:
        for order in (logs, logs[::-1]):
            with pytest.raises(DamagedHive):
                recover(crashed, order)
        with pytest.raises(replay.CannotReplay):
            replay.replay(crashed, logs)
    else:
        proved(crashed, logs, story.dumps[torn])


def tell_logs_of_old_format(story: Story, chance: random.Random) -> None:
    step = chance.randrange(1, len(story.states))
    before, after = story.states[step - 1], story.states[step]
    log = logbook.old_log(before, after)
    other = logbook.old_log(story.states[0], before) if step > 1 else b""
    # The base block comes first, some pages have reached the file, others have not.
    image = bytearray(before)
    image[12:20] = after[12:20]
    for at in range(8192, min(len(before), len(after)), 4096):
        if chance.randrange(2):
            image[at : at + 4096] = after[at : at + 4096]
    crashed = logbook.dirty(bytes(image), primary=77, secondary=76)
    if chance.randrange(4) == 0:
        broken = bytearray(crashed)
        broken[chance.randrange(20, 500)] ^= 0x40
        broken[4096 + 20 : 4096 + 28] = after[12:20]
        crashed = bytes(broken)
    proved(crashed, [log, *([other] if other else [])], story.dumps[step])


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("tell_logs", [tell_logs_of_new_format, tell_logs_of_old_format])
def test_a_real_hive_and_its_logs(real: Path, name: str, tell_logs: Tell) -> None:
    chance = random.Random(name)
    story = tell((real / "hive" / name).read_bytes(), chance, 5)
    for _ in range(4):
        tell_logs(story, chance)


@pytest.mark.parametrize("tell_logs", [tell_logs_of_new_format, tell_logs_of_old_format])
def test_a_hive_of_ours_and_its_logs(tell_logs: Tell) -> None:
    for minor in (3, 5, 6):
        chance = random.Random(minor)
        story = tell(Hive.new(version_minor=minor).serialize(NOW), chance, 5)
        for _ in range(5):
            tell_logs(story, chance)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("tell_logs", [tell_logs_of_new_format, tell_logs_of_old_format])
def test_two_hundred_stories(tell_logs: Tell) -> None:
    for seed in range(200):
        chance = random.Random(seed)
        story = tell(Hive.new(version_minor=chance.choice((3, 5, 6))).serialize(NOW), chance, 6)
        for _ in range(4):
            tell_logs(story, chance)


@pytest.fixture
def pair() -> tuple[bytes, bytes]:
    """A hive before and after a change."""
    hive = Hive.new()
    for number in range(100):
        hive.set_value(f"Key\\{number}", "v", ValueType.SZ, encode_text("x" * number))
    before = hive.serialize(NOW)
    hive = Hive.parse(before)
    hive.set_value("Key\\50", "v", ValueType.SZ, encode_text("changed"))
    return before, hive.serialize(NOW + 1)


def test_entries_all_older_than_the_hive_complete_nothing(pair: tuple[bytes, bytes]) -> None:
    log = logbook.log_of(pair[0], [logbook.entry(*pair, 5), logbook.entry(*pair, 6)])
    crashed = logbook.dirty(pair[0], primary=8, secondary=7)
    with pytest.raises(DamagedHive, match="no log completes it"):
        Hive.parse(crashed, [log])


def test_a_log_whose_own_base_block_is_torn_is_not_believed(pair: tuple[bytes, bytes]) -> None:
    log = bytearray(logbook.log_of(pair[0], [logbook.entry(*pair, 7)]))
    struct.pack_into("<I", log, 4, 8)
    struct.pack_into("<I", log, 508, replay.checksum(log))
    crashed = logbook.dirty(pair[0], primary=8, secondary=7)
    with pytest.raises(DamagedHive, match="no log completes it"):
        Hive.parse(crashed, [bytes(log)])


def test_only_the_base_block_is_dirty(pair: tuple[bytes, bytes]) -> None:
    """All pages have reached the file; the log has them, or an entry that changes none."""
    crashed = logbook.dirty(pair[1], primary=8, secondary=7)
    for log in (
        logbook.log_of(pair[1], [logbook.entry(*pair, 7)]),
        logbook.log_of(pair[1], [logbook.entry(pair[1], pair[1], 7)]),
        logbook.old_log(*pair),
    ):
        assert recover(crashed, [log]) == replay.replay(crashed, [log])
        assert readers.ours(Hive.parse(crashed, [log]).serialize(1)) == readers.ours(pair[1])


def test_the_log_of_another_hive_is_not_applied(pair: tuple[bytes, bytes]) -> None:
    other = Hive.new("OTHER")
    for number in range(60):
        other.set_value(f"Other {number}\\deep", "w", ValueType.BINARY, bytes(200))
    first = other.serialize(NOW)
    other = Hive.parse(first)
    other.set_value("Other 20\\deep", "w", ValueType.BINARY, bytes(900))
    second = other.serialize(NOW + 1)
    crashed = logbook.dirty(pair[0], primary=8, secondary=7)
    for log in (
        logbook.log_of(first, [logbook.entry(first, second, 7)]),
        logbook.log_of(first, [logbook.entry(bytes(len(second)), second, 9)]),
        logbook.old_log(first, second),
    ):
        with pytest.raises(DamagedHive):
            Hive.parse(crashed, [log])


def test_a_log_of_another_root_is_not_of_this_hive(pair: tuple[bytes, bytes]) -> None:
    log = bytearray(logbook.log_of(pair[0], [logbook.entry(*pair, 7)]))
    struct.pack_into("<I", log, 36, 0x1020)
    struct.pack_into("<I", log, 508, replay.checksum(log))
    crashed = logbook.dirty(pair[0], primary=8, secondary=7)
    with pytest.raises(DamagedHive, match="no log completes it"):
        Hive.parse(crashed, [bytes(log)])


def test_two_lives_of_a_hive_are_not_mixed(pair: tuple[bytes, bytes]) -> None:
    """A hive was put back from a copy and lived on; the other log is of its first life."""
    before, after = pair
    hive = Hive.parse(after)
    hive.delete_key("Key\\99")
    third = hive.serialize(NOW + 2)
    hive.set_value("Key\\1", "first life", ValueType.SZ, encode_text("gone"))
    fourth = hive.serialize(NOW + 3)
    stale = logbook.log_of(
        before,
        [logbook.entry(*pair, 7), logbook.entry(after, third, 8), logbook.entry(third, fourth, 9)],
    )
    hive = Hive.parse(before)
    hive.set_value("Key\\1", "second life", ValueType.SZ, encode_text("here"))
    again = hive.serialize(NOW + 9)
    begun_later = before[:12] + struct.pack("<Q", NOW + 8) + before[20:]
    log = logbook.log_of(begun_later, [logbook.entry(before, again, 7)])
    crashed = logbook.dirty(before, primary=8, secondary=7)
    for logs in ([stale, log], [log, stale]):
        assert readers.ours(Hive.parse(crashed, logs).serialize(1)) == readers.ours(again)


def test_an_old_log_that_is_cut_off_gives_way_to_a_whole_one(pair: tuple[bytes, bytes]) -> None:
    before, after = pair
    log = logbook.old_log(before, after)
    crashed = logbook.dirty(before[:12] + after[12:20] + before[20:], primary=9, secondary=8)
    for logs in ([log[:-600], log], [log, log[:-600]]):
        assert readers.ours(Hive.parse(crashed, logs).serialize(1)) == readers.ours(after)


def test_flags_of_the_last_entry_are_kept(pair: tuple[bytes, bytes]) -> None:
    crashed = bytearray(logbook.dirty(pair[0], primary=8, secondary=7))
    struct.pack_into("<I", crashed, 144, 2)
    struct.pack_into("<I", crashed, 508, replay.checksum(crashed))
    log = logbook.log_of(pair[0], [logbook.entry(*pair, 7, flags=1)])
    recovered = recover(bytes(crashed), [log])
    assert recovered == replay.replay(bytes(crashed), [log])
    assert struct.unpack_from("<I", recovered, 144) == (3,)


def test_a_log_written_in_large_sectors_is_read(pair: tuple[bytes, bytes]) -> None:
    log = bytearray(logbook.log_of(pair[0], [logbook.entry(*pair, 7)]))
    struct.pack_into("<I", log, 44, 8)
    struct.pack_into("<I", log, 508, replay.checksum(log))
    crashed = logbook.dirty(pair[0], primary=8, secondary=7)
    for spread in (bytes(log), bytes(log[:512]) + bytes(4096 - 512) + bytes(log[512:])):
        hive = Hive.parse(crashed, [spread])
        assert readers.ours(hive.serialize(1)) == readers.ours(pair[1])


@pytest.mark.parametrize("sizes", [(0x7FFFF000, 0), (0, 0x7FFFF000), (0x7FFFF000, 0x7FFFF000)])
def test_a_log_that_claims_a_huge_hive_costs_nothing(
    pair: tuple[bytes, bytes], sizes: tuple[int, int]
) -> None:
    entry = bytearray(logbook.entry(*pair, 7))
    if sizes[0]:
        struct.pack_into("<I", entry, 16, sizes[0])
        entry[32:40] = replay.marvin(bytes(entry[:32]))
    log = bytearray(logbook.log_of(pair[0], [bytes(entry)]))
    if sizes[1]:
        struct.pack_into("<I", log, 40, sizes[1])
        struct.pack_into("<I", log, 508, replay.checksum(log))
    crashed = logbook.dirty(pair[0], primary=8, secondary=7)
    try:
        recovered = Hive.parse(crashed, [bytes(log)])
    except DamagedHive:
        assert sizes[0]
    else:
        assert readers.ours(recovered.serialize(1)) == readers.ours(pair[1])
