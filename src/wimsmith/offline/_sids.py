"""Security identifiers: bytes, text, and the two-letter aliases of SDDL.

Aliases and their values are those of the open specification [MS-DTYP] 2.4.2.4 and 2.5.1.1.
"""

import re
import struct
from collections.abc import Mapping
from types import MappingProxyType

from wimsmith.errors import DamagedSecurity, UnknownAlias

MAX_SUB_AUTHORITIES = 15
_TEXT = re.compile(r"S-1-(0x[0-9a-f]+|\d+)((?:-(?:0x[0-9a-f]+|\d+))*)", re.IGNORECASE)

TRUSTED_INSTALLER = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "AA": "S-1-5-32-579",
        "AC": "S-1-15-2-1",
        "AN": "S-1-5-7",
        "AO": "S-1-5-32-548",
        "AS": "S-1-18-1",
        "AU": "S-1-5-11",
        "BA": "S-1-5-32-544",
        "BG": "S-1-5-32-546",
        "BO": "S-1-5-32-551",
        "BU": "S-1-5-32-545",
        "CD": "S-1-5-32-574",
        "CG": "S-1-3-1",
        "CO": "S-1-3-0",
        "CY": "S-1-5-32-569",
        "ED": "S-1-5-9",
        "ER": "S-1-5-32-573",
        "ES": "S-1-5-32-576",
        "HA": "S-1-5-32-578",
        "HI": "S-1-16-12288",
        "IS": "S-1-5-32-568",
        "IU": "S-1-5-4",
        "LS": "S-1-5-19",
        "LU": "S-1-5-32-559",
        "LW": "S-1-16-4096",
        "ME": "S-1-16-8192",
        "MP": "S-1-16-8448",
        "MS": "S-1-5-32-577",
        "MU": "S-1-5-32-558",
        "NO": "S-1-5-32-556",
        "NS": "S-1-5-20",
        "NU": "S-1-5-2",
        "OW": "S-1-3-4",
        "PO": "S-1-5-32-550",
        "PS": "S-1-5-10",
        "PU": "S-1-5-32-547",
        "RA": "S-1-5-32-575",
        "RC": "S-1-5-12",
        "RD": "S-1-5-32-555",
        "RE": "S-1-5-32-552",
        "RM": "S-1-5-32-580",
        "RU": "S-1-5-32-554",
        "SI": "S-1-16-16384",
        "SO": "S-1-5-32-549",
        "SS": "S-1-18-2",
        "SU": "S-1-5-6",
        "SY": "S-1-5-18",
        "UD": "S-1-5-84-0-0-0-0-0",
        "WD": "S-1-1-0",
        "WR": "S-1-5-33",
    }
)
"""Aliases that mean the same account on every Windows."""

DOMAIN_ALIASES: Mapping[str, int] = MappingProxyType(
    {
        "AP": 525,
        "CA": 517,
        "CN": 522,
        "DA": 512,
        "DC": 515,
        "DD": 516,
        "DG": 514,
        "DU": 513,
        "EA": 519,
        "EK": 527,
        "KA": 526,
        "LA": 500,
        "LG": 501,
        "PA": 520,
        "RO": 498,
        "RS": 553,
        "SA": 518,
    }
)
"""Aliases relative to a machine or a domain, which an image that is not running does not have."""

_ALIAS_OF = {sid: alias for alias, sid in ALIASES.items()}


def sid_from_alias(alias: str, *, domain: str | None = None) -> str:
    """The SID of a two-letter alias; `domain` is the SID that relative aliases are relative to.

    Raises:
        UnknownAlias: not a known alias, or relative while there is no `domain`.
    """
    alias = alias.upper()
    if alias in ALIASES:
        return ALIASES[alias]
    if alias in DOMAIN_ALIASES and domain is not None:
        return f"{domain}-{DOMAIN_ALIASES[alias]}"
    raise UnknownAlias(alias)


def alias_or_sid(sid: str) -> str:
    """The alias of a SID where it has one, else the SID."""
    return _ALIAS_OF.get(sid, sid)


def sid_to_bytes(sid: str) -> bytes:
    """Binary form of a SID in text form.

    Raises:
        DamagedSecurity: the text is no SID, or a number in it is too large.
    """
    match = _TEXT.fullmatch(sid)
    numbers = [int(part, 0) for part in match[2].split("-")[1:]] if match else []
    if match is None or len(numbers) > MAX_SUB_AUTHORITIES or any(n >> 32 for n in numbers):
        raise DamagedSecurity(f"SID {sid[:200]!r}")
    authority = int(match[1], 0)
    if authority >> 48:
        raise DamagedSecurity(f"SID {sid[:200]!r}")
    head = struct.pack("<BB", 1, len(numbers)) + authority.to_bytes(6, "big")
    return head + struct.pack(f"<{len(numbers)}I", *numbers)


def sid_from_bytes(data: bytes) -> tuple[str, int]:
    """Text form of the SID that `data` starts with, and the length of its binary form.

    Raises:
        DamagedSecurity: the SID is cut short or of another revision.
    """
    if len(data) < 8 or data[0] != 1 or data[1] > MAX_SUB_AUTHORITIES:
        raise DamagedSecurity("SID is cut short or of an unknown revision")
    count = data[1]
    length = 8 + 4 * count
    if len(data) < length:
        raise DamagedSecurity(f"SID of {count} sub-authorities in {len(data)} bytes")
    authority = int.from_bytes(data[2:8], "big")
    shown = hex(authority) if authority >> 32 else str(authority)
    numbers = struct.unpack_from(f"<{count}I", data, 8)
    return "-".join(["S", "1", shown, *map(str, numbers)]), length


def normal_sid(sid: str) -> str:
    """The one text form of a SID: decimal numbers, hexadecimal only for a large authority."""
    return sid_from_bytes(sid_to_bytes(sid))[0]
