"""Bit streams and Huffman tables of PA30 deltas.

Bits are taken from each byte lowest first. A stream starts with three bits that say how many bits
at its end are padding. Facts: docs/internals/packages.md.
"""

from collections.abc import Sequence

from wimsmith.errors import DamagedDelta

MAX_CODE_BITS = 16
REFILL_BYTES = 8
_SPARE = bytes(4 * REFILL_BYTES)


class BitReader:
    """Reads one stream. The hot loop of the decoder works on the attributes directly.

    `held` are the `held_bits` next bits; `next_byte` is where the following ones are in `data`,
    which is followed by spare zeros so that a refill never runs out. Reading past the end is seen
    at the next refill or by `check_end`.
    """

    __slots__ = ("data", "held", "held_bits", "last_byte", "next_byte", "total_bits")

    def __init__(self, data: bytes) -> None:
        if not data:
            raise DamagedDelta("an empty bit stream")
        self.data = data + _SPARE
        self.last_byte = len(data) + 2 * REFILL_BYTES
        self.next_byte = 0
        self.held = 0
        self.held_bits = 0
        self.total_bits = len(data) * 8
        self.total_bits -= self.bits(3)
        if self.total_bits < 3:
            raise DamagedDelta("a bit stream that ends before it starts")

    def refill(self) -> None:
        if self.next_byte > self.last_byte:
            raise DamagedDelta("the delta ends too early")
        more = self.data[self.next_byte : self.next_byte + REFILL_BYTES]
        self.held |= int.from_bytes(more, "little") << self.held_bits
        self.next_byte += REFILL_BYTES
        self.held_bits += 8 * REFILL_BYTES

    def bits(self, count: int) -> int:
        """The next `count` bits (at most 64) as a number."""
        while self.held_bits < count:
            self.refill()
        value = self.held & ((1 << count) - 1)
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
        return self.bits(4 * digits)

    def long_number(self) -> int:
        """A number of at least 256: n zero bits, a one, and n + 8 bits below the highest."""
        zeros = 0
        while not self.bits(1):
            zeros += 1
            if zeros > 24:
                raise DamagedDelta("a copy of more than 4 GiB")
        return 1 << (zeros + 8) | self.bits(zeros + 8)

    def buffer(self) -> bytes:
        """Bytes that stand in the stream: their number, then from the next whole byte on."""
        size_bytes = self.number()
        start = (self.position_bits + 7) // 8
        end = start + size_bytes
        if end * 8 > self.total_bits:
            raise DamagedDelta(f"a buffer of {size_bytes} bytes leaves its delta")
        self.next_byte, self.held, self.held_bits = end, 0, 0
        return self.data[start:end]

    @property
    def position_bits(self) -> int:
        return self.next_byte * 8 - self.held_bits

    def check_end(self) -> None:
        """Raise `DamagedDelta` if more was read than there is."""
        if self.position_bits > self.total_bits:
            raise DamagedDelta("the delta ends too early")


class HuffmanTable:
    """Look-up table of a code: index by the next `width` bits, find `symbol << 5 | length`.

    Codes go from the longest length to the shortest, the longest starting at 0. An entry of 0 is
    a bit pattern that no code uses.
    """

    __slots__ = ("entries", "width")

    def __init__(self, lengths: Sequence[int]) -> None:
        self.width = max(lengths, default=0)
        self.entries = [0] * (1 << self.width)
        next_code = _first_codes(lengths, self.width)
        for symbol, length in enumerate(lengths):
            if length:
                start = _reversed(next_code[length], length)
                same = 1 << (self.width - length)
                self.entries[start :: 1 << length] = [symbol << 5 | length] * same
                next_code[length] += 1

    def read(self, reader: BitReader) -> int:
        """The next symbol of a stream."""
        while reader.held_bits < MAX_CODE_BITS:
            reader.refill()
        entry = self.entries[reader.held & ((1 << self.width) - 1)]
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


def _reversed(code: int, length: int) -> int:
    return int(f"{code:0{length}b}"[::-1], 2)
