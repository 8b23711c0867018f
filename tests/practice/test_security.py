"""Security descriptors: text and bytes say the same."""

import re
import struct

import pytest

from wimsmith.practice import security
from wimsmith.practice.security import TRUSTED_INSTALLER, WRP_FILE, Ace, Descriptor, sid_bytes

_ALL = {name: value for name, value in vars(security).items() if isinstance(value, Descriptor)}


_MAPPED = {0x1F01FF, 0x1200A9, 0xF003F, 0x20019}
"""All rights, and reading with executing, of files and of keys."""


def _sid_text(data: bytes, at: int) -> str:
    revision, count = data[at], data[at + 1]
    authority = int.from_bytes(data[at + 2 : at + 8], "big")
    parts = struct.unpack_from(f"<{count}I", data, at + 8)
    return "-".join(["S", str(revision), str(authority), *map(str, parts)])


def _aces(data: bytes, at: int) -> list[tuple[int, int, int, str]]:
    revision, _, size, count, _ = struct.unpack_from("<BBHHH", data, at)
    assert revision == 2
    end, position, found = at + size, at + 8, []
    for _ in range(count):
        kind, flags, ace_size, mask = struct.unpack_from("<BBHI", data, position)
        found.append((kind, flags, mask, _sid_text(data, position + 8)))
        position += ace_size
    assert position == end
    return found


def _written(stored: list[tuple[int, int, int, str]]) -> list[tuple[int, int, int, str]]:
    """Entries as they were written: one that Windows keeps as two, an effective one and one that
    waits for children with generic rights, is one again."""
    found: list[tuple[int, int, int, str]] = []
    for entry in stored:
        waits = entry[1] & 0x08 and entry[2] >= 0x1000_0000
        twin = found and found[-1][3] == entry[3] and found[-1][2] in _MAPPED
        if not (waits and twin):
            found.append(entry)
    return found


def test_the_file_descriptor_is_what_windows_gives_its_files() -> None:
    data = WRP_FILE.of_file
    revision, _, control, owner, group, audit, access = struct.unpack_from("<BBHIIII", data)
    assert (revision, control) == (1, 0x9414)
    assert _sid_text(data, owner) == _sid_text(data, group) == TRUSTED_INSTALLER
    assert _aces(data, access)[0] == (0, 0, 0x1F01FF, TRUSTED_INSTALLER)
    assert _aces(data, access)[1] == (0, 0, 0x1200A9, "S-1-5-32-544")
    assert _aces(data, audit) == [(2, 0xC0, 0x000D0116, "S-1-1-0")]


@pytest.mark.parametrize("name", sorted(_ALL))
@pytest.mark.parametrize("form", ["of_file", "of_key"])
def test_bytes_and_text_have_the_same_entries(name: str, form: str) -> None:
    descriptor = _ALL[name]
    if any(ace.rights in {"FA", "KA", "KR"} for ace in descriptor.access):
        form = "of_file" if any(ace.rights == "FA" for ace in descriptor.access) else "of_key"
    data: bytes = getattr(descriptor, form)
    offsets = struct.unpack_from("<IIII", data, 4)
    entries = _written(_aces(data, offsets[3]))
    text = re.findall(r"\(([AD]);([A-Z]*);([^;]*);;;([^)]*)\)", descriptor.sddl.partition("S:(")[0])
    assert len(entries) == len(text) == len(descriptor.access)
    for (kind, flags, mask, sid), (letter, _flags, rights, who) in zip(entries, text, strict=True):
        assert kind == {"A": 0, "D": 1}[letter]
        assert sid_bytes(who) == sid_bytes(sid)
        assert mask == int(rights, 16) if rights.startswith("0x") else mask
        if not flags & 0x08:
            assert mask < 0x1000_0000, "an entry in force has no generic rights"
    assert (
        len({one.of_file for one in _ALL.values() if "KA" not in one.sddl and "KR" not in one.sddl})
        > 5
    )


def test_an_entry_with_two_effects_is_kept_as_two() -> None:
    """`(A;CI;GA;;;SY)` becomes `(A;;KA;;;SY)(A;CIIO;GA;;;SY)`, as on installed Windows."""
    data = Descriptor("SY", "SY", (Ace("GA", "SY", security.Inherit.CI),)).of_key
    assert _aces(data, struct.unpack_from("<I", data, 16)[0]) == [
        (0, 0, 0xF003F, "S-1-5-18"),
        (0, 0x0A, 0x1000_0000, "S-1-5-18"),
    ]


def test_an_entry_that_is_only_passed_on_keeps_generic_rights() -> None:
    ace = Ace("GA", "CO", security.Inherit.OI | security.Inherit.CI | security.Inherit.IO)
    data = Descriptor("SY", "SY", (ace,)).of_file
    assert _aces(data, struct.unpack_from("<I", data, 16)[0]) == [(0, 0x0B, 0x1000_0000, "S-1-3-0")]
    assert ace.text == "(A;OICIIO;GA;;;CO)"
