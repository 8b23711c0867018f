"""From specifications to the files of packages: manifests, payload, catalogs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wimsmith.practice.catalogs import CatalogSpec, build_catalog
from wimsmith.practice.content import ContentPool, Stored
from wimsmith.practice.manifests import (
    Digest,
    component_manifest,
    deployment_manifest,
    package_manifest,
)
from wimsmith.practice.names import component_key
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import DeploymentSpec, FileSpec, PackageSpec


@dataclass(frozen=True, slots=True)
class PackageFiles:
    """What one package consists of: manifests by key, payload by key and file name."""

    name: str
    manifest: bytes
    catalog: bytes
    manifests: Mapping[str, bytes] = field(default_factory=dict)
    payload: Mapping[tuple[str, str], Stored] = field(default_factory=dict)


def assemble(
    spec: PackageSpec,
    pool: ContentPool,
    root: PracticeRoot | None,
    *,
    sha256: bool = True,
    created: str = "2024-05-14T17:00:00Z",
) -> PackageFiles:
    """Make manifests, payload and the catalog of one package, without its child packages."""
    manifest = package_manifest(spec, created=created)
    manifests: dict[str, bytes] = {}
    payload: dict[tuple[str, str], Stored] = {}
    for deployment in deployments(spec):
        manifests[component_key(deployment.identity)] = deployment_manifest(deployment)
        for component in deployment.components:
            key = component_key(component.identity)
            stored = {item.name: pool.generate(item.content) for item in component.files}
            manifests[key] = component_manifest(component, _digest_of(stored))
            payload |= {(key, name): content for name, content in stored.items()}
    members = (manifest, *manifests.values())
    catalog = package_catalog(spec, members, root, sha256=sha256, created=created)
    return PackageFiles(spec.identity.package_name, manifest, catalog, manifests, payload)


def package_catalog(
    spec: PackageSpec,
    members: tuple[bytes, ...],
    root: PracticeRoot | None,
    *,
    sha256: bool,
    created: str,
) -> bytes:
    """Catalog of a package that vouches for `members`."""
    catalog = CatalogSpec(
        members,
        package_name=spec.identity.name,
        os_versions="2:10.0,2:6.3,2:6.2,2:6.1,2:6.0" if sha256 else "2:6.0,2:6.1",
        sha256=sha256,
        created=_utc_time(created),
    )
    return build_catalog(catalog, root)


def packages(spec: PackageSpec) -> Iterator[PackageSpec]:
    """A package and all its child packages, once each, children after their parents."""
    seen: set[str] = set()
    waiting = [spec]
    while waiting:
        current = waiting.pop(0)
        if current.identity.package_name in seen:
            continue
        seen.add(current.identity.package_name)
        yield current
        waiting += [update.child for update in current.updates if update.child]


def deployments(spec: PackageSpec) -> Iterator[DeploymentSpec]:
    """Deployments of a package's own updates, with those nested in them."""
    for update in spec.updates:
        if update.deployment:
            yield from with_nested(update.deployment)


def with_nested(deployment: DeploymentSpec) -> Iterator[DeploymentSpec]:
    """A deployment and those nested in it."""
    yield deployment
    for nested in deployment.nested:
        yield from with_nested(nested)


def _digest_of(stored: Mapping[str, Stored]) -> Digest:
    def digest(item: FileSpec) -> bytes:
        return stored[item.name].digest(item.digest)

    return digest


def _utc_time(created: str) -> str:
    return created.translate({ord(character): None for character in "-:T"})[2:]
