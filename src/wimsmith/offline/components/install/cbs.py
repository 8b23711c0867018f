r"""What an update leaves as a package: `servicing\Packages`, catalogs, and its registry keys."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from wimsmith.offline.components.store.draft import Draft, File
from wimsmith.offline.components.store.lookups import (
    CATALOGS,
    CBS,
    PACKAGE_INDEX,
    PACKAGES,
    VERSIONED_INDEX,
    WINSXS,
    Store,
)
from wimsmith.offline.components.store.siblings import Siblings
from wimsmith.offline.facts import PackageState
from wimsmith.offline.packages.package import PackageFile
from wimsmith.offline.planning.applicability import PackagePlan
from wimsmith.offline.registry.values import ValueType, encode_dword, encode_text

log = logging.getLogger("wimsmith.offline")

CATALOG_ROOT = "System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}"
_CACHE = rf"{CBS}\ApplicabilityEvaluationCache"


@dataclass(frozen=True, slots=True)
class InstallFacts:
    """What package keys say of how they came in: client, place, user and time (FILETIME)."""

    client: str
    location: str
    user: str
    now: int


class Neighbours:
    """Puts files of the store beside others of their kind, with the descriptor those have."""

    def __init__(self, draft: Draft) -> None:
        """Examples are looked for once per folder and extension."""
        self._draft = draft
        self._examples: dict[tuple[str, str], File | None] = {}

    def put(self, path: str, data: bytes) -> None:
        """Put a file with the descriptor and attributes that its neighbours have."""
        folder, _, name = path.rpartition("/")
        kind = (folder, name.rpartition(".")[2].lower())
        if kind not in self._examples:
            self._examples[kind] = self._example(*kind)
        example = self._examples[kind]
        if example is None:
            self._draft.put_bytes(path, data)
        else:
            self._draft.put_bytes(path, data, example.security, example.attributes)

    def _example(self, folder: str, extension: str) -> File | None:
        for name in self._draft.names_in(folder):
            found = self._draft.find(f"{folder}/{name}")
            if name.lower().endswith(f".{extension}") and found and found.security:
                return None if found.is_directory else found
        return None


def package_folder(store: Store) -> str:
    """Where manifests and catalogs of packages are."""
    return f"{store.image.windows}/servicing/Packages"


def write_package_files(neighbours: Neighbours, store: Store, package: PackageFile) -> None:
    """Put the manifest and the catalog of a package in their places."""
    folder = package_folder(store)
    neighbours.put(f"{folder}/{package.name}.mum", package.raw)
    if package.catalog is None:
        return
    data = package.catalog.raw
    neighbours.put(f"{folder}/{package.name}.cat", data)
    neighbours.put(f"{store.image.windows}/{CATALOG_ROOT}/{package.name}.cat", data)
    neighbours.put(catalog_path(store, package.catalog.thumbprint), data)
    store.components.create_key(rf"{CATALOGS}\{package.catalog.thumbprint}")


def catalog_path(store: Store, thumbprint: str) -> str:
    """Path of a catalog in the component store."""
    return f"{store.image.windows}/{WINSXS}/Catalogs/{thumbprint}.cat"


def write_package_key(
    store: Store,
    siblings: Siblings,
    plan: PackagePlan,
    top: PackagePlan,
    facts: InstallFacts,
) -> int:
    """Write the key of a package with its owners and the states of its updates.

    `top` is the package that was asked for, which may own all below it.

    Returns:
        The state written: `PackageState.SUPERSEDED` if the image has a higher version; never
        one below that which the package has.

    Raises:
        NotSupported: `calibration:...`, siblings do not show a value.
    """
    software, name = store.software, plan.identity.package_name
    state = _state(store, plan)
    key = rf"{PACKAGES}\{name}"
    texts = {
        "InstallClient": facts.client,
        "InstallName": f"{name}.mum",
        "InstallLocation": facts.location,
        "InstallUser": facts.user,
    }
    numbers = {
        "InstallTimeHigh": facts.now >> 32,
        "InstallTimeLow": facts.now & 0xFFFFFFFF,
        "CurrentState": state,
    }
    numbers |= _copied_numbers(siblings, plan)
    for value_name, text in texts.items():
        software.set_value(key, value_name, ValueType.SZ, encode_text(text))
    for value_name, number in numbers.items():
        software.set_value(key, value_name, ValueType.DWORD, encode_dword(number))
    owner = siblings.owner_flag(is_top_level=plan.depth == 0) << 16 | state
    for one in (top.identity,) if siblings.owner_is_top else plan.owners:
        software.set_value(rf"{key}\Owners", one.package_name, ValueType.DWORD, encode_dword(owner))
    for update in plan.updates:
        known = store.update_state(name, update.update.name) or PackageState.ABSENT
        data = encode_dword(max(update.state, known))
        software.set_value(rf"{key}\Updates", update.update.name, ValueType.DWORD, data)
    store.remember_package(plan.identity, name, state)
    log.info("Exec: Package: %s, state: 0x%02x", name, state)
    return state


def _copied_numbers(siblings: Siblings, plan: PackagePlan) -> dict[str, int]:
    """Numbers that siblings in the image have; those that none has are left out."""
    copied = {
        "SelfUpdate": 1 if plan.manifest.self_update else siblings.package_number("SelfUpdate"),
        "Visibility": siblings.visibility("Visibility", hidden=plan.hidden),
        "DefVis": siblings.visibility("DefVis", hidden=plan.hidden),
        "Trusted": siblings.package_number("Trusted"),
    }
    return {name: number for name, number in copied.items() if number is not None}


def write_package_index(store: Store, siblings: Siblings, plan: PackagePlan) -> None:
    """Enter a package in the index of newest versions, unless a higher one is there."""
    versions = [one.identity.version for one in store.packages_of(plan.identity) if one.state]
    if any(version > plan.identity.version for version in versions):
        return
    path = rf"{PACKAGE_INDEX}\{plan.identity.package_index_name}"
    store.software.create_key(path)
    for value in siblings.index_values(plan.identity):
        store.software.set_value(path, value.name, value.type, value.data)


def supersede_older(store: Store, plan: PackagePlan) -> list[str]:
    """Mark installed packages of the same name and a lower version as superseded."""
    marked = []
    for older in store.packages_of(plan.identity):
        lower = older.identity.version < plan.identity.version
        if lower and older.state >= PackageState.INSTALLED:
            data = encode_dword(PackageState.SUPERSEDED)
            store.software.set_value(
                rf"{PACKAGES}\{older.name}", "CurrentState", ValueType.DWORD, data
            )
            store.remember_package(older.identity, older.name, PackageState.SUPERSEDED)
            log.info("Exec: Package: %s is superseded by %s", older.name, plan.identity)
            marked.append(older.name)
    return marked


def drop_caches(store: Store, packages: Iterable[str]) -> None:
    """Delete what Windows has derived from the state that has changed; it derives it anew."""
    for name in packages:
        store.software.delete_key(rf"{_CACHE}\{name}")
        store.software.delete_value(_CACHE, name)
    for name in list(store.components.subkeys(VERSIONED_INDEX)):
        store.components.delete_key(rf"{VERSIONED_INDEX}\{name}")


def _state(store: Store, plan: PackagePlan) -> int:
    newer = [
        one
        for one in store.packages_of(plan.identity)
        if one.identity.version > plan.identity.version and one.state >= PackageState.INSTALLED
    ]
    if newer and plan.target >= PackageState.INSTALLED:
        return PackageState.SUPERSEDED
    return max(plan.target, store.package_state(plan.identity))
