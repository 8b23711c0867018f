"""Rift tables of PA30 deltas: how parts of a file or of an address space moved.

A table is a list of places, each with the distance by which everything from there on moved, up to
the next place. Facts: docs/internals/deltas.md.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wimsmith.errors import DamagedDelta
from wimsmith.offline.packages.deltas.bits import MAX_CODE_BITS, BitReader, HuffmanTable

_SIGNED_SYMBOLS = 252
_HALF = _SIGNED_SYMBOLS // 2
FAR = 1 << 48

Piece = tuple[int, int, int]
"""First place, place after the last, and by how much all of them moved."""


@dataclass(frozen=True, slots=True)
class Rift:
    """From `places[n]` on, everything moved by `moves[n]`.

    Places go round: what stands before the first place moved as what stands after the last.
    """

    places: tuple[int, ...] = ()
    moves: tuple[int, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[tuple[int, int]]) -> "Rift":
        """A rift from places and moves in any order; of equal places the last one counts."""
        ordered = dict(sorted(entries, key=lambda entry: entry[0]))
        return cls(tuple(ordered), tuple(ordered.values()))

    def map(self, place: int) -> int:
        """Where `place` moved to."""
        if not self.places:
            return place
        return place + self.moves[bisect_right(self.places, place) - 1]

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """Parts of `start` to `end` that moved together."""
        index = bisect_right(self.places, start) - 1
        while start < end:
            move = self.moves[index] if self.places else 0
            index += 1
            stop = min(end, self.places[index]) if index < len(self.places) else end
            yield start, stop, move
            start = stop

    def everything(self) -> Iterator[Piece]:
        """All pieces: those from 0 on, then those before it."""
        yield from self.pieces(0, FAR)
        yield from self.pieces(-FAR, 0)


def read_rift(reader: BitReader) -> Rift:
    """The rift table that stands next in a stream.

    Raises:
        DamagedDelta: no table, or one with more entries than there are bits.
    """
    if not reader.bits(1):
        return Rift()
    place_code, move_code = _read_code(reader), _read_code(reader)
    count = reader.number()
    if count > reader.bits_left:
        raise DamagedDelta(f"a rift table of {count} entries")
    place = move = 0
    entries = []
    for _ in range(count):
        place += _read_signed(reader, place_code)
        move += _read_signed(reader, move_code)
        if abs(place) > FAR or abs(move) > FAR:
            raise DamagedDelta("a rift table that leaves all files")
        entries.append((place, move))
    return Rift.of(entries)


def then(pieces: Iterable[Piece], rift: Rift) -> Iterator[Piece]:
    """What moved by `pieces` and after that by `rift`."""
    for start, stop, move in pieces:
        for part_start, part_stop, more in rift.pieces(start + move, stop + move):
            yield part_start - move, part_stop - move, move + more


def inverse(pieces: Iterable[Piece]) -> Rift:
    """The way back: of pieces that came to lie on one another, the earlier ones count.

    A place where nothing came to lie belongs to what lies before it.
    """
    taken: list[tuple[int, int]] = []
    entries: list[tuple[int, int]] = []
    for start, stop, move in pieces:
        free = _free_parts(taken, start + move, stop + move)
        entries += [(free_start, -move) for free_start in free]
    return Rift.of(entries)


def _free_parts(taken: list[tuple[int, int]], start: int, end: int) -> list[int]:
    """Starts of the parts of a range that nothing has taken yet; afterwards all of it is taken."""
    first = bisect_right(taken, start, key=lambda span: span[1] - 1)
    last = first
    parts = []
    position = start
    while last < len(taken) and taken[last][0] <= end:
        if position < taken[last][0]:
            parts.append(position)
        position = max(position, taken[last][1])
        last += 1
    if position < end:
        parts.append(position)
    if first < last:
        start, end = min(start, taken[first][0]), max(end, taken[last - 1][1])
    taken[first:last] = [(start, end)]
    return parts


def _read_code(reader: BitReader) -> HuffmanTable:
    """The code of signed numbers: lengths of the first symbols of each sign, then of all others."""
    positive, negative, longer = reader.bits(8), reader.bits(8), reader.bits(8)
    others = _SIGNED_SYMBOLS - positive - negative
    if positive > _HALF or negative > _HALF or longer > others:
        raise DamagedDelta("a code of a rift table that leaves its alphabet")
    stated = [reader.bits(4) + 1 for _ in range(positive + negative)]
    longest = reader.bits(4) + 1
    rest = [longest] * longer + [longest - 1] * (others - longer)
    split = _HALF - positive
    lengths = [*stated[:positive], *rest[:split], *stated[positive:], *rest[split:]]
    assert max(lengths) <= MAX_CODE_BITS
    return HuffmanTable(lengths)


def _read_signed(reader: BitReader, code: HuffmanTable) -> int:
    symbol = code.read(reader)
    negative = symbol >= _HALF
    value = symbol - _HALF if negative else symbol
    if value > 3:
        bits = (value >> 1) - 1
        low = reader.bits(min(bits, 32))
        high = reader.bits(bits - 32) if bits > 32 else 0
        value = (2 + (value & 1) << bits) + (high << 32 | low)
    return ~value if negative else value
