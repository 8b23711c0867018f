"""The end of a new file: blob table, XML document, integrity table, and the header last."""

import hashlib
import os
import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from wimsmith.offline import filetime
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.format import integrity
from wimsmith.offline.wim.format.blobs import Blob, pack_table
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.header import (
    COMPRESSION_FLAGS,
    HEADER_BYTES,
    VERSION,
    VERSION_SOLID,
    Flag,
    Header,
    Location,
    ResourceFlag,
)
from wimsmith.offline.wim.writing.description import describe
from wimsmith.offline.wim.writing.output import Output
from wimsmith.offline.wim.writing.plan import Plan, Recipe
from wimsmith.offline.wim.writing.watch import Watch


@dataclass(frozen=True, slots=True)
class Written:
    """Entries of the blob table, and which of them were packed here."""

    content: tuple[Blob, ...]
    solid: tuple[Blob, ...]
    metadata: tuple[Blob, ...]
    packed: frozenset[bytes]


def write_end(
    output: Output, header: Header, recipe: Recipe, plan: Plan, written: Written
) -> tuple[Header, bytes, bytes]:
    """Write blob table and XML.

    Args:
        output: the new file.
        header: its header but for the locations.
        recipe: says which image is bootable, and whether there will be an integrity table.
        plan: the images to describe.
        written: what stands in the file; a part of a set may have no metadata.

    Returns:
        The whole header, the blob table, and the XML document.
    """
    blobs = (*written.metadata, *written.content, *written.solid)
    table = pack_table(blobs, header.part_number)
    table_at = _as_metadata(output.append(table))
    now = filetime.from_datetime(datetime.now(UTC))
    xml = describe(plan.images, table_at.end, now)
    xml_at = _as_metadata(output.append(xml))
    size = integrity.table_bytes(integrity.hash_count(table_at.end - HEADER_BYTES))
    has_boot = recipe.boot and written.metadata
    header = replace(
        header,
        blob_table=table_at,
        xml=xml_at,
        boot_index=recipe.boot,
        boot_metadata=written.metadata[recipe.boot - 1].location if has_boot else Location(),
        integrity=Location(size, 0, xml_at.end, size) if recipe.with_integrity else Location(),
    )
    return header, table, xml


def _as_metadata(location: Location) -> Location:
    return location._replace(flags=ResourceFlag.METADATA)


def first_header(recipe: Recipe, *, has_solid: bool) -> Header:
    """A header with everything but the locations, for a file that is no part of a set."""
    compression = recipe.form.compression
    flags = 0
    if compression is not Compression.NONE:
        flags = Flag.COMPRESSED | COMPRESSION_FLAGS[compression]
    if recipe.wims:
        flags |= recipe.wims[0].header.flags & Flag.RELATIVE_LINKS
    is_new = has_solid or compression is Compression.LZMS
    return Header(
        version=VERSION_SOLID if is_new else VERSION,
        flags=flags,
        chunk_size=recipe.form.chunk_bytes,
        guid=recipe.guid or secrets.token_bytes(16),
        part_number=1,
        total_parts=1,
        image_count=len(recipe.images),
        blob_table=Location(),
        xml=Location(),
        boot_metadata=Location(),
        boot_index=0,
        integrity=Location(),
    )


def seal(descriptor: int, header: Header, watch: Watch, *, with_sha256: bool) -> str:
    """Write integrity table and header, and bring all to the disk; the SHA-256 of the whole file.

    The disk writes while the hashes are taken, and both hashes are taken at once.
    """
    end = integrity.covered_end(header)
    whole = hashlib.sha256(header.pack())
    hashes: list[bytes] = []
    with ThreadPoolExecutor(2) as beside:
        on_disk = beside.submit(os.fsync, descriptor)
        pending: list[Future[bytes]] = []
        for offset, chunk in integrity.file_chunks(descriptor, HEADER_BYTES, end):
            watch.tell(Event("hash", offset, end, "bytes"))
            if header.integrity.stored_bytes:
                pending.append(beside.submit(_sha1, chunk))
            if with_sha256:
                whole.update(chunk)
            if len(pending) > 1:  # at most two parts are in memory
                hashes.append(pending.pop(0).result())
        hashes += [one.result() for one in pending]
        on_disk.result()
    for _, chunk in integrity.file_chunks(descriptor, end, header.xml.end):
        whole.update(chunk)
    if header.integrity.stored_bytes:
        table = integrity.IntegrityTable(integrity.CHUNK_BYTES, tuple(hashes)).pack()
        os.pwrite(descriptor, table, header.integrity.offset)
        whole.update(table)
    os.ftruncate(descriptor, max(header.xml.end, header.integrity.end))
    os.pwrite(descriptor, header.pack(), 0)
    os.fsync(descriptor)
    return whole.hexdigest() if with_sha256 else ""


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()
