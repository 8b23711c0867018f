"""Contiguous runs of a blob table of about the same number of bytes: the shares of workers.

A worker is told where its contents are, so that it need not read the whole table.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from wimsmith.offline.wim.format.blobs import Blob, SolidResource
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.header import LOCATION_BYTES, Location

_LEAST_BYTES = 4 << 20
_MOST_BYTES = 64 << 20
_PER_WORKER = 16
_SOLID_PER_WORKER = 2
_MOST_CHUNKS = 16
_ENTRY = struct.Struct(f"<20s{LOCATION_BYTES}sHi")
_T = TypeVar("_T")


def slice_bytes(blobs: Iterable[Blob], workers: int) -> int:
    """How many unpacked bytes one slice should have.

    Small enough that no worker waits long for the last one. Of solid resources more, since the
    chunk at each border is unpacked by two workers.
    """
    total_bytes = 0
    chunk_bytes = 0
    for blob in blobs:
        total_bytes += blob.size_bytes
        if blob.solid is not None:
            chunk_bytes = max(chunk_bytes, blob.solid.chunk_size)
    share = min(total_bytes // (workers * _PER_WORKER), _MOST_BYTES)
    solid = min(total_bytes // (workers * _SOLID_PER_WORKER), _MOST_CHUNKS * chunk_bytes)
    return max(_LEAST_BYTES, share, solid)


def balanced(
    items: Iterable[_T], size_of: Callable[[_T], int], most_bytes: int, most_items: int
) -> Iterator[list[_T]]:
    """Runs of items with at most so many bytes (unless it is a single item) and so many items."""
    run: list[_T] = []
    total_bytes = 0
    for item in items:
        size_bytes = size_of(item)
        if run and (total_bytes + size_bytes > most_bytes or len(run) >= most_items):
            yield run
            run, total_bytes = [], 0
        run.append(item)
        total_bytes += size_bytes
    if run:
        yield run


def pack_blobs(blobs: Sequence[Blob]) -> tuple[list[list[Any]], bytes]:
    """Blobs as a worker gets them: the solid resources among them, and an entry for each blob."""
    solids: dict[SolidResource, int] = {}
    entries = [
        _ENTRY.pack(
            blob.sha1,
            blob.location.pack(),
            blob.file,
            -1 if blob.solid is None else solids.setdefault(blob.solid, len(solids)),
        )
        for blob in blobs
    ]
    described = [
        [one.location.pack().hex(), one.size_bytes, one.chunk_size, one.compression.value]
        for one in solids
    ]
    return described, b"".join(entries)


def unpack_blobs(described: Sequence[Sequence[Any]], entries: memoryview) -> list[Blob]:
    """What `pack_blobs` packed."""
    solids: list[SolidResource | None] = [
        SolidResource(
            Location.parse(bytes.fromhex(location)), size, chunk_size, Compression(compression)
        )
        for location, size, chunk_size, compression in described
    ]
    solids.append(None)  # the one with number -1
    return [
        Blob(sha1, Location.parse(location), 0, file, solids[solid])
        for sha1, location, file, solid in _ENTRY.iter_unpack(entries)
    ]
