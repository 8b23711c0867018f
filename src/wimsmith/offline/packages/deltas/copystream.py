"""The patch stream of PA30 deltas: literal bytes and copies from the reference and the output.

Facts: docs/internals/deltas.md. Every number read is checked before it is used, and the work is
bounded by the size of the target. This module also runs compiled; `copystream.pxd` states the C
types, which hold every value that passes the checks here.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from wimsmith.errors import DamagedDelta
from wimsmith.offline.packages.deltas.bits import (
    MAX_CODE_BITS,
    BitReader,
    HuffmanTable,
    flat_lengths,
)
from wimsmith.offline.packages.deltas.rift import Rift, read_rift

MAX_SEGMENTS = 1024

_MAIN_SYMBOLS = 600
_LENGTH_SYMBOLS = 256
_ALIGNED_SYMBOLS = 16
_ALL_LENGTHS = _MAIN_SYMBOLS + _LENGTH_SYMBOLS + _ALIGNED_SYMBOLS
_PRETREE_SYMBOLS = 39
_FOREVER = 1 << 62


def expand(patch: bytes, reference: bytes, target_bytes: int, rift: Rift) -> bytes:
    """Expand a patch stream.

    Args:
        patch: the stream.
        reference: bytes to copy from, which stand before the output.
        target_bytes: size of the output; memory of this size and of the reference is used.
        rift: for places of the target, how far before them, in the reference, their like stands.

    Raises:
        DamagedDelta: the stream is broken.
    """
    reader = BitReader(patch)
    start = len(reference)
    end = start + target_bytes
    diagonal = _Diagonal(start, [*_moved(rift, start), *_moved(read_rift(reader), 0)])
    segments = _read_segments(reader, start)
    output = bytearray(end)
    output[:start] = reference
    copier = _Copier(reader, output, diagonal, start, end)
    for segment, following in pairwise([*segments, None]):
        assert segment is not None
        stop = end if following is None else min(following.start, end)
        if stop > copier.position:
            copier.run(*segment.tables(), stop)
    reader.check_end()
    return bytes(memoryview(output)[start:])


def _moved(rift: Rift, by: int) -> Iterator[tuple[int, int]]:
    return ((place + by, move - by) for place, move in zip(rift.places, rift.moves, strict=True))


class _Diagonal:
    """How far back from each output position the like place of the reference is.

    `distances[n]` holds from `places[n]` on. Where no rift says otherwise, that is the size of the
    reference.
    """

    __slots__ = ("distances", "places")

    def __init__(self, start: int, entries: list[tuple[int, int]]) -> None:
        rift = Rift.of([(start, -start), *entries])
        first = max(index for index, place in enumerate(rift.places) if place <= start)
        places = [0, *rift.places[first + 1 :], _FOREVER]
        distances = [-move for move in rift.moves[first:]]
        self.places = array("q", places)
        self.distances = array("q", [*distances, distances[-1]])


@dataclass(frozen=True, slots=True)
class _Segment:
    """From output position `start` on, these code lengths hold. Tables are built when reached."""

    start: int
    lengths: list[int]

    def tables(self) -> tuple[HuffmanTable, HuffmanTable, HuffmanTable]:
        main_end = _MAIN_SYMBOLS
        length_end = main_end + _LENGTH_SYMBOLS
        return (
            HuffmanTable(self.lengths[:main_end]),
            HuffmanTable(self.lengths[main_end:length_end]),
            HuffmanTable(self.lengths[length_end:]),
        )


def _read_segments(reader: BitReader, first_position: int) -> list[_Segment]:
    if reader.bits(1):
        lengths = [
            length
            for count in (_MAIN_SYMBOLS, _LENGTH_SYMBOLS, _ALIGNED_SYMBOLS)
            for length in flat_lengths(count)
        ]
        return [_Segment(first_position, lengths)]
    count = reader.number()
    if not 0 < count <= MAX_SEGMENTS:
        raise DamagedDelta(f"{count} segments")
    position = 0
    starts = [position := position + reader.number() for _ in range(count)]
    pretree = HuffmanTable([reader.bits(4) for _ in range(_PRETREE_SYMBOLS)])
    segments: list[_Segment] = []
    lengths = [0] * _ALL_LENGTHS
    for start in starts:
        lengths = _read_lengths(reader, pretree, lengths)
        segments.append(_Segment(start, lengths))
    return segments


def _read_lengths(reader: BitReader, pretree: HuffmanTable, previous: list[int]) -> list[int]:
    """Code lengths of one segment, told relative to those of the segment before."""
    lengths: list[int] = []
    while len(lengths) < _ALL_LENGTHS:
        symbol = pretree.read(reader)
        at = len(lengths)
        if symbol <= 16:
            lengths.append(symbol)
        elif symbol <= 22:
            step = symbol - 16 if symbol <= 19 else 19 - symbol
            lengths.append(_checked_length(previous[at] + step))
        else:
            count = _run_length(reader, (symbol - 23) & 7)
            if symbol >= 31:
                lengths += previous[at : at + count]
            elif at:
                lengths += [lengths[-1]] * count
            if len(lengths) != at + count or len(lengths) > _ALL_LENGTHS:
                raise DamagedDelta("a run of code lengths that leaves its table")
    return lengths


def _run_length(reader: BitReader, code: int) -> int:
    if code < 3:
        return code + 1
    return (1 << (code - 1)) + reader.bits(code - 1)


def _checked_length(length: int) -> int:
    if not 0 <= length <= MAX_CODE_BITS:
        raise DamagedDelta(f"a code of {length} bits")
    return length


class _Copier:
    """Fills the output from `position` on; the reference stands before it.

    `newest`, `second` and `third` are the last three distances.
    """

    __slots__ = (
        "diagonal",
        "end",
        "newest",
        "output",
        "position",
        "reader",
        "second",
        "third",
        "zone",
    )

    def __init__(
        self, reader: BitReader, output: bytearray, diagonal: _Diagonal, start: int, end: int
    ) -> None:
        self.reader = reader
        self.output = output
        self.diagonal = diagonal
        self.position = start
        self.end = end
        self.zone = 0
        self.newest = 0
        self.second = 0
        self.third = 0

    def run(self, main: HuffmanTable, long: HuffmanTable, aligned: HuffmanTable, stop: int) -> None:
        """Decode symbols until `stop` is reached; a copy may pass it, but not the end."""
        reader = self.reader
        entries = main.entries
        target = self.output
        one = 1
        mask = (one << main.width) - 1
        held, held_bits = reader.held, reader.held_bits
        position = self.position
        while position < stop:
            if held_bits < MAX_CODE_BITS:
                reader.held, reader.held_bits = held, held_bits
                reader.refill()
                held, held_bits = reader.held, reader.held_bits
            entry = entries[held & mask]
            if entry == 0:
                raise DamagedDelta("a bit pattern that is no code")
            held >>= entry & 31
            held_bits -= entry & 31
            symbol = entry >> 5
            if symbol < 256:
                target[position] = symbol
                position += 1
            else:
                reader.held, reader.held_bits = held, held_bits
                slot = (symbol - 256) >> 3
                distance = self._distance(slot, position, aligned)
                length = self._length(symbol & 7, long)
                self._copy(position, distance, length, slot)
                position += length
                held, held_bits = reader.held, reader.held_bits
        reader.held, reader.held_bits = held, held_bits
        self.position = position

    def _distance(self, slot: int, position: int, aligned: HuffmanTable) -> int:
        """How far back to copy from, counted from the output position."""
        if slot > 6:
            return self._far(slot - 7, aligned)
        if slot == 4:
            return self.newest
        if slot == 5:
            return self.second
        if slot == 6:
            return self.third
        places = self.diagonal.places
        while places[self.zone + 1] <= position:
            self.zone += 1
        distance = self.diagonal.distances[self.zone]
        return distance if slot == 3 else distance + self._aside(slot)

    def _aside(self, slot: int) -> int:
        """Slots 0 to 2: a small signed distance from the like place of the reference."""
        if slot == 0:
            value = self.reader.bits(14)
            return value - 0x2000
        if slot == 1:
            value = self.reader.bits(16)
            return value - (0xA000 if value < 0x8000 else 0x6000)
        value = self.reader.bits(18)
        return value - (0x2A000 if value < 0x20000 else 0x16000)

    def _far(self, code: int, aligned: HuffmanTable) -> int:
        """Slots from 7 on: a distance counted from the output position."""
        reader = self.reader
        if code == 0:
            code = self._escaped()
        if code <= 3:
            return code
        base = 2 + (code & 1)
        extra_bits = (code >> 1) - 1
        if extra_bits < 4:
            return (base << extra_bits) + reader.bits(extra_bits)
        high = (base << (extra_bits - 4)) + reader.bits(extra_bits - 4)
        return (high << 4) + aligned.read(reader)

    def _escaped(self) -> int:
        reader = self.reader
        if not reader.bits(1):
            return 36 + reader.bits(2)
        if not reader.bits(1):
            return 40 + reader.bits(3)
        return 48 + reader.bits(4)

    def _length(self, short: int, long: HuffmanTable) -> int:
        """Number of bytes to copy; codes of at least 8 go on in the tree of lengths."""
        if short:
            return short + 1
        length = long.read(self.reader) + 8
        return length if length > 8 else length + self.reader.long_number()

    def _copy(self, position: int, distance: int, length: int, slot: int) -> None:
        if distance != self.newest:
            if distance != self.second:
                self.third = self.second
            self.second = self.newest
            self.newest = distance
        if length > self.end - position:
            raise DamagedDelta("a copy to outside the file")
        end = position + length
        places = self.diagonal.places
        if slot == 3 and places[self.zone + 1] < end:
            while places[self.zone + 1] < end:
                stop = places[self.zone + 1]
                self._copy_piece(position, distance, stop - position)
                self.zone += 1
                position, distance = stop, self.diagonal.distances[self.zone]
            length = end - position
        self._copy_piece(position, distance, length)

    def _copy_piece(self, position: int, distance: int, length: int) -> None:
        if not 0 < distance <= position:
            raise DamagedDelta("a copy from outside the file")
        output = self.output
        source = position - distance
        if distance >= length:
            output[position : position + length] = output[source : source + length]
        else:
            repeated = output[source:position] * (length // distance + 1)
            output[position : position + length] = repeated[:length]
