"""Writing resources: packing new content, and copying packed content as it is."""

import errno
import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from wimsmith.errors import DamagedInput, NotSupported
from wimsmith.offline.wim.blobs import Blob, table_entry_bytes
from wimsmith.offline.wim.codec import Codec, Compression
from wimsmith.offline.wim.header import Location, ResourceFlag
from wimsmith.offline.wim.resource import read_exactly

_BATCH_BYTES = 4 << 20
_RAW_BYTES = 1 << 20
_COPY_BYTES = 64 << 20
_CANNOT_COPY = frozenset(
    [
        errno.EXDEV,
        errno.ENOSYS,
        errno.EINVAL,
        errno.EOPNOTSUPP,
        errno.EBADF,
        errno.EPERM,
    ]
)


class Source(Protocol):
    """Content to be written: its size in bytes, and its blocks, as often as asked."""

    @property
    def size_bytes(self) -> int: ...

    def blocks(self, block_bytes: int) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class MemorySource:
    """Content in memory."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def blocks(self, block_bytes: int) -> Iterator[bytes]:
        """The content in blocks of `block_bytes`, the last one shorter."""
        for offset in range(0, len(self.data), block_bytes):
            yield self.data[offset : offset + block_bytes]


@dataclass(frozen=True, slots=True)
class FileSource:
    """Content of a file of this server."""

    path: Path

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def blocks(self, block_bytes: int) -> Iterator[bytes]:
        """The content in blocks of `block_bytes`, the last one shorter."""
        with self.path.open("rb") as file:
            while block := file.read(block_bytes):
                yield block


def source_of(content: Path | bytes) -> Source:
    """The source for content given as a path or as bytes."""
    return MemorySource(content) if isinstance(content, bytes) else FileSource(content)


@dataclass(slots=True)
class _Resource:
    """A resource that is being packed."""

    sha1: bytes
    source: Source
    flags: int
    size_bytes: int
    offset: int = 0
    ends: list[int] = field(default_factory=list)
    read_bytes: int = 0


class ResourceWriter:
    """Appends resources to an open file, one after the other from `position`."""

    def __init__(
        self,
        descriptor: int,
        position: int,
        compression: Compression,
        chunk_size: int,
        level: int,
        codec: Codec | None,
    ) -> None:
        self.descriptor = descriptor
        self.position = position
        self.compression = compression
        self.chunk_size = chunk_size
        self.level = level
        self.codec = codec
        self._batch: list[tuple[_Resource, bytes]] = []
        self._batch_bytes = 0
        self._written: list[Blob] = []

    def append(self, data: bytes) -> Location:
        """Write bytes as they are."""
        location = Location(len(data), 0, self.position, len(data))
        self._write(data)
        return location

    def pack(
        self,
        items: Iterable[tuple[bytes, Source, int]],
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[Blob]:
        """Write content, packed where that makes it smaller.

        Args:
            items: SHA-1, source and resource flags of each content.
            advance: told the number of bytes read, now and then.

        Returns:
            A blob with no references yet for each item, in order.

        Raises:
            DamagedInput: a source does not have the SHA-1 it is known by.
            NotSupported: the file is compressed and there is no codec.
        """
        self._written = []
        for sha1, source, flags in items:
            resource = _Resource(sha1, source, flags, source.size_bytes)
            if self.compression is Compression.NONE or not resource.size_bytes:
                self._flush(advance)
                self._store(resource)
                advance(resource.size_bytes)
            else:
                self._queue(resource, advance)
        self._flush(advance)
        return self._written

    def _store(self, resource: _Resource) -> None:
        resource.offset = self.position
        for block in _proved(resource, _RAW_BYTES):
            self._write(block)
        self._finish(resource, self.position - resource.offset, resource.flags)

    def _queue(self, resource: _Resource, advance: Callable[[int], None]) -> None:
        for chunk in _proved(resource, self.chunk_size):
            self._batch.append((resource, chunk))
            self._batch_bytes += len(chunk)
            if self._batch_bytes >= _BATCH_BYTES:
                self._flush(advance)

    def _flush(self, advance: Callable[[int], None]) -> None:
        if not self._batch:
            return
        advance(self._batch_bytes)
        if self.codec is None:
            raise NotSupported("codec", f"nothing here packs {self.compression.upper()}")
        packed = self.codec.compress(
            self.compression, self.chunk_size, self.level, [chunk for _, chunk in self._batch]
        )
        for (resource, chunk), piece in zip(self._batch, packed, strict=True):
            fits = piece is not None and len(piece) < len(chunk)
            self._put(resource, piece if piece is not None and fits else chunk, len(chunk))
        self._batch = []
        self._batch_bytes = 0

    def _put(self, resource: _Resource, piece: bytes, chunk_bytes: int) -> None:
        if not resource.ends:
            resource.offset = self.position
            self.position += self._table_bytes(resource)
        self._write(piece)
        resource.ends.append(self.position)
        resource.read_bytes += chunk_bytes
        if resource.read_bytes == resource.size_bytes:
            self._close(resource)

    def _close(self, resource: _Resource) -> None:
        stored_bytes = self.position - resource.offset
        if stored_bytes >= resource.size_bytes:
            self.position = resource.offset
            self._store(resource)
            return
        start = resource.offset + self._table_bytes(resource)
        width = table_entry_bytes(resource.size_bytes)
        offsets = [end - start for end in resource.ends[:-1]]
        table = struct.pack(f"<{len(offsets)}{'Q' if width == 8 else 'I'}", *offsets)
        _write_all(self.descriptor, table, resource.offset)
        self._finish(resource, stored_bytes, resource.flags | ResourceFlag.COMPRESSED)

    def _finish(self, resource: _Resource, stored_bytes: int, flags: int) -> None:
        location = Location(stored_bytes, flags, resource.offset, resource.size_bytes)
        self._written.append(Blob(resource.sha1, location, 0))

    def _table_bytes(self, resource: _Resource) -> int:
        chunks = -(-resource.size_bytes // self.chunk_size)
        return (chunks - 1) * table_entry_bytes(resource.size_bytes)

    def _write(self, data: bytes) -> None:
        _write_all(self.descriptor, data, self.position)
        self.position += len(data)


def copy_range(
    source: int, target: int, source_offset: int, target_offset: int, count: int
) -> Iterator[int]:
    """Copy bytes between files, in the kernel where it can; yields the size of each part.

    Raises:
        DamagedWim: the source ends before.
    """
    end = source_offset + count
    in_kernel = True
    while source_offset < end:
        want = min(_COPY_BYTES, end - source_offset)
        done = _kernel_copy(source, target, source_offset, target_offset, want) if in_kernel else 0
        if not done:
            in_kernel = False
            done = min(_RAW_BYTES, want)
            block = read_exactly(source, source_offset, done, "the WIM that is copied")
            _write_all(target, block, target_offset)
        source_offset += done
        target_offset += done
        yield done


def _kernel_copy(source: int, target: int, source_offset: int, offset: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count, source_offset, offset)
    except OSError as error:
        if error.errno in _CANNOT_COPY:
            return 0
        raise


def _proved(resource: _Resource, block_bytes: int) -> Iterator[bytes]:
    """Blocks of a source, whose size and SHA-1 are compared when the last one was taken."""
    digest = hashlib.sha1(usedforsecurity=False)
    left = resource.size_bytes
    for block in resource.source.blocks(block_bytes):
        digest.update(block)
        left -= len(block)
        if left < 0:
            break
        if left == 0 and digest.digest() != resource.sha1:
            break
        yield block
    else:
        if left == 0 and digest.digest() == resource.sha1:
            return
    raise DamagedInput(f"new content does not have the SHA-1 {resource.sha1.hex()}")


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(descriptor, view, offset)
        view = view[done:]
        offset += done
