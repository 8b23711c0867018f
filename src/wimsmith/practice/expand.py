"""Where manifests' macro paths, keys and values go in an image."""

import re
from collections.abc import Mapping

from wimsmith.practice.model import (
    REG_BINARY,
    REG_DWORD,
    REG_EXPAND_SZ,
    REG_MULTI_SZ,
    REG_NONE,
    REG_QWORD,
    REG_SZ,
    dword,
    sz,
)

_MACRO = re.compile(r"\$\((runtime|string|resourceString)\.([A-Za-z0-9_]+)\)")
_FOLDERS = {
    "system32": "Windows\\System32",
    "windows": "Windows",
    "programFiles": "Program Files",
    "programFilesX86": "Program Files (x86)",
    "bootDrive": "",
    "inf": "Windows\\INF",
    "drivers": "Windows\\System32\\drivers",
    "fonts": "Windows\\Fonts",
    "programData": "ProgramData",
}
_FOLDERS_32 = {
    **_FOLDERS,
    "system32": "Windows\\SysWOW64",
    "programFiles": "Program Files (x86)",
}
_TYPES = {
    "REG_NONE": REG_NONE,
    "REG_SZ": REG_SZ,
    "REG_EXPAND_SZ": REG_EXPAND_SZ,
    "REG_BINARY": REG_BINARY,
    "REG_DWORD": REG_DWORD,
    "REG_MULTI_SZ": REG_MULTI_SZ,
    "REG_QWORD": REG_QWORD,
}
_ROOTS = {
    "HKEY_LOCAL_MACHINE\\SOFTWARE": ("SOFTWARE", ""),
    "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet": ("SYSTEM", "ControlSet001"),
    "HKEY_LOCAL_MACHINE\\SYSTEM": ("SYSTEM", ""),
    "HKEY_CLASSES_ROOT": ("SOFTWARE", "Classes"),
    "HKEY_USERS\\.DEFAULT": ("DEFAULT", ""),
    "HKEY_CURRENT_USER": ("NTUSER", ""),
}
_CLASSES_OF_32_BIT = ("clsid", "directshow", "interface", "media type", "mediafoundation")


def is_32_bit(architecture: str) -> bool:
    return architecture in {"x86", "wow64"}


def image_path(macro_path: str, architecture: str) -> str:
    """Path in the image of a macro path, with `/` and without a trailing one."""
    folders = _FOLDERS_32 if is_32_bit(architecture) else _FOLDERS
    path = _MACRO.sub(lambda match: folders[match[2]], macro_path)
    return "/".join(name for name in path.split("\\") if name)


def expand_text(text: str, architecture: str, strings: Mapping[str, str]) -> str:
    r"""Text of a value as it reads on the running system, where Windows is on `C:`."""
    folders = _FOLDERS_32 if is_32_bit(architecture) else _FOLDERS

    def replacement(match: re.Match[str]) -> str:
        kind, name = match.groups()
        return f"C:\\{folders[name]}".rstrip("\\") if kind == "runtime" else strings[name]

    return _MACRO.sub(replacement, text)


def registry_place(key_name: str, architecture: str) -> tuple[str, str]:
    """Hive and path below its root of a key that a manifest names."""
    for prefix, (hive, start) in _ROOTS.items():
        if key_name.lower() == prefix.lower() or key_name.lower().startswith(prefix.lower() + "\\"):
            below = key_name[len(prefix) + 1 :]
            path = "\\".join(part for part in (start, below) if part)
            return hive, _redirected(hive, path) if is_32_bit(architecture) else path
    raise ValueError(f"no hive of the practice image holds {key_name}")


def value_data(
    kind: str, value: str, architecture: str, strings: Mapping[str, str]
) -> tuple[int, bytes]:
    """Type number and bytes of a value as manifests write it."""
    number = _TYPES.get(kind)
    text = expand_text(value, architecture, strings)
    if number in {REG_SZ, REG_EXPAND_SZ}:
        return number, sz(text)
    if number == REG_MULTI_SZ:
        return number, b"".join(map(sz, re.findall(r'"([^"]*)"', text))) + b"\0\0"
    if number == REG_DWORD:
        return number, dword(int(value, 16))
    return (int(kind, 16) if number is None else number), bytes.fromhex(value)


def _redirected(hive: str, path: str) -> str:
    """The 32-bit view, for the keys that generated components use."""
    names = path.split("\\")
    if hive != "SOFTWARE":
        return path
    if names[0].lower() != "classes":
        return f"Wow6432Node\\{path}"
    if len(names) > 1 and names[1].lower() in _CLASSES_OF_32_BIT:
        return "\\".join(["Classes", "Wow6432Node", *names[1:]])
    return path
