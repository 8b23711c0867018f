"""`.msu` files of the cabinet kind: descriptions around one payload cabinet."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from wimsmith.errors import DamagedManifest, DamagedPackage, NotSupported
from wimsmith.offline.manifests.identity import AssemblyIdentity, identity_from_attributes
from wimsmith.offline.manifests.xmlreader import local_name, parse_xml
from wimsmith.offline.packages.cabinet import CabinetFile
from wimsmith.offline.packages.kinds import SCAN_CABINET, Obstacle, cabinet_obstacle

INSTALL_ORDER = "pkginstallorder.txt"
_MAX_TEXT_BYTES = 1 << 20
_LINE = re.compile(r'\s*([^="]+?)\s*=\s*"?(.*?)"?\s*')


@dataclass(frozen=True, slots=True)
class MsuDescription:
    """What a `.msu` says about itself beside its payload.

    `properties` are the lines of pkgProperties.txt; `installs` the packages that the answer file
    names, with the file name of their cabinet.
    """

    properties: Mapping[str, str] = field(default_factory=dict)
    installs: tuple[tuple[AssemblyIdentity, str], ...] = ()

    @property
    def article(self) -> str:
        """Number of the knowledge base article, as `KB2999226`, or the empty text."""
        number = self.properties.get("KB Article Number", "")
        return f"KB{number.upper().removeprefix('KB')}" if number else ""


def describe(files: Sequence[CabinetFile]) -> MsuDescription:
    """Read the descriptions in an expanded `.msu`.

    Raises:
        DamagedPackage: a description is not what it should be.
    """
    properties: dict[str, str] = {}
    installs: list[tuple[AssemblyIdentity, str]] = []
    for file in files:
        if file.name.lower().endswith("pkgproperties.txt"):
            properties.update(parse_properties(_read(file)))
        elif file.name.lower().endswith(".xml"):
            installs += _installs(file.name, _read(file))
    return MsuDescription(properties, tuple(installs))


def payload_cabinet(files: Sequence[CabinetFile]) -> CabinetFile:
    """The one cabinet in an expanded `.msu` that holds the update.

    Raises:
        NotSupported: `psfx`, `express`, `baseless`, `uup` or `several-packages`.
        DamagedPackage: there is no cabinet with an update.
    """
    names = [file.name.lower() for file in files]
    if any(name.endswith(".psf") for name in names):
        raise NotSupported("psfx", "a package of forward and reverse differentials")
    cabinets = [file for file in files if _is_payload(file.name.lower())]
    plain = [file for file in cabinets if _obstacle_of_name(file) is None]
    if len(plain) > 1:
        raise NotSupported("several-packages", _several(plain))
    if plain:
        return plain[0]
    for file in cabinets:
        obstacle = _obstacle_of_name(file)
        if obstacle is not None:
            raise obstacle.as_error()
    if any("compdb" in name or "aggregatedmetadata" in name for name in names):
        raise NotSupported("uup", "metadata of a unified update, without its payload")
    raise DamagedPackage("a .msu without a cabinet to install")


def parse_properties(data: bytes) -> dict[str, str]:
    """Lines `Key="Value"` of a pkgProperties.txt in ASCII, or UTF-16 with its mark.

    Raises:
        DamagedPackage: neither encoding.
    """
    found = (_LINE.fullmatch(line) for line in text_of(data).splitlines())
    return {match[1]: match[2] for match in found if match}


def text_of(data: bytes) -> str:
    """Text of a description: UTF-16 or UTF-8 if it is marked so, else ASCII or Windows-1252.

    Raises:
        DamagedPackage: not the text it is marked as.
    """
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-16")
        if data.startswith(b"\xef\xbb\xbf"):
            return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamagedPackage(f"a description that is no text: {error.reason}") from error
    return data.decode("cp1252", "replace")


def _is_payload(name: str) -> bool:
    described = name == SCAN_CABINET or "compdb" in name or "aggregatedmetadata" in name
    return name.endswith(".cab") and not described


def _obstacle_of_name(file: CabinetFile) -> Obstacle | None:
    return cabinet_obstacle(file.name, ("update.mum",))


def _several(cabinets: Sequence[CabinetFile]) -> str:
    names = ", ".join(sorted(file.name for file in cabinets))[:300]
    return f"several packages in one file, to be installed in order: {names}"


def _read(file: CabinetFile) -> bytes:
    if file.size_bytes > _MAX_TEXT_BYTES:
        raise DamagedPackage(f"{file.name} has {file.size_bytes} bytes")
    return file.path.read_bytes()


def _installs(name: str, data: bytes) -> list[tuple[AssemblyIdentity, str]]:
    try:
        root = parse_xml(data)
        return [
            (identity_from_attributes(parts["assemblyIdentity"].attrib), _cabinet_name(parts))
            for package in root.iter()
            if local_name(package) == "package" and package.get("action") == "install"
            if "assemblyIdentity" in (parts := {local_name(one): one for one in package})
        ]
    except DamagedManifest as error:
        raise DamagedPackage(f"{name}: {error}") from error


def _cabinet_name(parts: Mapping[str, Element]) -> str:
    location = parts["source"].get("location", "") if "source" in parts else ""
    return location.replace("\\", "/").rpartition("/")[2]
