"""The header of a WIM: 208 bytes that say where everything else is.

Layout: Microsoft's published description of the Windows Imaging file format (2007), with the
later flags as wimlib reports them.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

from wimsmith.errors import DamagedWim, NotSupported
from wimsmith.offline.wim import remedies
from wimsmith.offline.wim.codec import READABLE_CHUNK_BYTES, STANDARD_CHUNK_BYTES, Compression

HEADER_BYTES = 208
MAGIC = b"MSWIM\0\0\0"
PIPABLE_MAGIC = b"WLPWM\0\0\0"
VERSION = 0x10D00
VERSION_SOLID = 0xE00

_HEADER = struct.Struct("<8sIIII16sHHI24s24s24sI24s60x")
_LOCATION = struct.Struct("<7sBQQ")
LOCATION_BYTES = _LOCATION.size


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


@dataclass(frozen=True, slots=True)
class Location:
    """Where a resource is: bytes taken in the file, flags, offset, bytes after unpacking."""

    stored_bytes: int = 0
    flags: int = 0
    offset: int = 0
    size_bytes: int = 0

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the 24 bytes of a resource location."""
        stored, flags, offset, size_bytes = _LOCATION.unpack(data)
        return cls(int.from_bytes(stored, "little"), flags, offset, size_bytes)

    def pack(self) -> bytes:
        """The 24 bytes of this location."""
        stored = self.stored_bytes.to_bytes(7, "little")
        return _LOCATION.pack(stored, self.flags, self.offset, self.size_bytes)

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
        """Read a header from the first 208 bytes of a file.

        Raises:
            DamagedWim: not a WIM, or values that contradict one another.
            NotSupported: a kind of WIM that is recognised, but not read here.
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
            NotSupported: a split set, a file being written, or chunks that cannot be read.
        """
        self._check_kind()
        self._check_chunk_size()
        if self.boot_index > self.image_count:
            raise DamagedWim(f"boot index {self.boot_index} of {self.image_count} images")
        if not self.blob_table.stored_bytes:
            raise DamagedWim("no blob table: the file is truncated or was not written to its end")
        if self.image_count and not self.xml.stored_bytes:
            raise DamagedWim("no XML document: the file was not written to its end")
        self.blob_table.check_within(file_bytes, "the blob table")
        self.xml.check_within(file_bytes, "the XML document")
        self.integrity.check_within(file_bytes, "the integrity table")
        return self

    def check_writable(self) -> None:
        """Return if a new file may keep this compression and chunk size.

        Raises:
            NotSupported: Windows would not accept the chunk size.
        """
        low, high = STANDARD_CHUNK_BYTES[self.compression]
        if not low <= self.chunk_size <= high:
            raise NotSupported(
                "chunk-size",
                f"Windows does not accept {self.compression.upper()} chunks of {self.chunk_size}"
                " bytes: they are read, but no such file is written",
                hint=remedies.EXPORT_AS_LZX,
            )

    def _check_kind(self) -> None:
        if self.flags & Flag.SPANNED or self.total_parts > 1:
            raise NotSupported(
                "split-set",
                f"part {self.part_number} of a split set of {self.total_parts} files",
                hint=remedies.JOIN,
            )
        if self.part_number != 1 or self.total_parts != 1:
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
        low, high = READABLE_CHUNK_BYTES[self.compression]
        size = self.chunk_size
        if not low <= size <= high or size & (size - 1):
            raise DamagedWim(f"{self.compression.upper()} chunks of {size} bytes")


def _check_magic(data: bytes) -> None:
    if data[:8] == PIPABLE_MAGIC:
        raise NotSupported(
            "pipable",
            "a pipable WIM, which only wimlib reads",
            hint=remedies.EXPORT_PIPABLE,
        )
    if data[:8] != MAGIC:
        raise DamagedWim("not a WIM file: it does not begin with MSWIM")
    if len(data) < HEADER_BYTES:
        raise DamagedWim(f"{len(data)} bytes, shorter than the header of a WIM")
