"""Small files that claim to be large: they are refused at little cost, or cost what they are."""

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from offline.wim.handmade import METADATA, PACKED, Handmade, entry, place, sha1
from wimsmith.errors import DamagedWim, LimitExceeded, NotSupported, WimsmithError
from wimsmith.offline.wim.format.blobs import LEAST_PACKED_BYTES
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.format.header import check_chunk_size
from wimsmith.offline.wim.workers._libwim import LibwimCodec
from wimsmith.offline.wim.writing.form import check_chunk_bytes

TERA = 1 << 40
TABLE_AT, XML_AT, BOOT_AT, BOOT_INDEX_AT, INTEGRITY_AT = 48, 72, 96, 120, 124
ALL = tuple(Compression)


@pytest.fixture(scope="module")
def codec() -> LibwimCodec:
    return LibwimCodec()


@contextmanager
def at_little_cost() -> Iterator[None]:
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    yield
    assert time.monotonic() - start < 60
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) * 1024 < 100 << 20


def sparse(made: Handmade, path: Path, **places: bytes) -> Path:
    """The file with other places in its header, grown to two terabytes without taking any."""
    made.write(path)
    data = bytearray(path.read_bytes())
    for name, value in places.items():
        at = {"table": TABLE_AT, "xml": XML_AT, "integrity": INTEGRITY_AT, "boot": BOOT_AT}[name]
        data[at : at + 24] = value
    path.write_bytes(data)
    os.truncate(path, 2 * TERA)
    return path


@pytest.mark.parametrize("name", ["table", "xml", "integrity"])
@pytest.mark.parametrize(
    "where",
    [
        place(TERA, METADATA, 4096, TERA),
        place(TERA, METADATA, 4096, 50),
        place(TERA, METADATA | PACKED, 4096, 50),
        place(TERA, METADATA | PACKED, 4096, 1 << 22),
        place(1 << 26, METADATA | PACKED, 4096, TERA),
    ],
)
def test_places_of_terabytes_in_a_sparse_file(
    tmp_path: Path, codec: LibwimCodec, name: str, where: bytes
) -> None:
    made = Handmade(Compression.LZX, 1 << 15)
    made.image(b"")
    path = sparse(made, tmp_path / "x.wim", **{name: where})
    with at_little_cost(), pytest.raises((DamagedWim, LimitExceeded)):  # noqa: SIM117 - cost of it
        with open_wim(path, codec) as wim:
            wim.verify_integrity()


@pytest.mark.parametrize(
    "where",
    [
        place(TERA, PACKED, 4096, 50),
        place(TERA, PACKED, 4096, 40_000),
        place(TERA, 0, 4096, TERA),
        place(1 << 33, PACKED, 4096, TERA),
    ],
)
def test_content_of_terabytes_in_a_sparse_file(
    tmp_path: Path, codec: LibwimCodec, where: bytes
) -> None:
    made = Handmade(Compression.LZX, 1 << 15)
    made.table.append(entry(where, sha1(b"x")))
    path = sparse(made, tmp_path / "x.wim")
    with at_little_cost(), open_wim(path, codec) as wim:
        with pytest.raises((DamagedWim, LimitExceeded)):
            wim.read_blob(sha1(b"x"), limit_bytes=1 << 26)
        for _, blocks in wim.open_blobs(wim.blobs):
            assert _first_bytes(blocks) <= 1 << 23


def _first_bytes(blocks: Iterator[bytes]) -> int:
    """Size of the first block; 0 if it is refused."""
    try:
        return len(next(blocks))
    except DamagedWim:
        return 0


@pytest.mark.parametrize(
    ("compression", "chunk_size", "stored", "size", "is_possible"),
    [
        (Compression.XPRESS, 1 << 15, 255 * 99, 100 << 15, False),
        (Compression.XPRESS, 1 << 15, 260 * 100 + 400, 100 << 15, True),
        (Compression.LZX, 1 << 15, 29 * 99, 100 << 15, False),
        (Compression.LZX, 1 << 15, 34 * 100 + 400, 100 << 15, True),
        (Compression.LZMS, 1 << 26, 300, 100 << 26, False),
        (Compression.LZMS, 1 << 26, 1300, 100 << 26, True),
    ],
)
def test_content_cannot_be_packed_in_less_than_its_chunks_take(
    tmp_path: Path,
    compression: Compression,
    chunk_size: int,
    stored: int,
    size: int,
    is_possible: bool,
) -> None:
    made = Handmade(compression, chunk_size)
    made.table.append(entry(place(stored, PACKED, made.put(bytes(stored)), size), sha1(b"x")))
    path = made.write(tmp_path / "x.wim")
    if is_possible:
        open_wim(path).close()
    else:
        with pytest.raises(DamagedWim, match="cannot be packed"):
            open_wim(path)


@pytest.mark.parametrize("compression", [one for one in ALL if one is not Compression.NONE])
def test_nothing_packs_better_than_the_limit(codec: LibwimCodec, compression: Compression) -> None:
    """What is refused above cannot exist: zeros are packed best of all."""
    for size in (300, 4096, 1 << 15, 1 << 20):
        if size <= {"xpress": 1 << 16}.get(compression, size):
            chunk = max(size, 1 << 15)
            for level in (1, 20, 100):
                (packed,) = codec.compress(compression, chunk, level, [bytes(size)])
                assert packed is not None
                assert len(packed) >= LEAST_PACKED_BYTES[compression]


@pytest.mark.parametrize("count", [1 << 31, (1 << 32) - 1, 65_537])
def test_headers_that_count_many_images(tmp_path: Path, count: int) -> None:
    made = Handmade(image_count=count)
    made.image(b"")
    with at_little_cost(), pytest.raises(LimitExceeded, match="images"):
        open_wim(made.write(tmp_path / "x.wim"))


def test_tables_that_have_as_many_images_as_the_header_counts(tmp_path: Path) -> None:
    """Each costs its entry and its element."""
    made = Handmade()
    made.image(b"")
    made.table *= 1000
    with at_little_cost(), open_wim(made.write(tmp_path / "x.wim")) as wim:
        assert len(wim.images) == 1000
        assert wim.metadata(1000) == wim.metadata(1)


@pytest.mark.parametrize(
    "xml",
    [
        "<!DOCTYPE a [<!ENTITY a 'aaaa'>]><WIM>&a;</WIM>",
        "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><WIM><IMAGE INDEX='1'/></WIM>",
        "<WIM>" + "<a>" * 100 + "</a>" * 100 + "<IMAGE INDEX='1'/></WIM>",
        "<WIM>&undefined;<IMAGE INDEX='1'/></WIM>",
        "<WIM><IMAGE INDEX='2'/></WIM>",
        "<WIM><IMAGE INDEX='1'/><IMAGE INDEX='2'/></WIM>",
        "<WIM><IMAGE INDEX='1'/><IMAGE INDEX='1'/></WIM>",
        "<WIM/>",
        "<IMAGE INDEX='1'/>",
        "<WIM><IMAGE INDEX='1'/>",
        "no document",
    ],
)
def test_documents_that_lie_are_refused(tmp_path: Path, xml: str) -> None:
    made = Handmade()
    made.image(b"")
    with at_little_cost(), pytest.raises(DamagedWim):
        open_wim(made.write(tmp_path / "x.wim", xml=xml))


def test_a_document_of_many_elements_costs_little(tmp_path: Path) -> None:
    made = Handmade()
    made.image(b"")
    path = made.write(tmp_path / "x.wim", xml=f"<WIM><IMAGE INDEX='1'/>{'<a/>' * 500_000}</WIM>")
    with at_little_cost(), open_wim(path) as wim:
        assert len(wim.images) == 1
    path = made.write(tmp_path / "y.wim", xml=f"<WIM><IMAGE INDEX='1'/>{'<a/>' * 600_000}</WIM>")
    with at_little_cost(), pytest.raises(LimitExceeded):
        open_wim(path)


def test_boot_metadata_that_lies_is_not_followed(tmp_path: Path) -> None:
    """Which image is booted says its number; the place beside it is for other programs."""
    made = Handmade(boot_index=1, boot=place(TERA, METADATA, 1 << 62, TERA))
    made.image(b"in it")
    made.raw(b"in it")
    with open_wim(made.write(tmp_path / "x.wim")) as wim:
        assert wim.header.boot_index == 1
        assert wim.tree(1).find("0") is not None


def test_contents_that_overlap_are_read_as_they_are(tmp_path: Path) -> None:
    """A file may name bytes twice; each must still have its hash."""
    made = Handmade()
    made.raw(b"abcdefgh")
    made.table.append(entry(place(4, 0, 210, 4), sha1(b"cdef")))
    made.table.append(entry(place(4, 0, 212, 4), sha1(b"other")))
    with open_wim(made.write(tmp_path / "x.wim")) as wim:
        assert wim.read_blob(sha1(b"cdef")) == b"cdef"
        with pytest.raises(DamagedWim, match="other content"):
            wim.read_blob(sha1(b"other"))


def test_a_content_named_twice_is_taken_from_the_first_entry(tmp_path: Path) -> None:
    made = Handmade()
    made.raw(b"right")
    made.raw(b"wrong", digest=sha1(b"right"))
    with open_wim(made.write(tmp_path / "x.wim")) as wim:
        assert wim.read_blob(sha1(b"right")) == b"right"
        assert len(wim.blobs) == 1


@pytest.mark.parametrize(
    ("compression", "readable", "writable"),
    [
        (Compression.XPRESS, (12, 16), (12, 16)),
        (Compression.LZX, (15, 21), (15, 15)),
        (Compression.LZMS, (15, 26), (15, 26)),
    ],
)
def test_chunk_sizes_of_each_compression(
    tmp_path: Path,
    compression: Compression,
    readable: tuple[int, int],
    writable: tuple[int, int],
) -> None:
    """What Windows does not accept is read and not written; what no writer makes is damage."""
    for power in range(1, 32):
        made = Handmade(compression, 1 << power)
        made.raw(b"not packed")
        path = made.write(tmp_path / "x.wim")
        if readable[0] <= power <= readable[1]:
            with open_wim(path) as wim:
                _assert_writable(wim, is_so=writable[0] <= power <= writable[1])
        else:
            error = NotSupported if readable[1] < power <= 30 else DamagedWim
            with pytest.raises(error) as caught:
                open_wim(path)
            if isinstance(caught.value, NotSupported):
                assert caught.value.reason == "chunk-size"


def _assert_writable(wim: Wim, *, is_so: bool) -> None:
    if is_so:
        check_chunk_bytes(wim.compression, wim.chunk_size)
        return
    with pytest.raises(NotSupported) as caught:
        check_chunk_bytes(wim.compression, wim.chunk_size)
    assert caught.value.reason == "chunk-size"
    assert str(wim.chunk_size) in str(caught.value)


@pytest.mark.parametrize("compression", [one for one in ALL if one is not Compression.NONE])
@pytest.mark.parametrize("chunk_size", [0, 1, 3 << 14, 32_767, 32_769, (1 << 32) - 1])
def test_chunk_sizes_that_are_no_power_of_two(compression: Compression, chunk_size: int) -> None:
    with pytest.raises(DamagedWim):
        check_chunk_size(compression, chunk_size)


HOSTILE: dict[str, Callable[[Handmade], object]] = {
    "places before the header": lambda made: made.table.append(
        entry(place(10, 0, 100, 10), sha1(b"x"))
    ),
    "places that wrap around": lambda made: made.table.append(
        entry(place(100, 0, 2**64 - 50, 100), sha1(b"x"))
    ),
    "another size than the content": lambda made: made.table.append(
        entry(place(10, 0, 208, 11), sha1(b"x"))
    ),
    "packed in a file that is not": lambda made: made.table.append(
        entry(place(10, PACKED, 208, 100), sha1(b"x"))
    ),
    "no hash": lambda made: made.table.append(entry(place(1, 0, 208, 1))),
    "half an entry": lambda made: made.table.append(bytes(49)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_entries_that_cannot_be_true_are_refused(tmp_path: Path, kind: str) -> None:
    made = Handmade()
    made.raw(b"some content that is here")
    HOSTILE[kind](made)
    with at_little_cost(), pytest.raises(WimsmithError) as caught:
        open_wim(made.write(tmp_path / "x.wim"))
    assert isinstance(caught.value, DamagedWim)
