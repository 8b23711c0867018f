"""Writes transaction logs as Windows does, from a hive before and after a change."""

import struct
from collections.abc import Sequence

from offline.registry.replay import checksum, marvin

BASE_BYTES = 4096
SECTOR_BYTES = 512
PAGE_BYTES = 4096


def dirty(data: bytes, *, primary: int, secondary: int) -> bytes:
    """The hive as a crash leaves it between the two sequence numbers."""
    return _with_head(data, (4, primary), (8, secondary))


def old_log(before: bytes, after: bytes) -> bytes:
    """A log of the old format that leads from one hive to the other."""
    pages = {
        at // SECTOR_BYTES: after[BASE_BYTES + at :][:PAGE_BYTES] for at in _changed(before, after)
    }
    bitmap = bytearray(len(after) // SECTOR_BYTES // 8 - 1)
    for page in pages:
        bitmap[page // 8] = 0xFF
    vector = b"DIRT" + bitmap
    vector += bytes(-len(vector) % SECTOR_BYTES)
    return _log_head(after, 1) + vector + b"".join(pages[page] for page in sorted(pages))


def new_log(base: bytes, entries: Sequence[bytes]) -> bytes:
    """A log of the new format."""
    return _log_head(base, 6) + b"".join(entries)


def log_of(base: bytes, entries: Sequence[bytes]) -> bytes:
    """A log of the new format whose base block has the number of its first entry."""
    sequence = struct.unpack_from("<I", entries[0], 12)[0] if entries else 1
    return _with_head(base[:SECTOR_BYTES], (4, sequence), (8, sequence), (28, 6)) + b"".join(
        entries
    )


def entry(before: bytes, after: bytes, sequence: int, flags: int = 0) -> bytes:
    """An entry of the new format that leads from one hive to the other."""
    pages = {at: after[BASE_BYTES + at :][:PAGE_BYTES] for at in _changed(before, after)}
    references = b"".join(struct.pack("<II", at, len(page)) for at, page in pages.items())
    body = references + b"".join(pages.values())
    body += bytes(-(len(body) + 40) % SECTOR_BYTES)
    bins_size = len(after) - BASE_BYTES
    head = struct.pack("<4sIIIII", b"HvLE", len(body) + 40, flags, sequence, bins_size, len(pages))
    head += marvin(body)
    return head + marvin(head) + body


def _changed(before: bytes, after: bytes) -> list[int]:
    return [
        at - BASE_BYTES
        for at in range(BASE_BYTES, len(after), PAGE_BYTES)
        if before[at : at + PAGE_BYTES] != after[at : at + PAGE_BYTES]
    ]


def _log_head(hive: bytes, file_type: int) -> bytes:
    sequence = struct.unpack_from("<I", hive, 8)[0]
    return _with_head(hive[:SECTOR_BYTES], (4, sequence), (28, file_type))


def _with_head(data: bytes, *fields: tuple[int, int]) -> bytes:
    image = bytearray(data)
    for at, number in fields:
        struct.pack_into("<I", image, at, number)
    struct.pack_into("<I", image, 508, checksum(image))
    return bytes(image)
