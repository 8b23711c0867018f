"""What is looked at: components, deployments and packages of an image, as rules see them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from wimsmith.errors import DamagedInput
from wimsmith.offline.components.store.lookups import (
    COMPONENTS,
    DEPLOYMENTS,
    PACKAGES,
    Store,
)
from wimsmith.offline.manifests.component import ComponentManifest
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version, parse_package_name
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.paths import fold
from wimsmith.offline.registry.values import Value

_HASH_DIGITS = 16
_REFERENCE_MARKS = ("p!", "s!", "i!")
keyform_of = lru_cache(maxsize=1 << 15)(keyform)
"""As `keyform`, which several rules ask for the same identities."""
NO_MANIFEST = "no manifest"


@dataclass(frozen=True, slots=True)
class Component:
    r"""A key in `DerivedData\Components`, with its manifest.

    Attributes:
        stated: the identity in the value `identity`, None where there is none to be read.
        xml: the manifest as the catalog lists it, empty where there is none to be read.
        fault: why there is none.
    """

    key: str
    values: Mapping[str, Value]
    stated: AssemblyIdentity | None
    manifest: ComponentManifest | None = None
    xml: bytes = field(default=b"", repr=False)
    fault: str = ""

    @property
    def identity(self) -> AssemblyIdentity | None:
        """What it is: its manifest knows best."""
        return self.manifest.identity if self.manifest else self.stated

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.xml).digest()

    @property
    def owners(self) -> tuple[str, ...]:
        """Names of the deployments in its `c!` values."""
        return tuple(name[2:] for name in self.values if name.startswith("c!"))

    @property
    def is_misnamed(self) -> bool:
        """Whether its key is not the one computed: other rules then say nothing about it."""
        return self.identity is not None and keyform_of(self.identity) != self.key.lower()


@dataclass(frozen=True, slots=True)
class Deployment:
    r"""A key in `CanonicalData\Deployments`; `component` describes it, if the store has that."""

    key: str
    values: Mapping[str, Value]
    stated: AssemblyIdentity | None
    component: Component | None

    @property
    def identity(self) -> AssemblyIdentity | None:
        known = self.component.identity if self.component else None
        return known or self.stated


@dataclass(frozen=True, slots=True)
class Package:
    r"""A key in `Component Based Servicing\Packages`, with its files as they are stored."""

    key: str
    values: Mapping[str, Value]
    identity: AssemblyIdentity | None
    manifest: bytes | None = field(repr=False)
    catalog: bytes | None = field(repr=False)


class Inventory:
    """Names in one store, and what several rules ask of it."""

    def __init__(self, store: Store) -> None:
        """Names are listed when they are first asked for."""
        self.store = store
        self.listed: dict[str, frozenset[str]] = {}
        self._installed: dict[str, bool] = {}

    @cached_property
    def components(self) -> dict[str, str]:
        """Names of component keys as stored, by their folded form."""
        return {fold(name): name for name in self.store.components.subkeys(COMPONENTS)}

    @cached_property
    def deployments(self) -> dict[str, str]:
        """Names of deployment keys as stored, by their folded form."""
        return {fold(name): name for name in self.store.components.subkeys(DEPLOYMENTS)}

    @cached_property
    def packages(self) -> tuple[str, ...]:
        return tuple(sorted(self.store.software.subkeys(PACKAGES), key=fold))

    @cached_property
    def by_digits(self) -> dict[str, str]:
        """Component keys by the hash at their end, which deployments of the same name share."""
        return {folded[-_HASH_DIGITS:]: name for folded, name in self.components.items()}

    @cached_property
    def _deployments_by_digits(self) -> dict[str, str]:
        return {folded[-_HASH_DIGITS:]: name for folded, name in self.deployments.items()}

    @cached_property
    def heads(self) -> dict[str, list[str]]:
        """Component keys by `architecture_name_token`, for finding all versions of a family."""
        found: dict[str, list[str]] = {}
        for folded, name in self.components.items():
            found.setdefault(folded.rsplit("_", 3)[0], []).append(name)
        return found

    def component_values(self, key: str) -> dict[str, Value]:
        path = rf"{COMPONENTS}\{key}"
        return {one.name: one for one in self.store.components.values(path)}

    def deployment_values(self, key: str) -> dict[str, Value]:
        path = rf"{DEPLOYMENTS}\{key}"
        return {one.name: one for one in self.store.components.values(path)}

    def component_of(self, deployment: str) -> str | None:
        """The component key of a deployment, by the hash that both names end in."""
        return self.by_digits.get(fold(deployment)[-_HASH_DIGITS:])

    def deployment_of(self, component: str) -> str | None:
        """The deployment key of a component that is a deployment, by the same hash."""
        return self._deployments_by_digits.get(fold(component)[-_HASH_DIGITS:])

    def is_installed(self, deployment: str) -> bool:
        """Whether a deployment has been installed, and not only staged, for anyone."""
        folded = fold(deployment)
        if folded not in self._installed:
            self._installed[folded] = any(
                name.startswith("i!") for name in self.deployment_values(deployment)
            )
        return self._installed[folded]

    def is_used(self, component: Component) -> bool:
        """Whether a deployment that names the component is installed."""
        return any(self.is_installed(owner) for owner in component.owners)

    def wins(self, component: Component) -> bool:
        """Whether the component shows itself outside the store."""
        identity = component.identity
        if identity is None or component.manifest is None or component.manifest.is_deployment:
            return False
        if self.store.winning_version(identity) != identity.version:
            return False
        branch = self.store.winning_branch(identity)
        return not identity.is_alone or branch in {None, identity.version.branch}

    def versions_of(self, identity: AssemblyIdentity) -> list[str]:
        """Component keys of all versions of a family."""
        head = fold(keyform(identity)).rsplit("_", 3)[0]
        return [name for name in self.heads.get(head, ()) if _is_version(name, identity)]


def _is_version(name: str, identity: AssemblyIdentity) -> bool:
    """Whether a component key is that of a version of `identity`: its name alone tells."""
    try:
        version = Version.parse(name.rsplit("_", 3)[1])
    except (DamagedInput, IndexError):
        return False
    return keyform(replace(identity, version=version)) == name.lower()


def references(values: Iterable[str]) -> Sequence[str]:
    """Names of values that are references to a deployment."""
    return [name for name in values if name[:2] in _REFERENCE_MARKS]


def package_identity(name: str) -> AssemblyIdentity | None:
    """The identity that the name of a package key states, None where it is no such name."""
    try:
        return parse_package_name(name)
    except DamagedInput:
        return None
