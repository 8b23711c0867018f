"""In what form a new WIM packs: compression, chunk sizes, level, and whether content is solid."""

from dataclasses import dataclass

from wimsmith.errors import InvalidInput, NotSupported
from wimsmith.offline.wim.format.codec import DEFAULT_CHUNK_BYTES, STANDARD_CHUNK_BYTES, Compression
from wimsmith.offline.wim.format.container import Wim

FAST_LEVEL = 20
"""LZX at a seventh of the time of its usual level, for 0.1 % more size on a serviced image."""
SOLID_LEVEL = 50
SOLID_CHUNK_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class Form:
    """How the resources of one file are packed.

    `chunk_bytes` is for resources of their own. With `solid_chunk_bytes` above 0 new content
    shares one solid resource in chunks of that size, and only metadata stands alone.
    """

    compression: Compression
    chunk_bytes: int
    level: int = FAST_LEVEL
    solid_chunk_bytes: int = 0

    @property
    def is_solid(self) -> bool:
        return self.solid_chunk_bytes > 0

    @property
    def packing_chunk_bytes(self) -> int:
        """Size of the chunks that content is packed in."""
        return self.solid_chunk_bytes or self.chunk_bytes

    def __str__(self) -> str:
        if self.compression is Compression.NONE:
            return "not compressed"
        kind = "solid " if self.is_solid else ""
        return f"{kind}{self.compression.upper()}, chunks of {self.packing_chunk_bytes >> 10} KiB"


def make_form(
    compression: Compression | None = None,
    *,
    chunk_bytes: int | None = None,
    level: int | None = None,
    solid: bool = False,
) -> Form:
    """A form that Windows accepts; what is not said is what Windows itself uses.

    Raises:
        InvalidInput: a combination that does not exist.
        NotSupported: chunks that Windows does not accept.
    """
    chosen = compression or (Compression.LZMS if solid else Compression.LZX)
    if solid and chosen is not Compression.LZMS:
        raise InvalidInput(
            f"solid {chosen.upper()}", hint="Solid files that Windows reads are packed with LZMS."
        )
    if chunk_bytes is not None:
        check_chunk_bytes(chosen, chunk_bytes)
    if chosen is Compression.NONE:
        return Form(chosen, 0)
    chosen_level = level or (SOLID_LEVEL if solid else FAST_LEVEL)
    default = DEFAULT_CHUNK_BYTES[chosen]
    if solid:
        return Form(chosen, default, chosen_level, chunk_bytes or SOLID_CHUNK_BYTES)
    return Form(chosen, chunk_bytes or default, chosen_level)


def form_of(wim: Wim, level: int | None = None) -> Form:
    """The form of a file that is there, or the nearest one that Windows accepts."""
    compression, chunk_bytes = wim.compression, wim.chunk_size
    low, high = STANDARD_CHUNK_BYTES[compression]
    if compression is Compression.NONE or not low <= chunk_bytes <= high:
        chunk_bytes = DEFAULT_CHUNK_BYTES[compression]
    solid = max((blob.solid.chunk_size for blob in wim.blobs.values() if blob.solid), default=0)
    if not solid or compression is not Compression.LZMS:
        return Form(compression, chunk_bytes, level or FAST_LEVEL)
    return Form(compression, chunk_bytes, level or SOLID_LEVEL, min(solid, SOLID_CHUNK_BYTES))


def check_chunk_bytes(compression: Compression, chunk_bytes: int) -> None:
    """Return if Windows accepts chunks of this size.

    Raises:
        InvalidInput: there are no such chunks.
        NotSupported: there are, but Windows Setup and DISM refuse them.
    """
    if compression is Compression.NONE:
        raise InvalidInput("a file that is not compressed has no chunks")
    if chunk_bytes <= 0 or chunk_bytes & (chunk_bytes - 1):
        raise InvalidInput(f"chunks of {chunk_bytes} bytes", hint="Say a power of two, as 32K.")
    low, high = STANDARD_CHUNK_BYTES[compression]
    if not low <= chunk_bytes <= high:
        allowed = f"{low >> 10} KiB" if low == high else f"{low >> 10} to {high >> 10} KiB"
        raise NotSupported(
            "chunk-size",
            f"Windows does not accept {compression.upper()} chunks of {chunk_bytes} bytes",
            hint=f"It accepts {allowed}.",
        )
