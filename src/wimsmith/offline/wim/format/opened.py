"""One open WIM file: its header, its sizes, and the readers of what is in it."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from wimsmith.errors import (
    DamagedInput,
    DamagedWim,
    InvalidInput,
    LimitExceeded,
    NotSupported,
)
from wimsmith.offline.wim.format.blobs import Blob
from wimsmith.offline.wim.format.codec import Codec
from wimsmith.offline.wim.format.header import HEADER_BYTES, PIPABLE_MAGIC, Header
from wimsmith.offline.wim.format.resource import ResourceReader
from wimsmith.offline.wim.format.solid import SolidReader

MAX_TABLE_BYTES = 1 << 26
"""A blob table with 1.3 million entries."""


class WimFile:
    """A file that was opened for reading and looks like a WIM; close it."""

    def __init__(self, path: Path, codec: Codec | None) -> None:
        """Open a file and check its header.

        Raises:
            DamagedWim: not a WIM, or values that contradict one another.
            NotSupported: a kind of WIM that is recognised, but not read here.
            InvalidInput: not a file.
            OSError: it cannot be opened.
        """
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self.file_bytes = self._size()
            first = os.pread(self.descriptor, HEADER_BYTES, 0)
            self.is_pipable = first[:8] == PIPABLE_MAGIC
            self.header = self._header(first).check(self.file_bytes)
            self._make_readers(codec)
        except BaseException:
            self.close()
            raise

    def _size(self) -> int:
        status = os.fstat(self.descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(self.path))
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInput(f"{self.path} is not a file")
        return status.st_size

    def _header(self, first: bytes) -> Header:
        header = Header.parse(first)
        if not self.is_pipable:
            return header
        last = Header.parse(os.pread(self.descriptor, HEADER_BYTES, self.file_bytes - HEADER_BYTES))
        if last.guid != header.guid:
            raise DamagedWim("the header at the end of the file is another one's: it is truncated")
        return last

    def _make_readers(self, codec: Codec | None) -> None:
        header = self.header
        self.resources = ResourceReader(
            self.descriptor, header.compression, header.chunk_size, codec, self.is_pipable
        )
        self.solid = SolidReader(self.descriptor, codec)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_about: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def raw_table(self) -> bytes:
        """The bytes of the blob table."""
        return self.resources.read(self.header.blob_table, "the blob table", MAX_TABLE_BYTES)

    def can_copy(self, blob: Blob, into: Header) -> bool:
        """Whether the packed bytes of a blob of this file mean the same in one with that header."""
        if blob.is_solid:
            return False
        if not blob.location.is_compressed:
            return True
        mine = self.header
        is_same = mine.compression is into.compression and mine.chunk_size == into.chunk_size
        return is_same and not self.is_pipable


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
