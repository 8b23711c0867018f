"""The components of an update that its plan asks for, with the deployments they belong to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from wimsmith.errors import DamagedPackage, NotSupported, Untrusted
from wimsmith.offline.components.install.descriptions import Component
from wimsmith.offline.components.store.basemanifest import ManifestReader
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.manifests.component import ComponentManifest, parse_component
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.names import deployment_key, keyform
from wimsmith.offline.packages.package import ExpandedPackage
from wimsmith.offline.packages.trust.catalog import Catalog
from wimsmith.offline.planning.applicability import PackagePlan, Plan, UpdatePlan

_MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment that shall be staged or installed, for one update of one package.

    Attributes:
        catalog: SHA-256 of the catalog of its package, in hexadecimal.
        installs: keyforms of what it lists, in the update or in the image already.
    """

    component: Component
    package: PackagePlan
    update: UpdatePlan
    catalog: str
    installs: tuple[str, ...]

    @property
    def key(self) -> str:
        r"""Its name below `CanonicalData\Deployments`."""
        return deployment_key(self.component.identity)

    @property
    def identifier(self) -> str:
        """What references to the deployment carry: `package.update`."""
        return f"{self.package.identity.package_name}.{self.update.update.name}"


@dataclass(slots=True)
class Selection:
    """What an update brings to an image: components by keyform, and deployments in order.

    `present` are keyforms that deployments list and that the image has without the update;
    `carried` are deployments that have been followed, by package, update and keyform.
    """

    components: dict[str, Component] = field(default_factory=dict)
    deployments: list[Deployment] = field(default_factory=list)
    present: dict[str, list[str]] = field(default_factory=dict)
    carried: set[tuple[str, str, str]] = field(default_factory=set)


class Source:
    """Reads components of an expanded update, each once."""

    def __init__(self, package: ExpandedPackage, store: Store, reader: ManifestReader) -> None:
        """Nothing is read before it is asked for."""
        self.package = package
        self._store = store
        self._reader = reader
        self._read: dict[str, tuple[bytes, ComponentManifest]] = {}

    def component(self, key: str) -> tuple[bytes, ComponentManifest]:
        """XML and meaning of a manifest of the update, proved by its catalogs.

        Raises:
            Untrusted, DamagedInput: it is not what the catalogs list.
            NotSupported: `calibration:base-manifest`.
        """
        if key not in self._read:
            data = self.package.decoded_manifest(key, self._base)
            self._read[key] = (data, parse_component(data))
        return self._read[key]

    def everything(self) -> Mapping[str, ComponentManifest]:
        """All components of the update, by keyform."""
        return self._everything

    @cached_property
    def _base(self) -> bytes | None:
        return self._reader.base_for(self.package)

    @cached_property
    def _everything(self) -> Mapping[str, ComponentManifest]:
        return {key: self.component(key)[1] for key in self.package.manifests}

    def select(self, plan: Plan) -> Selection:
        """Components and deployments that a plan asks for, nested deployments included.

        Raises:
            DamagedPackage: a deployment is not in the update.
            NotSupported: `baseless`, a component is neither in the update nor in the image.
        """
        selection = Selection()
        for package, update, identity in plan.deployments:
            self._deployment(selection, package, update, identity, 0)
        return selection

    def _deployment(
        self,
        selection: Selection,
        package: PackagePlan,
        update: UpdatePlan,
        identity: AssemblyIdentity,
        depth: int,
    ) -> None:
        key = keyform(identity)
        if depth > _MAX_DEPTH:
            raise DamagedPackage(f"deployments nested more than {_MAX_DEPTH} deep at {key}")
        if key not in self.package.manifests:
            raise DamagedPackage(f"the manifest of the deployment {key} is missing")
        _, manifest = self.component(key)
        own = deployment_key(manifest.identity)
        component = self._add(selection, package, key, update.state, own)
        carried = (package.identity.package_name, update.update.name, key)
        if carried in selection.carried:
            return
        selection.carried.add(carried)
        catalog = self._catalog(package.identity).thumbprint
        listed = tuple(map(keyform, manifest.installs))
        selection.deployments.append(Deployment(component, package, update, catalog, listed))
        for one in manifest.installs:
            self._listed(selection, package, update, one, own, depth)

    def _catalog(self, identity: AssemblyIdentity) -> Catalog:
        found = self.package.package(identity)
        if found is None or found.catalog is None:
            raise Untrusted("catalog", f"there is no catalog for {identity.package_name}")
        return found.catalog

    def _listed(
        self,
        selection: Selection,
        package: PackagePlan,
        update: UpdatePlan,
        identity: AssemblyIdentity,
        owner: str,
        depth: int,
    ) -> None:
        key = keyform(identity)
        if key not in self.package.manifests:
            self._present(selection, identity, update, owner)
        elif self.component(key)[1].is_deployment:
            self._deployment(selection, package, update, identity, depth + 1)
        else:
            self._add(selection, package, key, update.state, owner)

    def _add(
        self, selection: Selection, package: PackagePlan, key: str, state: int, owner: str
    ) -> Component:
        """Take a component in; the store will name the catalog of its package as its proof."""
        data, manifest = self.component(key)
        if not self._catalog(package.identity).lists(data):
            text = f"the catalog of {package.identity.package_name} does not list {key}"
            raise Untrusted("manifest-hash", text)
        known = selection.components.get(key)
        owners = dict.fromkeys((*(known.deployments if known else ()), owner))
        state = max(state, known.state if known else 0)
        selection.components[key] = Component(data, manifest, state, tuple(owners))
        return selection.components[key]

    def _present(
        self, selection: Selection, identity: AssemblyIdentity, update: UpdatePlan, owner: str
    ) -> None:
        """A component that only the image has must be there already as far as it is wanted."""
        installed = identity.version in self._store.installed_versions(identity)
        staged = self._store.has_component(identity)
        if not (installed or (staged and update.state < 0x70)):
            text = f"{keyform(identity)} is neither in the update nor installed in the image"
            raise NotSupported("baseless", text)
        selection.present.setdefault(keyform(identity), []).append(owner)
