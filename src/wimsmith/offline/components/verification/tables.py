r"""What the hives say of a store, read once: packages, deployments, catalogs, components, winners.

Names are keys in lower case, as the registry does not distinguish case. Values that are not of the
form they should have read as absent: the checks say so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wimsmith.errors import DamagedManifest
from wimsmith.offline.components.store import lookups
from wimsmith.offline.components.store.references import Reference, parse_reference
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.registry.hive import Hive, Key
from wimsmith.offline.registry.values import Value, ValueType

_DIGEST_BYTES = 32
_DWORD_BYTES = 4


@dataclass(frozen=True, slots=True)
class ComponentRow:
    r"""A key of `DerivedData\Components`; `files` are the names of its `f!` values."""

    key: str
    identity: AssemblyIdentity | None
    digest: bytes | None
    flags: int
    deployments: tuple[str, ...]
    files: frozenset[str]


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    r"""A key of `CanonicalData\Deployments`."""

    key: str
    identity: AssemblyIdentity | None
    thumbprint: str
    references: tuple[Reference, ...]

    @property
    def is_installed(self) -> bool:
        """Whether a package has installed it, and not only staged."""
        return any(one.mark == "i!" for one in self.references)


@dataclass(frozen=True, slots=True)
class PackageRow:
    """A key of `Packages`; `updates` are the states of its updates by name."""

    name: str
    state: int
    owners: tuple[str, ...]
    updates: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Branch:
    """A subkey of a family of `Winners`: the version in use, and all that are installed."""

    winner: str
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FamilyRow:
    """A key of `Winners`: the branch in use, and all branches by `major.minor`."""

    branch: str
    branches: Mapping[str, Branch]

    @property
    def winner(self) -> str:
        """The version in use, empty if the key does not say."""
        found = self.branches.get(self.branch)
        return found.winner if found else ""


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything by name in lower case."""

    packages: Mapping[str, PackageRow]
    index: Mapping[str, tuple[str, ...]]
    deployments: Mapping[str, DeploymentRow]
    catalogs: Mapping[str, tuple[str, ...]]
    components: Mapping[str, ComponentRow]
    families: Mapping[str, FamilyRow]


def read_tables(software: Hive, components: Hive | None) -> Tables:
    """Read both hives; without COMPONENTS there are packages only.

    Raises:
        DamagedHive: a key or value cannot be read.
    """
    return Tables(
        packages={one.name.lower(): _package(one) for one in _below(software, lookups.PACKAGES)},
        index={
            one.name.lower(): tuple(_indexed(one))
            for one in _below(software, lookups.PACKAGE_INDEX)
        },
        deployments={
            one.name.lower(): _deployment(one) for one in _below(components, lookups.DEPLOYMENTS)
        },
        catalogs={
            one.name.lower(): tuple(_marks(one, "c!"))
            for one in _below(components, lookups.CATALOGS)
        },
        components={
            one.name.lower(): _component(one) for one in _below(components, lookups.COMPONENTS)
        },
        families={one.name.lower(): _family(one) for one in _below(software, lookups.WINNERS)},
    )


def _below(hive: Hive | None, path: str) -> Iterator[Key]:
    key = hive.key(path) if hive else None
    if key is not None:
        yield from key.subkeys()


def _package(key: Key) -> PackageRow:
    owners, updates = key.subkey("Owners"), key.subkey("Updates")
    return PackageRow(
        name=key.name,
        state=_number(key.value("CurrentState")),
        owners=tuple(one.name for one in owners.values()) if owners else (),
        updates={one.name.lower(): _number(one) for one in updates.values()} if updates else {},
    )


def _indexed(key: Key) -> Iterator[str]:
    """Names of packages in a key of the index, as names or as texts of values."""
    for value in key.values():
        texts = [value.name]
        if value.type in {ValueType.SZ, ValueType.EXPAND_SZ}:
            texts.append(value.text())
        yield from (text for text in texts if text.count("~") == 4)


def _deployment(key: Key) -> DeploymentRow:
    values = list(key.values())
    named = {one.name.lower(): one for one in values}
    thumbprint = named.get("catalogthumbprint")
    references = tuple(found for one in values if (found := parse_reference(one)))
    return DeploymentRow(
        key=key.name,
        identity=_identity(named.get("appid")),
        thumbprint=thumbprint.text().lower() if thumbprint else "",
        references=references,
    )


def _component(key: Key) -> ComponentRow:
    named: dict[str, Value] = {}
    deployments, files = [], []
    for value in key.values():
        mark, name = value.name[:2].lower(), value.name[2:].lower()
        if mark == "c!":
            deployments.append(name)
        elif mark == "f!":
            files.append(name)
        else:
            named[value.name.lower()] = value
    digest = named.get("s256h")
    return ComponentRow(
        key=key.name,
        identity=_identity(named.get("identity")),
        digest=digest.data if digest and len(digest.data) == _DIGEST_BYTES else None,
        flags=_number(named.get("cf")),
        deployments=tuple(deployments),
        files=frozenset(files),
    )


def _family(key: Key) -> FamilyRow:
    return FamilyRow(_text(key.value("")), {one.name: _branch(one) for one in key.subkeys()})


def _branch(key: Key) -> Branch:
    versions = tuple(one.name for one in key.values() if one.name)
    return Branch(_text(key.value("")), versions)


def _marks(key: Key, mark: str) -> Iterator[str]:
    for value in key.values():
        if value.name[: len(mark)].lower() == mark:
            yield value.name[len(mark) :].lower()


def _identity(value: Value | None) -> AssemblyIdentity | None:
    if value is None or not value.data.isascii():
        return None
    try:
        return lookups.parse_identity_string(value.data.decode("ascii"))
    except DamagedManifest:
        return None  # the check of the key says that it has no identity


def _number(value: Value | None) -> int:
    return value.dword() if value and len(value.data) == _DWORD_BYTES else 0


def _text(value: Value | None) -> str:
    return value.text() if value else ""
