r"""Names of the accounts that are the same on every Windows.

From Microsoft's list of well-known security identifiers. Accounts of a machine or a domain have no
name here: only that machine or domain knows it.
"""

from collections.abc import Mapping
from types import MappingProxyType

from wimsmith.errors import InvalidInput
from wimsmith.offline._sids import TRUSTED_INSTALLER, normal_sid, sid_from_alias

_BUILTIN = {
    544: "Administrators",
    545: "Users",
    546: "Guests",
    547: "Power Users",
    548: "Account Operators",
    549: "Server Operators",
    550: "Print Operators",
    551: "Backup Operators",
    552: "Replicator",
    554: "Pre-Windows 2000 Compatible Access",
    555: "Remote Desktop Users",
    556: "Network Configuration Operators",
    557: "Incoming Forest Trust Builders",
    558: "Performance Monitor Users",
    559: "Performance Log Users",
    560: "Windows Authorization Access Group",
    561: "Terminal Server License Servers",
    562: "Distributed COM Users",
    568: "IIS_IUSRS",
    569: "Cryptographic Operators",
    573: "Event Log Readers",
    574: "Certificate Service DCOM Access",
    575: "RDS Remote Access Servers",
    576: "RDS Endpoint Servers",
    577: "RDS Management Servers",
    578: "Hyper-V Administrators",
    579: "Access Control Assistance Operators",
    580: "Remote Management Users",
    581: "System Managed Accounts Group",
    582: "Storage Replica Administrators",
    583: "Device Owners",
    584: "User Mode Hardware Operators",
}
_AUTHORITY = {
    1: "DIALUP",
    2: "NETWORK",
    3: "BATCH",
    4: "INTERACTIVE",
    6: "SERVICE",
    7: "ANONYMOUS LOGON",
    8: "PROXY",
    9: "ENTERPRISE DOMAIN CONTROLLERS",
    10: "SELF",
    11: "Authenticated Users",
    12: "RESTRICTED",
    13: "TERMINAL SERVER USER",
    14: "REMOTE INTERACTIVE LOGON",
    15: "This Organization",
    17: "IUSR",
    18: "SYSTEM",
    19: "LOCAL SERVICE",
    20: "NETWORK SERVICE",
    33: "WRITE RESTRICTED",
    113: "Local account",
    114: "Local account and member of Administrators group",
}
_RELATIVE = {
    500: "Administrator",
    501: "Guest",
    502: "krbtgt",
    503: "DefaultAccount",
    504: "WDAGUtilityAccount",
    512: "Domain Admins",
    513: "Domain Users",
    514: "Domain Guests",
    515: "Domain Computers",
    516: "Domain Controllers",
}

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "S-1-0-0": "NULL SID",
        "S-1-1-0": "Everyone",
        "S-1-2-0": "LOCAL",
        "S-1-2-1": "CONSOLE LOGON",
        "S-1-3-0": "CREATOR OWNER",
        "S-1-3-1": "CREATOR GROUP",
        "S-1-3-4": "OWNER RIGHTS",
        "S-1-5-84-0-0-0-0-0": r"NT AUTHORITY\USER MODE DRIVERS",
        "S-1-15-2-1": r"APPLICATION PACKAGE AUTHORITY\ALL APPLICATION PACKAGES",
        "S-1-15-2-2": r"APPLICATION PACKAGE AUTHORITY\ALL RESTRICTED APPLICATION PACKAGES",
        "S-1-16-0": r"Mandatory Label\Untrusted Mandatory Level",
        "S-1-16-4096": r"Mandatory Label\Low Mandatory Level",
        "S-1-16-8192": r"Mandatory Label\Medium Mandatory Level",
        "S-1-16-8448": r"Mandatory Label\Medium Plus Mandatory Level",
        "S-1-16-12288": r"Mandatory Label\High Mandatory Level",
        "S-1-16-16384": r"Mandatory Label\System Mandatory Level",
        "S-1-18-1": "Authentication authority asserted identity",
        "S-1-18-2": "Service asserted identity",
        TRUSTED_INSTALLER: r"NT SERVICE\TrustedInstaller",
        "S-1-5-80-0": r"NT SERVICE\ALL SERVICES",
    }
    | {f"S-1-5-32-{number}": rf"BUILTIN\{name}" for number, name in _BUILTIN.items()}
    | {f"S-1-5-{number}": rf"NT AUTHORITY\{name}" for number, name in _AUTHORITY.items()}
)
"""Name of each well-known account by its SID."""

_SIDS = {name.upper(): sid for sid, name in NAMES.items()}
_SIDS |= {name.rpartition("\\")[2]: sid for name, sid in reversed(_SIDS.items())}


def name_of(sid: str) -> str:
    """Name of an account by its SID; empty for one that only its machine or domain can name.

    Accounts that every machine or domain has, such as its administrator, have a name.
    """
    if sid in NAMES:
        return NAMES[sid]
    parts = sid.split("-")
    if sid.startswith("S-1-5-21-") and len(parts) == 8 and parts[7].isdecimal():
        return _RELATIVE.get(int(parts[7]), "")
    return ""


def sid_of(account: str) -> str:
    r"""The SID of an account given as SID, as alias of SDDL (`SY`), or by its name.

    Raises:
        InvalidInput: a name that is not the same on every Windows.
        DamagedSecurity: something that begins like a SID, and is none.
        UnknownAlias: two letters that are no alias.
    """
    text = account.strip()
    if text.upper().startswith("S-"):
        return normal_sid(text.upper())
    if text.upper() in _SIDS:
        return _SIDS[text.upper()]
    if len(text) == 2:
        return sid_from_alias(text)
    raise InvalidInput(
        f"account {account!r}"[:300],
        hint=r'Give its SID, an alias such as SY, or a name such as "BUILTIN\Administrators".',
    )
