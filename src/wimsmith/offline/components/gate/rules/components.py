"""Rules of component keys: their names, values and manifests."""

from wimsmith.offline.components.gate.rules.base import Rule
from wimsmith.offline.components.gate.subjects import (
    NO_MANIFEST,
    Component,
    Deployment,
    keyform_of,
)
from wimsmith.offline.components.store.expansion import Fault
from wimsmith.offline.manifests.names import file_value_name, identity_string
from wimsmith.offline.paths import fold
from wimsmith.offline.registry.values import ValueType

_DWORD_BYTES = 4


class KeyformRule(Rule):
    """The name of a component key, computed from what the component is."""

    name = "keyform"
    is_needed = True

    def component(self, one: Component) -> None:
        if one.identity is None:
            self.tally.exempts(one.fault or "no identity")
            return
        name = keyform_of(one.identity)
        self.tally.expect(name == one.key.lower(), one.key, f"computed {name}")


class IdentityRule(Rule):
    """The value `identity`: the identity of the manifest in the store's own notation."""

    name = "identity"
    is_needed = True

    def component(self, one: Component) -> None:
        value = one.values.get("identity")
        if one.manifest is None:
            self.tally.exempts(one.fault)
        elif value is None:
            self.tally.differs(one.key, "it has no value identity")
        else:
            text = identity_string(one.manifest.identity)
            holds = (value.type, value.data) == (ValueType.BINARY, text.encode())
            self.tally.expect(holds, one.key, f"{_shown(value.data)} rather than {text}")


class DigestRule(Rule):
    """The value `S256H`: the SHA-256 of the manifest as XML."""

    name = "S256H"
    is_needed = True

    def component(self, one: Component) -> None:
        value = one.values.get("S256H")
        if one.fault in {NO_MANIFEST, Fault.NO_BASE}:
            self.tally.exempts(one.fault)
        elif one.fault:
            self.tally.differs(one.key, one.fault)
        elif value is None:
            self.tally.differs(one.key, "it has no value S256H")
        else:
            holds = value.data == one.sha256
            self.tally.expect(holds, one.key, "another SHA-256 than that of its manifest")


class OwnersRule(Rule):
    """The values `c!`: the deployments that list the component, both ways.

    A deployment names itself. What a deployment that is not installed lists may be missing.
    """

    name = "c!"
    is_needed = True

    def deployment(self, one: Deployment) -> None:
        manifest = one.component.manifest if one.component else None
        if one.component is None or manifest is None:
            self.tally.exempts(one.component.fault if one.component else "no component")
            return
        listed = {
            keyform_of(identity) for identity in manifest.installs if identity.language != "*"
        }
        self.inventory.listed[fold(one.key)] = frozenset(listed | {one.component.key.lower()})
        for name in sorted(listed):
            stored = self.inventory.components.get(fold(name))
            if stored is not None:
                self._listed(stored, one.key)
            elif self.inventory.is_installed(one.key):
                self.tally.differs(one.key, f"it lists {name}, which is not in the store")
            else:
                self.tally.exempts("listed by a deployment that is not installed, and absent")

    def _listed(self, component: str, deployment: str) -> None:
        values = self.inventory.component_values(component)
        own = self.inventory.deployment_of(component)
        if f"c!{deployment}" in values:
            self.tally.matches()
        elif own is not None and f"c!{own}" in values:
            self.tally.exempts("a deployment that another one lists names itself")
        else:
            self.tally.differs(component, f"no c! for {deployment}, which lists it")

    def component(self, one: Component) -> None:
        if not one.owners:
            self.tally.differs(one.key, "it has no value c!")
        for owner in one.owners:
            listed = self.inventory.listed.get(fold(owner))
            if fold(owner) not in self.inventory.deployments:
                self.tally.differs(one.key, f"c! for {owner}, which is no deployment")
            elif listed is None:
                self.tally.exempts("the list of the deployment was not looked at")
            else:
                holds = one.key.lower() in listed
                self.tally.expect(holds, one.key, f"c! for {owner}, which does not list it")


class FilesRule(Rule):
    """The values `f!`: one for each file of the manifest, under its name or that and a hash."""

    name = "f!"

    def component(self, one: Component) -> None:
        found = {name for name in one.values if name.startswith("f!")}
        if one.manifest is None:
            self.tally.exempts(one.fault)
            return
        expected = {file_value_name(file.name) for file in one.manifest.files}
        if not (expected or found):
            self.tally.exempts("no files")
        elif not found and not self.store.draft.exists(self.store.payload_path(one.key)):
            self.tally.exempts("the payload has been deleted")
        else:
            odd = sorted({fold(name) for name in found} ^ {fold(name) for name in expected})
            self.tally.expect(not odd, one.key, f"{', '.join(odd[:3])} on one side only")
        self._flags(one, sorted(found))

    def _flags(self, one: Component, names: list[str]) -> None:
        kind = "installed" if self.inventory.is_used(one) else "staged"
        for name in names:
            value = one.values[name]
            if (value.type, len(value.data)) == (ValueType.DWORD, _DWORD_BYTES):
                self.tally.saw(f"f! of {kind} components", f"{value.dword():#x}")
            else:
                self.tally.differs(one.key, f"{name} is no number of 32 bits")


class FlagsRule(Rule):
    """The value `CF`: a number or nothing; which ones there are is counted by kind."""

    name = "CF"

    def component(self, one: Component) -> None:
        value = one.values.get("CF")
        kind = _kind(one)
        if value is None:
            self.tally.matches()
            self.tally.saw(f"CF of {kind}", "none")
            return
        holds = (value.type, len(value.data)) == (ValueType.DWORD, _DWORD_BYTES)
        self.tally.expect(holds, one.key, "CF is no number of 32 bits")
        if holds:
            self.tally.saw(f"CF of {kind}", f"{value.dword():#x}")


def _kind(one: Component) -> str:
    if one.manifest is None:
        return "components without manifest"
    if one.manifest.is_deployment:
        return "deployments"
    return "components with files" if one.manifest.files else "components without files"


def _shown(data: bytes) -> str:
    return ascii(data[:200].decode("ascii", "replace"))
