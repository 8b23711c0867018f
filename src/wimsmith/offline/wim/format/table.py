"""Reading blob tables: of one file, of all parts of a set, and of files that are referred to."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from wimsmith.errors import DamagedWim, LimitExceeded
from wimsmith.offline.wim.format.blobs import (
    ENTRY,
    ENTRY_BYTES,
    SOLID_RESOURCE_SIZE,
    Blob,
    BlobTable,
    SolidResource,
    least_stored_bytes,
    table_entry_bytes,
)
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.header import HEADER_BYTES, Location, ResourceFlag
from wimsmith.offline.wim.format.opened import WimFile
from wimsmith.offline.wim.format.solid import read_head
from wimsmith.offline.wim.format.tree import ZERO_SHA1

MAX_SOLID_RESOURCES = 1 << 16
"""Of one file; there is one for each time that it was written to."""


class TableReader:
    """Collects the blobs of several files; the first one that has a content is taken."""

    def __init__(self, files: Sequence[WimFile]) -> None:
        self.files = files
        self.content: dict[bytes, Blob] = {}
        self.metadata: list[Blob] = []

    def add(self, number: int, parts: Mapping[int, int], *, with_metadata: bool) -> None:
        """Read the table of file `number`.

        Args:
            number: position in `files`.
            parts: positions of the files that hold parts of the same set, by part number.
            with_metadata: whether metadata in it describes images of the WIM that is opened.

        Raises:
            DamagedWim: entries that cannot be true.
            LimitExceeded: more solid resources than `MAX_SOLID_RESOURCES`.
        """
        data = self.files[number].raw_table()
        if len(data) % ENTRY_BYTES:
            raise DamagedWim(f"blob table of {len(data)} bytes, no multiple of {ENTRY_BYTES}")
        for blob in self._blobs(data, parts):
            if not blob.location.flags & ResourceFlag.METADATA:
                self.content.setdefault(blob.sha1, blob)
            elif with_metadata and blob.references:
                self.metadata.append(blob)

    def table(self) -> BlobTable:
        """All that was read."""
        is_solid = any(blob.solid is not None for blob in self.content.values())
        return BlobTable(self.content, tuple(self.metadata), is_solid)

    def _blobs(self, data: bytes, parts: Mapping[int, int]) -> Iterator[Blob]:
        of_numbers = Location.of_numbers
        entries = (
            Blob(sha1, of_numbers(stored, offset, size_bytes), references, parts.get(part, -1))
            for stored, offset, size_bytes, part, references, sha1 in ENTRY.iter_unpack(data)
        )
        for (is_solid, file), run in groupby(entries, _run_of):
            if file < 0:  # of a part that is not there, or of another set
                continue
            if is_solid:
                yield from self._solid_run(list(run), file)
            else:
                yield from self._plain(run, file)

    def _plain(self, run: Iterator[Blob], file: int) -> Iterator[Blob]:
        check = _plain_check(self.files[file])
        for blob in run:
            if not blob.location.flags & ResourceFlag.FREE:
                check(blob)
                yield blob

    def _solid_run(self, run: Sequence[Blob], file: int) -> Iterator[Blob]:
        """Content of solid resources that follow one another: places are counted through them."""
        resources: list[tuple[int, SolidResource]] = []
        end = 0
        for blob in run:
            if blob.location.size_bytes == SOLID_RESOURCE_SIZE:
                resource = self._resource(blob.location, file)
                resources.append((end, resource))
                end += resource.size_bytes
                if len(resources) > MAX_SOLID_RESOURCES:
                    raise LimitExceeded(f"more than {MAX_SOLID_RESOURCES} solid resources")
        for blob in run:
            if blob.location.size_bytes != SOLID_RESOURCE_SIZE:
                yield _placed(blob, resources)

    def _resource(self, location: Location, file: int) -> SolidResource:
        where = self.files[file]
        location.check_within(where.file_bytes, "a solid resource")
        return read_head(where.descriptor, location)


def _placed(blob: Blob, resources: Sequence[tuple[int, SolidResource]]) -> Blob:
    """A blob of a solid run with the resource that holds it, and its place in that one."""
    position = bisect_right(resources, blob.location.offset, key=itemgetter(0)) - 1
    if position < 0:
        raise DamagedWim(f"blob {blob.sha1.hex()} is in a solid resource that the table lacks")
    start, resource = resources[position]
    offset = blob.location.offset - start
    if offset + blob.size_bytes > resource.size_bytes:
        raise DamagedWim(f"blob {blob.sha1.hex()} ends behind its solid resource")
    _check_sha1(blob)
    return blob._replace(location=blob.location._replace(offset=offset), solid=resource)


def _check_sha1(blob: Blob) -> None:
    if blob.sha1 == ZERO_SHA1:
        raise DamagedWim("a blob without SHA-1")


def _run_of(blob: Blob) -> tuple[int, int]:
    return blob.location.flags & ResourceFlag.SOLID, blob.file


def _plain_check(file: WimFile) -> Callable[[Blob], None]:
    """What raises DamagedWim for a blob, outside solid resources, that this file cannot hold."""
    compression, chunk_size = file.header.compression, file.header.chunk_size
    file_bytes, is_packed = file.file_bytes, compression is not Compression.NONE

    def check(blob: Blob) -> None:
        sha1, location = blob[0], blob[1]
        stored_bytes, flags, offset, size_bytes = location
        if sha1 == ZERO_SHA1:
            _check_sha1(blob)
        if stored_bytes and not HEADER_BYTES <= offset <= file_bytes - stored_bytes:
            location.check_within(file_bytes, f"blob {sha1.hex()}")
        if not flags & ResourceFlag.COMPRESSED:
            if stored_bytes != size_bytes:
                raise DamagedWim(f"blob {sha1.hex()} is stored with another size than its own")
        elif not is_packed:
            raise DamagedWim(f"blob {sha1.hex()} is compressed, the file is not")
        elif not 0 < size_bytes <= chunk_size or not stored_bytes:
            _check_packed(blob, compression, chunk_size)

    return check


def _check_packed(blob: Blob, compression: Compression, chunk_size: int) -> None:
    stored_bytes, size_bytes = blob.location.stored_bytes, blob.location.size_bytes
    table_bytes = (-(-size_bytes // chunk_size) - 1) * table_entry_bytes(size_bytes)
    least = least_stored_bytes(size_bytes, chunk_size, compression) + table_bytes
    if not size_bytes or stored_bytes < least:
        raise DamagedWim(
            f"blob {blob.sha1.hex()}: {size_bytes} bytes cannot be packed in {stored_bytes}"
        )
