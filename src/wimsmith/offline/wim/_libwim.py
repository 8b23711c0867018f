"""libwim.so.15 (wimlib 1.13 API) through ctypes: codecs and heavy verbs.

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
from dataclasses import dataclass
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
from wimsmith.offline.wim.codec import Compression

SONAME = "libwim.so.15"
OLDEST = (1, 13, 6)
MAX_CHUNK_BYTES = 1 << 26  # most that Microsoft's LZMS accepts, and more than any other method

ALL_IMAGES = -1
OPEN_CHECK_INTEGRITY = 0x1
WRITE_CHECK_INTEGRITY = 0x1
WRITE_RECOMPRESS = 0x10
WRITE_SOLID = 0x1000
EXPORT_BOOT = 0x1
EXTRACT_NO_ACLS = 0x40
EXTRACT_NORPFIX = 0x200
EXTRACT_GLOB_PATHS = 0x40000
EXTRACT_STRICT_GLOB = 0x80000
_INIT_CASE_INSENSITIVE = 0x20

_TYPES = {
    Compression.NONE: 0,
    Compression.XPRESS: 1,
    Compression.LZX: 2,
    Compression.LZMS: 3,
}
_COMPRESSIONS = {number: compression for compression, number in _TYPES.items()}

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


class _Integrity(ctypes.Structure):
    _fields_ = (
        ("total_bytes", c_uint64),
        ("completed_bytes", c_uint64),
        ("total_chunks", c_uint32),
        ("completed_chunks", c_uint32),
        ("chunk_size", c_uint32),
        ("filename", c_void_p),
    )


class _VerifyStreams(ctypes.Structure):
    _fields_ = (
        ("wimfile", c_void_p),
        ("total_streams", c_uint64),
        ("total_bytes", c_uint64),
        ("completed_streams", c_uint64),
        ("completed_bytes", c_uint64),
    )


class _Info(ctypes.Union):
    _fields_ = (
        ("write_streams", _WriteStreams),
        ("extract", _Extract),
        ("integrity", _Integrity),
        ("verify_streams", _VerifyStreams),
    )


class _WimInfo(ctypes.Structure):
    _fields_ = (
        ("guid", ctypes.c_uint8 * 16),
        ("image_count", c_uint32),
        ("boot_index", c_uint32),
        ("wim_version", c_uint32),
        ("chunk_size", c_uint32),
        ("part_number", ctypes.c_uint16),
        ("total_parts", ctypes.c_uint16),
        ("compression_type", c_int32),
        ("total_bytes", c_uint64),
        ("flags", c_uint32),
        ("reserved", c_uint32 * 9),
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
    "wimlib_get_wim_info": (c_int, (c_void_p, POINTER(_WimInfo))),
    "wimlib_set_output_chunk_size": (c_int, (c_void_p, c_uint32)),
    "wimlib_export_image": (c_int, (c_void_p, c_int, c_void_p, c_char_p, c_char_p, c_int)),
    "wimlib_write": (c_int, (c_void_p, c_char_p, c_int, c_int, c_uint)),
    "wimlib_verify_wim": (c_int, (c_void_p, c_int)),
    "wimlib_extract_image": (c_int, (c_void_p, c_int, c_char_p, c_int)),
    "wimlib_extract_paths": (
        c_int,
        (c_void_p, c_int, c_char_p, POINTER(c_char_p), c_size_t, c_int),
    ),
    "wimlib_free": (None, (c_void_p,)),
    "wimlib_set_default_compression_level": (c_int, (c_int, c_uint)),
    "wimlib_create_compressor": (c_int, (c_int, c_size_t, c_uint, POINTER(c_void_p))),
    "wimlib_compress": (c_size_t, (c_char_p, c_size_t, c_void_p, c_size_t, c_void_p)),
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


@dataclass(frozen=True, slots=True)
class WimInfo:
    """Facts of an open WIM that its copies need."""

    boot_index: int
    compression: Compression
    chunk_size: int


class WimHandle:
    """An open or new WIM of the library. A context manager; not for several threads."""

    def __init__(self, handle: c_void_p, about: str, callback: "_Callback") -> None:
        self._lib = library()
        self._handle = handle
        self._about = about
        self._callback = callback

    @classmethod
    def open(cls, path: Path, progress: Progress, *, check_integrity: bool = False) -> Self:
        """Open a file for reading; it is never opened for writing.

        Raises:
            DamagedWim: and others as `failure` says.
        """
        lib, handle, callback = library(), c_void_p(), _Callback(progress)
        flags = OPEN_CHECK_INTEGRITY if check_integrity else 0
        with callback.raising():
            number = lib.wimlib_open_wim_with_progress(
                os.fsencode(path), flags, ctypes.byref(handle), callback.function, None
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

    def info(self) -> WimInfo:
        """Facts of the file."""
        found = _WimInfo()
        self._call(self._lib.wimlib_get_wim_info, ctypes.byref(found))
        compression = _COMPRESSIONS[found.compression_type]
        return WimInfo(found.boot_index, compression, found.chunk_size)

    def export_to(self, target: "WimHandle", index: int, *, bootable: bool) -> None:
        """Take image `index` (1-based) with its name and description into `target`.

        Nothing is copied before `target` is written, which needs this one still open.
        """
        flags = EXPORT_BOOT if bootable else 0
        self._call(self._lib.wimlib_export_image, index, target._handle, None, None, flags)  # noqa: SLF001 - same class

    def write(self, path: Path, *, threads: int, recompress: bool, solid: bool) -> None:
        """Write all images to `path` with an integrity table; what was there is overwritten.

        Compressed data of exported images is copied as it is where type and chunk size match.
        """
        flags = WRITE_CHECK_INTEGRITY
        flags |= WRITE_RECOMPRESS if recompress else 0
        flags |= WRITE_SOLID if solid else 0
        self._about = str(path)
        self._call(self._lib.wimlib_write, os.fsencode(path), ALL_IMAGES, flags, threads)

    def verify(self) -> None:
        """Read all images and all content and compare every hash."""
        self._call(self._lib.wimlib_verify_wim, 0)

    def extract(self, index: int, target: Path, patterns: Sequence[str]) -> None:
        """Extract image `index`, or what `patterns` (with `?` and `*`) name, below `target`.

        Security descriptors are not extracted and link targets not adjusted.
        """
        flags, place = EXTRACT_NO_ACLS | EXTRACT_NORPFIX, os.fsencode(target)
        if not patterns:
            self._call(self._lib.wimlib_extract_image, index, place, flags)
            return
        names = [pattern.encode("utf-8", "surrogatepass") for pattern in patterns]
        paths = (c_char_p * len(names))(*names)
        flags |= EXTRACT_GLOB_PATHS | EXTRACT_STRICT_GLOB
        self._call(self._lib.wimlib_extract_paths, index, place, paths, len(names), flags)

    def _call(self, function: Any, *arguments: Any) -> None:
        with self._callback.raising():
            _check(self._lib, function(self._handle, *arguments), self._about)


class LibwimCodec:
    """Compresses and decompresses chunks in this process. The codec of the worker and of tests."""

    def __init__(self) -> None:
        self._lib = library()
        self._decompressors: dict[tuple[Compression, int], c_void_p] = {}
        self._compressors: dict[tuple[Compression, int, int], c_void_p] = {}

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
        """Unpack chunks that lie one behind the other, without copies in between.

        Args:
            compression: algorithm.
            chunk_size: size in bytes of a full chunk in this WIM.
            packed: the chunks, in writable memory.
            sizes: size in bytes of each chunk, packed and unpacked.

        Raises:
            DamagedWim: a chunk is not valid compressed data of that size.
        """
        _check_sizes(compression, chunk_size, len(packed), sizes)
        handle = self._decompressor(compression, chunk_size)
        unpacked = memoryview(bytearray(sum(after for _, after in sizes)))
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
        return [self._compress_one(compression, chunk_size, level, data) for data in chunks]

    def close(self) -> None:
        """Free what the library holds."""
        while self._decompressors:
            self._lib.wimlib_free_decompressor(self._decompressors.popitem()[1])
        while self._compressors:
            self._lib.wimlib_free_compressor(self._compressors.popitem()[1])

    def _compress_one(
        self, compression: Compression, chunk_size: int, level: int, data: bytes
    ) -> bytes | None:
        if compression is Compression.NONE or len(data) < 2:
            return None
        if len(data) > chunk_size:
            raise ValueError(f"{len(data)} bytes do not fit a chunk of {chunk_size}")
        handle = self._compressor(compression, chunk_size, level)
        buffer = ctypes.create_string_buffer(len(data) - 1)
        size = self._lib.wimlib_compress(data, len(data), buffer, len(buffer), handle)
        return buffer.raw[:size] if size else None

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


def _integrity_checked(info: Any) -> Event:
    now = info.integrity
    return Event("Checking integrity table", now.completed_bytes, now.total_bytes, "bytes")


def _integrity_made(info: Any) -> Event:
    now = info.integrity
    return Event("Making integrity table", now.completed_bytes, now.total_bytes, "bytes")


def _verified(info: Any) -> Event:
    now = info.verify_streams
    return Event("Verifying", now.completed_bytes, now.total_bytes, "bytes")


_EVENTS: dict[int, Callable[[Any], Event]] = {
    3: _created,
    4: _extracted,
    6: _finished,
    12: _written,
    16: _integrity_checked,
    17: _integrity_made,
    29: _verified,
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
) -> None:
    if sum(size for size, _ in sizes) != packed_bytes or min(map(min, sizes), default=0) < 0:
        raise DamagedWim(f"chunks that do not fill {packed_bytes} bytes")
    for size, after in sizes:
        if not 0 < after <= chunk_size or compression is Compression.NONE:
            raise DamagedWim(f"a chunk of {chunk_size} bytes that should hold {after}")
        if size > after:  # version 1.13.6 overruns its stack when LZMS is to give 1 or 2 bytes
            raise DamagedWim(f"a packed chunk of {size} bytes that should hold {after}")


def _chunk(chunk_size: int) -> int:
    if not 0 < chunk_size <= MAX_CHUNK_BYTES:
        raise DamagedWim(f"a chunk size of {chunk_size} bytes")
    return chunk_size
