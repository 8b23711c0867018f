"""The metadata resource: round trips keep meaning, and nothing foreign gets past the checks."""

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.wim.images import ADMINS, INSTALLER, OBJECT_ID, meaning, rich, sha1
from wimsmith.errors import DamagedWim, LimitExceeded, NotSupported, UnsafePath, WimsmithError
from wimsmith.offline import paths
from wimsmith.offline.wim.format import metadata
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.metadata import parse_metadata, serialize_metadata
from wimsmith.offline.wim.format.tree import (
    ZERO_SHA1,
    Attribute,
    Entry,
    Inode,
    Reparse,
    Stream,
    Tree,
)
from wimsmith.offline.wim.workers._libwim import LibwimCodec

CONTENT = sha1(b"content")
OTHER = sha1(b"other")
ENTRY = struct.Struct("<QIIQQQQQQ20sI8sHHH")
DIRECTORY = Attribute.DIRECTORY


def packed(
    name: str = "",
    *,
    attributes: int = Attribute.ARCHIVE,
    security: int = 0xFFFF_FFFF,
    subdir: int = 0,
    content: bytes = ZERO_SHA1,
    union: bytes = bytes(8),
    streams: tuple[tuple[str, bytes], ...] = (),
    length: int | None = None,
) -> bytes:
    """One entry, built independently of the code under test."""
    raw = name.encode("utf-16-le", "surrogatepass")
    text = raw + b"\0\0" if raw else b""
    size = -(-(102 + len(text)) // 8) * 8
    head = ENTRY.pack(
        size if length is None else length,
        attributes, security, subdir, 0, 0, 1, 2, 3, content, 0, union, len(streams), 0, len(raw),
    )  # fmt: skip
    return (head + text).ljust(size, b"\0") + b"".join(_stream(*one) for one in streams)


def _stream(name: str, content: bytes) -> bytes:
    raw = name.encode("utf-16-le")
    text = raw + b"\0\0" if raw else b""
    size = -(-(38 + len(text)) // 8) * 8
    return (struct.pack("<QQ20sH", size, 0, content, len(raw)) + text).ljust(size, b"\0")


def image(*entries: bytes, security: bytes = struct.pack("<II", 8, 0)) -> bytes:
    """Metadata with these entries in its root."""
    root_bytes = len(packed())
    subdir = len(security) + root_bytes + 8
    root = packed(attributes=DIRECTORY, subdir=subdir)
    return security + root + bytes(8) + b"".join(entries) + bytes(8)


def only(data: bytes) -> Entry:
    (entry,) = (parse_metadata(data).root.children or {}).values()
    return entry


def test_rich_tree_survives_a_round_trip() -> None:
    tree = rich().tree
    raw = serialize_metadata(tree)
    again = parse_metadata(raw)
    assert meaning(again) == meaning(tree)
    assert serialize_metadata(again) == raw
    entry = again.find("Windows/System32/config/SOFTWARE")
    assert entry is not None
    assert (entry.inode.security, entry.inode.tagged) == (INSTALLER, OBJECT_ID)


def test_equal_descriptors_are_stored_once() -> None:
    raw = serialize_metadata(rich().tree)
    assert raw.count(INSTALLER) == raw.count(ADMINS) == 1


def test_an_image_without_entries_is_an_empty_directory() -> None:
    assert [entry.path for entry in parse_metadata(struct.pack("<II", 8, 0)).walk()] == [""]
    assert [entry.path for entry in parse_metadata(struct.pack("<IIQ", 8, 0, 0)).walk()] == [""]


names = st.text(
    st.characters(exclude_characters="/\\\0", exclude_categories=[]), min_size=1, max_size=20
).filter(lambda name: name not in {".", ".."})
hashes = st.sampled_from([ZERO_SHA1, CONTENT, OTHER])
words = st.integers(0, 2**64 - 1)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Trees with everything, names that Windows would not like included."""
    tree = Tree.new()
    folders = [tree.root]
    files: list[Inode] = []
    for name in draw(st.lists(names, max_size=12)):
        folder = draw(st.sampled_from(folders))
        assert folder.children is not None
        is_directory = draw(st.booleans())
        again = bool(files) and draw(st.booleans())
        is_directory = is_directory and not again
        inode = draw(st.sampled_from(files) if again else inodes(is_directory=is_directory))
        if not (again or is_directory or inode.reparse):
            files.append(inode)
        entry = Entry(name, draw(st.sampled_from(["", "SHORT~1"])), inode, folder)
        key = paths.fold(name)
        if key in folder.children:
            continue
        folder.children[key] = entry
        inode.entries.append(entry)
        if is_directory:
            entry.children = {}
            folders.append(entry)
    return tree


@st.composite
def inodes(draw: st.DrawFn, *, is_directory: bool) -> Inode:
    attributes = draw(st.integers(0, 2**32 - 1)) & ~(DIRECTORY | Attribute.REPARSE_POINT)
    reparse = None
    if draw(st.booleans()):
        attributes |= Attribute.REPARSE_POINT
        number = st.integers(0, 2**16 - 1)
        reparse = Reparse(draw(st.integers(0, 2**32 - 1)), CONTENT, draw(number), draw(number))
    return Inode(
        attributes | (DIRECTORY if is_directory else 0),
        draw(st.sampled_from([None, b"", b"descriptor", INSTALLER])),
        draw(words),
        draw(words),
        draw(words),
        ZERO_SHA1 if is_directory else draw(hashes),
        tuple(draw(st.lists(st.builds(Stream, names, hashes), max_size=3))),
        reparse,
        draw(st.binary(max_size=5)) * 8,
        (draw(words), draw(words), draw(st.integers(0, 2**32 - 1))),
    )


@settings(max_examples=100, deadline=None)
@given(trees())
def test_any_tree_survives_a_round_trip(tree: Tree) -> None:
    raw = serialize_metadata(tree)
    again = parse_metadata(raw)
    assert meaning(again) == meaning(tree)
    assert serialize_metadata(again) == raw


@pytest.mark.parametrize(
    ("attributes", "content", "streams", "reparse", "main"),
    [
        (0x20, CONTENT, (), None, CONTENT),
        (0x20, ZERO_SHA1, (("", CONTENT), ("n", OTHER)), None, CONTENT),
        (0x20, CONTENT, (("n", OTHER),), None, CONTENT),
        (0x20, CONTENT, (("", ZERO_SHA1),), None, CONTENT),
        (0x420, CONTENT, (), CONTENT, ZERO_SHA1),
        (0x420, CONTENT, (("", OTHER),), CONTENT, OTHER),
        (0x420, ZERO_SHA1, (("", CONTENT), ("", OTHER)), CONTENT, OTHER),
        (0x420, ZERO_SHA1, (("", ZERO_SHA1), ("", OTHER)), ZERO_SHA1, OTHER),
        (0x410, ZERO_SHA1, (("", CONTENT), ("", ZERO_SHA1)), CONTENT, ZERO_SHA1),
    ],
)
def test_each_way_to_place_unnamed_streams_is_understood(
    attributes: int,
    content: bytes,
    streams: tuple[tuple[str, bytes], ...],
    reparse: bytes | None,
    main: bytes,
) -> None:
    entry = only(image(packed("x", attributes=attributes, content=content, streams=streams)))
    assert entry.inode.sha1 == main
    assert (entry.inode.reparse.sha1 if entry.inode.reparse else None) == reparse


def test_directories_get_no_stream_entry_for_content_they_cannot_have() -> None:
    """Windows 8 Setup refuses such junctions, and DISM such directories with named streams."""
    junction = packed(
        "j", attributes=0x410, streams=(("", CONTENT), ("", ZERO_SHA1)), union=b"\3\0\0\xa0\0\0\0\0"
    )
    named = packed("d", attributes=0x10, streams=(("", ZERO_SHA1), ("n", OTHER)))
    written = serialize_metadata(parse_metadata(image(junction, named)))
    junction = packed("j", attributes=0x410, content=CONTENT, union=b"\3\0\0\xa0\0\0\0\0")
    named = packed("d", attributes=0x10, streams=(("n", OTHER),))
    subdir = FIRST + len(junction) + len(named) + 8
    named = packed("d", attributes=0x10, subdir=subdir, streams=(("n", OTHER),))
    assert written == image(junction, named) + bytes(8)


def test_a_link_group_with_different_content_is_different_files() -> None:
    group = struct.pack("<Q", 5)
    data = image(
        packed("a", content=CONTENT, union=group),
        packed("b", content=CONTENT, union=group),
        packed("c", content=OTHER, union=group),
    )
    tree = parse_metadata(data)
    a, b, c = (tree.find(name) for name in "abc")
    assert a is not None
    assert b is not None
    assert c is not None
    assert a.inode is b.inode
    assert a.inode is not c.inode
    assert meaning(parse_metadata(serialize_metadata(tree))) == meaning(tree)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a\\b", "../../x", "nul\0inside", ""])
def test_hostile_names_are_kept_and_never_become_paths(name: str) -> None:
    data = image(packed(name), packed("good"))
    tree = parse_metadata(data)
    hostile = next(entry for entry in tree.walk() if entry.parent and entry.name == name)
    assert not hostile.is_safe
    with pytest.raises(UnsafePath):
        _ = hostile.path
    assert tree.find(name) in {None, tree.root}
    assert tree.find(f"x/../{name}") is None
    good = tree.find("good")
    assert good is not None
    assert good.path == "good"
    if name:
        assert meaning(parse_metadata(serialize_metadata(tree))) == meaning(tree)
    else:
        with pytest.raises(DamagedWim, match="without a name"):
            serialize_metadata(tree)


def test_names_that_differ_by_case_are_both_kept() -> None:
    tree = parse_metadata(image(packed("File", content=CONTENT), packed("FILE", content=OTHER)))
    assert sorted(entry.name for entry in tree.walk()) == ["", "FILE", "File"]
    assert meaning(parse_metadata(serialize_metadata(tree))) == meaning(tree)
    first = tree.find("file")
    assert first is not None
    assert first.name == "File"


def _cut(data: bytes) -> bytes:
    return data[:-9]


FILE = packed("file", content=CONTENT)
FIRST = 8 + len(packed()) + 8


@pytest.mark.parametrize(
    "data",
    [
        b"",
        struct.pack("<II", 8, 1),
        struct.pack("<IIQ", 16, 1, 1 << 60),
        struct.pack("<II", 0xFFFF_FFFF, 0),
        struct.pack("<II", 8, 0xFFFF_FFFF),
        struct.pack("<IIQ", 8, 1, 0),
        struct.pack("<II", 8, 0) + packed("file") + bytes(8),
        _cut(image(FILE)),
        image(packed("file", security=0)),
        image(packed("file", security=0xFFFF_FFFE)),
        image(packed("file", length=101)),
        image(packed("file", length=2**64 - 1)),
        image(packed("file", length=104)),
        image(packed("d", attributes=DIRECTORY, subdir=2**64 - 8)),
        image(packed("d", attributes=DIRECTORY, subdir=FIRST + 4)),
        image(packed("d", attributes=DIRECTORY, subdir=FIRST)),
        image(packed("d", attributes=DIRECTORY, subdir=8)),
        image(packed("d", attributes=DIRECTORY, subdir=FIRST), FILE),
        image(FILE, packed("d", attributes=DIRECTORY, subdir=FIRST + 8)),
        image(FILE, FILE),
        image(packed("file", content=CONTENT, streams=(("", OTHER),))),
        image(packed("x", streams=(("s", CONTENT),))[:-40] + b"\xff" * 40),
        image(packed("x", streams=(("s", CONTENT),) * 2)[:-48]),
    ],
)
def test_metadata_that_contradicts_itself_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedWim):
        parse_metadata(data)


def test_two_directories_cannot_share_their_entries() -> None:
    lists_at = FIRST + 2 * len(packed("d")) + 8
    shared = image(
        packed("d", attributes=DIRECTORY, subdir=lists_at),
        packed("e", attributes=DIRECTORY, subdir=lists_at),
    )
    with pytest.raises(DamagedWim):
        parse_metadata(shared + FILE + bytes(8))
    parse_metadata(shared + bytes(8))


def _chain(depth: int) -> bytes:
    position = 8
    parts = [struct.pack("<II", 8, 0)]
    for number in range(depth):
        name = "d" if number else ""
        position += len(packed(name)) + 8
        parts += [packed(name, attributes=DIRECTORY, subdir=position), bytes(8)]
    return b"".join([*parts, bytes(8)])


def test_depth_has_a_limit_and_the_limit_costs_no_stack() -> None:
    deep = parse_metadata(_chain(metadata.MAX_DEPTH))
    assert len(serialize_metadata(deep)) == len(_chain(metadata.MAX_DEPTH))
    assert sum(1 for _ in deep.walk()) == metadata.MAX_DEPTH
    with pytest.raises(LimitExceeded):
        parse_metadata(_chain(metadata.MAX_DEPTH + 2))


def test_names_too_long_for_the_format_are_refused() -> None:
    tree = Tree.new()
    tree.put_file("x", CONTENT).short_name = "s" * 40_000
    with pytest.raises(DamagedWim, match="a name of"):
        serialize_metadata(tree)


READABLE = ("LZX.wim", "XPRESS.wim", "LZMS.wim", "MultiImage.wim", "VerifySuccess.wim")


@pytest.mark.parametrize("name", READABLE)
def test_real_metadata_keeps_its_meaning(real: Path, name: str) -> None:
    with open_wim(real / "wim" / name, LibwimCodec()) as wim:
        for info in wim.images:
            tree = wim.tree(info.number)
            again = parse_metadata(serialize_metadata(tree))
            assert meaning(again) == meaning(tree)
            directories = sum(1 for entry in tree.walk() if entry.is_directory)
            assert directories in {info.directory_count, info.directory_count + 1}


def test_real_hostile_files_cannot_do_harm(real: Path) -> None:
    with (
        open_wim(real / "wim" / "cyclic.wim", LibwimCodec()) as wim,
        pytest.raises(DamagedWim, match="contain one another"),
    ):
        wim.tree(1)
    with open_wim(real / "wim" / "dotdot.wim", LibwimCodec()) as wim:
        tree = wim.tree(1)
    _refuses_every_path(tree)


def _refuses_every_path(tree: Tree) -> None:
    hostile = [entry for entry in tree.walk() if entry.name == ".."]
    assert hostile
    for entry in hostile:
        with pytest.raises(UnsafePath):
            _ = entry.path
    assert tree.find("../../..") is None


def _mutate(data: bytes, position: int, value: int, width: int) -> bytes:
    changed = bytearray(data)
    position = position % (len(changed) - 8)
    changed[position : position + width] = value.to_bytes(8, "little")[:width]
    return bytes(changed)


INTERESTING = st.sampled_from([0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0xFFFF, 2**31, 2**32 - 1, 2**63]) | (
    st.integers(0, 2**64 - 1)
)
RICH = serialize_metadata(rich().tree)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**20), INTERESTING, st.sampled_from([1, 2, 4, 8]))))
def test_mutated_metadata_is_read_or_refused(edits: list[tuple[int, int, int]]) -> None:
    data = RICH
    for position, value, width in edits:
        data = _mutate(data, position, value, width)
    try:
        tree = parse_metadata(data)
        again = parse_metadata(serialize_metadata(tree))
    except (WimsmithError, NotSupported):
        return
    assert len(list(again.walk())) == len(list(tree.walk()))
