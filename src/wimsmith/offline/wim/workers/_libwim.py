"""libwim.so.15 (wimlib 1.13 API) through ctypes: codecs, and what all open files share.

Only the worker process (and tests) may load this module: the library is fed foreign bytes, runs for
minutes without a pause and has been seen to ask for 16 GB. Facts about the interface are from the
public header of wimlib 1.13 and 1.14 (`wimlib.h`); structure sizes were compared with a compiled
program on x86-64.
"""

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_int, c_int32, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from functools import cache
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from wimsmith.errors import (
    Cancelled,
    DamagedWim,
    NoSuchIndex,
    NotFound,
    NotSupported,
    WimsmithError,
    WorkerFailed,
)
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.wim.format.codec import Compression

SONAME = "libwim.so.15"
OLDEST = (1, 13, 6)
MAX_CHUNK_BYTES = 1 << 26  # most that Microsoft's LZMS accepts, and more than any other method

ALL_IMAGES = -1
WRITE_SOLID = 0x1000
_INIT_CASE_INSENSITIVE = 0x20

_TYPES = {
    Compression.NONE: 0,
    Compression.XPRESS: 1,
    Compression.LZX: 2,
    Compression.LZMS: 3,
}

_ABORTED = 76
_OUT_OF_MEMORY = 39
_NO_SUCH_INDEX = 18
_NOT_FOUND = 49
_NOT_SUPPORTED = {33: "split-wim", 36: "resource-only-wim", 68: "operation", 74: "encrypted-wim"}
_DAMAGED = frozenset(
    [2, 10, 13, 15, 16, 17, 19, 20, 21, 25, 26, 27, 28, 30, 43, 55, 62, 65, 67, 73, 84, 90]
)


class _WriteStreams(ctypes.Structure):
    _fields_ = (
        ("total_bytes", c_uint64),
        ("total_streams", c_uint64),
        ("completed_bytes", c_uint64),
        ("completed_streams", c_uint64),
        ("num_threads", c_uint32),
        ("compression_type", c_int32),
        ("total_parts", c_uint32),
        ("completed_parts", c_uint32),
        ("completed_compressed_bytes", c_uint64),
    )


class _Extract(ctypes.Structure):
    _fields_ = (
        ("image", c_uint32),
        ("extract_flags", c_uint32),
        ("wimfile_name", c_void_p),
        ("image_name", c_void_p),
        ("target", c_void_p),
        ("reserved", c_void_p),
        ("total_bytes", c_uint64),
        ("completed_bytes", c_uint64),
        ("total_streams", c_uint64),
        ("completed_streams", c_uint64),
        ("part_number", c_uint32),
        ("total_parts", c_uint32),
        ("guid", ctypes.c_uint8 * 16),
        ("current_file_count", c_uint64),
        ("end_file_count", c_uint64),
    )


class _Info(ctypes.Union):
    _fields_ = (
        ("write_streams", _WriteStreams),
        ("extract", _Extract),
    )


_ProgressFunction = ctypes.CFUNCTYPE(c_int, c_int, POINTER(_Info), c_void_p)

_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "wimlib_get_version": (c_uint32, ()),
    "wimlib_global_init": (c_int, (c_int,)),
    "wimlib_set_print_errors": (c_int, (ctypes.c_bool,)),
    "wimlib_get_error_string": (c_char_p, (c_int,)),
    "wimlib_open_wim_with_progress": (
        c_int,
        (c_char_p, c_int, POINTER(c_void_p), _ProgressFunction, c_void_p),
    ),
    "wimlib_create_new_wim": (c_int, (c_int, POINTER(c_void_p))),
    "wimlib_register_progress_function": (None, (c_void_p, _ProgressFunction, c_void_p)),
    "wimlib_set_output_chunk_size": (c_int, (c_void_p, c_uint32)),
    "wimlib_write": (c_int, (c_void_p, c_char_p, c_int, c_int, c_uint)),
    "wimlib_extract_image": (c_int, (c_void_p, c_int, c_char_p, c_int)),
    "wimlib_free": (None, (c_void_p,)),
    "wimlib_set_default_compression_level": (c_int, (c_int, c_uint)),
    "wimlib_create_compressor": (c_int, (c_int, c_size_t, c_uint, POINTER(c_void_p))),
    "wimlib_compress": (c_size_t, (c_void_p, c_size_t, c_void_p, c_size_t, c_void_p)),
    "wimlib_free_compressor": (None, (c_void_p,)),
    "wimlib_create_decompressor": (c_int, (c_int, c_size_t, POINTER(c_void_p))),
    "wimlib_decompress": (c_int, (c_void_p, c_size_t, c_void_p, c_size_t, c_void_p)),
    "wimlib_free_decompressor": (None, (c_void_p,)),
}


@cache
def library() -> Any:
    """The loaded library, initialised for case-insensitive paths; its errors go to stderr.

    Raises:
        WorkerFailed: it is not installed or too old.
    """
    try:
        lib = ctypes.CDLL(SONAME)
    except OSError as error:
        raise WorkerFailed(
            f"{SONAME} cannot be loaded: {error}",
            hint="Install the package libwim15 (on other systems: wimlib 1.13.6 or newer).",
        ) from error
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    if _version(lib) < OLDEST:
        raise WorkerFailed(f"libwim {_dotted(_version(lib))} is older than {_dotted(OLDEST)}")
    _check(lib, lib.wimlib_global_init(_INIT_CASE_INSENSITIVE), SONAME)
    lib.wimlib_set_print_errors(True)
    return lib


def version() -> tuple[int, int, int]:
    """Version of the loaded library, as it reports itself."""
    return _version(library())


class WimHandle:
    """An open or new WIM of the library. A context manager; not for several threads."""

    def __init__(self, handle: c_void_p, about: str, callback: "_Callback") -> None:
        self._lib = library()
        self._handle = handle
        self._about = about
        self._callback = callback

    @classmethod
    def open(cls, path: Path, progress: Progress) -> Self:
        """Open a file for reading; it is never opened for writing.

        Raises:
            DamagedWim: and others as `failure` says.
        """
        lib, handle, callback = library(), c_void_p(), _Callback(progress)
        with callback.raising():
            number = lib.wimlib_open_wim_with_progress(
                os.fsencode(path), 0, ctypes.byref(handle), callback.function, None
            )
            _check(lib, number, path)
        return cls(handle, str(path), callback)

    @classmethod
    def new(cls, compression: Compression, chunk_size: int, progress: Progress) -> Self:
        """A WIM without images that exists in memory only, until `write`."""
        lib, handle, callback = library(), c_void_p(), _Callback(progress)
        _check(lib, lib.wimlib_create_new_wim(_TYPES[compression], ctypes.byref(handle)), "new WIM")
        lib.wimlib_register_progress_function(handle, callback.function, None)
        new = cls(handle, "new WIM", callback)
        if compression is not Compression.NONE:
            _check(lib, lib.wimlib_set_output_chunk_size(handle, chunk_size), "new WIM")
        return new

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._lib.wimlib_free(self._handle)


class LibwimCodec:
    """Compresses and decompresses chunks in this process. The codec of the worker and of tests.

    For one thread at a time.
    """

    workers = 1

    def __init__(self) -> None:
        self._lib = library()
        self._decompressors: dict[tuple[Compression, int], c_void_p] = {}
        self._compressors: dict[tuple[Compression, int, int], c_void_p] = {}
        self._space = bytearray()

    def decompress(
        self, compression: Compression, chunk_size: int, chunks: Sequence[tuple[bytes, int]]
    ) -> list[bytes]:
        """Decompress chunks, each given with its size after; see `Codec`.

        Raises:
            DamagedWim: a chunk is not valid compressed data of that size.
        """
        sizes = [(len(data), size_after) for data, size_after in chunks]
        packed = bytearray().join(data for data, _ in chunks)
        unpacked = self.decompress_all(compression, chunk_size, memoryview(packed), sizes)
        ends = accumulate(size_after for _, size_after in sizes)
        return [
            bytes(unpacked[end - size_after : end])
            for end, (_, size_after) in zip(ends, sizes, strict=True)
        ]

    def decompress_all(
        self,
        compression: Compression,
        chunk_size: int,
        packed: memoryview,
        sizes: Sequence[tuple[int, int]],
    ) -> memoryview:
        """Unpack chunks that lie one behind the other; the result is valid until the next call.

        Args:
            compression: algorithm.
            chunk_size: size in bytes of a full chunk in this WIM.
            packed: the chunks, in writable memory.
            sizes: size in bytes of each chunk, packed and unpacked.

        Raises:
            DamagedWim: a chunk is not valid compressed data of that size.
        """
        size_bytes = _check_sizes(compression, chunk_size, len(packed), sizes)
        handle = self._decompressor(compression, chunk_size)
        if size_bytes > len(self._space):  # new memory for each call costs a tenth more
            self._space = bytearray(size_bytes)
        unpacked = memoryview(self._space)[:size_bytes]
        source, target = _address(packed), _address(unpacked)
        for size, after in sizes:
            if size == after:  # the rule of the format: what did not shrink is stored as it is
                ctypes.memmove(target, source, size)
            elif self._lib.wimlib_decompress(source, size, target, after, handle):
                raise DamagedWim(f"invalid {compression} data in a chunk of {size} bytes")
            source, target = source + size, target + after
        return unpacked

    def compress(
        self, compression: Compression, chunk_size: int, level: int, chunks: Sequence[bytes]
    ) -> list[bytes | None]:
        """Compress chunks; None stands for one that would not become smaller; see `Codec`."""
        raw, sizes = bytearray().join(chunks), [len(data) for data in chunks]
        packed, found = self.compress_all(compression, chunk_size, level, memoryview(raw), sizes)
        ends = accumulate(max(0, size) for size in found)
        return [
            None if size < 0 else bytes(packed[end - size : end])
            for end, size in zip(ends, found, strict=True)
        ]

    def compress_all(
        self,
        compression: Compression,
        chunk_size: int,
        level: int,
        raw: memoryview,
        sizes: Sequence[int],
    ) -> tuple[memoryview, list[int]]:
        """Pack chunks that lie one behind the other, without copies in between.

        Args:
            compression: algorithm.
            chunk_size: size in bytes of a full chunk in this WIM.
            level: how hard to try.
            raw: the chunks, in writable memory.
            sizes: size in bytes of each chunk.

        Returns:
            Those that shrank, one behind the other, and the size of each; -1 for one that did not.
        """
        if sum(sizes) != len(raw) or max(sizes, default=0) > chunk_size:
            raise ValueError(f"{len(raw)} bytes are not {len(sizes)} chunks of {chunk_size}")
        packed = memoryview(bytearray(len(raw)))
        source, target = _address(raw), _address(packed)
        used, found = 0, []
        for size in sizes:
            after = -1
            if compression is not Compression.NONE and size > 1:
                handle = self._compressor(compression, chunk_size, level)
                room = size - 1
                after = self._lib.wimlib_compress(source, size, target + used, room, handle) or -1
            found.append(after)
            source, used = source + size, used + max(0, after)
        return packed[:used], found

    def close(self) -> None:
        """Free what the library holds."""
        while self._decompressors:
            self._lib.wimlib_free_decompressor(self._decompressors.popitem()[1])
        while self._compressors:
            self._lib.wimlib_free_compressor(self._compressors.popitem()[1])

    def _decompressor(self, compression: Compression, chunk_size: int) -> c_void_p:
        key = (compression, chunk_size)
        if key not in self._decompressors:
            handle = c_void_p()
            number = self._lib.wimlib_create_decompressor(
                _TYPES[compression], _chunk(chunk_size), ctypes.byref(handle)
            )
            _check(self._lib, number, f"{compression} with chunks of {chunk_size} bytes")
            self._decompressors[key] = handle
        return self._decompressors[key]

    def _compressor(self, compression: Compression, chunk_size: int, level: int) -> c_void_p:
        key = (compression, chunk_size, level)
        if key not in self._compressors:
            handle = c_void_p()
            number = self._lib.wimlib_create_compressor(
                _TYPES[compression], _chunk(chunk_size), level, ctypes.byref(handle)
            )
            _check(self._lib, number, f"{compression} with chunks of {chunk_size} bytes")
            self._compressors[key] = handle
        return self._compressors[key]


def set_compression_level(level: int) -> None:
    """Level for all that is compressed from here on: 20 fast, 50 the library's own, 100 slow."""
    _check(library(), library().wimlib_set_default_compression_level(-1, level), "level")


def failure(number: int, text: str, about: str) -> WimsmithError:
    """Our error for error `number` of the library, whose own words are `text`."""
    what = f"{about}: {text} (libwim error {number})"
    if number in _DAMAGED:
        return DamagedWim(what)
    if number == _NO_SUCH_INDEX:
        return NoSuchIndex(what)
    if number == _NOT_FOUND:
        return NotFound(what)
    if number in _NOT_SUPPORTED:
        return NotSupported(_NOT_SUPPORTED[number], what)
    if number == _ABORTED:
        return Cancelled(about)
    if number == _OUT_OF_MEMORY:
        return WorkerFailed(what, hint="The operation needs more memory than a worker may use.")
    return WorkerFailed(what)


class _Callback:
    """Turns the library's progress calls into events; an exception of `progress` aborts it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._raised: BaseException | None = None
        self.function = _ProgressFunction(self._called)  # the library keeps only the address

    @contextmanager
    def raising(self) -> Iterator[None]:
        try:
            yield
        except Cancelled:
            if self._raised is None:
                raise
            raised, self._raised = self._raised, None
            raise raised from None

    def _called(self, message: int, info: Any, _context: int | None) -> int:
        try:
            read = _EVENTS.get(message)
            if read is not None:
                self._progress(read(info.contents))
        except BaseException as error:  # noqa: BLE001 - nothing may unwind through C
            self._raised = error
            return 1
        return 0


def _written(info: Any) -> Event:
    now = info.write_streams
    return Event("Writing", now.completed_bytes, now.total_bytes, "bytes")


def _extracted(info: Any) -> Event:
    return Event("Extracting", info.extract.completed_bytes, info.extract.total_bytes, "bytes")


def _created(info: Any) -> Event:
    now = info.extract
    return Event("Creating folders", now.current_file_count, now.end_file_count, "files")


def _finished(info: Any) -> Event:
    now = info.extract
    return Event("Setting times", now.current_file_count, now.end_file_count, "files")


_EVENTS: dict[int, Callable[[Any], Event]] = {
    3: _created,
    4: _extracted,
    6: _finished,
    12: _written,
}


def _check(lib: Any, number: int, about: object) -> None:
    if number:
        _raise(lib, number, str(about))


def _raise(lib: Any, number: int, about: str) -> NoReturn:
    text = lib.wimlib_get_error_string(number).decode("utf-8", "replace")
    raise failure(number, text, about)


def _version(lib: Any) -> tuple[int, int, int]:
    packed = lib.wimlib_get_version()
    return packed >> 20, packed >> 10 & 0x3FF, packed & 0x3FF


def _dotted(numbers: tuple[int, int, int]) -> str:
    return ".".join(str(number) for number in numbers)


def _address(data: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(data)) if data else 0


def _check_sizes(
    compression: Compression, chunk_size: int, packed_bytes: int, sizes: Sequence[tuple[int, int]]
) -> int:
    """The unpacked size in bytes of chunks whose sizes may be true."""
    if compression is Compression.NONE and sizes:
        raise DamagedWim("packed chunks in a file that is not compressed")
    packed_sum = unpacked_sum = 0
    for size, after in sizes:
        if not 0 < after <= chunk_size:
            raise DamagedWim(f"a chunk of {chunk_size} bytes that should hold {after}")
        # Version 1.13.6 overruns its stack when LZMS is to give 1 or 2 bytes.
        if not 0 < size <= after:
            raise DamagedWim(f"a packed chunk of {size} bytes that should hold {after}")
        packed_sum += size
        unpacked_sum += after
    if packed_sum != packed_bytes:
        raise DamagedWim(f"chunks that do not fill {packed_bytes} bytes")
    return unpacked_sum


def _chunk(chunk_size: int) -> int:
    if not 0 < chunk_size <= MAX_CHUNK_BYTES:
        raise DamagedWim(f"a chunk size of {chunk_size} bytes")
    return chunk_size
