"""Patch streams with code tables of their own, read by the decoder and by a plain second reader.

Tables are made, the symbols after them are random bits: with codes that use every pattern all of
them mean something.
"""

import random
from collections.abc import Iterator

import pytest

from offline.packages.interpreted import interpreted
from offline.packages.made import BitWriter, delta
from offline.packages.plaindelta import (
    ALIGNED,
    ALL,
    LENGTHS,
    MAIN,
    PRETREE,
    PlainDecoder,
    codes_of,
)
from wimsmith.offline.packages.deltas.delta import apply_delta

REFERENCE = random.Random(1).randbytes(40_000)
FIRST_SLOT_OUT_OF_REACH = 37  # from here on distances are longer than the reference
SYMBOLS = 60
Told = tuple[int, int, int]


def made_code(count: int, alphabet: list[int], most: int, chance: random.Random) -> list[int]:
    """Lengths of a code that uses every pattern, for some symbols of an alphabet of `count`."""
    leaves = [1, 1]
    while len(leaves) < len(alphabet):
        place = chance.randrange(len(leaves))
        if leaves[place] < most:
            leaves[place] += 1
            leaves.append(leaves[place])
    lengths = [0] * count
    for symbol, length in zip(chance.sample(alphabet, len(leaves)), leaves, strict=True):
        lengths[symbol] = length
    return lengths


def some(first: int, last: int, chance: random.Random) -> list[int]:
    count = chance.choice([2, 3, 17, last - first])
    return chance.sample(range(first, last), min(count, last - first))


def made_tables(chance: random.Random) -> list[int]:
    used = [*some(0, 256, chance), *some(256, 256 + 8 * FIRST_SLOT_OUT_OF_REACH, chance)]
    return [
        *made_code(MAIN, used, 16, chance),
        *made_code(LENGTHS, some(0, LENGTHS, chance), 16, chance),
        *made_code(ALIGNED, some(0, ALIGNED, chance), 16, chance),
    ]


def told(lengths: list[int], before: list[int], chance: random.Random) -> Iterator[Told]:
    """Lengths as symbols of the tree of codes, each with further bits and their number."""
    at = 0
    while at < ALL:
        again = same = 0
        while at and at + again < ALL and lengths[at + again] == lengths[at - 1]:
            again += 1
        while at + same < ALL and lengths[at + same] == before[at + same]:
            same += 1
        count, first = (again, 23) if again > same else (same, 31)
        step = lengths[at] - before[at]
        if count and chance.random() < 0.9:
            count = min(count, 127)
            width = count.bit_length() - 1
            if count <= 3:
                yield first + count - 1, 0, 0
            else:
                yield first + width + 1, count - (1 << width), width
            at += count
        else:
            near = 0 < abs(step) <= 3
            yield (16 + step if step > 0 else 19 - step) if near else lengths[at], 0, 0
            at += 1


def put_symbol(writer: BitWriter, lengths: list[int], symbol: int) -> None:
    (length, code) = next(place for place, one in codes_of(lengths).items() if one == symbol)
    for index in reversed(range(length)):
        writer.bits(code >> index & 1, 1)


def made_stream(chance: random.Random) -> bytes:
    """Up to four segments with tables, then random symbols, of which one may lead nowhere."""
    writer = BitWriter()
    writer.bits(0, 2)
    count = chance.randint(1, 4)
    writer.number(count)
    for number in range(count):
        writer.number(len(REFERENCE) if number == 0 else chance.choice([0, 1, 30, 900]))
    before = [0] * ALL
    tellings: list[Told] = []
    for _segment in range(count):
        lengths = before if chance.random() < 0.2 and any(before) else made_tables(chance)
        tellings += told(lengths, before, chance)
        before = lengths
    used = {symbol for symbol, _more, _bits in tellings} | {0, 1}
    tree = made_code(PRETREE, sorted(used), 15, chance)
    for length in tree:
        writer.bits(length, 4)
    for symbol, more, bits in tellings:
        put_symbol(writer, tree, symbol)
        writer.bits(more, bits)
    writer.bits(chance.getrandbits(SYMBOLS * 40), SYMBOLS * 40)
    return writer.done()


def try_streams(numbers: range) -> None:
    sizes = []
    for number in numbers:
        stream = made_stream(random.Random(number))
        target = PlainDecoder(stream, REFERENCE).expand(SYMBOLS)
        made = delta(stream, target)
        assert apply_delta(REFERENCE, made) == target, number
        assert interpreted()["delta"].apply_delta(REFERENCE, made) == target, number
        sizes.append(len(target))
    assert sum(size > SYMBOLS for size in sizes) * 4 > len(sizes)


def test_streams_with_their_own_tables() -> None:
    try_streams(range(40))


@pytest.mark.slow
def test_many_streams_with_their_own_tables() -> None:
    try_streams(range(1000, 4000))


def test_default_tables() -> None:
    for number in range(40):
        chance = random.Random(number)
        writer = BitWriter()
        writer.bits(0, 1)
        writer.bits(1, 1)
        writer.bits(chance.getrandbits(2000), 2000)
        target = PlainDecoder(writer.done(), REFERENCE).expand(SYMBOLS)
        assert apply_delta(REFERENCE, delta(writer.done(), target)) == target, number
