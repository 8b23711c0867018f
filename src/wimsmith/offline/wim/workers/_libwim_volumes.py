"""Capture from folders and NTFS volumes, and apply to NTFS volumes, through libwim.

What `_libwim` is for whole files, this is for what is outside of them: libwim reads and writes NTFS
through libntfs-3g, without a mount and, on image files, without root. Facts about the interface are
from the public header of wimlib 1.13 (`wimlib.h`); sizes of structures as there.
"""

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from wimsmith.errors import NotSupported
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.workers import _libwim

MAX_LISTED = 1000
"""So many paths of a kind are told; all are counted."""

_ADD_NTFS = 0x1
_ADD_NO_ACLS = 0x20
_ADD_TELL_EACH, _ADD_TELL_EXCLUDED = 0x4, 0x80
_ADD_FIX_LINKS, _ADD_KEEP_LINKS = 0x100, 0x200
_EXTRACT_NTFS = 0x1
_ITERATE_RECURSIVE = 0x1
_SCAN_BEGIN, _SCAN_ENTRY, _SCAN_END = 9, 10, 11
_EXCLUDED, _UNSUPPORTED, _FIXED_LINK, _KEPT_LINK = 1, 2, 3, 4
_NOT_UTF8 = 31


class _Scan(ctypes.Structure):
    _fields_ = (
        ("source", c_char_p),
        ("path", c_char_p),
        ("status", c_int),
        ("target", c_char_p),
        ("directories", c_uint64),
        ("files", c_uint64),
        ("size_bytes", c_uint64),
    )


class _DirectoryEntry(ctypes.Structure):
    """The first fields of an entry; the library allocates the rest."""

    _fields_ = (
        ("name", c_char_p),
        ("short_name", c_char_p),
        ("path", c_char_p),
        ("depth", c_size_t),
    )


_EntryFunction = ctypes.CFUNCTYPE(c_int, POINTER(_DirectoryEntry), c_void_p)

_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "wimlib_add_image": (c_int, (c_void_p, c_char_p, c_char_p, c_char_p, c_int)),
    "wimlib_reference_resource_files": (
        c_int,
        (c_void_p, POINTER(c_char_p), c_uint, c_int, c_int),
    ),
    "wimlib_iterate_dir_tree": (
        c_int,
        (c_void_p, c_int, c_char_p, c_int, _EntryFunction, c_void_p),
    ),
}


@dataclass(slots=True)
class Listed:
    """Paths of one kind: how many, and the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, path: str) -> None:
        """Count a path, and keep it if it is among the first."""
        self.count += 1
        if len(self.first) < MAX_LISTED:
            self.first.append(path)


@dataclass(slots=True)
class Scanned:
    """What a scan told: counts, and what was treated specially."""

    directories: int = 0
    files: int = 0
    size_bytes: int = 0
    excluded: Listed = field(default_factory=Listed)
    unsupported: Listed = field(default_factory=Listed)
    fixed_links: Listed = field(default_factory=Listed)
    kept_links: Listed = field(default_factory=Listed)


class VolumeHandle(_libwim.WimHandle):
    """A WIM of the library that takes images from folders and volumes, or gives them to volumes."""

    def add_image(
        self, source: Path, config: Path, *, name: str, is_ntfs: bool, fix_links: bool
    ) -> Scanned:
        """Scan a folder or an NTFS volume and add it as an image; content is read by `write`.

        Args:
            source: a folder, or an image file or block device with an NTFS volume.
            config: capture configuration in the wimscript.ini form.
            name: name of the image.
            is_ntfs: whether `source` is a volume.
            fix_links: make absolute links into the source relative to the root of the image.

        Raises:
            NotSupported: a name that is not UTF-8, or a libwim without NTFS.
            WorkerFailed: something cannot be read.
        """
        flags = _ADD_TELL_EACH | _ADD_TELL_EXCLUDED | (_ADD_NTFS if is_ntfs else _ADD_NO_ACLS)
        flags |= _ADD_FIX_LINKS if fix_links else _ADD_KEEP_LINKS
        with self._scanning() as scanned:
            place = os.fsencode(source)
            label = name.encode("utf-8", "surrogatepass")
            self._try(_prototyped().wimlib_add_image, place, label, os.fsencode(config), flags)
        return scanned

    def names(self) -> list[tuple[int, str]]:
        """Depth (the root has 0) and name of every entry of the image, folders before content."""
        found: list[tuple[int, str]] = []

        def visit(entry: Any, _context: int | None) -> int:
            name = entry.contents.name or b""
            found.append((entry.contents.depth, name.decode("utf-8", "surrogatepass")))
            return 0

        function = _EntryFunction(visit)
        self._try(
            _prototyped().wimlib_iterate_dir_tree, 1, b"/", _ITERATE_RECURSIVE, function, None
        )
        return found

    def write_part(self, path: Path, *, threads: int, solid: bool) -> None:
        """Write what was added to `path`, without an integrity table."""
        flags = _libwim.WRITE_SOLID if solid else 0
        self._about = str(path)
        self._try(self._lib.wimlib_write, os.fsencode(path), _libwim.ALL_IMAGES, flags, threads)

    def refer_to(self, files: Sequence[Path]) -> None:
        """Take content that is not in this file from others: parts of a set, bases of a delta."""
        names = [os.fsencode(file) for file in files]
        if names:
            array = (c_char_p * len(names))(*names)
            self._try(_prototyped().wimlib_reference_resource_files, array, len(names), 0, 0)

    def extract_to_volume(self, index: int, volume: Path) -> None:
        """Write image `index` into the NTFS volume in a file or block device."""
        self._try(self._lib.wimlib_extract_image, index, os.fsencode(volume), _EXTRACT_NTFS)

    def _try(self, function: Any, *arguments: Any) -> None:
        with self._callback.raising():
            number = function(self._handle, *arguments)
            if number == _NOT_UTF8:
                raise NotSupported("name-encoding", "a name that is not UTF-8", hint=_RENAME)
            _libwim._check(self._lib, number, self._about)  # noqa: SLF001 - one binding

    @contextmanager
    def _scanning(self) -> Iterator[Scanned]:
        """Let the library report to a scan instead of to the usual events."""
        usual, scan = self._callback, _ScanCallback(self._callback)
        self._callback = scan
        self._register(scan)
        try:
            yield scan.scanned
        finally:
            self._callback = usual
            self._register(usual)

    def _register(self, callback: _libwim._Callback) -> None:
        self._lib.wimlib_register_progress_function(self._handle, callback.function, None)


_RENAME = "Rename it to UTF-8, for example with convmv, or leave it out with --exclude."


class _ScanCallback(_libwim._Callback):  # noqa: SLF001 - one binding
    """Events of a scan, and what it says of single entries."""

    def __init__(self, usual: _libwim._Callback) -> None:
        progress: Progress = usual._progress  # noqa: SLF001 - same
        super().__init__(progress)
        self.scanned = Scanned()

    def _called(self, message: int, info: Any, context: int | None) -> int:
        if message not in {_SCAN_BEGIN, _SCAN_ENTRY, _SCAN_END}:
            return super()._called(message, info, context)
        try:
            self._scan(message, ctypes.cast(info, POINTER(_Scan)).contents)
        except BaseException as error:  # noqa: BLE001 - nothing may unwind through C
            self._raised = error
            return 1
        return 0

    def _scan(self, message: int, now: _Scan) -> None:
        scanned = self.scanned
        scanned.directories, scanned.files = now.directories, now.files
        scanned.size_bytes = now.size_bytes
        if message == _SCAN_ENTRY:
            self._note(now)
        self._progress(Event("Scanning", now.files + now.directories, 0, "files"))

    def _note(self, now: _Scan) -> None:
        kinds = {
            _EXCLUDED: self.scanned.excluded,
            _UNSUPPORTED: self.scanned.unsupported,
            _FIXED_LINK: self.scanned.fixed_links,
            _KEPT_LINK: self.scanned.kept_links,
        }
        kind = kinds.get(now.status)
        if kind is not None:
            kind.add((now.path or b"").decode("utf-8", "surrogateescape"))


@cache
def _prototyped() -> Any:
    lib = _libwim.library()
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def new(compression: Compression, chunk_size: int, progress: Progress) -> VolumeHandle:
    """A WIM in memory to capture into."""
    return VolumeHandle.new(compression, chunk_size, progress)
