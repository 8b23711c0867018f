"""Bit streams and Huffman tables of PA30 deltas.

Bits are taken from each byte lowest first. A stream starts with three bits that say how many bits
at its end are padding. Facts: docs/internals/deltas.md.

This module also runs compiled; `bits.pxd` states the C types. So `held` never has more than 64
bits, and what is shifted left is small enough for the type it has there.
"""

import sys
from array import array
from collections.abc import Sequence

from wimsmith.errors import DamagedDelta

MAX_CODE_BITS = 16
_UNIT_BYTES = 4
_SPARE_UNITS = 4
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class BitReader:
    """Reads one stream. The hot loop of the decoder works on the attributes directly.

    `held` are the `held_bits` next bits, `units[next_unit]` the 32 bits after them. Some zeros
    follow the stream; who reads past them is stopped by `refill`, who stops in them by `check_end`.
    """

    __slots__ = ("data", "held", "held_bits", "next_unit", "total_bits", "units")

    def __init__(self, data: bytes) -> None:
        if not data:
            raise DamagedDelta("an empty bit stream")
        self.data = data
        self.units = array("I", data + bytes(-len(data) % _UNIT_BYTES + _SPARE_UNITS * _UNIT_BYTES))
        if sys.byteorder == "big":
            self.units.byteswap()
        self.next_unit = 0
        self.held = 0
        self.held_bits = 0
        self.total_bits = len(data) * 8
        self.total_bits -= self.bits(3)
        if self.total_bits < 3:
            raise DamagedDelta("a bit stream that ends before it starts")

    def refill(self) -> None:
        """Hold at least 32 bits."""
        if self.held_bits < 32:
            if self.next_unit >= len(self.units):
                raise DamagedDelta("the delta ends too early")
            unit = self.units[self.next_unit]
            self.held |= unit << self.held_bits
            self.held_bits += 32
            self.next_unit += 1

    def bits(self, count: int) -> int:
        """The next `count` bits (at most 32) as a number."""
        self.refill()
        one = 1
        value = self.held & ((one << count) - 1)
        self.held >>= count
        self.held_bits -= count
        return value

    def number(self) -> int:
        """A number: zero bits count its further 4-bit digits, then come the digits."""
        digits = 1
        while not self.bits(1):
            digits += 1
            if digits > 16:
                raise DamagedDelta("a number of more than 64 bits")
        return sum(self.bits(4) << (4 * digit) for digit in range(digits))

    def long_number(self) -> int:
        """A number of at least 256: n zero bits, a one, and n + 8 bits below the highest."""
        zeros = 0
        while not self.bits(1):
            zeros += 1
            if zeros > 22:
                raise DamagedDelta("a copy of more than 2 GiB")
        return (1 << (zeros + 8)) + self.bits(zeros + 8)

    def buffer(self) -> bytes:
        """Bytes that stand in the stream: their number, then from the next whole byte on."""
        size_bytes = self.number()
        start = (self.position_bits + 7) // 8
        end = start + size_bytes
        if end * 8 > self.total_bits:
            raise DamagedDelta(f"a buffer of {size_bytes} bytes leaves its delta")
        self._seek(end)
        return self.data[start:end]

    def _seek(self, byte: int) -> None:
        self.next_unit = byte // _UNIT_BYTES
        self.held, self.held_bits = 0, 0
        self.bits(byte % _UNIT_BYTES * 8)

    @property
    def position_bits(self) -> int:
        return self.next_unit * 32 - self.held_bits

    @property
    def bits_left(self) -> int:
        """How many bits the stream still has; negative if more was read than there is."""
        return self.total_bits - self.position_bits

    def check_end(self) -> None:
        """Raise `DamagedDelta` if more was read than there is."""
        if self.bits_left < 0:
            raise DamagedDelta("the delta ends too early")


class HuffmanTable:
    """Look-up table of a code: index by the next `width` bits, find `symbol << 5 | length`.

    Codes go from the longest length to the shortest, the longest starting at 0. An entry of 0 is
    a bit pattern that no code uses.
    """

    __slots__ = ("entries", "width")

    def __init__(self, lengths: Sequence[int]) -> None:
        self.width = max(lengths, default=0)
        entries = array("I", bytes(_UNIT_BYTES << self.width))
        next_code = _first_codes(lengths, self.width)
        for symbol, length in enumerate(lengths):
            if length:
                code = next_code[length]
                next_code[length] = code + 1
                start = (_REVERSED[code & 255] << 8 | _REVERSED[code >> 8]) >> (16 - length)
                entry = array("I", (symbol << 5 | length,))
                entries[start :: 1 << length] = entry * (1 << (self.width - length))
        self.entries = entries

    def read(self, reader: BitReader) -> int:
        """The next symbol of a stream."""
        reader.refill()
        one = 1
        entry = self.entries[reader.held & ((one << self.width) - 1)]
        if not entry:
            raise DamagedDelta("a bit pattern that is no code")
        length = entry & 31
        reader.held >>= length
        reader.held_bits -= length
        return entry >> 5


def flat_lengths(count: int) -> list[int]:
    """Code lengths of an alphabet whose symbols are all about as likely."""
    most = (count - 1).bit_length()
    shorter = (1 << most) - count
    return [most - 1] * shorter + [most] * (count - shorter)


def _first_codes(lengths: Sequence[int], width: int) -> list[int]:
    counts = [0] * (width + 1)
    for length in lengths:
        counts[length] += 1
    first = [0] * (width + 1)
    code = 0
    for length in range(width, 0, -1):
        first[length] = code
        code += counts[length]
        if code > 1 << length or (code & 1 and any(counts[1:length])):
            raise DamagedDelta("code lengths that make no code")
        code >>= 1
    return first
