"""Security descriptors as values: each gives its SDDL text and its self-relative bytes.

Layout and constants: [MS-DTYP] 2.4 and 2.5.1.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntFlag

TRUSTED_INSTALLER = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"

_ALIASES = {
    "SY": "S-1-5-18",
    "BA": "S-1-5-32-544",
    "BU": "S-1-5-32-545",
    "AU": "S-1-5-11",
    "WD": "S-1-1-0",
    "CO": "S-1-3-0",
    "AC": "S-1-15-2-1",
}
_GENERIC = {"GA": 0x1000_0000, "GX": 0x2000_0000, "GW": 0x4000_0000, "GR": 0x8000_0000}
_FILE = {"GA": 0x1F01FF, "GX": 0x1200A0, "GW": 0x120116, "GR": 0x120089, "FA": 0x1F01FF}
_KEY = {"GA": 0xF003F, "GX": 0x20019, "GW": 0x20006, "GR": 0x20019, "KA": 0xF003F, "KR": 0x20019}


class Inherit(IntFlag):
    """Flags of an access control entry."""

    NONE = 0
    OI = 0x01
    CI = 0x02
    NP = 0x04
    IO = 0x08
    SA = 0x40
    FA = 0x80


@dataclass(frozen=True, slots=True)
class Ace:
    """One entry: `rights` are two-letter names written together, or a mask such as 0x1301bf."""

    rights: str
    who: str
    flags: Inherit = Inherit.NONE
    kind: str = "A"

    @property
    def text(self) -> str:
        flags = "".join(flag.name or "" for flag in Inherit if flag and flag in self.flags)
        return f"({self.kind};{flags};{self.rights};;;{self.who})"

    def data(self, names: dict[str, int]) -> bytes:
        """The entry as bytes; an entry that only passes on keeps its generic rights."""
        kind = {"A": 0, "D": 1, "AU": 2}[self.kind]
        used = {**names, **_GENERIC} if Inherit.IO in self.flags else names
        sid = sid_bytes(self.who)
        return struct.pack("<BBHI", kind, self.flags, 8 + len(sid), _mask(self.rights, used)) + sid


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Owner, group, protected or inheriting access list, audit list."""

    owner: str
    group: str
    access: tuple[Ace, ...]
    audit: tuple[Ace, ...] = ()
    protected: bool = True

    @property
    def sddl(self) -> str:
        flag = "P" if self.protected else "AI"
        text = f"O:{self.owner}G:{self.group}D:{flag}" + "".join(ace.text for ace in self.access)
        return text + ("S:" + "".join(ace.text for ace in self.audit) if self.audit else "")

    @property
    def of_file(self) -> bytes:
        """Bytes for a file or directory: generic rights become file rights."""
        return self._bytes(_FILE)

    @property
    def of_key(self) -> bytes:
        """Bytes for a registry key."""
        return self._bytes(_KEY)

    def _bytes(self, names: dict[str, int]) -> bytes:
        access = _acl(self._stored(self.access, names), names)
        audit = _acl(self._stored(self.audit, names), names) if self.audit else b""
        owner, group = sid_bytes(self.owner), sid_bytes(self.group)
        control = 0x8404 | (0x1000 if self.protected else 0) | (0x10 if audit else 0)
        access_at = 20 + len(audit)
        owner_at = access_at + len(access)
        header = struct.pack(
            "<BBHIIII",
            1,
            0,
            control,
            owner_at,
            owner_at + len(owner),
            20 if audit else 0,
            access_at,
        )
        return header + audit + access + owner + group

    def _stored(self, entries: tuple[Ace, ...], names: dict[str, int]) -> Iterator[Ace]:
        """Entries as Windows keeps them: what acts here and is handed down as well becomes two."""
        creators = {"CO": self.owner, "CG": self.group}
        for ace in entries:
            passed_on = ace.flags & (Inherit.OI | Inherit.CI)
            mapped = _mask(ace.rights, names) != _mask(ace.rights, {**names, **_GENERIC})
            who = creators.get(ace.who, ace.who)
            if Inherit.IO in ace.flags:
                yield ace
                continue
            if not (passed_on and (mapped or ace.who in creators)):
                yield replace(ace, who=who)
                continue
            kept = ace.flags & ~(_BOTH | Inherit.NP)
            yield replace(ace, who=who, flags=kept)
            yield replace(ace, flags=ace.flags | Inherit.IO)


def sid_bytes(who: str) -> bytes:
    """Binary SID of an alias or of an `S-1-...` text."""
    numbers = [int(part) for part in _ALIASES.get(who, who).split("-")[1:]]
    revision, authority, *rest = numbers
    head = struct.pack(">BBHI", revision, len(rest), authority >> 32, authority & 0xFFFF_FFFF)
    return head + struct.pack(f"<{len(rest)}I", *rest)


def _mask(rights: str, names: dict[str, int]) -> int:
    if rights.startswith("0x"):
        return int(rights, 16)
    mask = 0
    for place in range(0, len(rights), 2):
        mask |= names[rights[place : place + 2]]
    return mask


def _acl(entries: Iterable[Ace], names: dict[str, int]) -> bytes:
    parts = [ace.data(names) for ace in entries]
    body = b"".join(parts)
    return struct.pack("<BBHHH", 2, 0, 8 + len(body), len(parts), 0) + body


_TI = TRUSTED_INSTALLER
_BOTH = Inherit.OI | Inherit.CI
_PASS_ON = _BOTH | Inherit.IO

WRP_FILE = Descriptor(
    _TI,
    _TI,
    (Ace("FA", _TI), Ace("GRGX", "BA"), Ace("GRGX", "SY"), Ace("GRGX", "BU"), Ace("GRGX", "AC")),
    (Ace("0x000D0116", "WD", Inherit.SA | Inherit.FA, "AU"),),
)
WRP_DIRECTORY = Descriptor(
    _TI,
    _TI,
    (
        Ace("GA", _TI, Inherit.CI),
        Ace("0x1301bf", "SY"),
        Ace("GA", "SY", _PASS_ON),
        Ace("0x1301bf", "BA"),
        Ace("GA", "BA", _PASS_ON),
        Ace("GRGX", "BU", _BOTH),
        Ace("GA", "CO", _PASS_ON),
    ),
)
WRP_KEY = Descriptor(
    _TI,
    _TI,
    (
        Ace("KA", _TI, Inherit.CI),
        Ace("KA", "SY", Inherit.CI),
        Ace("KR", "BA", Inherit.CI),
        Ace("KR", "BU", Inherit.CI),
    ),
)
ADMIN_FILE = Descriptor("BA", "SY", (Ace("FA", "SY"), Ace("FA", "BA"), Ace("GRGX", "BU")))
ADMIN_DIRECTORY = Descriptor("SY", "SY", (Ace("FA", "SY", _BOTH), Ace("FA", "BA", _BOTH)))
ROOT_DIRECTORY = Descriptor(
    _TI,
    _TI,
    (
        Ace("FA", "BA", _BOTH),
        Ace("FA", "SY", _BOTH),
        Ace("GRGX", "BU", _BOTH),
        Ace("0x4", "AU", Inherit.CI),
        Ace("0x1301bf", "AU", _PASS_ON),
    ),
)
USERS_DIRECTORY = Descriptor(
    "SY", "SY", (Ace("FA", "SY", _BOTH), Ace("FA", "BA", _BOTH), Ace("GRGX", "BU", _BOTH))
)
INHERITED_FILE = Descriptor("BA", "SY", (Ace("FA", "SY"), Ace("GRGX", "BU")), protected=False)
JUNCTION = Descriptor(
    "SY", "SY", (Ace("0x1", "WD", kind="D"), Ace("GRGX", "WD"), Ace("FA", "SY"), Ace("FA", "BA"))
)
HIVE_KEY = Descriptor(
    "BA",
    "SY",
    (
        Ace("KA", "BA", Inherit.CI),
        Ace("KA", "SY", Inherit.CI),
        Ace("KR", "BU", Inherit.CI),
        Ace("KA", "CO", Inherit.CI | Inherit.IO),
    ),
)
STORE_KEY = Descriptor(
    _TI, _TI, (Ace("KA", _TI, Inherit.CI), Ace("KR", "SY", Inherit.CI), Ace("KR", "BA", Inherit.CI))
)
