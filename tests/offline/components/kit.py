"""Updates taken apart into their files, changed at will, and signed again by the practice root."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from wimsmith.errors import DamagedInput, LimitExceeded, NotSupported, Untrusted
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.components.outcome import Outcome, refused
from wimsmith.offline.components.store.view import View
from wimsmith.offline.packages.containers.cabinet import CabinetFile
from wimsmith.offline.packages.containers.kinds import ContainerKind
from wimsmith.offline.packages.containers.unwrapping import Container
from wimsmith.offline.packages.package import ExpandedPackage, assemble
from wimsmith.offline.paths import fold, join
from wimsmith.practice.catalogs import CatalogSpec, build_catalog
from wimsmith.practice.maker import Maker
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import ComponentSpec, PackageSpec, UpdateEntry
from wimsmith.practice.updates import cabinet_files

WRITTEN = 133_600_000_000_000_000


def files_of(package: PackageSpec, root: PracticeRoot, maker: Maker) -> dict[str, bytes]:
    """Files of the cabinet of an update."""
    return cabinet_files(maker.update("KB5099999", package), root)


def package_of(maker: Maker, *components: ComponentSpec, **changes: object) -> PackageSpec:
    """A package with one update that installs `components`."""
    deployment = maker.deployment("Practice-Made", 300, *components)
    return maker.package("KB5099999", "1.0.0.0", UpdateEntry("made", deployment), **changes)


def resigned(files: Mapping[str, bytes], root: PracticeRoot) -> dict[str, bytes]:
    """The files with every catalog made anew: it lists all manifests there are."""
    members = tuple(
        data for name, data in files.items() if name.lower().endswith((".mum", ".manifest"))
    )
    catalog = build_catalog(CatalogSpec(members), root)
    return {name: catalog if name.endswith(".cat") else data for name, data in files.items()}


def unpacked(files: Mapping[str, bytes], folder: Path) -> ExpandedPackage:
    """The update that a cabinet with these files would expand to.

    Raises:
        NotSupported, DamagedInput: as expanding does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, CabinetFile] = {}
    for name, data in files.items():
        path = folder / hashlib.sha256(name.encode() + b"\0" + data).hexdigest()[:32]
        if not path.exists():
            path.write_bytes(data)
        normal = join(name)
        found[fold(normal)] = CabinetFile(normal, path, len(data), WRITTEN, 0x20)
    return assemble(Container(folder / "made.cab", ContainerKind.CABINET, found), folder)


def outcome_of(
    files: Mapping[str, bytes], folder: Path, view: View, options: ApplyOptions
) -> Outcome:
    """What becomes of an update with these files, as the site would be told."""
    try:
        package = unpacked(files, folder)
    except (NotSupported, Untrusted, DamagedInput, LimitExceeded) as error:
        return refused("made.cab", error)
    return apply(package, view, options)
