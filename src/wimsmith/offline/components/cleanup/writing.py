"""Carrying out what clean-up has decided, in a draft of the image."""

import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from wimsmith.offline.components.cleanup.closure import PAYLOAD_DELETED
from wimsmith.offline.components.cleanup.facts import ComponentFacts, StoreFacts, user_of
from wimsmith.offline.components.cleanup.report import Entry, Fate, Kind, Reason
from wimsmith.offline.components.cleanup.rules import Decision
from wimsmith.offline.components.install.cbs import (
    CATALOG_ROOT,
    catalog_path,
    drop_caches,
    package_folder,
)
from wimsmith.offline.components.store import winners
from wimsmith.offline.components.store.lookups import (
    CATALOGS,
    CBS,
    COMPONENTS,
    DEPLOYMENTS,
    PACKAGE_INDEX,
    PACKAGES,
    WINSXS,
    Store,
)
from wimsmith.offline.components.store.references import split_identifier
from wimsmith.offline.planning.state import StoredPackage
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.registry.values import ValueType, encode_dword, encode_text

log = logging.getLogger("wimsmith.offline")

_BACKUP = re.compile(
    r"(.+?_\d+\.\d+\.\d+\.\d+_[^_]+_[0-9a-f]{16})(?:_.+|\.manifest)", re.IGNORECASE | re.ASCII
)
_DETECT_INDEXES = ("PackageDetect", "UpdateDetect", "ComponentDetect")
_TEXTS = (ValueType.SZ, ValueType.EXPAND_SZ)
_CACHES = (f"{WINSXS}/ManifestCache", f"{WINSXS}/Temp/PendingDeletes", "CbsTemp")
"""Folders below that of Windows whose content Windows makes anew."""


class Writer:
    """Writes one decision; `facts` are those of the store before."""

    def __init__(self, store: Store, facts: StoreFacts, decision: Decision) -> None:
        self.store = store
        self.draft = store.draft
        self.facts = facts
        self.decision = decision
        self.removed_deployments = set(decision.deployments_with(Fate.REMOVED))
        self.removed_packages = set(decision.packages_with(Fate.REMOVED))

    def write(self, progress: Progress) -> tuple[Entry, ...]:
        """Write everything; the catalogs and caches that this has removed, and those left."""
        self._components(progress)
        self._deployments()
        catalogs = tuple(self._catalogs())
        self._packages()
        self._indexes()
        caches = tuple(self._caches())
        return catalogs + caches

    def _components(self, progress: Progress) -> None:
        backups = self._backups()
        total = len(self.facts.components)
        for done, (name, one) in enumerate(self.facts.components.items(), 1):
            fate = self.decision.components[name].fate
            key = rf"{COMPONENTS}\{one.key}"
            if fate is Fate.KEPT:
                for deployment in one.deployments & self.removed_deployments:
                    self.store.components.delete_value(key, f"c!{deployment}")
                continue
            for path in backups.get(name, ()):
                self.draft.remove(path)
            self.draft.remove(self.store.payload_path(one.key))
            if fate is Fate.REMOVED:
                if one.identity is not None:
                    winners.leave(self.store, one.identity)
                self.draft.remove(self.store.manifest_path(one.key))
                self.store.components.delete_key(key)
            else:
                self._empty(one)
            progress(Event("remove components", done, total))

    def _empty(self, one: ComponentFacts) -> None:
        """A component whose payload is gone says so, and forgets deployments that are gone."""
        key = rf"{COMPONENTS}\{one.key}"
        for deployment in one.deployments & self.removed_deployments:
            self.store.components.delete_value(key, f"c!{deployment}")
        if one.file_values:
            data = encode_dword(one.flags | PAYLOAD_DELETED)
            self.store.components.set_value(key, "CF", ValueType.DWORD, data)

    def _backups(self) -> Mapping[str, list[str]]:
        """Copies that are kept for a start of Windows that fails, by component in lower case."""
        folder = self.store.payload_path("Backup")
        found: dict[str, list[str]] = defaultdict(list)
        for name in self.draft.names_in(folder):
            match = _BACKUP.fullmatch(name)
            if match:
                found[match[1].lower()].append(f"{folder}/{name}")
        return found

    def _deployments(self) -> None:
        hive = self.store.components
        for name, one in self.facts.deployments.items():
            key = rf"{DEPLOYMENTS}\{one.key}"
            if name in self.removed_deployments:
                hive.delete_key(key)
            elif one.users & self.removed_packages:
                for value in list(hive.values(key)):
                    if user_of(value) in self.removed_packages:
                        hive.delete_value(key, value.name)

    def _catalogs(self) -> Iterator[Entry]:
        """Catalogs go when no deployment and no package is left that they vouch for."""
        hive = self.store.components
        needed = {self._content(self._catalog_of(name)) for name in self._packages_left()}
        leaving = {self._content(self._catalog_of(name)) for name in self.removed_packages}
        for catalog in list(hive.subkeys(CATALOGS)):
            key, path = rf"{CATALOGS}\{catalog}", catalog_path(self.store, catalog)
            gone = [
                value.name
                for value in hive.values(key)
                if value.name[2:].lower() in self.removed_deployments
            ]
            for name in gone:
                hive.delete_value(key, name)
            content = self._content(path)
            is_ours = bool(gone) or (content is not None and content in leaving)
            if is_ours and content not in needed and not any(True for _ in hive.values(key)):
                hive.delete_key(key)
                self.draft.remove(path)
                yield Entry(Kind.CATALOG, catalog, Fate.REMOVED, Reason.UNUSED)
            else:
                yield Entry(Kind.CATALOG, catalog, Fate.KEPT, Reason.IN_USE)

    def _packages_left(self) -> Iterator[str]:
        return (name for name in self.facts.packages if name not in self.removed_packages)

    def _catalog_of(self, package: str) -> str:
        return f"{package_folder(self.store)}/{self.facts.packages[package].name}.cat"

    def _content(self, path: str) -> str | None:
        found = self.draft.find(path)
        return found.sha1 if found else None

    def _packages(self) -> None:
        software, windows = self.store.software, self.store.image.windows
        for name in sorted(self.removed_packages):
            package = self.facts.packages[name]
            folder = package_folder(self.store)
            self.draft.remove(f"{folder}/{package.name}.mum")
            self.draft.remove(f"{folder}/{package.name}.cat")
            self.draft.remove(f"{windows}/{CATALOG_ROOT}/{package.name}.cat")
            software.delete_key(rf"{PACKAGES}\{package.name}")
            if package.identity is not None:
                self.store.forget_package(package.identity)
            log.info("Exec: Package: %s is superseded and removed", package.name)
        for name in self._packages_left():
            package = self.facts.packages[name]
            for owner in package.owners & self.removed_packages:
                software.delete_value(rf"{PACKAGES}\{package.name}\Owners", owner)

    def _indexes(self) -> None:
        """Take packages out of the indexes that lead to them."""
        software = self.store.software
        for name in sorted(self.removed_packages):
            identity = self.facts.packages[name].identity
            assert identity is not None, "packages that are not understood never leave"
            key = rf"{PACKAGE_INDEX}\{identity.package_index_name}"
            left = [one for one in self.store.packages_of(identity) if one.state]
            if left:
                self._repoint(key, {name: left[-1].name, str(identity.version): _number(left[-1])})
            else:
                software.delete_key(key)
        for index in _DETECT_INDEXES:
            self._leave_index(rf"{CBS}\{index}")

    def _repoint(self, key: str, others: Mapping[str, str]) -> None:
        """Let an index that names one version of a package name another one."""
        software = self.store.software
        for value in list(software.values(key)):
            name = others.get(value.name.lower(), value.name)
            data = value.data
            if value.type in _TEXTS and value.text().lower() in others:
                data = encode_text(others[value.text().lower()])
            if (name, data) != (value.name, value.data):
                software.delete_value(key, value.name)
                software.set_value(key, name, value.type, data)

    def _leave_index(self, index: str) -> None:
        """Values are called after a package, or after an update of it; keys that empty go."""
        software = self.store.software
        for subkey in list(software.subkeys(index)):
            key = rf"{index}\{subkey}"
            values = [value.name for value in software.values(key)]
            named = [name for name in values if self._is_removed(name.lower())]
            for name in named:
                software.delete_value(key, name)
            if subkey.lower() in self.removed_packages or (named and len(named) == len(values)):
                software.delete_key(key)

    def _is_removed(self, name: str) -> bool:
        package = split_identifier(name)[0]
        return name in self.removed_packages or package in self.removed_packages

    def _caches(self) -> Iterator[Entry]:
        drop_caches(self.store, [self.facts.packages[name].name for name in self.removed_packages])
        for cache in _CACHES:
            folder = f"{self.store.image.windows}/{cache}"
            for name in self.draft.names_in(folder):
                self.draft.remove(f"{folder}/{name}")
                yield Entry(Kind.CACHE, f"{folder}/{name}", Fate.REMOVED, Reason.DERIVED)


def _number(package: StoredPackage) -> str:
    return str(package.identity.version)
