"""Real files are read or refused for the right reason; a generated one of each kind always is."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from offline.wim.handmade import METADATA, Handmade, sha1
from offline.wim.judges import run
from wimsmith.errors import WimsmithError
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.lint import NameFindings
from wimsmith.offline.wim.format.metadata import serialize_metadata
from wimsmith.offline.wim.format.tree import Tree
from wimsmith.offline.wim.workers._libwim import LibwimCodec

# Compression, images, contents, names that cannot be used; or an error and a part of its text.
Outcome = tuple[str, int, int, int] | tuple[str, str]

REAL: dict[str, Outcome] = {
    "LZX.wim": ("lzx", 1, 6, 0),
    "XPRESS.wim": ("xpress", 1, 6, 0),
    "LZMS.wim": ("lzms solid", 1, 6, 0),
    "MultiImage.wim": ("lzx", 3, 2, 0),
    "Split.swm": ("lzx split-set", 1, 2, 0),
    "Split2.swm": ("lzx split-set", 1, 2, 0),
    "VerifySuccess.wim": ("lzx", 1, 6, 0),
    "VerifyFail.wim": ("damaged-wim", "invalid lzx data"),
    "corrupted_file_1.wim": ("damaged-wim", "holds other content"),
    "cyclic.wim": ("damaged-wim", "contain one another"),
    "dotdot.wim": ("lzx", 1, 1, 16),
}


@pytest.fixture(scope="module")
def codec() -> LibwimCodec:
    return LibwimCodec()


def outcome(path: Path, codec: LibwimCodec) -> Outcome:
    """Read all that a file has: images, trees, contents, the integrity table."""
    names = NameFindings()
    try:
        with open_wim(path, codec) as wim:
            for image in wim.images:
                tree = wim.tree(image.number)
                names.look_at(tree, image.number)
                assert set(tree.references()) <= set(wim.blobs)
            for digest, blocks in wim.open_blobs(wim.blobs):
                assert sum(map(len, blocks)) == wim.size_of(digest)
            wim.verify_integrity()
            form = " ".join((wim.compression, *wim.kinds))
            return form, len(wim.images), len(wim.blobs), names.count
    except WimsmithError as error:
        return error.code, str(error)


def assert_outcome(found: Outcome, expected: Outcome) -> None:
    if len(expected) == 2:
        assert found[0] == expected[0]
        assert expected[1] in str(found[1])
    else:
        assert found == expected


@pytest.mark.parametrize("name", REAL)
def test_each_real_file_is_read_or_refused(real: Path, codec: LibwimCodec, name: str) -> None:
    assert_outcome(outcome(real / "wim" / name, codec), REAL[name])


def test_no_real_file_is_left_out(real: Path) -> None:
    assert {path.name for path in (real / "wim").iterdir()} == set(REAL)


def captured(folder: Path, target: Path, *options: str) -> Path:
    run("wimlib-imagex", "capture", folder, target, "Name", *options)
    return target


def several_images(folder: Path, target: Path) -> Path:
    captured(folder, target, "--compress=lzx")
    for name in "BC":
        run("wimlib-imagex", "append", folder, target, name)
    return target


def part_of_a_set(folder: Path, target: Path) -> Path:
    whole = captured(folder, target.with_name("whole.wim"), "--compress=lzx")
    run("wimlib-imagex", "split", whole, target.with_name("x.swm"), "0.05")
    return target.with_name("x2.swm")


def failing_integrity(folder: Path, target: Path) -> Path:
    captured(folder, target, "--compress=none", "--check")
    data = bytearray(target.read_bytes())
    (table_at,) = struct.unpack_from("<Q", data, 56)
    data[table_at + 50 + 26] ^= 1  # a number of references, which nothing else proves
    target.write_bytes(data)
    return target


def other_content(_folder: Path, target: Path) -> Path:
    made = Handmade()
    made.raw(b"corrupted", digest=sha1(b"as it was"))
    made.image(b"as it was")
    return made.write(target)


def cyclic(_folder: Path, target: Path) -> Path:
    tree = Tree.new()
    tree.make_directory("first")
    data = bytearray(serialize_metadata(tree))
    (root_at,) = struct.unpack_from("<I", data)
    (list_at,) = struct.unpack_from("<Q", data, root_at + 16)
    struct.pack_into("<Q", data, list_at + 16, list_at)
    made = Handmade()
    made.raw(bytes(data), flags=METADATA)
    return made.write(target)


def dotdot(_folder: Path, target: Path) -> Path:
    tree = Tree.new()
    tree.put_file("xx", sha1(b"x"))
    data = serialize_metadata(tree).replace("xx".encode("utf-16-le"), "..".encode("utf-16-le"))
    made = Handmade()
    made.raw(b"x")
    made.raw(data, flags=METADATA)
    return made.write(target)


GENERATED: list[tuple[Callable[..., Path], tuple[str, ...], Outcome]] = [
    (captured, ("--compress=lzx",), ("lzx", 1, 2, 0)),
    (captured, ("--compress=xpress",), ("xpress", 1, 2, 0)),
    (captured, ("--solid",), ("lzms solid", 1, 2, 0)),
    (captured, ("--compress=lzms", "--check"), ("lzms", 1, 2, 0)),
    (several_images, (), ("lzx", 3, 2, 0)),
    (part_of_a_set, (), ("lzx split-set", 1, 2, 0)),
    (failing_integrity, (), ("damaged-wim", "integrity check failed")),
    (other_content, (), ("damaged-wim", "holds other content")),
    (cyclic, (), ("damaged-wim", "contain one another")),
    (dotdot, (), ("none", 1, 1, 1)),
]


@pytest.mark.parametrize(("make", "options", "expected"), GENERATED)
def test_each_generated_file_is_read_or_refused(
    tmp_path: Path,
    codec: LibwimCodec,
    make: Callable[..., Path],
    options: tuple[str, ...],
    expected: Outcome,
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(2):
        noise = b"".join(sha1(b"%d %d" % (number, one)) for one in range(4000))
        (folder / str(number)).write_bytes(noise)
    assert_outcome(outcome(make(folder, tmp_path / "x.wim", *options), codec), expected)
