"""Reading solid resources: many contents one behind the other, packed together (ESD files).

A solid resource begins with its unpacked size (u64), the size of its chunks (u32) and the number
of their compression (u32: 0 none, 1 XPRESS, 2 LZX, 3 LZMS), whatever the header of the file says.
Then comes the packed size of each chunk (u32), then the chunks. A content has a place and a size
in what all this unpacks to. Layout: as wimlib's public documentation names it, compared with files
that it writes.
"""

import struct
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from wimsmith.errors import DamagedWim, LimitExceeded
from wimsmith.offline.wim.format.blobs import SolidResource, least_stored_bytes
from wimsmith.offline.wim.format.codec import Codec, Compression
from wimsmith.offline.wim.format.header import Location, check_chunk_size
from wimsmith.offline.wim.format.resource import BATCH_BYTES, read_exactly, unpack

HEAD_BYTES = 16
CACHE_BYTES = 128 << 20
"""Unpacked chunks that are remembered: two of the largest, or thousands of small ones."""
MAX_CHUNKS = 1 << 22
"""Of one resource: 128 GiB in the smallest chunks, whose table takes 16 MiB."""

_HEAD = struct.Struct("<QII")
_SIZE_BYTES = 4
_TABLES = 4
_COMPRESSIONS = (Compression.NONE, Compression.XPRESS, Compression.LZX, Compression.LZMS)


def read_head(descriptor: int, location: Location) -> SolidResource:
    """What a solid resource says of itself.

    Raises:
        DamagedWim: sizes that cannot be true.
        LimitExceeded: more chunks than `MAX_CHUNKS`.
        NotSupported: chunks too large to be read.
    """
    what = f"the solid resource at {location.offset}"
    if location.stored_bytes < HEAD_BYTES:
        raise DamagedWim(f"{what} has {location.stored_bytes} bytes")
    size_bytes, chunk_size, number = _HEAD.unpack(
        read_exactly(descriptor, location.offset, HEAD_BYTES, what)
    )
    if number >= len(_COMPRESSIONS):
        raise DamagedWim(f"{what} has compression {number}, which is not known")
    compression = _COMPRESSIONS[number]
    if not chunk_size:
        raise DamagedWim(f"{what} has chunks of no bytes")
    check_chunk_size(compression, chunk_size)
    resource = SolidResource(location, size_bytes, chunk_size, compression)
    table_bytes = resource.chunk_count * _SIZE_BYTES
    least = least_stored_bytes(size_bytes, chunk_size, compression)
    if location.stored_bytes < HEAD_BYTES + table_bytes + least:
        raise DamagedWim(f"{what}: {size_bytes} bytes cannot be packed in {location.stored_bytes}")
    if resource.chunk_count > MAX_CHUNKS:
        raise LimitExceeded(f"{what} has {resource.chunk_count} chunks, more than {MAX_CHUNKS}")
    return resource


class SolidReader:
    """Reads from the solid resources of one open file, remembering chunks that it unpacked.

    Safe to share between threads; two that want one chunk at once may both unpack it.
    """

    def __init__(self, descriptor: int, codec: Codec | None) -> None:
        self._descriptor = descriptor
        self._codec = codec
        self._lock = threading.Lock()
        self._chunks: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._cached_bytes = 0
        self._tables: OrderedDict[int, array[int]] = OrderedDict()

    def blocks(
        self, resource: SolidResource, offset: int, size_bytes: int, what: str
    ) -> Iterator[bytes]:
        """Bytes of what a resource unpacks to, in blocks of a few megabytes.

        Raises:
            DamagedWim: the chunk table or a chunk is wrong.
            NotSupported: the resource is packed and there is no codec.
        """
        wanted = resource.chunks_of(offset, size_bytes)
        at_once = max(1, BATCH_BYTES // resource.chunk_size)
        for first in range(wanted.start, wanted.stop, at_once):
            numbers = range(first, min(first + at_once, wanted.stop))
            found = self._get(resource, numbers, what)
            for number in numbers:
                start = number * resource.chunk_size
                begin, end = max(offset - start, 0), min(offset + size_bytes - start, len(found[0]))
                chunk = memoryview(found.pop(0))
                for at in range(begin, min(end, len(chunk)), BATCH_BYTES):
                    yield bytes(chunk[at : min(at + BATCH_BYTES, end)])

    def prepare(self, wanted: Iterable[tuple[SolidResource, range]], what: str) -> None:
        """Unpack chunks that will be asked for soon, as many as fit half of the memory, at once.

        Args:
            wanted: resources with the numbers of their chunks.
            what: for messages.
        """
        room = CACHE_BYTES // 2
        chosen: dict[SolidResource, set[int]] = {}
        for resource, numbers in wanted:
            mine = chosen.setdefault(resource, set())
            for number in numbers:
                if number not in mine:
                    room -= resource.chunk_size
                    if room < 0:
                        break
                    mine.add(number)
        for resource, mine in chosen.items():
            self._get(resource, sorted(mine), what)

    def _get(self, resource: SolidResource, numbers: Sequence[int], what: str) -> list[bytes]:
        """These chunks, remembered or unpacked now."""
        at = resource.location.offset
        found = self._remembered(at, numbers)
        missing = [number for number in numbers if number not in found]
        if missing:
            self._forget(len(missing) * resource.chunk_size)
            pieces = [self._piece(resource, number, what) for number in missing]
            new = unpack(self._codec, resource.compression, resource.chunk_size, pieces, what)
            found |= zip(missing, new, strict=True)
            self._remember(at, {number: found[number] for number in missing})
        return [found[number] for number in numbers]

    def _remembered(self, at: int, numbers: Iterable[int]) -> dict[int, bytes]:
        found = {}
        with self._lock:
            for number in numbers:
                chunk = self._chunks.get((at, number))
                if chunk is not None:
                    self._chunks.move_to_end((at, number))
                    found[number] = chunk
        return found

    def _remember(self, at: int, chunks: dict[int, bytes]) -> None:
        with self._lock:
            for number, chunk in chunks.items():
                if (at, number) not in self._chunks:
                    self._chunks[at, number] = chunk
                    self._cached_bytes += len(chunk)
        self._forget(0)

    def _forget(self, room: int) -> None:
        """Drop the chunks used longest ago until there is room for so many bytes."""
        with self._lock:
            while self._chunks and self._cached_bytes + room > CACHE_BYTES:
                self._cached_bytes -= len(self._chunks.popitem(last=False)[1])

    def _piece(self, resource: SolidResource, number: int, what: str) -> tuple[bytes, int]:
        """A chunk as it is stored, with the size that it unpacks to."""
        ends = self._table(resource)
        start, end = ends[number], ends[number + 1]
        size_bytes = resource.bytes_of_chunk(number)
        if not 0 < end - start <= size_bytes:
            raise DamagedWim(f"{what}: chunk {number} is said to have {end - start} bytes")
        data_offset = resource.location.offset + HEAD_BYTES + resource.chunk_count * _SIZE_BYTES
        piece = read_exactly(self._descriptor, data_offset + start, end - start, what)
        return piece, size_bytes

    def _table(self, resource: SolidResource) -> "array[int]":
        """Where each chunk begins behind the table, and where the last one ends."""
        at, count = resource.location.offset, resource.chunk_count
        with self._lock:
            if at in self._tables:
                return self._tables[at]
        what = f"the chunk table of the solid resource at {at}"
        raw = read_exactly(self._descriptor, at + HEAD_BYTES, count * _SIZE_BYTES, what)
        ends = array("Q", accumulate(struct.unpack(f"<{count}I", raw), initial=0))
        if HEAD_BYTES + len(raw) + ends[-1] > resource.location.stored_bytes:
            raise DamagedWim(f"{what} names more bytes than it has")
        with self._lock:
            self._tables[at] = ends
            if len(self._tables) > _TABLES:
                self._tables.popitem(last=False)
        return ends
