"""Files built unusually: their XML, chunks and tables; an edit is accepted by all judges."""

import hashlib
import struct
from pathlib import Path

import pytest

from offline.wim.images import TIMES, Practice, rich, sha1, write
from offline.wim.judges import accept, run, xml
from offline.wim.test_unusual import edit, entries_that_differ, noise
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.document import ImageEdit
from wimsmith.offline.wim.workers._libwim import LibwimCodec
from wimsmith.offline.wim.writing.write import write_wim

XML_AT, INTEGRITY_AT = 72, 124
HEADER_BYTES = 208


@pytest.fixture(scope="module")
def codec() -> LibwimCodec:
    return LibwimCodec()


def with_xml(path: Path, text: str, *, mark: bytes = b"\xff\xfe") -> Path:
    """The file with this XML document and without its integrity table."""
    data, document = bytearray(path.read_bytes()), mark + text.encode("utf-16-le")
    size = len(document)
    data[XML_AT : XML_AT + 24] = struct.pack(
        "<7sBQQ", size.to_bytes(7, "little"), 2, len(data), size
    )
    data[INTEGRITY_AT : INTEGRITY_AT + 24] = bytes(24)
    path.write_bytes(data + document)
    return path


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two images, of which the second has one more file."""
    path, first, second = tmp_path / "two.wim", rich(), rich()
    second.put("only in two", b"two")
    content = first.content | second.content
    write_wim(path, trees={1: first.tree, 2: second.tree}, new_content=content, boot_index=2)
    return path


UNUSUAL_XML = {
    "nothing": "<WIM><IMAGE INDEX='1'/><IMAGE INDEX='2'></IMAGE></WIM>",
    "no numbers": "<WIM><IMAGE><NAME>A</NAME></IMAGE><IMAGE><NAME>B</NAME></IMAGE></WIM>",
    "other order": "<WIM><IMAGE INDEX='2'><NAME>B</NAME></IMAGE>"
    "<IMAGE INDEX='1'><NAME>A</NAME></IMAGE><TOTALBYTES>1</TOTALBYTES></WIM>",
    "foreign": "<?xml version='1.0' encoding='UTF-16'?><!-- made by x -->"
    "<WIM xmlns:x='urn:x' x:y='1'><x:MORE a='b'>t&amp;u</x:MORE>"
    "<IMAGE INDEX='1' x:z='2' KEPT='3'><NAME>A</NAME><!-- note --><UNKNOWN><DEEP/></UNKNOWN>"
    "<x:OTHER/></IMAGE><IMAGE INDEX='2'><NAME/></IMAGE></WIM>",
    "default namespace": "<WIM xmlns='urn:wim'><IMAGE INDEX='1'/><IMAGE INDEX='2'/></WIM>",
    "repeated": "<WIM><IMAGE INDEX='1'><NAME>A</NAME><NAME>B</NAME><DIRCOUNT>x</DIRCOUNT>"
    "<CREATIONTIME/><WINDOWS><LANGUAGES/><VERSION/></WINDOWS></IMAGE><IMAGE INDEX='2'/></WIM>",
    "spaces": "\n <WIM>\n  <IMAGE INDEX = '1' >\n</IMAGE>\r\n<IMAGE INDEX='2'/> text </WIM>\n\n",
}


@pytest.mark.parametrize("kind", UNUSUAL_XML)
def test_unusual_documents_are_read_edited_and_accepted(
    two: Path, tmp_path: Path, kind: str
) -> None:
    base, target = with_xml(two, UNUSUAL_XML[kind]), tmp_path / "target.wim"
    with open_wim(base) as wim:
        names = [image.name for image in wim.images]
        assert wim.tree(2).find("only in two") is not None
        tree = wim.tree(1)
        tree.put_file("brand new.txt", sha1(b"brand new"), times=TIMES)
        write_wim(
            target,
            base=wim,
            trees={1: tree},
            new_content={sha1(b"brand new"): b"brand new"},
            images={1: ImageEdit(flags="Professional", values={"WINDOWS/VERSION/SPBUILD": "5"})},
        )
    accept(target)
    with open_wim(target) as wim:
        assert [image.name for image in wim.images] == names
        assert wim.header.boot_index == 2
        assert wim.images[0].flags == "Professional"
        assert wim.images[0].windows is not None
        assert wim.images[0].windows.service_pack_build == 5
        assert wim.tree(2).find("only in two") is not None
    for kept in ("<UNKNOWN><DEEP", 'KEPT="3"', "<!-- note -->", "t&amp;u", ':z="2"', "<x:OTHER"):
        assert (kept in xml(target)) == (kind == "foreign"), kept


@pytest.mark.parametrize("mark", [b"", b"\xff\xfe"])
def test_the_byte_order_mark_may_be_absent(two: Path, tmp_path: Path, mark: bytes) -> None:
    text = "<WIM><IMAGE INDEX='1'><NAME>A</NAME></IMAGE><IMAGE INDEX='2'/></WIM>"
    with open_wim(with_xml(two, text, mark=mark)) as wim:
        assert wim.images[0].name == "A"
        write_wim(tmp_path / "target.wim", base=wim)
    accept(tmp_path / "target.wim")


@pytest.mark.parametrize(
    ("compression", "chunk"),
    [
        ("none", ""),
        *(("xpress", size) for size in ("4K", "8K", "16K", "32K", "64K")),
        ("lzx", "32K"),
        *(("lzms", size) for size in ("32K", "128K", "1M")),
    ],
)
def test_files_of_every_chunk_size_are_edited(
    tmp_path: Path, codec: LibwimCodec, compression: str, chunk: str
) -> None:
    folder, base, target = (tmp_path / name for name in ("folder", "base.wim", "target.wim"))
    folder.mkdir()
    unit = {"": 32768}.get(chunk) or int(chunk[:-1]) * (1 << 20 if chunk[-1] == "M" else 1024)
    for size in (0, 1, unit - 1, unit, unit + 1, 2 * unit, 3 * unit + 1):
        (folder / f"text {size}").write_bytes((b"%d text " % size * size)[:size])
        (folder / f"noise {size}").write_bytes(noise(min(size, 300_000)))
    options = [f"--chunk-size={chunk}"] if chunk else []
    run("wimlib-imagex", "capture", folder, base, "A", f"--compress={compression}", *options)
    large = (b"a new file that is a little larger than a chunk " * unit)[: 2 * unit + 1]
    with open_wim(base, codec) as wim:
        tree = wim.tree(1)
        tree.put_file("new", sha1(large), times=TIMES)
        tree.replace_content(f"text {unit}", sha1(large[:unit]))
        new = {sha1(data): data for data in (large, large[:unit])}
        write_wim(target, base=wim, trees={1: tree}, new_content=new)
        assert not wim.header.integrity.stored_bytes
    accept(target)
    assert entries_that_differ(base, target) == {f"text {unit}"}
    with open_wim(target, codec) as wim:
        assert (wim.compression, wim.chunk_size) == (Compression(compression), unit if chunk else 0)
        for path, data in (("new", large), (f"text {unit}", large[:unit])):
            entry = wim.tree(1).find(path)
            assert entry is not None
            assert wim.read_blob(entry.inode.sha1) == data


def test_a_boot_image_stays_bootable_through_edits(two: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.wim"
    with open_wim(two) as wim:
        tree = wim.tree(2)
        tree.put_file("x", sha1(b"x"), times=TIMES)
        write_wim(target, base=wim, trees={2: tree}, new_content={sha1(b"x"): b"x"})
    accept(target)
    assert "Boot Index:     2" in run("wimlib-imagex", "info", target)
    with open_wim(target) as wim:
        assert wim.header.boot_metadata == wim.table.metadata[1].location


def test_content_that_is_listed_twice_or_free_is_edited(
    two: Path, tmp_path: Path, codec: LibwimCodec
) -> None:
    """Other tools leave freed and repeated entries in the table."""
    data = bytearray(two.read_bytes())
    size, (offset,) = int.from_bytes(data[48:55], "little"), struct.unpack_from("<Q", data, 56)
    table = bytes(data[offset : offset + size])
    entries = [table[at : at + 50] for at in range(0, size, 50)]
    first = next(entry for entry in entries if not entry[7] & 2)
    free = bytearray(first)
    free[7] |= 1
    more = table + first + bytes(free)
    data[48:72] = struct.pack("<7sBQQ", len(more).to_bytes(7, "little"), 2, len(data), len(more))
    data[INTEGRITY_AT : INTEGRITY_AT + 24] = bytes(24)
    base = tmp_path / "base.wim"
    base.write_bytes(data + more)
    edit(base, tmp_path / "target.wim", codec)
    accept(tmp_path / "target.wim")


@pytest.mark.slow
@pytest.mark.parametrize("compression", [Compression.NONE, Compression.XPRESS])
def test_a_resource_above_4_gib(
    tmp_path: Path, codec: LibwimCodec, compression: Compression
) -> None:
    """Its chunk table has wide entries."""
    size, large, target = (1 << 32) + 70_000, tmp_path / "large", tmp_path / "x.wim"
    with large.open("wb") as file:
        file.write(b"begin")
        file.seek(size - 3)
        file.write(b"end")
    digest = hashlib.sha1()
    with large.open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    practice = Practice()
    practice.tree.put_file("large", digest.digest(), times=TIMES)
    practice.content[digest.digest()] = large
    write(target, practice, codec=codec, compression=compression)
    large.unlink()
    accept(target)
    with open_wim(target, codec) as wim:
        assert wim.size_of(digest.digest()) == size
        edited = tmp_path / "edited.wim"
        tree = wim.tree(1)
        tree.put_file("small", sha1(b"small"), times=TIMES)
        write_wim(edited, base=wim, trees={1: tree}, new_content={sha1(b"small"): b"small"})
    accept(edited)
