"""The binding of libwim: it packs as others unpack, and every failure has our shape."""

import ctypes
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith.errors import (
    Cancelled,
    DamagedWim,
    NoSuchIndex,
    NotFound,
    NotSupported,
    WimsmithError,
    WorkerFailed,
)
from wimsmith.offline.progress import silent
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.workers import _libwim

PACKED = [Compression.XPRESS, Compression.LZX, Compression.LZMS]
compressible = st.lists(
    st.tuples(st.binary(min_size=1, max_size=40), st.integers(1, 60)), min_size=1, max_size=40
).map(lambda runs: b"".join(data * times for data, times in runs)[:32768])


def test_structures_have_the_sizes_of_the_c_interface() -> None:
    assert ctypes.sizeof(_libwim._Info) == 112


def test_the_library_is_new_enough() -> None:
    assert _libwim.version() >= _libwim.OLDEST


@pytest.mark.parametrize("compression", PACKED)
@given(data=compressible)
def test_what_is_packed_unpacks_to_the_same(compression: Compression, data: bytes) -> None:
    codec = _libwim.LibwimCodec()
    (packed,) = codec.compress(compression, 32768, 20, [data])
    if packed is not None:
        assert len(packed) < len(data)
        assert codec.decompress(compression, 32768, [(packed, len(data))]) == [data]
    codec.close()


@pytest.mark.parametrize("compression", PACKED)
def test_what_does_not_shrink_is_not_packed(compression: Compression) -> None:
    codec = _libwim.LibwimCodec()
    assert codec.compress(compression, 32768, 50, [b"", b"a", b"ab"]) == [None, None, None]


def test_chunks_are_packed_side_by_side_as_one_by_one() -> None:
    codec = _libwim.LibwimCodec()
    chunks = [b"one " * 500, b"", b"\x00\xff\x13", b"two " * 8000]
    alone = [codec.compress(Compression.LZX, 32768, 20, [data])[0] for data in chunks]
    assert codec.compress(Compression.LZX, 32768, 20, chunks) == alone
    assert [data is None for data in alone] == [False, True, True, False]


def test_what_was_unpacked_before_is_not_changed_by_the_next_call() -> None:
    codec = _libwim.LibwimCodec()
    packed = codec.compress(Compression.LZX, 32768, 20, [b"one " * 500, b"two " * 500])
    first, second = (
        codec.decompress(Compression.LZX, 32768, [(one or b"", 2000)]) for one in packed
    )
    assert (first, second) == ([b"one " * 500], [b"two " * 500])


def test_a_higher_level_packs_smaller() -> None:
    codec = _libwim.LibwimCodec()
    data = b"".join(b"%d and %d;" % (number, number * number % 977) for number in range(2000))
    (fast,) = codec.compress(Compression.LZX, 32768, 10, [data])
    (slow,) = codec.compress(Compression.LZX, 32768, 100, [data])
    assert fast is not None
    assert slow is not None
    assert len(slow) < len(fast)


@pytest.mark.parametrize("size", [0, 32769, 1 << 40])
def test_sizes_beyond_the_chunk_are_refused_unallocated(size: int) -> None:
    with pytest.raises(DamagedWim, match=f"should hold {size}"):
        _libwim.LibwimCodec().decompress(Compression.LZX, 32768, [(b"abc", size)])


@pytest.mark.parametrize("compression", PACKED)
@pytest.mark.parametrize("size", [1, 2, 91])
def test_packed_data_longer_than_its_content_never_reaches_the_library(
    compression: Compression, size: int
) -> None:
    with pytest.raises(DamagedWim, match=f"packed chunk of 92 bytes that should hold {size}"):
        _libwim.LibwimCodec().decompress(compression, 32768, [(bytes(92), size)])


def test_a_chunk_that_did_not_shrink_is_taken_as_it_is() -> None:
    data = b"stored"
    chunks = [(data, 6), (b"\0", 1)]
    assert _libwim.LibwimCodec().decompress(Compression.LZX, 32768, chunks) == [data, b"\0"]


@pytest.mark.parametrize("chunk_size", [0, -1, 1 << 27, 3_000_000])
def test_chunk_sizes_that_no_wim_has_are_refused(chunk_size: int) -> None:
    with pytest.raises(WimsmithError):
        _libwim.LibwimCodec().decompress(Compression.LZX, chunk_size, [(b"abc", 500)])


def test_every_error_number_is_an_error_of_ours() -> None:
    errors = {number: _libwim.failure(number, "text of it", "a.wim") for number in range(1, 92)}
    for number, error in errors.items():
        if number != 76:
            assert f"a.wim: text of it (libwim error {number})" in str(error)
    kinds = {76: Cancelled, 13: DamagedWim, 18: NoSuchIndex, 49: NotFound, 33: NotSupported}
    assert {number: type(errors[number]) for number in kinds} == kinds
    assert isinstance(errors[39], WorkerFailed)
    assert "memory" in (errors[39].hint or "")


def test_a_missing_file_is_named_with_the_words_of_the_library(tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match=r"none\.wim: Failed to open a file \(libwim error 47\)"):
        _libwim.WimHandle.open(tmp_path / "none.wim", silent)
