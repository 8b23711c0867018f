"""Metadata is compared with the tree that it was made of: no byte of it may mean something else."""

from collections.abc import Callable

import pytest

from offline.wim.images import ADMINS, COMPONENT, INSTALLER, JUNCTION_TAG, rich, sha1
from wimsmith.errors import DamagedWim, VerificationFailed
from wimsmith.offline.wim.format.metadata import parse_metadata, serialize_metadata
from wimsmith.offline.wim.format.tree import EMPTY_SHA1, Entry, Reparse, Stream, Tree
from wimsmith.offline.wim.writing.metadataproof import prove_metadata

TOOL = "Windows/System32/tool.dll"
NOTES = "Windows/System32/notes with spaces.txt"
NOISE = "Windows/System32/incompressible.bin"


def at(tree: Tree, path: str) -> Entry:
    entry = tree.find(path)
    assert entry is not None
    return entry


def test_metadata_says_what_its_tree_says() -> None:
    for tree in (rich().tree, Tree.new(), Tree.new(security=ADMINS)):
        data = serialize_metadata(tree)
        prove_metadata(data, tree)
        prove_metadata(data, parse_metadata(data))


def test_empty_content_may_have_its_hash_in_the_tree() -> None:
    tree = rich().tree
    at(tree, "Windows/empty.log").inode.sha1 = EMPTY_SHA1
    at(tree, TOOL).inode.named_streams += (Stream("nothing", EMPTY_SHA1),)
    prove_metadata(serialize_metadata(tree), tree)


def _rename(tree: Tree) -> None:
    tree.move(NOISE, "Windows/System32/incompressible.bit")


def _set(path: str, name: str, value: object) -> Callable[[Tree], None]:
    return lambda tree: setattr(at(tree, path).inode, name, value)


def _swap_links(tree: Tree) -> None:
    """Two files with two names each, of equal content and facts, exchange a name."""
    one, other = at(tree, "Windows/one-b"), at(tree, "Windows/two-b")
    one.inode, other.inode = other.inode, one.inode
    for entry, old in ((one, other), (other, one)):
        names = entry.inode.entries
        names[names.index(old)] = entry


@pytest.mark.parametrize(
    "change",
    [
        _rename,
        lambda tree: setattr(at(tree, NOTES), "short_name", "NOTESW~2.TXT"),
        lambda tree: setattr(at(tree, NOISE), "short_name", "INCOMP~1.BIN"),
        _set(NOISE, "attributes", 0x21),
        _set(NOISE, "created", 5),
        _set(NOISE, "accessed", 5),
        _set(NOISE, "written", 5),
        _set(NOISE, "security", INSTALLER),
        _set(NOISE, "security", None),
        _set(NOISE, "sha1", sha1(b"other")),
        _set(NOISE, "tagged", b"\1\0\0\0\0\0\0\0"),
        _set(NOISE, "unknown", (0, 0, 7)),
        _set("Windows", "written", 5),
        lambda tree: tree.put_stream(NOISE, "stream", sha1(b"stream")) and None,
        lambda tree: tree.put_stream(TOOL, "Zone.Identifier", sha1(b"stream")) and None,
        lambda tree: tree.set_reparse(NOISE, Reparse(JUNCTION_TAG, sha1(b"target"))) and None,
        lambda tree: tree.link("Windows/third.dll", TOOL) and None,
        lambda tree: tree.put_file("Windows/zzz", sha1(b"text")) and None,
        lambda tree: tree.make_directory("Windows/zzz") and None,
        lambda tree: tree.remove("Windows/empty.log"),
        lambda tree: tree.remove(COMPONENT),
        _swap_links,
    ],
)
def test_a_tree_that_says_something_else_is_told_apart(change: Callable[[Tree], None]) -> None:
    tree = rich().tree
    for name in ("one", "two"):
        tree.put_file(f"Windows/{name}-a", sha1(b"text"))
        tree.link(f"Windows/{name}-b", f"Windows/{name}-a")
    data = serialize_metadata(tree)
    prove_metadata(data, tree)
    change(tree)
    with pytest.raises(VerificationFailed):
        prove_metadata(data, tree)


def test_every_byte_that_means_something_counts() -> None:
    """A byte is changed; what the proof lets pass is read by everybody as before."""
    tree = rich().tree
    data = serialize_metadata(tree)
    passed = 0
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x41
        try:
            prove_metadata(bytes(changed), tree)
        except (VerificationFailed, DamagedWim):
            continue
        passed += 1
        assert serialize_metadata(parse_metadata(bytes(changed))) == data, place
    assert passed < len(data) // 10
