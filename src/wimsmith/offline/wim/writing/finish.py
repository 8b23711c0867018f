"""Giving a WIM that libwim has just captured the metadata and the end that this package writes.

libwim puts the metadata of a captured image behind all content, so only the end of the file is
written anew: metadata, blob table, XML, integrity table, header. The file is private until then.
"""

import hashlib
import os
import struct
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from wimsmith.errors import WorkerFailed
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.wim.format import integrity
from wimsmith.offline.wim.format.blobs import ENTRY_BYTES, Blob, pack_table
from wimsmith.offline.wim.format.codec import Codec, Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.document import ImageEdit
from wimsmith.offline.wim.format.header import HEADER_BYTES, Header, Location, ResourceFlag
from wimsmith.offline.wim.format.metadata import serialize_metadata
from wimsmith.offline.wim.format.tree import Tree

_LEVEL = 50
_BATCH_CHUNKS = 256


def finish(
    part: Path,
    tree: Tree,
    edit: ImageEdit,
    *,
    bootable: bool,
    codec: Codec,
    progress: Progress,
) -> None:
    """Write `tree` as the only image of `part`, what `edit` says of it, and an integrity table.

    Raises:
        WorkerFailed: the file is not laid out as libwim does.
        OSError: the disk is full, or the like.
    """
    with open_wim(part, codec) as wim:
        header, document, old = wim.header, wim.document, wim.table.metadata[0]
        entries = _without(wim.files[0].raw_table(), old)
        last = max((blob_end(blob) for blob in wim.blobs.values()), default=HEADER_BYTES)
    if last > old.location.offset:
        raise WorkerFailed(f"{part}: content behind the metadata of the image")
    document.edit(1, edit)
    with part.open("r+b", buffering=0) as file:
        metadata = serialize_metadata(tree)
        location = _write_metadata(file.fileno(), old.location.offset, metadata, header, codec)
        blob = Blob(hashlib.sha1(metadata, usedforsecurity=False).digest(), location, 1)
        table = _append(file.fileno(), location.end, entries + pack_table([blob]))
        document.set_total_bytes(table.end)
        xml = _append(file.fileno(), table.end, document.serialize())
        count = integrity.hash_count(table.end - HEADER_BYTES)
        size = integrity.table_bytes(count)
        final = replace(
            header,
            blob_table=table,
            xml=xml,
            boot_index=int(bootable),
            boot_metadata=location if bootable else Location(),
            integrity=Location(size, 0, xml.end, size),
        )
        os.ftruncate(file.fileno(), final.integrity.end)
        _seal(file.fileno(), final, progress)


def blob_end(blob: Blob) -> int:
    """Offset of the first byte of the file behind the content of a blob."""
    return blob.location.end if blob.solid is None else blob.solid.location.end


def _without(table: bytes, blob: Blob) -> bytes:
    """The entries of a blob table but that of one blob."""
    entries = (table[at : at + ENTRY_BYTES] for at in range(0, len(table), ENTRY_BYTES))
    return b"".join(entry for entry in entries if entry[-20:] != blob.sha1)


def _write_metadata(
    descriptor: int, offset: int, data: bytes, header: Header, codec: Codec
) -> Location:
    """Write a metadata resource, packed if that makes it smaller."""
    packed = _packed(data, header, codec)
    flags = ResourceFlag.METADATA
    if packed is not None and len(packed) < len(data):
        _write(descriptor, packed, offset)
        return Location(len(packed), flags | ResourceFlag.COMPRESSED, offset, len(data))
    _write(descriptor, data, offset)
    return Location(len(data), flags, offset, len(data))


def _packed(data: bytes, header: Header, codec: Codec) -> bytes | None:
    """The chunk table and the chunks of a resource; None in a file without compression."""
    if header.compression is Compression.NONE:
        return None
    size = header.chunk_size
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    pieces: list[bytes] = []
    for at in range(0, len(chunks), _BATCH_CHUNKS):
        batch = chunks[at : at + _BATCH_CHUNKS]
        packed = codec.compress(header.compression, size, _LEVEL, batch)
        pieces += [one or raw for one, raw in zip(packed, batch, strict=True)]
    ends = list(accumulate(map(len, pieces)))
    return struct.pack(f"<{len(ends) - 1}I", *ends[:-1]) + b"".join(pieces)


def _append(descriptor: int, offset: int, data: bytes) -> Location:
    _write(descriptor, data, offset)
    return Location(len(data), ResourceFlag.METADATA, offset, len(data))


def _seal(descriptor: int, header: Header, progress: Progress) -> None:
    """Write the integrity table, and the header last."""
    hashes = []
    end = integrity.covered_end(header)
    for offset, chunk in integrity.file_chunks(descriptor, HEADER_BYTES, end):
        progress(Event("Making integrity table", offset, end, "bytes"))
        hashes.append(hashlib.sha1(chunk, usedforsecurity=False).digest())
    table = integrity.IntegrityTable(integrity.CHUNK_BYTES, tuple(hashes)).pack()
    _write(descriptor, table, header.integrity.offset)
    _write(descriptor, header.pack(), 0)


def _write(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(descriptor, view, offset)
        view = view[done:]
        offset += done
