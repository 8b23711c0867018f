"""Reading what the rules of calibration look at in batches: keys with manifests and packages."""

from collections.abc import Iterable, Iterator, Sequence

from wimsmith.errors import DamagedInput, LimitExceeded
from wimsmith.offline.components.gate.subjects import (
    NO_MANIFEST,
    Component,
    Deployment,
    Inventory,
    Package,
    package_identity,
)
from wimsmith.offline.components.store.basemanifest import ManifestReader
from wimsmith.offline.components.store.expansion import Fault
from wimsmith.offline.components.store.lookups import PACKAGES, stated_identity
from wimsmith.offline.manifests.component import ComponentManifest, parse_component

BATCH = 256
"""So many manifests are in memory at a time."""
_UNREADABLE = "its manifest cannot be read"


class SubjectReader:
    """Reads what rules look at, in batches.

    `compressed` and `unproved` are keys of components stored as deltas so far.
    """

    def __init__(self, inventory: Inventory, reader: ManifestReader) -> None:
        """Nothing is read before it is asked for."""
        self._inventory = inventory
        self._store = inventory.store
        self._reader = reader
        self.compressed: set[str] = set()
        self.unproved: set[str] = set()

    def components(self, keys: Sequence[str]) -> Iterator[Component]:
        """Components by their keys, with their manifests where those can be read."""
        for start in range(0, len(keys), BATCH):
            yield from self._batch(keys[start : start + BATCH])

    def deployments(self, keys: Sequence[str]) -> Iterator[Deployment]:
        """Deployments by their keys, each with the component that describes it."""
        for start in range(0, len(keys), BATCH):
            chosen = keys[start : start + BATCH]
            described = {key: self._inventory.component_of(key) for key in chosen}
            names = [name for name in described.values() if name is not None]
            found = {one.key: one for one in self._batch(names)}
            for key in chosen:
                values = self._inventory.deployment_values(key)
                component = found.get(described[key] or "")
                yield Deployment(key, values, stated_identity(values.get("appid")), component)

    def packages(self, keys: Sequence[str]) -> Iterator[Package]:
        """Packages by their keys, each with its files."""
        folder = f"{self._store.image.windows}/servicing/Packages"
        for start in range(0, len(keys), BATCH):
            chosen = keys[start : start + BATCH]
            wanted = [f"{folder}/{key}{end}" for key in chosen for end in (".mum", ".cat")]
            found = dict(self._store.draft.read_many(wanted))
            for key in chosen:
                values = self._store.software.values(rf"{PACKAGES}\{key}")
                yield Package(
                    key,
                    {one.name: one for one in values},
                    package_identity(key),
                    found.get(f"{folder}/{key}.mum"),
                    found.get(f"{folder}/{key}.cat"),
                )

    def _batch(self, keys: Sequence[str]) -> Iterator[Component]:
        stored = {one.key: one for one in self._reader.many(keys)}
        self.compressed.update(key for key, one in stored.items() if one.is_compressed)
        self.unproved.update(key for key, one in stored.items() if one.fault is Fault.NO_BASE)
        for key in keys:
            values = self._inventory.component_values(key)
            stated = stated_identity(values.get("identity"))
            found = stored.get(key)
            xml = found.xml if found else b""
            fault = (found.fault if found else None) or ("" if xml else NO_MANIFEST)
            manifest: ComponentManifest | None = None
            if not fault:
                try:
                    manifest = parse_component(xml)
                except (DamagedInput, LimitExceeded):
                    fault = _UNREADABLE
            yield Component(key, values, stated, manifest, xml, fault)


def unique(keys: Iterable[str]) -> list[str]:
    """The same keys, each once, in their order."""
    return list(dict.fromkeys(keys))
