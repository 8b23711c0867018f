"""What an image says about itself: version, edition, languages, and every package in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from wimsmith.errors import DamagedManifest
from wimsmith.offline.filetime import to_datetime
from wimsmith.offline.image import ImageView
from wimsmith.offline.manifests.package import parse_package
from wimsmith.offline.registry.hive import Key

CURRENT_VERSION = r"Microsoft\Windows NT\CurrentVersion"
COMPONENT_BASED_SERVICING = r"Microsoft\Windows\CurrentVersion\Component Based Servicing"
_ENVIRONMENT = r"Control\Session Manager\Environment"
_ARCHITECTURES = {"AMD64": "amd64", "X86": "x86", "ARM64": "arm64", "ARM": "arm"}
_UPDATE_RELEASE_TYPES = frozenset(
    [
        "Update",
        "Security Update",
        "Hotfix",
        "Critical Update",
        "Update Rollup",
        "Service Pack",
        "Software Update",
    ]
)


class PackageState(IntEnum):
    """`CurrentState` of a package, as the component-based servicing key stores it."""

    ABSENT = 0
    UNINSTALL_PENDING = 0x05
    RESOLVING = 0x10
    RESOLVED = 0x20
    STAGING = 0x30
    STAGED = 0x40
    SUPERSEDED = 0x50
    INSTALL_PENDING = 0x60
    PARTIALLY_INSTALLED = 0x65
    INSTALLED = 0x70
    PERMANENT = 0x80


@dataclass(frozen=True, slots=True)
class InstalledPackage:
    """A package known to the image: `identity` is `name~token~arch~language~version`."""

    identity: str
    state: int
    installed_at: datetime | None = None
    release_type: str = ""
    article: str = ""
    is_update: bool = False
    warning: str = ""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts of one index, read from its hives. Empty text means that the image does not say."""

    os_version: str
    build: int
    revision: int
    product_name: str
    edition: str
    installation_type: str
    display_version: str
    architecture: str
    system_root: str
    packages: tuple[InstalledPackage, ...] = ()

    @property
    def updates(self) -> tuple[InstalledPackage, ...]:
        """The installed packages that users call updates."""
        return tuple(
            package
            for package in self.packages
            if package.is_update and package.state >= PackageState.INSTALLED
        )


def image_facts(view: ImageView) -> ImageFacts | None:
    """Facts of one index, or None if it holds no Windows (no SOFTWARE hive).

    Raises:
        DamagedHive: a hive is there but cannot be read.
    """
    if not view.has_hive("SOFTWARE"):
        return None
    current = view.hive("SOFTWARE").key(CURRENT_VERSION)
    build, revision = _number(current, "CurrentBuildNumber"), _number(current, "UBR")
    return ImageFacts(
        os_version=f"{_version(current)}.{build}.{revision}",
        build=build,
        revision=revision,
        product_name=_text(current, "ProductName"),
        edition=_text(current, "EditionID"),
        installation_type=_text(current, "InstallationType"),
        display_version=_text(current, "DisplayVersion") or _text(current, "ReleaseId"),
        architecture=_architecture(view),
        system_root=_text(current, "SystemRoot"),
        packages=tuple(sorted(_packages(view), key=lambda package: package.identity.lower())),
    )


def control_set(view: ImageView) -> str:
    """Name of the control set that boots by default, for example `ControlSet001`."""
    select = view.hive("SYSTEM").key("Select")
    number = _number(select, "Default") or _number(select, "Current") or 1
    return f"ControlSet{number:03d}"


def _packages(view: ImageView) -> Iterator[InstalledPackage]:
    packages = view.hive("SOFTWARE").key(COMPONENT_BASED_SERVICING + r"\Packages")
    keys = {_manifest_path(key): key for key in packages.subkeys()} if packages else {}
    for path, data in view.read_many(keys):
        yield _package(keys.pop(path), data, path)
    for path, key in keys.items():
        yield _package(key, None, path)


def _manifest_path(key: Key) -> str:
    return f"Windows/servicing/Packages/{key.name}.mum"


def _package(key: Key, data: bytes | None, path: str) -> InstalledPackage:
    release_type = article = ""
    warning = f"{path} is missing" if data is None else ""
    try:
        manifest = parse_package(data) if data is not None else None
    except DamagedManifest as error:
        manifest, warning = None, f"{path}: {error}"
    if manifest is not None:
        release_type, article = manifest.release_type, _article(manifest.identifier, key.name)
    return InstalledPackage(
        identity=key.name,
        state=_number(key, "CurrentState"),
        installed_at=_installed_at(key),
        release_type=release_type,
        article=article or _article("", key.name),
        is_update=release_type in _UPDATE_RELEASE_TYPES,
        warning=warning,
    )


def _article(identifier: str, package_name: str) -> str:
    for text in (identifier, package_name):
        for part in text.replace("~", "_").split("_"):
            if part[:2].upper() == "KB" and part[2:].isdecimal():
                return part.upper()
    return ""


def _installed_at(key: Key) -> datetime | None:
    high, low = _number(key, "InstallTimeHigh"), _number(key, "InstallTimeLow")
    return to_datetime(high << 32 | low)


def _version(current: Key | None) -> str:
    major = current.value("CurrentMajorVersionNumber") if current else None
    if major is None:
        return _text(current, "CurrentVersion") or "0.0"
    return f"{major.dword()}.{_number(current, 'CurrentMinorVersionNumber')}"


def _architecture(view: ImageView) -> str:
    if not view.has_hive("SYSTEM"):
        return ""
    key = view.hive("SYSTEM").key(rf"{control_set(view)}\{_ENVIRONMENT}")
    name = _text(key, "PROCESSOR_ARCHITECTURE").upper()
    return _ARCHITECTURES.get(name, name.lower())


def _text(key: Key | None, name: str) -> str:
    value = key.value(name) if key else None
    return value.text() if value else ""


def _number(key: Key | None, name: str) -> int:
    """A number stored as DWORD or as decimal text; 0 where there is none."""
    value = key.value(name) if key else None
    if value is None:
        return 0
    if value.type == 4:
        return value.dword()
    text = value.text().strip()
    return int(text) if text.isdecimal() else 0
