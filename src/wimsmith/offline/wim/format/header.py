"""The header of a WIM: 208 bytes that say where everything else is.

Layout: Microsoft's published description of the Windows Imaging file format (2007), with the
later flags as wimlib reports them.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, Self

from wimsmith.errors import DamagedWim, LimitExceeded, NotSupported
from wimsmith.offline.wim.format import remedies
from wimsmith.offline.wim.format.codec import READABLE_CHUNK_BYTES, Compression

HEADER_BYTES = 208
MAGIC = b"MSWIM\0\0\0"
# Of a file that can be read from a pipe; the header that counts stands at its end.
PIPABLE_MAGIC = b"WLPWM\0\0\0"
VERSION = 0x10D00
VERSION_SOLID = 0xE00

_HEADER = struct.Struct("<8sIIII16sHHI24s24s24sI24s60x")
_LOCATION = struct.Struct("<QQQ")
_FLAGS_AT = 56
_MAX_STORED_BYTES = (1 << _FLAGS_AT) - 1
MAX_IMAGES = 1 << 16
LOCATION_BYTES = _LOCATION.size
_MAX_CHUNK_BYTES = 1 << 30  # most that any writer makes


class Flag:
    """Flags of the whole file."""

    COMPRESSED: Final = 0x2
    READ_ONLY: Final = 0x4
    SPANNED: Final = 0x8
    RESOURCE_ONLY: Final = 0x10
    METADATA_ONLY: Final = 0x20
    WRITE_IN_PROGRESS: Final = 0x40
    RELATIVE_LINKS: Final = 0x80
    XPRESS: Final = 0x20000
    LZX: Final = 0x40000
    LZMS: Final = 0x80000


class ResourceFlag:
    """Flags of one resource."""

    FREE: Final = 0x1
    METADATA: Final = 0x2
    COMPRESSED: Final = 0x4
    SPANNED: Final = 0x8
    SOLID: Final = 0x10


COMPRESSION_FLAGS: Mapping[Compression, int] = MappingProxyType(
    {
        Compression.XPRESS: Flag.XPRESS,
        Compression.LZX: Flag.LZX,
        Compression.LZMS: Flag.LZMS,
    }
)


class Location(NamedTuple):
    """Where a resource is: bytes taken in the file, flags, offset, bytes after unpacking.

    A tuple, as there are some hundred thousand of them.
    """

    stored_bytes: int = 0
    flags: int = 0
    offset: int = 0
    size_bytes: int = 0

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the 24 bytes of a resource location."""
        return cls.of_numbers(*_LOCATION.unpack(data))

    @classmethod
    def of_numbers(cls, stored: int, offset: int, size_bytes: int) -> Self:
        """A location of the three numbers that it is written as."""
        return cls(stored & _MAX_STORED_BYTES, stored >> _FLAGS_AT, offset, size_bytes)

    def numbers(self) -> tuple[int, int, int]:
        """The three numbers that it is written as: the first has the flags above 7 bytes."""
        return self.stored_bytes | self.flags << _FLAGS_AT, self.offset, self.size_bytes

    def pack(self) -> bytes:
        """The 24 bytes of this location."""
        return _LOCATION.pack(*self.numbers())

    @property
    def end(self) -> int:
        """Offset of the first byte behind the resource."""
        return self.offset + self.stored_bytes

    @property
    def is_compressed(self) -> bool:
        return bool(self.flags & ResourceFlag.COMPRESSED)

    def check_within(self, file_bytes: int, what: str) -> Self:
        """Return self if the resource lies behind the header and inside the file.

        Raises:
            DamagedWim: it does not.
        """
        if self.stored_bytes and not HEADER_BYTES <= self.offset <= self.end <= file_bytes:
            raise DamagedWim(
                f"{what} is said to be at {self.offset} with {self.stored_bytes} bytes,"
                f" in a file of {file_bytes}"
            )
        return self


@dataclass(frozen=True, slots=True)
class Header:
    """Header of a WIM. `boot_index` is 0 when no image is marked bootable."""

    version: int
    flags: int
    chunk_size: int
    guid: bytes
    part_number: int
    total_parts: int
    image_count: int
    blob_table: Location
    xml: Location
    boot_metadata: Location
    boot_index: int
    integrity: Location

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a header from its 208 bytes, which are the last ones of a pipable file.

        Raises:
            DamagedWim: not a WIM, or values that contradict one another.
            NotSupported: a version that is not known here.
        """
        _check_magic(data)
        (_magic, size, version, flags, chunk_size, guid, part, parts, count, *rest) = (
            _HEADER.unpack_from(data)
        )
        blobs, xml, boot, boot_index, integrity = rest
        if size != HEADER_BYTES:
            raise DamagedWim(f"header of {size} bytes, expected {HEADER_BYTES}")
        if version not in {VERSION, VERSION_SOLID}:
            raise NotSupported(
                "wim-version",
                f"a WIM of version {version:#x}, which is not known here",
                hint=remedies.EXPORT_WITH_DISM,
            )
        where = (Location.parse(one) for one in (blobs, xml, boot, integrity))
        table, document, boot_metadata, integrity_table = where
        return cls(
            version=version,
            flags=flags,
            chunk_size=chunk_size,
            guid=guid,
            part_number=part,
            total_parts=parts,
            image_count=count,
            blob_table=table,
            xml=document,
            boot_metadata=boot_metadata,
            boot_index=boot_index,
            integrity=integrity_table,
        )

    def pack(self) -> bytes:
        """The 208 bytes of this header."""
        return _HEADER.pack(
            MAGIC,
            HEADER_BYTES,
            self.version,
            self.flags,
            self.chunk_size,
            self.guid,
            self.part_number,
            self.total_parts,
            self.image_count,
            self.blob_table.pack(),
            self.xml.pack(),
            self.boot_metadata.pack(),
            self.boot_index,
            self.integrity.pack(),
        )

    @property
    def compression(self) -> Compression:
        """How compressed resources of this file are packed."""
        if self.flags & Flag.COMPRESSED:
            for compression, flag in COMPRESSION_FLAGS.items():
                if self.flags & flag:
                    return compression
        return Compression.NONE

    def check(self, file_bytes: int) -> Self:
        """Return self if the values fit one another and a file of this size.

        Raises:
            DamagedWim: they do not.
            LimitExceeded: more images than `MAX_IMAGES`.
            NotSupported: a file being written, or chunks that cannot be read.
        """
        self._check_kind()
        self._check_chunk_size()
        if self.image_count > MAX_IMAGES:
            raise LimitExceeded(f"the header counts {self.image_count} images")
        if self.boot_index > self.image_count:
            raise DamagedWim(f"boot index {self.boot_index} of {self.image_count} images")
        if not self.blob_table.stored_bytes:
            raise DamagedWim("no blob table: the file is truncated or was not written to its end")
        if self.image_count and not (self.xml.stored_bytes or self.is_resource_only):
            raise DamagedWim("no XML document: the file was not written to its end")
        self.blob_table.check_within(file_bytes, "the blob table")
        self.xml.check_within(file_bytes, "the XML document")
        self.integrity.check_within(file_bytes, "the integrity table")
        return self

    @property
    def is_spanned(self) -> bool:
        """Whether the file is one part of a set."""
        return self.total_parts > 1

    @property
    def is_resource_only(self) -> bool:
        """Whether the file holds content of images that are described elsewhere."""
        return bool(self.flags & Flag.RESOURCE_ONLY)

    @property
    def is_metadata_only(self) -> bool:
        """Whether the file describes images whose content is elsewhere."""
        return bool(self.flags & Flag.METADATA_ONLY)

    def _check_kind(self) -> None:
        if not 1 <= self.part_number <= self.total_parts:
            raise DamagedWim(f"part {self.part_number} of {self.total_parts}")
        if self.flags & Flag.WRITE_IN_PROGRESS:
            raise NotSupported(
                "write-in-progress",
                "another program is writing the file, or was stopped while it did",
                hint=remedies.EXPORT_UNFINISHED,
            )

    def _check_chunk_size(self) -> None:
        if self.flags & Flag.COMPRESSED and self.compression is Compression.NONE:
            raise NotSupported(
                "compression",
                f"compression flags {self.flags:#x}, which are not known here",
                hint=remedies.EXPORT_WITH_DISM,
            )
        if self.compression is Compression.NONE:
            return
        check_chunk_size(self.compression, self.chunk_size)


def check_chunk_size(compression: Compression, chunk_size: int) -> None:
    """Return if packed chunks of this size can be read.

    Raises:
        DamagedWim: no writer of this format makes them.
        NotSupported: they would take too much memory here.
    """
    low, high = READABLE_CHUNK_BYTES[compression]
    if not low <= chunk_size <= _MAX_CHUNK_BYTES or chunk_size & (chunk_size - 1):
        raise DamagedWim(f"{compression.upper()} chunks of {chunk_size} bytes")
    if chunk_size > high:
        raise NotSupported(
            "chunk-size",
            f"{compression.upper()} chunks of {chunk_size} bytes, more than {high}",
            hint=remedies.EXPORT_SMALLER_CHUNKS,
        )


def _check_magic(data: bytes) -> None:
    if data[:8] not in {MAGIC, PIPABLE_MAGIC}:
        raise DamagedWim("not a WIM file: it does not begin with MSWIM")
    if len(data) < HEADER_BYTES:
        raise DamagedWim(f"{len(data)} bytes, shorter than the header of a WIM")
