"""Content of a WIM unpacked in this process, for worker processes that read whole files.

`Wim.open_blob` gives the same; here what stands side by side in the file is read at once, and
nothing is copied between the file and who takes it.
"""

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise

from wimsmith.errors import DamagedWim
from wimsmith.offline.wim.format.blobs import Blob, table_entry_bytes
from wimsmith.offline.wim.format.container import naming
from wimsmith.offline.wim.format.header import Location
from wimsmith.offline.wim.format.opened import WimFile
from wimsmith.offline.wim.format.resource import read_exactly
from wimsmith.offline.wim.workers._libwim import LibwimCodec

_BLOCK_BYTES = 1 << 20
_WINDOW_BYTES = 1 << 20
_GAP_BYTES = 1 << 16
"""What nobody asked for is read when it is no longer than this: cheaper than reading twice."""

Block = bytes | memoryview


class ContentReader:
    """Reads contents of the files of one WIM, fastest in the order they are stored.

    Blocks that it gives are valid until the next one is asked for.
    """

    def __init__(self, files: Sequence[WimFile], codec: LibwimCodec) -> None:
        self._files = files
        self._codec = codec
        self._buffer = bytearray(_WINDOW_BYTES)
        self._file: WimFile | None = None
        self._start = self._end = 0
        self._broken: set[tuple[int, int, int]] = set()
        self._wanted: Sequence[Blob] = ()
        self._position = 0

    def contents(self, blobs: Sequence[Blob]) -> Iterator[tuple[Blob, Iterator[Block]]]:
        """Each content in blocks; after the last one it has been compared with its SHA-1.

        Taking the blocks raises `DamagedWim` if it is something else; one can go on with the next.
        """
        self._wanted = blobs
        for self._position, blob in enumerate(blobs):
            yield blob, self._proved(blob)

    def _proved(self, blob: Blob) -> Iterator[Block]:
        digest = hashlib.sha1(usedforsecurity=False)
        with naming(self._files[blob.file].path):
            for block in self._blocks(blob):
                digest.update(block)
                yield block
            if digest.digest() != blob.sha1:
                raise DamagedWim(f"{_label(blob)} holds other content")

    def _blocks(self, blob: Blob) -> Iterator[Block]:
        file = self._files[blob.file]
        if blob.solid is not None:
            return self._solid(file, blob)
        if blob.location.is_compressed:
            if file.is_pipable:
                return file.resources.blocks(blob.location, _label(blob))
            return self._packed(file, blob.location, _label(blob))
        return self._stored(file, blob.location, _label(blob))

    def _stored(self, file: WimFile, location: Location, what: str) -> Iterator[memoryview]:
        for offset in range(location.offset, location.end, _BLOCK_BYTES):
            yield self._take(file, offset, min(_BLOCK_BYTES, location.end - offset), what)

    def _packed(self, file: WimFile, location: Location, what: str) -> Iterator[memoryview]:
        compression, chunk_size = file.header.compression, file.header.chunk_size
        total = -(-location.size_bytes // chunk_size)
        table_bytes = (total - 1) * table_entry_bytes(location.size_bytes)
        data_offset = location.offset + table_bytes
        batch = max(1, _BLOCK_BYTES // chunk_size)
        for first in range(0, total, batch):
            last = min(first + batch, total)
            bounds = self._bounds(file, location, range(first, last), data_offset, what)
            sizes = [(end - start, chunk_size) for start, end in pairwise(bounds)]
            if last == total:
                left = location.size_bytes - (total - 1) * chunk_size
                sizes[-1] = (sizes[-1][0], left)
            is_possible = all(0 < size <= after for size, after in sizes)
            if not is_possible or bounds[-1] > location.end - data_offset:
                raise DamagedWim(f"{what}: chunks that are not inside their resource")
            count = bounds[-1] - bounds[0]
            packed = self._take(file, data_offset + bounds[0], count, what)
            try:
                unpacked = self._codec.decompress_all(compression, chunk_size, packed, sizes)
            except DamagedWim as error:
                raise DamagedWim(f"{what}: {error.args[0]}") from error
            yield unpacked

    def _bounds(
        self, file: WimFile, location: Location, chunks: range, data_offset: int, what: str
    ) -> list[int]:
        """Where these chunks begin, counted from `data_offset`, and where the last one ends."""
        total = -(-location.size_bytes // file.header.chunk_size)
        first, last = max(chunks.start, 1), min(chunks.stop, total - 1)
        bounds = [0] if chunks.start == 0 else []
        if last >= first:
            width = table_entry_bytes(location.size_bytes)
            place = location.offset + (first - 1) * width
            count = last - first + 1
            # A short table stands close to its chunks, a long one would push them out of memory.
            read = self._take if len(chunks) == total else _read
            raw = read(file, place, count * width, what)
            bounds += struct.unpack(f"<{count}{'Q' if width == 8 else 'I'}", raw)
        if chunks.stop == total:
            bounds.append(location.end - data_offset)
        return bounds

    def _solid(self, file: WimFile, blob: Blob) -> Iterator[bytes]:
        """Content of a solid resource; of a chunk that is damaged no second try is made."""
        resource = blob.solid
        assert resource is not None
        offset = blob.location.offset
        key = (blob.file, resource.location.offset)
        for number in resource.chunks_of(offset, blob.size_bytes):
            if (*key, number) in self._broken:
                raise DamagedWim(f"{_label(blob)}: chunk {number} is damaged")
            start = number * resource.chunk_size
            begin = max(offset, start)
            end = min(offset + blob.size_bytes, start + resource.bytes_of_chunk(number))
            try:
                yield from file.solid.blocks(resource, begin, end - begin, _label(blob))
            except DamagedWim:
                self._broken.add((*key, number))
                raise

    def _take(self, file: WimFile, offset: int, count: int, what: str) -> memoryview:
        """Bytes of a file, from memory if they were read together with earlier ones."""
        if file is not self._file or offset < self._start or offset + count > self._end:
            self._fill(file, offset, count, what)
        place = offset - self._start
        return memoryview(self._buffer)[place : place + count]

    def _fill(self, file: WimFile, offset: int, count: int, what: str) -> None:
        """Read these bytes, and those of the contents behind them that will be wanted next."""
        end = offset + count
        blob = self._wanted[self._position]
        if blob.solid is None and offset >= blob.location.offset:
            end = max(end, min(blob.location.end, offset + _WINDOW_BYTES))
        for position in range(self._position + 1, len(self._wanted)):
            blob = self._wanted[position]
            gap = blob.location.offset - end
            is_next = blob.solid is None and self._files[blob.file] is file
            if not is_next or not 0 <= gap <= _GAP_BYTES or end - offset >= _WINDOW_BYTES:
                break
            end = min(blob.location.end, offset + _WINDOW_BYTES)
        size_bytes = max(count, end - offset)
        if size_bytes > len(self._buffer):
            self._buffer = bytearray(size_bytes)
        window = memoryview(self._buffer)[:size_bytes]
        done = os.preadv(file.descriptor, [window], offset)
        if done < count:
            window[done:count] = read_exactly(file.descriptor, offset + done, count - done, what)
            done = count
        self._file, self._start, self._end = file, offset, offset + done


def _read(file: WimFile, offset: int, count: int, what: str) -> bytes:
    return read_exactly(file.descriptor, offset, count, what)


def _label(blob: Blob) -> str:
    return f"blob {blob.sha1.hex()}"
