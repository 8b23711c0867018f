"""PA30 deltas: made ones, real ones, and broken ones."""

import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.packages.interpreted import interpreted
from offline.packages.made import BitWriter, Copy, delta, patch_stream
from offline.packages.madeprogram import write_rift
from wimsmith.errors import DamagedDelta, LimitExceeded, NotSupported, WimsmithError
from wimsmith.offline.packages.deltas.delta import apply_delta, read_header
from wimsmith.offline.packages.deltas.x86code import undo_call_filter

REFERENCE = bytes(range(256)) * 3


def play(reference: bytes, operations: list[bytes | Copy]) -> bytes:
    """What operations mean, byte by byte."""
    output = bytearray(reference)
    for operation in operations:
        if isinstance(operation, bytes):
            output += operation
        else:
            for _count in range(operation.length):
                output.append(output[-operation.distance])
    return bytes(output[len(reference) :])


def test_literals_and_copies_from_reference_and_output() -> None:
    operations: list[bytes | Copy] = [
        b"new text ",
        Copy(20, distance=len(REFERENCE) + 9),
        b"x",
        Copy(700, distance=1),
        Copy(5, distance=703),
    ]
    target = play(REFERENCE, operations)
    assert apply_delta(REFERENCE, delta(patch_stream(operations), target)) == target
    assert target.endswith(b"x" * 696 + target[-5:])


def test_a_copy_may_run_from_the_reference_into_the_output() -> None:
    operations: list[bytes | Copy] = [b"ab", Copy(10, distance=6)]
    target = play(b"wxyz", operations)
    assert target == b"abwxyzabwxyz"
    assert apply_delta(b"wxyz", delta(patch_stream(operations), target)) == target


def test_the_diagonal_and_the_last_three_distances() -> None:
    operations: list[bytes | Copy] = [
        Copy(4, slot=3),
        b"Q",
        Copy(3, distance=2),
        Copy(2, slot=5),
        Copy(2, slot=4),
        Copy(2, slot=5),
    ]
    meant: list[bytes | Copy] = [
        Copy(4, distance=8),
        b"Q",
        Copy(3, distance=2),
        Copy(2, distance=8),
        Copy(2, distance=8),
        Copy(2, distance=2),
    ]
    target = play(b"ABCDEFGH", meant)
    assert target[:5] == b"ABCDQ"
    assert apply_delta(b"ABCDEFGH", delta(patch_stream(operations), target)) == target


@st.composite
def scripts(draw: st.DrawFn) -> tuple[bytes, list[bytes | Copy]]:
    reference = draw(st.binary(max_size=60))
    operations: list[bytes | Copy] = []
    size = len(reference)
    for _count in range(draw(st.integers(0, 12))):
        if size and draw(st.booleans()):
            length = draw(st.integers(2, 40) | st.sampled_from([263, 264, 300, 9000]))
            operations.append(Copy(length, distance=draw(st.integers(1, size))))
            size += length
        else:
            literals = draw(st.binary(min_size=1, max_size=9))
            operations.append(literals)
            size += len(literals)
    return reference, operations


@given(scripts())
def test_any_script_gives_what_it_means(script: tuple[bytes, list[bytes | Copy]]) -> None:
    reference, operations = script
    target = play(reference, operations)
    made = delta(patch_stream(operations), target)
    assert apply_delta(reference, made) == target
    assert interpreted()["delta"].apply_delta(reference, made) == target


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type_set": 0x101}, "delta-kind"),
        ({"file_type": 0}, "delta-kind"),
        ({"file_type": 3}, "delta-kind"),
        ({"file_type": 0x100}, "delta-kind"),
        ({"file_type": 0x40}, "delta-arch"),
        ({"file_type": 0x80}, "delta-arch"),
        ({"file_type": 4}, "delta-arch"),
        ({"digest": b"", "algorithm": 0}, "delta-kind"),
        ({"digest": b"1234", "algorithm": 0x20}, "delta-kind"),
        ({"preprocess": b"tables"}, "delta-kind"),
    ],
)
def test_kinds_that_are_not_decoded_are_refused_by_name(change: dict[str, int], code: str) -> None:
    made = delta(patch_stream([b"abc"]), b"abc", **change)  # type: ignore[arg-type]
    with pytest.raises(NotSupported) as refusal:
        apply_delta(b"", made)
    assert refusal.value.reason == code
    assert str(refusal.value).startswith("Not supported: a ")


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha384", "sha512"])
def test_the_hash_that_a_delta_states_is_compared(algorithm: str) -> None:
    number = {"md5": 0x8003, "sha1": 0x8004, "sha256": 0x800C, "sha384": 0x800D, "sha512": 0x800E}
    for text in (b"abc", b"abd"):
        digest = hashlib.new(algorithm, text).digest()
        made = delta(patch_stream([b"abc"]), text, digest=digest, algorithm=number[algorithm])
        if text == b"abc":
            assert apply_delta(b"", made) == b"abc"
        else:
            with pytest.raises(DamagedDelta, match=f"does not have its {algorithm}"):
                apply_delta(b"", made, proved_elsewhere=True)


def test_a_hash_of_an_unknown_kind_is_left_to_those_who_know_the_target() -> None:
    made = delta(patch_stream([b"abc"]), b"abc", digest=b"1234", algorithm=0x20)
    assert apply_delta(b"", made, proved_elsewhere=True) == b"abc"


@pytest.mark.parametrize("patch", [b"", patch_stream([])])
def test_an_empty_target(patch: bytes) -> None:
    for base in (b"", b"some bytes"):
        assert apply_delta(base, delta(patch, b"")) == b""


def test_the_newer_format_is_refused_by_name() -> None:
    with pytest.raises(NotSupported, match="PA31") as refusal:
        apply_delta(b"", b"PA31" + delta(patch_stream([b"abc"]), b"abc")[4:])
    assert refusal.value.reason == "delta-kind"


def test_patches_in_other_codecs_are_refused_by_name() -> None:
    with pytest.raises(NotSupported, match="LZMS"):
        apply_delta(b"", delta(b"\x0a\x51\xe5\xc0" + bytes(40), b"abc"))


def test_a_table_of_moved_ranges_turns_the_diagonal() -> None:
    reference = b"ABCDEFGHIJ"
    writer = BitWriter()
    write_rift(writer, [(10, -4), (13, -13), (15, -6)])
    plain = patch_stream([Copy(7, slot=3), b"!", Copy(2, slot=4)])
    for bit in _bits(plain)[1:]:
        writer.bits(bit, 1)
    # output 0 to 2 comes from 6 on, 3 and 4 from 0 on, the rest from 9 on, which runs into itself
    target = b"GHIABJG" + b"!" + b"BJ"
    made = delta(writer.done(), target)
    with pytest.raises(DamagedDelta):
        apply_delta(reference[:9], made)
    assert apply_delta(reference, made) == target


def _bits(stream: bytes) -> list[int]:
    """Bits of a patch stream between its start and its padding."""
    bits = [byte >> index & 1 for byte in stream for index in range(8)]
    return bits[3 : len(bits) - (stream[0] & 7)]


def test_the_header_is_read_without_expanding() -> None:
    header = read_header(delta(patch_stream([b"abc"]), b"abc", flags=0x60001))
    assert (header.file_type, header.flags, header.target_size_bytes) == (1, 0x60001, 3)
    assert header.target_hash == hashlib.sha256(b"abc").digest()


def test_a_target_larger_than_allowed_is_not_started() -> None:
    with pytest.raises(LimitExceeded):
        apply_delta(b"", delta(patch_stream([b"a"]), b"a", size=1 << 40))
    with pytest.raises(LimitExceeded):
        apply_delta(b"", delta(patch_stream([b"abc"]), b"abc"), max_bytes=2)


@pytest.mark.parametrize(
    "made",
    [
        b"",
        b"PA30",
        b"PA30" + bytes(8) + b"\0",
        delta(patch_stream([b"abd"]), b"abc"),
        delta(patch_stream([b"abc"]), b"abcd"),
        delta(patch_stream([Copy(5, distance=9)]), b"abcde"),
        delta(patch_stream([b"ab", Copy(9, distance=1)]), b"abbb"),
        delta(patch_stream([Copy(5, slot=4)]), b"abcde"),
        delta(b"\x07", b"abc"),
        delta(b"", b"abc"),
    ],
)
def test_broken_deltas_are_damaged_ones(made: bytes) -> None:
    with pytest.raises(DamagedDelta):
        apply_delta(b"", made)


def segments(count: int, *, lengths: list[int] | None = None) -> bytes:
    writer = BitWriter()
    writer.bits(0, 2)
    writer.number(count)
    for _segment in range(min(count, 4)):
        writer.number(0)
    for length in lengths or [0] * 39:
        writer.bits(length, 4)
    return writer.done() + bytes(64)


@pytest.mark.parametrize(
    "stream",
    [segments(0), segments(1025), segments(1 << 60), segments(1), segments(2, lengths=[1] * 39)],
)
def test_impossible_tables_are_damage(stream: bytes) -> None:
    with pytest.raises(DamagedDelta):
        apply_delta(b"", delta(stream, b"abc"))


def test_the_call_filter_is_undone_as_it_was_done() -> None:
    source = random.Random(7)
    code = bytes(source.choice([0xE8, 0, 1, 0xFF, 0x90]) for _count in range(400))
    assert undo_call_filter(_call_filtered(code)) == code
    assert undo_call_filter(b"\xe8" * 10) == b"\xe8" * 10


def _call_filtered(data: bytes) -> bytes:
    """The filter as a compressor applies it: relative targets become absolute."""
    output, at = bytearray(data), 0
    while at < len(data) - 10:
        if output[at] != 0xE8:
            at += 1
            continue
        relative = int.from_bytes(output[at + 1 : at + 5], "little", signed=True)
        if -at <= relative < len(data) - at:
            absolute = relative + at
        elif len(data) - at <= relative < len(data):
            absolute = relative - len(data)
        else:
            absolute = relative
        output[at + 1 : at + 5] = absolute.to_bytes(4, "little", signed=True)
        at += 5
    return bytes(output)


def test_mutations_end_in_bytes_or_in_our_errors() -> None:
    source = random.Random(30)
    operations: list[bytes | Copy] = [b"some text", Copy(300, distance=5), Copy(40, slot=3)]
    good = delta(patch_stream(operations), b"", size=349, digest=b"", algorithm=0)
    for _count in range(1500):
        changed = bytearray(good)
        for _flip in range(source.randint(1, 4)):
            changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
        _apply_or_refuse(bytes(changed), REFERENCE)
    for end in range(len(good)):
        _apply_or_refuse(good[:end], REFERENCE)


def _apply_or_refuse(data: bytes, reference: bytes) -> None:
    try:
        apply_delta(reference, data, max_bytes=1 << 16, proved_elsewhere=True)
    except WimsmithError:
        return


@given(st.binary(max_size=80))
def test_any_stream_ends(data: bytes) -> None:
    _apply_or_refuse(delta(data, b"", size=5000, digest=b""), b"reference")


def test_real_crash_inputs_are_refused(real: Path) -> None:
    crashes = sorted((real / "pa30").glob("fuzz_crash_*.pa30"))
    assert crashes
    for crash in crashes:
        with pytest.raises((DamagedDelta, NotSupported)):
            apply_delta(b"", crash.read_bytes())
        _apply_or_refuse(crash.read_bytes(), REFERENCE)
