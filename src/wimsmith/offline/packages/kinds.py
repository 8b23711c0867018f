"""What kind of container an update comes in, and which kinds are refused by name.

All decisions here are taken from the file alone, most of them from its listing. The table of
reason codes is in docs/internals/packages.md.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from wimsmith.errors import DamagedManifest, DamagedPackage, NotSupported
from wimsmith.offline import paths
from wimsmith.offline.manifests.xmlreader import local_name, parse_xml
from wimsmith.offline.packages import cablisting

INDEX_NAME = "_manifest_.cix.xml"
PSF_INDEX_NAME = "express.psf.cix.xml"
TOP_MANIFEST = "update.mum"
NESTED_LIST = "cablist.ini"
SCAN_CABINET = "wsusscan.cab"

_WIM_MAGIC = b"MSWIM\0\0\0"
_PSF_MAGIC = b"PSTREAM\0"
_OTHER_MAGIC = {
    b"MZ": "a program, not an update package",
    b"PK\x03\x04": "a ZIP file or app package, not an update package",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "a Windows Installer file, not an update package",
}
_MAGIC_BYTES = 8
_DIFFERENTIAL = re.compile(r"[^/]+_[0-9a-f]{16}/[frn]/.+")


class ContainerKind(StrEnum):
    """Containers this program opens."""

    CABINET = "cab"
    MSU = "msu"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why an update is refused: a reason code and a sentence."""

    code: str
    text: str

    def as_error(self) -> NotSupported:
        """The error that says so."""
        return NotSupported(self.code, self.text)


def check_file(path: Path) -> None:
    """Return if a file starts as a cabinet.

    Raises:
        NotSupported: `container-wim`, `psfx` or `not-cbs`: something else that is known.
        DamagedPackage: the file is empty, or no file at all.
        OSError: the file cannot be read.
    """
    if path.exists() and not path.is_file():
        raise DamagedPackage(f"{path.name} is no file")
    with path.open("rb") as file:
        magic = file.read(_MAGIC_BYTES)
    if not magic:
        raise DamagedPackage("the file is empty")
    if not magic.startswith(cablisting.MAGIC):
        raise _other_file(path, magic).as_error()


def _other_file(path: Path, magic: bytes) -> Obstacle:
    if magic == _WIM_MAGIC:
        if path.suffix.lower() in {".wim", ".esd", ".swm"}:
            return Obstacle("not-cbs", "a Windows image, not an update package")
        return Obstacle(
            "container-wim", "an update in a WIM container, which only Windows can apply so far"
        )
    if magic == _PSF_MAGIC:
        return Obstacle("psfx", "the payload of a package of differentials, without its cabinet")
    for start, text in _OTHER_MAGIC.items():
        if magic.startswith(start):
            return Obstacle("not-cbs", text)
    return Obstacle("not-cbs", "not a cabinet, so not an update package")


def cabinet_obstacle(file_name: str, names: Collection[str]) -> Obstacle | None:
    """What in the listing of a payload cabinet rules it out, or None.

    Args:
        file_name: name of the cabinet itself.
        names: names of the files in it, in the normal form of `wimsmith.offline.paths`.
    """
    folded = {name.lower() for name in names}
    for found in (
        _by_file_name(file_name.lower()),
        _by_psfx(folded),
        _by_index(folded),
        _by_metadata(folded),
        _by_missing_manifest(folded),
    ):
        if found is not None:
            return found
    return None


def _by_file_name(file_name: str) -> Obstacle | None:
    if file_name.endswith("-express.cab"):
        return Obstacle("express", "an express cabinet: its files are deltas against older ones")
    if file_name.endswith("-baseless.cab"):
        return Obstacle("baseless", "a baseless cabinet: its files need others from outside it")
    return None


def _by_psfx(names: Collection[str]) -> Obstacle | None:
    has_differentials = any(
        name.endswith((PSF_INDEX_NAME, ".psf")) or _DIFFERENTIAL.fullmatch(name) for name in names
    )
    if has_differentials:
        return Obstacle("psfx", "a package of forward and reverse differentials")
    return None


def _by_index(names: Collection[str]) -> Obstacle | None:
    if INDEX_NAME in names:
        return Obstacle(
            "container-index", "its files are stored as an index with deltas, not expanded yet"
        )
    return None


def _by_metadata(names: Collection[str]) -> Obstacle | None:
    metadata = any("compdb" in name or "aggregatedmetadata" in name for name in names)
    if metadata and TOP_MANIFEST not in names:
        return Obstacle("uup", "metadata of a unified update, without its payload")
    return None


def _by_missing_manifest(names: Collection[str]) -> Obstacle | None:
    if TOP_MANIFEST in names or NESTED_LIST in names:
        return None
    if any(name.endswith(".inf") for name in names):
        return Obstacle("not-cbs", "a driver cabinet; drivers are added as drivers")
    return Obstacle("not-cbs", f"there is no {TOP_MANIFEST} in it")


def index_obstacle(data: bytes) -> Obstacle:
    """Why a package with this container index is refused: deltas against its own files, or others.

    Raises:
        DamagedPackage: the index is not XML.
    """
    try:
        root = parse_xml(data)
    except DamagedManifest as error:
        raise DamagedPackage(f"{INDEX_NAME}: {error}") from error
    searches = [one for one in root.iter() if local_name(one) == "DeltaBasisSearch"]
    if any(local_name(one) == "Location" for search in searches for one in search):
        return Obstacle("express", "its files are deltas against files that it does not hold")
    found = _by_index({INDEX_NAME})
    assert found is not None
    return found


def is_update_set(names: Collection[str]) -> bool:
    """Whether a listing is that of a `.msu`: cabinets and descriptions, no package of its own."""
    folded = {paths.fold(name) for name in names}
    if paths.fold(TOP_MANIFEST) in folded or paths.fold(NESTED_LIST) in folded:
        return False
    has_cabinets = any(name.endswith(".CAB") for name in folded)
    described = paths.fold(SCAN_CABINET) in folded or any(
        name.endswith("PKGPROPERTIES.TXT") for name in folded
    )
    return has_cabinets and described
