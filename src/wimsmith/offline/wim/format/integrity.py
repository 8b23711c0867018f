"""The integrity table: SHA-1 of each 10 MiB of a WIM between its header and the XML document.

12 bytes (size of the table, number of hashes, bytes per hash), then 20 bytes per hash.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from wimsmith.errors import DamagedWim, LimitExceeded
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.wim.format.header import HEADER_BYTES, Header
from wimsmith.offline.wim.format.resource import read_exactly

CHUNK_BYTES = 10 << 20
MAX_CHUNK_BYTES = 1 << 28
MAX_TABLE_BYTES = 1 << 26
"""Hashes of 32 TiB in parts of 10 MiB."""
_HEAD = struct.Struct("<III")
_SHA1_BYTES = 20


@dataclass(frozen=True, slots=True)
class IntegrityTable:
    """Hashes of the covered part of a file, `chunk_bytes` each."""

    chunk_bytes: int
    hashes: tuple[bytes, ...]

    @classmethod
    def parse(cls, data: bytes, covered_bytes: int) -> Self:
        """Read a table that must cover exactly `covered_bytes`.

        Raises:
            DamagedWim: sizes that contradict one another.
        """
        if len(data) < _HEAD.size:
            raise DamagedWim(f"integrity table of {len(data)} bytes")
        size, count, chunk_bytes = _HEAD.unpack_from(data)
        if size != len(data) or size != table_bytes(count) or chunk_bytes == 0:
            raise DamagedWim("the sizes in the integrity table contradict one another")
        if chunk_bytes > MAX_CHUNK_BYTES or count != -(-covered_bytes // chunk_bytes):
            raise DamagedWim(f"integrity table of {count} hashes for {covered_bytes} bytes")
        hashes = (data[at : at + _SHA1_BYTES] for at in range(_HEAD.size, size, _SHA1_BYTES))
        return cls(chunk_bytes, tuple(hashes))

    def pack(self) -> bytes:
        """The bytes of the table."""
        size = table_bytes(len(self.hashes))
        return _HEAD.pack(size, len(self.hashes), self.chunk_bytes) + b"".join(self.hashes)


def table_bytes(count: int) -> int:
    """Size of a table with `count` hashes."""
    return _HEAD.size + count * _SHA1_BYTES


def hash_count(covered_bytes: int) -> int:
    """Number of hashes that cover so many bytes."""
    return -(-covered_bytes // CHUNK_BYTES)


def covered_end(header: Header) -> int:
    """Offset behind the last byte that the table covers: the end of the blob table."""
    return header.blob_table.end


def verify(descriptor: int, header: Header, progress: Progress = silent) -> bool:
    """Compare a file with its integrity table; False if it has none.

    Raises:
        DamagedWim: the table or a part of the file is wrong; the message says where.
        LimitExceeded: a table larger than `MAX_TABLE_BYTES`.
    """
    if not header.integrity.stored_bytes:
        return False
    end, place = covered_end(header), header.integrity
    if place.stored_bytes > MAX_TABLE_BYTES:
        raise LimitExceeded(f"an integrity table of {place.stored_bytes} bytes")
    raw = read_exactly(descriptor, place.offset, place.stored_bytes, "the integrity table")
    table = IntegrityTable.parse(raw, end - HEADER_BYTES)
    chunks = file_chunks(descriptor, HEADER_BYTES, end, table.chunk_bytes)
    for (offset, chunk), expected in zip(chunks, table.hashes, strict=True):
        if hashlib.sha1(chunk, usedforsecurity=False).digest() != expected:
            raise DamagedWim(f"integrity check failed in the {len(chunk)} bytes from {offset}")
        progress(Event("verify integrity", offset + len(chunk), end, "bytes"))
    return True


def file_chunks(
    descriptor: int, start: int, end: int, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[tuple[int, bytes]]:
    """Parts of a file with their offsets."""
    for offset in range(start, end, chunk_bytes):
        count = min(chunk_bytes, end - offset)
        yield offset, read_exactly(descriptor, offset, count, "the WIM")
