"""PA19 patches, older than PA30 deltas: container, choice of the base, ranges, checksums.

Patches of plain files and of 64-bit programs are expanded. 32-bit programs are normalised before
such a patch is made, by rules that are not public; those patches are refused. Facts and their
sources: docs/internals/deltas.md.
"""

import zlib
from dataclasses import dataclass

from wimsmith.errors import DamagedDelta, LimitExceeded, NotSupported
from wimsmith.offline.packages.deltas.lzxdelta import (
    MAX_LARGE_WINDOW_BITS,
    MAX_WINDOW_BITS,
    expand_lzx_delta,
)

MAGIC = b"PA19"

_LARGE = 0x4
_NO_REBASE = 0x4_0000
_TIME_STAMP = 0x80_0000
_EXTRA_OPTIONS = 0x8000_0000
_KNOWN = 0x80FF_0007
_WHOLE_CHECKSUM = 0xFFFF_FFFF

_Ranges = tuple[tuple[int, int], ...]
"""Offset and size of each."""


@dataclass(frozen=True, slots=True)
class _Source:
    """One base that the patch is for. Retained ranges: in the base, and where in the target."""

    size_bytes: int
    checksum: int
    ignored: _Ranges
    retained: _Ranges
    retained_at: tuple[int, ...]
    stream_bytes: int

    def blanked(self, base: bytes) -> bytes:
        """The base as it was compressed against: zeros in ignored and retained ranges."""
        return _blanked(base, (*(self.ignored if self.stream_bytes else ()), *self.retained))

    @property
    def retained_in_target(self) -> _Ranges:
        sizes = [size for _offset, size in self.retained]
        return tuple(zip(self.retained_at, sizes, strict=True))


class _Fields:
    """Reads the fields of a patch one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = len(MAGIC)

    def fixed(self, size: int) -> int:
        if self.at + size > len(self.data):
            raise DamagedDelta("a patch that ends too early")
        self.at += size
        return int.from_bytes(self.data[self.at - size : self.at], "little")

    def number(self) -> int:
        """Seven bits per byte, lowest first; the last byte has its highest bit set."""
        value = 0
        for shift in range(0, 63, 7):
            byte = self.fixed(1)
            value |= (byte & 0x7F) << shift
            if byte & 0x80:
                return value
        raise DamagedDelta("a number of more than 63 bits")

    def signed(self) -> int:
        """The same with a sign below the highest bit of the first byte."""
        first = self.at
        value = self.number()
        value = value & 0x3F | value >> 7 << 6
        return -value if self.data[first] & 0x40 else value


@dataclass(frozen=True, slots=True)
class _Patch:
    options: int
    target_bytes: int
    target_checksum: int
    sources: tuple[_Source, ...]
    streams_at: int


def target_bytes(patch: bytes) -> int:
    """Size that a patch states for its target.

    Raises:
        DamagedDelta, NotSupported: as `apply_patch`.
    """
    return _read(patch).target_bytes


def apply_patch(base: bytes, patch: bytes, *, max_bytes: int) -> bytes:
    """Expand a PA19 patch; the result has the CRC-32 that the patch states.

    Raises:
        DamagedDelta: the format is broken, or it is not for this base.
        LimitExceeded: the target would be larger than `max_bytes`.
        NotSupported: `delta-kind`, a patch of a 32-bit program, or in several windows.
    """
    read = _read(patch)
    if read.target_bytes > max_bytes:
        raise LimitExceeded(f"a patch that expands to {read.target_bytes} bytes")
    start = read.streams_at
    for source in read.sources:
        if len(base) == source.size_bytes and zlib.crc32(source.blanked(base)) == source.checksum:
            return _applied(read, source, base, patch[start : start + source.stream_bytes])
        start += source.stream_bytes
    raise DamagedDelta("it was not made for this base")


def _applied(patch: _Patch, source: _Source, base: bytes, stream: bytes) -> bytes:
    large = bool(patch.options & _LARGE)
    if len(base) > 1 << (MAX_LARGE_WINDOW_BITS if large else MAX_WINDOW_BITS):
        raise NotSupported("delta-kind", "a PA19 delta in several windows")
    if stream:
        target = expand_lzx_delta(stream, source.blanked(base), patch.target_bytes, large=large)
    elif len(base) == patch.target_bytes:
        target = base
    else:
        raise DamagedDelta("a patch without content")
    if zlib.crc32(_blanked(target, source.retained_in_target)) != patch.target_checksum:
        raise DamagedDelta("the expanded file does not have its CRC-32")
    kept = bytearray(target)
    for (offset, size), at in zip(source.retained, source.retained_at, strict=True):
        kept[at : at + size] = base[offset : offset + size]
    return bytes(kept)


def _blanked(data: bytes, ranges: _Ranges) -> bytes:
    blank = bytearray(data)
    for offset, size in ranges:
        blank[offset : offset + size] = bytes(size)
    return bytes(blank)


def _read(patch: bytes) -> _Patch:
    if not patch.startswith(MAGIC):
        raise DamagedDelta("it does not start as a PA19 patch")
    if zlib.crc32(patch) != _WHOLE_CHECKSUM:
        raise DamagedDelta("the patch does not have its CRC-32")
    fields = _Fields(patch)
    options = fields.fixed(4)
    if options & ~_KNOWN:
        raise NotSupported("delta-kind", f"a PA19 delta with the options {options:#x}")
    if options & _EXTRA_OPTIONS:
        fields.fixed(4)
    if options & _TIME_STAMP:
        fields.fixed(4)
    if not options & _NO_REBASE:
        raise NotSupported("delta-kind", "a PA19 delta of a 32-bit program")
    size, checksum = fields.number(), fields.fixed(4)
    sources = tuple(_read_source(fields, size) for _ in range(fields.fixed(1)))
    if fields.at + sum(source.stream_bytes for source in sources) + 4 != len(patch):
        raise DamagedDelta("a patch that is longer or shorter than its parts")
    return _Patch(options, size, checksum, sources, fields.at)


def _read_source(fields: _Fields, target_size: int) -> _Source:
    size, checksum = target_size + fields.signed(), fields.fixed(4)
    ignored, retained, retained_at = [], [], []
    end = 0
    for _ in range(fields.fixed(1)):
        offset, length = end + fields.signed(), fields.number()
        end = _checked_end(offset, length, size)
        ignored.append((offset, length))
    end = 0
    for _ in range(fields.fixed(1)):
        offset, move, length = end + fields.signed(), fields.signed(), fields.number()
        end = _checked_end(offset, length, size)
        _checked_end(offset + move, length, target_size)
        retained.append((offset, length))
        retained_at.append(offset + move)
    if fields.number():
        raise NotSupported("delta-kind", "a PA19 delta of a 32-bit program")
    stream = fields.number()
    return _Source(size, checksum, tuple(ignored), tuple(retained), tuple(retained_at), stream)


def _checked_end(offset: int, length: int, size: int) -> int:
    if not 0 <= offset <= offset + length <= size:
        raise DamagedDelta("a range that leaves its file")
    return offset + length
