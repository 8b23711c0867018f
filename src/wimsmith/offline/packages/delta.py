"""PA30 deltas between plain files: header, tables and the copy stream.

Deltas that transform program code first (file types other than RAW) are refused by name. Format
facts and their public sources: docs/internals/packages.md. Every number read is checked before it
is used, and the work is bounded by the size the caller allows.
"""

import hashlib
from dataclasses import dataclass, field
from itertools import pairwise

from wimsmith.errors import DamagedDelta, LimitExceeded, NotSupported
from wimsmith.offline.packages.bits import MAX_CODE_BITS, BitReader, HuffmanTable, flat_lengths

MAGIC = b"PA30"
MAX_TARGET_BYTES = 1 << 30
MAX_SEGMENTS = 1024

_RAW = 1
_REVERSE = 0x100
_E8_FILTER = 1
_ARCHITECTURES = {4: "IA64", 0x40: "ARM", 0x80: "ARM64"}
_HASHES = {0x8003: "md5", 0x8004: "sha1", 0x800C: "sha256"}

_MAIN_SYMBOLS = 600
_LENGTH_SYMBOLS = 256
_ALIGNED_SYMBOLS = 16
_ALL_LENGTHS = _MAIN_SYMBOLS + _LENGTH_SYMBOLS + _ALIGNED_SYMBOLS
_PRETREE_SYMBOLS = 39


@dataclass(frozen=True, slots=True)
class DeltaHeader:
    """What a delta says about itself. `target_time` is a FILETIME, `target_hash` may be empty."""

    target_time: int
    file_type_set: int
    file_type: int
    flags: int
    target_size_bytes: int
    hash_algorithm: int
    target_hash: bytes
    preprocess: bytes = field(repr=False)
    patch: bytes = field(repr=False)


def read_header(delta: bytes) -> DeltaHeader:
    """Take a PA30 delta apart without expanding it.

    Raises:
        DamagedDelta: not PA30, or it ends early.
    """
    if not delta.startswith(MAGIC) or len(delta) < 13:
        raise DamagedDelta("it does not start as a PA30 delta")
    reader = BitReader(delta[12:])
    header = DeltaHeader(
        target_time=int.from_bytes(delta[4:12], "little"),
        file_type_set=reader.number(),
        file_type=reader.number(),
        flags=reader.number(),
        target_size_bytes=reader.number(),
        hash_algorithm=reader.number(),
        target_hash=reader.buffer(),
        preprocess=reader.buffer(),
        patch=reader.buffer(),
    )
    reader.check_end()
    return header


def apply_delta(delta: bytes, reference: bytes, *, max_bytes: int = MAX_TARGET_BYTES) -> bytes:
    """Expand a RAW PA30 delta against its reference (empty for a null delta).

    Args:
        delta: the whole delta with its header.
        reference: bytes the delta was made against.
        max_bytes: largest target that is accepted.

    Raises:
        DamagedDelta: the format is broken, or the target does not have the hash it should have.
        LimitExceeded: the target would be larger than `max_bytes`.
        NotSupported: `delta-kind` or `delta-arch`, a kind of delta that is not decoded yet.
    """
    header = read_header(delta)
    _refuse_other_kinds(header)
    if header.target_size_bytes > max_bytes:
        raise LimitExceeded(f"a delta that expands to {header.target_size_bytes} bytes")
    target = _expand(header.patch, reference, header.target_size_bytes)
    if header.flags & _E8_FILTER:
        target = undo_call_filter(target)
    _check_hash(header, target)
    return target


def _refuse_other_kinds(header: DeltaHeader) -> None:
    if header.file_type_set & _REVERSE:
        raise NotSupported("delta-kind", "a reverse delta")
    if header.file_type in _ARCHITECTURES:
        name = _ARCHITECTURES[header.file_type]
        raise NotSupported("delta-arch", f"a delta between {name} programs")
    if header.file_type != _RAW or header.preprocess:
        raise NotSupported("delta-kind", "a delta that rewrites program code")


def _check_hash(header: DeltaHeader, target: bytes) -> None:
    if not header.target_hash:
        return
    name = _HASHES.get(header.hash_algorithm)
    if name is None:
        raise DamagedDelta(f"hash algorithm {header.hash_algorithm:#x}")
    if hashlib.new(name, target, usedforsecurity=False).digest() != header.target_hash:
        raise DamagedDelta(f"the expanded file does not have its {name}")


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


def _expand(patch: bytes, reference: bytes, target_bytes: int) -> bytes:
    reader = BitReader(patch)
    if reader.bits(1):
        raise NotSupported("delta-kind", "a delta with a table of moved ranges")
    start = len(reference)
    end = start + target_bytes
    segments = _read_segments(reader, start)
    output = bytearray(reference)
    history = [0, 0, 0]
    for segment, following in pairwise([*segments, None]):
        assert segment is not None
        stop = end if following is None else min(following.start, end)
        if stop > len(output):
            _decode(reader, segment, output, history, start, stop, end)
    reader.check_end()
    return bytes(output[start:])


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
    return 1 << (code - 1) | reader.bits(code - 1)


def _checked_length(length: int) -> int:
    if not 0 <= length <= MAX_CODE_BITS:
        raise DamagedDelta(f"a code of {length} bits")
    return length


def _decode(  # noqa: C901, PLR0912, PLR0915 - the hot loop: one function, local names only
    reader: BitReader,
    segment: _Segment,
    output: bytearray,
    history: list[int],
    reference_bytes: int,
    stop: int,
    end: int,
) -> None:
    """Append symbols to `output` until it is `stop` long; a copy may pass `stop`, not `end`.

    `output` starts with the reference, so a distance larger than what was written reaches into it.
    """
    main, length_table, aligned_table = segment.tables()
    entries = main.entries
    mask = (1 << main.width) - 1
    held, held_bits = reader.held, reader.held_bits
    newest, second, third = history
    position = len(output)
    append = output.append
    while position < stop:
        if held_bits < 96:  # the longest symbol needs no more until its length
            reader.held, reader.held_bits = held, held_bits
            reader.refill()
            held, held_bits = reader.held, reader.held_bits
        entry = entries[held & mask]
        if entry < 256 << 5:
            if not entry:
                raise DamagedDelta("a bit pattern that is no code")
            append(entry >> 5)
            held >>= entry & 31
            held_bits -= entry & 31
            position += 1
            continue
        held >>= entry & 31
        held_bits -= entry & 31
        symbol = (entry >> 5) - 256
        slot = symbol >> 3
        length = symbol & 7
        if slot == 3:
            distance = reference_bytes
        elif slot == 4:
            distance = newest
        elif slot == 5:
            distance = second
        elif slot == 6:
            distance = third
        else:
            reader.held, reader.held_bits = held, held_bits
            if slot < 3:
                distance = _near_diagonal(reader, slot) + reference_bytes
            else:
                distance = _distance(reader, slot, aligned_table)
            held, held_bits = reader.held, reader.held_bits
        if length == 0:
            reader.held, reader.held_bits = held, held_bits
            length = length_table.read(reader) + 7
            if length == 7:
                length += reader.long_number()
            held, held_bits = reader.held, reader.held_bits
        length += 1
        if distance != newest:
            if distance != second:
                third = second
            second = newest
            newest = distance
        if not 0 < distance <= position or length > end - position:
            raise DamagedDelta("a copy from or to outside the file")
        source = position - distance
        if distance >= length:
            output += output[source : source + length]
        else:
            output += (output[source:] * (length // distance + 1))[:length]
        position += length
    reader.held, reader.held_bits = held, held_bits
    history[:] = newest, second, third


def undo_call_filter(data: bytes) -> bytes:
    """Turn absolute targets of x86 calls (opcode E8) back into relative ones.

    The last ten bytes are never filtered, and only values that can be targets in a file of this
    size are.
    """
    output = bytearray(data)
    size = len(data)
    at = output.find(0xE8, 0, max(size - 10, 0))
    while at >= 0:
        target = int.from_bytes(output[at + 1 : at + 5], "little", signed=True)
        if -at <= target < size:
            relative = target - at if target >= 0 else target + size
            output[at + 1 : at + 5] = relative.to_bytes(4, "little", signed=True)
        at = output.find(0xE8, at + 5, size - 10)
    return bytes(output)


def _near_diagonal(reader: BitReader, slot: int) -> int:
    """Slots 0 to 2: a small signed distance from the same place in the reference."""
    if slot == 0:
        return reader.bits(14) - 0x2000
    if slot == 1:
        value = reader.bits(16)
        return value - (0xA000 if value < 0x8000 else 0x6000)
    value = reader.bits(18)
    return value - (0x2A000 if value < 0x20000 else 0x16000)


def _distance(reader: BitReader, slot: int, aligned: HuffmanTable) -> int:
    """Slots from 7 on: a distance counted from the output position."""
    code = slot - 7
    if code == 0:
        code = _escaped(reader)
    if code <= 3:
        return code
    base = 2 + (code & 1)
    extra_bits = (code >> 1) - 1
    if extra_bits < 4:
        return base << extra_bits | reader.bits(extra_bits)
    high = base << (extra_bits - 4) | reader.bits(extra_bits - 4)
    return high << 4 | aligned.read(reader)


def _escaped(reader: BitReader) -> int:
    if not reader.bits(1):
        return 36 + reader.bits(2)
    if not reader.bits(1):
        return 40 + reader.bits(3)
    return 48 + reader.bits(4)
