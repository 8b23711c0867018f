"""An expanded update: from a `.cab` or `.msu` file to manifests, catalogs and payload.

What cannot be opened is refused by name (`kinds.py`); what is opened is still untrusted until
`trust.py` has followed the chain from the catalogs to the payload.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from wimsmith.errors import DamagedInput, DamagedPackage, NotSupported, Untrusted
from wimsmith.offline import paths
from wimsmith.offline.manifests.component import ComponentFile, parse_component
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.names import keyform as keyform_of
from wimsmith.offline.manifests.package import PackageManifest, parse_package
from wimsmith.offline.manifests.xmlreader import MAX_XML_BYTES
from wimsmith.offline.packages.containers.cabinet import CabinetFile
from wimsmith.offline.packages.containers.ipd import IndexSummary
from wimsmith.offline.packages.containers.kinds import ContainerKind, Obstacle
from wimsmith.offline.packages.containers.msu import MsuDescription
from wimsmith.offline.packages.containers.unwrapping import Container, unwrap, unwrap_all
from wimsmith.offline.packages.deltas.dcm import expand_dcm, is_dcm
from wimsmith.offline.packages.limits import DEFAULT_LIMITS, PackageLimits
from wimsmith.offline.packages.trust.catalog import MAX_CATALOG_BYTES, Catalog, parse_catalog
from wimsmith.offline.progress import Progress, silent

_TOP_STEM = "update"
_BRANCH_FORWARD_STEM = "update-bf"


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A package manifest as stored, with the catalog that vouches for it."""

    manifest: PackageManifest
    raw: bytes = field(repr=False)
    path: Path
    catalog: Catalog | None = field(repr=False)

    @property
    def identity(self) -> AssemblyIdentity:
        return self.manifest.identity

    @property
    def name(self) -> str:
        return self.manifest.identity.package_name


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A component or deployment manifest as stored, plain XML or DCM."""

    keyform: str
    path: Path
    size_bytes: int

    @property
    def raw(self) -> bytes:
        """The stored bytes."""
        return self.path.read_bytes()

    @property
    def compressed(self) -> bool:
        """Whether it is stored as DCM, which needs the base manifest of an image to be read."""
        with self.path.open("rb") as file:
            return is_dcm(file.read(4))


@dataclass(frozen=True)
class ExpandedPackage:
    """An update with all its files on disk below `root`, under numbers instead of names.

    `packages` is keyed by package name, `manifests` by keyform in lower case. Look packages up
    with `package`, since the spelling of languages differs between manifests.
    """

    source: Path
    root: Path
    kind: ContainerKind
    top: PackageFile
    packages: Mapping[str, PackageFile] = field(repr=False)
    manifests: Mapping[str, ManifestFile] = field(repr=False)
    files: Mapping[str, CabinetFile] = field(repr=False)
    description: MsuDescription = field(default_factory=MsuDescription)
    branch_forward: PackageFile | None = None
    index: IndexSummary | None = None

    def package(self, identity: AssemblyIdentity) -> PackageFile | None:
        """The package of this identity, ignoring case, or None if it is not in the update."""
        return self._by_folded_name.get(paths.fold(identity.package_name))

    @cached_property
    def catalogs(self) -> tuple[Catalog, ...]:
        """Catalogs that belong to a package manifest, each once, those of the top first."""
        found = (self.top, *self.packages.values(), self.branch_forward)
        unique = {one.catalog.thumbprint: one.catalog for one in found if one and one.catalog}
        return tuple(unique.values())

    def lists(self, data: bytes) -> bool:
        """Whether a catalog of the update lists these bytes."""
        return (
            hashlib.sha256(data).digest() in self._listed_sha256
            or hashlib.sha1(data, usedforsecurity=False).digest() in self._listed_sha1
        )

    @cached_property
    def _by_folded_name(self) -> dict[str, PackageFile]:
        return {paths.fold(name): one for name, one in self.packages.items()}

    @cached_property
    def _listed_sha256(self) -> frozenset[bytes]:
        return frozenset().union(*(one.hashes for one in self.catalogs if one.has_sha256))

    @cached_property
    def _listed_sha1(self) -> frozenset[bytes]:
        return frozenset().union(*(one.hashes for one in self.catalogs if not one.has_sha256))

    def payload_file(self, keyform: str, name: str) -> CabinetFile:
        """A payload file of a component, with its size, time and attributes.

        Raises:
            DamagedPackage: the update does not bring this file.
        """
        found = self.files.get(paths.fold(paths.join(keyform, name)))
        if found is None:
            raise DamagedPackage(f"{keyform}/{name} is missing")
        return found

    def payload_of(self, keyform: str, file: ComponentFile) -> CabinetFile:
        """The payload that a manifest means by `file`, under its name or that of its source.

        Raises:
            DamagedPackage: the update does not bring it.
        """
        found = self.files.get(paths.fold(paths.join(keyform, file.name)))
        return found or self.payload_file(keyform, file.source_name or file.name)

    def payload(self, keyform: str, name: str) -> Path:
        """Where the bytes of a payload file are; see `payload_file`."""
        return self.payload_file(keyform, name).path

    def decoded_manifest(self, keyform: str, base_manifest: bytes | None = None) -> bytes:
        """XML of a manifest, proved to be listed in a catalog and to be what its name says.

        Args:
            keyform: name of the manifest without extension.
            base_manifest: base text of the image; only manifests stored as DCM need it.

        Raises:
            Untrusted: no catalog of the update lists these bytes, or the name is another's.
            DamagedPackage: there is no such manifest, or it is stored as DCM and no base is given.
            DamagedInput: the delta or the XML is broken.
        """
        stored = self.manifests.get(keyform.lower())
        if stored is None:
            raise DamagedPackage(f"the manifest {keyform} is missing")
        data = _expanded(stored, base_manifest)
        if not self.lists(data):
            raise Untrusted("manifest-hash", f"no catalog lists the manifest {keyform}")
        if keyform_of(parse_component(data).identity) != keyform.lower():
            raise Untrusted("manifest-name", f"{keyform} describes another component")
        return data


@dataclass(frozen=True, slots=True)
class PackagePart:
    """One of the packages in a file. `name` is the file name of its cabinet.

    `package` is None if it cannot be opened: `obstacle` says why, and `top` is its manifest where
    that could be read all the same.
    """

    name: str
    package: ExpandedPackage | None
    obstacle: Obstacle | None = None
    top: PackageManifest | None = None


def expand(
    path: Path,
    work: Path,
    *,
    limits: PackageLimits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> ExpandedPackage:
    """Expand a `.cab` or `.msu` file with one package into the folder `work`.

    Raises:
        NotSupported: `several-packages` (see `expand_all`), or a container that is refused by
            name.
        DamagedPackage, DamagedInput: broken anywhere.
        LimitExceeded: it asks for more than `limits` allow.
        OSError: the file or the folder cannot be used.
    """
    container = unwrap(path, work, limits=limits, progress=progress)
    return _assembled(container, work)


def expand_all(
    path: Path,
    work: Path,
    *,
    limits: PackageLimits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> tuple[ExpandedPackage, ...]:
    """Expand all packages of a `.cab` or `.msu` file, in the order they are to be installed.

    Raises: as `expand`; a single package that is refused ends it.
    """
    found = unwrap_all(path, work, limits=limits, progress=progress)
    return tuple(_assembled(container, work) for container in found)


def expand_parts(
    path: Path,
    work: Path,
    *,
    limits: PackageLimits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> tuple[PackagePart, ...]:
    """As `expand_all`; packages that are refused by name stand in it with the reason.

    Raises:
        NotSupported: the file itself is refused by name.
        DamagedPackage, DamagedInput: broken anywhere.
        LimitExceeded: it asks for more than `limits` allow.
        OSError: the file or the folder cannot be used.
    """
    found = unwrap_all(path, work, limits=limits, progress=progress)
    return tuple(_part(container, work) for container in found)


def _part(container: Container, work: Path) -> PackagePart:
    try:
        return PackagePart(container.name, _assembled(container, work))
    except NotSupported as refusal:
        obstacle = Obstacle(refusal.reason, str(refusal.args[1]))
        return PackagePart(container.name, None, obstacle, container.top)


def _assembled(container: Container, work: Path) -> ExpandedPackage:
    if container.obstacle is not None:
        raise container.obstacle.as_error()
    return assemble(container, work)


def assemble(container: Container, work: Path) -> ExpandedPackage:
    """Make sense of the files of an unwrapped update.

    Raises:
        NotSupported: `psfx`, which only the manifest says.
        DamagedPackage: a manifest or catalog is broken, or two packages have one name.
    """
    found = dict(_package_files(container.files))
    top = found.pop(_TOP_STEM)
    branch_forward = found.pop(_BRANCH_FORWARD_STEM, None)
    packages = _keyed_by_name((top, *found.values()))
    if top.manifest.is_psfx:
        raise NotSupported("psfx", "a package of forward and reverse differentials")
    return ExpandedPackage(
        source=container.source,
        root=work,
        kind=container.kind,
        top=top,
        packages=packages,
        manifests={one.keyform: one for one in _manifest_files(container.files.values())},
        files=container.files,
        description=container.description,
        branch_forward=branch_forward,
        index=container.index,
    )


def _package_files(files: Mapping[str, CabinetFile]) -> Iterator[tuple[str, PackageFile]]:
    """Package manifests at the root of the cabinet, by file name without extension."""
    for file in files.values():
        stem, dot, extension = file.name.lower().rpartition(".")
        if "/" in file.name or extension != "mum" or not dot:
            continue
        raw = _read_text(file)
        beside = files.get(paths.fold(f"{stem}.cat"))
        catalog = None if beside is None else _read_catalog(beside)
        yield stem, PackageFile(_parsed(file, raw), raw, file.path, catalog)


def _parsed(file: CabinetFile, raw: bytes) -> PackageManifest:
    try:
        return parse_package(raw)
    except DamagedInput as error:
        raise DamagedPackage(f"{file.name[:200]}: {error}") from error


def _keyed_by_name(packages: Iterable[PackageFile]) -> dict[str, PackageFile]:
    """Packages by name; the same manifest may stand under two file names, another may not."""
    keyed: dict[str, PackageFile] = {}
    folded: dict[str, PackageFile] = {}
    for one in packages:
        known = folded.setdefault(paths.fold(one.name), one)
        if known.raw != one.raw:
            raise DamagedPackage(f"two manifests for the package {one.name[:200]}")
        if known is one:
            keyed[one.name] = one
    return keyed


def _manifest_files(files: Iterable[CabinetFile]) -> Iterator[ManifestFile]:
    for file in files:
        stem, _dot, extension = file.name.rpartition(".")
        if "/" not in file.name and extension.lower() == "manifest":
            yield ManifestFile(stem.lower(), file.path, file.size_bytes)


def _expanded(stored: ManifestFile, base_manifest: bytes | None) -> bytes:
    if stored.size_bytes > MAX_XML_BYTES:
        raise DamagedPackage(f"{stored.keyform} has {stored.size_bytes} bytes")
    data = stored.raw
    if not is_dcm(data):
        return data
    if base_manifest is None:
        raise DamagedPackage(f"{stored.keyform} is stored as DCM and no base manifest is at hand")
    return expand_dcm(data, base_manifest)


def _read_text(file: CabinetFile, most_bytes: int = MAX_XML_BYTES) -> bytes:
    if file.size_bytes > most_bytes:
        raise DamagedPackage(f"{file.name[:200]} has {file.size_bytes} bytes")
    return file.path.read_bytes()


def _read_catalog(file: CabinetFile) -> Catalog:
    try:
        return parse_catalog(_read_text(file, MAX_CATALOG_BYTES))
    except DamagedInput as error:
        raise DamagedPackage(f"{file.name[:200]}: {error}") from error
