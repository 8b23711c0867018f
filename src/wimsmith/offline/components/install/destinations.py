"""Where a manifest's path macros lead: inside the image, and on the running system.

Macros and folders: docs/internals/component-store.md. Folders whose meaning public sources
describe in different ways (`startMenu`, `userProfile`) are refused like unknown ones.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from wimsmith.errors import DamagedHive, NotSupported
from wimsmith.offline import paths

_MACRO = re.compile(r"\$\(([^()]*)\)")
_WOW_ARCHITECTURES = frozenset(["x86", "wow64"])
_DRIVE = re.compile(r"[A-Za-z]:")

_WINDOWS = "{windows}"
_FOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "apppatch": rf"{_WINDOWS}\AppPatch",
        "bootdrive": "",
        "commonfiles": r"Program Files\Common Files",
        "commonfilesx86": r"Program Files (x86)\Common Files",
        "documentssettings": "Users",
        "drivers": rf"{_WINDOWS}\System32\drivers",
        "fonts": rf"{_WINDOWS}\Fonts",
        "help": rf"{_WINDOWS}\Help",
        "inf": rf"{_WINDOWS}\INF",
        "prefetch": rf"{_WINDOWS}\Prefetch",
        "programdata": "ProgramData",
        "programfiles": "Program Files",
        "programfilesx86": "Program Files (x86)",
        "public": r"Users\Public",
        "system32": rf"{_WINDOWS}\System32",
        "systemdrive": "",
        "systemroot": _WINDOWS,
        "wbem": rf"{_WINDOWS}\System32\wbem",
        "windir": _WINDOWS,
        "windows": _WINDOWS,
    }
)
_REDIRECTED: Mapping[str, str] = MappingProxyType(
    {
        "commonfiles": r"Program Files (x86)\Common Files",
        "programfiles": "Program Files (x86)",
        "system32": rf"{_WINDOWS}\SysWOW64",
        "wbem": rf"{_WINDOWS}\SysWOW64\wbem",
    }
)
"""Folders that 32-bit components have for themselves on 64-bit Windows."""


@dataclass(frozen=True, slots=True)
class Places:
    r"""The folders of one image as one of its components sees them.

    Attributes:
        image_architecture: for example `amd64`.
        system_root: the Windows folder of the running system, for example `C:\Windows`.
        component_architecture: `amd64`, `x86`, `wow64`, `msil` ...
    """

    image_architecture: str
    system_root: str
    component_architecture: str

    @property
    def is_redirected(self) -> bool:
        """Whether this is a 32-bit component in a 64-bit image."""
        return is_redirected(self.component_architecture, self.image_architecture)

    def online_path(self, macro: str) -> str:
        r"""The folder of the running system that `runtime.system32` or so stands for.

        The drive itself comes without a separator at its end (`C:`).

        Raises:
            NotSupported: `macro`, the macro is not known or not certain.
            DamagedHive: the image's own system root is not an absolute path.
        """
        drive, windows = _split_root(self.system_root)
        folder = self._folder(macro).replace(_WINDOWS, windows)
        return rf"{drive}\{folder}" if folder else drive

    def in_image(self, text: str) -> str:
        r"""Path in the image of a destination such as `$(runtime.system32)\drivers\`.

        Raises:
            NotSupported: `macro`, no macro stands at the beginning, or it is not known.
            UnsafePath: a name that Windows would not accept, such as `..`.
        """
        match = _MACRO.match(text)
        rest = text[match.end() :] if match else ""
        if match is None or _MACRO.search(rest) or (rest and rest[0] not in "\\/"):
            raise NotSupported("macro", f"destination {text[:200]!r} does not start in a folder")
        return paths.check(paths.join(self.online_path(match[1])[2:], rest))

    def _folder(self, macro: str) -> str:
        kind, _, name = macro.strip().partition(".")
        name = name.lower()
        if kind.lower() != "runtime" or name not in _FOLDERS:
            raise NotSupported("macro", f"nothing certain is known of $({macro[:80]})")
        if self.is_redirected and name in _REDIRECTED:
            return _REDIRECTED[name]
        return _FOLDERS[name]


def is_redirected(component_architecture: str, image_architecture: str) -> bool:
    """Whether a component sees the folders and keys kept for 32-bit programs.

    Raises:
        NotSupported: `macro`, it is one of 32-bit ARM, which has other ones for itself.
    """
    if (component_architecture.lower(), image_architecture.lower()) == ("arm", "arm64"):
        raise NotSupported("macro", "where 32-bit ARM components see their folders is not certain")
    return (
        component_architecture.lower() in _WOW_ARCHITECTURES and image_architecture.lower() != "x86"
    )


def _split_root(system_root: str) -> tuple[str, str]:
    root = system_root.rstrip("\\/")
    if not _DRIVE.match(root) or len(root) < 4 or root[2] not in "\\/":
        raise DamagedHive(f"SystemRoot of the image is {system_root[:80]!r}")
    return root[:2].upper(), root[3:]
