"""PA30 deltas between programs, made and real, by the compiled and the interpreted decoder."""

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.packages.interpreted import interpreted, is_compiled
from offline.packages.made import Copy, delta, patch_stream
from offline.packages.madeprogram import (
    Block,
    Part,
    Program,
    Reference,
    amd64_parts,
    difference,
    program_buffer,
    with_relocations,
    x86_parts,
)
from wimsmith.errors import DamagedDelta, NotSupported
from wimsmith.offline.packages.deltas import amd64code
from wimsmith.offline.packages.deltas import delta as installed_delta
from wimsmith.offline.packages.deltas.pedelta import read_target_program, rewritten_base
from wimsmith.offline.packages.deltas.peimage import PeImage
from wimsmith.offline.packages.deltas.petransform import Rewriting, move_resources, unbind_imports
from wimsmith.offline.packages.deltas.rift import Rift, inverse, then
from wimsmith.offline.packages.deltas.x86code import move_jumps, undo_call_filter

X86_FLAGS, AMD64_FLAGS = 0x2E1FE, 0x2E63E
GAPS = {"second": 16, "third": 64, "values": 32, "library": 3}
Apply = Callable[..., bytes]


@pytest.fixture(params=["compiled", "interpreted"])
def apply_delta(request: pytest.FixtureRequest) -> Apply:
    """The decoder in both of its forms."""
    if request.param == "interpreted":
        found: Apply = interpreted()["delta"].apply_delta
        return found
    if not is_compiled():
        pytest.skip("needs the compiled decoder: sh bin/setup says why it is not there")
    return installed_delta.apply_delta


def layouts(*, wide: bool) -> tuple[Program, Program]:
    """A program, and the same one with room between its parts and another base."""
    parts, base = (amd64_parts, 0x1_8000_0000) if wide else (x86_parts, 0x1000_0000)
    old = Program(wide, parts(), base, 0x5000_0000)
    new = Program(wide, parts(), base + 0x1_0000, 0x5100_0000, GAPS, spread=1)
    return with_relocations(old), with_relocations(new)


@pytest.mark.parametrize(
    ("wide", "file_type"), [(False, 2), (False, 0x10), (True, 8), (True, 0x20)]
)
def test_everything_that_moved_leads_to_where_it_moved(
    apply_delta: Apply, wide: bool, file_type: int
) -> None:
    old, new = layouts(wide=wide)
    flags = AMD64_FLAGS if wide else X86_FLAGS
    made = difference(old, new, flags=flags, file_type=file_type)
    assert apply_delta(old.build(), made) == new.build()


@pytest.mark.parametrize(
    ("wide", "flag", "table"),
    [
        (False, 0x4, "imports"),
        (False, 0x8, "exports"),
        (False, 0x20, "relocations"),
        (False, 0x80, "third"),
        (False, 0x100, "second"),
        (True, 0x4, "names"),
        (True, 0x8, "functions"),
        (True, 0x20, "values"),
        (True, 0x200, "first"),
        (True, 0x400, "records"),
    ],
)
def test_each_flag_is_needed_for_its_table(wide: bool, flag: int, table: str) -> None:
    old, new = layouts(wide=wide)
    flags = (AMD64_FLAGS if wide else X86_FLAGS) & ~flag
    with pytest.raises(DamagedDelta, match="sha256"):
        installed_delta.apply_delta(old.build(), difference(old, new, flags=flags))
    rewritten = rewritten_base(old.build(), read_target_program(_buffer(old, new)), flags)
    start = old.places[table][1]
    assert rewritten[start : start + 8] == old.build()[start : start + 8]


def _buffer(old: Program, new: Program) -> bytes:
    return installed_delta.read_header(difference(old, new, flags=0)).preprocess


def test_a_base_of_another_build_is_found_out(apply_delta: Apply) -> None:
    old, new = layouts(wide=True)
    changed = bytearray(old.build())
    changed[old.places["first"][1] + 40] ^= 1
    with pytest.raises(DamagedDelta, match="sha256"):
        apply_delta(bytes(changed), difference(old, new, flags=AMD64_FLAGS))


@pytest.mark.parametrize("base", [b"", b"MZ", b"text" * 400, bytes(0x400)])
def test_a_base_that_is_no_program_is_damage(base: bytes) -> None:
    old, new = layouts(wide=False)
    with pytest.raises(DamagedDelta):
        installed_delta.apply_delta(base, difference(old, new, flags=X86_FLAGS))


@pytest.mark.parametrize("where", ["metadata", "map_of_metadata"])
def test_deltas_that_rewrite_metadata_are_refused_by_name(where: str) -> None:
    buffer = program_buffer(0x1000_0000, 0, [], [], **{where: 1})
    made = delta(patch_stream([b"abc"]), b"abc", file_type=0x10, preprocess=buffer)
    with pytest.raises(NotSupported) as refusal:
        installed_delta.apply_delta(layouts(wide=False)[0].build(), made)
    assert refusal.value.reason == "delta-managed"


def test_stamps_of_the_base_become_those_of_the_target(apply_delta: Apply) -> None:
    old, new = (_stamped(one, 0x5000_0000) for one in layouts(wide=False))
    target = bytearray(new.build())
    struct.pack_into("<I", target, new.places["exports"][1] + 4, new.stamp)
    header = installed_delta.read_header(difference(old, new, flags=X86_FLAGS))
    made = delta(
        header.patch, bytes(target), file_type=2, flags=X86_FLAGS, preprocess=header.preprocess
    )
    assert apply_delta(old.build(), made) == bytes(target)


def _stamped(program: Program, stamp: int) -> Program:
    """The same program with a time stamp in its export directory."""
    data = program.parts[1]
    blocks = [
        Block(one.name, one.data[:4] + struct.pack("<I", stamp) + one.data[8:], one.references)
        if one.name == "exports"
        else one
        for one in data.blocks
    ]
    program.parts[1] = Part(data.name, data.flags, tuple(blocks))
    return program


def test_a_jump_that_became_short_takes_its_short_form() -> None:
    jump = b"\xe9\0\0\0\0\x0f\x84\0\0\0\0\xc3"
    references = (Reference(1, "distance", "far", 5), Reference(7, "distance", "far", 11))
    blocks = (Block("jump", jump, references), Block("wide", bytes(200)), Block("far", b"\xc3"))
    image = PeImage(Program(False, [Part(b".text", 0x6000_0020, blocks)], 0, 1).build())
    work = Rewriting(image, Rift((0, 0x1000 + 212), (0, -190)), 0)
    move_jumps(work)
    assert image.data[0x400:0x40C].hex(" ") == "eb 11 00 00 00 74 0b c9 00 00 00 c3"


def test_bound_imports_are_undone() -> None:
    old, _new = layouts(wide=False)
    old.parts[1] = Part(b".idata", old.parts[1].flags, old.parts[1].blocks)
    image = PeImage(Program(False, old.parts, old.base, 1).build())
    at, table = old.places["imports"][1], old.places["addresses"][1]
    image.put32(at + 4, 0xFFFF_FFFF)
    image.put32(at + 8, 0xFFFF_FFFF)
    image.put32(table, 0x7777_7777)
    unbind_imports(image)
    assert (image.u32(at + 4), image.u32(at + 8)) == (0, 0)
    assert image.u32(table) == image.u32(old.places["names"][1]) == old.rva("hint")
    assert image.u32(image.sections[1].header + 36) & 0xC000_0000 == 0xC000_0000


def test_offsets_of_resources_count_from_their_root() -> None:
    tree = b"".join(
        struct.pack("<12xHHII", *fields)
        for fields in ((1, 0, 0x8000_0058, 0x8000_0018), (0, 1, 1, 0x8000_0030), (0, 1, 9, 0x48))
    )
    entry = struct.pack("<IIII", 0x60, 4, 0, 0)
    blocks = (Block("tree", tree + entry), Block("text", b"\x01\0A\0"), Block("data", bytes(64)))
    old = Program(False, [Part(b".rsrc", 0x4000_0040, blocks)], 0, 1)
    image = PeImage(old.build())
    moved = Rift((0, old.rva("text"), old.rva("data")), (0x40, 0x48, 0x50))
    move_resources(Rewriting(image, moved, 0))
    root = old.places["tree"][1]
    assert image.u32(root + 16) == 0x8000_0060  # the name moved by 8 more than the root
    assert image.u32(root + 20) == 0x8000_0018
    assert image.u32(root + 44) == 0x8000_0030
    assert image.u32(root + 68) == 0x48
    assert image.u32(root + 0x48) == 0x70  # the data moved by 16 more


def test_tables_that_name_themselves_again_and_again_end() -> None:
    old, new = layouts(wide=True)
    base = bytearray(old.build())
    imports = old.places["imports"][1]
    descriptor = base[imports : imports + 20]
    start = old.places["first"][1]
    base[start : start + 20 * 50] = descriptor * 50
    table = 0x80 + 24 + 112
    struct.pack_into("<I", base, table + 8, old.rva("first"))
    with pytest.raises(DamagedDelta):
        installed_delta.apply_delta(bytes(base), difference(old, new, flags=AMD64_FLAGS))


@pytest.mark.parametrize("form", ["compiled", "interpreted"])
def test_lengths_of_instructions_are_those_the_maker_believed_in(form: str) -> None:
    operands = interpreted()["amd64code"].operands if form == "interpreted" else amd64code.operands
    call = b"\xe8\x01\0\0\0"
    for before, found in (
        (b"", [(1, 5)]),
        (b"\x90", [(2, 6)]),
        (b"\x0f\x1f\x44\0\0", [(6, 10)]),  # a no-op it does not know, and goes on after its opcode
        (b"\x66\x66\x66\x90", [(5, 9)]),
        (b"\x48\xa1" + bytes(8), [(11, 15)]),
        (b"\x67\xa1" + bytes(4), [(7, 11)]),
        (b"\xf7\xc0\x01\0\0\0", [(7, 11)]),
        (b"\xf7\xd8", [(3, 7)]),
        (b"\x8b\x84\x24\0\0\0\0", [(8, 12)]),
        (b"\x8b\x04\x25\0\0\0\0", [(8, 12)]),
        (b"\xc2\0\0\0\0", [(6, 10)]),  # believed to have four bytes
        (b"\x0f\x85\0\0\0\0", [(2, 6), (7, 11)]),
        (b"\x75\x01", [(3, 7)]),
    ):
        assert operands(before + call, 0, len(before) + 5) == found, before.hex()
    assert operands(call, 0, 4) == []
    assert operands(b"\x66" * 20, 0, 20) == []


@given(st.binary(max_size=300), st.integers(0, 20))
def test_any_code_is_measured_alike_by_both_forms(code: bytes, start: int) -> None:
    found = amd64code.operands(code, start, len(code) + 7)
    assert found == interpreted()["amd64code"].operands(code, start, len(code) + 7)
    assert all(start <= field <= following - 4 <= len(code) for field, following in found)


@st.composite
def rifts(draw: st.DrawFn) -> Rift:
    places = draw(st.lists(st.integers(-50, 300), max_size=6))
    return Rift.of([(place, draw(st.integers(-60, 60))) for place in places])


@given(rifts(), rifts(), st.integers(-100, 400))
def test_moves_compose_and_turn_back(first: Rift, second: Rift, place: int) -> None:
    pieces = list(then(first.everything(), second))
    inside = [move for start, stop, move in pieces if start <= place < stop]
    assert inside == [second.map(first.map(place)) - place]
    back = inverse(iter(pieces))
    came = second.map(first.map(place))
    sources = [one for one in range(-1500, 1500) if second.map(first.map(one)) == came]
    assert back.map(came) in sources


def test_the_earlier_piece_counts_and_gaps_go_with_what_is_before() -> None:
    back = inverse([(0, 10, 0), (10, 30, -5), (30, 40, 10)])
    assert [back.map(place) for place in (0, 9, 10, 24, 25, 39, 40, 45)] == [
        0, 9, 15, 29, 30, 44, 30, 35,
    ]  # fmt: skip


def test_real_pairs_of_programs(real: Path, apply_delta: Apply) -> None:
    folders = sorted((real / "pa30" / "pe").iterdir())
    assert len(folders) >= 2
    for folder in folders:
        base, made = (folder / "base.bin").read_bytes(), (folder / "delta.pa30").read_bytes()
        assert apply_delta(base, made) == (folder / "target.bin").read_bytes()


def test_the_call_filter_is_undone_in_32_bit_programs_only(apply_delta: Apply) -> None:
    for wide in (False, True):
        program = layouts(wide=wide)[0].build()
        at = program.index(b"\xe8")
        stored = bytearray(program)
        if not wide:
            relative = int.from_bytes(program[at + 1 : at + 5], "little", signed=True)
            stored[at + 1 : at + 5] = (relative + at).to_bytes(4, "little")
        stream = patch_stream([bytes(stored[:at]), bytes(stored[at:])])
        if not wide:
            expected = undo_call_filter(bytes(stored))
            assert expected[: at + 5] == program[: at + 5]
        else:
            expected = program
        made = delta(stream, expected, flags=0x20001)
        assert hashlib.sha256(expected).digest() == installed_delta.read_header(made).target_hash
        assert apply_delta(b"", made) == expected


def test_a_copy_of_nothing_but_the_diagonal_gives_the_rewritten_base() -> None:
    old, _new = layouts(wide=False)
    base = old.build()
    buffer = program_buffer(old.base, old.stamp, old.layout, [])
    target = bytearray(base)
    struct.pack_into("<I", target, 0x80 + 24 + 64, 0)
    stream = patch_stream([Copy(len(base), slot=3)])
    made = delta(stream, bytes(target), file_type=2, flags=X86_FLAGS, preprocess=buffer)
    assert installed_delta.apply_delta(base, made) == bytes(target)
