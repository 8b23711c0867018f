"""Solid resources (ESD files): whatever they are packed with, each content is read as it was."""

import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from offline.wim.handmade import Handmade, entry, place, sha1
from offline.wim.judges import run
from wimsmith.errors import DamagedWim, LimitExceeded, NotFound, NotSupported, WimsmithError
from wimsmith.offline.wim.format import solid
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import Kind, open_wim
from wimsmith.offline.wim.format.tree import EMPTY_SHA1, ZERO_SHA1
from wimsmith.offline.wim.workers._libwim import LibwimCodec

PACKED = (Compression.XPRESS, Compression.LZX, Compression.LZMS)


class Counting(LibwimCodec):
    """Counts the chunks that it unpacks, and how often it is asked."""

    chunks = 0
    calls = 0

    def decompress(
        self, compression: Compression, chunk_size: int, chunks: Sequence[tuple[bytes, int]]
    ) -> list[bytes]:
        self.chunks += len(chunks)
        self.calls += 1
        return super().decompress(compression, chunk_size, chunks)


@pytest.fixture(scope="module")
def codec() -> LibwimCodec:
    return LibwimCodec()


def noise(count: int) -> bytes:
    return b"".join(sha1(b"%d" % number) for number in range(count // 20 + 1))[:count]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sizes around every chunk size used below; text, noise, and both."""
    folder = tmp_path_factory.mktemp("solid")
    for size in (1, 4095, 32_768, 65_537, 200_000, 1_100_000):
        (folder / f"text{size}").write_bytes((b"%d some text " % size * size)[:size])
    (folder / "noise").write_bytes(noise(300_000))
    (folder / "mixed").write_bytes(noise(50_000) + bytes(300_000) + noise(90_000)[45_000:])
    (folder / "empty").write_bytes(b"")
    return folder


def contents(folder: Path) -> dict[bytes, bytes]:
    every = (file.read_bytes() for file in folder.iterdir())
    return {sha1(data): data for data in every if data}


@pytest.mark.parametrize(
    ("compression", "chunk"),
    [
        *(("xpress", chunk) for chunk in ("4K", "32K", "64K")),
        *(("lzx", chunk) for chunk in ("32K", "256K", "2M")),
        *(("lzms", chunk) for chunk in ("32K", "1M", "64M")),
    ],
)
def test_what_wimlib_packed_together_is_read(
    source: Path, tmp_path: Path, codec: LibwimCodec, compression: str, chunk: str
) -> None:
    path = tmp_path / "x.esd"
    options = (f"--solid-compress={compression}", f"--solid-chunk-size={chunk}")
    run("wimlib-imagex", "capture", source, path, "Name", "--solid", "--check", *options)
    expected = contents(source)
    with open_wim(path, codec) as wim:
        assert wim.is_solid
        assert wim.kinds == (Kind.SOLID,)
        assert wim.images[0].name == "Name"
        assert wim.verify_integrity()
        assert set(wim.blobs) == set(expected)
        assert not any(wim.can_copy(blob) for blob in wim.blobs.values())
        tree = wim.tree(1)
        for file in source.iterdir():
            found = tree.find(file.name)
            assert found is not None
            assert wim.read_blob(found.inode.sha1) == file.read_bytes()
            assert b"".join(wim.open_blob(found.inode.sha1)) == file.read_bytes()
        backwards = list(wim.blobs)[::-1]
        assert list(wim.read_blobs(backwards)) == [(one, expected[one]) for one in backwards]
        read = {one: b"".join(blocks) for one, blocks in wim.open_blobs(backwards)}
        assert read == expected


def test_resources_of_several_appends_are_told_apart(
    source: Path, tmp_path: Path, codec: LibwimCodec
) -> None:
    """Each append adds a solid resource, packed as it was asked for."""
    path, more = tmp_path / "x.esd", tmp_path / "more"
    more.mkdir()
    run("wimlib-imagex", "capture", source, path, "A", "--solid", "--solid-compress=lzx")
    expected = contents(source)
    for number, options in enumerate(([], ["--solid-compress=xpress"])):
        (more / f"new{number}").write_bytes(b"number %d " % number * 20_000)
        run("wimlib-imagex", "append", more, path, f"B{number}", "--solid", *options)
    expected |= contents(more)
    with open_wim(path, codec) as wim:
        assert {digest: wim.read_blob(digest) for digest in wim.blobs} == expected
        packed = {blob.solid for blob in wim.blobs.values()}
        compressions = {one.compression for one in packed if one}
        assert compressions == {Compression.LZX, Compression.LZMS, Compression.XPRESS}
        order = [digest for digest, _ in wim.open_blobs(expected)]
        assert order == sorted(order, key=lambda one: wim.blobs[one].storage_order)


def test_content_over_the_border_of_resources_in_a_run(tmp_path: Path, codec: LibwimCodec) -> None:
    """Places are counted through all resources of a run, which may be packed differently."""
    first = [b"first %d " % number * 3000 for number in range(5)]
    second = [b"second %d " % number * 4000 for number in range(5)]
    made = Handmade(Compression.LZMS, 1 << 17, codec, version=0xE00)
    made.solid_resource(b"".join(first), 1 << 15, Compression.LZX)
    made.solid_resource(b"".join(second), 1 << 16, Compression.XPRESS)
    offset = 0
    for data in first + second:
        made.solid_blob(data, offset)
        offset += len(data)
    made.raw(b"ends the run")
    made.solid([b"of a third resource", b"and again"], 1 << 12, Compression.NONE)
    made.image(*first)
    with open_wim(made.write(tmp_path / "x.esd"), codec) as wim:
        for data in (*first, *second, b"ends the run", b"of a third resource", b"and again"):
            assert wim.read_blob(sha1(data)) == data
            assert wim.size_of(sha1(data)) == len(data)
        assert len(wim.tree(1).references()) == 5


def test_each_chunk_is_unpacked_once(tmp_path: Path) -> None:
    codec = Counting()
    data = [b"%d " % number * 900 for number in range(4000)]
    made = Handmade(codec=codec)
    made.solid(data, 1 << 17, Compression.LZX)
    total = sum(map(len, data))
    with open_wim(made.write(tmp_path / "x.esd"), codec) as wim:
        read = [b"".join(blocks) for _, blocks in wim.open_blobs(sha1(one) for one in data)]
        assert read == data
        assert codec.chunks == -(-total // (1 << 17))
        assert codec.calls < 10


def test_large_content_comes_in_blocks_and_small_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = Counting()
    large = b"larger than what is remembered " * 400_000
    made = Handmade(codec=codec)
    made.solid([b"before", large, b"behind"], 1 << 20, Compression.LZX)
    monkeypatch.setattr(solid, "CACHE_BYTES", 2 << 20)
    with open_wim(made.write(tmp_path / "x.esd"), codec) as wim:
        blocks = list(wim.open_blob(sha1(large)))
        assert max(map(len, blocks)) <= 4 << 20
        assert b"".join(blocks) == large
        reader = wim.files[0].solid
        assert sum(map(len, reader._chunks.values())) <= 5 << 20
        assert wim.read_blob(sha1(b"before")) == b"before"
        assert wim.read_blob(sha1(b"behind")) == b"behind"


def test_what_is_asked_for_twice_or_empty_or_missing(tmp_path: Path, codec: LibwimCodec) -> None:
    made = Handmade(codec=codec)
    made.solid([b"one", b"two"], 1 << 15, Compression.LZX)
    with open_wim(made.write(tmp_path / "x.esd"), codec) as wim:
        wanted = [sha1(b"two"), EMPTY_SHA1, sha1(b"one"), sha1(b"two"), ZERO_SHA1]
        found = [(one, b"".join(blocks)) for one, blocks in wim.open_blobs(wanted)]
        assert found == [
            (EMPTY_SHA1, b""),
            (ZERO_SHA1, b""),
            (sha1(b"one"), b"one"),
            (sha1(b"two"), b"two"),
        ]
        with pytest.raises(NotFound, match=sha1(b"three").hex()):
            wim.open_blobs([sha1(b"one"), sha1(b"three")])


def test_packed_content_needs_a_codec(tmp_path: Path, codec: LibwimCodec) -> None:
    made = Handmade(codec=codec)
    made.solid([b"text " * 9000], 1 << 15, Compression.LZX)
    with open_wim(made.write(tmp_path / "x.esd")) as wim, pytest.raises(NotSupported) as caught:
        wim.read_blob(sha1(b"text " * 9000))
    assert caught.value.reason == "codec"


def test_damaged_content_is_named_alone(tmp_path: Path, codec: LibwimCodec) -> None:
    data = [b"%d" % number * 1000 for number in range(20)]
    made = Handmade(codec=codec)
    made.solid(data, 1 << 12, Compression.NONE)
    path = made.write(tmp_path / "x.esd")
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"7777") + 5] ^= 1
    path.write_bytes(whole)
    intact = [one for one in data if one[:1] != b"7"]
    with open_wim(path, codec) as wim:
        for one in intact:
            assert wim.read_blob(sha1(one)) == one
        reading = wim.open_blobs(map(sha1, data))
        with pytest.raises(DamagedWim, match=sha1(data[7]).hex()):
            assert [b"".join(blocks) for _, blocks in reading] == data
        with pytest.raises(DamagedWim, match=sha1(data[7]).hex()):
            list(wim.read_blobs(map(sha1, data)))


TEXT = b"some text " * 10_000

LIES = {
    "too many chunks": ({"size": 1 << 50}, DamagedWim),
    "a terabyte in few bytes": ({"size": 1 << 40}, DamagedWim),
    "more chunks than counted": ({"size": len(TEXT) + (1 << 16)}, DamagedWim),
    "fewer chunks than there are": ({"size": 10}, DamagedWim),
    "an unknown compression": ({"number": 4}, DamagedWim),
    "another compression": ({"number": 3}, DamagedWim),
    "a packed chunk that is not packed": ({"number": 0}, DamagedWim),
    "a chunk of no bytes": ({"sizes": [0, 9, 9, 9]}, DamagedWim),
    "a chunk longer than its content": ({"sizes": [40_000, 9, 9, 9]}, DamagedWim),
    "chunks beyond the resource": ({"sizes": [2**32 - 1] * 4}, DamagedWim),
}


@pytest.mark.parametrize("lie", LIES)
def test_solid_resources_that_lie_are_refused(tmp_path: Path, codec: LibwimCodec, lie: str) -> None:
    values, kind = LIES[lie]
    made = Handmade(codec=codec)
    made.solid_resource(TEXT, 1 << 15, Compression.LZX, **values)  # type: ignore[arg-type]
    made.solid_blob(TEXT, 0)
    path = made.write(tmp_path / "x.esd")
    with pytest.raises(kind), open_wim(path, codec) as wim:
        wim.read_blob(sha1(TEXT))


@pytest.mark.parametrize(
    ("chunk_size", "compression", "kind"),
    [
        (0, 2, DamagedWim),
        (3 << 14, 2, DamagedWim),
        (1 << 14, 2, DamagedWim),
        (1 << 31, 3, DamagedWim),
        (1 << 27, 3, NotSupported),
        (1 << 22, 2, NotSupported),
    ],
)
def test_chunk_sizes_of_solid_resources(
    tmp_path: Path, chunk_size: int, compression: int, kind: type[WimsmithError]
) -> None:
    made = Handmade()
    head = struct.pack("<QIII", 100, chunk_size, compression, 100) + bytes(100)
    made.table.append(entry(place(len(head), 16, made.put(head), 1 << 32)))
    with pytest.raises(kind):
        open_wim(made.write(tmp_path / "x.esd"))


def test_a_chunk_table_of_gigabytes_is_refused(tmp_path: Path) -> None:
    """In a sparse file everything fits."""
    made = Handmade()
    at = made.put(struct.pack("<QII", 1 << 42, 1 << 12, 1))
    made.table.append(entry(place(1 << 40, 16, at, 1 << 32)))
    made.solid_blob(b"x", 0)
    path = made.write(tmp_path / "x.esd")
    os.truncate(path, (1 << 40) + 4096)
    with pytest.raises(LimitExceeded, match="chunks"):
        open_wim(path)


@pytest.mark.parametrize(
    "entries",
    [
        [entry(place(10, 16, 0, 0), sha1(b"x"))],
        [entry(place(8, 16, 208, 1 << 32))],
        [entry(place(1 << 40, 16, 208, 1 << 32))],
        [entry(place(100, 16, 1 << 63, 1 << 32))],
        [entry(place(100, 16, 0, 1 << 32))],
        [entry(place(121, 16, 208, 1 << 32)), entry(place(101, 16, 0, 0), sha1(b"x"))],
        [entry(place(121, 16, 208, 1 << 32)), entry(place(1, 16, 1 << 62, 0), sha1(b"x"))],
        [entry(place(121, 16, 208, 1 << 32)), entry(place(1, 16, 0, 0))],
    ],
)
def test_solid_entries_that_cannot_be_true_are_refused(
    tmp_path: Path, entries: list[bytes]
) -> None:
    made = Handmade()
    made.put(struct.pack("<QIII", 100, 1 << 12, 0, 100) + bytes(101))
    made.table = entries
    with pytest.raises(DamagedWim):
        open_wim(made.write(tmp_path / "x.esd"))


@pytest.mark.slow
def test_a_chunk_of_64_mib_takes_little_memory(tmp_path: Path) -> None:
    """Read in another process, whose peak is measured: about four chunks, never the whole file."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(6):
        with (folder / f"{number}").open("wb") as file:
            for _ in range(50):
                file.write(b"%d lines of text that repeat themselves\n" % number * 26_000)
    path = tmp_path / "x.esd"
    run(
        "wimlib-imagex", "capture", folder, path, "--solid", "--solid-chunk-size=64M", "--threads=1"
    )
    script = (
        "import sys, resource\n"
        "from pathlib import Path\n"
        "from wimsmith.offline.wim.format.container import open_wim\n"
        "from wimsmith.offline.wim.workers.worker import WorkerCodec\n"
        "with WorkerCodec() as codec, open_wim(Path(sys.argv[1]), codec) as wim:\n"
        "    assert sum(len(b) for _, blocks in wim.open_blobs(wim.blobs) for b in blocks) > 3e8\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) * 1024 < 512 << 20
