"""Reading resources: a raw run of bytes, or a table of chunk offsets with packed chunks.

A packed resource begins with the offsets of its chunks 2..n, counted from the end of the table
and 4 bytes wide (8 when it unpacks to 4 GiB or more). A chunk as long as what it unpacks to is
stored. `solid` reads the other layout, of content that is packed together.

In a pipable file the table stands behind the chunks, each chunk behind its packed size (u32, which
the offsets leave out), and 40 bytes before each resource say again what it is.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from wimsmith.errors import DamagedWim, LimitExceeded, NotSupported
from wimsmith.offline.wim.format.blobs import table_entry_bytes
from wimsmith.offline.wim.format.codec import Codec, Compression
from wimsmith.offline.wim.format.header import Location

BATCH_BYTES = 4 << 20
"""Unpacked bytes that are asked of the codec at once."""

_CHUNK_HEAD = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class ResourceReader:
    """Reads resources of one open file; safe to share between threads."""

    descriptor: int
    compression: Compression
    chunk_size: int
    codec: Codec | None = None
    is_pipable: bool = False

    def read(self, location: Location, what: str, limit_bytes: int) -> bytes:
        """The whole unpacked resource.

        Raises:
            LimitExceeded: it unpacks to more than `limit_bytes`.
            DamagedWim: the chunk table or a chunk is wrong.
            NotSupported: the resource is packed and there is no codec.
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
        self._check(location, what)
        if location.is_compressed:
            return self._packed(location, what)
        return self._raw(location, what)

    def _check(self, location: Location, what: str) -> None:
        if location.is_compressed and self.compression is Compression.NONE:
            raise DamagedWim(f"{what} is compressed, the file is not")
        if not location.is_compressed and location.stored_bytes != location.size_bytes:
            raise DamagedWim(f"{what} is stored with another size than its own")

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
        self._check(location, what)
        if location.is_compressed:
            return self._pieces(location, range(self._chunk_count(location)), what)
        data = read_exactly(self.descriptor, location.offset, location.stored_bytes, what)
        return [(data, len(data))]

    def _pieces(self, location: Location, chunks: range, what: str) -> list[tuple[bytes, int]]:
        """These chunks as they are stored, each with the size that it unpacks to."""
        bounds = self._chunk_bounds(location, chunks, what)
        sizes = [self._chunk_bytes(location, number) for number in chunks]
        head_bytes = _CHUNK_HEAD.size if self.is_pipable else 0
        for number, (start, end), size_bytes in zip(chunks, pairwise(bounds), sizes, strict=True):
            if end - start > size_bytes + head_bytes:
                raise DamagedWim(f"{what}: chunk {number} is longer than what it unpacks to")
        data = read_exactly(self.descriptor, bounds[0], bounds[-1] - bounds[0], what)
        pieces = []
        for number, (start, end), size_bytes in zip(chunks, pairwise(bounds), sizes, strict=True):
            piece = data[start - bounds[0] : end - bounds[0]]
            if self.is_pipable:
                piece = _without_head(piece, number, what)
            pieces.append((piece, size_bytes))
        return pieces

    def _chunk_bytes(self, location: Location, number: int) -> int:
        return min(self.chunk_size, location.size_bytes - number * self.chunk_size)

    def _unpack(self, pieces: Sequence[tuple[bytes, int]], what: str) -> Iterator[bytes]:
        return unpack(self.codec, self.compression, self.chunk_size, pieces, what)

    def _chunk_bounds(self, location: Location, chunks: range, what: str) -> list[int]:
        """Absolute offsets of these chunks (with their heads), and of the end of the last."""
        total = self._chunk_count(location)
        width = table_entry_bytes(location.size_bytes)
        table_bytes = (total - 1) * width
        if self.is_pipable:
            data_offset, data_end, head_bytes = location.offset, location.end - table_bytes, 4
            table_offset = data_end
        else:
            data_offset, data_end, head_bytes = location.offset + table_bytes, location.end, 0
            table_offset = location.offset
        first, last = max(chunks.start, 1), min(chunks.stop, total - 1)
        count = last - first + 1
        offsets: tuple[int, ...] = ()
        if count > 0:
            raw = read_exactly(
                self.descriptor, table_offset + (first - 1) * width, count * width, what
            )
            offsets = struct.unpack(f"<{count}{'Q' if width == 8 else 'I'}", raw)
        bounds = [
            data_offset + offset + number * head_bytes
            for number, offset in enumerate(offsets, first)
        ]
        if chunks.start == 0:
            bounds.insert(0, data_offset)
        if chunks.stop == total:
            bounds.append(data_end)
        if any(end - start <= head_bytes for start, end in pairwise(bounds)):
            raise DamagedWim(f"{what}: chunk offsets do not grow")
        if bounds[-1] > data_end:
            raise DamagedWim(f"{what}: a chunk ends behind its resource")
        return bounds


def unpack(
    codec: Codec | None,
    compression: Compression,
    chunk_size: int,
    pieces: Sequence[tuple[bytes, int]],
    what: str,
) -> Iterator[bytes]:
    """Unpacked chunks, each given with its size after; one that has it already is stored.

    Raises:
        DamagedWim: a chunk does not unpack to its size.
        NotSupported: there is no codec.
    """
    packed = [one for one in pieces if len(one[0]) < one[1]]
    found = _decompress(codec, compression, chunk_size, packed, what) if packed else []
    if [len(piece) for piece in found] != [size_bytes for _, size_bytes in packed]:
        raise DamagedWim(f"{what}: a chunk unpacks to another size than it should")
    unpacked = iter(found)
    for piece, size_bytes in pieces:
        yield next(unpacked) if len(piece) < size_bytes else piece


def _decompress(
    codec: Codec | None,
    compression: Compression,
    chunk_size: int,
    packed: Sequence[tuple[bytes, int]],
    what: str,
) -> list[bytes]:
    if compression is Compression.NONE:
        raise DamagedWim(f"{what}: a chunk is shorter than its content, and not packed")
    if codec is None:
        raise NotSupported("codec", f"{what} is packed with {compression.upper()}")
    try:
        return codec.decompress(compression, chunk_size, packed)
    except DamagedWim as error:
        raise DamagedWim(f"{what}: {error.args[0]}") from error


def _without_head(piece: bytes, number: int, what: str) -> bytes:
    """A chunk of a pipable file behind the size that stands before it."""
    (size_bytes,) = _CHUNK_HEAD.unpack_from(piece)
    if size_bytes != len(piece) - _CHUNK_HEAD.size:
        raise DamagedWim(f"{what}: chunk {number} and the chunk table say different sizes")
    return piece[_CHUNK_HEAD.size :]


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
