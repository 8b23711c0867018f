"""PA19 patches made for tests, by code that shares nothing with the decoder."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from offline.packages.made import Copy

CHUNK_BYTES = 0x8000
OPTIONS = 0x00C4_0001
_MAIN, _LENGTHS = 256 + 8 * 34, 249


class WordWriter:
    """Bits highest first in 16-bit words, in chunks that start with their size."""

    def __init__(self) -> None:
        self.done = bytearray()
        self.chunk = bytearray()
        self._bits: list[int] = []

    def bits(self, value: int, count: int) -> None:
        self._bits += [value >> index & 1 for index in reversed(range(count))]
        while len(self._bits) >= 16:
            word = int("".join(map(str, self._bits[:16])), 2)
            self.chunk += word.to_bytes(2, "little")
            del self._bits[:16]

    def align(self) -> None:
        self.bits(0, -len(self._bits) % 16)

    def end_chunk(self) -> None:
        self.align()
        self.done += struct.pack("<H", len(self.chunk)) + self.chunk
        self.chunk = bytearray()


def flat(symbol: int, alphabet: int) -> tuple[int, int]:
    """A symbol's code where the first symbols have one bit less than the others."""
    bits = (alphabet - 1).bit_length()
    shorter = (1 << bits) - alphabet
    if symbol < shorter:
        return symbol, bits - 1
    return 2 * shorter + symbol - shorter, bits


def compressed(
    operations: Sequence[bytes | Copy], *, aligned: bool = False, call_bytes: int | None = None
) -> bytes:
    """One block; a copy may name one of the last three distances by `slot` 0 to 2."""
    writer = WordWriter()
    _write_filter(writer, call_bytes)
    size = sum(len(one) if isinstance(one, bytes) else one.length for one in operations)
    writer.bits(2 if aligned else 1, 3)
    writer.bits(size, 24)
    for _symbol in range(8 if aligned else 0):
        writer.bits(3, 3)
    _write_lengths(writer, _MAIN, 0, 256)
    _write_lengths(writer, _MAIN, 256, _MAIN)
    _write_lengths(writer, _LENGTHS, 0, _LENGTHS)
    at = 0
    for operation in operations:
        pieces: list[bytes | Copy] = [operation]
        if isinstance(operation, bytes):
            pieces = [operation[index : index + 1] for index in range(len(operation))]
        for piece in pieces:
            if at and at % CHUNK_BYTES == 0:
                writer.end_chunk()
            if isinstance(piece, bytes):
                writer.bits(*flat(piece[0], _MAIN))
                at += 1
            else:
                _write_copy(writer, piece, aligned=aligned)
                at += piece.length
    writer.end_chunk()
    return bytes(writer.done)


def stored(data: bytes, *, call_bytes: int | None = None) -> bytes:
    """One block of stored bytes."""
    writer = WordWriter()
    _write_filter(writer, call_bytes)
    writer.bits(3, 3)
    writer.bits(len(data), 24)
    writer.align()
    writer.chunk += struct.pack("<III", 1, 1, 1)
    for start in range(0, len(data), CHUNK_BYTES):
        writer.chunk += data[start : start + CHUNK_BYTES]
        writer.end_chunk()
    return bytes(writer.done)


def _write_filter(writer: WordWriter, call_bytes: int | None) -> None:
    writer.bits(call_bytes is not None, 1)
    if call_bytes is not None:
        writer.bits(call_bytes, 32)


def _write_lengths(writer: WordWriter, alphabet: int, start: int, end: int) -> None:
    """Lengths of a flat code; the code for them has two symbols of one bit."""
    lengths = [flat(symbol, alphabet)[1] for symbol in range(start, end)]
    told = [17 - length for length in lengths]
    used = sorted({*told, 0, 1})[-2:] if len(set(told)) == 1 else sorted(set(told))
    for symbol in range(20):
        writer.bits(int(symbol in used), 4)
    for symbol in told:
        writer.bits(used.index(symbol), 1)


def _write_copy(writer: WordWriter, copy: Copy, *, aligned: bool) -> None:
    slot, extra, extra_bits = _slot(copy)
    short = min(copy.length - 2, 7)
    writer.bits(*flat(256 + 8 * slot + short, _MAIN))
    if short == 7:
        writer.bits(*flat(min(copy.length, 257) - 9, _LENGTHS))
    if aligned and extra_bits >= 3:
        writer.bits(extra >> 3, extra_bits - 3)
        writer.bits(extra & 7, 3)
    else:
        writer.bits(extra, extra_bits)
    if copy.length >= 257:
        _write_long(writer, copy.length - 257)


def _write_long(writer: WordWriter, more: int) -> None:
    for prefix, prefix_bits, base, bits in ((0, 1, 0, 8), (2, 2, 256, 10), (6, 3, 1280, 12)):
        if more < base + (1 << bits):
            writer.bits(prefix, prefix_bits)
            writer.bits(more - base, bits)
            return
    writer.bits(7, 3)
    writer.bits(more, 15)


def _slot(copy: Copy) -> tuple[int, int, int]:
    if copy.slot is not None:
        return copy.slot, 0, 0
    value = copy.distance + 2
    if value < 4:
        return value, 0, 0
    bits = value.bit_length() - 2
    return 2 * (bits + 1) + (value >> bits & 1), value & ((1 << bits) - 1), bits


@dataclass(frozen=True)
class Source:
    """A base of a patch: ignored ranges (offset, size), retained ones (offset, target, size)."""

    base: bytes
    stream: bytes
    ignored: tuple[tuple[int, int], ...] = ()
    retained: tuple[tuple[int, int, int], ...] = ()
    special: int = 0


def patch(target: bytes, *sources: Source, options: int = OPTIONS) -> bytes:
    """A PA19 file. Retained ranges have to be the same in the target for all sources."""
    blank = _blank(target, [(at, size) for _offset, at, size in sources[0].retained])
    head = b"PA19" + struct.pack("<I", options)
    if options & 0x80_0000:
        head += struct.pack("<I", 0x5000_0000)
    if not options & 0x4_0000:
        head += _number(0)
    head += _number(len(target)) + struct.pack("<IB", zlib.crc32(blank), len(sources))
    for one in sources:
        kept = [(offset, size) for offset, _at, size in one.retained]
        base = _blank(one.base, [*(one.ignored if one.stream else ()), *kept])
        head += _signed(len(one.base) - len(target)) + struct.pack("<I", zlib.crc32(base))
        head += _ranges([(offset, None, size) for offset, size in one.ignored])
        head += _ranges(list(one.retained))
        head += _number(one.special) + _number(len(one.stream))
    return with_checksum(head + b"".join(one.stream for one in sources))


def with_checksum(data: bytes) -> bytes:
    """Four bytes more, after which the CRC-32 of all is that of every whole patch."""
    return data + (zlib.crc32(data) ^ 0xFFFF_FFFF).to_bytes(4, "little")


def _blank(data: bytes, ranges: Sequence[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for offset, size in ranges:
        changed[offset : offset + size] = bytes(size)
    return bytes(changed)


def _ranges(ranges: Sequence[tuple[int, int | None, int]]) -> bytes:
    found, end = bytes([len(ranges)]), 0
    for offset, at, size in ranges:
        found += _signed(offset - end)
        found += b"" if at is None else _signed(at - offset)
        found += _number(size)
        end = offset + size
    return found


def _number(value: int) -> bytes:
    found = bytearray([value & 0x7F])
    while value := value >> 7:
        found.append(value & 0x7F)
    found[-1] |= 0x80
    return bytes(found)


def _signed(number: int) -> bytes:
    value = abs(number)
    found = bytearray([value & 0x3F | (0x40 if number < 0 else 0)])
    value >>= 6
    while value:
        found.append(value & 0x7F)
        value >>= 7
    found[-1] |= 0x80
    return bytes(found)
