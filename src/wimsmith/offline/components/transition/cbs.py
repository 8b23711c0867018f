r"""Keys and files of packages that go or change their state: `servicing`, catalogs, registry."""

import hashlib
import logging
from collections.abc import Iterable

from wimsmith.offline import paths
from wimsmith.offline.components.install.cbs import CATALOG_ROOT, catalog_path, package_folder
from wimsmith.offline.components.install.detections import INDEXES
from wimsmith.offline.components.store.lookups import (
    CATALOGS,
    CBS,
    PACKAGE_INDEX,
    PACKAGES,
    Store,
)
from wimsmith.offline.components.transition.context import Context
from wimsmith.offline.facts import PackageState
from wimsmith.offline.planning.state import StoredPackage
from wimsmith.offline.registry.values import ValueType, encode_dword

log = logging.getLogger("wimsmith.offline")


def drop_package_files(store: Store, package: StoredPackage) -> None:
    """Remove manifest and catalogs of a package; a catalog that others use stays in the store."""
    draft, folder = store.draft, package_folder(store)
    catalog = draft.find(f"{folder}/{package.name}.cat")
    draft.remove(f"{folder}/{package.name}.mum")
    draft.remove(f"{store.image.windows}/{CATALOG_ROOT}/{package.name}.cat")
    if catalog is None:
        return
    data = draft.read(f"{folder}/{package.name}.cat")
    draft.remove(f"{folder}/{package.name}.cat")
    thumbprint = hashlib.sha256(data).hexdigest()
    key = rf"{CATALOGS}\{thumbprint}"
    listed = any(one.name.startswith("c!") for one in store.components.values(key))
    if not listed and not _is_used(store, catalog.sha1):
        draft.remove(catalog_path(store, thumbprint))
        store.components.delete_key(key)


def _is_used(store: Store, sha1: str) -> bool:
    """Whether a package that stays has the same catalog."""
    folder = package_folder(store)
    for name in store.draft.names_in(folder):
        if name.lower().endswith(".cat"):
            found = store.draft.find(f"{folder}/{name}")
            if found is not None and found.sha1 == sha1:
                return True
    return False


def drop_package_key(context: Context, package: StoredPackage) -> None:
    """Delete the key of a package, and put the next lower version into the index."""
    store, software = context.store, context.store.software
    software.delete_key(rf"{PACKAGES}\{package.name}")
    store.forget_package(package.identity)
    path = rf"{PACKAGE_INDEX}\{package.identity.package_index_name}"
    software.delete_key(path)
    remaining = [one for one in store.packages_of(package.identity) if one.state]
    if remaining:
        newest = max(remaining, key=lambda one: one.identity.version)
        software.create_key(path)
        for value in context.siblings.index_values(newest.identity):
            software.set_value(path, value.name, value.type, value.data)
    log.info("Exec: Package: %s, state: 0x%02x", package.name, PackageState.ABSENT)


def drop_owner(store: Store, package: StoredPackage, owner: str) -> None:
    """Take an owner from a package that stays."""
    store.software.delete_value(rf"{PACKAGES}\{package.name}\Owners", owner)


def own_itself(context: Context, package: StoredPackage) -> None:
    """Make a package that nobody owns any longer one that is there for its own sake."""
    number = context.siblings.owner_flag(is_top_level=True) << 16 | package.state
    path = rf"{PACKAGES}\{package.name}\Owners"
    context.store.software.set_value(path, package.name, ValueType.DWORD, encode_dword(number))


def set_package_state(store: Store, package: StoredPackage, state: int) -> None:
    """Write the state of a package."""
    path = rf"{PACKAGES}\{package.name}"
    store.software.set_value(path, "CurrentState", ValueType.DWORD, encode_dword(state))
    store.remember_package(package.identity, package.name, state)
    log.info("Exec: Package: %s, state: 0x%02x", package.name, state)


def drop_detections(
    store: Store, names: Iterable[str], indexes: Iterable[str] = tuple(INDEXES)
) -> None:
    """Take packages out of the indexes of who has to be looked at again, with what empties."""
    gone = {paths.fold(name) for name in names}
    software = store.software
    for index in indexes:
        for below in list(software.subkeys(rf"{CBS}\{index}")):
            path = rf"{CBS}\{index}\{below}"
            values = list(software.values(path))
            named = [one for one in values if _belongs(one.name, gone)]
            for value in named:
                software.delete_value(path, value.name)
            is_empty = len(named) == len(values) and not any(software.subkeys(path))
            if paths.fold(below) in gone or (named and is_empty):
                software.delete_key(path)


def _belongs(name: str, gone: set[str]) -> bool:
    """Whether the name of a value is that of a package, or of an update of it, that goes."""
    folded = paths.fold(name)
    return folded in gone or any(folded.startswith(f"{one}.") for one in gone)
