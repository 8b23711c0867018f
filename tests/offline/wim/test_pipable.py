"""Pipable files, which wimlib makes: a head before each resource, and a size before each chunk."""

import os
import struct
from pathlib import Path

import pytest

from offline.wim.handmade import sha1
from offline.wim.judges import run
from wimsmith.errors import DamagedWim, WimsmithError
from wimsmith.offline.wim.format.container import Kind, open_wim
from wimsmith.offline.wim.workers._libwim import LibwimCodec

HEADER_BYTES = 208
GUID_AT = 24


@pytest.fixture(scope="module")
def codec() -> LibwimCodec:
    return LibwimCodec()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipable")
    noise = b"".join(sha1(b"%d" % number) for number in range(20_000))
    for size in (1, 32_767, 32_768, 32_769, 65_536, 400_001):
        (folder / f"text{size}").write_bytes((b"%d text " % size * size)[:size])
        (folder / f"noise{size}").write_bytes(noise[:size])
    (folder / "mixed").write_bytes(noise[:40_000] + bytes(100_000) + noise[40_000:90_000])
    (folder / "empty").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    "options",
    [
        ["--compress=none"],
        *(["--compress=xpress", f"--chunk-size={chunk}"] for chunk in ("4K", "32K", "64K")),
        *(["--compress=lzx", f"--chunk-size={chunk}"] for chunk in ("32K", "128K")),
        *(["--compress=lzms", f"--chunk-size={chunk}"] for chunk in ("32K", "1M")),
        ["--compress=lzx", "--check"],
    ],
)
def test_pipable_files_are_read(
    folder: Path, tmp_path: Path, codec: LibwimCodec, options: list[str]
) -> None:
    path = tmp_path / "x.wim"
    run("wimlib-imagex", "capture", folder, path, "Name", "Text", "--pipable", *options)
    expected = {file.read_bytes() for file in folder.iterdir()} - {b""}
    with open_wim(path, codec) as wim:
        assert wim.kinds == (Kind.PIPABLE,)
        assert (wim.images[0].name, wim.images[0].description) == ("Name", "Text")
        assert {wim.read_blob(digest) for digest in wim.blobs} == expected
        assert {b"".join(blocks) for _, blocks in wim.open_blobs(wim.blobs)} == expected
        assert {data for _, data in wim.read_blobs(wim.blobs)} == expected
        tree = wim.tree(1)
        for file in folder.iterdir():
            found = tree.find(file.name)
            assert found is not None
            assert wim.read_blob(found.inode.sha1) == file.read_bytes()
        is_packed = {one.location.is_compressed for one in wim.blobs.values()}
        for blob in wim.blobs.values():
            assert wim.can_copy(blob) is not blob.location.is_compressed
        assert is_packed == {"--compress=none" not in options}, "also what did not shrink"
        assert wim.verify_integrity() is ("--check" in options)


def test_a_file_of_several_images_that_was_exported_to_a_pipe(
    folder: Path, tmp_path: Path, codec: LibwimCodec
) -> None:
    base, path = tmp_path / "base.wim", tmp_path / "x.wim"
    run("wimlib-imagex", "capture", folder, base, "A", "--compress=lzx")
    run("wimlib-imagex", "append", folder, base, "B")
    run("wimlib-imagex", "export", base, "all", path, "--pipable")
    with open_wim(path, codec) as wim, open_wim(base, codec) as other:
        assert [image.name for image in wim.images] == ["A", "B"]
        assert set(wim.blobs) == set(other.blobs)
        assert wim.tree(2).references() == other.tree(2).references()
        assert all(wim.read_blob(one) == other.read_blob(one) for one in wim.blobs)


@pytest.fixture
def pipable(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "x.wim"
    run("wimlib-imagex", "capture", folder, path, "--pipable", "--compress=lzx")
    return path


def test_a_truncated_file_is_refused(pipable: Path) -> None:
    size = pipable.stat().st_size
    for left in (size - 1, size - HEADER_BYTES, size // 2, HEADER_BYTES + 1, HEADER_BYTES, 8):
        os.truncate(pipable, left)
        with pytest.raises(DamagedWim):
            open_wim(pipable)


def test_the_headers_at_both_ends_must_be_of_one_file(pipable: Path) -> None:
    data = bytearray(pipable.read_bytes())
    data[GUID_AT] ^= 1
    pipable.write_bytes(data)
    with pytest.raises(DamagedWim, match="at the end"):
        open_wim(pipable)


def test_sizes_before_chunks_must_be_those_of_the_table(pipable: Path, codec: LibwimCodec) -> None:
    with open_wim(pipable, codec) as wim:
        blob = max(
            (one for one in wim.blobs.values() if one.location.is_compressed),
            key=lambda one: one.size_bytes,
        )
    data = bytearray(pipable.read_bytes())
    for value in (0, 1, 1 << 31):
        struct.pack_into("<I", data, blob.location.offset, value)
        pipable.write_bytes(data)
        with open_wim(pipable, codec) as wim, pytest.raises(DamagedWim, match="different sizes"):
            wim.read_blob(blob.sha1)


def test_mutated_pipable_files_are_read_or_refused(pipable: Path, codec: LibwimCodec) -> None:
    data = pipable.read_bytes()
    with open_wim(pipable, codec) as wim:
        table = wim.header.blob_table
        resource = max(wim.blobs.values(), key=lambda one: one.location.stored_bytes).location
    last = len(data) - HEADER_BYTES
    places = [
        *range(last, last + 152, 4),
        *range(table.offset, table.end, 4),
        *range(resource.offset, resource.offset + 100, 4),
        *range(resource.end - 50, resource.end, 4),
    ]
    outcomes = set()
    for number in range(200):
        changed = bytearray(data)
        at = places[number * 7919 % len(places)]
        changed[at : at + 4] = (0, 1, 0xFFFF, 0xFFFF_FFFF)[number % 4].to_bytes(4, "little")
        pipable.write_bytes(changed)
        try:
            with open_wim(pipable, codec) as wim:
                wim.tree(1)
                for _, blocks in wim.open_blobs(wim.blobs):
                    list(blocks)
            outcomes.add("read")
        except WimsmithError as error:
            outcomes.add(type(error).__name__)
    assert {"read", "DamagedWim"} <= outcomes
