"""Small images with rich metadata for the tests of the container; all content is generated."""

import hashlib
import struct
from dataclasses import dataclass, field
from pathlib import Path

from wimsmith.offline.changes import Times
from wimsmith.offline.security import compile_sddl
from wimsmith.offline.wim.format.codec import Codec, Compression
from wimsmith.offline.wim.format.document import ImageEdit
from wimsmith.offline.wim.format.tree import Attribute, Entry, Reparse, Tree
from wimsmith.offline.wim.writing.write import WriteReport, write_wim

TIMES = Times(131_000_000_000_000_000, 131_000_000_100_000_000, 131_000_000_200_000_000)
INSTALLER = compile_sddl("O:SYG:SYD:P(A;;FA;;;SY)(A;;0x1200a9;;;BU)")
ADMINS = compile_sddl("O:BAG:BAD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)")
OBJECT_ID = struct.pack("<II", 1, 64) + bytes(range(64))
COMPONENT = "Windows/WinSxS/amd64_practice_0123456789abcdef_10.0.19041.1_none_fedcba9876543210"
JUNCTION_TAG = 0xA000_0003


def sha1(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()


@dataclass
class Practice:
    """A tree with the content it names."""

    tree: Tree = field(default_factory=lambda: Tree.new(security=ADMINS, times=TIMES))
    content: dict[bytes, Path | bytes] = field(default_factory=dict)

    def add(self, data: bytes) -> bytes:
        digest = sha1(data)
        self.content[digest] = data
        return digest

    def put(
        self,
        path: str,
        data: bytes,
        *,
        security: bytes | None = None,
        attributes: int = Attribute.ARCHIVE,
        short_name: str | None = None,
    ) -> Entry:
        self.folder(path.rpartition("/")[0])
        return self.tree.put_file(
            path,
            self.add(data),
            security=security or ADMINS,
            attributes=attributes,
            times=TIMES,
            short_name=short_name,
        )

    def folder(self, path: str, *, attributes: int | None = None) -> Entry:
        names = path.split("/")
        for end in range(1, len(names)):
            self.tree.make_directory("/".join(names[:end]), security=ADMINS, times=TIMES)
        return self.tree.make_directory(path, security=ADMINS, times=TIMES, attributes=attributes)


def rich() -> Practice:
    """Everything a metadata resource can hold: links, streams, a junction, ids, short names."""
    practice = Practice()
    practice.folder("Windows/System32/config", attributes=0x12)
    practice.put(
        "Windows/System32/config/SOFTWARE", b"regf" * 9000, security=INSTALLER, attributes=0x26
    )
    practice.folder(COMPONENT)
    practice.put(f"{COMPONENT}/tool.dll", b"MZ library" * 5000, security=INSTALLER)
    practice.tree.link("Windows/System32/tool.dll", f"{COMPONENT}/tool.dll").short_name = "TOOL~1"
    practice.put("Windows/System32/notes with spaces.txt", b"text", short_name="NOTESW~1.TXT")
    practice.put("Windows/System32/gr\u00fc\u00df\u20ac\U0001f600.txt", b"text")
    practice.put("Windows/System32/incompressible.bin", _noise(150_000))
    practice.put("Windows/empty.log", b"")
    practice.tree.put_stream(
        "Windows/System32/tool.dll", "Zone.Identifier", practice.add(b"[ZoneTransfer]")
    )
    practice.tree.put_stream("Windows", "folder stream", practice.add(b"of a directory"))
    practice.tree.put_stream("Windows/empty.log", "aside", practice.add(b"aside"))
    practice.folder("Users/Default")
    _junction(practice, "Documents and Settings", "\\Users")
    _tagged(practice.tree, "Windows/System32/config/SOFTWARE")
    return practice


def write(
    target: Path,
    practice: Practice,
    *,
    codec: Codec | None = None,
    compression: Compression | None = None,
    name: str = "Practice",
) -> WriteReport:
    return write_wim(
        target,
        trees={1: practice.tree},
        new_content=practice.content,
        images={1: ImageEdit(name=name, description="Generated", created=TIMES.created)},
        codec=codec,
        compression=compression,
    )


def meaning(tree: Tree) -> dict[str, object]:
    """All that a tree says, in a form that can be compared."""
    return {_raw_path(entry): _entry_meaning(entry) for entry in tree.walk()}


def _entry_meaning(entry: Entry) -> object:
    inode = entry.inode
    return (
        entry.short_name,
        inode.attributes,
        inode.security,
        inode.times,
        inode.sha1,
        inode.named_streams,
        inode.reparse,
        inode.tagged,
        inode.unknown,
        sorted(_raw_path(link) for link in inode.entries),
    )


def _raw_path(entry: Entry) -> str:
    names = []
    while entry.parent is not None:
        names.append(entry.name)
        entry = entry.parent
    return "\x1f".join(reversed(names))


def _junction(practice: Practice, path: str, target: str) -> None:
    substitute = f"\\??\\C:{target}".encode("utf-16-le")
    shown = f"C:{target}".encode("utf-16-le")
    head = struct.pack("<4H", 0, len(substitute), len(substitute) + 2, len(shown))
    data = head + substitute + b"\0\0" + shown + b"\0\0"
    practice.folder(path, attributes=0x16)
    practice.tree.set_reparse(path, Reparse(JUNCTION_TAG, practice.add(data)))


def _tagged(tree: Tree, path: str) -> None:
    entry = tree.find(path)
    assert entry is not None
    entry.inode.tagged = OBJECT_ID


def _noise(count: int) -> bytes:
    blocks = (hashlib.sha256(number.to_bytes(4, "little")).digest() for number in range(count))
    return b"".join(block for block, _ in zip(blocks, range(count // 32), strict=False))
