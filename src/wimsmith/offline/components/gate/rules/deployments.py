"""Rules of deployment keys and of the catalogs that vouch for them."""

import hashlib
from collections import Counter

from wimsmith.errors import DamagedCatalog
from wimsmith.offline.components.gate.report import RuleReport
from wimsmith.offline.components.gate.rules.base import Rule
from wimsmith.offline.components.gate.subjects import Deployment, Inventory, references
from wimsmith.offline.components.store.lookups import CATALOGS, PACKAGES
from wimsmith.offline.components.store.references import parse_reference, split_identifier
from wimsmith.offline.components.store.siblings import ThumbprintRule
from wimsmith.offline.manifests.names import deployment_key, identity_string, reference_value_name
from wimsmith.offline.packages.trust.catalog import MAX_CATALOG_BYTES, Catalog, parse_catalog
from wimsmith.offline.paths import fold
from wimsmith.offline.registry.values import ValueType

_KEPT_CATALOGS = 16
_SMALL_DATA_BYTES = 4


class DeploymentKeyRule(Rule):
    """The name of a deployment key, computed from what the deployment is."""

    name = "deployment-key"
    is_needed = True

    def deployment(self, one: Deployment) -> None:
        if one.identity is None:
            self.tally.exempts("no identity")
            return
        name = deployment_key(one.identity)
        self.tally.expect(fold(name) == fold(one.key), one.key, f"computed {name}")


class AppIdRule(Rule):
    """The value `appid`: the identity of the deployment in the store's own notation."""

    name = "appid"
    is_needed = True

    def deployment(self, one: Deployment) -> None:
        value = one.values.get("appid")
        known = one.component.manifest if one.component else None
        if known is None:
            self.tally.exempts(one.component.fault if one.component else "no component")
        elif value is None:
            self.tally.differs(one.key, "it has no value appid")
        else:
            text = identity_string(known.identity).encode()
            holds = (value.type, value.data) == (ValueType.BINARY, text)
            self.tally.expect(holds, one.key, "appid is another identity than its manifest's")


class ThumbprintsRule(Rule):
    """`CatalogThumbprint`: the SHA-256 of the catalog, or of the deployment manifest.

    Public notes disagree; the one that explains more deployments of the image is its rule.
    """

    name = "thumbprint"
    is_needed = True

    def __init__(self, inventory: Inventory) -> None:
        super().__init__(inventory)
        self._seen: list[tuple[str, frozenset[ThumbprintRule]]] = []

    def deployment(self, one: Deployment) -> None:
        value = one.values.get("CatalogThumbprint")
        if value is None:
            self.tally.exempts("no value CatalogThumbprint")
            return
        if value.type != ValueType.SZ:
            self.tally.differs(one.key, "CatalogThumbprint is no text")
            return
        text, rules = value.text(), set()
        if text and self.store.components.exists(rf"{CATALOGS}\{text}"):
            rules.add(ThumbprintRule.CATALOG)
        if one.component and one.component.xml and text.lower() == one.component.sha256.hex():
            rules.add(ThumbprintRule.DEPLOYMENT_MANIFEST)
        self._seen.append((one.key, frozenset(rules)))

    def report(self) -> RuleReport:
        counts = Counter(rule for _, rules in self._seen for rule in rules)
        if counts:
            best = max(counts, key=lambda rule: (counts[rule], rule))
            for key, rules in self._seen:
                self.tally.saw("rule", str(best) if best in rules else "another")
                self.tally.expect(best in rules, key, f"not the SHA-256 of its {best}")
        else:
            for key, _ in self._seen:
                self.tally.differs(key, "neither of its catalog nor of its manifest")
        return self.tally.report()


class CatalogsRule(Rule):
    """A catalog that names the deployment, is in the store under its SHA-256, and lists it."""

    name = "catalogs"
    is_needed = True

    def __init__(self, inventory: Inventory) -> None:
        super().__init__(inventory)
        self._named: dict[str, list[str]] | None = None
        self._parsed: dict[str, Catalog | str] = {}

    def deployment(self, one: Deployment) -> None:
        names = self._by_deployment().get(fold(one.key), [])
        if not names:
            self.tally.differs(one.key, "no catalog has a c! for it")
            return
        for name in names:
            catalog = self._catalog(name)
            if isinstance(catalog, str):
                self.tally.differs(name, catalog)
            elif one.component is None or not one.component.xml:
                self.tally.exempts(one.component.fault if one.component else "no component")
            else:
                text = f"it does not list the manifest of {one.key}"
                self.tally.expect(catalog.lists(one.component.xml), name, text)

    def store_as_a_whole(self) -> None:
        for folded, names in self._by_deployment().items():
            if folded not in self.inventory.deployments:
                self.tally.differs(names[0], "it has a c! for a deployment that is not there")

    def _by_deployment(self) -> dict[str, list[str]]:
        """Names of catalogs by the deployments that they name."""
        if self._named is None:
            self._named = {}
            hive = self.store.components
            for name in hive.subkeys(CATALOGS):
                for value in hive.values(rf"{CATALOGS}\{name}"):
                    if value.name.startswith("c!"):
                        self._named.setdefault(fold(value.name[2:]), []).append(name)
        return self._named

    def _catalog(self, name: str) -> Catalog | str:
        """A catalog of the store, or what is wrong with it; a few are kept."""
        if name not in self._parsed:
            while len(self._parsed) >= _KEPT_CATALOGS:
                del self._parsed[next(iter(self._parsed))]
            self._parsed[name] = self._read(name)
        return self._parsed[name]

    def _read(self, name: str) -> Catalog | str:
        path = f"{self.store.payload_path('Catalogs')}/{name}.cat"
        data = dict(self.store.draft.read_many([path])).get(path)
        if data is None:
            return "the catalog is not in the store"
        if len(data) > MAX_CATALOG_BYTES or hashlib.sha256(data).hexdigest() != name.lower():
            return "the catalog is not the one that its name says"
        try:
            return parse_catalog(data)
        except DamagedCatalog as error:
            return f"the catalog cannot be read: {error}"


class ReferencesRule(Rule):
    """The values `p!`, `s!` and `i!`: how they are called, and what their bytes are."""

    name = "references"
    is_needed = True

    def deployment(self, one: Deployment) -> None:
        names = references(one.values)
        if not names:
            self.tally.exempts("nothing refers to the deployment")
        for name in names:
            self._reference(one, name)

    def _reference(self, one: Deployment, name: str) -> None:
        value = one.values[name]
        reference = parse_reference(value)
        if reference is None or value.type != ValueType.BINARY:
            self.tally.differs(one.key, f"{name[:2]} is not two lengths, an identifier and data")
            return
        expected = reference_value_name(reference.mark, reference.identifier)
        holds = fold(expected) == fold(name)
        self.tally.expect(holds, one.key, f"{name} rather than {expected}")
        package, _ = split_identifier(reference.identifier)
        known = self.store.software.exists(rf"{PACKAGES}\{package}")
        self.tally.saw("packages that refer", "known" if known else "not known")
        self.tally.saw(f"data of {reference.mark}", _data_shape(reference.data))


def _data_shape(data: bytes) -> str:
    """Opaque data as they are reported: short numbers as they stand, all else by its length."""
    if data.isdigit() and len(data) <= _SMALL_DATA_BYTES:
        return data.decode("ascii")
    return f"{len(data)} bytes"
