"""The growing file, and packing content into resources of their own in it."""

import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, Self

from wimsmith.errors import DamagedInput, NotSupported
from wimsmith.offline.wim.format.blobs import Blob, table_entry_bytes
from wimsmith.offline.wim.format.codec import Codec, Compression
from wimsmith.offline.wim.format.header import HEADER_BYTES, Location, ResourceFlag
from wimsmith.offline.wim.format.resource import read_exactly
from wimsmith.offline.wim.writing.form import Form
from wimsmith.offline.wim.writing.pipeline import Pipeline
from wimsmith.offline.wim.writing.watch import Watch

BLOCK_BYTES = 4 << 20
"""Read, and given to the codec, at once."""

Advance = Callable[[int], None]
_Chunk = tuple["_Resource", bytes]
_Packed = list[bytes | None]


class Source(Protocol):
    """New content: its size in bytes, and its blocks."""

    @property
    def size_bytes(self) -> int: ...

    def blocks(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class MemorySource:
    """Content in memory."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def blocks(self) -> Iterator[bytes]:
        """The content in one block."""
        yield self.data


@dataclass(frozen=True, slots=True)
class FileSource:
    """Content of a file of this server."""

    path: Path

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def blocks(self) -> Iterator[bytes]:
        """The content in blocks of a few megabytes."""
        with self.path.open("rb", buffering=0) as file:
            while block := file.read(BLOCK_BYTES):
                yield block


def source_of(content: Path | bytes) -> Source:
    """The source for content given as a path or as bytes."""
    return MemorySource(content) if isinstance(content, bytes) else FileSource(content)


@dataclass(frozen=True, slots=True)
class Item:
    """Content to pack, once: SHA-1, size, and blocks which prove both when the last is taken."""

    sha1: bytes
    size_bytes: int
    blocks: Iterable[bytes]
    flags: int = 0


def item_of(sha1: bytes, source: Source, flags: int = 0) -> Item:
    """New content, which is compared with its SHA-1 while it is read."""
    size_bytes = source.size_bytes
    return Item(sha1, size_bytes, _proved(sha1, size_bytes, source.blocks()), flags)


class Output:
    """A file that grows from behind its header on."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.position = HEADER_BYTES

    def append(self, data: bytes) -> Location:
        """Write bytes as they are, as a resource."""
        location = Location(len(data), 0, self.position, len(data))
        self.write(data)
        return location

    def write(self, data: bytes) -> None:
        """Write bytes at the end."""
        self.write_at(data, self.position)
        self.position += len(data)

    def write_at(self, data: bytes, offset: int) -> None:
        """Write bytes where nothing else stands."""
        view = memoryview(data)
        while view:
            done = os.pwrite(self.descriptor, view, offset)
            view = view[done:]
            offset += done


@dataclass(slots=True, eq=False)
class _Resource:
    """A resource that is being packed."""

    item: Item
    offset: int = 0
    ends: list[int] = field(default_factory=list)
    packed_bytes: int = 0


class ResourcePacker:
    """Packs each content into a resource of its own, chunk by chunk, several calls at once.

    What does not shrink is stored as it is. A context manager.
    """

    def __init__(self, output: Output, form: Form, codec: Codec | None, watch: Watch) -> None:
        self._output = output
        self._form = form
        self._codec = codec
        self._pipeline: Pipeline[_Packed] = Pipeline(codec.workers if codec else 1, watch)
        self._batch: list[_Chunk] = []
        self._batch_bytes = 0
        self._written: list[Blob] = []

    def __enter__(self) -> Self:
        self._pipeline.__enter__()
        return self

    def __exit__(self, *about: object) -> None:
        self._pipeline.__exit__(*about)  # type: ignore[arg-type]

    def pack(self, items: Iterable[Item], advance: Advance = lambda _: None) -> list[Blob]:
        """Write content, packed where that makes it smaller.

        Args:
            items: what to write; the blocks of one are taken before the next item is.
            advance: told the number of bytes that were packed, now and then.

        Returns:
            A blob with no references yet for each item, in order.

        Raises:
            DamagedInput: content has not the SHA-1 or size that it is known by.
            NotSupported: the file is compressed and there is no codec.
        """
        self._written = []
        for item in items:
            if self._form.compression is Compression.NONE or not item.size_bytes:
                self._flush(advance)
                self._pipeline.drain()
                self._store(item, advance)
            else:
                self._queue(item, advance)
        self._flush(advance)
        self._pipeline.drain()
        return self._written

    def _store(self, item: Item, advance: Advance) -> None:
        resource = _Resource(item, self._output.position)
        for block in item.blocks:
            self._output.write(block)
            advance(len(block))
        self._finish(resource, self._output.position - resource.offset, item.flags)

    def _queue(self, item: Item, advance: Advance) -> None:
        resource = _Resource(item)
        for chunk in in_chunks(item.blocks, self._form.chunk_bytes):
            self._batch.append((resource, chunk))
            self._batch_bytes += len(chunk)
            if self._batch_bytes >= BLOCK_BYTES:
                self._flush(advance)

    def _flush(self, advance: Advance) -> None:
        if not self._batch:
            return
        if self._codec is None:
            raise NotSupported("codec", f"nothing here packs {self._form.compression.upper()}")
        chunks = [chunk for _, chunk in self._batch]
        form = self._form
        call = partial(self._codec.compress, form.compression, form.chunk_bytes, form.level, chunks)
        self._pipeline.submit(call, partial(self._take, self._batch, self._batch_bytes, advance))
        self._batch, self._batch_bytes = [], 0

    def _take(
        self, batch: list[_Chunk], batch_bytes: int, advance: Advance, packed: _Packed
    ) -> None:
        for (resource, chunk), piece in zip(batch, packed, strict=True):
            fits = piece is not None and len(piece) < len(chunk)
            self._put(resource, piece if piece is not None and fits else chunk, len(chunk))
        advance(batch_bytes)

    def _put(self, resource: _Resource, piece: bytes, chunk_bytes: int) -> None:
        if not resource.ends:
            resource.offset = self._output.position
            self._output.position += self._table_bytes(resource)
        self._output.write(piece)
        resource.ends.append(self._output.position)
        resource.packed_bytes += chunk_bytes
        if resource.packed_bytes == resource.item.size_bytes:
            self._close(resource)

    def _close(self, resource: _Resource) -> None:
        stored_bytes = self._output.position - resource.offset
        if stored_bytes >= resource.item.size_bytes:
            self._unpack(resource)
            self._finish(resource, resource.item.size_bytes, resource.item.flags)
            return
        start = resource.offset + self._table_bytes(resource)
        width = table_entry_bytes(resource.item.size_bytes)
        offsets = [end - start for end in resource.ends[:-1]]
        table = struct.pack(f"<{len(offsets)}{'Q' if width == 8 else 'I'}", *offsets)
        self._output.write_at(table, resource.offset)
        self._finish(resource, stored_bytes, resource.item.flags | ResourceFlag.COMPRESSED)

    def _unpack(self, resource: _Resource) -> None:
        """Store a resource that its table made no smaller, in place.

        Packing saved no more than the table takes, so what is written never reaches what is read.
        """
        size_bytes, place = resource.item.size_bytes, resource.offset
        start = resource.offset + self._table_bytes(resource)
        for end in resource.ends if start > place else ():
            left = size_bytes - (place - resource.offset)
            chunk_bytes = min(self._form.chunk_bytes, left)
            data = read_exactly(self._output.descriptor, start, end - start, "the new file")
            if len(data) < chunk_bytes and self._codec is not None:
                (data,) = self._codec.decompress(
                    self._form.compression, self._form.chunk_bytes, [(data, chunk_bytes)]
                )
            self._output.write_at(data, place)
            start, place = end, place + chunk_bytes
        self._output.position = resource.offset + size_bytes

    def _finish(self, resource: _Resource, stored_bytes: int, flags: int) -> None:
        item = resource.item
        location = Location(stored_bytes, flags, resource.offset, item.size_bytes)
        self._written.append(Blob(item.sha1, location, 0))

    def _table_bytes(self, resource: _Resource) -> int:
        size_bytes = resource.item.size_bytes
        chunks = -(-size_bytes // self._form.chunk_bytes)
        return (chunks - 1) * table_entry_bytes(size_bytes)


def in_chunks(blocks: Iterable[bytes], chunk_bytes: int) -> Iterator[bytes]:
    """The same bytes in pieces of `chunk_bytes`, the last one shorter."""
    parts: list[bytes] = []
    missing = chunk_bytes
    for block in blocks:
        start = 0
        while len(block) - start >= missing:
            parts.append(block[start : start + missing])
            yield b"".join(parts)
            start, parts, missing = start + missing, [], chunk_bytes
        if start < len(block):
            parts.append(block[start:])
            missing -= len(block) - start
    if parts:
        yield b"".join(parts)


def _proved(sha1: bytes, size_bytes: int, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same blocks; the last one only after size and SHA-1 were found right."""
    digest = hashlib.sha1(usedforsecurity=False)
    left = size_bytes
    for block in blocks:
        digest.update(block)
        left -= len(block)
        if left < 0 or (left == 0 and digest.digest() != sha1):
            break
        yield block
    else:
        if left == 0 and digest.digest() == sha1:
            return
    raise DamagedInput(f"new content does not have the SHA-1 {sha1.hex()}")
