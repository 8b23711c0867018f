"""Where macro paths, registry keys and texts of a manifest lead."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_MACRO = re.compile(r"\$\((runtime|string|resourceString)\.([^)]*)\)", re.IGNORECASE)
_FOLDERS: Mapping[str, str] = {
    "bootdrive": "",
    "drivers": r"Windows\System32\drivers",
    "fonts": r"Windows\Fonts",
    "help": r"Windows\Help",
    "inf": r"Windows\INF",
    "programdata": "ProgramData",
    "programfiles": "Program Files",
    "programfilesx86": "Program Files (x86)",
    "system32": r"Windows\System32",
    "systemroot": "Windows",
    "wbem": r"Windows\System32\wbem",
    "windows": "Windows",
}
_FOLDERS_32 = {
    **_FOLDERS,
    "programfiles": "Program Files (x86)",
    "system32": r"Windows\SysWOW64",
    "wbem": r"Windows\SysWOW64\wbem",
}

_REDIRECTED_CLASSES = frozenset(
    ["clsid", "directshow", "interface", "media type", "mediafoundation"]
)
# Registry Keys Affected by WOW64: what 32-bit programs share with all others below SOFTWARE.
_SHARED_TEXT = r"""
Clients
Policies
RegisteredApplications
Microsoft\COM3
Microsoft\Cryptography\Calais\Current
Microsoft\Cryptography\Calais\Readers
Microsoft\Cryptography\Services
Microsoft\CTF\SystemShared
Microsoft\CTF\TIP
Microsoft\DFS
Microsoft\Driver Signing
Microsoft\EnterpriseCertificates
Microsoft\EventSystem
Microsoft\MSMQ
Microsoft\Non-Driver Signing
Microsoft\Notepad\DefaultFonts
Microsoft\OLE
Microsoft\RAS
Microsoft\RPC
Microsoft\Shared Tools\MSInfo
Microsoft\SystemCertificates
Microsoft\TermServLicensing
Microsoft\TransactionServer
Microsoft\Windows\CurrentVersion\App Paths
Microsoft\Windows\CurrentVersion\Control Panel\Cursors\Schemes
Microsoft\Windows\CurrentVersion\Explorer\AutoplayHandlers
Microsoft\Windows\CurrentVersion\Explorer\DriveIcons
Microsoft\Windows\CurrentVersion\Explorer\KindMap
Microsoft\Windows\CurrentVersion\Group Policy
Microsoft\Windows\CurrentVersion\Policies
Microsoft\Windows\CurrentVersion\PreviewHandlers
Microsoft\Windows\CurrentVersion\Setup
Microsoft\Windows\CurrentVersion\Telephony\Locations
Microsoft\Windows NT\CurrentVersion\Console
Microsoft\Windows NT\CurrentVersion\FontDpi
Microsoft\Windows NT\CurrentVersion\FontLink
Microsoft\Windows NT\CurrentVersion\FontMapper
Microsoft\Windows NT\CurrentVersion\Fonts
Microsoft\Windows NT\CurrentVersion\FontSubstitutes
Microsoft\Windows NT\CurrentVersion\Gre_Initialize
Microsoft\Windows NT\CurrentVersion\Image File Execution Options
Microsoft\Windows NT\CurrentVersion\Language Pack
Microsoft\Windows NT\CurrentVersion\NetworkCards
Microsoft\Windows NT\CurrentVersion\Perflib
Microsoft\Windows NT\CurrentVersion\Ports
Microsoft\Windows NT\CurrentVersion\Print
Microsoft\Windows NT\CurrentVersion\ProfileList
Microsoft\Windows NT\CurrentVersion\Time Zones
"""
_SHARED = tuple(line.lower() for line in _SHARED_TEXT.strip().splitlines())
_WOW = "Wow6432Node"


@dataclass(frozen=True, slots=True)
class Places:
    """The view of one component: its architecture, its strings, and the image's control set."""

    architecture: str
    strings: Mapping[str, str]
    control_set: str = "ControlSet001"
    drive: str = "C:"

    @property
    def is_32_bit(self) -> bool:
        return self.architecture.lower() in {"x86", "wow64"}

    def in_image(self, text: str) -> str:
        """Path in the image, with `/`."""
        path = _MACRO.sub(lambda match: self._folder(match[2]), text)
        return "/".join(name for name in path.replace("/", "\\").split("\\") if name)

    def text(self, text: str) -> str:
        """Text as it reads on the running system."""

        def replaced(match: re.Match[str]) -> str:
            if match[1].lower() != "runtime":
                return self.strings[match[2]]
            folder = self._folder(match[2])
            return rf"{self.drive}\{folder}" if folder else self.drive

        return _MACRO.sub(replaced, text)

    def key(self, name: str) -> tuple[str, str]:
        """Hive and path of a registry key."""
        root, _, path = name.rstrip("\\").partition("\\")
        first, _, below = path.partition("\\")
        match root.upper(), first.upper():
            case "HKEY_CLASSES_ROOT", _:
                return "SOFTWARE", self._classes(path)
            case "HKEY_CURRENT_USER", _:
                return "NTUSER", self._user(path)
            case "HKEY_USERS", ".DEFAULT":
                return "DEFAULT", self._user(below)
            case "HKEY_LOCAL_MACHINE", "SOFTWARE":
                return "SOFTWARE", self._software(below)
            case "HKEY_LOCAL_MACHINE", "SYSTEM":
                return "SYSTEM", self._system(below)
        raise AssertionError(f"no hive of an image holds {name}")

    def _folder(self, name: str) -> str:
        return (_FOLDERS_32 if self.is_32_bit else _FOLDERS)[name.lower()]

    def _software(self, path: str) -> str:
        first, _, below = path.partition("\\")
        if first.lower() == "classes":
            return self._classes(below)
        shared = any(f"{path.lower()}\\".startswith(f"{key}\\") for key in _SHARED)
        if not self.is_32_bit or first.lower() == _WOW.lower() or shared:
            return path
        return rf"{_WOW}\{path}"

    def _classes(self, path: str) -> str:
        first = path.partition("\\")[0].lower()
        redirected = self.is_32_bit and first in _REDIRECTED_CLASSES
        return rf"Classes\{_WOW}\{path}" if redirected else rf"Classes\{path}"

    def _user(self, path: str) -> str:
        parts = path.split("\\")
        classes = [part.lower() for part in parts[:2]] == ["software", "classes"]
        if (
            self.is_32_bit
            and classes
            and len(parts) > 2
            and parts[2].lower() in _REDIRECTED_CLASSES
        ):
            return "\\".join([*parts[:2], _WOW, *parts[2:]])
        return path

    def _system(self, path: str) -> str:
        first, _, below = path.partition("\\")
        if first.lower() == "currentcontrolset":
            return rf"{self.control_set}\{below}"
        return path
