"""A WIM opened for reading: facts, trees and content, without changing a byte.

`open_wim` gives a `Wim`; its `images` say what is inside, `tree` gives the directory tree of
one image, and `read_blob` the content that an inode of that tree names by SHA-1.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from wimsmith.errors import (
    DamagedInput,
    DamagedWim,
    InvalidInput,
    LimitExceeded,
    NoSuchIndex,
    NotFound,
    NotSupported,
)
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim import integrity, remedies
from wimsmith.offline.wim.blobs import Blob, BlobTable, parse_table
from wimsmith.offline.wim.codec import Codec, Compression
from wimsmith.offline.wim.document import MAX_XML_BYTES, Document, ImageInfo
from wimsmith.offline.wim.header import HEADER_BYTES, Header
from wimsmith.offline.wim.metadata import MAX_METADATA_BYTES, parse_metadata
from wimsmith.offline.wim.resource import BATCH_BYTES, ResourceReader
from wimsmith.offline.wim.tree import EMPTY_SHA1, ZERO_SHA1, Tree

MAX_TABLE_BYTES = 1 << 26
"""A blob table with 1.3 million entries."""
MAX_BLOB_BYTES = 1 << 31
"""Content that `read_blob` takes into memory; `open_blob` has no such limit."""


class Wim:
    """A WIM file, opened read-only; use it as a context manager."""

    def __init__(self, path: Path, codec: Codec | None = None) -> None:
        """Open `path`; `open_wim` is the public way."""
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with naming(path):
                self._open(codec)
        except BaseException:
            self.close()
            raise

    def _open(self, codec: Codec | None) -> None:
        file_bytes = os.fstat(self._descriptor).st_size
        header = Header.parse(os.pread(self._descriptor, HEADER_BYTES, 0)).check(file_bytes)
        self.header = header
        self.file_bytes = file_bytes
        self.resources = ResourceReader(
            self._descriptor, header.compression, header.chunk_size, codec
        )
        table = self.resources.read(header.blob_table, "the blob table", MAX_TABLE_BYTES)
        self.table: BlobTable = parse_table(table, header, file_bytes)
        self.document = Document.parse(
            self.resources.read(header.xml, "the XML document", MAX_XML_BYTES)
        )
        self.images: tuple[ImageInfo, ...] = self.document.images(header.image_count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def descriptor(self) -> int:
        """Descriptor of the open file."""
        return self._descriptor

    @property
    def compression(self) -> Compression:
        return self.header.compression

    @property
    def chunk_size(self) -> int:
        return self.header.chunk_size

    @property
    def blobs(self) -> Mapping[bytes, Blob]:
        """File content by its 20-byte SHA-1."""
        return self.table.content

    @property
    def is_solid(self) -> bool:
        """Whether this is an ESD-like file, whose content must be exported before it is read."""
        return self.table.is_solid

    @property
    def xml(self) -> str:
        return self.document.text()

    def image(self, number: int) -> ImageInfo:
        """Facts of image `number` (1-based).

        Raises:
            NoSuchIndex: the file has no such image.
        """
        if not 1 <= number <= len(self.images):
            raise NoSuchIndex(f"{number} in {self.path}, which has {len(self.images)}")
        return self.images[number - 1]

    def size_of(self, sha1: bytes) -> int:
        """Size in bytes of a content; 0 for the empty one.

        Raises:
            NotFound: this file does not hold the content, as in a delta WIM.
        """
        return 0 if sha1 in {ZERO_SHA1, EMPTY_SHA1} else self._blob(sha1).size_bytes

    def read_blob(self, sha1: bytes, limit_bytes: int = MAX_BLOB_BYTES) -> bytes:
        """Content by its SHA-1, checked against it.

        Raises:
            NotFound: this file does not hold the content, as in a delta WIM.
            DamagedWim: what is stored is something else.
            LimitExceeded: more than `limit_bytes`.
            NotSupported: solid, or packed and there is no codec.
        """
        if sha1 in {ZERO_SHA1, EMPTY_SHA1}:
            return b""
        with naming(self.path):
            return self._read(self._blob(sha1), limit_bytes)

    def read_blobs(self, sha1s: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Many contents, each with its SHA-1 and checked against it, in the order asked for.

        Small ones are unpacked together: some thousand manifests cost one message to the codec for
        every 4 MiB instead of one each. Raises as `read_blob`, when the turn of the batch comes.
        """
        batch: list[bytes] = []
        batch_bytes = 0
        for sha1 in sha1s:
            batch.append(sha1)
            batch_bytes += self.size_of(sha1)
            if batch_bytes >= BATCH_BYTES:
                yield from self._read_batch(batch)
                batch, batch_bytes = [], 0
        yield from self._read_batch(batch)

    def open_blob(self, sha1: bytes) -> Iterator[bytes]:
        """Content in blocks; after the last one it has been checked. Raises as `read_blob`."""
        if sha1 in {ZERO_SHA1, EMPTY_SHA1}:
            return
        blob = self._blob(sha1)
        digest = hashlib.sha1(usedforsecurity=False)
        with naming(self.path):
            for block in self.resources.blocks(blob.location, _label(blob)):
                digest.update(block)
                yield block
            if digest.digest() != sha1:
                raise DamagedWim(f"{_label(blob)} holds other content")

    def metadata(self, number: int) -> bytes:
        """The unpacked metadata resource of image `number`, checked against its SHA-1."""
        self.image(number)
        with naming(self.path):
            return self._read(self.table.metadata[number - 1], MAX_METADATA_BYTES)

    def tree(self, number: int) -> Tree:
        """Directory tree of image `number`, fresh at each call.

        Raises:
            NoSuchIndex: the file has no such image.
            DamagedWim: the metadata is wrong.
            LimitExceeded: the metadata is larger than this server accepts.
        """
        with naming(self.path):
            return parse_metadata(self.metadata(number))

    def verify_integrity(self, progress: Progress = silent) -> bool:
        """Compare the file with its integrity table; False if it has none.

        Raises:
            DamagedWim: they differ.
        """
        with naming(self.path):
            return integrity.verify(self._descriptor, self.header, progress)

    def _blob(self, sha1: bytes) -> Blob:
        blob = self.table.content.get(sha1)
        if blob is None:
            raise NotFound(
                f"content {sha1.hex()} in {self.path}, which may be a delta WIM",
                hint=remedies.EXPORT_DELTA,
            )
        return blob

    def _read(self, blob: Blob, limit_bytes: int) -> bytes:
        data = self.resources.read(blob.location, _label(blob), limit_bytes)
        if hashlib.sha1(data, usedforsecurity=False).digest() != blob.sha1:
            raise DamagedWim(f"{_label(blob)} holds other content")
        return data

    def _read_batch(self, batch: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
        blobs = {sha1: self._blob(sha1) for sha1 in batch if sha1 not in {ZERO_SHA1, EMPTY_SHA1}}
        small = [blob for blob in blobs.values() if blob.size_bytes < BATCH_BYTES]
        pieces = [b""] * len(small)
        with naming(self.path), suppress(DamagedWim):  # read alone, the damaged one says its name
            pieces = self.resources.read_many([blob.location for blob in small])
        found = {blob.sha1: data for blob, data in zip(small, pieces, strict=True)}
        for sha1 in batch:
            data = found.get(sha1, b"")
            is_right = hashlib.sha1(data, usedforsecurity=False).digest() == sha1
            yield sha1, data if is_right else self.read_blob(sha1)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let what is said of foreign bytes in here begin with the file they are in, once."""
    try:
        yield
    except (DamagedInput, LimitExceeded, NotSupported) as error:
        *first, text = error.args
        if not str(text).startswith((str(path), str(path.absolute()))):
            error.args = (*first, f"{path}: {text}")
        raise


def open_wim(path: Path, codec: Codec | None = None) -> Wim:
    """Open a WIM for reading.

    Args:
        path: the file; it is never written.
        codec: needed as soon as something packed is read.

    Raises:
        DamagedWim: the header, the blob table or the XML document is wrong.
        NotSupported: a split set, an encrypted, pipable or unfinished file.
        OSError: the file cannot be opened.
    """
    return Wim(path, codec)


def check_indexes(wim: Wim, indexes: Sequence[int]) -> None:
    """Return if these are numbers of images, none of them twice.

    Raises:
        InvalidInput: none, or one twice.
        NoSuchIndex: the file has no such image.
    """
    if not indexes:
        raise InvalidInput(f"{wim.path}: no index was named")
    if len(set(indexes)) != len(indexes):
        raise InvalidInput(f"{wim.path}: an index was named twice")
    for index in indexes:
        if not 1 <= index <= len(wim.images):
            raise NoSuchIndex(f"{index} of {wim.path}", hint=f"It has 1 to {len(wim.images)}.")


def _label(blob: Blob) -> str:
    return f"blob {blob.sha1.hex()}"
