"""What kind of container an update comes in, and which kinds are refused by name.

All decisions here are taken from the file alone, most of them from its listing. The table of
reason codes is in docs/internals/packages.md.
"""

import re
import struct
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from wimsmith.errors import DamagedPackage, NotSupported
from wimsmith.offline import paths
from wimsmith.offline.packages.containers import cablisting
from wimsmith.offline.packages.containers.containerindex import ContainerIndex, ContainerType

INDEX_NAME = "_manifest_.cix.xml"
PSF_INDEX_SUFFIX = ".psf.cix.xml"
TOP_MANIFEST = "update.mum"
NESTED_LIST = "cablist.ini"
SCAN_CABINET = "wsusscan.cab"

WIM_MAGIC = b"MSWIM\0\0\0"
PSF_MAGIC = b"PSTREAM\0"
_COMPOUND_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OTHER_MAGIC = {
    b"MZ": "a program, not an update package",
    b"PK\x03\x04": "a ZIP file or app package, not an update package",
    _COMPOUND_MAGIC: "a Windows Installer file, not an update package",
}
_PATCH_CLASS = bytes.fromhex("86100c0000000000c000000000000046")
_MAGIC_BYTES = 8
_DIFFERENTIAL = re.compile(r"[^/]+_[0-9a-f]{16}/[frn]/.+")
_PSFX = "a package of forward and reverse differentials"
_METADATA_MARKS = ("compdb", "aggregatedmetadata")


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
    if magic == WIM_MAGIC:
        if path.suffix.lower() in {".wim", ".esd", ".swm"}:
            return Obstacle("not-cbs", "a Windows image, not an update package")
        return Obstacle(
            "container-wim", "an update in a WIM container, which only Windows can apply so far"
        )
    if magic == PSF_MAGIC:
        return Obstacle("psfx", "the payload of a package of differentials, without its cabinet")
    if magic == _COMPOUND_MAGIC and _is_patch(path):
        return Obstacle("not-cbs", "a Windows Installer patch (.msp), not an update package")
    for start, text in _OTHER_MAGIC.items():
        if magic.startswith(start):
            return Obstacle("not-cbs", text)
    return Obstacle("not-cbs", "not a cabinet, so not an update package")


def _is_patch(path: Path) -> bool:
    """Whether the root of a compound file has the class of installer patches ([MS-CFB] 2.6.1)."""
    with path.open("rb") as file:
        header = file.read(512)
        if len(header) < 512:
            return False
        (shift,) = struct.unpack_from("<H", header, 0x1E)
        (sector,) = struct.unpack_from("<I", header, 0x30)
        if shift not in {9, 12}:
            return False
        file.seek(((sector + 1) << shift) + 0x50)
        return file.read(16) == _PATCH_CLASS


def cabinet_obstacle(
    file_name: str, names: Collection[str], *, is_part: bool = False
) -> Obstacle | None:
    """What in the listing of a payload cabinet rules it out, or None.

    Args:
        file_name: name of the cabinet itself.
        names: names of the files in it, in the normal form of `wimsmith.offline.paths`.
        is_part: whether it is one of several cabinets that make up a package, which need not
            hold its manifest.
    """
    folded = {name.lower() for name in names}
    return (
        _by_file_name(file_name.lower())
        or psfx_obstacle(folded)
        or _by_metadata(folded)
        or (None if is_part else _by_missing_manifest(folded))
    )


def _by_file_name(file_name: str) -> Obstacle | None:
    if file_name.endswith("-express.cab"):
        return Obstacle("express", "an express cabinet: its files are deltas against older ones")
    if file_name.endswith("-baseless.cab"):
        return Obstacle("baseless", "a baseless cabinet: its files need others from outside it")
    return None


def psfx_obstacle(names: Collection[str]) -> Obstacle | None:
    """`psfx`, if a listing (in lower case) has a stream of differentials, its index or folders."""
    has_differentials = any(
        name.endswith((PSF_INDEX_SUFFIX, ".psf")) or _DIFFERENTIAL.fullmatch(name) for name in names
    )
    return Obstacle("psfx", _PSFX) if has_differentials else None


def _by_metadata(names: Collection[str]) -> Obstacle | None:
    if any(is_metadata(name) for name in names) and TOP_MANIFEST not in names:
        return Obstacle("uup", "metadata of a unified update, without its payload")
    return None


def is_metadata(name: str) -> bool:
    """Whether a file (in lower case) describes unified updates."""
    return any(mark in name for mark in _METADATA_MARKS)


def _by_missing_manifest(names: Collection[str]) -> Obstacle | None:
    if TOP_MANIFEST in names or INDEX_NAME in names or is_nested(names):
        return None
    if any("fodmetadata" in name for name in names):
        return Obstacle("not-cbs", "metadata of features on demand, not an update package")
    if any(name.endswith(".inf") for name in names):
        return Obstacle("not-cbs", "a driver cabinet; drivers are added as drivers")
    return Obstacle("not-cbs", f"there is no {TOP_MANIFEST} in it")


def index_obstacle(index: ContainerIndex) -> Obstacle | None:
    """Why a package with this container index is refused, or None.

    An index that names places in a running Windows has deltas against the files found there.
    """
    if index.type is ContainerType.STREAM:
        return Obstacle("psfx", _PSFX)
    if index.locations:
        return Obstacle("express", "its files are deltas against files that it does not hold")
    return cabinet_obstacle("", [file.name for file in index.files])


def is_nested(names: Collection[str]) -> bool:
    """Whether a listing has a list of cabinets that make up the package."""
    return any(name.lower().endswith(NESTED_LIST) and "/" not in name for name in names)


def is_update_set(names: Collection[str]) -> bool:
    """Whether a listing is that of a `.msu`: cabinets and descriptions, no package of its own."""
    folded = {paths.fold(name) for name in names}
    if paths.fold(TOP_MANIFEST) in folded or is_nested(names):
        return False
    has_cabinets = any(name.endswith(".CAB") for name in folded)
    described = paths.fold(SCAN_CABINET) in folded or any(
        name.endswith("PKGPROPERTIES.TXT") for name in folded
    )
    return has_cabinets and described
