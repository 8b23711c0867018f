"""What a component store holds, as plain values: all that the rules of clean-up look at."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wimsmith.errors import DamagedHive, DamagedInput
from wimsmith.offline.components.store.lookups import (
    COMPONENTS,
    DEPLOYMENTS,
    PACKAGES,
    WINNERS,
    Store,
    stated_identity,
)
from wimsmith.offline.components.store.references import parse_reference, split_identifier
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version, parse_package_name
from wimsmith.offline.manifests.names import keyform, keyform_without_version
from wimsmith.offline.registry.values import Value

_HASH_DIGITS = 16
_REFERENCE = re.compile(r"[a-z]!.*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """A package key; `identity` is None where the name is not that of a package.

    `owners` are the packages that own it, in lower case; those there for their own sake own
    themselves.
    """

    name: str
    identity: AssemblyIdentity | None
    state: int
    owners: frozenset[str]
    is_checkpoint: bool


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """A deployment key with the packages whose references it carries, in lower case.

    `installers` are those of them with an `i!`. It is not understood if it has no reference, or
    one that cannot be read.
    """

    key: str
    users: frozenset[str]
    installers: frozenset[str]
    is_understood: bool


@dataclass(frozen=True, slots=True)
class ComponentFacts:
    r"""A component key.

    Attributes:
        identity: None where the value `identity` is not one, or leads to another key.
        family: its key below `Winners`.
        deployments: keys of the deployments that it names, in lower case.
        is_installed: whether its version is entered below `Winners`.
        winner: the version that wins in its branch.
        file_values: names of its `f!` values.
        has_payload: whether its folder is in the store.
    """

    key: str
    identity: AssemblyIdentity | None
    family: str
    deployments: frozenset[str]
    is_deployment: bool
    is_installed: bool
    winner: Version | None
    file_values: tuple[str, ...]
    has_payload: bool
    flags: int

    @property
    def wins(self) -> bool:
        return self.is_installed and self.identity is not None and self._highest

    @property
    def is_superseded(self) -> bool:
        """Whether a higher version of its branch wins."""
        return self.identity is not None and self.winner is not None and not self._highest

    @property
    def _highest(self) -> bool:
        assert self.identity is not None
        return self.winner is None or self.identity.version >= self.winner


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """A whole store; packages, deployments and components by their names in lower case."""

    packages: Mapping[str, PackageFacts]
    deployments: Mapping[str, DeploymentFacts]
    components: Mapping[str, ComponentFacts]

    def replaced_packages(self) -> dict[str, PackageFacts]:
        """Superseded packages, and the parts that nobody but those has asked for.

        Windows lowers the state of a package when a higher version of its own name comes. Parts of
        rollups are named after their article, so theirs stays, and only `Owners` tells.
        """
        known = {name: one for name, one in self.packages.items() if one.identity is not None}
        found = {name: one for name, one in known.items() if one.state == PackageState.SUPERSEDED}
        parts = {name: one for name, one in known.items() if one.owners and name not in one.owners}
        while True:
            more = {
                name: one
                for name, one in parts.items()
                if name not in found and one.owners <= found.keys()
            }
            if not more:
                return found
            found |= more


def read_facts(store: Store) -> StoreFacts:
    """Read the facts of a store, with the edits made so far.

    Raises:
        DamagedHive: a value cannot be read at all.
    """
    return StoreFacts(
        packages={one.name.lower(): one for one in _packages(store)},
        deployments={one.key.lower(): one for one in _deployments(store)},
        components={one.key.lower(): one for one in _components(store)},
    )


def _packages(store: Store) -> Iterator[PackageFacts]:
    software = store.software
    for name in software.subkeys(PACKAGES):
        key = rf"{PACKAGES}\{name}"
        state, baseline = software.value(key, "CurrentState"), software.value(key, "Baseline")
        owners = {value.name.lower() for value in software.values(rf"{key}\Owners")}
        yield PackageFacts(
            name=name,
            identity=_package_identity(name),
            state=state.dword() if state else 0,
            owners=frozenset(owners),
            is_checkpoint=baseline is not None and any(baseline.data),
        )


def _package_identity(name: str) -> AssemblyIdentity | None:
    try:
        return parse_package_name(name)
    except DamagedInput:
        return None  # what the name means is not known: the rules keep such a package


def _deployments(store: Store) -> Iterator[DeploymentFacts]:
    for key in store.components.subkeys(DEPLOYMENTS):
        values = [
            one
            for one in store.components.values(rf"{DEPLOYMENTS}\{key}")
            if _REFERENCE.fullmatch(one.name)
        ]
        users = {value: user_of(value) for value in values}
        named = frozenset(name for name in users.values() if name is not None)
        yield DeploymentFacts(
            key=key,
            users=named,
            installers=frozenset(
                name for value, name in users.items() if name and value.name.startswith("i!")
            ),
            is_understood=bool(values) and None not in users.values(),
        )


def user_of(value: Value) -> str | None:
    """The package that a reference is about, in lower case; None if it cannot be read."""
    reference = parse_reference(value)
    if reference is None:
        return None
    return split_identifier(reference.identifier)[0].lower()


def _components(store: Store) -> Iterator[ComponentFacts]:
    for key in store.components.subkeys(COMPONENTS):
        values = {one.name: one for one in store.components.values(rf"{COMPONENTS}\{key}")}
        identity = _identity(values.get("identity"), key)
        folder = store.draft.find(store.payload_path(key))
        deployments = frozenset(name[2:].lower() for name in values if name.startswith("c!"))
        family, is_installed, winner = _standing(store, identity)
        flags, digits = values.get("CF"), key.lower()[-_HASH_DIGITS:]
        yield ComponentFacts(
            key=key,
            identity=identity,
            family=family,
            deployments=deployments,
            is_deployment=any(one.endswith(digits) for one in deployments),
            is_installed=is_installed,
            winner=winner,
            file_values=tuple(name for name in values if name.startswith("f!")),
            has_payload=folder is not None and folder.is_directory,
            flags=flags.dword() if flags else 0,
        )


def _standing(store: Store, identity: AssemblyIdentity | None) -> tuple[str, bool, Version | None]:
    """The family of a component, whether its version is installed, and which one wins."""
    if identity is None:
        return "", False, None
    family = keyform_without_version(identity)
    branch = rf"{WINNERS}\{family}\{identity.version.branch}"
    default = store.software.value(branch)
    is_installed = store.software.value(branch, str(identity.version)) is not None
    return family, is_installed, _version(default.text()) if default else None


def _version(text: str) -> Version:
    try:
        return Version.parse(text)
    except DamagedInput as error:
        raise DamagedHive(f"SOFTWARE names a winning version {text[:60]!r}") from error


def _identity(value: Value | None, key: str) -> AssemblyIdentity | None:
    identity = stated_identity(value)
    return identity if identity is not None and keyform(identity) == key.lower() else None
