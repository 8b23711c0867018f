"""libntfs-3g through ctypes: reads what stands on an NTFS volume, and sets extended attributes.

libwim writes and reads volumes with the same library, but leaves extended attributes out, and what
it wrote is better proved by a second way of reading. Only the worker process may load this module.
Facts about the interface are from the public headers of ntfs-3g 2022.10.3, those about attribute
records from the NTFS documentation of the Linux-NTFS project.
"""

import ctypes
import errno
import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import (
    POINTER,
    c_char_p,
    c_int,
    c_int64,
    c_size_t,
    c_uint,
    c_uint16,
    c_uint32,
    c_uint64,
    c_ulong,
    c_void_p,
)
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from wimsmith.errors import DamagedInput, NotSupported, WorkerFailed
from wimsmith.offline.changes import Times

SONAME = "libntfs-3g.so.89"

_READ_ONLY = 0x1
_ROOT, _FIRST_USER = 5, 24
_NAME_WIN32, _NAME_DOS, _NAME_BOTH = 1, 2, 3
_DATA, _REPARSE, _EXTENDED, _OBJECT_ID = 0x80, 0xC0, 0xE0, 0x40
_RECORD_NUMBER = (1 << 48) - 1
_NOT_THERE = (1 << 64) - 1
_SECURITY_CONTEXT_BYTES = 1024  # more than the structure has; its first field is the volume
_BUFFER_BYTES = 1 << 16
_READ_BYTES = 1 << 20
_IS_DIRECTORY, _IS_REPARSE = 0x10, 0x400

_FillFunction = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int, c_int64, c_uint64, c_uint)
_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ntfs_mount": (c_void_p, (c_char_p, c_ulong)),
    "ntfs_umount": (c_int, (c_void_p, c_int)),
    "ntfs_open_secure": (c_int, (c_void_p,)),
    "ntfs_close_secure": (c_int, (c_void_p,)),
    "ntfs_inode_open": (c_void_p, (c_void_p, c_uint64)),
    "ntfs_inode_close": (c_int, (c_void_p,)),
    "ntfs_inode_lookup_by_name": (c_uint64, (c_void_p, c_char_p, c_int)),
    "ntfs_readdir": (c_int, (c_void_p, POINTER(c_int64), c_void_p, _FillFunction)),
    "ntfs_get_ntfs_acl": (c_int, (c_void_p, c_void_p, c_char_p, c_size_t)),
    "ntfs_get_ntfs_attrib": (c_int, (c_void_p, c_char_p, c_size_t)),
    "ntfs_inode_get_times": (c_int, (c_void_p, c_char_p, c_size_t)),
    "ntfs_get_ntfs_reparse_data": (c_int, (c_void_p, c_char_p, c_size_t)),
    "ntfs_get_ntfs_object_id": (c_int, (c_void_p, c_char_p, c_size_t)),
    "ntfs_get_ntfs_ea": (c_int, (c_void_p, c_char_p, c_size_t)),
    "ntfs_set_ntfs_ea": (c_int, (c_void_p, c_char_p, c_size_t, c_int)),
    "ntfs_inode_set_times": (c_int, (c_void_p, c_char_p, c_size_t, c_int)),
    "ntfs_attr_get_search_ctx": (c_void_p, (c_void_p, c_void_p)),
    "ntfs_attr_put_search_ctx": (None, (c_void_p,)),
    "ntfs_attr_lookup": (
        c_int,
        (c_uint32, c_void_p, c_uint32, c_int, c_int64, c_void_p, c_uint32, c_void_p),
    ),
    "ntfs_attr_open": (c_void_p, (c_void_p, c_uint32, c_void_p, c_uint32)),
    "ntfs_attr_close": (None, (c_void_p,)),
    "ntfs_attr_pread": (c_int64, (c_void_p, c_int64, c_int64, c_void_p)),
}


@dataclass(frozen=True, slots=True)
class Name:
    """One name in a directory. `short_name` is empty where it has none, and may be the same."""

    name: str
    short_name: str
    record: int


@dataclass(slots=True)
class Facts:
    """A file or directory as it stands on the volume; times are FILETIME.

    `streams` has the size in bytes of every data stream by its name, "" for the main content.
    """

    attributes: int
    security: bytes
    created: int
    accessed: int
    written: int
    streams: dict[str, int] = field(default_factory=dict)
    reparse: bytes = b""
    object_id: bytes = b""
    extended: bytes = b""

    @property
    def is_directory(self) -> bool:
        return bool(self.attributes & _IS_DIRECTORY)

    @property
    def times(self) -> Times:
        return Times(self.created, self.accessed, self.written)


class Volume:
    """An NTFS volume in a file or block device. A context manager; not for several threads.

    Raises:
        DamagedInput: there is no NTFS volume that can be read.
        WorkerFailed: the library is missing, or the volume cannot be opened.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self._lib = library()
        self._path = path
        self._buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
        self._volume = self._lib.ntfs_mount(os.fsencode(path), 0 if writable else _READ_ONLY)
        if not self._volume:
            raise self._failure("cannot be opened as an NTFS volume")
        self._lib.ntfs_open_secure(self._volume)
        self._security = ctypes.create_string_buffer(_SECURITY_CONTEXT_BYTES)
        struct.pack_into("P", self._security, 0, self._volume)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._lib.ntfs_close_secure(self._volume)
        if self._lib.ntfs_umount(self._volume, 0) and error is None:
            raise self._failure("cannot be closed")

    def walk(self) -> Iterator[tuple[tuple[str, ...], Name, Facts]]:
        """Every name with what it stands for, folders before their content; the root first.

        The path of each is a tuple of names. Files of the file system itself are left out.

        Raises:
            DamagedInput: a directory has two names, as in a loop.
        """
        root = Name("", "", _ROOT)
        pending: list[tuple[tuple[str, ...], Name]] = [((), root)]
        entered: set[int] = set()
        while pending:
            path, name = pending.pop()
            with self._inode(name.record) as inode:
                facts = self._facts(inode)
                children = self._names(inode, name.record) if facts.is_directory else []
            if facts.is_directory and name.record in entered:
                raise DamagedInput(f"{self._path}: the directory {'/'.join(path)[:200]} is a loop")
            entered.add(name.record)
            yield path, name, facts
            pending.extend(((*path, child.name), child) for child in reversed(children))

    def root_names(self) -> list[str]:
        """Names in the root folder, but those of the file system itself."""
        with self._inode(_ROOT) as inode:
            return [name.name for name in self._names(inode, _ROOT)]

    def first_bytes(self, name: str, count: int) -> bytes:
        """The beginning of a file in the root folder; nothing where there is no such file."""
        record = self._lookup(_ROOT, name)
        if record is None:
            return b""
        block = ctypes.create_string_buffer(count)
        with self._inode(record) as inode, self._stream(inode, "") as attribute:
            done = self._lib.ntfs_attr_pread(attribute, 0, count, block)
        return block.raw[: max(0, done)]

    def digest(self, record: int, stream: str) -> bytes:
        """SHA-1 of a data stream, read from the volume."""
        digest = hashlib.sha1(usedforsecurity=False)
        with self._inode(record) as inode, self._stream(inode, stream) as attribute:
            block = ctypes.create_string_buffer(_READ_BYTES)
            place = 0
            while count := self._lib.ntfs_attr_pread(attribute, place, _READ_BYTES, block):
                if count < 0:
                    raise self._failure(f"record {record}: a stream cannot be read")
                digest.update(memoryview(block)[:count])
                place += count
        return digest.digest()

    def set_extended(self, path: tuple[str, ...], value: bytes) -> None:
        """Give the file or directory at `path` these extended attributes, keeping its times.

        Raises:
            NotSupported: the library does not accept them.
            WorkerFailed: there is no such file, or the volume is full.
        """
        with self._inode(self._find(path)) as inode:
            times = self._times(inode)
            if self._lib.ntfs_set_ntfs_ea(inode, value, len(value), 0):
                code = ctypes.get_errno()
                shown = "/".join(path)
                if code == errno.EOPNOTSUPP:
                    raise NotSupported("extended-attributes", f"{shown}: {os.strerror(code)}")
                raise self._failure(f"{shown}: extended attributes cannot be set")
            self._lib.ntfs_inode_set_times(inode, times, len(times), 0)

    def _find(self, path: tuple[str, ...]) -> int:
        record: int | None = _ROOT
        for name in path:
            record = None if record is None else self._lookup(record, name)
        if record is None:
            raise self._failure(f"{'/'.join(path)} cannot be found")
        return record

    def _lookup(self, folder: int, name: str) -> int | None:
        raw = name.encode("utf-16-le", "surrogatepass")
        with self._inode(folder) as inode:
            found = int(self._lib.ntfs_inode_lookup_by_name(inode, raw, len(raw) // 2))
        return None if found == _NOT_THERE else found & _RECORD_NUMBER

    def _facts(self, inode: int) -> Facts:
        (attributes,) = struct.unpack("<I", self._value(self._lib.ntfs_get_ntfs_attrib, inode))
        created, written, accessed = struct.unpack_from("<3Q", self._times(inode))
        facts = Facts(attributes, self._descriptor(inode), created, accessed, written)
        facts.streams = dict(self._streams(inode))
        if attributes & _IS_REPARSE:
            facts.reparse = self._value(self._lib.ntfs_get_ntfs_reparse_data, inode)
        if self._has(inode, _OBJECT_ID):
            facts.object_id = self._value(self._lib.ntfs_get_ntfs_object_id, inode)
        if self._has(inode, _EXTENDED):
            facts.extended = self._value(self._lib.ntfs_get_ntfs_ea, inode)
        return facts

    def _names(self, inode: int, folder: int) -> list[Name]:
        """Names in a directory, short names beside the long ones they belong to."""
        found: list[tuple[str, int, int]] = []

        def fill(
            _context: int, raw: int, length: int, kind: int, _place: int, reference: int, _type: int
        ) -> int:
            text = ctypes.string_at(raw, length * 2).decode("utf-16-le", "surrogatepass")
            found.append((text, kind, reference & _RECORD_NUMBER))
            return 0

        place = c_int64(0)
        function = _FillFunction(fill)
        if self._lib.ntfs_readdir(inode, ctypes.byref(place), None, function):
            raise self._failure(f"record {folder}: the directory cannot be read")
        shorts = {record: text for text, kind, record in found if kind == _NAME_DOS}
        return [
            Name(text, _short_name(text, kind, shorts.get(record, "")), record)
            for text, kind, record in found
            if kind != _NAME_DOS
            and text not in {".", ".."}
            and not (folder == _ROOT and record < _FIRST_USER)
        ]

    def _descriptor(self, inode: int) -> bytes:
        def get(node: int, buffer: Any, size: int) -> int:
            return int(self._lib.ntfs_get_ntfs_acl(self._security, node, buffer, size))

        return self._value(get, inode)

    def _times(self, inode: int) -> bytes:
        return self._value(self._lib.ntfs_inode_get_times, inode)

    def _value(self, get: Any, inode: int) -> bytes:
        """What a function of the library gives of a file; nothing where it has no such thing."""
        size = get(inode, self._buffer, len(self._buffer))
        if size < 0:
            if -size == errno.ENODATA:
                return b""
            ctypes.set_errno(-size)
            raise self._failure(f"{getattr(get, '__name__', 'a value')} failed")
        if size > len(self._buffer):
            self._buffer = ctypes.create_string_buffer(size)
            return self._value(get, inode)
        return self._buffer.raw[:size]

    def _has(self, inode: int, kind: int) -> bool:
        return next(self._records(inode, kind), None) is not None

    def _streams(self, inode: int) -> Iterator[tuple[str, int]]:
        for record in self._records(inode, _DATA):
            is_outside, length, name_at = struct.unpack_from("<BBH", record, 8)
            name = record[name_at : name_at + 2 * length].decode("utf-16-le", "surrogatepass")
            if not is_outside:
                yield name, struct.unpack_from("<I", record, 0x10)[0]
            elif struct.unpack_from("<Q", record, 0x10)[0] == 0:  # the first of its extents
                yield name, struct.unpack_from("<Q", record, 0x30)[0]

    def _records(self, inode: int, kind: int) -> Iterator[bytes]:
        """Attribute records of a kind, without resident values beyond what tells their size."""
        context = self._lib.ntfs_attr_get_search_ctx(inode, None)
        if not context:
            raise self._failure("no memory for a search")
        try:
            while not self._lib.ntfs_attr_lookup(kind, None, 0, 0, 0, None, 0, context):
                (address,) = struct.unpack_from("P", ctypes.string_at(context, 16), 8)
                (length,) = struct.unpack("<I", ctypes.string_at(address + 4, 4))
                yield ctypes.string_at(address, length)
        finally:
            self._lib.ntfs_attr_put_search_ctx(context)

    @contextmanager
    def _inode(self, record: int) -> Iterator[int]:
        inode = self._lib.ntfs_inode_open(self._volume, record)
        if not inode:
            raise self._failure(f"record {record} cannot be read")
        try:
            yield inode
        finally:
            closed = self._lib.ntfs_inode_close(inode)
        if closed:
            raise self._failure(f"record {record} cannot be written")

    @contextmanager
    def _stream(self, inode: int, name: str) -> Iterator[int]:
        raw = ctypes.create_string_buffer(name.encode("utf-16-le", "surrogatepass") + b"\0\0")
        place = raw if name else (c_uint16 * 1).in_dll(self._lib, "AT_UNNAMED")
        length = (len(raw) - 3) // 2
        attribute = self._lib.ntfs_attr_open(inode, _DATA, place, length if name else 0)
        if not attribute:
            raise self._failure(f"the stream {name!r} cannot be opened")
        try:
            yield attribute
        finally:
            self._lib.ntfs_attr_close(attribute)

    def _failure(self, what: str) -> WorkerFailed | DamagedInput:
        code = ctypes.get_errno()
        return WorkerFailed(f"{self._path}: {what}: {os.strerror(code)}")


def _short_name(name: str, kind: int, beside: str) -> str:
    """Short name that belongs to a long one: the one beside it, or the same for both."""
    if kind == _NAME_BOTH:
        return name
    return beside if kind == _NAME_WIN32 else ""


@cache
def library() -> Any:
    """The loaded library.

    Raises:
        WorkerFailed: it is not installed.
    """
    try:
        lib = ctypes.CDLL(SONAME, use_errno=True)
    except OSError as error:
        raise WorkerFailed(
            f"{SONAME} cannot be loaded: {error}", hint="Install the package libntfs-3g89."
        ) from error
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib
