"""Writing a WIM: content that is not touched is copied as it is packed, the rest is new.

The file grows beside its target, is read again, and appears under its name whole or not at all.
"""

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from wimsmith.errors import (
    AlreadyExists,
    DamagedWim,
    InvalidInput,
    NotSupported,
    VerificationFailed,
)
from wimsmith.offline import filetime
from wimsmith.offline.durable import fsync_folder
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.wim import integrity, remedies
from wimsmith.offline.wim.beside import beside
from wimsmith.offline.wim.blobs import Blob, pack_table
from wimsmith.offline.wim.codec import DEFAULT_CHUNK_BYTES, Codec, Compression
from wimsmith.offline.wim.container import Wim, naming, open_wim
from wimsmith.offline.wim.document import Document, ImageEdit, ImageInfo
from wimsmith.offline.wim.header import (
    COMPRESSION_FLAGS,
    HEADER_BYTES,
    VERSION,
    VERSION_SOLID,
    Flag,
    Header,
    Location,
    ResourceFlag,
)
from wimsmith.offline.wim.output import MemorySource, ResourceWriter, copy_range
from wimsmith.offline.wim.plan import Plan, boot_position, image_numbers, plan_images
from wimsmith.offline.wim.tree import Tree

DEFAULT_LEVEL = 20
"""LZX at a seventh of the time of its usual level, for 0.1 % more size on a serviced image."""

_NOTHING: Mapping[int, ImageEdit] = MappingProxyType({})
_NO_TREES: Mapping[int, Tree] = MappingProxyType({})
_NO_CONTENT: Mapping[bytes, Path | bytes] = MappingProxyType({})
_KEPT_FLAGS = Flag.COMPRESSED | Flag.RELATIVE_LINKS | Flag.XPRESS | Flag.LZX | Flag.LZMS


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What was written. `copied_bytes` were taken from the base as they were packed."""

    path: Path
    size_bytes: int
    sha256: str
    images: tuple[ImageInfo, ...]
    copied_bytes: int
    new_blobs: int
    new_bytes: int
    dropped_blobs: int


def write_wim(
    target: Path,
    *,
    base: Wim | None = None,
    trees: Mapping[int, Tree] = _NO_TREES,
    new_content: Mapping[bytes, Path | bytes] = _NO_CONTENT,
    images: Mapping[int, ImageEdit] = _NOTHING,
    indexes: Sequence[int] | None = None,
    codec: Codec | None = None,
    compression: Compression | None = None,
    level: int = DEFAULT_LEVEL,
    boot_index: int | None = None,
    with_integrity: bool = True,
    drop_unreferenced: bool = True,
    overwrite: bool = False,
    guid: bytes | None = None,
    progress: Progress = silent,
) -> WriteReport:
    """Write a new WIM from a base, or from nothing.

    Args:
        target: path of the new file, never that of the base.
        base: open WIM whose images and content are taken over, or None.
        trees: changed images by their number in the base; numbers above add images.
        new_content: content by its 20-byte SHA-1; what the base has already is not written.
        images: what to write into the XML document, by the same numbers.
        indexes: numbers of the images that the new file gets, in this order; None for all.
        codec: needed when the file is compressed; by default that of the base.
        compression: of a file without a base; LZX with a codec, else none.
        level: how hard the codec tries; 20 is quick, 50 what wimlib does by itself.
        boot_index: number of the bootable image, 0 for none, None for that of the base.
        with_integrity: whether to write an integrity table.
        drop_unreferenced: whether content that no image names is left out.
        overwrite: whether a file at `target` is replaced.
        guid: 16 bytes for the header; random by default.
        progress: told of the phases; may raise to cancel.

    Returns:
        Size, SHA-256 and images of the new file, and what was copied and written.

    Raises:
        AlreadyExists: a file stands at `target`, or it is the base.
        NotSupported: the base is solid, a delta, or has chunks that Windows does not accept.
        DamagedInput: new content that does not have its SHA-1; a damaged base.
        VerificationFailed: the new file, read again, is not what was written.
        OSError: the disk is full, or the like; no file is left behind.
    """
    _check_target(target, base, overwrite=overwrite)
    codec = codec if codec is not None or base is None else base.resources.codec
    numbers = image_numbers(base, trees, indexes)
    with naming(base.path if base else target):
        header = _first_header(base, compression, codec, guid)
        plan = plan_images(
            base,
            trees,
            new_content,
            numbers,
            drop_unreferenced=drop_unreferenced,
            progress=progress,
        )
    boot = boot_position(numbers, base, boot_index)
    with beside(target) as (part, descriptor):
        writer = ResourceWriter(
            descriptor, HEADER_BYTES, header.compression, header.chunk_size, level, codec
        )
        content = _write_content(writer, base, plan, progress)
        metadata = _write_metadata(writer, base, plan)
        document = _document(base, plan, images)
        final = _write_end(
            writer, header, boot, content, metadata, document, with_integrity=with_integrity
        )
        sha256 = _seal(descriptor, final, progress)
        os.fsync(descriptor)
        written = {blob.sha1 for blob in content} & set(plan.new)
        infos = _read_again(part, codec, final, plan, written, progress)
        size_bytes = os.fstat(descriptor).st_size
        part.rename(target)
    fsync_folder(target.parent)
    return WriteReport(
        path=target,
        size_bytes=size_bytes,
        sha256=sha256,
        images=infos,
        copied_bytes=sum(blob.location.stored_bytes for blob in plan.kept),
        new_blobs=len(plan.new),
        new_bytes=sum(blob.size_bytes for blob in content if blob.sha1 in plan.new),
        dropped_blobs=plan.dropped,
    )


def _check_target(target: Path, base: Wim | None, *, overwrite: bool) -> None:
    if not target.exists():
        return
    is_base = base is not None and os.path.samestat(target.stat(), os.fstat(base.descriptor))
    if is_base or not overwrite:
        raise AlreadyExists(f"{target}")


def _first_header(
    base: Wim | None, compression: Compression | None, codec: Codec | None, guid: bytes | None
) -> Header:
    """A header with everything but the locations."""
    guid = guid or secrets.token_bytes(16)
    if base is not None:
        if base.is_solid:
            raise NotSupported(
                "solid",
                "the content is in solid resources (ESD), which are not copied",
                hint=remedies.EXPORT_AS_LZX,
            )
        if compression not in {None, base.compression}:
            raise InvalidInput(f"a copy of a WIM stays {base.compression.upper()}")
        base.header.check_writable()
        return replace(base.header, flags=base.header.flags & _KEPT_FLAGS, guid=guid)
    if compression is None:
        compression = Compression.NONE if codec is None else Compression.LZX
    packed = compression is not Compression.NONE
    return Header(
        version=VERSION_SOLID if compression is Compression.LZMS else VERSION,
        flags=Flag.COMPRESSED | COMPRESSION_FLAGS[compression] if packed else 0,
        chunk_size=DEFAULT_CHUNK_BYTES[compression],
        guid=guid,
        part_number=1,
        total_parts=1,
        image_count=0,
        blob_table=Location(),
        xml=Location(),
        boot_metadata=Location(),
        boot_index=0,
        integrity=Location(),
    )


def _write_content(
    writer: ResourceWriter, base: Wim | None, plan: Plan, progress: Progress
) -> list[Blob]:
    """Copy what is kept and pack what is new; blobs of both with their references."""
    counts = plan.references
    copied = list(_copy_blobs(writer, base, plan.kept, counts, progress)) if base else []
    total = sum(source.size_bytes for source in plan.new.values())
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(Event("compress", done, total, "bytes"))

    items = ((sha1, source, 0) for sha1, source in plan.new.items())
    packed = writer.pack(items, advance)
    return copied + [replace(blob, references=counts[blob.sha1]) for blob in packed]


def _copy_blobs(
    writer: ResourceWriter,
    base: Wim,
    blobs: Iterable[Blob],
    references: Mapping[bytes, int],
    progress: Progress,
) -> Iterator[Blob]:
    """Copy packed resources, neighbours in one go; the blobs as they are in the new file."""
    ordered = sorted(blobs, key=lambda blob: blob.location.offset)
    total = sum(blob.location.stored_bytes for blob in ordered)
    done = 0
    with naming(base.path):
        runs = list(_runs(ordered))
    for run in runs:
        start, end = run[0].location.offset, run[-1].location.end
        shift = writer.position - start
        copy = copy_range(base.descriptor, writer.descriptor, start, writer.position, end - start)
        for count in copy:
            done += count
            progress(Event("copy", done, total, "bytes"))
        writer.position += end - start
        for blob in run:
            old = blob.location
            location = Location(old.stored_bytes, old.flags, old.offset + shift, old.size_bytes)
            yield Blob(blob.sha1, location, references.get(blob.sha1, 0))


def _runs(ordered: Sequence[Blob]) -> Iterator[list[Blob]]:
    """Groups of blobs that follow one another without a gap."""
    run: list[Blob] = []
    for blob in ordered:
        end = run[-1].location.end if run else 0
        if run and blob.location.stored_bytes and blob.location.offset < end:
            raise DamagedWim(f"blob {blob.sha1.hex()} overlaps another")
        if run and blob.location.offset != end:
            yield run
            run = []
        run.append(blob)
    if run:
        yield run


def _write_metadata(writer: ResourceWriter, base: Wim | None, plan: Plan) -> list[Blob]:
    """Write or copy the metadata of each image, in order."""
    written = []
    for image in plan.images:
        if image.metadata is not None:
            item = (_sha1(image.metadata), MemorySource(image.metadata), ResourceFlag.METADATA)
            written += writer.pack([item])
        elif base is not None and image.base_metadata is not None:
            written += _copy_blobs(writer, base, [image.base_metadata], {}, silent)
    return [replace(blob, references=1) for blob in written]


def _document(
    base: Wim | None,
    plan: Plan,
    edits: Mapping[int, ImageEdit],
) -> Document:
    """The XML document; the size of the file is set when it is known."""
    document = Document.parse(base.document.serialize()) if base else Document.new()
    present = len(base.images) if base else 0
    for _ in range(max(image.number for image in plan.images) - present):
        document.append_image()
    now = filetime.from_datetime(datetime.now(UTC))
    for image in plan.images:
        is_new = image.base_metadata is None
        edit = edits.get(image.number, ImageEdit())
        if image.statistics is not None:
            document.set_statistics(image.number, image.statistics)
            edit = replace(
                edit,
                modified=now if edit.modified is None else edit.modified,
                created=now if edit.created is None and is_new else edit.created,
            )
        document.edit(image.number, edit)
    document.keep([image.number for image in plan.images])
    return document


def _write_end(
    writer: ResourceWriter,
    header: Header,
    boot: int,
    content: Sequence[Blob],
    metadata: Sequence[Blob],
    document: Document,
    *,
    with_integrity: bool,
) -> Header:
    """Write blob table and XML; the header that belongs to them and to a table still to come."""
    table = _as_metadata(writer.append(pack_table([*content, *metadata])))
    document.set_total_bytes(table.end)
    xml = _as_metadata(writer.append(document.serialize()))
    count = integrity.hash_count(table.end - HEADER_BYTES)
    size = integrity.table_bytes(count)
    return replace(
        header,
        image_count=len(metadata),
        blob_table=table,
        xml=xml,
        boot_index=boot,
        boot_metadata=metadata[boot - 1].location if boot else Location(),
        integrity=Location(size, 0, xml.end, size) if with_integrity else Location(),
    )


def _as_metadata(location: Location) -> Location:
    return replace(location, flags=ResourceFlag.METADATA)


def _seal(descriptor: int, header: Header, progress: Progress) -> str:
    """Write integrity table and header; the SHA-256 of the whole file in hexadecimal."""
    whole = hashlib.sha256(header.pack())
    hashes = []
    end = integrity.covered_end(header)
    for offset, chunk in integrity.file_chunks(descriptor, HEADER_BYTES, end):
        progress(Event("hash", offset, end, "bytes"))
        whole.update(chunk)
        if header.integrity.stored_bytes:
            hashes.append(hashlib.sha1(chunk, usedforsecurity=False).digest())
    for _, chunk in integrity.file_chunks(descriptor, end, header.xml.end):
        whole.update(chunk)
    if header.integrity.stored_bytes:
        table = integrity.IntegrityTable(integrity.CHUNK_BYTES, tuple(hashes)).pack()
        os.pwrite(descriptor, table, header.integrity.offset)
        whole.update(table)
    os.ftruncate(descriptor, max(header.xml.end, header.integrity.end))
    os.pwrite(descriptor, header.pack(), 0)
    return whole.hexdigest()


def _read_again(
    part: Path,
    codec: Codec | None,
    expected: Header,
    plan: Plan,
    written: Iterable[bytes],
    progress: Progress,
) -> tuple[ImageInfo, ...]:
    """Read the new file as anybody would, and what is new in it by its hash."""
    try:
        with open_wim(part, codec) as wim:
            if wim.header != expected:
                raise VerificationFailed(f"{part.name}: the header differs")
            for position, image in enumerate(plan.images, 1):
                if image.metadata is not None and wim.metadata(position) != image.metadata:
                    raise VerificationFailed(f"{part.name}: image {position} differs")
                if image.metadata is not None:
                    wim.tree(position)
            wanted = tuple(written)
            for done, sha1 in enumerate(wanted):
                progress(Event("check", done, len(wanted), "files"))
                for _block in wim.open_blob(sha1):
                    pass
            return wim.images
    except DamagedWim as error:
        raise VerificationFailed(error.args[0]) from error


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()
