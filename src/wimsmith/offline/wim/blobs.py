"""The blob table: where the content with a given SHA-1 is, and how often it is named.

Each entry has 50 bytes: location, part number, reference count, SHA-1. Entries with the
metadata flag are the images, in the order of their numbers.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wimsmith.errors import DamagedWim
from wimsmith.offline.wim.codec import Compression
from wimsmith.offline.wim.header import Header, Location, ResourceFlag
from wimsmith.offline.wim.tree import ZERO_SHA1

ENTRY_BYTES = 50
_ENTRY = struct.Struct("<24sHI20s")
_SOLID_RESOURCE = 1 << 32
_WIDE_TABLE = 1 << 32


@dataclass(frozen=True, slots=True)
class Blob:
    """Content stored in a WIM.

    Inside a solid resource, `location` is a place and a size in what that resource unpacks to.
    """

    sha1: bytes
    location: Location
    references: int

    @property
    def size_bytes(self) -> int:
        """Size in bytes after unpacking."""
        return self.location.stored_bytes if self.is_solid else self.location.size_bytes

    @property
    def is_solid(self) -> bool:
        return bool(self.location.flags & ResourceFlag.SOLID)


@dataclass(frozen=True, slots=True)
class BlobTable:
    """File content by SHA-1, and the metadata resource of each image in order."""

    content: Mapping[bytes, Blob]
    metadata: tuple[Blob, ...]

    @property
    def is_solid(self) -> bool:
        """Whether content shares compressed resources, as in an ESD file."""
        return any(blob.is_solid for blob in self.content.values())


def table_entry_bytes(size_bytes: int) -> int:
    """Width of one entry in the chunk table of a resource that unpacks to `size_bytes`."""
    return 8 if size_bytes >= _WIDE_TABLE else 4


def parse_table(data: bytes, header: Header, file_bytes: int) -> BlobTable:
    """Read a blob table, checking each location against the file.

    Raises:
        DamagedWim: entries that cannot be true, or fewer or more images than the header says.
    """
    if len(data) % ENTRY_BYTES:
        raise DamagedWim(f"blob table of {len(data)} bytes, no multiple of {ENTRY_BYTES}")
    chunk_size = 0 if header.compression is Compression.NONE else header.chunk_size
    content: dict[bytes, Blob] = {}
    metadata: list[Blob] = []
    for raw, part, references, sha1 in _ENTRY.iter_unpack(data):
        location = Location.parse(raw)
        if location.flags & ResourceFlag.SOLID and location.size_bytes == _SOLID_RESOURCE:
            location.check_within(file_bytes, "a solid resource")
            continue
        if part != header.part_number or location.flags & ResourceFlag.FREE:
            continue
        blob = Blob(sha1, location, references)
        _check_blob(blob, chunk_size, file_bytes)
        if location.flags & ResourceFlag.METADATA:
            if references:
                metadata.append(blob)
        else:
            content.setdefault(sha1, blob)
    if len(metadata) != header.image_count:
        raise DamagedWim(
            f"the header counts {header.image_count} images, the blob table {len(metadata)}"
        )
    return BlobTable(content, tuple(metadata))


def pack_table(blobs: Iterable[Blob]) -> bytes:
    """The bytes of a blob table of part 1."""
    return b"".join(
        _ENTRY.pack(blob.location.pack(), 1, blob.references, blob.sha1) for blob in blobs
    )


def _check_blob(blob: Blob, chunk_size: int, file_bytes: int) -> None:
    location = blob.location
    if blob.sha1 == ZERO_SHA1:
        raise DamagedWim("a blob without SHA-1")
    if blob.is_solid:
        return
    location.check_within(file_bytes, f"blob {blob.sha1.hex()}")
    if not location.is_compressed:
        if location.stored_bytes != location.size_bytes:
            raise DamagedWim(f"blob {blob.sha1.hex()} is stored with another size than its own")
        return
    if not chunk_size:
        raise DamagedWim(f"blob {blob.sha1.hex()} is compressed, the file is not")
    chunks = -(-location.size_bytes // chunk_size)
    least = chunks + (chunks - 1) * table_entry_bytes(location.size_bytes)
    if not chunks or location.stored_bytes < least:
        raise DamagedWim(
            f"blob {blob.sha1.hex()}: {location.size_bytes} bytes cannot be packed in"
            f" {location.stored_bytes}"
        )
