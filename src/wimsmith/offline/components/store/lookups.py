r"""The component store of an image, by lookups: packages, winners, component and deployment keys.

Everything is read through a `Draft`, so an update sees what it has written itself.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

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
from wimsmith.offline.planning.state import Image, StoredPackage
from wimsmith.offline.registry.values import Value, ValueType

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
_NLS_LANGUAGE = r"Control\Nls\Language"
_LANGUAGE_PACK = re.compile(r"microsoft-windows-.*languagepack-package", re.IGNORECASE)
_BUILD = re.compile(r"\d{1,5}", re.ASCII)
_VERSION_TEXT = re.compile(r"\d+\.\d+\.\d+\.\d+", re.ASCII)


class Store:
    """Lookups in one image; `draft` is what the lookups read."""

    def __init__(self, draft: Draft) -> None:
        """Read the facts of the image; raises DamagedHive or NotFound if they are not there."""
        self.draft = draft
        self.software = draft.hive("SOFTWARE")
        for name in ("SYSTEM", "COMPONENTS"):
            if not draft.has_hive(name):
                raise DamagedHive(f"the image has no hive {name}")
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

    def forget_package(self, identity: AssemblyIdentity) -> None:
        """Take note that a package is gone."""
        self._index().get(identity.family, {}).pop(str(identity.version), None)

    def update_state(self, package_name: str, update_name: str) -> int | None:
        """State of an update of a package, None where the image does not say."""
        value = self.software.value(rf"{PACKAGES}\{package_name}\Updates", update_name)
        return None if value is None else value.dword()

    def update_states(self, package_name: str) -> dict[str, int]:
        """States of all updates of a package that the image tells, by their names."""
        values = self.software.values(rf"{PACKAGES}\{package_name}\Updates")
        return {value.name: value.dword() for value in values}

    def winning_version(self, identity: AssemblyIdentity) -> Version | None:
        """The version that wins in the branch (`major.minor`) of a component."""
        branch = rf"{WINNERS}\{keyform_without_version(identity)}\{identity.version.branch}"
        value = self.software.value(branch)
        return _version_in_hive(value.text()) if value and value.text() else None

    def winning_branch(self, identity: AssemblyIdentity) -> str | None:
        """The branch (`major.minor`) of a family that is in use, None for an unknown family."""
        value = self.software.value(rf"{WINNERS}\{keyform_without_version(identity)}")
        return value.text() if value and value.text() else None

    def version_in_use(self, identity: AssemblyIdentity) -> Version | None:
        """The version of a component that shows itself; of those side by side, in its branch."""
        branch = self.winning_branch(identity) if identity.is_alone else None
        if branch is None:
            return self.winning_version(identity)
        version = _version_in_hive(f"{branch}.0.0")
        return self.winning_version(replace(identity, version=version))

    def installed_versions(self, identity: AssemblyIdentity) -> tuple[Version, ...]:
        """All installed versions of a component family, lowest first."""
        return self._versions_in(keyform_without_version(identity))

    def component_families(self) -> Iterator[tuple[str, tuple[Version, ...]]]:
        """Keyforms without version of all families, with their installed versions."""
        for family in self.software.subkeys(WINNERS):
            yield family, self._versions_in(family)

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

    def _versions_in(self, family: str) -> tuple[Version, ...]:
        key = rf"{WINNERS}\{family}"
        names = [
            value.name
            for branch in self.software.subkeys(key)
            for value in self.software.values(rf"{key}\{branch}")
            if _VERSION_TEXT.fullmatch(value.name)
        ]
        return tuple(sorted({_version_in_hive(name) for name in names}))

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


def stated_identity(value: Value | None) -> AssemblyIdentity | None:
    """The identity in a value `identity` or `appid`, None where none can be read."""
    if value is None or not value.data.isascii():
        return None
    try:
        return parse_identity_string(value.data.decode("ascii"))
    except DamagedManifest:
        return None  # what it is stays unknown: each caller says what that means


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
        revision=_number(software.value(CURRENT_VERSION, "UBR")),
        base_build=_base_build(software.value(CURRENT_VERSION, "BuildLabEx")),
        editions=_editions(draft),
        installation_type=_text(software.value(CURRENT_VERSION, "InstallationType")),
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


def _base_build(build_lab: Value | None) -> int:
    """The build in `19041.1.amd64fre.vb_release.191206-1406`; 0 where it does not say."""
    number = _text(build_lab).partition(".")[0]
    return int(number) if _BUILD.fullmatch(number) else 0


def _editions(draft: Draft) -> tuple[str, ...]:
    software = draft.hive("SOFTWARE")
    names = ("EditionID", "CompositionEditionID")
    found = [_text(software.value(CURRENT_VERSION, name)) for name in names]
    return tuple({one.lower(): one for one in found if one}.values())


def _text(value: Value | None) -> str:
    return value.text().strip() if value else ""


def _number(value: Value | None) -> int:
    """A DWORD, 0 for none or for something else; versions hold numbers of 16 bits."""
    is_number = value is not None and value.type == ValueType.DWORD and len(value.data) == 4
    return value.dword() & 0xFFFF if value is not None and is_number else 0


def _languages(draft: Draft, control_set: str) -> tuple[str, ...]:
    """Languages in use: those of the user interface, and those of installed language packs.

    The one that Windows was installed in comes first.
    """
    system = draft.hive("SYSTEM")
    installed = system.value(rf"{control_set}\{_NLS_LANGUAGE}", "InstallLanguage")
    number = installed.text().lower().lstrip("0") if installed else ""

    def comes_later(language: str) -> bool:
        value = system.value(rf"{control_set}\{_LANGUAGES}\{language}", "LCID")
        return value is None or f"{value.dword():x}" != number

    names = system.subkeys(rf"{control_set}\{_LANGUAGES}")
    found = dict.fromkeys(sorted(names, key=comes_later))
    for name in draft.hive("SOFTWARE").subkeys(PACKAGES):
        if _LANGUAGE_PACK.match(name) and name.count("~") == 4 and name.split("~")[3]:
            found[name.split("~")[3]] = None
    return tuple({language.lower(): language for language in found}.values())
