"""SDDL and descriptors; layouts and texts as [MS-DTYP] 2.4 and 2.5.1 give them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith.errors import DamagedSecurity, NotSupported, UnknownAlias
from wimsmith.offline._sids import ALIASES, sid_from_bytes, sid_to_bytes
from wimsmith.offline.descriptors import Ace, Acl, SecurityDescriptor
from wimsmith.offline.security import (
    FILE_RIGHTS,
    KEY_RIGHTS,
    TRUSTED_INSTALLER,
    compile_sddl,
    completed,
    display_sddl,
    inherit,
    is_inherit,
    parse_sddl,
    stored_descriptor,
)

TI = TRUSTED_INSTALLER
PROTECTED_FILE = (
    f"O:{TI}G:{TI}D:P(A;;FA;;;{TI})(A;;GRGX;;;BA)(A;;GRGX;;;SY)(A;;GRGX;;;BU)"
    "S:(AU;FASA;0x000D0116;;;WD)"
)


def test_bytes_of_a_small_descriptor_are_laid_out_as_windows_does() -> None:
    data = compile_sddl("O:SYG:BAD:P(A;OICI;FA;;;WD)")
    everyone = bytes.fromhex("010100000000000100000000")
    ace = struct.pack("<BBHI", 0, 3, 20, 0x1F01FF) + everyone
    dacl = struct.pack("<BBHHH", 2, 0, 28, 1, 0) + ace
    system = bytes.fromhex("010100000000000512000000")
    administrators = bytes.fromhex("01020000000000052000000020020000")
    header = struct.pack("<BBHIIII", 1, 0, 0x9004, 48, 60, 0, 20)
    assert data == header + dacl + system + administrators


@pytest.mark.parametrize(
    ("sddl", "shown"),
    [
        ("O:SYG:SYD:(A;;FA;;;BA)", "O:SYG:SYD:(A;;FA;;;BA)"),
        ("D:PAI(A;CIOIIO;GA;;;CO)", "D:PAI(A;OICIIO;GA;;;CO)"),
        ("D:PAR(D;NP;0x1301bf;;;SY)", "D:PAR(D;NP;0x1301bf;;;SY)"),
        ("D:(A;;0x1200a9;;;S-1-5-32-545)", "D:(A;;0x1200a9;;;BU)"),
        ("D:(A;;32;;;WD)(A;;010;;;WD)", "D:(A;;WP;;;WD)(A;;SW;;;WD)"),
        ("S:(ML;OICI;NWNR;;;HI)", "S:(ML;OICI;NWNR;;;HI)"),
        ("D:NO_ACCESS_CONTROL", "D:NO_ACCESS_CONTROL"),
        ("O:S-1-0xff-0x10", "O:S-1-255-16"),
        ("D: (A;;FR;;;BU) (A;;FX;;;BU)", "D:(A;;FR;;;BU)(A;;FX;;;BU)"),
        ("D:(A;;KR;;;BU)(A;;KX;;;BU)", "D:(A;;KR;;;BU)(A;;KR;;;BU)"),
        (
            "D:(OA;;CR;bf967aba-0de6-11d0-a285-00aa003049e2;;AU)",
            "D:(OA;;CR;bf967aba-0de6-11d0-a285-00aa003049e2;;AU)",
        ),
        ("S:P(AU;SAFA;RC;;;WD)", "S:P(AU;SAFA;RC;;;WD)"),
    ],
)
def test_text_survives_as_its_normal_form(sddl: str, shown: str) -> None:
    assert display_sddl(compile_sddl(sddl)) == shown
    assert compile_sddl(shown) == compile_sddl(sddl)


@pytest.mark.parametrize(("alias", "sid"), sorted(ALIASES.items()))
def test_every_alias_is_its_sid(alias: str, sid: str) -> None:
    assert compile_sddl(f"O:{alias}") == compile_sddl(f"O:{sid}")
    assert sid_from_bytes(sid_to_bytes(sid)) == (sid, 8 + 4 * (sid.count("-") - 2))


def test_an_alias_of_a_domain_is_known_only_with_the_domain() -> None:
    with pytest.raises(UnknownAlias, match="DA"):
        compile_sddl("O:DA")
    domain = "S-1-5-21-1-2-3"
    assert display_sddl(compile_sddl("O:DA", domain=domain)) == "O:S-1-5-21-1-2-3-512"
    with pytest.raises(UnknownAlias, match="QQ"):
        compile_sddl("D:(A;;FA;;;QQ)")


@pytest.mark.parametrize("kind", ["XA", "XD", "XU", "ZA", "RA"])
def test_conditional_entries_are_refused(kind: str) -> None:
    with pytest.raises(NotSupported):
        compile_sddl(f"D:({kind};;FX;;;BU)")


@pytest.mark.parametrize(
    "sddl",
    [
        "",
        "nonsense",
        "O:SYO:SY",
        "D:Q(A;;FA;;;SY)",
        "D:(A;;FA;;;SY",
        "D:(A;;FA;;SY)",
        "D:(A;;QQ;;;SY)",
        "D:(A;;NW;;;SY)",
        "D:(A;QQ;FA;;;SY)",
        "D:(A;;0x100000000;;;SY)",
        "D:(A;;089;;;SY)",
        "D:(Q;;FA;;;SY)",
        "D:(A;;FA;not-a-guid;;SY)",
        "D:(A;;FA;bf967aba-0de6-11d0-a285-00aa003049e2;;SY)",
        "O:S-1-5-4294967296",
        "O:S-2-5-18",
        "O:S-1-5" + "-1" * 16,
        "D:" + "(A;;FA;;;SY)" * 20_000,
    ],
)
def test_text_that_breaks_the_grammar_is_refused(sddl: str) -> None:
    with pytest.raises(DamagedSecurity):
        compile_sddl(sddl)


def test_the_inherit_literal_is_not_sddl() -> None:
    assert is_inherit("(inherit)")
    assert not is_inherit(PROTECTED_FILE)
    with pytest.raises(DamagedSecurity):
        compile_sddl("(inherit)")


def test_generic_rights_become_those_of_the_kind_of_object() -> None:
    stored = display_sddl(stored_descriptor(PROTECTED_FILE, FILE_RIGHTS))
    assert "(A;;0x1200a9;;;BA)" in stored
    assert f"(A;;FA;;;{TI})" in stored


def test_entries_that_are_handed_down_are_stored_as_two() -> None:
    """As `Get-Acl` shows them on the protected keys of an installed Windows 10."""
    written = f"O:{TI}G:{TI}D:P(A;CI;GA;;;{TI})(A;CI;GR;;;SY)(A;CI;KR;;;BU)(A;OICI;GA;;;CO)"
    assert display_sddl(stored_descriptor(written, KEY_RIGHTS)) == (
        f"O:{TI}G:{TI}D:PAI(A;;KA;;;{TI})(A;CIIO;GA;;;{TI})(A;;KR;;;SY)(A;CIIO;GR;;;SY)"
        f"(A;CI;KR;;;BU)(A;;KA;;;{TI})(A;OICIIO;GA;;;CO)"
    )


def test_an_owner_who_is_not_named_is_taken_from_another_object() -> None:
    nobody = compile_sddl("D:P(A;;FA;;;SY)")
    like = compile_sddl(f"O:{TI}G:SYD:P")
    assert display_sddl(completed(nobody, like)) == f"O:{TI}G:SYD:P(A;;FA;;;SY)"
    assert display_sddl(completed(nobody, None)) == "O:BAG:SYD:P(A;;FA;;;SY)"
    named = compile_sddl("O:BUG:BUD:P")
    assert completed(named, like) == named


def test_entries_that_only_wait_to_be_inherited_keep_generic_rights() -> None:
    text = "D:(A;OICIIO;GA;;;CO)"
    assert display_sddl(stored_descriptor(text)) == text


@pytest.mark.parametrize(
    ("above", "directory", "file"),
    [
        ("(A;OICI;FA;;;BA)", "(A;OICIID;FA;;;BA)", "(A;ID;FA;;;BA)"),
        ("(A;;FA;;;BA)", "", ""),
        ("(A;CI;FA;;;BA)", "(A;CIID;FA;;;BA)", ""),
        ("(A;OI;FA;;;BA)", "(A;OIIOID;FA;;;BA)", "(A;ID;FA;;;BA)"),
        ("(A;OICINP;FA;;;BA)", "(A;ID;FA;;;BA)", "(A;ID;FA;;;BA)"),
        ("(A;OINP;FA;;;BA)", "", "(A;ID;FA;;;BA)"),
        ("(A;OICIIO;GA;;;CO)", "(A;ID;FA;;;SY)(A;OICIIOID;GA;;;CO)", "(A;ID;FA;;;SY)"),
        ("(A;CIIO;GR;;;CG)", "(A;ID;FR;;;BA)(A;CIIOID;GR;;;CG)", ""),
        ("(D;OICI;GX;;;BU)", "(D;ID;FX;;;BU)(D;OICIIOID;GX;;;BU)", "(D;ID;FX;;;BU)"),
    ],
)
def test_what_a_new_object_inherits(above: str, directory: str, file: str) -> None:
    parent = compile_sddl(f"O:SYG:BAD:P{above}")
    for entries, is_directory in ((directory, True), (file, False)):
        wanted = f"AI{entries}" if entries else "(A;;FA;;;SY)(A;;0x1200a9;;;BA)"
        shown = display_sddl(inherit(parent, is_directory=is_directory))
        assert shown == f"O:SYG:BAD:{wanted}"


def test_audit_and_label_entries_are_inherited_too() -> None:
    parent = compile_sddl("O:SYG:SYD:(A;OICI;FA;;;SY)S:(AU;OICISA;FA;;;WD)(ML;OICI;NW;;;HI)")
    child = display_sddl(inherit(parent, is_directory=False))
    assert child == "O:SYG:SYD:AI(A;ID;FA;;;SY)S:AI(AU;IDSA;FA;;;WD)(ML;ID;NW;;;HI)"


SIDS = st.builds(
    lambda authority, numbers: "-".join(["S-1", str(authority), *map(str, numbers)]),
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 2**32 - 1), max_size=15),
)
ACES = st.builds(
    Ace,
    type=st.sampled_from([0, 1, 0x13]),
    flags=st.sampled_from([0, 1, 2, 3, 4, 8, 0x0B, 0x10, 0x1F]),
    mask=st.integers(0, 2**32 - 1),
    sid=SIDS,
)
LISTS = st.none() | st.builds(Acl, st.lists(ACES, max_size=6).map(tuple))
DESCRIPTORS = st.builds(
    SecurityDescriptor,
    owner=st.none() | SIDS,
    group=st.none() | SIDS,
    dacl=LISTS,
    sacl=LISTS,
    control=st.sampled_from([0x8014, 0x9014, 0xB414, 0x8C14]),
)


@given(DESCRIPTORS)
def test_any_descriptor_survives_bytes_and_text(descriptor: SecurityDescriptor) -> None:
    data = descriptor.to_bytes()
    assert SecurityDescriptor.from_bytes(data) == descriptor
    assert parse_sddl(display_sddl(data)) == descriptor


@given(DESCRIPTORS, st.booleans())
def test_whatever_is_above_a_new_object_has_a_list_and_marks_what_came_down(
    descriptor: SecurityDescriptor, is_directory: bool
) -> None:
    child = inherit(descriptor.to_bytes(), is_directory=is_directory)
    grandchild = SecurityDescriptor.from_bytes(inherit(child, is_directory=is_directory))
    assert grandchild.dacl
    assert grandchild.dacl.aces
    came_down = bool(grandchild.control & 0x0400)
    assert all(bool(ace.flags & 0x10) == came_down for ace in grandchild.dacl.aces)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        descriptor = SecurityDescriptor.from_bytes(data)
    except DamagedSecurity:
        return
    assert SecurityDescriptor.from_bytes(descriptor.to_bytes()) == descriptor


@given(st.data())
def test_a_damaged_descriptor_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(compile_sddl(PROTECTED_FILE))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        SecurityDescriptor.from_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    except DamagedSecurity:
        return
