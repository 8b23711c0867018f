"""A WIM opened for reading: facts, trees and content, without changing a byte.

`open_wim` gives a `Wim`; its `images` say what is inside, `tree` gives the directory tree of
one image, and `read_blob` the content that an inode of that tree names by SHA-1. One `Wim` may
read from several files: the parts of a split set, and files that were named to add content.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from wimsmith.errors import (
    DamagedWim,
    InvalidInput,
    LimitExceeded,
    NoSuchIndex,
    NotFound,
)
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.format import integrity, remedies
from wimsmith.offline.wim.format.blobs import Blob, BlobTable
from wimsmith.offline.wim.format.codec import Codec, Compression
from wimsmith.offline.wim.format.collection import without_collection
from wimsmith.offline.wim.format.contents import Contents, label, sha1_of
from wimsmith.offline.wim.format.document import MAX_XML_BYTES, Document, ImageInfo
from wimsmith.offline.wim.format.metadata import MAX_METADATA_BYTES, parse_metadata
from wimsmith.offline.wim.format.opened import WimFile, naming
from wimsmith.offline.wim.format.resource import BATCH_BYTES
from wimsmith.offline.wim.format.spanned import PartFinder
from wimsmith.offline.wim.format.table import TableReader
from wimsmith.offline.wim.format.tree import EMPTY_SHA1, ZERO_SHA1, Tree

__all__ = ["MAX_BLOB_BYTES", "Kind", "Wim", "check_indexes", "naming", "open_wim"]

MAX_BLOB_BYTES = 1 << 31
"""Content that `read_blob` takes into memory; `open_blob` has no such limit."""

_NOTHING = frozenset({ZERO_SHA1, EMPTY_SHA1})


class Kind(StrEnum):
    """What is not usual about a WIM file."""

    SOLID = "solid"
    SPLIT = "split-set"
    PIPABLE = "pipable"
    RESOURCE_ONLY = "resource-only"
    METADATA_ONLY = "metadata-only"


class Wim:
    """A WIM opened read-only, with the files it takes content from; use it as a context manager.

    `files` begins with the parts of the set in order (one for an ordinary file), then come the
    files that were referred to. `header` is that of the first.
    """

    def __init__(
        self, path: Path, codec: Codec | None = None, references: Sequence[Path] = ()
    ) -> None:
        """Open `path`; `open_wim` is the public way."""
        self.path = path
        self._opened: list[WimFile] = []
        self._codec = codec
        try:
            self._open(references)
        except BaseException:
            self.close()
            raise

    def _open(self, references: Sequence[Path]) -> None:
        main = self._open_file(self.path)
        others = [self._open_file(path) for path in references]
        parts = self._parts(main, others)
        self.files: tuple[WimFile, ...] = (*parts, *self._whole_sets(others, parts))
        self._contents = Contents(self.files)
        self.header = self.files[0].header
        self.resources = self.files[0].resources
        self.file_bytes = sum(one.file_bytes for one in parts)
        self.part_count = len(parts)
        self.table: BlobTable = self._read_tables()
        with naming(self.files[0].path):
            self.document = Document.parse(
                self.resources.read(self.header.xml, "the XML document", MAX_XML_BYTES)
            )
            self.images: tuple[ImageInfo, ...] = self._images()

    def _open_file(self, path: Path) -> WimFile:
        with naming(path):
            file = WimFile(path, self._codec)
        self._opened.append(file)
        return file

    def _parts(self, main: WimFile, others: Sequence[WimFile]) -> list[WimFile]:
        """The parts of the set that `main` is of, in order; those not there are left out.

        A file of content or of descriptions alone is usable without the others.
        """
        if not main.header.is_spanned:
            return [main]
        with naming(main.path):
            finder = PartFinder(main, self._open_file)
            for other in others:
                finder.offer(other)
            if finder.missing:
                finder.search()
            if not (main.header.is_resource_only or main.header.is_metadata_only):
                finder.refuse_missing()
        return [file for _, file in sorted(finder.parts.items())]

    def _whole_sets(self, others: Sequence[WimFile], parts: Sequence[WimFile]) -> list[WimFile]:
        """Files that were referred to, unless they are parts; of other sets all that is found."""
        found: list[WimFile] = []
        for other in others:
            if any(_is_same(other, one) for one in (*parts, *found)):
                continue
            found.append(other)
            if other.header.is_spanned and other.header.guid != parts[0].header.guid:
                finder = PartFinder(other, self._open_file)
                for one in others:
                    finder.offer(one)
                finder.search()
                found += (part for part in finder.parts.values() if part is not other)
        return found

    def _read_tables(self) -> BlobTable:
        reader = TableReader(self.files)
        for number, file in enumerate(self.files):
            is_part = number < self.part_count
            with naming(file.path), without_collection():
                reader.add(number, self._numbers_of_parts(number), with_metadata=is_part)
        return reader.table()

    def _numbers_of_parts(self, number: int) -> dict[int, int]:
        """Positions in `files` of the parts of the set that file `number` is of."""
        mine = self.files[number].header
        if not mine.is_spanned:
            return {mine.part_number: number}
        return {
            file.header.part_number: position
            for position, file in reversed(list(enumerate(self.files)))
            if file.header.is_spanned and file.header.guid == mine.guid
        }

    def _images(self) -> tuple[ImageInfo, ...]:
        """Facts of the images.

        Raises:
            DamagedWim: header, blob table and XML document count them differently.
        """
        count = len(self.table.metadata)
        if count != self.header.image_count and (count or not self.header.is_resource_only):
            raise DamagedWim(
                f"the header counts {self.header.image_count} images, the blob table {count}"
            )
        return self.document.images(count) if count else ()

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
        """Close all files; a second call does nothing."""
        for file in self._opened:
            file.close()

    @property
    def descriptor(self) -> int:
        """Descriptor of the first file; `descriptor_of` says which one holds a blob."""
        return self.files[0].descriptor

    def descriptor_of(self, blob: Blob) -> int:
        """Descriptor of the open file that holds the packed bytes of a blob."""
        return self.files[blob.file].descriptor

    def can_copy(self, blob: Blob) -> bool:
        """Whether its packed bytes may stand as they are in a file with the header of this one.

        Not those of solid resources, of packed content in pipable files, and of files that were
        referred to and are packed otherwise.
        """
        return self.files[blob.file].can_copy(blob, self.header)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is not usual about the file."""
        header = self.header
        found = {
            Kind.SOLID: self.is_solid,
            Kind.SPLIT: header.is_spanned,
            Kind.PIPABLE: self.files[0].is_pipable,
            Kind.RESOURCE_ONLY: header.is_resource_only,
            Kind.METADATA_ONLY: header.is_metadata_only,
        }
        return tuple(kind for kind, is_so in found.items() if is_so)

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
        """Whether content is packed together, as in ESD files: reading a part costs more."""
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
        return 0 if sha1 in _NOTHING else self._blob(sha1).size_bytes

    def read_blob(self, sha1: bytes, limit_bytes: int = MAX_BLOB_BYTES) -> bytes:
        """Content by its SHA-1, checked against it.

        Raises:
            NotFound: this file does not hold the content, as in a delta WIM.
            DamagedWim: what is stored is something else.
            LimitExceeded: more than `limit_bytes`.
            NotSupported: solid, or packed and there is no codec.
        """
        if sha1 in _NOTHING:
            return b""
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
        if sha1 not in _NOTHING:
            yield from self._contents.blocks(self._blob(sha1))

    def open_blobs(self, sha1s: Iterable[bytes]) -> Iterator[tuple[bytes, Iterator[bytes]]]:
        """Many contents in the order they are stored, each once, with its blocks.

        A chunk is unpacked once, which makes this the way to read much of a solid file. After its
        last block a content has been checked; the blocks must be taken before the next content.

        Raises:
            NotFound: no file holds a content; before the first one is given.
        """
        wanted = dict.fromkeys(sha1s)
        empty = [sha1 for sha1 in wanted if sha1 in _NOTHING]
        blobs = sorted(
            (self._blob(sha1) for sha1 in wanted if sha1 not in _NOTHING),
            key=lambda blob: blob.storage_order,
        )
        return chain(((sha1, iter(())) for sha1 in empty), self._contents.in_order(blobs))

    def metadata(self, number: int) -> bytes:
        """The unpacked metadata resource of image `number`, checked against its SHA-1."""
        self.image(number)
        return self._read(self.table.metadata[number - 1], MAX_METADATA_BYTES)

    def tree(self, number: int) -> Tree:
        """Directory tree of image `number`, fresh at each call.

        Raises:
            NoSuchIndex: the file has no such image.
            DamagedWim: the metadata is wrong.
            LimitExceeded: the metadata is larger than this server accepts.
        """
        data = self.metadata(number)
        with naming(self.path):
            return parse_metadata(data)

    def verify_integrity(self, progress: Progress = silent) -> bool:
        """Compare each file of the set with its integrity table; False if one has none.

        Raises:
            DamagedWim: they differ.
        """
        found = []
        for file in self.files[: self.part_count]:
            with naming(file.path):
                found.append(integrity.verify(file.descriptor, file.header, progress))
        return all(found)

    def _blob(self, sha1: bytes) -> Blob:
        blob = self.table.content.get(sha1)
        if blob is None:
            raise NotFound(
                f"content {sha1.hex()} in {self._looked_in()}",
                hint=remedies.EXPORT_DELTA,
            )
        return blob

    def _looked_in(self) -> str:
        if self.header.is_metadata_only:
            why = "which describes images whose content is in another file"
        elif self.header.is_spanned and self.part_count < self.header.total_parts:
            why = f"of which only {self.part_count} of {self.header.total_parts} parts are there"
        else:
            why = "which may be a delta WIM"
        others = [str(file.path) for file in self.files[self.part_count :]]
        return f"{self.path}, {why}{', nor in ' if others else ''}{', '.join(others[:5])}"

    def _read(self, blob: Blob, limit_bytes: int) -> bytes:
        if blob.size_bytes > limit_bytes:
            raise LimitExceeded(
                f"{self.path}: {label(blob)} unpacks to {blob.size_bytes} bytes,"
                f" more than {limit_bytes}"
            )
        return b"".join(self._contents.blocks(blob))

    def _read_batch(self, batch: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
        blobs = {sha1: self._blob(sha1) for sha1 in batch if sha1 not in _NOTHING}
        small = [blob for blob in blobs.values() if blob.size_bytes < BATCH_BYTES]
        found = self._contents.read_small(sorted(small, key=lambda blob: blob.storage_order))
        for sha1 in batch:
            data = found.get(sha1, b"")
            yield sha1, data if sha1_of(data) == sha1 else self.read_blob(sha1)


def open_wim(path: Path, codec: Codec | None = None, *, references: Sequence[Path] = ()) -> Wim:
    """Open a WIM for reading.

    Args:
        path: the file, or any part of a split set, whose other parts stand beside it or among
            `references`; nothing is ever written to them.
        codec: needed as soon as something packed is read.
        references: further files that hold content, as a delta WIM or one that only describes
            images needs them; what is in `path` is preferred.

    Raises:
        DamagedWim: the header, the blob table or the XML document of a file is wrong.
        NotSupported: a set with missing parts, an encrypted or an unfinished file.
        OSError: a file cannot be opened.
    """
    return Wim(path, codec, references)


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


def _is_same(one: WimFile, other: WimFile) -> bool:
    return one is other or os.path.sameopenfile(one.descriptor, other.descriptor)
