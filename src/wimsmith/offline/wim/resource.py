"""Reading resources: a raw run of bytes, or a table of chunk offsets with packed chunks.

A packed resource begins with the offsets of its chunks 2..n, counted from the end of the table
and 4 bytes wide (8 when it unpacks to 4 GiB or more). A chunk as long as what it unpacks to is
stored. Solid resources have another layout and are not read here.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from wimsmith.errors import DamagedWim, LimitExceeded, NotSupported
from wimsmith.offline.wim.blobs import table_entry_bytes
from wimsmith.offline.wim.codec import Codec, Compression
from wimsmith.offline.wim.header import Location, ResourceFlag

_BATCH_BYTES = 4 << 20


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

    def blocks(self, location: Location, what: str) -> Iterator[bytes]:
        """The unpacked resource in blocks of a few megabytes; raises as `read` does."""
        if location.flags & ResourceFlag.SOLID:
            raise NotSupported(
                "solid",
                "the content is in solid resources (ESD): first export the images with LZX"
                " compression, for example with wimlib-imagex export --compress=LZX",
            )
        if location.is_compressed:
            return self._packed(location, what)
        return self._raw(location, what)

    def _raw(self, location: Location, what: str) -> Iterator[bytes]:
        for offset in range(location.offset, location.end, _BATCH_BYTES):
            yield read_exactly(
                self.descriptor, offset, min(_BATCH_BYTES, location.end - offset), what
            )

    def _packed(self, location: Location, what: str) -> Iterator[bytes]:
        codec = self.codec
        if codec is None:
            raise NotSupported("codec", f"{what} is packed with {self.compression.upper()}")
        chunks = -(-location.size_bytes // self.chunk_size)
        batch = max(1, _BATCH_BYTES // self.chunk_size)
        for first in range(0, chunks, batch):
            last = min(first + batch, chunks)
            yield self._unpacked(codec, location, range(first, last), what)

    def _unpacked(self, codec: Codec, location: Location, chunks: range, what: str) -> bytes:
        bounds = self._chunk_bounds(location, chunks, what)
        data = read_exactly(self.descriptor, bounds[0], bounds[-1] - bounds[0], what)
        view = memoryview(data)
        parts: list[bytes] = []
        packed: list[tuple[bytes, int]] = []
        slots: list[int] = []
        for number, (start, end) in zip(chunks, pairwise(bounds), strict=True):
            left = location.size_bytes - number * self.chunk_size
            size_bytes = min(self.chunk_size, left)
            piece = bytes(view[start - bounds[0] : end - bounds[0]])
            if len(piece) > size_bytes:
                raise DamagedWim(f"{what}: chunk {number} is longer than what it unpacks to")
            if len(piece) < size_bytes:
                packed.append((piece, size_bytes))
                slots.append(len(parts))
            parts.append(piece)
        for slot, piece in zip(slots, self._decompress(codec, packed, what), strict=True):
            parts[slot] = piece
        return b"".join(parts)

    def _decompress(self, codec: Codec, packed: list[tuple[bytes, int]], what: str) -> list[bytes]:
        if not packed:
            return []
        pieces = codec.decompress(self.compression, self.chunk_size, packed)
        if [len(piece) for piece in pieces] != [size_bytes for _, size_bytes in packed]:
            raise DamagedWim(f"{what}: a chunk unpacks to another size than it should")
        return pieces

    def _chunk_bounds(self, location: Location, chunks: range, what: str) -> list[int]:
        """Absolute offsets of these chunks, and of the end of the last."""
        total = -(-location.size_bytes // self.chunk_size)
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
