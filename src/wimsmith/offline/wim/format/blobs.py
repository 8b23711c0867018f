"""The blob table: where the content with a given SHA-1 is, and how often it is named.

Each entry has 50 bytes: location, part number, reference count, SHA-1. Entries with the
metadata flag are the images, in the order of their numbers. `table` reads it.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.header import Location, ResourceFlag

ENTRY_BYTES = 50
ENTRY = struct.Struct("<QQQHI20s")
"""The three numbers of a location, part number, references, SHA-1."""
SOLID_RESOURCE_SIZE = 1 << 32
"""Size in the entry that stands for a solid resource itself, not for content in it."""
_WIDE_TABLE = 1 << 32


@dataclass(frozen=True, slots=True)
class SolidResource:
    """Content packed together: its place in the file, and what its head says."""

    location: Location
    size_bytes: int
    chunk_size: int
    compression: Compression

    @property
    def chunk_count(self) -> int:
        return -(-self.size_bytes // self.chunk_size)

    def bytes_of_chunk(self, number: int) -> int:
        """Size in bytes that chunk `number` (from 0) unpacks to."""
        return min(self.chunk_size, self.size_bytes - number * self.chunk_size)

    def chunks_of(self, offset: int, size_bytes: int) -> range:
        """Numbers of the chunks that hold these unpacked bytes."""
        return range(offset // self.chunk_size, -(-(offset + size_bytes) // self.chunk_size))


class Blob(NamedTuple):
    """Content stored in a WIM; a tuple, as there are some hundred thousand of them.

    Inside a solid resource, `location` is a place and a size in what that resource unpacks to.
    `file` is the position in `Wim.files` of the file that holds it, 0 for the file itself.
    """

    sha1: bytes
    location: Location
    references: int
    file: int = 0
    solid: SolidResource | None = None

    @property
    def size_bytes(self) -> int:
        """Size in bytes after unpacking."""
        place = self.location
        return place.stored_bytes if place.flags & ResourceFlag.SOLID else place.size_bytes

    @property
    def is_solid(self) -> bool:
        return bool(self.location.flags & ResourceFlag.SOLID)

    @property
    def storage_order(self) -> tuple[int, int, int]:
        """Sorts blobs as they are stored: the file, the place in it, the place in a solid one."""
        if self.solid is None:
            return self.file, self.location.offset, 0
        return self.file, self.solid.location.offset, self.location.offset


@dataclass(frozen=True, slots=True)
class BlobTable:
    """File content by SHA-1, and the metadata resource of each image in order.

    `is_solid` tells whether content shares packed resources, as in an ESD file.
    """

    content: Mapping[bytes, Blob]
    metadata: tuple[Blob, ...]
    is_solid: bool = False


LEAST_PACKED_BYTES: Mapping[Compression, int] = MappingProxyType(
    {
        Compression.NONE: 1,
        Compression.XPRESS: 256,
        Compression.LZX: 30,
        Compression.LZMS: 4,
    }
)
"""What the smallest packed chunk takes: code lengths of XPRESS, three pretrees of LZX.

So far a small file cannot claim content of any size. Of LZMS 64 MiB of zeros really take 14 bytes.
"""


def least_stored_bytes(size_bytes: int, chunk_size: int, compression: Compression) -> int:
    """Bytes that the packed chunks of so much content take at least, without their table."""
    chunks = -(-size_bytes // chunk_size)
    return 1 + (chunks - 1) * min(LEAST_PACKED_BYTES[compression], chunk_size)


def table_entry_bytes(size_bytes: int) -> int:
    """Width of one entry in the chunk table of a resource that unpacks to `size_bytes`."""
    return 8 if size_bytes >= _WIDE_TABLE else 4


def pack_table(blobs: Iterable[Blob], part_number: int = 1) -> bytes:
    """The bytes of a blob table of one part."""
    return b"".join(
        ENTRY.pack(*place.numbers(), part_number, references, sha1)
        for sha1, place, references, _, _ in blobs
    )
