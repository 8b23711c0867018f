"""Mutations that know the format: fields change, sums and hashes are made right again."""

import random
import struct
from collections.abc import Sequence

from offline.registry import logbook
from offline.registry.replay import checksum, marvin
from wimsmith.offline.registry import Hive, ValueType, default_security, encode_text

BASE_BYTES = 4096
NOW = 1 << 56
_NUMBERS = (0, 1, 2, 7, 0x7F, 0xFF, 0x3F9, 0xFFFF, 0x10000, 1 << 30, 1 << 31, 0xFFFFFFFF)
# Offset in the record and width of each field that another record or a size depends on.
_FIELDS = {
    b"nk": (
        (2, 2),
        (16, 4),
        (20, 4),
        (28, 4),
        (36, 4),
        (40, 4),
        (44, 4),
        (48, 4),
        (72, 2),
        (74, 2),
    ),
    b"vk": ((2, 2), (4, 4), (8, 4), (12, 4), (16, 2)),
    b"sk": ((4, 4), (8, 4), (12, 4), (16, 4)),
    b"db": ((2, 2), (4, 4)),
    b"lf": ((2, 2), (4, 4), (8, 4), (12, 4)),
    b"lh": ((2, 2), (4, 4), (8, 4), (12, 4)),
    b"li": ((2, 2), (4, 4), (8, 4)),
    b"ri": ((2, 2), (4, 4), (8, 4)),
}
_BASE_FIELDS = (4, 8, 20, 24, 28, 32, 36, 40, 44)


def seed_hives() -> list[bytes]:
    """Hives with every kind of record in them, of three versions."""
    return [_seed_hive(minor, many) for minor, many in ((3, 20), (5, 20), (6, 20), (5, 700))]


def _seed_hive(minor: int, many: int) -> bytes:
    hive = Hive.new(version_minor=minor)
    for number in range(many):
        hive.create_key(f"Many\\{number}")
    hive.create_key("Class", class_name="a class")
    special = default_security().replace(b"\x19\x00\x02\x00", b"\x3f\x00\x0f\x00")
    hive.create_key("Special\\\u0414\u0430", special)
    hive.set_value("Values", "big", ValueType.BINARY, bytes(range(256)) * 80)
    hive.set_value("Values", "bigger", ValueType.BINARY, bytes(range(256)) * 130)
    for number in range(20):
        hive.set_value("Values", f"text {number}", ValueType.SZ, encode_text("x" * number))
    hive.delete_value("Values", "text 3")
    hive.delete_key("Many\\7")
    return hive.serialize(NOW)


def mutate_hive(data: bytes, chance: random.Random) -> bytes:
    """A hive with a few fields changed; its sum is right in nine of ten."""
    image = bytearray(data)
    cells = _cells(image)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        if chance.randrange(25) == 0:
            at = chance.choice(_BASE_FIELDS)
            struct.pack_into("<I", image, at, _number(image, at, cells, chance) & 0xFFFFFFFF)
        elif chance.randrange(12) == 0:
            _mutate_frame(image, cells, chance)
        else:
            _mutate_record(image, cells, chance)
    if chance.randrange(30) == 0:
        del image[chance.randrange(len(image)) :]
    elif chance.randrange(30) == 0:
        # The last bins go, and the base block says so.
        size = chance.randrange(4096, len(image), 4096)
        del image[size:]
        struct.pack_into("<I", image, 40, max(size - BASE_BYTES, 0))
    return resummed(image, chance)


def mutate_logs(data: bytes, chance: random.Random) -> tuple[bytes, list[bytes]]:
    """A crashed hive and logs of it that are not as they should be."""
    hive = Hive.parse(data)
    hive.set_value("Values", "text 5", ValueType.BINARY, chance.randbytes(chance.randrange(900)))
    hive.create_key(f"Many\\new {chance.randrange(99)}")
    hive.delete_key("Class")
    after = hive.serialize(NOW + 1)
    hive.set_value("Values", "more", ValueType.BINARY, chance.randbytes(chance.randrange(20_000)))
    last = hive.serialize(NOW + 2)
    if chance.randrange(3) == 0:
        last = mutate_hive(last, chance)
    last = last.ljust(-(-max(len(last), 8192) // 4096) * 4096, b"\0")
    if chance.randrange(3) == 0:
        crashed = logbook.dirty(data[:12] + last[12:20] + data[20:], primary=8, secondary=7)
        log = bytearray(logbook.old_log(data, last))
        _mutate_old_log(log, chance)
        return crashed, [resummed(log, chance)]
    crashed = logbook.dirty(data, primary=8, secondary=7)
    entries = [bytearray(logbook.entry(data, after, 7)), bytearray(logbook.entry(after, last, 8))]
    for entry in entries:
        if chance.randrange(3) == 0:
            _mutate_entry(entry, chance)
    return crashed, _as_logs(data, entries, chance)


def resummed(image: bytearray, chance: random.Random) -> bytes:
    if chance.randrange(10) and len(image) >= 512:
        struct.pack_into("<I", image, 508, checksum(image))
    return bytes(image)


def _as_logs(data: bytes, entries: Sequence[bytearray], chance: random.Random) -> list[bytes]:
    parts = [bytes(entry) for entry in entries]
    match chance.randrange(6):
        case 0:
            logs = [logbook.log_of(data, parts[:1]), logbook.log_of(data, parts[1:])]
        case 1:
            logs = [logbook.log_of(data, parts), logbook.log_of(data, parts[::-1])]
        case _:
            logs = [logbook.log_of(data, parts)]
    chance.shuffle(logs)
    if chance.randrange(6) == 0:
        logs[0] = logs[0][: chance.randrange(len(logs[0]))]
    if chance.randrange(8) == 0 and len(logs[0]) >= 512:
        head = bytearray(logs[0])
        struct.pack_into("<I", head, chance.choice(_BASE_FIELDS), chance.choice(_NUMBERS))
        logs[0] = resummed(head, chance)
    return logs


def _mutate_entry(entry: bytearray, chance: random.Random) -> None:
    """Change an entry; its hashes are right in nine of ten, and its size fits in half."""
    count = struct.unpack_from("<I", entry, 20)[0]
    match chance.randrange(6):
        case 0:
            struct.pack_into("<I", entry, chance.choice((8, 16, 20)), chance.choice(_NUMBERS))
        case 1:
            struct.pack_into("<I", entry, 12, chance.choice((6, 7, 8, 9, 1 << 31)))
        case 2 if count:
            at = 40 + 8 * chance.randrange(count) + chance.choice((0, 4))
            number = chance.choice((*_NUMBERS, 512, 4096, 8192, chance.getrandbits(16) & ~511))
            struct.pack_into("<I", entry, at, number)
        case 3:
            struct.pack_into("<I", entry, 4, chance.choice((*_NUMBERS, 512, len(entry) - 512)))
        case 4:
            entry.extend(bytes(512 * chance.randrange(1, 4)))
            struct.pack_into("<I", entry, 4, len(entry))
        case _:
            at = 40 + count * 8 + chance.randrange(max(len(entry) - 50 - count * 8, 1))
            struct.pack_into("<I", entry, at, chance.choice(_NUMBERS))
    if chance.randrange(10):
        entry[24:32] = marvin(bytes(entry[40:]))
        entry[32:40] = marvin(bytes(entry[:32]))


def _mutate_old_log(log: bytearray, chance: random.Random) -> None:
    match chance.randrange(5):
        case 0:
            struct.pack_into("<I", log, chance.choice(_BASE_FIELDS), chance.choice(_NUMBERS))
        case 1:
            log[516 + chance.randrange(8)] ^= 1 << chance.randrange(8)
        case 2:
            log[512 + chance.randrange(40)] = chance.randrange(256)
        case 3:
            del log[chance.randrange(len(log)) :]
        case _:
            at = chance.randrange(512, len(log) - 4)
            struct.pack_into("<I", log, at, chance.choice(_NUMBERS))


def _cells(image: bytearray) -> list[int]:
    """File offsets of all cells of a sound hive."""
    found, at = [], BASE_BYTES
    while at < len(image):
        if image[at : at + 4] == b"hbin" and at % 4096 == 0:
            at += 32
        found.append(at)
        at += abs(struct.unpack_from("<i", image, at)[0])
    return found


def _mutate_frame(image: bytearray, cells: list[int], chance: random.Random) -> None:
    """Change the size of a cell or the header of a bin; half of the cells still tile."""
    at = chance.choice(cells)
    size = struct.unpack_from("<i", image, at)[0]
    match chance.randrange(4):
        case 0:
            struct.pack_into("<i", image, at, -size)
        case 1 if abs(size) > 16:
            cut = chance.randrange(8, abs(size), 8)
            struct.pack_into("<i", image, at, cut if size > 0 else -cut)
            struct.pack_into("<i", image, at + cut, size - cut if size > 0 else size + cut)
        case 2:
            struct.pack_into("<I", image, at, chance.choice(_NUMBERS))
        case _:
            page = chance.randrange(BASE_BYTES, len(image), 4096)
            struct.pack_into("<I", image, page + chance.choice((0, 4, 8)), chance.choice(_NUMBERS))


def _mutate_record(image: bytearray, cells: list[int], chance: random.Random) -> None:
    """Change a field of a record; every kind of record is met about as often."""
    kind = chance.choice((b"nk", b"nk", b"vk", b"sk", b"db", b"lf", b"lh", b"ri", b"??"))
    known = [at for at in cells if image[at + 4 : at + 6] == kind]
    if not known:
        at = chance.choice(cells) + 4 + chance.choice((0, 4, 8))
        number = _number(image, at, cells, chance)
        image[at : at + 4] = (number & 0xFFFFFFFF).to_bytes(4, "little")
        return
    cell = chance.choice(known)
    if kind in {b"lf", b"lh", b"ri"} and chance.randrange(4) == 0:
        image[cell + 4 : cell + 6] = chance.choice((b"lf", b"lh", b"li", b"ri", b"nk"))
        return
    at, width = chance.choice(_FIELDS[kind])
    number = _number(image, cell + 4 + at, cells, chance)
    image[cell + 4 + at : cell + 4 + at + width] = (number % (1 << width * 8)).to_bytes(
        width, "little"
    )


def _number(image: bytearray, at: int, cells: list[int], chance: random.Random) -> int:
    """A number that a damaged file could have: mostly the offset of some cell, or near the old."""
    match chance.randrange(5):
        case 0 | 1:
            return chance.choice(cells) - BASE_BYTES
        case 2:
            before: int = struct.unpack_from("<I", image, min(at, len(image) - 4))[0]
            return before + chance.choice((-8, -1, 1, 8, 0x20, 1 << 31))
        case 3:
            return chance.choice(_NUMBERS)
        case _:
            return chance.getrandbits(32)
