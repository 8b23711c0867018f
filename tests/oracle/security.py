"""Security descriptors, from SDDL and from bytes, in one form that can be compared."""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_ALIASES: Mapping[str, str] = {
    "AU": "S-1-5-11",
    "BA": "S-1-5-32-544",
    "BG": "S-1-5-32-546",
    "BU": "S-1-5-32-545",
    "CG": "S-1-3-1",
    "CO": "S-1-3-0",
    "IU": "S-1-5-4",
    "LS": "S-1-5-19",
    "NS": "S-1-5-20",
    "OW": "S-1-3-4",
    "PU": "S-1-5-32-547",
    "SU": "S-1-5-6",
    "SY": "S-1-5-18",
    "WD": "S-1-1-0",
    "AC": "S-1-15-2-1",
}
_ACE_FLAGS: Mapping[str, int] = {
    "OI": 0x01,
    "CI": 0x02,
    "NP": 0x04,
    "IO": 0x08,
    "ID": 0x10,
    "SA": 0x40,
    "FA": 0x80,
}
_ACE_TYPES: Mapping[str, int] = {"A": 0, "D": 1, "AU": 2, "AL": 3}
_GENERIC: Mapping[str, int] = {
    "GA": 0x10000000,
    "GX": 0x20000000,
    "GW": 0x40000000,
    "GR": 0x80000000,
}
_COMMON: Mapping[str, int] = {"RC": 0x20000, "SD": 0x10000, "WD": 0x40000, "WO": 0x80000}
_DIRECTORY_SERVICE: Mapping[str, int] = {
    "CC": 0x1, "DC": 0x2, "LC": 0x4, "SW": 0x8, "RP": 0x10, "WP": 0x20, "DT": 0x40, "LO": 0x80,
    "CR": 0x100,
}  # fmt: skip
_OBJECT_RIGHTS: Mapping[str, int] = {
    "FA": 0x1F01FF,
    "FR": 0x120089,
    "FW": 0x120116,
    "FX": 0x1200A0,
    "KA": 0xF003F,
    "KR": 0x20019,
    "KW": 0x20006,
    "KX": 0x20019,
}
_RIGHTS = {**_GENERIC, **_COMMON, **_DIRECTORY_SERVICE, **_OBJECT_RIGHTS}
_FILE_MAP = {0x10000000: 0x1F01FF, 0x20000000: 0x1200A0, 0x40000000: 0x120116, 0x80000000: 0x120089}
_KEY_MAP = {0x10000000: 0xF003F, 0x20000000: 0x20019, 0x40000000: 0x20006, 0x80000000: 0x20019}
_PARTS = re.compile(r"([OGDS]):((?:[^OGDS:(]|\([^)]*\)|(?<=S-)[^:(]|[OGDS](?!:))*)")
_ACE = re.compile(r"\(([^)]*)\)")
_TO_CHILDREN, _INHERIT_ONLY, _INHERITANCE, _INHERITED = 0x03, 0x08, 0x0F, 0x10
_CREATOR_OWNER, _CREATOR_GROUP = "S-1-3-0", "S-1-3-1"
_DACL_PROTECTED = 0x1000

Ace = tuple[int, int, int, str]
"""Type, flags, access mask, SID."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a descriptor says; inherited entries are left out, as they depend on the parent."""

    owner: str
    group: str
    protected: bool
    access: tuple[Ace, ...]
    audit: tuple[Ace, ...]


def of_sddl(text: str, *, for_key: bool) -> Descriptor:
    """The descriptor that SDDL text describes, on a file or a registry key."""
    parts = dict(_PARTS.findall(text.replace(" ", "")))
    mapping = _KEY_MAP if for_key else _FILE_MAP
    access = parts.get("D", "")
    owner, group = _sid_text(parts.get("O", "")), _sid_text(parts.get("G", ""))
    creators = {_CREATOR_OWNER: owner, _CREATOR_GROUP: group}
    return Descriptor(
        owner=owner,
        group=group,
        protected="P" in access.partition("(")[0],
        access=tuple(_aces_of_text(access, mapping, creators)),
        audit=tuple(_aces_of_text(parts.get("S", ""), mapping, creators)),
    )


def of_bytes(data: bytes) -> Descriptor:
    """The descriptor that self-relative bytes hold."""
    control, owner, group, audit, access = struct.unpack_from("<2xHIIII", data)
    return Descriptor(
        owner=_sid_at(data, owner) if owner else "",
        group=_sid_at(data, group) if group else "",
        protected=bool(control & _DACL_PROTECTED),
        access=tuple(_aces_of_bytes(data, access)),
        audit=tuple(_aces_of_bytes(data, audit)),
    )


def _aces_of_text(
    text: str, mapping: Mapping[int, int], creators: Mapping[str, str]
) -> Iterator[Ace]:
    """Entries as they are stored: those that do two things are written down as two."""
    for body in _ACE.findall(text):
        kind, flag_text, rights, _, _, who = body.split(";")[:6]
        flags = sum(_ACE_FLAGS[flag_text[at : at + 2]] for at in range(0, len(flag_text), 2))
        written = (_ACE_TYPES[kind], flags, _mask(rights), _sid_text(who))
        if not flags & _INHERITED:
            yield from _stored(written, mapping, creators)


def _stored(ace: Ace, mapping: Mapping[int, int], creators: Mapping[str, str]) -> Iterator[Ace]:
    kind, flags, mask, who = ace
    here, user = _mapped(mask, mapping), creators.get(who) or who
    if flags & _INHERIT_ONLY:
        yield ace
    elif flags & _TO_CHILDREN and (here, user) != (mask, who):
        yield kind, flags & ~_INHERITANCE, here, user
        yield kind, flags | _INHERIT_ONLY, mask, who
    else:
        yield kind, flags, here, user


def _mask(rights: str) -> int:
    if rights.lower().startswith("0x"):
        return int(rights, 16)
    mask = 0
    for at in range(0, len(rights), 2):
        mask |= _RIGHTS[rights[at : at + 2]]
    return mask


def _mapped(mask: int, mapping: Mapping[int, int]) -> int:
    for generic, specific in mapping.items():
        if mask & generic:
            mask = mask & ~generic | specific
    return mask


def _sid_text(text: str) -> str:
    return _ALIASES.get(text, text)


def _aces_of_bytes(data: bytes, at: int) -> Iterator[Ace]:
    if not at:
        return
    count = struct.unpack_from("<4xH", data, at)[0]
    at += 8
    for _ in range(count):
        kind, flags, size, mask = struct.unpack_from("<BBHI", data, at)
        if not flags & _INHERITED:
            yield kind, flags, mask, _sid_at(data, at + 8)
        at += size


def _sid_at(data: bytes, at: int) -> str:
    revision, count = data[at], data[at + 1]
    authority = int.from_bytes(data[at + 2 : at + 8], "big")
    numbers = struct.unpack_from(f"<{count}I", data, at + 8)
    return "-".join(["S", str(revision), str(authority), *map(str, numbers)])
