"""Values whose meaning is not public, copied from siblings of the same kind in the same image.

Nothing is invented: a rule that the image does not show is refused by its name, as
`calibration:<rule>`. What is copied, and how siblings are chosen:
docs/internals/component-store.md.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TypeVar

from wimsmith.errors import DamagedInput, NotFound, NotSupported
from wimsmith.offline.components.store.lookups import (
    CATALOGS,
    COMPONENTS,
    DEPLOYMENTS,
    PACKAGE_INDEX,
    PACKAGES,
    Store,
    parse_identity_string,
)
from wimsmith.offline.components.store.references import (
    Reference,
    parse_reference,
    split_identifier,
)
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.names import keyform, string_hash
from wimsmith.offline.manifests.package import PackageManifest, Update, parse_package
from wimsmith.offline.planning.state import StoredPackage
from wimsmith.offline.registry.values import Value, ValueType

MAX_SAMPLE = 1000
_HASH_DIGITS = 16
_INSTALLED_MARK = "i!"
_NOT_ELEVATED = (frozenset[str](), frozenset(["unknown"]))
_VISIBLE, _HIDDEN = 1, 2
_T = TypeVar("_T")

BACKUP_NAME = re.compile(r".+_[0-9a-f]{16}_(.+)_([0-9a-f]{8})")
BACKUP_RULES: tuple[Callable[[str], str], ...] = (
    lambda name: f"{string_hash(name) & 0xFFFFFFFF:08x}",
    lambda name: f"{string_hash(name) >> 32:08x}",
    lambda name: f"{(string_hash(name) >> 32) ^ (string_hash(name) & 0xFFFFFFFF):08x}",
)
"""Hashes of a file name that images may use; which one is right, the image shows."""


class ThumbprintRule(StrEnum):
    """What `CatalogThumbprint` of a deployment is the SHA-256 of."""

    CATALOG = "catalog"
    DEPLOYMENT_MANIFEST = "deployment-manifest"


@dataclass(frozen=True, slots=True)
class ComponentSample:
    """One component key of the image; `file_flags` are the data of its `f!` values.

    It is installed if a deployment that names it is, and a winner if it is among the winners.
    """

    key: str
    identity: AssemblyIdentity
    is_deployment: bool
    is_installed: bool
    is_winner: bool
    flags: int | None
    file_flags: tuple[int, ...]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class PackageSample:
    """One package key: its values, and the flags of its owners by kind."""

    name: str
    is_top_level: bool
    owner_flags: tuple[int, ...]
    numbers: dict[str, int]


class Siblings:
    """Answers "which value do siblings have" for one image; samples are taken once."""

    def __init__(self, store: Store) -> None:
        """Sample `store`, which must be as it was before the update when it is first asked."""
        self._store = store
        self._manifests: dict[str, PackageManifest | None] = {}
        self._elevations: dict[str, frozenset[str]] = {}

    @property
    def store(self) -> Store:
        """The image as it was."""
        return self._store

    def component_flags(
        self, identity: AssemblyIdentity, *, is_deployment: bool, has_files: bool
    ) -> int | None:
        """`CF` of a component; None where siblings have no such value.

        Raises:
            NotSupported: `calibration:CF`, siblings are missing or disagree.
        """
        tiers = (
            self._flags.get(identity.family, []),
            self._flags.get((is_deployment, has_files), []),
        )
        return _most_common("CF", tiers, self._flags.get(is_deployment, []))

    @cached_property
    def _flags(self) -> dict[object, list[int | None]]:
        """`CF` of components that are complete: by family, by kind, and by kind with files."""
        found: dict[object, list[int | None]] = {}
        for one in self._components:
            kinds = (one.is_deployment, (one.is_deployment, bool(one.file_flags)))
            for key in (one.identity.family, *kinds) if one.is_complete else ():
                found.setdefault(key, []).append(one.flags)
        return found

    def file_flags(self, *, is_installed: bool) -> int:
        """Data of the `f!` values of a component.

        Raises:
            NotSupported: `calibration:f!`, no component in the image has such values.
        """
        flags = [(one.is_installed, flag) for one in self._components for flag in one.file_flags]
        same = [flag for installed, flag in flags if installed == is_installed]
        return _most_common("f!", (same,), [flag for _, flag in flags])

    def reference_data(self, mark: str, update: Update) -> bytes:
        """Opaque data of a reference with `mark`, as updates of the same elevation have it.

        Raises:
            NotSupported: `calibration:p!` and so on, siblings are missing or disagree.
        """
        marked = [one for one in self._references if one.mark == mark]
        if len({one.data for one in marked}) == 1:
            return marked[0].data
        kind = _elevation(update)
        same = [one.data for one in marked if self._elevation_of(one.identifier) == kind]
        return _most_common(mark, (same, self._of_other_marks(kind)), [])

    def _of_other_marks(self, kind: frozenset[str]) -> list[bytes]:
        """Data of the other marks of a kind, where the image shows that marks make no difference.

        That is so if every elevated update that has been installed carries the same data under
        all its marks.
        """
        elevated: dict[str, set[bytes]] = {}
        installed: set[str] = set()
        for one in self._references:
            if kind and self._elevation_of(one.identifier) not in _NOT_ELEVATED:
                elevated.setdefault(one.identifier, set()).add(one.data)
                if one.mark == _INSTALLED_MARK:
                    installed.add(one.identifier)
        if not installed or any(len(elevated[one]) > 1 for one in installed):
            return []
        return [
            data
            for identifier, found in elevated.items()
            for data in found
            if self._elevation_of(identifier) == kind
        ]

    def owner_flag(self, *, is_top_level: bool) -> int:
        """High word of the values below `Owners`.

        Raises:
            NotSupported: `calibration:owners`, siblings are missing or disagree.
        """
        same = [flag for one in self._packages_of(top=is_top_level) for flag in one.owner_flags]
        everyone = [flag for one in self._packages for flag in one.owner_flags]
        return _most_common("owners", (same,), everyone)

    def package_number(self, name: str) -> int | None:
        """A DWORD value that package keys carry, such as Trusted; None where they have none.

        Raises:
            NotSupported: `calibration:<name>`, the image has no package.
        """
        return _most_common(name.lower(), ([one.numbers.get(name) for one in self._packages],), [])

    def visibility(self, name: str, *, hidden: bool) -> int | None:
        """What `Visibility` or `DefVis` is for packages that users see, or that they do not.

        Packages that others own are hidden ones; where there are none, the documented numbers
        (1 visible, 2 hidden) count if all packages have one of them.

        Raises:
            NotSupported: `calibration:<name>`, the image does not show the value.
        """
        owned = [one.numbers.get(name) for one in self._packages_of(top=False)]
        own = [one.numbers.get(name) for one in self._packages_of(top=True)]
        if not owned and set(own) <= {_VISIBLE, _HIDDEN}:
            return _HIDDEN if hidden else _VISIBLE
        of_hidden = _most_common(name.lower(), (owned,), [])
        if hidden:
            return of_hidden
        return _most_common(name.lower(), ([one for one in own if one != of_hidden], own), [])

    @cached_property
    def thumbprint_rule(self) -> ThumbprintRule:
        """What the thumbprints of existing deployments are made of.

        Raises:
            NotSupported: `calibration:thumbprint`, neither rule explains the image's own values.
        """
        seen = self._thumbprints
        for rule in ThumbprintRule:
            if seen and all(rule in rules for _, rules in seen):
                return rule
        raise _refusal("thumbprint", f"{len(seen)} deployments follow no known rule")

    @cached_property
    def thumbprint_is_upper(self) -> bool:
        """Whether the image writes its thumbprints in capitals."""
        return any(text != text.lower() for text, _ in self._thumbprints)

    @cached_property
    def deployments_win(self) -> bool:
        """Whether deployments are entered among the winners, as components are.

        Raises:
            NotSupported: `calibration:winners`, the image has no deployment to tell.
        """
        seen = [one.is_winner for one in self._components if one.is_deployment and one.is_installed]
        return _most_common("winners", (seen,), [])

    @cached_property
    def payload_folder_security(self) -> bytes | None:
        """Descriptor of the payload folders of components, None if the image shows none."""
        for sample in self._components:
            folder = self._store.draft.find(self._store.payload_path(sample.key))
            if folder is not None and folder.is_directory and folder.security is not None:
                return folder.security
        return None

    @cached_property
    def owner_is_top(self) -> bool:
        """Whether packages are owned by the topmost package rather than by the next one up."""
        top = {one.name.lower() for one in self._packages_of(top=True)}
        owners = [
            value.name.lower()
            for sample in self._packages_of(top=False)
            for value in self._store.software.values(rf"{PACKAGES}\{sample.name}\Owners")
        ]
        known = {one.name.lower() for one in self._packages}
        return all(owner in top for owner in owners if owner in known)

    def backup_suffix(self, file_name: str) -> str:
        r"""What follows `<keyform>_<file name>_` in the name of a copy in `WinSxS\\Backup`.

        Raises:
            NotSupported: `calibration:backup`, the copies in the image follow no known rule.
        """
        for name, suffix in self._backups:
            if name == file_name.lower():
                return suffix
        for rule in BACKUP_RULES:
            if self._backups and all(rule(name) == suffix for name, suffix in self._backups):
                return rule(file_name.lower())
        raise _refusal("backup", f"{len(self._backups)} copies in the image follow no known rule")

    @cached_property
    def backups_hold_manifests(self) -> bool:
        """Whether the image keeps copies of the manifests beside those of the files."""
        names = self._store.draft.names_in(f"{self._store.payload_path('Backup')}")
        return any(name.lower().endswith(".manifest") for name in names)

    @cached_property
    def _backups(self) -> tuple[tuple[str, str], ...]:
        names = self._store.draft.names_in(f"{self._store.payload_path('Backup')}")
        found = (BACKUP_NAME.fullmatch(name.lower()) for name in names)
        return tuple(_sample([(match[1], match[2]) for match in found if match]))

    def index_values(self, identity: AssemblyIdentity) -> tuple[Value, ...]:
        """Values of a package's key in `PackageIndex`, written as siblings have theirs.

        Raises:
            NotSupported: `calibration:package-index`, no installed package has such a key.
        """
        for sibling in self._some_packages:
            if sibling.state < PackageState.INSTALLED:
                continue
            path = rf"{PACKAGE_INDEX}\{sibling.identity.package_index_name}"
            values = tuple(self._store.software.values(path))
            if self._store.software.exists(path):
                return tuple(_rewritten(one, sibling, identity) for one in values)
        raise _refusal("package-index", "no installed package is in the index")

    @cached_property
    def _components(self) -> tuple[ComponentSample, ...]:
        keys = list(self._store.components.subkeys(COMPONENTS))
        return tuple(one for key in _sample(keys) if (one := self._component(key)))

    def _component(self, key: str) -> ComponentSample | None:
        values = {one.name: one for one in self._store.components.values(rf"{COMPONENTS}\{key}")}
        identity = _identity_of(values.get("identity"))
        if identity is None:
            return None
        folder = self._store.draft.find(self._store.payload_path(key))
        file_flags = tuple(v.dword() for name, v in values.items() if name.startswith("f!"))
        return ComponentSample(
            key=key,
            identity=identity,
            is_deployment=any(_is_own_mark(name, key) for name in values),
            is_installed=any(self._is_installed(name[2:]) for name in values if name[:2] == "c!"),
            is_winner=identity.version in self._store.installed_versions(identity),
            flags=values["CF"].dword() if "CF" in values else None,
            file_flags=file_flags,
            is_complete=bool(file_flags) == (folder is not None),
        )

    def _is_installed(self, deployment: str) -> bool:
        """Whether a deployment has been installed, and not only staged, for anyone."""
        values = self._store.components.values(rf"{DEPLOYMENTS}\{deployment}")
        return any(value.name.startswith("i!") for value in values)

    @cached_property
    def _deployment_keys(self) -> tuple[str, ...]:
        return tuple(_sample(list(self._store.components.subkeys(DEPLOYMENTS))))

    @cached_property
    def _references(self) -> tuple[Reference, ...]:
        return tuple(
            reference
            for key in self._deployment_keys
            for value in self._store.components.values(rf"{DEPLOYMENTS}\{key}")
            if (reference := parse_reference(value))
        )

    @cached_property
    def _thumbprints(self) -> tuple[tuple[str, set[ThumbprintRule]], ...]:
        return tuple(self._seen_thumbprints())

    def _seen_thumbprints(self) -> Iterator[tuple[str, set[ThumbprintRule]]]:
        for key in self._deployment_keys:
            path = rf"{DEPLOYMENTS}\{key}"
            value = self._store.components.value(path, "CatalogThumbprint")
            identity = _identity_of(self._store.components.value(path, "appid"))
            if value is not None and identity is not None:
                yield value.text(), self._rules(value.text(), identity)

    def _rules(self, thumbprint: str, identity: AssemblyIdentity) -> set[ThumbprintRule]:
        rules = set()
        if self._store.components.exists(rf"{CATALOGS}\{thumbprint}"):
            rules.add(ThumbprintRule.CATALOG)
        digest = self._store.component_value(keyform(identity), "S256H")
        if digest is not None and digest.data.hex() == thumbprint.lower():
            rules.add(ThumbprintRule.DEPLOYMENT_MANIFEST)
        return rules

    @cached_property
    def _some_packages(self) -> tuple[StoredPackage, ...]:
        return tuple(_sample(sorted(self._store.all_packages(), key=lambda one: one.name)))

    @cached_property
    def _packages(self) -> tuple[PackageSample, ...]:
        return tuple(self._package(one.name) for one in self._some_packages)

    def _packages_of(self, *, top: bool) -> list[PackageSample]:
        return [one for one in self._packages if one.is_top_level == top]

    def _package(self, name: str) -> PackageSample:
        key = rf"{PACKAGES}\{name}"
        owners = list(self._store.software.values(rf"{key}\Owners"))
        numbers = {
            value.name: value.dword()
            for value in self._store.software.values(key)
            if value.type == ValueType.DWORD
        }
        return PackageSample(
            name=name,
            is_top_level=not owners or any(one.name.lower() == name.lower() for one in owners),
            owner_flags=tuple(one.dword() >> 16 for one in owners),
            numbers=numbers,
        )

    def _elevation_of(self, identifier: str) -> frozenset[str]:
        if identifier not in self._elevations:
            self._elevations[identifier] = self._read_elevation(identifier)
        return self._elevations[identifier]

    def _read_elevation(self, identifier: str) -> frozenset[str]:
        package, update_name = split_identifier(identifier)
        manifest = self._manifest(package)
        for update in manifest.updates if manifest else ():
            if update.name.lower() == update_name.lower():
                return _elevation(update)
        return frozenset(["unknown"])

    def _manifest(self, package_name: str) -> PackageManifest | None:
        if package_name not in self._manifests:
            self._manifests[package_name] = self._read_manifest(package_name)
        return self._manifests[package_name]

    def _read_manifest(self, package_name: str) -> PackageManifest | None:
        path = f"{self._store.image.windows}/servicing/Packages/{package_name}.mum"
        try:
            return parse_package(self._store.draft.read(path))
        except (NotFound, DamagedInput):
            return None  # a sibling that cannot be read is no example


def _elevation(update: Update) -> frozenset[str]:
    if update.applicable is None:
        return frozenset()
    return frozenset(one.elevate for one in update.applicable.components)


def _identity_of(value: Value | None) -> AssemblyIdentity | None:
    if value is None or not value.data.isascii():
        return None
    try:
        return parse_identity_string(value.data.decode("ascii"))
    except DamagedInput:
        return None  # a sibling that cannot be read is no example


def _is_own_mark(value_name: str, key: str) -> bool:
    """Whether a `c!` value names the component itself: both names end in the same hash."""
    return value_name.startswith("c!") and value_name[-_HASH_DIGITS:] == key[-_HASH_DIGITS:]


def _sample(names: Sequence[_T]) -> Sequence[_T]:
    step = max(1, -(-len(names) // MAX_SAMPLE))
    return names[::step]


def _most_common(rule: str, tiers: Iterable[Sequence[_T]], everyone: Sequence[_T]) -> _T:
    """What most siblings of the nearest kind that exists have; `everyone` must be unanimous."""
    for tier in tiers:
        if tier:
            counts = Counter(tier)
            highest = max(counts.values())
            return min((one for one in counts if counts[one] == highest), key=repr)
    if len(set(everyone)) == 1:
        return everyone[0]
    raise _refusal(rule, "the image has no sibling that shows the value")


def _refusal(rule: str, text: str) -> NotSupported:
    return NotSupported(f"calibration:{rule}", text)


def _rewritten(value: Value, sibling: StoredPackage, identity: AssemblyIdentity) -> Value:
    """A value of a sibling with the sibling's name and version replaced by those of another."""
    replace = _replacer(sibling.identity, identity)
    data = value.data
    if value.type in {ValueType.SZ, ValueType.EXPAND_SZ}:
        data = (replace(value.text()) + "\0").encode("utf-16-le")
    return Value(replace(value.name), value.type, data)


def _replacer(old: AssemblyIdentity, new: AssemblyIdentity) -> Callable[[str], str]:
    names: dict[str, str] = {
        old.package_name.lower(): new.package_name,
        _text(old.version): _text(new.version),
    }

    def replace(text: str) -> str:
        return names.get(text.lower(), text)

    return replace


def _text(version: Version) -> str:
    return str(version)
