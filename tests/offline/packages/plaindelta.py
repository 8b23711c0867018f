"""Patch streams read bit by bit, as slowly and plainly as the format is told. For tests.

Shares no code with the decoder: lists instead of tables and machine words, and one byte at a time.
"""

from collections.abc import Sequence

MAIN, LENGTHS, ALIGNED = 600, 256, 16
ALL = MAIN + LENGTHS + ALIGNED
PRETREE = 39
STEPS = {17: 1, 18: 2, 19: 3, 20: -1, 21: -2, 22: -3}
ASIDE = {
    0: (14, 1, 0x2000, 0x2000),
    1: (16, 0x8000, 0xA000, 0x6000),
    2: (18, 0x20000, 0x2A000, 0x16000),
}


class Broken(Exception):
    """A stream that means nothing."""


class PlainReader:
    """Bits of a stream, one list item each."""

    def __init__(self, data: bytes) -> None:
        self._bits = [byte >> index & 1 for byte in data for index in range(8)]
        self._at = 0
        self._end = len(self._bits)
        self._end -= self.bits(3)

    def bits(self, count: int) -> int:
        value = 0
        for index in range(count):
            if self._at >= self._end:
                raise Broken
            value |= self._bits[self._at] << index
            self._at += 1
        return value

    def zeros(self) -> int:
        count = 0
        while not self.bits(1):
            count += 1
        return count

    def number(self) -> int:
        digits = self.zeros() + 1
        return sum(self.bits(4) << 4 * digit for digit in range(digits))


def codes_of(lengths: Sequence[int]) -> dict[tuple[int, int], int]:
    """Symbols by length and code, the longest codes lowest."""
    found = {}
    code = 0
    for length in range(max(lengths, default=0), 0, -1):
        for symbol, own in enumerate(lengths):
            if own == length:
                if code >= 1 << length:
                    raise Broken
                found[length, code] = symbol
                code += 1
        if code & 1 and any(0 < own < length for own in lengths):
            raise Broken
        code >>= 1
    return found


def default_lengths() -> list[int]:
    """Lengths of the default tables, one after the other."""
    found = []
    for count in (MAIN, LENGTHS, ALIGNED):
        width = (count - 1).bit_length()
        shorter = (1 << width) - count
        found += [width - 1] * shorter + [width] * (count - shorter)
    return found


class PlainDecoder:
    """One patch stream without a rift table of its own."""

    def __init__(self, patch: bytes, reference: bytes) -> None:
        self._reader = PlainReader(patch)
        self._reference = len(reference)
        self._output = bytearray(reference)
        self._last = [0, 0, 0]
        if self._reader.bits(1):
            raise Broken
        self._segments = self._read_segments()

    def expand(self, symbols: int) -> bytes:
        """What the stream gives up to so many symbols, or up to the first that means nothing."""
        codes: list[dict[tuple[int, int], int]] = []
        number = -1
        for _count in range(symbols):
            here = max(
                (index for index, one in enumerate(self._segments) if one[0] <= len(self._output)),
                default=0,
            )
            if here != number:
                number, lengths = here, self._segments[here][1]
                parts = lengths[:MAIN], lengths[MAIN : MAIN + LENGTHS], lengths[MAIN + LENGTHS :]
                codes = [codes_of(part) for part in parts]
            whole = len(self._output)
            try:
                self._step(*codes)
            except Broken:
                del self._output[whole:]
                break
        return bytes(self._output[self._reference :])

    def _step(
        self,
        main: dict[tuple[int, int], int],
        long: dict[tuple[int, int], int],
        aligned: dict[tuple[int, int], int],
    ) -> None:
        symbol = self._symbol(main)
        if symbol < 256:
            self._output.append(symbol)
            return
        distance = self._distance((symbol - 256) >> 3, aligned)
        length = symbol & 7
        if length == 0:
            length = self._symbol(long) + 7
            if length == 7:
                zeros = self._reader.zeros()
                length += (1 << zeros + 8) + self._reader.bits(zeros + 8)
        if distance != self._last[0]:
            kept = [one for one in self._last[:2] if one != distance]
            self._last = [distance, *kept, self._last[2]][:3]
        for _count in range(length + 1):
            if not 0 < distance <= len(self._output):
                raise Broken
            self._output.append(self._output[-distance])

    def _distance(self, slot: int, aligned: dict[tuple[int, int], int]) -> int:
        if slot < 3:
            bits, middle, low, high = ASIDE[slot]
            value = self._reader.bits(bits)
            return value - (low if value < middle else high) + self._reference
        if slot == 3:
            return self._reference
        if slot < 7:
            return self._last[slot - 4]
        code = slot - 7
        if code == 0:
            code = self._rare()
        if code <= 3:
            return code
        base, extra = 2 + (code & 1), (code >> 1) - 1
        if extra < 4:
            return (base << extra) + self._reader.bits(extra)
        high_part = (base << extra - 4) + self._reader.bits(extra - 4)
        return 16 * high_part + self._symbol(aligned)

    def _rare(self) -> int:
        for first, bits in ((36, 2), (40, 3)):
            if not self._reader.bits(1):
                return first + self._reader.bits(bits)
        return 48 + self._reader.bits(4)

    def _symbol(self, codes: dict[tuple[int, int], int]) -> int:
        code = 0
        for length in range(1, 17):
            code = code << 1 | self._reader.bits(1)
            if (length, code) in codes:
                return codes[length, code]
        raise Broken

    def _read_segments(self) -> list[tuple[int, list[int]]]:
        reader = self._reader
        if reader.bits(1):
            return [(self._reference, default_lengths())]
        count = reader.number()
        if not 0 < count <= 1024:
            raise Broken
        starts = [reader.number() for _ in range(count)]
        pretree = codes_of([reader.bits(4) for _ in range(PRETREE)])
        found: list[tuple[int, list[int]]] = []
        for number in range(count):
            before = found[-1][1] if found else [0] * ALL
            found.append((sum(starts[: number + 1]), self._read_lengths(pretree, before)))
        return found

    def _read_lengths(self, pretree: dict[tuple[int, int], int], before: list[int]) -> list[int]:
        lengths: list[int] = []
        while len(lengths) < ALL:
            symbol = self._symbol(pretree)
            at = len(lengths)
            if symbol <= 22:
                lengths.append(symbol if symbol <= 16 else before[at] + STEPS[symbol])
            else:
                code = (symbol - 23) & 7
                count = code + 1
                if code >= 3:
                    count = (1 << code - 1) + self._reader.bits(code - 1)
                if at + count > ALL or (symbol < 31 and not at):
                    raise Broken
                lengths += before[at : at + count] if symbol >= 31 else lengths[-1:] * count
            if not 0 <= lengths[-1] <= 16:
                raise Broken
        return lengths
