"""What the container asks of a codec: it parses chunk tables, the codec only packs chunks."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol


class Compression(StrEnum):
    """How the resources of one WIM are packed; a property of the whole file."""

    NONE = "none"
    XPRESS = "xpress"
    LZX = "lzx"
    LZMS = "lzms"


DEFAULT_CHUNK_BYTES: Mapping[Compression, int] = MappingProxyType(
    {
        Compression.NONE: 0,
        Compression.XPRESS: 1 << 15,
        Compression.LZX: 1 << 15,
        Compression.LZMS: 1 << 17,
    }
)
"""Uncompressed size of a chunk in files that this package makes from scratch."""

READABLE_CHUNK_BYTES: Mapping[Compression, tuple[int, int]] = MappingProxyType(
    {
        Compression.NONE: (0, 1 << 26),
        Compression.XPRESS: (1 << 12, 1 << 16),
        Compression.LZX: (1 << 15, 1 << 21),
        Compression.LZMS: (1 << 15, 1 << 26),
    }
)
"""Smallest and largest chunk (a power of two) that can be read."""

STANDARD_CHUNK_BYTES: Mapping[Compression, tuple[int, int]] = MappingProxyType(
    {
        Compression.NONE: (0, 1 << 30),
        Compression.XPRESS: (1 << 12, 1 << 16),
        Compression.LZX: (1 << 15, 1 << 15),
        Compression.LZMS: (1 << 15, 1 << 26),
    }
)
"""Chunk sizes that Windows itself accepts; only these are written."""


class Codec(Protocol):
    """Packs and unpacks chunks; a chunk that did not shrink is stored and never gets here.

    May be shared by threads.
    """

    @property
    def workers(self) -> int:
        """How many calls may usefully run at once, each from a thread of its own."""
        ...

    def decompress(
        self, compression: Compression, chunk_size: int, chunks: Sequence[tuple[bytes, int]]
    ) -> list[bytes]:
        """Unpack chunks.

        Args:
            compression: algorithm, never `NONE`.
            chunk_size: size in bytes of a full chunk in this WIM.
            chunks: packed bytes and the size in bytes after unpacking, per chunk.

        Raises:
            DamagedWim: a chunk does not unpack to its size.
        """
        ...

    def compress(
        self, compression: Compression, chunk_size: int, level: int, chunks: Sequence[bytes]
    ) -> list[bytes | None]:
        """Pack chunks of at most `chunk_size` bytes; None for one that does not shrink."""
        ...
