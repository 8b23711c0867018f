r"""Rules of package keys, and of the files in `servicing\Packages`."""

from wimsmith.errors import DamagedInput, LimitExceeded
from wimsmith.offline.components.gate.rules.base import Rule
from wimsmith.offline.components.gate.subjects import Package, package_identity
from wimsmith.offline.components.store.lookups import PACKAGE_INDEX, PACKAGES
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.package import parse_package
from wimsmith.offline.packages.trust.catalog import MAX_CATALOG_BYTES, parse_catalog
from wimsmith.offline.paths import fold
from wimsmith.offline.registry.values import Value, ValueType

_STATES = frozenset(int(state) for state in PackageState)
_DWORD_BYTES = 4
_MAX_VISIBILITY = 0xFF


class PackageNameRule(Rule):
    """The name of a package key: the identity of the package manifest, part by part."""

    name = "package-name"
    is_needed = True

    def package(self, one: Package) -> None:
        if one.identity is None:
            self.tally.differs(one.key, "it is not name~token~architecture~language~version")
            return
        name = one.identity.package_name
        if one.manifest is not None:
            try:
                name = parse_package(one.manifest).identity.package_name
            except (DamagedInput, LimitExceeded) as error:
                self.tally.exempts("the package manifest cannot be read")
                self.tally.saw("package manifests that cannot be read", type(error).__name__)
                return
        self.tally.expect(fold(name) == fold(one.key), one.key, f"its manifest is that of {name}")


class PackageFilesRule(Rule):
    """The manifest and the catalog of every package that the image has."""

    name = "package-files"
    is_needed = True

    def package(self, one: Package) -> None:
        state = _number(one.values.get("CurrentState"))
        if state == PackageState.ABSENT:
            self.tally.exempts("the package is absent")
            return
        missing = [
            end for end, data in ((".mum", one.manifest), (".cat", one.catalog)) if data is None
        ]
        self.tally.expect(not missing, one.key, f"{', '.join(missing)} missing")


class PackageCatalogRule(Rule):
    """The catalog of a package lists the package manifest."""

    name = "package-catalog"
    is_needed = True

    def package(self, one: Package) -> None:
        if one.manifest is None or one.catalog is None:
            self.tally.exempts("a file is missing")
            return
        if len(one.catalog) > MAX_CATALOG_BYTES:
            self.tally.differs(one.key, f"a catalog of {len(one.catalog)} bytes")
            return
        try:
            holds = parse_catalog(one.catalog).lists(one.manifest)
        except DamagedInput as error:
            self.tally.differs(one.key, str(error))
        else:
            self.tally.expect(holds, one.key, "its catalog does not list its manifest")


class StatesRule(Rule):
    """`CurrentState`: one of the states that packages can be in."""

    name = "states"
    is_needed = True

    def package(self, one: Package) -> None:
        state = _number(one.values.get("CurrentState"))
        self.tally.expect(state in _STATES, one.key, "CurrentState is none of the known states")
        if state in _STATES:
            self.tally.saw("states", f"{state:#04x}")


class VisibilityRule(Rule):
    """`Visibility` and `DefVis`: small numbers, or not there."""

    name = "visibility"

    def package(self, one: Package) -> None:
        for name in ("Visibility", "DefVis"):
            value = one.values.get(name)
            number = _number(value)
            if value is None:
                self.tally.exempts(f"no {name}")
                continue
            holds = number is not None and number <= _MAX_VISIBILITY
            self.tally.expect(holds, one.key, f"{name} is no small number")
            if holds:
                self.tally.saw(name, str(number))


class PackageOwnersRule(Rule):
    """Values below `Owners`: a package each, with a flag and a state in one number."""

    name = "owners"
    is_needed = True

    def package(self, one: Package) -> None:
        for value in self.store.software.values(rf"{PACKAGES}\{one.key}\Owners"):
            number = _number(value)
            identity = package_identity(value.name)
            if number is None or number & 0xFFFF not in _STATES:
                self.tally.differs(one.key, "an owner without a flag and a known state")
            elif identity is None:
                self.tally.differs(one.key, "an owner that is no package name")
            else:
                self.tally.matches()
                kind = "itself" if fold(value.name) == fold(one.key) else "another"
                self.tally.saw(f"flags of owners that are {kind}", f"{number >> 16:#06x}")


class PackageIndexRule(Rule):
    """`PackageIndex`: one key for all versions of a package, which names the newest.

    The name, or the version alone, is a value's name or its text.
    """

    name = "package-index"

    def package(self, one: Package) -> None:
        if one.identity is None or _number(one.values.get("CurrentState")) == 0:
            return
        known = [package for package in self.store.packages_of(one.identity) if package.state]
        newest = known[-1] if known else None
        if newest is None or fold(newest.name) != fold(one.key):
            self.tally.exempts("a newer version is there")
            return
        path = rf"{PACKAGE_INDEX}\{one.identity.package_index_name}"
        if not self.store.software.exists(path):
            self.tally.differs(one.key, "it is not in the index")
            return
        wanted = {fold(one.key): "name", str(one.identity.version): "version"}
        forms = {
            f"{wanted[text]} as {where}"
            for value in self.store.software.values(path)
            for where, text in _texts(value)
            if text in wanted
        }
        self.tally.expect(bool(forms), one.key, "the index does not name it as the newest")
        for form in forms:
            self.tally.saw("forms", form)


def _texts(value: Value) -> list[tuple[str, str]]:
    texts = [("the name of a value", fold(value.name))]
    if value.type in {ValueType.SZ, ValueType.EXPAND_SZ}:
        texts.append(("a text", fold(value.text())))
    return texts


def _number(value: Value | None) -> int | None:
    if value is None or value.type != ValueType.DWORD or len(value.data) != _DWORD_BYTES:
        return None
    return value.dword()
