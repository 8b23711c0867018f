"""PA30 deltas: made ones, real ones, and broken ones."""

import hashlib
import json
import random
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.packages.made import BitWriter, Copy, delta, patch_stream
from wimsmith.errors import DamagedDelta, LimitExceeded, NotSupported, WimsmithError
from wimsmith.offline.packages.cabinet import CabinetFile, expand_cabinet
from wimsmith.offline.packages.delta import apply_delta, read_header, undo_call_filter

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
    assert apply_delta(delta(patch_stream(operations), target), REFERENCE) == target
    assert target.endswith(b"x" * 696 + target[-5:])


def test_a_copy_may_run_from_the_reference_into_the_output() -> None:
    operations: list[bytes | Copy] = [b"ab", Copy(10, distance=6)]
    target = play(b"wxyz", operations)
    assert target == b"abwxyzabwxyz"
    assert apply_delta(delta(patch_stream(operations), target), b"wxyz") == target


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
    assert apply_delta(delta(patch_stream(operations), target), b"ABCDEFGH") == target


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
    assert apply_delta(delta(patch_stream(operations), target), reference) == target


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type_set": 0x101}, "delta-kind"),
        ({"file_type": 2}, "delta-kind"),
        ({"file_type": 8}, "delta-kind"),
        ({"file_type": 0x10}, "delta-kind"),
        ({"file_type": 0x80}, "delta-arch"),
        ({"file_type": 4}, "delta-arch"),
        ({"preprocess": b"tables"}, "delta-kind"),
    ],
)
def test_kinds_that_are_not_decoded_are_refused_by_name(change: dict[str, int], code: str) -> None:
    made = delta(patch_stream([b"abc"]), b"abc", **change)  # type: ignore[arg-type]
    with pytest.raises(NotSupported) as refusal:
        apply_delta(made, b"")
    assert refusal.value.reason == code
    assert str(refusal.value).startswith("Not supported: a ")


def test_a_table_of_moved_ranges_is_refused_by_name() -> None:
    writer = BitWriter()
    writer.bits(1, 1)
    with pytest.raises(NotSupported) as refusal:
        apply_delta(delta(writer.done() + b"\0", b"abc"), b"")
    assert refusal.value.reason == "delta-kind"


def test_the_header_is_read_without_expanding() -> None:
    header = read_header(delta(patch_stream([b"abc"]), b"abc", flags=0x60001))
    assert (header.file_type, header.flags, header.target_size_bytes) == (1, 0x60001, 3)
    assert header.target_hash == hashlib.sha256(b"abc").digest()


def test_a_target_larger_than_allowed_is_not_started() -> None:
    with pytest.raises(LimitExceeded):
        apply_delta(delta(patch_stream([b"a"]), b"a", size=1 << 40), b"")
    with pytest.raises(LimitExceeded):
        apply_delta(delta(patch_stream([b"abc"]), b"abc"), b"", max_bytes=2)


@pytest.mark.parametrize(
    "made",
    [
        b"",
        b"PA30",
        b"PA31" + bytes(40),
        b"PA30" + bytes(8) + b"\0",
        delta(patch_stream([b"abd"]), b"abc"),
        delta(patch_stream([b"abc"]), b"abc", algorithm=0x9999),
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
        apply_delta(made, b"")


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
        apply_delta(delta(stream, b"abc"), b"")


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
        apply_delta(data, reference, max_bytes=1 << 16)
    except WimsmithError:
        return


@given(st.binary(max_size=80))
def test_any_stream_ends(data: bytes) -> None:
    _apply_or_refuse(delta(data, b"", size=5000, digest=b""), b"reference")


def test_real_program_deltas_are_refused_and_real_crash_inputs_are_survived(real: Path) -> None:
    for folder in (real / "pa30" / "pe").iterdir():
        with pytest.raises(NotSupported, match="program code"):
            apply_delta((folder / "delta.pa30").read_bytes(), (folder / "base.bin").read_bytes())
    crashes = sorted((real / "pa30").glob("fuzz_crash_*.pa30"))
    assert crashes
    for crash in crashes:
        _apply_or_refuse(crash.read_bytes(), b"")


def test_real_null_deltas_give_the_files_their_index_states(real: Path, tmp_path: Path) -> None:
    expected = json.loads((real / "vectors" / "ipd_expected.json").read_text("utf-8"))
    update = real / "msu" / "Windows6.1-KB2999226-x64.msu"
    inside = {file.name: file for file in expand_cabinet(update, tmp_path / "msu")}
    payload = inside["Windows6.1-KB2999226-x64.cab"].path
    proved = [
        *_null_deltas(expand_cabinet(payload, tmp_path / "a")),
        *_null_deltas(
            expand_cabinet(real / "cbs" / "Windows6.1-KB2883457-amd64.cab", tmp_path / "b")
        ),
    ]
    stated = {(row["hash"], row["length"]) for one in expected.values() for row in one.values()}
    for name, data in proved:
        assert (hashlib.sha1(data).hexdigest(), len(data)) in stated, name
    assert {name.rpartition("\\")[2] for name, _data in proved} == {"startrep.exe", "ucrtbase.dll"}


def _null_deltas(files: tuple[CabinetFile, ...]) -> list[tuple[str, bytes]]:
    """Files of a package that are PA30 deltas against nothing, expanded."""
    namespace = "{urn:ContainerIndex}"
    by_name = {file.name: file for file in files}
    index = ET.fromstring(by_name["_manifest_.cix.xml"].path.read_bytes())
    found = []
    for file in index.iter(f"{namespace}File"):
        source = file.find(f"{namespace}Delta/{namespace}Source")
        basis = file.find(f"{namespace}Delta/{namespace}Basis")
        if source is not None and source.get("type") == "PA30" and basis is None:
            stored = by_name[source.get("name", "")].path.read_bytes()
            found.append((file.get("name", ""), apply_delta(stored, b"")))
    return found
