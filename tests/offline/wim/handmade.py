"""WIM files put together byte by byte, as the format says and not as our writer does it."""

import hashlib
import struct
from dataclasses import dataclass, field
from pathlib import Path

from wimsmith.offline.wim.format.codec import Codec, Compression
from wimsmith.offline.wim.format.metadata import serialize_metadata
from wimsmith.offline.wim.format.tree import Tree

HEADER_BYTES = 208
PACKED, METADATA, SOLID = 4, 2, 16
NUMBERS = {Compression.NONE: 0, Compression.XPRESS: 1, Compression.LZX: 2, Compression.LZMS: 3}
FILE_FLAGS = {
    Compression.NONE: 0,
    Compression.XPRESS: 0x20002,
    Compression.LZX: 0x40002,
    Compression.LZMS: 0x80002,
}


def sha1(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()


def place(stored: int, flags: int, offset: int, size: int) -> bytes:
    return struct.pack("<7sBQQ", stored.to_bytes(7, "little"), flags, offset, size)


def entry(
    location: bytes, digest: bytes = bytes(20), *, part: int = 1, references: int = 1
) -> bytes:
    return location + struct.pack("<HI", part, references) + digest


@dataclass
class Handmade:
    """A file that grows: resources in `body`, entries of the blob table in `table`."""

    compression: Compression = Compression.NONE
    chunk_size: int = 0
    codec: Codec | None = None
    version: int = 0x10D00
    flags: int = 0
    guid: bytes = bytes(range(16))
    part: int = 1
    parts: int = 1
    boot_index: int = 0
    boot: bytes = bytes(24)
    integrity: bytes = bytes(24)
    image_count: int | None = None
    body: bytearray = field(default_factory=lambda: bytearray(HEADER_BYTES))
    table: list[bytes] = field(default_factory=list)

    def put(self, data: bytes) -> int:
        """Append bytes; where they are."""
        self.body += data
        return len(self.body) - len(data)

    def raw(self, data: bytes, *, flags: int = 0, digest: bytes | None = None) -> bytes:
        """Content as it is; its SHA-1."""
        digest = digest or sha1(data)
        location = place(len(data), flags, self.put(data), len(data))
        self.table.append(entry(location, digest, part=self.part))
        return digest

    def image(self, *contents: bytes) -> None:
        """An image whose files are called 0, 1, ... and have these contents."""
        tree = Tree.new()
        for number, data in enumerate(contents):
            tree.put_file(str(number), sha1(data))
        self.raw(serialize_metadata(tree), flags=METADATA)

    def solid_resource(
        self,
        data: bytes,
        chunk_size: int,
        compression: Compression = Compression.NONE,
        *,
        size: int | None = None,
        sizes: list[int] | None = None,
        number: int | None = None,
    ) -> bytes:
        """A solid resource, and its entry in the table; `size` and `sizes` may lie."""
        chunks = [data[at : at + chunk_size] for at in range(0, len(data), chunk_size)]
        if compression is not Compression.NONE:
            assert self.codec is not None
            packed = self.codec.compress(compression, chunk_size, 20, chunks)
            chunks = [new or old for new, old in zip(packed, chunks, strict=True)]
        head = struct.pack(
            "<QII",
            len(data) if size is None else size,
            chunk_size,
            NUMBERS[compression] if number is None else number,
        )
        lengths = [len(chunk) for chunk in chunks] if sizes is None else sizes
        whole = head + struct.pack(f"<{len(lengths)}I", *lengths) + b"".join(chunks)
        location = place(len(whole), SOLID, self.put(whole), 1 << 32)
        self.table.append(entry(location, part=self.part))
        return location

    def solid_blob(self, data: bytes, offset: int, *, size: int | None = None) -> bytes:
        """The entry of content inside solid resources; its SHA-1."""
        digest = sha1(data)
        location = place(len(data) if size is None else size, SOLID, offset, 0)
        self.table.append(entry(location, digest, part=self.part))
        return digest

    def solid(self, contents: list[bytes], chunk_size: int, compression: Compression) -> None:
        """Contents one behind the other in one solid resource."""
        self.solid_resource(b"".join(contents), chunk_size, compression)
        offset = 0
        for data in contents:
            self.solid_blob(data, offset)
            offset += len(data)

    def write(self, path: Path, *, xml: str | None = "", table: bytes | None = None) -> Path:
        """Write the file. `xml` None leaves out the document; "" describes each image."""
        raw = b"".join(self.table) if table is None else table
        images = sum(1 for one in self.table if one[7] & METADATA)
        where = place(len(raw), METADATA, self.put(raw), len(raw))
        document = b""
        if xml is not None:
            text = xml or "<WIM>" + "".join(
                f"<IMAGE INDEX='{number}'/>" for number in range(1, images + 1)
            )
            text += "" if xml else "</WIM>"
            document = b"\xff\xfe" + text.encode("utf-16-le")
        xml_where = place(len(document), METADATA, self.put(document), len(document))
        count = images if self.image_count is None else self.image_count
        header = struct.pack(
            "<8sIIII16sHHI24s24s24sI24s60x",
            b"MSWIM\0\0\0",
            HEADER_BYTES,
            self.version,
            self.flags | FILE_FLAGS[self.compression],
            self.chunk_size,
            self.guid,
            self.part,
            self.parts,
            count,
            where,
            xml_where if document else bytes(24),
            self.boot,
            self.boot_index,
            self.integrity,
        )
        self.body[:HEADER_BYTES] = header
        path.write_bytes(self.body)
        return path
