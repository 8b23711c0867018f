"""An update package on disk, every manifest of it proved against its own catalogs."""

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha1, sha256
from pathlib import Path

from oracle import catalogs
from oracle.names import Identity, component_key
from oracle.xmlfacts import Component, Package, read_component, read_package

_DCM = b"DCM\x01"


class NotProved(AssertionError):
    """Bytes that the package's own catalogs or hashes do not vouch for."""


@dataclass(frozen=True, slots=True)
class PackagePart:
    """One package of the file: its manifest, and the catalog that vouches for it."""

    facts: Package
    manifest: bytes
    catalog: bytes

    @property
    def name(self) -> str:
        return self.facts.identity.package_name

    @property
    def catalog_sha256(self) -> str:
        return sha256(self.catalog).hexdigest()


@dataclass(frozen=True, slots=True)
class UpdateFile:
    """All of an expanded package. `manifests` and `components` are by store name."""

    folder: Path
    top: PackagePart
    parts: Mapping[str, PackagePart]
    manifests: Mapping[str, bytes]
    components: Mapping[str, Component]

    def part(self, identity: Identity) -> PackagePart:
        return self.parts[identity.package_name.lower()]

    def component(self, identity: Identity) -> Component:
        return self.components[component_key(identity)]

    def payload(self, component: Component, name: str) -> bytes:
        """A payload file, checked against the digest in the manifest."""
        folder = component_key(component.identity)
        data = _find(self.folder / folder, name).read_bytes()
        stated = {file.name: file.digest for file in component.files}[name]
        if stated not in {sha256(data).digest(), sha1(data, usedforsecurity=False).digest()}:
            raise NotProved(f"{folder}/{name} does not have the digest in its manifest")
        return data


def expand_cabinet(cabinet: Path, folder: Path) -> Path:
    """Unpack a cabinet, and those in it, with cabextract."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cabextract", "-q", "-d", folder, cabinet], check=True, capture_output=True)
    if (folder / "update.mum").exists():
        return folder
    inner = [path for path in sorted(folder.glob("*.cab")) if path.name.upper() != "WSUSSCAN.CAB"]
    assert len(inner) == 1, "the oracle knows updates with one payload cabinet"
    return expand_cabinet(inner[0], folder / "payload")


def read_update(folder: Path, decoded: Mapping[str, bytes] | None = None) -> UpdateFile:
    """Read an expanded package.

    Args:
        folder: where it was expanded.
        decoded: manifests by store name that are compressed in the package, in plain; they are
            believed only after the catalogs have vouched for them.

    Raises:
        NotProved: a manifest is not in the catalog of a package that needs it, or has another
            name than its identity gives it.
    """
    manifests = _manifests(folder, decoded or {})
    top = _part(folder / "update.mum")
    parts = {part.name.lower(): part for part in map(_part, _package_manifests(folder))}
    parts.setdefault(top.name.lower(), top)
    components = {key: read_component(data) for key, data in manifests.items()}
    for key, component in components.items():
        if component_key(component.identity) != key:
            raise NotProved(f"{key} is the manifest of {component_key(component.identity)}")
    update = UpdateFile(folder, top, parts, manifests, components)
    for part in parts.values():
        _prove(update, part)
    return update


def deployments_of(update: UpdateFile, identity: Identity) -> Iterator[Component]:
    """A deployment, then those it installs for other architectures."""
    deployment = update.component(identity)
    yield deployment
    for dependency in deployment.dependencies:
        if update.component(dependency).is_deployment:
            yield from deployments_of(update, dependency)


def components_of(update: UpdateFile, deployment: Component) -> Iterator[Component]:
    """The components that a deployment itself installs."""
    for dependency in deployment.dependencies:
        component = update.component(dependency)
        if not component.is_deployment:
            yield component


def _package_manifests(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.mum")) if path.name.lower() != "update.mum"]


def _part(path: Path) -> PackagePart:
    manifest, catalog = path.read_bytes(), path.with_suffix(".cat").read_bytes()
    if not catalogs.lists(catalog, manifest):
        raise NotProved(f"{path.name} is not in its catalog")
    return PackagePart(read_package(manifest), manifest, catalog)


def _manifests(folder: Path, decoded: Mapping[str, bytes]) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.glob("*.manifest")):
        data = path.read_bytes()
        found[path.stem] = decoded[path.stem] if data.startswith(_DCM) else data
    return found


def _prove(update: UpdateFile, part: PackagePart) -> None:
    for change in part.facts.updates:
        for identity in change.deployments:
            for deployment in deployments_of(update, identity):
                for component in (deployment, *components_of(update, deployment)):
                    key = component_key(component.identity)
                    if not catalogs.lists(part.catalog, update.manifests[key]):
                        raise NotProved(f"{key} is not in the catalog of {part.name}")


def _find(folder: Path, name: str) -> Path:
    return next(path for path in folder.iterdir() if path.name.lower() == name.lower())
