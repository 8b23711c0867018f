"""Images with everything that is rare: an edit elsewhere must leave it as it was, byte for byte."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from offline.wim.images import ADMINS, INSTALLER, TIMES, Practice, rich, sha1, write
from offline.wim.judges import accept, link_groups, listing, run
from offline.wim.rawmetadata import RawEntry, raw_entries
from offline.wim.test_write import comparable, from_ntfs
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.tree import EMPTY_SHA1, Entry, Inode, Reparse, Stream, Tree
from wimsmith.offline.wim.workers._libwim import LibwimCodec
from wimsmith.offline.wim.writing.write import write_wim

SYMLINK, APP_LINK, FOREIGN_TAG, OVERLAY = 0xA000_000C, 0x8000_001B, 0x0000_0042, 0x8000_0017
SPARSE, COMPRESSED, TEMPORARY, ENCRYPTED = 0x200, 0x800, 0x100, 0x4000
LONE = "lone \ud800 surrogate"
LONGEST = "n" * 251 + ".txt"


@pytest.fixture(scope="module")
def codec() -> LibwimCodec:
    return LibwimCodec()


def item(tag: int, data: bytes) -> bytes:
    return struct.pack("<II", tag, len(data)) + data + bytes(-len(data) % 8)


def attribute(name: bytes, value: bytes) -> bytes:
    """An extended attribute as Windows stores it behind an entry."""
    return struct.pack("<HBB", len(value), len(name), 0x80) + name + b"\0" + value


EXTENDED = item(2, attribute(b"$KERNEL.PURGE.ESBCACHE", bytes(range(60)))) + item(
    2, attribute(b"ODD", b"1") + attribute(b"SECOND", b"22")
)
TAGGED = {
    "Windows/System32/config/SOFTWARE": item(1, bytes(range(64))) + EXTENDED,
    "Windows/System32": EXTENDED,
    "Windows/empty.log": item(0x77777777, b"unknown to everybody"),
    "Documents and Settings": item(1, bytes(range(64, 128))),
}


def unusual() -> Practice:
    """What `rich` lacks."""
    practice = rich()
    tree = practice.tree
    for path, tagged in TAGGED.items():
        found(tree, path).inode.tagged = tagged
    reparse(practice, "links/symlink", SYMLINK, b"\x10\0\x10\0\0\0\x10\0\0\0\0\0" + b"x\0" * 16)
    reparse(practice, "links/app", APP_LINK, b"\x03\0\0\0" + "App\0".encode("utf-16-le"))
    reparse(practice, "links/foreign", FOREIGN_TAG, bytes(range(16)) + b"after a GUID")
    practice.put("links/overlay", b"content beside reparse data")
    tree.set_reparse("links/overlay", Reparse(OVERLAY, practice.add(b"\x01\0\0\0" * 4)))
    tree.put_stream("links/overlay", "aside", practice.add(b"and a stream"))
    for number in range(63):
        tree.link(f"many/{number}", "many/first") if number else practice.put("many/first", b"m")
    for name in ("one", "two", "three"):
        practice.put(f"same/{name}", b"identical content")
        tree.put_stream(f"same/{name}", "s", practice.add(b"identical content"))
    for name, flags in (("sparse", SPARSE), ("packed", COMPRESSED), ("temp", TEMPORARY)):
        practice.put(f"flags/{name}", name.encode() * 900, attributes=flags | 0x27)
    for name in ("s1", "s2"):
        tree.put_stream("Users/Default", name, practice.add(b"of a folder " + name.encode()))
    tree.put_stream("Windows/empty.log", "nothing", EMPTY_SHA1)
    tree.put_stream("many/first", "nothing", EMPTY_SHA1)
    practice.put(LONGEST, b"longest", short_name="NNNNNN~1.TXT")
    practice.put("/".join(f"deep {number}" for number in range(100)), b"deep")
    for size in (32_767, 32_768, 32_769, 65_536, 65_537, 4 * 32_768, 4 * 32_768 + 1):
        practice.put(f"sizes/text {size}", (b"%d text " % size * size)[:size])
        practice.put(f"sizes/noise {size}", noise(size))
    return practice


def reparse(practice: Practice, path: str, tag: int, data: bytes) -> None:
    practice.put(path, b"")
    practice.tree.set_reparse(path, Reparse(tag, practice.add(data)))


def noise(size: int) -> bytes:
    return b"".join(sha1(b"%d" % number) for number in range(size // 20 + 1))[:size]


def found(tree: Tree, path: str) -> Entry:
    entry = tree.find(path)
    assert entry is not None, path
    return entry


def edit(base_path: Path, target: Path, codec: LibwimCodec, **options: object) -> Path:
    """One new file, one removed folder, one file with other content."""
    with open_wim(base_path, codec) as base:
        tree = base.tree(1)
        tree.put_file("brand new.txt", sha1(b"brand new"), times=TIMES)
        if tree.find("Windows/System32/incompressible.bin"):
            tree.remove("Windows/System32/incompressible.bin")
        if tree.find("many/first"):
            tree.replace_content("MANY/7", sha1(b"other"))
        new = {sha1(data): data for data in (b"brand new", b"other")}
        write_wim(target, base=base, trees={1: tree}, new_content=new, **options)  # type: ignore[arg-type]
    return target


def plain(path: Path, tmp_path: Path) -> Path:
    """The same images, unpacked by wimlib."""
    target = tmp_path / f"plain-{path.name}"
    run("wimlib-imagex", "export", path, "all", target, "--compress=none")
    return target


def without_edits(entries: dict[str, RawEntry]) -> dict[str, RawEntry]:
    """Without what `edit` changes."""
    return {
        path: replace(entry, hashes=()) if path.startswith("/many/") else entry
        for path, entry in entries.items()
        if path not in {"/brand new.txt", "/Windows/System32/incompressible.bin"}
    }


@pytest.mark.parametrize("compression", list(Compression))
def test_an_edit_leaves_everything_rare_as_it_was(
    tmp_path: Path, codec: LibwimCodec, compression: Compression
) -> None:
    base, target = tmp_path / "base.wim", tmp_path / "target.wim"
    write(base, unusual(), codec=codec, compression=compression)
    accept(base)
    edit(base, target, codec)
    accept(target)
    before, after = (raw_entries(plain(path, tmp_path)) for path in (base, target))
    assert without_edits(after) == without_edits(before)
    assert {path: before[f"/{path}"].tagged for path in TAGGED} == TAGGED
    changed = {after[path].hashes for path in after if path.startswith("/many/")}
    assert changed == {(sha1(b"other"),)}
    assert len(next(group for group in link_groups(target) if "many/1" in group)) == 63
    assert entries_that_differ(base, target) <= {f"many/{n}" for n in ("first", *range(63))}


def entries_that_differ(base: Path, target: Path) -> set[str]:
    """Paths of both files that wimlib lists differently."""
    old, new = comparable(listing(base)), comparable(listing(target))
    return {path for path in old if path in new and old[path] != new[path]}


def test_what_wimlib_captured_from_ntfs_keeps_everything_rare(
    tmp_path: Path, codec: LibwimCodec
) -> None:
    base = from_ntfs(tmp_path, codec, Compression.XPRESS, unusual())
    target = edit(base, tmp_path / "target.wim", codec)
    accept(target)
    before, after = (raw_entries(plain(path, tmp_path)) for path in (base, target))
    assert before["/Windows/System32/config/SOFTWARE"].tagged
    assert before["/flags/temp"].attributes & TEMPORARY
    assert before["/links/foreign"].reparse[:4] == struct.pack("<I", FOREIGN_TAG)
    assert without_edits(after) == without_edits(before)
    assert link_groups(base) == link_groups(target)


def test_names_that_are_no_text_and_long_ones_survive(tmp_path: Path, codec: LibwimCodec) -> None:
    practice = unusual()
    practice.put(LONE, b"lone")
    practice.tree.put_stream(LONE, "also \udfff", practice.add(b"stream"))
    base, target = tmp_path / "base.wim", tmp_path / "target.wim"
    write(base, practice)
    edit(base, target, codec)
    run("wimlib-imagex", "verify", target)
    before, after = raw_entries(base), raw_entries(target)
    assert f"/{LONE}" in after
    assert without_edits(after) == without_edits(before)
    with open_wim(target) as wim:
        assert found(wim.tree(1), LONE).path == LONE


def inode(**values: object) -> Inode:
    filled = {"attributes": 0x20, "security": ADMINS, "created": 1, "accessed": 2, "written": 3}
    return Inode(**(filled | values))  # type: ignore[arg-type]


def named(tree: Tree, name: str, one: Inode) -> Entry:
    entry = Entry(name, "", one, tree.root, {} if one.is_directory else None)
    one.entries.append(entry)
    assert tree.root.children is not None
    tree.root.children[name.upper()] = entry
    return entry


@pytest.mark.parametrize("has_blob", [True, False])
def test_empty_content_may_be_named_by_its_hash(
    tmp_path: Path, codec: LibwimCodec, has_blob: bool
) -> None:
    """Some tools write the SHA-1 of nothing where others write zeros, with a resource or none."""
    base, target, copy = (tmp_path / name for name in ("base.wim", "target.wim", "copy.wim"))
    practice, mark = rich(), sha1(b"stands for nothing")
    practice.content[mark] = b"stands for nothing"
    named(practice.tree, "empty", inode(sha1=mark))
    streams = (Stream("s", mark),)
    named(practice.tree, "folder", inode(attributes=0x10, named_streams=streams))
    write(base, practice)
    base.write_bytes(rehashed(base.read_bytes().replace(mark, EMPTY_SHA1), has_blob=has_blob))
    assert raw_entries(base)["/empty"].hashes == (EMPTY_SHA1,)
    with open_wim(base) as wim:
        assert (EMPTY_SHA1 in wim.blobs) is has_blob
        write_wim(copy, base=wim)
        assert wim.read_blob(EMPTY_SHA1) == b""
    assert raw_entries(copy) == raw_entries(base)
    with open_wim(copy) as wim:
        assert (EMPTY_SHA1 in wim.blobs) is has_blob, "its metadata is copied, and names it"
    edit(base, target, codec)
    accept(target)
    assert raw_entries(target)["/empty"].hashes == ()
    with open_wim(target) as wim:
        assert EMPTY_SHA1 not in wim.blobs


def test_names_of_one_file_that_disagree_lose_nothing(tmp_path: Path, codec: LibwimCodec) -> None:
    """Tagged items may stand behind one of the names only."""
    practice = Practice()
    content = practice.add(b"content")
    for name, one in {
        "a": inode(sha1=content),
        "b": inode(sha1=content, tagged=EXTENDED),
        "c": inode(sha1=content, security=INSTALLER),
        "d": inode(sha1=content, attributes=0x22),
        "e": inode(sha1=content, written=99),
    }.items():
        named(practice.tree, name, one)
    base, target = tmp_path / "base.wim", tmp_path / "target.wim"
    write(base, practice)
    data = base.read_bytes()
    for name in "abcde":  # one link group, which this package would not write
        at = data.index(struct.pack("<HH", 0, 2) + name.encode("utf-16-le") + b"\0\0")
        data = data[: at - 10] + struct.pack("<Q", 7) + data[at - 2 :]
    base.write_bytes(rehashed(data))
    edit(base, target, codec)
    accept(target)
    assert entries_that_differ(base, target) == set()
    assert any(one.tagged == EXTENDED for one in raw_entries(target).values())


def rehashed(data: bytes, *, has_blob: bool = True) -> bytes:
    """A file whose blob table has the SHA-1 that its only, changed metadata now has.

    An entry for the empty content gets its size, or another SHA-1 and so no user.
    """
    size, (offset,) = int.from_bytes(data[48:55], "little"), struct.unpack_from("<Q", data, 56)
    image = bytearray(data)
    for at in range(offset, offset + size, 50):
        start, length = struct.unpack_from("<QQ", data, at + 8)
        if data[at + 7] & 2:
            image[at + 30 : at + 50] = sha1(data[start : start + length])
        if data[at + 30 : at + 50] == EMPTY_SHA1:
            place = struct.pack("<QQQ", 0, start, 0)
            image[at : at + 24] = place if has_blob else data[at : at + 24]
            image[at + 30 : at + 50] = EMPTY_SHA1 if has_blob else sha1(b"stands for nothing")
    image[124:148] = bytes(24)  # no integrity table, which would be wrong now
    return bytes(image)
