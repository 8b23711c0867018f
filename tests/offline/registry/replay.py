"""A second replay of transaction logs, which shares nothing with the one that is tested.

Written after M. Suhanov's specification alone: slow, and with the whole file in plain lists.
"""

from array import array
from typing import NamedTuple

BASE_BYTES = 4096
SECTOR_BYTES = 512


class CannotReplay(Exception):
    """The logs do not complete the hive."""


def number(data: bytes | bytearray, at: int, size: int = 4) -> int:
    return int.from_bytes(data[at : at + size], "little")


def put(data: bytearray, at: int, value: int, size: int = 4) -> None:
    data[at : at + size] = (value % (1 << size * 8)).to_bytes(size, "little")


def checksum(block: bytes | bytearray) -> int:
    """XOR of 127 words; a result of 0 is stored as 1, one of -1 as -2."""
    total = 0
    for at in range(0, 508, 4):
        total ^= number(block, at)
    if total == 0:
        return 1
    return total - 1 if total == 0xFFFF_FFFF else total


def marvin(data: bytes) -> bytes:
    """Marvin32 with the seed of registry logs: the eight bytes that a log stores."""
    a, b = 0x7A4E_55C5, 0x82EF_4D88
    padded = data + b"\x80" + bytes(-(len(data) + 1) % 4 + 4)
    for word in array("I", padded):
        a = (a + word) % 0x1_0000_0000
        for turn_a, turn_b in ((20, 9), (27, 19)):
            b ^= a
            a = ((a << turn_a) % 0x1_0000_0000 + (a >> 32 - turn_a) + b) % 0x1_0000_0000
            b = (b << turn_b) % 0x1_0000_0000 + (b >> 32 - turn_b)
    return a.to_bytes(4, "little") + b.to_bytes(4, "little")


class Page(NamedTuple):
    """A piece of a log and where in the bins it belongs."""

    offset: int
    content: bytes


class Step(NamedTuple):
    """One entry of a new log."""

    sequence: int
    flags: int
    bins_size: int
    pages: list[Page]


def is_sound(block: bytes) -> bool:
    return (
        len(block) >= SECTOR_BYTES
        and block[:4] == b"regf"
        and checksum(block) == number(block, 508)
    )


def replay(primary: bytes, logs: list[bytes]) -> bytes:
    """The hive file after its logs; a clean one stays as it is.

    Raises:
        CannotReplay: no log completes it.
    """
    sound = is_sound(primary)
    if sound and number(primary, 4) == number(primary, 8):
        return primary
    good = [log for log in logs if is_sound(log) and number(log, 4) == number(log, 8)]
    for log in good:
        if log[512:516] == b"DIRT" and (not sound or primary[12:20] == log[12:20]):
            return replay_old(primary, log)
    starts = {number(log, 524): log for log in good if log[512:516] == b"HvLE"}
    expected = number(primary, 8) if sound else None
    if expected is None:
        newest = max(good, key=lambda log: number(log, 4), default=None)
        if newest is None:
            raise CannotReplay
        primary = newest[:512] + primary[512:]
        expected = number(newest, 8)
        starts = {number(newest, 524): newest}
    return replay_new(primary, starts, expected)


def replay_old(primary: bytes, log: bytes) -> bytes:
    bins_size = number(log, 40)
    image = bytearray(primary.ljust(BASE_BYTES + bins_size, b"\0"))
    bits = [log[516 + at // 8] >> at % 8 & 1 for at in range(bins_size // SECTOR_BYTES)]
    at = -(-(516 + bins_size // SECTOR_BYTES // 8) // SECTOR_BYTES) * SECTOR_BYTES
    for page, bit in enumerate(bits):
        if bit:
            start = BASE_BYTES + page * SECTOR_BYTES
            image[start : start + SECTOR_BYTES] = log[at : at + SECTOR_BYTES]
            at += SECTOR_BYTES
    image[:SECTOR_BYTES] = log[:SECTOR_BYTES]
    return finished(image, number(log, 4), bins_size)


def replay_new(primary: bytes, starts: dict[int, bytes], expected: int) -> bytes:
    image = bytearray(primary)
    last: Step | None = None
    entered = [steps(log) for log in starts.values()]
    # A log that has the first entry in its midst begins with what was applied before.
    queue = next(
        (run[at:] for run in entered for at, step in enumerate(run) if step.sequence == expected),
        [],
    )
    while queue:
        last = queue.pop(0)
        image.extend(bytes(max(BASE_BYTES + last.bins_size - len(image), 0)))
        for page in last.pages:
            start = BASE_BYTES + page.offset
            image[start : start + len(page.content)] = page.content
        if not queue and (last.sequence + 1) % (1 << 32) in starts:
            queue = steps(starts[(last.sequence + 1) % (1 << 32)])
    if last is None:
        raise CannotReplay
    put(image, 144, number(image, 144) & ~1 | last.flags & 1)
    return finished(image, last.sequence, last.bins_size)


def steps(log: bytes) -> list[Step]:
    """Entries of a new log up to the first that cannot be believed."""
    found: list[Step] = []
    at = SECTOR_BYTES
    while log[at : at + 4] == b"HvLE":
        size, flags, sequence, bins_size, count = (number(log, at + n) for n in (4, 8, 12, 16, 20))
        entry = log[at : at + size]
        if size % SECTOR_BYTES or len(entry) != size or bins_size % 4096:
            break
        if marvin(entry[40:]) != entry[24:32] or marvin(entry[:32]) != entry[32:40]:
            break
        if found and sequence != (found[-1].sequence + 1) % (1 << 32):
            break
        pages, content_at = [], 40 + count * 8
        for reference in range(40, 40 + count * 8, 8):
            length = number(entry, reference + 4)
            content = entry[content_at : content_at + length]
            pages.append(Page(number(entry, reference), content))
            content_at += length
        found.append(Step(sequence, flags, bins_size, pages))
        at += size
    return found


def finished(image: bytearray, sequence: int, bins_size: int) -> bytes:
    put(image, 4, sequence)
    put(image, 8, sequence)
    put(image, 28, 0)
    put(image, 40, bins_size)
    put(image, 508, checksum(image))
    return bytes(image[: BASE_BYTES + bins_size])
