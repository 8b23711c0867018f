"""`.msu` files of the cabinet kind: descriptions around payload cabinets."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from wimsmith.errors import DamagedManifest, DamagedPackage
from wimsmith.offline.manifests.identity import AssemblyIdentity, identity_from_attributes
from wimsmith.offline.manifests.xmlreader import local_name, parse_xml
from wimsmith.offline.packages.containers.cabinet import CabinetFile
from wimsmith.offline.packages.containers.kinds import (
    PSF_INDEX_SUFFIX,
    SCAN_CABINET,
    TOP_MANIFEST,
    Obstacle,
    cabinet_obstacle,
    is_metadata,
    psfx_obstacle,
)

INSTALL_ORDER = "pkginstallorder.txt"
_MAX_TEXT_BYTES = 1 << 20
_LINE = re.compile(r'\s*([^="]+?)\s*=\s*"?(.*?)"?\s*')


@dataclass(frozen=True, slots=True)
class MsuDescription:
    """What a `.msu` says about itself beside its payload.

    `properties` are the lines of pkgProperties.txt; `installs` the packages that the answer file
    names, with the file name of their cabinet; `install_order` the cabinets that
    PkgInstallOrder.txt names, if there is one.
    """

    properties: Mapping[str, str] = field(default_factory=dict)
    installs: tuple[tuple[AssemblyIdentity, str], ...] = ()
    install_order: tuple[str, ...] = ()

    @property
    def article(self) -> str:
        """Number of the knowledge base article, as `KB2999226`, or the empty text."""
        number = self.properties.get("KB Article Number", "")
        return f"KB{number.upper().removeprefix('KB')}" if number else ""


def describe(files: Sequence[CabinetFile]) -> MsuDescription:
    """Read the descriptions among files of a `.msu`.

    Raises:
        DamagedPackage: a description is not what it should be.
    """
    properties: dict[str, str] = {}
    installs: list[tuple[AssemblyIdentity, str]] = []
    order: tuple[str, ...] = ()
    for file in files:
        name = file.name.lower()
        if name.endswith("pkgproperties.txt"):
            properties.update(parse_properties(_read(file)))
        elif name == INSTALL_ORDER:
            order = parse_order(_read(file))
        elif _is_answer(name):
            installs += _installs(file.name, _read(file))
    return MsuDescription(properties, tuple(installs), order)


def is_description(name: str) -> bool:
    """Whether a member of a `.msu` (by its name) is one of those that `describe` reads."""
    folded = name.lower()
    return folded.endswith(("pkgproperties.txt", INSTALL_ORDER)) or _is_answer(folded)


def _is_answer(name: str) -> bool:
    """Whether a member may be the answer file; those of unified updates are read elsewhere."""
    return name.endswith(".xml") and not name.endswith(PSF_INDEX_SUFFIX) and not is_metadata(name)


def set_obstacle(names: Collection[str]) -> Obstacle | None:
    """What in the listing of a `.msu` rules all of it out, or None.

    `psfx`, `uup`, or `express` and `baseless` if there is nothing else.
    """
    folded = [name.lower() for name in names]
    found = psfx_obstacle(folded)
    if found is not None:
        return found
    cabinets = [name for name in folded if _is_payload(name)]
    obstacles = [obstacle for name in cabinets if (obstacle := _obstacle_of_name(name))]
    if obstacles and len(obstacles) == len(cabinets):
        return obstacles[0]
    if not cabinets and any(is_metadata(name) for name in folded):
        return Obstacle("uup", "metadata of a unified update, without its payload")
    return None


def payload_cabinets(
    files: Sequence[CabinetFile], description: MsuDescription
) -> tuple[CabinetFile, ...]:
    """Cabinets in an expanded `.msu` that hold updates, in the order they are to be installed.

    That is the order of PkgInstallOrder.txt. Cabinets it does not name, and all of them if there
    is no such file, come after: servicing stacks, then as the answer file names them, then as they
    are stored. Express and baseless cabinets beside others are left out.

    Raises:
        DamagedPackage: there is no cabinet with an update, or one that is to be installed is not
            there.
    """
    found = [file for file in files if _is_payload(file.name.lower())]
    found = [file for file in found if _obstacle_of_name(file.name.lower()) is None]
    if not found:
        raise DamagedPackage("a .msu without a cabinet to install")
    by_name = {file.name.lower(): file for file in found}
    named = list(dict.fromkeys(_cabinet(name, by_name) for name in description.install_order))
    answers = [name.lower() for _identity, name in description.installs]

    def default_place(file: CabinetFile) -> tuple[bool, int]:
        name = file.name.lower()
        answer = answers.index(name) if name in answers else len(answers)
        return not name.startswith("ssu-"), answer

    rest = [file for file in found if file not in named]
    return (*named, *sorted(rest, key=default_place))


def _cabinet(name: str, by_name: Mapping[str, CabinetFile]) -> CabinetFile:
    """A cabinet that a list names, with or without its extension."""
    found = by_name.get(name.lower()) or by_name.get(f"{name.lower()}.cab")
    if found is None:
        raise DamagedPackage(f"{name[:200]} is to be installed and is not there")
    return found


def parse_order(data: bytes) -> tuple[str, ...]:
    """Cabinets in a list of cabinets: `1=NAME.cab` or just a name in each line, in that order.

    Used in PkgInstallOrder.txt and cablist.ini. Sections, comments and other lines are passed
    over.

    Raises:
        DamagedPackage: not the text it is marked as.
    """
    found = []
    for line in text_of(data).splitlines():
        key, equals, value = line.strip().partition("=")
        name = (value if equals else key).strip().strip('"').replace("\\", "/").rpartition("/")[2]
        is_name = name.lower().endswith(".cab") or (equals and key.strip().isdecimal())
        if name and is_name and not key.startswith(("[", ";", "#")):
            found.append(name)
    return tuple(found)


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
    described = name == SCAN_CABINET or is_metadata(name) or name.startswith("desktopdeployment")
    return name.endswith(".cab") and not described


def _obstacle_of_name(name: str) -> Obstacle | None:
    return cabinet_obstacle(name, (TOP_MANIFEST,))


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
