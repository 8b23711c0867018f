"""Opening a WIM: what is read, what is refused, and how little a hostile header costs."""

import hashlib
import resource
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from offline.wim.images import Practice, rich, sha1, write
from offline.wim.judges import blob_references, run, xml
from wimsmith.errors import (
    DamagedWim,
    LimitExceeded,
    NoSuchIndex,
    NotFound,
    NotSupported,
    WimsmithError,
)
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.format.header import (
    HEADER_BYTES,
    VERSION_SOLID,
    Flag,
    Header,
    Location,
)
from wimsmith.offline.wim.format.tree import EMPTY_SHA1, ZERO_SHA1
from wimsmith.offline.wim.verbs.verify import verify_wim
from wimsmith.offline.wim.workers._libwim import LibwimCodec

COMPRESSIONS = tuple(Compression)


@pytest.fixture(scope="module")
def codec() -> LibwimCodec:
    return LibwimCodec()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that wimlib captures: files of all sizes around the chunk size."""
    folder = tmp_path_factory.mktemp("source")
    for size in (0, 1, 2, 4095, 32_767, 32_768, 32_769, 65_536, 200_001):
        (folder / f"text{size}").write_bytes((b"some text %d " % size * 20_000)[:size])
    noise = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(4000))
    (folder / "noise").write_bytes(noise)
    (folder / "mixed").write_bytes(noise[:40_000] + bytes(100_000) + noise[40_000:90_000])
    (folder / "dir" / "empty").mkdir(parents=True)
    (folder / "dir" / "link").hardlink_to(folder / "text200001")
    return folder


def captured(source: Path, target: Path, *options: str) -> Path:
    run("wimlib-imagex", "capture", source, target, "Name", "Text", *options)
    return target


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_content_that_wimlib_packed_is_read(
    source: Path, tmp_path: Path, codec: LibwimCodec, compression: Compression
) -> None:
    path = captured(source, tmp_path / "x.wim", f"--compress={compression}", "--check")
    with open_wim(path, codec) as wim:
        assert wim.compression is compression
        assert wim.verify_integrity()
        tree = wim.tree(1)
        for file in source.rglob("*"):
            entry = tree.find(file.relative_to(source).as_posix())
            assert entry is not None
            if file.is_file():
                content = file.read_bytes()
                assert wim.read_blob(entry.inode.sha1) == content
                assert b"".join(wim.open_blob(entry.inode.sha1)) == content
                assert wim.size_of(entry.inode.sha1) == len(content)
        link = tree.find("DIR/LINK")
        assert link is not None
        assert {one.path for one in tree.links(link.inode)} == {"dir/link", "text200001"}


@pytest.mark.parametrize("chunk_bytes", [4096, 8192, 65536])
def test_xpress_chunks_of_other_sizes_are_read(
    source: Path, tmp_path: Path, codec: LibwimCodec, chunk_bytes: int
) -> None:
    options = ("--compress=xpress", f"--chunk-size={chunk_bytes}")
    with open_wim(captured(source, tmp_path / "x.wim", *options), codec) as wim:
        assert wim.chunk_size == chunk_bytes
        assert wim.read_blob(sha1((source / "mixed").read_bytes()))


def test_facts_are_those_that_wimlib_shows(
    source: Path, tmp_path: Path, codec: LibwimCodec
) -> None:
    path = captured(source, tmp_path / "x.wim", "--compress=lzx", "--boot")
    with open_wim(path, codec) as wim:
        info = wim.image(1)
        assert (info.name, info.description, info.number) == ("Name", "Text", 1)
        counted = wim.tree(1).statistics(wim.size_of)
        assert (counted.directories, counted.files) == (info.directory_count, info.file_count)
        assert (counted.total_bytes, counted.hard_link_bytes) == (
            info.total_bytes,
            info.hard_link_bytes,
        )
        assert wim.header.boot_index == 1
        assert wim.xml in xml(path)
        assert {blob.sha1.hex(): blob.references for blob in wim.blobs.values()} == {
            digest: count
            for digest, count in blob_references(path).items()
            if digest != wim.table.metadata[0].sha1.hex()
        }
        with pytest.raises(NoSuchIndex):
            wim.tree(2)
        with pytest.raises(NoSuchIndex):
            wim.image(0)


def test_compressed_content_without_codec_is_refused(source: Path, tmp_path: Path) -> None:
    path = captured(source, tmp_path / "x.wim", "--compress=lzx")
    with open_wim(path) as wim:
        assert wim.images[0].name == "Name"
        with pytest.raises(NotSupported, match="codec"):
            wim.tree(1)


def refused(path: Path) -> NotSupported:
    with pytest.raises(NotSupported) as caught:
        open_wim(path).close()
    return caught.value


def edited(path: Path, target: Path, **values: object) -> Path:
    """A copy of a WIM with other values in its header."""
    data = path.read_bytes()
    header = Header.parse(data)
    target.write_bytes(replace(header, **values).pack() + data[HEADER_BYTES:])  # type: ignore[arg-type]
    return target


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.wim"
    write(path, rich())
    return path


def test_unfinished_and_odd_files_are_refused_by_name(plain: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.wim"
    assert refused(edited(plain, other, flags=Flag.WRITE_IN_PROGRESS)).reason == "write-in-progress"
    assert refused(edited(plain, other, version=0x10E00)).reason == "wim-version"
    assert refused(edited(plain, other, flags=Flag.COMPRESSED, chunk_size=32768)).reason == (
        "compression"
    )


def test_encrypted_esd_is_named(plain: Path, tmp_path: Path) -> None:
    document = "<WIM><ESD><ENCRYPTED/></ESD></WIM>".encode("utf-16")
    other = edited(
        plain,
        tmp_path / "x.esd",
        xml=Location(len(document), 2, plain.stat().st_size, len(document)),
        version=VERSION_SOLID,
    )
    with other.open("ab") as file:
        file.write(document)
    error = refused(other)
    assert error.reason == "encrypted-esd"
    assert "ISO" in str(error.hint)


TERA = 1 << 40


@pytest.mark.parametrize(
    "values",
    [
        {"image_count": 2**31},
        {"image_count": 0},
        {"boot_index": 2},
        {"blob_table": Location()},
        {"blob_table": Location(TERA, 2, 208, TERA)},
        {"blob_table": Location(50, 2, 208, TERA)},
        {"blob_table": Location(51, 2, 208, 51)},
        {"blob_table": Location(100, 2, 0, 100)},
        {"xml": Location()},
        {"xml": Location(TERA, 2, 208, TERA)},
        {"xml": Location(100, 2, 208, 100)},
        {"xml": Location(100, 2, 2**64 - 8, 100)},
        {"integrity": Location(TERA, 0, 208, TERA)},
        {"flags": Flag.COMPRESSED | Flag.LZX, "chunk_size": 0},
        {"flags": Flag.COMPRESSED | Flag.LZX, "chunk_size": 3 << 14},
        {"flags": Flag.COMPRESSED | Flag.LZMS, "chunk_size": 1 << 31},
    ],
)
def test_hostile_headers_are_refused_at_little_cost(
    plain: Path, tmp_path: Path, values: dict[str, object]
) -> None:
    other = edited(plain, tmp_path / "other.wim", **values)
    before, start = _peak_kb(), time.monotonic()
    with pytest.raises((DamagedWim, LimitExceeded)):
        open_wim(other).close()
    assert time.monotonic() - start < 1
    assert _peak_kb() - before < 100_000


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize(
    "location",
    [
        Location(TERA, 0, 208, TERA),
        Location(100, 0, 208, TERA),
        Location(100, 4, 208, TERA),
        Location(10, 0, 0, 10),
        Location(10, 0, 2**63, 10),
        Location(0, 4, 208, 0),
    ],
)
def test_hostile_blob_tables_are_refused(
    plain: Path, tmp_path: Path, codec: LibwimCodec, location: Location
) -> None:
    entry = struct.pack("<24sHI20s", location.pack(), 1, 1, sha1(b"x"))
    data = plain.read_bytes()
    header = Header.parse(data)
    flags = Flag.COMPRESSED | Flag.LZX
    table = Location(50, 2, len(data), 50)
    forged = replace(header, blob_table=table, image_count=0, flags=flags, chunk_size=32768)
    other = tmp_path / "other.wim"
    other.write_bytes(forged.pack() + data[HEADER_BYTES:] + entry)
    start = time.monotonic()
    with pytest.raises(DamagedWim):
        open_wim(other, codec).close()
    assert time.monotonic() - start < 1


def test_metadata_that_would_fill_memory_is_refused(
    source: Path, tmp_path: Path, codec: LibwimCodec
) -> None:
    """A terabyte that packs into a few megabytes is legal, and too much."""
    path = captured(source, tmp_path / "x.wim", "--compress=lzx")
    with open_wim(path, codec) as wim:
        bomb = Location(1 << 20, 6, 208, 1 << 30)
        with pytest.raises(LimitExceeded):
            wim.resources.read(bomb, "metadata", 1 << 29)
        with pytest.raises(LimitExceeded):
            wim.read_blob(sha1((source / "mixed").read_bytes()), limit_bytes=1000)


@pytest.mark.parametrize(
    "table",
    [
        struct.pack("<II", 0, 10),
        struct.pack("<II", 20, 10),
        struct.pack("<II", 10, 2**31),
        struct.pack("<II", 60_000, 60_001),
    ],
)
def test_chunk_tables_that_contradict_themselves_are_refused(
    tmp_path: Path, codec: LibwimCodec, table: bytes
) -> None:
    path = tmp_path / "x.wim"
    write(path, rich(), codec=codec)
    with open_wim(path, codec) as wim:
        blob = max(
            (one for one in wim.blobs.values() if one.location.is_compressed),
            key=lambda one: one.size_bytes,
        )
    data = bytearray(path.read_bytes())
    at = blob.location.offset
    data[at : at + len(table)] = table
    path.write_bytes(data)
    location = blob.location._replace(size_bytes=3 * 32768)
    with open_wim(path, codec) as wim, pytest.raises(DamagedWim):
        wim.resources.read(location, "content", 1 << 30)


def test_damage_is_found_where_it_is(tmp_path: Path, codec: LibwimCodec) -> None:
    practice = rich()
    path = tmp_path / "x.wim"
    write(path, practice)
    data = bytearray(path.read_bytes())
    data[data.index(b"MZ library") + 3] ^= 1
    path.write_bytes(data)
    with open_wim(path, codec) as wim:
        entry = wim.tree(1).find("Windows/System32/tool.dll")
        assert entry is not None
        with pytest.raises(DamagedWim, match=entry.inode.sha1.hex()):
            wim.read_blob(entry.inode.sha1)
        with pytest.raises(DamagedWim):
            list(wim.open_blob(entry.inode.sha1))
        with pytest.raises(DamagedWim, match="integrity"):
            wim.verify_integrity()


def test_many_contents_are_read_in_few_calls(tmp_path: Path) -> None:
    class Counting(LibwimCodec):
        calls = 0

        def decompress(self, *arguments: object) -> list[bytes]:
            self.calls += 1
            return super().decompress(*arguments)  # type: ignore[arg-type]

    practice, codec = rich(), Counting()
    for number in range(300):
        practice.put(f"manifests/{number}", b"<assembly number='%d'/>" % number * (number % 70))
    practice.put("large", b"larger than a batch " * 300_000)
    path = tmp_path / "x.wim"
    write(path, practice, codec=codec)
    with open_wim(path, codec) as wim:
        codec.calls = 0
        wanted = [*practice.content, EMPTY_SHA1, ZERO_SHA1, next(iter(practice.content))]
        found = list(wim.read_blobs(wanted))
        assert [digest for digest, _ in found] == wanted
        assert all(data == practice.content.get(digest, b"") for digest, data in found)
        assert codec.calls < 10
        assert list(wim.read_blobs([])) == []
        with pytest.raises(NotFound):
            list(wim.read_blobs([sha1(b"not there")]))


def test_damage_among_many_contents_says_which_one_it_is(
    tmp_path: Path, codec: LibwimCodec
) -> None:
    practice = Practice()
    for number in range(20):
        practice.put(f"{number}", b"<assembly number='%d'/>" % number * 50)
    path = tmp_path / "x.wim"
    write(path, practice, codec=codec)
    damaged = sha1(b"<assembly number='7'/>" * 50)
    with open_wim(path, codec) as wim:
        at = wim.blobs[damaged].location.offset
    data = bytearray(path.read_bytes())
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)
    with open_wim(path, codec) as wim:
        reading = wim.read_blobs(practice.content)
        with pytest.raises(DamagedWim, match=rf"{path}: .*") as caught:
            list(reading)
        assert str(caught.value).count(str(path)) == 1
        intact = [digest for digest in practice.content if digest != damaged]
        assert len(list(wim.read_blobs(intact))) == 19


def test_truncated_files_are_refused(plain: Path) -> None:
    data = plain.read_bytes()
    for length in (0, 7, 100, 207, 208, len(data) // 2, len(data) - 1):
        plain.write_bytes(data[:length])
        with pytest.raises(DamagedWim):
            open_wim(plain).close()


def test_a_file_that_is_no_wim_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "x.wim"
    other.write_bytes(b"MSCF" + bytes(1000))
    with pytest.raises(DamagedWim, match="not a WIM"):
        open_wim(other)


def test_a_resource_only_file_without_xml_opens(plain: Path, tmp_path: Path) -> None:
    """WDS exports such files; wimlib refuses them."""
    data = plain.read_bytes()
    header = Header.parse(data)
    table = data[header.blob_table.offset : header.blob_table.end]
    content = b"".join(
        table[at : at + 50] for at in range(0, len(table), 50) if not table[at + 7] & 2
    )
    forged = replace(
        header,
        flags=Flag.RESOURCE_ONLY,
        image_count=0,
        boot_index=0,
        xml=Location(),
        integrity=Location(),
        blob_table=Location(len(content), 2, len(data), len(content)),
    )
    other = tmp_path / "Res.rwm"
    other.write_bytes(forged.pack() + data[HEADER_BYTES:] + content)
    with open_wim(other) as wim:
        assert wim.images == ()
        assert wim.read_blob(sha1(b"text")) == b"text"


def test_closing_twice_is_harmless(plain: Path) -> None:
    wim = open_wim(plain)
    wim.close()
    wim.close()


def _read_all(wim: Wim) -> None:
    for info in wim.images:
        wim.tree(info.number)
    for digest in wim.blobs:
        wim.read_blob(digest)
    wim.verify_integrity()


def _places(data: bytes) -> list[int]:
    """Offsets of fields of the header, the blob table, the XML document and chunk tables."""
    header = Header.parse(data)
    table = range(header.blob_table.offset, header.blob_table.end, 4)
    document = range(header.xml.offset, header.xml.end, 16)
    chunks = range(HEADER_BYTES, HEADER_BYTES + 200, 4)
    return [*range(8, 152, 4), *table, *document, *chunks]


def test_mutated_files_are_read_or_refused(tmp_path: Path, codec: LibwimCodec) -> None:
    path = tmp_path / "x.wim"
    write(path, rich(), codec=codec)
    data = path.read_bytes()
    places = _places(data)
    values = (0, 1, 0x7F, 0xFF, 0xFFFF, 1 << 31, 0xFFFF_FFFF, 0x1_0000_0000)
    outcomes = set()
    for number in range(300):
        changed = bytearray(data)
        value = values[number % len(values)].to_bytes(8, "little")
        at = places[number * 7919 % len(places)]
        changed[at : at + 4 + number % 5] = value[: 4 + number % 5]
        path.write_bytes(changed)
        try:
            with open_wim(path, codec) as wim:
                _read_all(wim)
            outcomes.add("read")
        except WimsmithError as error:
            outcomes.add(type(error).__name__)
    assert {"read", "DamagedWim"} <= outcomes


def test_every_error_says_once_which_file_it_is_about(
    plain: Path, tmp_path: Path, codec: LibwimCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = plain.read_bytes()
    with open_wim(plain) as wim:
        metadata, table = wim.table.metadata[0].location, wim.header.blob_table
    for at in (0, 48, table.offset + 1, wim.header.xml.offset + 3, metadata.offset + 4):
        damaged = bytearray(whole)
        damaged[at : at + 8] = b"damaged!"
        plain.write_bytes(damaged)
        for path in (plain, Path(plain.name)):
            with pytest.raises(DamagedWim) as caught, open_wim(path, codec) as wim:
                wim.tree(1)
            assert str(caught.value).count(plain.name) == 1
            assert f" {path}: " in str(caught.value)
        with pytest.raises(WimsmithError) as refused:
            verify_wim(Path(plain.name)).check()
        assert str(refused.value).count(plain.name) == 1
