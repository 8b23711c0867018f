"""Writing a solid resource: many contents one behind the other, packed in large chunks.

The layout is described in `solid`. Chunks are packed by several workers at once.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from wimsmith.errors import DamagedInput, NotSupported
from wimsmith.offline.wim.format.blobs import SOLID_RESOURCE_SIZE, Blob
from wimsmith.offline.wim.format.codec import Codec, Compression
from wimsmith.offline.wim.format.header import Location, ResourceFlag
from wimsmith.offline.wim.format.tree import ZERO_SHA1
from wimsmith.offline.wim.writing.form import Form
from wimsmith.offline.wim.writing.output import Advance, Item, Output, in_chunks
from wimsmith.offline.wim.writing.pipeline import Pipeline
from wimsmith.offline.wim.writing.watch import Watch

_HEAD = struct.Struct("<QII")
_NUMBERS = {Compression.XPRESS: 1, Compression.LZX: 2, Compression.LZMS: 3}


def pack_solid(
    output: Output,
    items: Iterable[Item],
    total_bytes: int,
    *,
    form: Form,
    codec: Codec | None,
    watch: Watch,
    advance: Advance,
) -> tuple[Blob, list[Blob]]:
    """Write one solid resource of `total_bytes` in all, unpacked and more than 0.

    Returns:
        The entry of the blob table for the resource, and one for each item with its place in it.

    Raises:
        DamagedInput: content has not the size that it is known by.
        NotSupported: there is no codec.
    """
    if codec is None:
        raise NotSupported("codec", f"nothing here packs {form.compression.upper()}")
    offset, chunk_bytes = output.position, form.solid_chunk_bytes
    chunk_count = -(-total_bytes // chunk_bytes)
    output.position += _HEAD.size + 4 * chunk_count
    blobs: list[Blob] = []
    sizes: list[int] = []

    def take(chunk: bytes, packed: list[bytes | None]) -> None:
        (piece,) = packed
        fits = piece is not None and len(piece) < len(chunk)
        stored = piece if piece is not None and fits else chunk
        output.write(stored)
        sizes.append(len(stored))
        advance(len(chunk))

    pipeline: Pipeline[list[bytes | None]] = Pipeline(codec.workers, watch)
    with pipeline:
        for chunk in in_chunks(_laid_out(items, blobs), chunk_bytes):
            call: Callable[[], list[bytes | None]] = partial(
                codec.compress, form.compression, chunk_bytes, form.level, [chunk]
            )
            pipeline.submit(call, partial(take, chunk))
        pipeline.drain()
    if sum(blob.size_bytes for blob in blobs) != total_bytes:
        raise DamagedInput(f"contents do not have the {total_bytes} bytes that they should")
    head = _HEAD.pack(total_bytes, chunk_bytes, _NUMBERS[form.compression])
    output.write_at(head + struct.pack(f"<{chunk_count}I", *sizes), offset)
    return solid_entry(offset, output.position - offset), blobs


def solid_entry(offset: int, stored_bytes: int) -> Blob:
    """What stands in the blob table for a solid resource itself."""
    location = Location(stored_bytes, ResourceFlag.SOLID, offset, SOLID_RESOURCE_SIZE)
    return Blob(ZERO_SHA1, location, 1)


def in_solid(sha1: bytes, place: int, size_bytes: int) -> Blob:
    """A content with its place in what a solid resource unpacks to."""
    return Blob(sha1, Location(size_bytes, ResourceFlag.SOLID, place, 0), 0)


def _laid_out(items: Iterable[Item], blobs: list[Blob]) -> Iterator[bytes]:
    """The blocks of all items; `blobs` gets an entry for each."""
    place = 0
    for item in items:
        size_bytes = 0
        for block in item.blocks:
            size_bytes += len(block)
            yield block
        if size_bytes != item.size_bytes:
            raise DamagedInput(f"content {item.sha1.hex()} has {size_bytes} bytes")
        blobs.append(in_solid(item.sha1, place, size_bytes))
        place += size_bytes
