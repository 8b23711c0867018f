"""Reading resources: a raw run of bytes, or a table of chunk offsets with packed chunks.

A packed resource begins with the offsets of its chunks 2..n, counted from the end of the table
and 4 bytes wide (8 when it unpacks to 4 GiB or more). A chunk as long as what it unpacks to is
stored. Solid resources have another layout and are not read here.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from wimsmith.errors import DamagedWim, LimitExceeded, NotSupported
from wimsmith.offline.wim import remedies
from wimsmith.offline.wim.blobs import table_entry_bytes
from wimsmith.offline.wim.codec import Codec, Compression
from wimsmith.offline.wim.header import Location, ResourceFlag

BATCH_BYTES = 4 << 20
"""Unpacked bytes that are asked of the codec at once."""


@dataclass(frozen=True, slots=True)
class ResourceReader:
    """Reads resources of one open file; safe to share between threads."""

    descriptor: int
    compression: Compression
    chunk_size: int
    codec: Codec | None = None

    def read(self, location: Location, what: str, limit_bytes: int) -> bytes:
        """The whole unpacked resource.

        Raises:
            LimitExceeded: it unpacks to more than `limit_bytes`.
            DamagedWim: the chunk table or a chunk is wrong.
            NotSupported: the resource is solid, or packed and there is no codec.
        """
        if location.size_bytes > limit_bytes:
            raise LimitExceeded(
                f"{what} unpacks to {location.size_bytes} bytes, more than {limit_bytes}"
            )
        return b"".join(self.blocks(location, what))

    def read_many(self, locations: Sequence[Location]) -> list[bytes]:
        """Several small resources, unpacked in one call of the codec; raises as `read` does."""
        what = "one of several resources"
        pieces = [self._all_pieces(location, what) for location in locations]
        unpacked = self._unpack([piece for one in pieces for piece in one], what)
        return [b"".join(islice(unpacked, len(one))) for one in pieces]

    def blocks(self, location: Location, what: str) -> Iterator[bytes]:
        """The unpacked resource in blocks of a few megabytes; raises as `read` does."""
        _refuse_solid(location)
        if location.is_compressed:
            return self._packed(location, what)
        return self._raw(location, what)

    def _raw(self, location: Location, what: str) -> Iterator[bytes]:
        for offset in range(location.offset, location.end, BATCH_BYTES):
            yield read_exactly(
                self.descriptor, offset, min(BATCH_BYTES, location.end - offset), what
            )

    def _packed(self, location: Location, what: str) -> Iterator[bytes]:
        chunks = self._chunk_count(location)
        batch = max(1, BATCH_BYTES // self.chunk_size)
        for first in range(0, chunks, batch):
            pieces = self._pieces(location, range(first, min(first + batch, chunks)), what)
            yield b"".join(self._unpack(pieces, what))

    def _chunk_count(self, location: Location) -> int:
        return -(-location.size_bytes // self.chunk_size)

    def _all_pieces(self, location: Location, what: str) -> list[tuple[bytes, int]]:
        _refuse_solid(location)
        if location.is_compressed:
            return self._pieces(location, range(self._chunk_count(location)), what)
        data = read_exactly(self.descriptor, location.offset, location.stored_bytes, what)
        return [(data, len(data))]

    def _pieces(self, location: Location, chunks: range, what: str) -> list[tuple[bytes, int]]:
        """These chunks as they are stored, each with the size that it unpacks to."""
        bounds = self._chunk_bounds(location, chunks, what)
        data = read_exactly(self.descriptor, bounds[0], bounds[-1] - bounds[0], what)
        pieces = []
        for number, (start, end) in zip(chunks, pairwise(bounds), strict=True):
            left = location.size_bytes - number * self.chunk_size
            size_bytes = min(self.chunk_size, left)
            piece = data[start - bounds[0] : end - bounds[0]]
            if len(piece) > size_bytes:
                raise DamagedWim(f"{what}: chunk {number} is longer than what it unpacks to")
            pieces.append((piece, size_bytes))
        return pieces

    def _unpack(self, pieces: Sequence[tuple[bytes, int]], what: str) -> Iterator[bytes]:
        """Unpacked chunks; one as long as what it unpacks to is stored."""
        packed = [one for one in pieces if len(one[0]) < one[1]]
        found = self._decompress(packed, what) if packed else []
        if [len(piece) for piece in found] != [size_bytes for _, size_bytes in packed]:
            raise DamagedWim(f"{what}: a chunk unpacks to another size than it should")
        unpacked = iter(found)
        for piece, size_bytes in pieces:
            yield next(unpacked) if len(piece) < size_bytes else piece

    def _decompress(self, packed: Sequence[tuple[bytes, int]], what: str) -> list[bytes]:
        if self.codec is None:
            raise NotSupported("codec", f"{what} is packed with {self.compression.upper()}")
        return self.codec.decompress(self.compression, self.chunk_size, packed)

    def _chunk_bounds(self, location: Location, chunks: range, what: str) -> list[int]:
        """Absolute offsets of these chunks, and of the end of the last."""
        total = self._chunk_count(location)
        width = table_entry_bytes(location.size_bytes)
        data_offset = location.offset + (total - 1) * width
        first, last = max(chunks.start, 1), min(chunks.stop, total - 1)
        count = last - first + 1
        offsets: tuple[int, ...] = ()
        if count > 0:
            table_offset = location.offset + (first - 1) * width
            raw = read_exactly(self.descriptor, table_offset, count * width, what)
            offsets = struct.unpack(f"<{count}{'Q' if width == 8 else 'I'}", raw)
        bounds = [data_offset + offset for offset in offsets]
        if chunks.start == 0:
            bounds.insert(0, data_offset)
        if chunks.stop == total:
            bounds.append(location.end)
        if any(start >= end for start, end in pairwise(bounds)):
            raise DamagedWim(f"{what}: chunk offsets do not grow")
        if bounds[-1] > location.end:
            raise DamagedWim(f"{what}: a chunk ends behind its resource")
        return bounds


def _refuse_solid(location: Location) -> None:
    if location.flags & ResourceFlag.SOLID:
        raise NotSupported(
            "solid",
            "the content is in solid resources (ESD), which are not read in place",
            hint=remedies.EXPORT_AS_LZX,
        )


def read_exactly(descriptor: int, offset: int, count: int, what: str) -> bytes:
    """Read `count` bytes at `offset`.

    Raises:
        DamagedWim: the file ends before.
    """
    data = os.pread(descriptor, count, offset)
    if len(data) == count:
        return data
    parts = [data]
    while data and (left := count - sum(map(len, parts))):
        data = os.pread(descriptor, left, offset + sum(map(len, parts)))
        parts.append(data)
    whole = b"".join(parts)
    if len(whole) != count:
        raise DamagedWim(f"{what}: the file ends in the middle of it")
    return whole
