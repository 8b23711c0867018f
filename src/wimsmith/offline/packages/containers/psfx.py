"""Packages of differentials: what their index and stream say, without expanding them.

`*.psf.cix.xml` lists parts of a stream (`.psf`). Folders `f`, `r` and `n` below a component hold
forward, reverse and null differentials; everything else is a whole file.
"""

import contextlib
import re
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import DamagedManifest, DamagedPackage, NotSupported
from wimsmith.offline.manifests.identity import Version
from wimsmith.offline.manifests.xmlreader import MAX_XML_BYTES
from wimsmith.offline.packages.containers.containerindex import ContainerIndex
from wimsmith.offline.packages.containers.kinds import PSF_MAGIC
from wimsmith.offline.packages.deltas.batch import DeltaJob, expand_deltas
from wimsmith.offline.packages.limits import DEFAULT_LIMITS, PackageLimits

_HEADER_BYTES = 0x30
_INDEX_AT = 0x28
_DELTA_MAGICS = (b"PA30", b"PA31", b"PA19")
_FOLDERS = {"f": "forward", "r": "reverse", "n": "null"}
_COMPONENT = re.compile(r"[^/]+_(\d+(?:\.\d+){3})_[^/_]+_[0-9a-f]{16}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DifferentialSummary:
    """Counts over the index of a package of differentials.

    `differentials` counts files by what they are (forward, reverse, null, whole), `sources` by how
    they are stored. `stored_bytes` are those of the stream, `expanded_bytes` those of its files.
    `versions` are those of the components, `basis_versions` of components in the same index that
    others are made from; `locations` are folders of a running Windows in which bases are looked
    for, `outside_bases` counts files that name one outside.
    """

    files: int
    stored_bytes: int
    expanded_bytes: int
    differentials: Mapping[str, int]
    sources: Mapping[str, int]
    versions: tuple[Version, ...] = ()
    basis_versions: tuple[Version, ...] = ()
    locations: tuple[str, ...] = ()
    outside_bases: int = 0


def summarize_differentials(index: ContainerIndex) -> DifferentialSummary:
    """Counts over an index."""
    names = {file.id: file.name for file in index.files}
    recipes = [recipe for file in index.files for recipe in file.recipes]
    sources = [recipe.source for recipe in recipes if recipe.source is not None]
    bases = [names[recipe.basis] for recipe in recipes if recipe.basis in names]
    return DifferentialSummary(
        files=len(index.files),
        stored_bytes=sum(source.size_bytes or 0 for source in sources),
        expanded_bytes=index.total_bytes,
        differentials=dict(Counter(map(_differential, names.values()))),
        sources=dict(Counter(source.kind.value for source in sources)),
        versions=_versions(names.values()),
        basis_versions=_versions(bases),
        locations=tuple(location.path for location in index.locations),
        outside_bases=sum(recipe.is_outside for recipe in recipes),
    )


def stream_index(
    stream: Path, work: Path, *, limits: PackageLimits = DEFAULT_LIMITS
) -> bytes | None:
    """The index that a stream carries itself, or None if it has none.

    Args:
        stream: the `.psf` file.
        work: folder to expand the index in, if it is stored as a delta.
        limits: most that it may ask for.

    Raises:
        DamagedPackage: no stream, or it ends before its index does.
        DamagedDelta, NotSupported, LimitExceeded: as `expand_deltas`.
    """
    size_bytes = stream.stat().st_size
    with stream.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or not header.startswith(PSF_MAGIC):
            raise DamagedPackage("it does not start as a stream of differentials")
        offset, length = struct.unpack_from("<II", header, _INDEX_AT)
        if not length:
            return None
        if length > MAX_XML_BYTES or offset < _HEADER_BYTES or offset + length > size_bytes:
            raise DamagedPackage(f"an index of {length} bytes at {offset} in {size_bytes}")
        file.seek(offset)
        data = file.read(length)
    return _expanded(data, work, limits) if data.startswith(_DELTA_MAGICS) else data


def _expanded(data: bytes, work: Path, limits: PackageLimits) -> bytes:
    folder = work / "stream-index"
    folder.mkdir()
    delta, target = folder / "delta", folder / "index.xml"
    delta.write_bytes(data)
    try:
        job = DeltaJob("the index of the stream", delta, None, target)
        expand_deltas([job], folder, limits=limits)
    except NotSupported as error:
        raise NotSupported(error.reason, f"the index of the stream: {error.args[1]}") from error
    return target.read_bytes()


def _differential(name: str) -> str:
    parts = name.split("/")
    if len(parts) > 2 and _COMPONENT.fullmatch(parts[0]):
        return _FOLDERS.get(parts[1].lower(), "whole")
    return "whole"


def _versions(names: Iterable[str]) -> tuple[Version, ...]:
    """Versions in the names of component folders, each once, in order."""
    found = {match[1] for name in names if (match := _COMPONENT.fullmatch(name.split("/")[0]))}
    versions = set()
    for text in found:
        with contextlib.suppress(DamagedManifest):  # a folder that only looks like a component
            versions.add(Version.parse(text))
    return tuple(sorted(versions))
