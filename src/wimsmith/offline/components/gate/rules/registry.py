"""The rule of registry content: where keys of manifests are, and which bytes their values have."""

from collections import Counter

from wimsmith.errors import DamagedInput, LimitExceeded, NotSupported
from wimsmith.offline.components.gate.report import RuleReport
from wimsmith.offline.components.gate.rules.base import Rule
from wimsmith.offline.components.gate.subjects import Component, Inventory
from wimsmith.offline.components.install.descriptions import expander, places
from wimsmith.offline.components.install.macros import Expander, string_tables
from wimsmith.offline.components.install.registry import PlannedKey, PlannedValue, plan_registry
from wimsmith.offline.components.store.basemanifest import ManifestReader
from wimsmith.offline.manifests.component import ComponentManifest
from wimsmith.offline.paths import fold


class RegistryRule(Rule):
    """Keys and values of winners are in the hives, as manifests describe them.

    The classes of content are hives by type of value.
    """

    name = "registry"
    is_content = True

    def __init__(self, inventory: Inventory, reader: ManifestReader) -> None:
        super().__init__(inventory)
        self._reader = reader
        self._claims: Counter[int] = Counter()
        self._odd: list[tuple[int, str, str, str]] = []

    def component(self, one: Component) -> None:
        if one.manifest is None or not one.manifest.registry_keys or not self.inventory.wins(one):
            return
        try:
            keys = self._planned(one.manifest)
        except NotSupported as error:
            self.tally.exempts(f"refused by the engine: {error.reason}")
            return
        except (DamagedInput, LimitExceeded) as error:
            self.tally.differs(one.key, str(error))
            return
        for key in keys:
            for value in key.values:
                self._value(one.key, key, value)

    def report(self) -> RuleReport:
        for claim, component, text, kind in self._odd:
            if self._claims[claim] > 1:
                self.tally.exempts("several components write the same value")
            else:
                self.tally.differs(component, text, kind)
        return self.tally.report()

    def _planned(self, manifest: ComponentManifest) -> tuple[PlannedKey, ...]:
        """What the engine would write; texts of satellites are read only where they are needed."""
        own = Expander(
            places(self.store, manifest.identity),
            string_tables(
                manifest.strings,
                component_language=manifest.identity.language,
                image_languages=self.store.image.languages,
            ),
        )
        try:
            return plan_registry(self.store, manifest, own)
        except NotSupported as error:
            if error.reason != "macro":
                raise
        return plan_registry(self.store, manifest, expander(self.store, self._reader, manifest, {}))

    def _value(self, component: str, key: PlannedKey, planned: PlannedValue) -> None:
        value = planned.value
        claim = hash((key.hive, fold(key.path), fold(value.name)))
        self._claims[claim] += 1
        found = self.store.draft.hive(key.hive).value(key.path, value.name)
        kind = f"{key.hive} type {value.type}"
        if found is not None and (found.type, found.data) == (value.type, value.data):
            self.tally.matches(kind)
        elif planned.keeps_existing:
            self.tally.exempts("the value may change")
        else:
            what = "is not there" if found is None else "is something else"
            text = rf"{key.hive}\{key.path}: the value {value.name!r} {what}"
            self._odd.append((claim, component, text, kind))
