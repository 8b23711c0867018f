r"""SDDL, the text form of security descriptors, and the descriptors that new objects get.

The grammar, rights and flags are those of the open specification [MS-DTYP] 2.5.1. Conditional
entries (`XA`, `XD`, `XU`, `ZA`) and resource attributes (`RA`) are refused: their expressions
cannot be judged without the accounts of a running system.

    descriptor = compile_sddl("O:SYG:SYD:P(A;OICI;FA;;;BA)")
    child = inherit(descriptor, is_directory=False)
    display_sddl(child)                    # O:SYG:SYD:AI(A;ID;FA;;;BA)
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from uuid import UUID

from wimsmith.errors import DamagedSecurity, NotSupported
from wimsmith.offline._sids import (
    TRUSTED_INSTALLER,
    alias_or_sid,
    normal_sid,
    sid_from_alias,
)
from wimsmith.offline.descriptors import (
    DACL_AUTO_INHERITED,
    DACL_PRESENT,
    DACL_PROTECTED,
    FILE_RIGHTS,
    KEY_RIGHTS,
    SACL_AUTO_INHERITED,
    SACL_PRESENT,
    SACL_PROTECTED,
    SELF_RELATIVE,
    Ace,
    Acl,
    GenericMapping,
    SecurityDescriptor,
    completed,
    inherit,
    map_generic,
)

__all__ = [
    "FILE_RIGHTS",
    "INHERIT",
    "KEY_RIGHTS",
    "TRUSTED_INSTALLER",
    "SecurityDescriptor",
    "compile_sddl",
    "completed",
    "display_sddl",
    "inherit",
    "is_inherit",
    "map_generic",
    "parse_sddl",
    "stored_descriptor",
]

INHERIT = "(inherit)"
"""What a manifest writes in place of SDDL when an object takes what its parent gives."""

MAX_SDDL_CHARACTERS = 1 << 17
_AUTO_INHERIT_REQUESTED = {"D": 0x0100, "S": 0x0200}
_PROTECTED = {"D": DACL_PROTECTED, "S": SACL_PROTECTED}
_AUTO_INHERITED = {"D": DACL_AUTO_INHERITED, "S": SACL_AUTO_INHERITED}
_PRESENT = {"D": DACL_PRESENT, "S": SACL_PRESENT}
_NULL_LIST = "NO_ACCESS_CONTROL"
_PART = re.compile(r"([OGDS]):")
_LIST = re.compile(r"\s*([A-Z_]*)\s*((?:\([^()]*\)\s*)*)", re.IGNORECASE)
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")

_ACE_TYPES: Mapping[str, int] = MappingProxyType(
    {
        "A": 0x00,
        "D": 0x01,
        "AU": 0x02,
        "AL": 0x03,
        "OA": 0x05,
        "OD": 0x06,
        "OU": 0x07,
        "OL": 0x08,
        "ML": 0x11,
        "SP": 0x13,
        "TL": 0x14,
    }
)
_OBJECT_ACES = frozenset([0x05, 0x06, 0x07, 0x08])
_CONDITIONAL_ACES = frozenset(["XA", "XD", "XU", "ZA", "RA"])
_MANDATORY_LABEL = 0x11

_ACE_FLAGS: Mapping[str, int] = MappingProxyType(
    {
        "OI": 0x01,
        "CI": 0x02,
        "NP": 0x04,
        "IO": 0x08,
        "ID": 0x10,
        "SA": 0x40,
        "FA": 0x80,
    }
)
_RIGHTS: Mapping[str, int] = MappingProxyType(
    {
        "GA": 0x10000000,
        "GX": 0x20000000,
        "GW": 0x40000000,
        "GR": 0x80000000,
        "RC": 0x00020000,
        "SD": 0x00010000,
        "WD": 0x00040000,
        "WO": 0x00080000,
        "CC": 0x00000001,
        "DC": 0x00000002,
        "LC": 0x00000004,
        "SW": 0x00000008,
        "RP": 0x00000010,
        "WP": 0x00000020,
        "DT": 0x00000040,
        "LO": 0x00000080,
        "CR": 0x00000100,
        "FA": 0x001F01FF,
        "FR": 0x00120089,
        "FW": 0x00120116,
        "FX": 0x001200A0,
        "KA": 0x000F003F,
        "KR": 0x00020019,
        "KW": 0x00020006,
        "KX": 0x00020019,
    }
)
_LABEL_RIGHTS: Mapping[str, int] = MappingProxyType({"NW": 1, "NR": 2, "NX": 4})
_SHOWN_WHOLE = {value: name for name, value in _RIGHTS.items() if name[0] in "FK" and name != "KX"}
_SHOWN_BITS = [(name, value) for name, value in _RIGHTS.items() if value & value - 1 == 0]


def is_inherit(sddl: str) -> bool:
    """Whether a manifest's SDDL is the literal that means "as the parent gives"."""
    return sddl.strip().lower() == INHERIT


def compile_sddl(sddl: str, *, domain: str | None = None) -> bytes:
    """Self-relative bytes of an SDDL text.

    Args:
        sddl: the text, for example `O:BAG:SYD:P(A;OICI;FA;;;SY)`.
        domain: SID that aliases such as `DA` are relative to.

    Raises:
        DamagedSecurity: the text breaks the grammar.
        UnknownAlias: an alias that is not known, or relative to a domain while none is given.
        NotSupported: a conditional entry.
    """
    return parse_sddl(sddl, domain=domain).to_bytes()


def stored_descriptor(sddl: str, rights: GenericMapping = FILE_RIGHTS) -> bytes:
    """What Windows stores on an object that is made with `sddl`.

    Generic rights are resolved, and a protected list carries the mark that inheritance has been
    worked out (`PAI`), as every protected object of an installed Windows does.
    """
    stored = map_generic(parse_sddl(sddl), rights)
    control = stored.control
    for protected, worked_out in (
        (DACL_PROTECTED, DACL_AUTO_INHERITED),
        (SACL_PROTECTED, SACL_AUTO_INHERITED),
    ):
        control |= worked_out if control & protected else 0
    return replace(stored, control=control).to_bytes()


def display_sddl(descriptor: bytes) -> str:
    """SDDL text of a self-relative descriptor, with aliases where they exist.

    Raises:
        DamagedSecurity: the bytes are no descriptor, or hold entries that have no text form here.
    """
    value = SecurityDescriptor.from_bytes(descriptor)
    owner = f"O:{alias_or_sid(value.owner)}" if value.owner else ""
    group = f"G:{alias_or_sid(value.group)}" if value.group else ""
    return owner + group + _show_list("D", value, value.dacl) + _show_list("S", value, value.sacl)


def parse_sddl(sddl: str, *, domain: str | None = None) -> SecurityDescriptor:
    """The descriptor that an SDDL text describes; raises as `compile_sddl` does."""
    owner = group = dacl = sacl = None
    control = SELF_RELATIVE
    for letter, body in _parts(sddl):
        if letter == "O":
            owner = _sid(body, domain)
        elif letter == "G":
            group = _sid(body, domain)
        else:
            bits, acl = _parse_list(letter, body, domain)
            control |= bits
            dacl, sacl = (acl, sacl) if letter == "D" else (dacl, acl)
    return SecurityDescriptor(owner, group, dacl, sacl, control)


def _parts(sddl: str) -> Iterator[tuple[str, str]]:
    if len(sddl) > MAX_SDDL_CHARACTERS:
        raise DamagedSecurity(f"SDDL of {len(sddl)} characters")
    marks = list(_PART.finditer(sddl))
    letters = [mark[1] for mark in marks]
    if not marks or sddl[: marks[0].start()].strip() or len(set(letters)) != len(letters):
        raise DamagedSecurity(f"SDDL {sddl[:80]!r}")
    ends = [mark.start() for mark in marks[1:]] + [len(sddl)]
    for mark, end in zip(marks, ends, strict=True):
        yield mark[1], sddl[mark.end() : end].strip()


def _parse_list(letter: str, body: str, domain: str | None) -> tuple[int, Acl | None]:
    match = _LIST.fullmatch(body)
    if match is None:
        raise DamagedSecurity(f"SDDL list {letter}:{body[:80]!r}")
    control = _PRESENT[letter]
    flags = match[1].upper()
    if flags.endswith(_NULL_LIST):
        return control | _list_flags(letter, flags.removesuffix(_NULL_LIST)), None
    control |= _list_flags(letter, flags)
    entries = re.findall(r"\(([^()]*)\)", match[2])
    return control, Acl(tuple(_parse_ace(entry, domain) for entry in entries))


def _list_flags(letter: str, flags: str) -> int:
    known = {
        "P": _PROTECTED[letter],
        "AR": _AUTO_INHERIT_REQUESTED[letter],
        "AI": _AUTO_INHERITED[letter],
    }
    match = re.fullmatch(r"(?:P|AR|AI)*", flags)
    if match is None:
        raise DamagedSecurity(f"SDDL list flags {flags[:40]!r}")
    control = 0
    for flag in re.findall(r"P|AR|AI", flags):
        control |= known[flag]
    return control


def _parse_ace(entry: str, domain: str | None) -> Ace:
    fields = [field.strip() for field in entry.split(";")]
    name = fields[0].upper()
    if name in _CONDITIONAL_ACES:
        raise NotSupported(
            "advanced-new:condition", f"conditional access control entry ({entry[:80]})"
        )
    if name not in _ACE_TYPES or len(fields) != 6:
        raise DamagedSecurity(f"SDDL entry ({entry[:80]})")
    kind = _ACE_TYPES[name]
    object_type, inherited_type = _guid(fields[3]), _guid(fields[4])
    if kind not in _OBJECT_ACES and (object_type or inherited_type):
        raise DamagedSecurity(f"SDDL entry ({entry[:80]}) with an object type")
    return Ace(
        type=kind,
        flags=_pairs(fields[1], _ACE_FLAGS),
        mask=_rights(fields[2], kind),
        sid=_sid(fields[5], domain),
        object_type=object_type,
        inherited_type=inherited_type,
    )


def _rights(text: str, kind: int) -> int:
    if _NUMBER.fullmatch(text):
        octal = len(text) > 1 and text.isdecimal() and text[0] == "0"
        try:
            mask = int(text, 8) if octal else int(text, 0)
        except ValueError as error:
            raise DamagedSecurity(f"SDDL rights {text[:40]!r}") from error
        if mask >> 32:
            raise DamagedSecurity(f"SDDL rights {text[:40]!r}")
        return mask
    return _pairs(text, _LABEL_RIGHTS if kind == _MANDATORY_LABEL else _RIGHTS)


def _pairs(text: str, known: Mapping[str, int]) -> int:
    names = [text[position : position + 2].upper() for position in range(0, len(text), 2)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DamagedSecurity(f"{unknown[0]!r} in {text[:40]!r} of an SDDL entry")
    value = 0
    for name in names:
        value |= known[name]
    return value


def _sid(text: str, domain: str | None) -> str:
    if text.upper().startswith("S-"):
        return normal_sid(text.upper())
    return sid_from_alias(text, domain=domain)


def _guid(text: str) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError as error:
        raise DamagedSecurity(f"object type {text[:60]!r}") from error


def _show_list(letter: str, value: SecurityDescriptor, acl: Acl | None) -> str:
    if not value.control & _PRESENT[letter]:
        return ""
    flags = "P" if value.control & _PROTECTED[letter] else ""
    flags += "AR" if value.control & _AUTO_INHERIT_REQUESTED[letter] else ""
    flags += "AI" if value.control & _AUTO_INHERITED[letter] else ""
    if acl is None:
        return f"{letter}:{flags}{_NULL_LIST}"
    return f"{letter}:{flags}{''.join(map(_show_ace, acl.aces))}"


def _show_ace(ace: Ace) -> str:
    names = [name for name, kind in _ACE_TYPES.items() if kind == ace.type]
    unknown_flags = ace.flags & ~sum(_ACE_FLAGS.values())
    if not names or ace.data.strip(b"\0") or unknown_flags:
        raise DamagedSecurity(f"entry of type {ace.type} with flags 0x{ace.flags:02x} has no text")
    flags = "".join(name for name, bit in _ACE_FLAGS.items() if ace.flags & bit)
    guids = f"{ace.object_type or ''};{ace.inherited_type or ''}"
    return f"({names[0]};{flags};{_show_rights(ace)};{guids};{alias_or_sid(ace.sid)})"


def _show_rights(ace: Ace) -> str:
    if ace.type == _MANDATORY_LABEL:
        names = [name for name, bit in _LABEL_RIGHTS.items() if ace.mask & bit]
        return "".join(names) if not ace.mask & ~7 and ace.mask else hex(ace.mask)
    if ace.mask in _SHOWN_WHOLE:
        return _SHOWN_WHOLE[ace.mask]
    named = [name for name, bit in _SHOWN_BITS if ace.mask & bit]
    covered = sum(_RIGHTS[name] for name in named)
    return "".join(named) if named and covered == ace.mask else hex(ace.mask)
