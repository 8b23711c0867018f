"""PA19 patches: made ones of every kind of block, and broken ones."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.packages.made import Copy
from offline.packages.madepa19 import Source, compressed, patch, stored, with_checksum
from wimsmith.errors import DamagedDelta, LimitExceeded, NotSupported, WimsmithError
from wimsmith.offline.packages.deltas.delta import apply_delta

BASE = bytes(range(256)) * 3


def play(base: bytes, operations: list[bytes | Copy]) -> bytes:
    """What operations mean, byte by byte; before everything there are zeros."""
    output = bytearray(base)
    recent = [1, 1, 1]
    for operation in operations:
        if isinstance(operation, bytes):
            output += operation
            continue
        if operation.slot is None:
            recent = [operation.distance, *recent[:2]]
        else:
            recent[0], recent[operation.slot] = recent[operation.slot], recent[0]
        for _count in range(operation.length):
            output.append(output[-recent[0]] if recent[0] <= len(output) else 0)
    return bytes(output[len(base) :])


SCRIPT: list[bytes | Copy] = [
    b"new ",
    Copy(20, distance=len(BASE) + 4),
    Copy(3, distance=1),
    Copy(9, slot=1),
    b"text",
    Copy(300, distance=70),
    Copy(257, slot=2),
    Copy(1500, distance=3),
    Copy(6000, distance=600),
    Copy(5, distance=20_000),
]


@pytest.mark.parametrize("aligned", [False, True])
def test_literals_and_copies(aligned: bool) -> None:
    target = play(BASE, SCRIPT)
    made = patch(target, Source(BASE, compressed(SCRIPT, aligned=aligned)))
    assert apply_delta(BASE, made) == target


@pytest.mark.parametrize("size", [0, 1, 2, 65, 0x8000, 0x8001, 70_001])
def test_stored_bytes(size: int) -> None:
    target = random.Random(size).randbytes(size)
    stream = stored(target) if size else compressed([])
    assert apply_delta(b"", patch(target, Source(b"", stream))) == target


def test_literals_over_several_chunks() -> None:
    target = random.Random(1).randbytes(70_000)
    assert apply_delta(b"", patch(target, Source(b"", compressed([target])))) == target


@st.composite
def scripts(draw: st.DrawFn) -> list[bytes | Copy]:
    operations: list[bytes | Copy] = [draw(st.binary(min_size=1, max_size=9))]
    for _count in range(draw(st.integers(0, 9))):
        distance = draw(st.integers(1, 900))
        operations.append(Copy(draw(st.integers(2, 700)), distance=distance))
        if draw(st.booleans()):
            operations.append(Copy(draw(st.integers(2, 20)), slot=draw(st.integers(0, 2))))
        operations.append(draw(st.binary(max_size=5)))
    return operations


@given(scripts(), st.booleans())
def test_any_script_gives_what_it_means(script: list[bytes | Copy], aligned: bool) -> None:
    target = play(BASE, script)
    made = patch(target, Source(BASE, compressed(script, aligned=aligned)))
    assert apply_delta(BASE, made) == target


def test_calls_are_made_relative_again() -> None:
    plain = b"\x90" * 100 + b"\xe8\x10\0\0\0" + b"\x90" * 95
    absolute = plain[:101] + (0x10 + 100).to_bytes(4, "little") + plain[105:]
    for stream in (compressed([absolute], call_bytes=200), stored(absolute, call_bytes=200)):
        assert apply_delta(b"", patch(plain, Source(b"", stream))) == plain


def test_the_base_is_chosen_by_its_checksum_and_ranges_are_left_out() -> None:
    other = bytes(reversed(BASE))
    script: list[bytes | Copy] = [b"ab", Copy(100, distance=len(BASE) + 2 - 50), bytes(8)]
    streams = [compressed(script), compressed(script)]
    ignored, retained = ((60, 10),), ((200, 102, 8),)
    sources = []
    for base, stream in zip((BASE, other), streams, strict=True):
        blank = base[:60] + bytes(10) + base[70:200] + bytes(8) + base[208:]
        target = play(blank, script)
        sources.append((base, target[:102] + base[200:208], stream))
    made = patch(
        sources[0][1],
        Source(BASE, streams[0], ignored, retained),
        Source(other[:-1], compressed([b"x" * 110]), (), retained),
    )
    assert apply_delta(BASE, made) == sources[0][1]
    changed = bytearray(BASE)
    changed[64] ^= 0xFF  # in the ignored range
    assert apply_delta(bytes(changed), made) == sources[0][1]
    changed[71] ^= 0xFF
    with pytest.raises(DamagedDelta, match="base"):
        apply_delta(bytes(changed), made)


def test_a_patch_without_stream_is_a_copy() -> None:
    assert apply_delta(BASE, patch(BASE, Source(BASE, b""))) == BASE


@pytest.mark.parametrize(
    ("options", "special"), [(0x0080_0001, 0), (0x00C4_0001, 3), (0x40C4_0001, 0)]
)
def test_32_bit_programs_and_interleaved_files_are_refused_by_name(
    options: int, special: int
) -> None:
    made = patch(b"abc", Source(b"", compressed([b"abc"]), special=special), options=options)
    with pytest.raises(NotSupported) as refusal:
        apply_delta(b"", made)
    assert refusal.value.reason == "delta-kind"


def test_limits_and_checksums() -> None:
    made = patch(b"abc", Source(b"", compressed([b"abc"])))
    with pytest.raises(LimitExceeded):
        apply_delta(b"", made, max_bytes=2)
    with pytest.raises(DamagedDelta, match="CRC-32"):
        apply_delta(b"", made[:-1] + b"\0")
    with pytest.raises(DamagedDelta, match="CRC-32"):
        apply_delta(b"", patch(b"abd", Source(b"", compressed([b"abc"]))))
    with pytest.raises(DamagedDelta, match="base"):
        apply_delta(b"x", made)


def test_mutations_end_in_bytes_or_in_our_errors() -> None:
    chance = random.Random(19)
    target = play(BASE, SCRIPT)
    seeds = [patch(target, Source(BASE, compressed(SCRIPT, aligned=one))) for one in (True, False)]
    seeds.append(patch(BASE[:500], Source(BASE, stored(BASE[:500]))))
    ended = 0
    for _count in range(600):
        changed = bytearray(chance.choice(seeds)[:-4])
        for _flip in range(chance.randint(1, 3)):
            changed[chance.randrange(4, len(changed))] ^= 1 << chance.randrange(8)
        if not chance.randrange(10):
            del changed[chance.randrange(20, len(changed)) :]
        try:
            apply_delta(BASE, with_checksum(bytes(changed)), max_bytes=1 << 16)
        except WimsmithError:
            ended += 1
    assert ended > 500
