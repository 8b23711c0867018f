"""PA30 deltas of plain files, written in the simplest way that a reader accepts.

Only the default tables of symbols are used, so nothing is packed well; what counts is that the
deltas are right. Facts: smilingthax/msdelta-pa30-format and jlevere/msdelta (public notes).
"""

import hashlib
import struct
from collections.abc import Iterator

_RAW = 1
_FLAGS = 0x20000
_SHA256 = 0x800C
_LITERALS, _LENGTHS, _ALIGNED = 600, 256, 16
_FIRST_COPY = 256
_WINDOW = 16
_LONGEST_COPY = 256


class _Bits:
    """Bits, the lowest of each byte first; three at the start count the padding at the end."""

    def __init__(self) -> None:
        self._value = 0
        self._count = 3
        self._bytes = bytearray()

    def put(self, value: int, count: int) -> None:
        self._value |= value << self._count
        self._count += count
        while self._count >= 8:
            self._bytes.append(self._value & 0xFF)
            self._value >>= 8
            self._count -= 8

    def symbol(self, symbol: int, alphabet: int) -> None:
        """A symbol of a default table: short codes for the first ones, codes from the top bit."""
        width = (alphabet - 1).bit_length()
        short = (1 << width) - alphabet
        if symbol < short:
            code, width = (alphabet - short) // 2 + symbol, width - 1
        else:
            code = symbol - short
        for bit in reversed(range(width)):
            self.put(code >> bit & 1, 1)

    def number(self, value: int) -> None:
        """As many zeros as further hexadecimal digits follow, a one, then the digits."""
        digits = max(1, (value.bit_length() + 3) // 4)
        self.put(1 << (digits - 1), digits)
        self.put(value, 4 * digits)

    def buffer(self, data: bytes) -> None:
        self.number(len(data))
        self.put(0, -self._count % 8)
        for byte in data:
            self.put(byte, 8)

    def done(self) -> bytes:
        padding = -self._count % 8
        self.put(0, padding)
        self._bytes[0] |= padding
        return bytes(self._bytes)


def build_delta(base: bytes, target: bytes, *, filetime: int = 0x01D0_0000_0000_0000) -> bytes:
    """A delta that makes `target` from `base`; without a base, a null delta."""
    bits = _Bits()
    for number in (1, _RAW, _FLAGS, len(target), _SHA256):
        bits.number(number)
    bits.buffer(hashlib.sha256(target).digest())
    bits.buffer(b"")
    bits.buffer(_patch(base, target))
    return b"PA30" + struct.pack("<Q", filetime) + bits.done()


def _patch(base: bytes, target: bytes) -> bytes:
    bits = _Bits()
    bits.put(0, 1)
    bits.put(1, 1)
    for at, length, source in _pieces(base, target):
        if source is None:
            for byte in target[at : at + length]:
                bits.symbol(byte, _LITERALS)
        else:
            _put_copy(bits, length, len(base) + at - source)
    return bits.done()


def _pieces(base: bytes, target: bytes) -> Iterator[tuple[int, int, int | None]]:
    """Place and length of each piece of the target, with its place in the base or None."""
    known = {base[at : at + _WINDOW]: at for at in range(len(base) - _WINDOW, -1, -1)}
    at = 0
    while at < len(target):
        source = known.get(target[at : at + _WINDOW])
        if source is None:
            yield at, 1, None
            at += 1
            continue
        length = _WINDOW
        while (
            length < _LONGEST_COPY
            and at + length < len(target)
            and base[source + length : source + length + 1] == target[at + length : at + length + 1]
        ):
            length += 1
        yield at, length, source
        at += length


def _put_copy(bits: _Bits, length: int, distance: int) -> None:
    """A copy of 16 to 256 bytes from 4 bytes or more back, through the output into the base."""
    width = distance.bit_length() - 2
    slot = 2 * (width + 1) + (distance >> width & 1) + 7
    extra = distance & ((1 << width) - 1)
    bits.symbol(_FIRST_COPY + 8 * slot, _LITERALS)
    if width < 4:
        bits.put(extra, width)
    else:
        bits.put(extra >> 4, width - 4)
        bits.symbol(extra & 15, _ALIGNED)
    bits.symbol(length - 8, _LENGTHS)
