"""LZX DELTA: the compression of PA19 patches, decoded.

The output follows a reference in one buffer, and copies reach back into both. Format: the published
specification [MS-PATCH]; what it leaves open is in docs/internals/deltas.md. Speed does not matter
here: patches of this kind are old and small.
"""

from array import array
from collections.abc import Sequence

from wimsmith.errors import DamagedDelta

CHUNK_BYTES = 0x8000
MAX_WINDOW_BITS = 23
MAX_LARGE_WINDOW_BITS = 25

_LITERALS = 256
_LENGTH_SYMBOLS = 249
_PRETREE_SYMBOLS = 20
_ALIGNED_SYMBOLS = 8
_VERBATIM, _ALIGNED, _STORED = 1, 2, 3
_MAX_BITS = 16
_LONGEST_SHORT = 257
_LONG_LENGTHS = ((8, 0x101), (10, 0x201), (12, 0x601), (15, 0x101))
_FILTERED_BYTES = 1 << 30
_UNFILTERED_TAIL_BYTES = 10


class _Bits:
    """Chunks of a stream as bits: 16-bit words, lowest byte first, highest bit first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._chunk_end = 0
        self._held = self._held_bits = self._padded_bits = 0
        self.position = 0

    def start_chunk(self) -> None:
        """Go on behind the chunk that ended here; its size stands before each chunk."""
        self.position = self._chunk_end
        size = int.from_bytes(self.bytes(2, whole_stream=True), "little")
        self._chunk_end = self.position + size
        if self._chunk_end > len(self._data):
            raise DamagedDelta("a chunk that leaves its patch")
        self._held = self._held_bits = self._padded_bits = 0

    def start_chunk_here(self) -> None:
        """The same inside stored bytes, which end where the chunk does."""
        self._chunk_end = self.position
        self.start_chunk()

    def peek(self, count: int) -> int:
        """The next bits; zeros follow the end of a chunk."""
        while self._held_bits < count:
            if self.position + 2 <= self._chunk_end:
                word = self._data[self.position] | self._data[self.position + 1] << 8
                self.position += 2
            else:
                word = 0
                self._padded_bits += 16
            self._held = (self._held << 16 | word) & 0xFFFF_FFFF_FFFF
            self._held_bits += 16
        return self._held >> (self._held_bits - count) & ((1 << count) - 1)

    def skip(self, count: int) -> None:
        self._held_bits -= count
        if self._held_bits < self._padded_bits:
            raise DamagedDelta("a chunk that ends too early")

    def take(self, count: int) -> int:
        value = self.peek(count)
        self.skip(count)
        return value

    def align(self) -> None:
        """Go to the next word; a whole word of zeros may be padding too."""
        self.skip(self._held_bits % 16)
        if self.peek(16) == 0:
            self.skip(16)

    def drop_held(self) -> None:
        """Give back words that were looked at and not taken."""
        self.position -= (self._held_bits - self._padded_bits) // 8
        self._held = self._held_bits = self._padded_bits = 0

    def bytes(self, count: int, *, whole_stream: bool = False) -> bytes:
        """The next bytes, between words."""
        end = self.position + count
        if end > (len(self._data) if whole_stream else self._chunk_end):
            raise DamagedDelta("a patch that ends too early")
        found = self._data[self.position : end]
        self.position = end
        return found


class _Code:
    """A Huffman code, shorter codes first: the next `width` bits find `symbol << 5 | length`."""

    def __init__(self, lengths: Sequence[int], width: int = _MAX_BITS) -> None:
        self._width = width
        self._entries = array("I", bytes(4 << width))
        place = 0
        for length, symbol in sorted((one, symbol) for symbol, one in enumerate(lengths) if one):
            span = 1 << (width - length)
            if place + span > 1 << width:
                raise DamagedDelta("code lengths that make no code")
            self._entries[place : place + span] = array("I", (symbol << 5 | length,)) * span
            place += span

    def read(self, bits: _Bits) -> int:
        entry = self._entries[bits.peek(self._width)]
        if not entry:
            raise DamagedDelta("a bit pattern that is no code")
        bits.skip(entry & 31)
        return entry >> 5


def expand_lzx_delta(
    data: bytes, reference: bytes, target_bytes: int, *, large: bool = False
) -> bytes:
    """Expand one stream behind `reference`.

    Args:
        data: the stream, with the size of each chunk before it.
        reference: bytes that copies reach back into.
        target_bytes: size of the output.
        large: windows up to 32 MiB rather than 8 MiB are possible.

    Raises:
        DamagedDelta: the stream is broken.
    """
    decoder = _Decoder(data, reference, target_bytes, large=large)
    return decoder.run()


class _Decoder:
    def __init__(self, data: bytes, reference: bytes, target_bytes: int, *, large: bool) -> None:
        self._bits = _Bits(data)
        self._start = self._at = len(reference)
        self._output = bytearray(self._start + target_bytes)
        self._output[: self._start] = reference
        self._chunk_end = self._at
        self._recent = [1, 1, 1]
        self._main = [0] * (_LITERALS + 8 * _slots(self._start, target_bytes, large=large))
        self._lengths = [0] * _LENGTH_SYMBOLS

    def run(self) -> bytes:
        self._next_chunk()
        bits = self._bits
        filtered = bits.take(1)
        file_bytes = bits.take(16) << 16 | bits.take(16) if filtered else 0
        while self._at < len(self._output):
            self._block()
        target = self._output[self._start :]
        return bytes(_unfiltered(target, file_bytes) if filtered else target)

    def _next_chunk(self) -> None:
        self._bits.start_chunk()
        self._chunk_end = min(self._at + CHUNK_BYTES, len(self._output))

    def _block(self) -> None:
        if self._at >= self._chunk_end:
            self._next_chunk()
        bits = self._bits
        kind = bits.take(3)
        end = self._at + (bits.take(8) << 16 | bits.take(16))
        if kind == _STORED:
            self._stored(end)
            return
        if kind not in {_VERBATIM, _ALIGNED}:
            raise DamagedDelta(f"a block of kind {kind}")
        aligned = None
        if kind == _ALIGNED:
            aligned = _Code([bits.take(3) for _ in range(_ALIGNED_SYMBOLS)], 7)
        self._read_lengths(self._main, 0, _LITERALS)
        self._read_lengths(self._main, _LITERALS, len(self._main))
        self._read_lengths(self._lengths, 0, _LENGTH_SYMBOLS)
        self._copies(min(end, len(self._output)), aligned)

    def _read_lengths(self, lengths: list[int], start: int, end: int) -> None:
        """Code lengths from `start` to `end`, told relative to those of the block before."""
        bits = self._bits
        pretree = _Code([bits.take(4) for _ in range(_PRETREE_SYMBOLS)], 15)
        at = start
        while at < end:
            symbol = pretree.read(bits)
            count = 1
            if symbol == 17:
                count, length = 4 + bits.take(4), 0
            elif symbol == 18:
                count, length = 20 + bits.take(5), 0
            else:
                if symbol == 19:
                    count = 4 + bits.take(1)
                    symbol = pretree.read(bits)
                if symbol > 16:
                    raise DamagedDelta("a run of code lengths without a length")
                length = (lengths[at] + 17 - symbol) % 17
            count = min(count, end - at)
            lengths[at : at + count] = [length] * count
            at += count

    def _copies(self, end: int, aligned: _Code | None) -> None:
        bits, output = self._bits, self._output
        main, lengths = _Code(self._main), _Code(self._lengths)
        while self._at < end:
            if self._at >= self._chunk_end:
                self._next_chunk()
            symbol = main.read(bits)
            if symbol < _LITERALS:
                output[self._at] = symbol
                self._at += 1
                continue
            slot, length = (symbol - _LITERALS) >> 3, (symbol & 7) + 2
            if length == 9:
                length += lengths.read(bits)
            distance = slot if slot < 4 else self._far(slot, aligned)
            if length == _LONGEST_SHORT:
                length = self._long_length()
            self._copy(self._kept(distance), min(length, end - self._at))

    def _far(self, slot: int, aligned: _Code | None) -> int:
        """A distance by its slot, two more than it is."""
        if slot < 38:
            footer_bits = (slot >> 1) - 1
            distance = 2 + (slot & 1) << footer_bits
        else:
            footer_bits = 17
            distance = (slot - 34) << 17
        if aligned is None or footer_bits < 3:
            return distance + self._bits.take(footer_bits)
        distance += self._bits.take(footer_bits - 3) << 3
        return distance + aligned.read(self._bits)

    def _long_length(self) -> int:
        prefix = 0
        while prefix < 3 and self._bits.take(1):
            prefix += 1
        extra_bits, base = _LONG_LENGTHS[prefix]
        return base + self._bits.take(extra_bits)

    def _kept(self, distance: int) -> int:
        """The distance that is meant, after it became the most recent one."""
        recent = self._recent
        if distance < 3:
            recent[0], recent[distance] = recent[distance], recent[0]
        else:
            recent[:] = [distance - 2, recent[0], recent[1]]
        return recent[0]

    def _copy(self, distance: int, length: int) -> None:
        """Copy from before; what lies before everything is zeros."""
        zeros = min(max(distance - self._at, 0), length)
        self._at += zeros
        length -= zeros
        if length:
            source, output = self._at - distance, self._output
            repeated = output[source : self._at] * (length // distance + 1)
            output[self._at : self._at + length] = repeated[:length]
            self._at += length

    def _stored(self, end: int) -> None:
        """Bytes as they are, after the three recent distances; an even number of them."""
        bits = self._bits
        bits.align()
        self._recent = [bits.take(16) | bits.take(16) << 16 for _ in range(3)]
        if 0 in self._recent or end > len(self._output):
            raise DamagedDelta("a block of stored bytes that leaves the file")
        bits.drop_held()
        start = bits.position
        while self._at < end:
            if self._at >= self._chunk_end:
                bits.start_chunk_here()
                self._chunk_end = min(self._at + CHUNK_BYTES, len(self._output))
            count = min(end, self._chunk_end) - self._at
            self._output[self._at : self._at + count] = bits.bytes(count, whole_stream=True)
            self._at += count
        if (bits.position - start) % 2:
            bits.position += 1


def _slots(reference_bytes: int, target_bytes: int, *, large: bool) -> int:
    """Number of distance slots, which follows from the sizes: the window is stated nowhere."""
    total = -(-reference_bytes // CHUNK_BYTES) * CHUNK_BYTES + target_bytes
    bits, slots, step = 17, 34, 2
    while 1 << bits < total and bits < (MAX_LARGE_WINDOW_BITS if large else MAX_WINDOW_BITS):
        step = 2 if bits < 19 else 1 << (bits - 17)
        slots += step
        bits += 1
    return slots


def _unfiltered(target: bytearray, file_bytes: int) -> bytearray:
    """Turn absolute targets of calls (opcode E8) back into relative ones, chunk by chunk."""
    limit = min(len(target), _FILTERED_BYTES)
    for start in range(0, limit, CHUNK_BYTES):
        end = min(start + CHUNK_BYTES, limit) - _UNFILTERED_TAIL_BYTES
        at = target.find(0xE8, start, max(end, start))
        while at >= 0:
            value = int.from_bytes(target[at + 1 : at + 5], "little", signed=True)
            if -at <= value < file_bytes:
                value = value - at if value >= 0 else value + file_bytes
                target[at + 1 : at + 5] = (value & 0xFFFF_FFFF).to_bytes(4, "little")
            at = target.find(0xE8, at + 5, end)
    return target
