"""Feeds crashed hives with changed logs to the engine, and reports what is not an error of ours.

    PYTHONPATH=tests python -m fuzz.fuzz_log SECONDS

With Atheris installed it follows coverage. An input is the sizes of the hive and of its first log,
then the hive, that log and another.
"""

import random
import struct
import sys

from fuzz import guided
from fuzz.mutation import feed
from offline.registry.mutators import mutate_logs, seed_hives
from offline.registry.replay import checksum, marvin
from wimsmith.offline.registry.hive import Hive

_SIZES = struct.Struct("<II")
_ENTRY_HEAD_BYTES = 40
_SECTOR_BYTES = 512


def test_one_input(data: bytes) -> None:
    """Feed bytes to the replay; anything but an error of ours is a finding."""
    feed((_replay,), data)


def _replay(data: bytes) -> None:
    primary, logs = unpacked(data)
    hive = Hive.parse(primary, logs)
    for key in hive.walk():
        for value in key.values():
            assert len(value.data) <= len(data)
    other = Hive.parse(primary, logs[::-1])
    assert other.serialize(1) == hive.serialize(1), "the order of the logs does not matter"


def packed(primary: bytes, logs: list[bytes]) -> bytes:
    first = logs[0] if logs else b""
    return _SIZES.pack(len(primary), len(first)) + primary + b"".join(logs)


def unpacked(data: bytes) -> tuple[bytes, list[bytes]]:
    if len(data) < _SIZES.size:
        return data, []
    size, first = _SIZES.unpack_from(data)
    body = data[_SIZES.size :]
    return body[:size], [body[size : size + first], body[size + first :]]


def _invent(data: bytes, chance: random.Random) -> bytes:
    del data  # the sound inputs have no log yet
    return packed(*mutate_logs(chance.choice(_SEEDS[:3]), chance))


def _repair(data: bytes, chance: random.Random) -> bytes:
    """Make the sums of base blocks and the hashes of entries right."""
    primary, logs = unpacked(data)
    if not chance.randrange(10):
        return data
    return packed(_resummed(bytearray(primary)), [_rehashed(bytearray(log)) for log in logs])


def _resummed(block: bytearray) -> bytes:
    if len(block) >= _SECTOR_BYTES:
        struct.pack_into("<I", block, 508, checksum(block))
    return bytes(block)


def _rehashed(log: bytearray) -> bytes:
    at = _SECTOR_BYTES
    while log[at : at + 4] == b"HvLE" and at + _ENTRY_HEAD_BYTES <= len(log):
        size = struct.unpack_from("<I", log, at + 4)[0]
        if size < _ENTRY_HEAD_BYTES or at + size > len(log):
            break
        log[at + 24 : at + 32] = marvin(bytes(log[at + 40 : at + size]))
        log[at + 32 : at + 40] = marvin(bytes(log[at : at + 32]))
        at += size
    return _resummed(log)


_SEEDS = seed_hives()


def _sound_inputs() -> list[bytes]:
    chance = random.Random(2)
    return [packed(*mutate_logs(seed, chance)) for seed in _SEEDS[:3] for _ in range(8)]


if __name__ == "__main__":
    guided.run(float(sys.argv[1]), _sound_inputs(), test_one_input, invent=_invent, repair=_repair)
