r"""The component store of an image, by lookups: packages, winners, component and deployment keys.

Everything is read through a `Draft`, so an update sees what it has written itself.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from wimsmith.errors import DamagedHive, DamagedManifest
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import (
    AssemblyIdentity,
    Version,
    identity_from_attributes,
    parse_package_name,
)
from wimsmith.offline.manifests.names import keyform, keyform_without_version
from wimsmith.offline.registry.values import Value

CBS = r"Microsoft\Windows\CurrentVersion\Component Based Servicing"
PACKAGES = rf"{CBS}\Packages"
PACKAGE_INDEX = rf"{CBS}\PackageIndex"
WINNERS = r"Microsoft\Windows\CurrentVersion\SideBySide\Winners"
CURRENT_VERSION = r"Microsoft\Windows NT\CurrentVersion"
COMPONENTS = r"DerivedData\Components"
VERSIONED_INDEX = r"DerivedData\VersionedIndex"
DEPLOYMENTS = r"CanonicalData\Deployments"
CATALOGS = r"CanonicalData\Catalogs"

WINSXS = "WinSxS"
_STACK_NAME = "Microsoft-Windows-ServicingStack"
_STACK_TOKEN = "31bf3856ad364e35"  # noqa: S105 - a public key token, known to everybody
_ARCHITECTURES = {"AMD64": "amd64", "X86": "x86", "ARM64": "arm64", "ARM": "arm"}
_ENVIRONMENT = r"Control\Session Manager\Environment"
_LANGUAGES = r"Control\MUI\UILanguages"
_LANGUAGE_PACK = re.compile(r"microsoft-windows-.*languagepack-package", re.IGNORECASE)
_VERSION_TEXT = re.compile(r"\d+\.\d+\.\d+\.\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoredPackage:
    """A package that the image knows, and the state it is in."""

    identity: AssemblyIdentity
    name: str
    state: int


@dataclass(frozen=True, slots=True)
class Image:
    r"""What the rules need to know of the image as a whole.

    `system_root` is the Windows folder of the running system, such as `C:\Windows`; `windows`
    the same folder inside the image. `languages` is empty where the image does not say.
    """

    major: int
    minor: int
    build: int
    architecture: str
    system_root: str
    windows: str
    control_set: str
    languages: tuple[str, ...]

    @property
    def is_modern(self) -> bool:
        """Whether versions are compared in the three parts of Windows 10 and later."""
        return self.major >= 10


class Store:
    """Lookups in one image; `draft` is what the lookups read."""

    def __init__(self, draft: Draft) -> None:
        """Read the facts of the image; raises DamagedHive or NotFound if they are not there."""
        self.draft = draft
        self.software = draft.hive("SOFTWARE")
        self.components = draft.hive("COMPONENTS")
        self._families: dict[tuple[str, str, str, str], dict[str, StoredPackage]] | None = None
        self.image = _image(draft)

    def packages_of(self, identity: AssemblyIdentity) -> tuple[StoredPackage, ...]:
        """Packages of the same name, token, architecture and language, lowest version first."""
        found = self._index().get(identity.family, {}).values()
        return tuple(sorted(found, key=lambda one: one.identity.version))

    def all_packages(self) -> Iterator[StoredPackage]:
        for family in self._index().values():
            yield from family.values()

    def package_state(self, identity: AssemblyIdentity) -> int:
        """`CurrentState` of a package; 0 for one that the image does not know."""
        known = self._index().get(identity.family, {}).get(str(identity.version))
        return known.state if known else PackageState.ABSENT

    def remember_package(self, identity: AssemblyIdentity, name: str, state: int) -> None:
        """Take note of a state that has been written."""
        family = self._index().setdefault(identity.family, {})
        family[str(identity.version)] = StoredPackage(identity, name, state)

    def update_state(self, package_name: str, update_name: str) -> int | None:
        """State of an update of a package, None where the image does not say."""
        value = self.software.value(rf"{PACKAGES}\{package_name}\Updates", update_name)
        return None if value is None else value.dword()

    def winning_version(self, identity: AssemblyIdentity) -> Version | None:
        """The version that wins in the branch (`major.minor`) of a component."""
        branch = rf"{WINNERS}\{keyform_without_version(identity)}\{identity.version.branch}"
        value = self.software.value(branch)
        return _version_in_hive(value.text()) if value and value.text() else None

    def winning_branch(self, identity: AssemblyIdentity) -> str | None:
        """The branch (`major.minor`) of a family that is in use, None for an unknown family."""
        value = self.software.value(rf"{WINNERS}\{keyform_without_version(identity)}")
        return value.text() if value and value.text() else None

    def installed_versions(self, identity: AssemblyIdentity) -> tuple[Version, ...]:
        """All installed versions of a component family, lowest first."""
        family = rf"{WINNERS}\{keyform_without_version(identity)}"
        names = [
            value.name
            for branch in self.software.subkeys(family)
            for value in self.software.values(rf"{family}\{branch}")
            if _VERSION_TEXT.fullmatch(value.name)
        ]
        return tuple(sorted({_version_in_hive(name) for name in names}))

    def component_value(self, key: str, name: str) -> Value | None:
        """A value of a component's key in the COMPONENTS hive."""
        return self.components.value(rf"{COMPONENTS}\{key}", name)

    def manifest_path(self, key: str) -> str:
        """Path of the manifest of a component, by its keyform."""
        return f"{self.image.windows}/{WINSXS}/Manifests/{key}.manifest"

    def payload_path(self, key: str) -> str:
        """Path of the payload folder of a component, by its keyform."""
        return f"{self.image.windows}/{WINSXS}/{key}"

    def has_component(self, identity: AssemblyIdentity) -> bool:
        return self.components.exists(rf"{COMPONENTS}\{keyform(identity)}")

    def servicing_stack(self) -> Version | None:
        """The newest servicing stack in the image."""
        stack = AssemblyIdentity(
            _STACK_NAME,
            Version(0, 0, 0, 0),
            self.image.architecture,
            "neutral",
            _STACK_TOKEN,
            "nonSxS",
        )
        versions = self.installed_versions(stack)
        return versions[-1] if versions else None

    def _index(self) -> dict[tuple[str, str, str, str], dict[str, StoredPackage]]:
        if self._families is None:
            self._families = {}
            for name in self.software.subkeys(PACKAGES):
                package = self._package(name)
                if package is not None:
                    family = self._families.setdefault(package.identity.family, {})
                    family[str(package.identity.version)] = package
        return self._families

    def _package(self, name: str) -> StoredPackage | None:
        try:
            identity = parse_package_name(name)
        except DamagedManifest:
            return None  # names of another form are no packages that could be meant
        value = self.software.value(rf"{PACKAGES}\{name}", "CurrentState")
        return StoredPackage(identity, name, value.dword() if value else PackageState.ABSENT)


def parse_identity_string(text: str) -> AssemblyIdentity:
    """Identity from the form that the store keeps: `Name, Culture=neutral, Version=...`.

    Raises:
        DamagedManifest: not of that form.
    """
    name, *pairs = text.split(", ")
    attributes = {
        "name": name,
        **{
            _ATTRIBUTES[key.lower()]: value
            for key, _, value in (pair.partition("=") for pair in pairs)
            if key.lower() in _ATTRIBUTES
        },
    }
    return identity_from_attributes(attributes)


_ATTRIBUTES = {
    "culture": "language",
    "type": "type",
    "version": "version",
    "publickeytoken": "publicKeyToken",
    "processorarchitecture": "processorArchitecture",
    "versionscope": "versionScope",
}


def _image(draft: Draft) -> Image:
    software, system = draft.hive("SOFTWARE"), draft.hive("SYSTEM")
    default = system.value("Select", "Default") or system.value("Select", "Current")
    control_set = f"ControlSet{default.dword() if default else 1:03d}"
    root = software.value(CURRENT_VERSION, "SystemRoot")
    system_root = root.text() if root and root.text() else r"C:\Windows"
    major, minor = _version(draft)
    architecture = system.value(rf"{control_set}\{_ENVIRONMENT}", "PROCESSOR_ARCHITECTURE")
    name = architecture.text() if architecture else ""
    return Image(
        major=major,
        minor=minor,
        build=_build(draft),
        architecture=_ARCHITECTURES.get(name.upper(), name.lower()),
        system_root=system_root,
        windows=system_root[2:].strip("\\/").replace("\\", "/"),
        control_set=control_set,
        languages=_languages(draft, control_set),
    )


def _version_in_hive(text: str) -> Version:
    try:
        return Version.parse(text)
    except DamagedManifest as error:
        raise DamagedHive(f"SOFTWARE names a winning version {text[:60]!r}") from error


def _version(draft: Draft) -> tuple[int, int]:
    software = draft.hive("SOFTWARE")
    major = software.value(CURRENT_VERSION, "CurrentMajorVersionNumber")
    minor = software.value(CURRENT_VERSION, "CurrentMinorVersionNumber")
    if major is not None:
        return major.dword(), minor.dword() if minor else 0
    text = software.value(CURRENT_VERSION, "CurrentVersion")
    match = re.fullmatch(r"(\d{1,5})\.(\d{1,5})", text.text().strip() if text else "")
    if match is None:
        raise DamagedHive(rf"SOFTWARE\{CURRENT_VERSION} does not say which Windows this is")
    return int(match[1]), int(match[2])


def _build(draft: Draft) -> int:
    software = draft.hive("SOFTWARE")
    for name in ("CurrentBuildNumber", "CurrentBuild"):
        value = software.value(CURRENT_VERSION, name)
        if value and value.text().strip().isdecimal():
            return int(value.text())
    raise DamagedHive(rf"SOFTWARE\{CURRENT_VERSION} does not say which build this is")


def _languages(draft: Draft, control_set: str) -> tuple[str, ...]:
    """Languages in use: those of the user interface, and those of installed language packs."""
    found = dict.fromkeys(draft.hive("SYSTEM").subkeys(rf"{control_set}\{_LANGUAGES}"))
    for name in draft.hive("SOFTWARE").subkeys(PACKAGES):
        if _LANGUAGE_PACK.match(name) and name.count("~") == 4 and name.split("~")[3]:
            found[name.split("~")[3]] = None
    return tuple({language.lower(): language for language in found}.values())
