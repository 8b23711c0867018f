"""Registry keys and values of a component: what they become in the hives, and writing them."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from wimsmith.errors import DamagedManifest, NotSupported
from wimsmith.offline.components.install.descriptions import Descriptor, key_descriptor
from wimsmith.offline.components.install.macros import Expander
from wimsmith.offline.components.install.registry_rules import target_of, value_data, value_type
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.manifests.component import ComponentManifest, RegistryKey, RegistryValue
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.registry.values import Value, ValueType
from wimsmith.offline.security import completed

log = logging.getLogger("wimsmith.offline")

_KNOWN_HINTS = frozenset(["", "replace"])


@dataclass(frozen=True, slots=True)
class PlannedValue:
    """A value, and whether one that the image has already stays as it is."""

    value: Value
    keeps_existing: bool


@dataclass(frozen=True, slots=True)
class PlannedKey:
    """A key; one that the component does not own keeps its descriptor if it is there."""

    hive: str
    path: str
    descriptor: Descriptor
    is_owner: bool
    values: tuple[PlannedValue, ...]


def plan_registry(
    store: Store, manifest: ComponentManifest, expander: Expander
) -> tuple[PlannedKey, ...]:
    """Decide where every key and value of a component goes, without writing.

    Raises:
        NotSupported: `hive`, `wow64-key`, `macro`, `registry-link` or `calibration:security`.
        DamagedManifest: a value is not of its type.
    """
    return tuple(_key(store, manifest, expander, one) for one in manifest.registry_keys)


def write_registry(draft: Draft, keys: Iterable[PlannedKey]) -> None:
    """Write the keys and values of all components that win.

    Keys come before values and those of owners last, so that the order of components does not
    matter to descriptors.
    """
    keys = tuple(keys)
    for key in sorted(keys, key=lambda one: (one.is_owner, one.path.count("\\"))):
        hive = draft.hive(key.hive)
        keeps = not key.is_owner and hive.exists(key.path)
        security = None if keeps else key.descriptor.data
        if security is not None:
            security = completed(security, hive.security(key.path))
        hive.create_key(key.path, security)
    for key in keys:
        hive = draft.hive(key.hive)
        for planned in key.values:
            value = planned.value
            if planned.keeps_existing and hive.value(key.path, value.name) is not None:
                log.info("%s\\%s\\%s is kept: it may change", key.hive, key.path, value.name)
                continue
            hive.set_value(key.path, value.name, value.type, value.data)


def _key(
    store: Store, manifest: ComponentManifest, expander: Expander, key: RegistryKey
) -> PlannedKey:
    target = target_of(
        expander.expand(key.key_name),
        component_architecture=manifest.identity.architecture,
        image_architecture=store.image.architecture,
        control_set=store.image.control_set,
    )
    if not store.draft.has_hive(target.hive):
        raise NotSupported("image-damaged", f"the image has no hive {target.hive}")
    if store.draft.hive(target.hive).is_link(target.path):
        text = f"{target.hive}\\{target.path} leads over a key that is a link"
        raise NotSupported("registry-link", text)
    return PlannedKey(
        hive=target.hive,
        path=target.path,
        descriptor=key_descriptor(manifest, key.security_descriptor),
        is_owner=key.owner is not False,
        values=tuple(_value(manifest, expander, key, one) for one in key.values),
    )


def _value(
    manifest: ComponentManifest, expander: Expander, key: RegistryKey, value: RegistryValue
) -> PlannedValue:
    try:
        stored = Value(
            expander.expand(value.name),
            value_type(value.value_type),
            value_data(value.value_type, value.value, expander.expand),
        )
    except DamagedManifest as error:
        where = f"{keyform(manifest.identity)}: {key.key_name}, value {value.name!r}"
        raise DamagedManifest(f"{where}: {error}") from error
    if stored.type == ValueType.LINK:
        about = f"{keyform(manifest.identity)}: {key.key_name} is a link to another key"
        raise NotSupported("registry-link", about)
    hint = value.operation_hint.lower()
    if hint not in _KNOWN_HINTS:
        about = f"{keyform(manifest.identity)}: the hint {hint[:60]!r} for a value that is there"
        raise NotSupported("advanced-new:registryValue/operationHint", about)
    replaces = hint == "replace"
    return PlannedValue(stored, keeps_existing=value.mutable and not replaces)
