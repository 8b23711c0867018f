"""What packages leave: their keys, files, and entries in the indexes of what they look for."""

from typing import TYPE_CHECKING

from oracle.encoding import dword, sha1_of, sz
from oracle.names import index_name, winners_key
from oracle.package import PackagePart
from oracle.state import ImageState
from oracle.states import CBS, INSTALLED, SUPERSEDED, Target, known_packages
from oracle.want import ImageWant

if TYPE_CHECKING:
    from oracle.expect import Conventions

CATALOGS = r"CanonicalData\Catalogs"
STORE = "Windows/WinSxS"
CATALOG_ROOT = "Windows/System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}"
PACKAGES_FOLDER = "Windows/servicing/Packages"
_SZ, _DWORD = 1, 4
_ELEVATIONS = {"install": 16, "revision": 2}


class Packages:
    """Expectations about packages, on top of an image as it was."""

    def __init__(self, before: ImageState, conventions: "Conventions", want: ImageWant) -> None:
        """Add to `want`."""
        self.before = before
        self.conventions = conventions
        self.want = want

    def package(self, target: Target, top: Target) -> None:
        part = target.part
        self._package_files(part)
        higher, lower = self._other_versions(part)
        state = SUPERSEDED if higher and target.state >= INSTALLED else target.state
        key = rf"{CBS}\Packages\{part.name}"
        self._package_values(key, target, state)
        owner = dword(self.conventions.owner_flag << 16 | state)
        self.want.value("SOFTWARE", rf"{key}\Owners", top.part.name, _DWORD, owner)
        for name, number in target.updates.items():
            self.want.value("SOFTWARE", rf"{key}\Updates", name, _DWORD, dword(number))
        if not higher:
            index = rf"{CBS}\PackageIndex\{index_name(part.facts.identity)}"
            self.want.value("SOFTWARE", index, "", _SZ, sz(part.name))
        for name in lower if state >= INSTALLED else ():
            older = rf"{CBS}\Packages\{name}"
            self.want.value("SOFTWARE", older, "CurrentState", _DWORD, dword(SUPERSEDED))

    def detections(self, part: PackagePart) -> None:
        """Entries in the indexes of what packages look for, where the image has such entries."""
        parents = [
            (index_name(one), _DWORD, dword(0))
            for each in part.facts.parents
            for one in each.identities
        ]
        self._detected("PackageDetect", part.name, parents)
        conditions = [one for change in part.facts.updates for one in change.conditions]
        followed = [(one.update, _DWORD, dword(1)) for one in conditions if one.kind == "parent"]
        self._detected("UpdateDetect", part.name, followed)
        families = [(family, one.kind) for one in conditions for family in one.identities]
        elevated = [
            (winners_key(family), _SZ, sz(f"{family.version}@{_ELEVATIONS[kind]}"))
            for family, kind in sorted(families, key=lambda one: one[0].numbers)
        ]
        self._detected("ComponentDetect", part.name, elevated)

    def _detected(self, index: str, name: str, entries: list[tuple[str, int, bytes]]) -> None:
        if self.before.subkeys("SOFTWARE", rf"{CBS}\{index}"):
            for key, kind, data in entries:
                self.want.value("SOFTWARE", rf"{CBS}\{index}\{key}", name, kind, data)

    def _package_values(self, key: str, target: Target, state: int) -> None:
        visibility = self.conventions.hidden if target.hidden else self.conventions.visible
        for name in ("InstallClient", "InstallUser", "InstallLocation"):
            self.want.value("SOFTWARE", key, name, _SZ, None)
        for name in ("InstallTimeHigh", "InstallTimeLow"):
            self.want.value("SOFTWARE", key, name, _DWORD, None)
        manifest = sz(f"{target.part.name}.mum")
        self.want.value("SOFTWARE", key, "InstallName", _SZ, manifest)
        numbers = {
            "CurrentState": state,
            "SelfUpdate": int(target.part.facts.self_update),
            "Visibility": visibility,
            "DefVis": visibility,
            "Trusted": 1,
        }
        for name, number in numbers.items():
            self.want.value("SOFTWARE", key, name, _DWORD, dword(number))

    def _other_versions(self, part: PackagePart) -> tuple[list[str], list[str]]:
        """Installed packages of the same family in higher and in lower versions."""
        own = part.facts.identity
        family = index_name(own).lower()
        higher, lower = [], []
        for other, state in known_packages(self.before):
            if index_name(other).lower() == family and state >= INSTALLED:
                if other.numbers > own.numbers:
                    higher.append(other.package_name)
                elif other.numbers < own.numbers:
                    lower.append(other.package_name)
        return higher, lower

    def _package_files(self, part: PackagePart) -> None:
        for folder, name, data in (
            (PACKAGES_FOLDER, f"{part.name}.mum", part.manifest),
            (PACKAGES_FOLDER, f"{part.name}.cat", part.catalog),
            (CATALOG_ROOT, f"{part.name}.cat", part.catalog),
            (f"{STORE}/Catalogs", f"{part.catalog_sha256}.cat", part.catalog),
        ):
            security = self.want.siblings(folder, name[-4:])
            self.want.file(f"{folder}/{name}", sha1_of(data), security)
        self.want.key("COMPONENTS", rf"{CATALOGS}\{part.catalog_sha256}")
