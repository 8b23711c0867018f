r"""Registry content of manifests: which hive and key it means, and which bytes its values are.

The table of keys that 32-bit programs share or have for themselves is the documented one of
Windows 7 and later ("Registry Keys Affected by WOW64"); see docs/internals/component-store.md.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from wimsmith.errors import DamagedManifest, NotSupported
from wimsmith.offline.components.install.destinations import is_redirected
from wimsmith.offline.registry.roots import HIVE_ROOTS, follow_links
from wimsmith.offline.registry.values import (
    ValueType,
    encode_dword,
    encode_multi_text,
    encode_qword,
    encode_text,
)

MAX_VALUE_BYTES = 64 << 20
_WOW_KEY = "Wow6432Node"
_CONTROL_SET = "CurrentControlSet"
_QUOTED = re.compile(r'"((?:[^"]|"")*)"\s*(,\s*(?=")|$)')
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}")

_HIVES: tuple[tuple[str, str, str], ...] = (
    *((HIVE_ROOTS[name], name, "") for name in ("SOFTWARE", "SYSTEM", "DEFAULT", "NTUSER")),
    ("HKEY_CLASSES_ROOT", "SOFTWARE", "Classes"),
)

_CLASSES_OF_THEIR_OWN = ("CLSID", "DirectShow", "Interface", "Media Type", "MediaFoundation")
_SHARED_SOFTWARE = (
    "Classes",
    "Clients",
    "Policies",
    "RegisteredApplications",
    *(
        rf"Microsoft\{name}"
        for name in (
            "COM3",
            r"Cryptography\Calais\Current",
            r"Cryptography\Calais\Readers",
            r"Cryptography\Services",
            r"CTF\SystemShared",
            r"CTF\TIP",
            "DFS",
            "Driver Signing",
            "EnterpriseCertificates",
            "EventSystem",
            "MSMQ",
            "Non-Driver Signing",
            r"Notepad\DefaultFonts",
            "OLE",
            "RAS",
            "RPC",
            r"Shared Tools\MSInfo",
            "SystemCertificates",
            "TermServLicensing",
            "TransactionServer",
        )
    ),
    *(
        rf"Microsoft\Windows\CurrentVersion\{name}"
        for name in (
            "App Paths",
            r"Control Panel\Cursors\Schemes",
            r"Explorer\AutoplayHandlers",
            r"Explorer\DriveIcons",
            r"Explorer\KindMap",
            "Group Policy",
            "Policies",
            "PreviewHandlers",
            "Setup",
            r"Telephony\Locations",
        )
    ),
    *(
        rf"Microsoft\Windows NT\CurrentVersion\{name}"
        for name in (
            "Console",
            "FontDpi",
            "FontLink",
            "FontMapper",
            "Fonts",
            "FontSubstitutes",
            "Gre_Initialize",
            "Image File Execution Options",
            "Language Pack",
            "NetworkCards",
            "Perflib",
            "Ports",
            "Print",
            "ProfileList",
            "Time Zones",
        )
    ),
)


@dataclass(frozen=True, slots=True)
class _Area:
    """Keys of one hive that share a fate; `node` is where their 32-bit twin hangs."""

    prefix: tuple[str, ...]
    node: tuple[str, ...] | None


def _area(prefix: str, node: str | None) -> _Area:
    return _Area(_names(prefix), None if node is None else _names(node))


def _names(key: str) -> tuple[str, ...]:
    return tuple(name.lower() for name in key.split("\\") if name)


def _areas() -> Mapping[str, tuple[_Area, ...]]:
    software = [_area("", ""), *(_area(key, None) for key in _SHARED_SOFTWARE)]
    software += [_area(rf"Classes\{name}", "Classes") for name in _CLASSES_OF_THEIR_OWN]
    user = [_area("", None)]
    user += [_area(rf"Software\Classes\{n}", r"Software\Classes") for n in _CLASSES_OF_THEIR_OWN]
    return {"SOFTWARE": tuple(software), "NTUSER": tuple(user), "DEFAULT": tuple(user)}


_AREAS = MappingProxyType(_areas())


@dataclass(frozen=True, slots=True)
class KeyTarget:
    """Where a key of a manifest is: the hive's mount name and the path below its root."""

    hive: str
    path: str
    redirected: bool = False


def target_of(
    key_name: str, *, component_architecture: str, image_architecture: str, control_set: str
) -> KeyTarget:
    r"""The key that a manifest's `keyName` means in an image.

    Args:
        key_name: for example `HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft`.
        component_architecture: that of the manifest's identity.
        image_architecture: for example `amd64`.
        control_set: name of the control set that boots by default, such as `ControlSet001`.

    Raises:
        NotSupported: `hive`, the key is in a hive that is not serviced; `wow64-key`, it cannot be
            said where a 32-bit component's key belongs.
        DamagedManifest: the name has an empty part.
    """
    hive, parts = _split_hive(key_name)
    if hive == "SYSTEM":
        return KeyTarget(hive, "\\".join(_in_control_set(parts, control_set)))
    node = _node(hive, parts, component_architecture, image_architecture)
    if node is not None:
        parts = (*parts[: len(node)], _WOW_KEY, *parts[len(node) :])
    if hive == "SOFTWARE":
        parts = tuple(follow_links(parts))
    return KeyTarget(hive, "\\".join(parts), redirected=node is not None)


def value_type(name: str) -> int:
    """Type number of `REG_SZ` and so on, or of eight hexadecimal digits.

    Raises:
        DamagedManifest: neither a known name nor such a number.
    """
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name):
        return int(name, 16)
    prefix, _, known = name.upper().partition("_")
    if prefix != "REG" or known not in ValueType.__members__:
        raise DamagedManifest(f"registry value type {name[:60]!r}")
    return ValueType[known]


def value_data(type_name: str, text: str, expand: Callable[[str], str]) -> bytes:
    """Stored bytes of a manifest's value.

    Args:
        type_name: as `value_type` takes it; a raw number means that `text` is hexadecimal bytes.
        text: the `value` attribute.
        expand: replaces macros in text.

    Raises:
        DamagedManifest: the text is not of its type.
        NotSupported: `macro`, from `expand`.
    """
    if len(text) * 2 > MAX_VALUE_BYTES:
        raise DamagedManifest(f"registry value of {len(text)} characters")
    kind = value_type(type_name)
    is_raw = not type_name.upper().startswith("REG_")
    if is_raw:
        return _hexadecimal(text)
    match kind:
        case ValueType.SZ | ValueType.EXPAND_SZ | ValueType.LINK:
            return encode_text(expand(text))
        case ValueType.MULTI_SZ:
            return encode_multi_text([expand(one) for one in multi_strings(text)])
        case ValueType.DWORD:
            return encode_dword(_number(text, 32))
        case ValueType.DWORD_BIG_ENDIAN:
            return _number(text, 32).to_bytes(4, "big")
        case ValueType.QWORD if text.lower().startswith("0x"):
            return encode_qword(_number(text, 64))
        case _:
            return _hexadecimal(text)


def multi_strings(text: str) -> tuple[str, ...]:
    """Strings of `"a","b"`; a doubled quotation mark stands for one within a string.

    Raises:
        DamagedManifest: quotation marks and commas do not alternate.
    """
    return tuple(_quoted(text.strip()))


def _quoted(text: str) -> Iterator[str]:
    if text and not text.startswith('"'):
        yield text
        return
    at = 0
    while at < len(text):
        match = _QUOTED.match(text, at)
        if match is None:
            raise DamagedManifest(f"list of strings {text[at : at + 80]!r}")
        yield match[1].replace('""', '"')
        at = match.end()


def _number(text: str, bits: int) -> int:
    if not _NUMBER.fullmatch(text):
        raise DamagedManifest(f"registry number {text[:60]!r}")
    number = int(text, 16 if text[:2].lower() == "0x" else 10)
    if not 0 <= number < 1 << bits:
        raise DamagedManifest(f"registry number {text[:60]!r} of {bits} bits")
    return number


def _hexadecimal(text: str) -> bytes:
    digits = re.sub(r"[\s,]", "", text)
    try:
        return bytes.fromhex(digits.removeprefix("0x"))
    except ValueError as error:
        raise DamagedManifest(f"hexadecimal registry value {text[:60]!r}") from error


def _split_hive(key_name: str) -> tuple[str, tuple[str, ...]]:
    parts = tuple(key_name.rstrip("\\").split("\\"))
    if not all(parts):
        raise DamagedManifest(f"registry key {key_name[:200]!r}")
    for prefix, hive, inside in _HIVES:
        names = _names(prefix)
        if tuple(part.lower() for part in parts[: len(names)]) == names:
            below = parts[len(names) :]
            return hive, ((inside, *below) if inside else below)
    raise NotSupported("hive", f"the registry key {key_name[:200]} is in a hive left alone")


def _in_control_set(parts: tuple[str, ...], control_set: str) -> tuple[str, ...]:
    if parts and parts[0].lower() == _CONTROL_SET.lower():
        return (control_set, *parts[1:])
    return parts


def _node(
    hive: str, parts: tuple[str, ...], component_architecture: str, image_architecture: str
) -> tuple[str, ...] | None:
    if not is_redirected(component_architecture, image_architecture):
        return None
    lower = tuple(part.lower() for part in parts)
    if _WOW_KEY.lower() in lower:
        return None
    if image_architecture.lower() != "amd64":
        raise NotSupported("wow64-key", f"a 32-bit key on {image_architecture}")
    matching = [area for area in _AREAS[hive] if lower[: len(area.prefix)] == area.prefix]
    return max(matching, key=lambda area: len(area.prefix)).node
