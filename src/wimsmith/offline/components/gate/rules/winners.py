r"""Rules of `SideBySide\Winners`: which versions of a family are installed, and which wins."""

from wimsmith.errors import DamagedInput
from wimsmith.offline.components.gate.report import RuleReport
from wimsmith.offline.components.gate.rules.base import Rule
from wimsmith.offline.components.gate.subjects import Component, Inventory
from wimsmith.offline.components.store.lookups import WINNERS
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.names import keyform_without_version
from wimsmith.offline.registry.values import Value, ValueType

_WINS = b"\x01"


class WinnersRule(Rule):
    """The family key of an installed component: branches, versions, and the highest in front.

    Whether deployments are among the winners is the image's own choice, one for all of them.
    """

    name = "winners"
    is_needed = True

    def __init__(self, inventory: Inventory) -> None:
        super().__init__(inventory)
        self._families: set[str] = set()
        self._deployments: dict[bool, list[str]] = {True: [], False: []}

    def component(self, one: Component) -> None:
        if one.identity is None:
            self.tally.exempts(one.fault)
            return
        installed = self.inventory.is_used(one)
        entered = self._entry(one.identity) is not None
        if one.manifest is not None and one.manifest.is_deployment:
            if installed:
                self._deployments[entered].append(one.key)
        elif not one.owners:
            self.tally.exempts("no deployment names the component")
        elif installed != entered:
            text = "installed, and not among the winners" if installed else "wins, not installed"
            self.tally.differs(one.key, text)
        elif not entered:
            self.tally.exempts("not installed")
        if entered:
            self._family(one.identity)

    def report(self) -> RuleReport:
        often = len(self._deployments[True]) >= len(self._deployments[False])
        for key in self._deployments[not often]:
            self.tally.differs(key, "unlike other deployments of the image in being a winner")
        self.tally.saw("deployments among the winners", "yes" if often else "no")
        return self.tally.report()

    def _entry(self, identity: AssemblyIdentity) -> Value | None:
        family = rf"{WINNERS}\{keyform_without_version(identity)}"
        branch = rf"{family}\{identity.version.branch}"
        return self.store.software.value(branch, str(identity.version))

    def _family(self, identity: AssemblyIdentity) -> None:
        """The form of a family's key, once per family."""
        family = keyform_without_version(identity)
        if family in self._families:
            return
        self._families.add(family)
        fault = self._fault(rf"{WINNERS}\{family}")
        self.tally.expect(not fault, family, fault)

    def _fault(self, path: str) -> str:
        branches = list(self.store.software.subkeys(path))
        chosen = self.store.software.value(path)
        if chosen is None or chosen.type != ValueType.SZ or chosen.text() not in branches:
            return "its default value is none of its branches"
        if _number(chosen.text()) != max(map(_number, branches)):
            return "its default value is not the highest branch"
        return next(filter(None, (self._branch_fault(path, one) for one in branches)), "")

    def _branch_fault(self, path: str, branch: str) -> str:
        versions: list[Version] = []
        for value in self.store.software.values(rf"{path}\{branch}"):
            if not value.name:
                continue
            version = _version(value.name)
            if version is None or version.branch != branch:
                return f"{branch} holds {value.name}, which is no version of it"
            if (value.type, value.data) != (ValueType.BINARY, _WINS):
                return f"{value.name} is something else than the byte 1"
            versions.append(version)
        winner = self.store.software.value(rf"{path}\{branch}")
        if winner is None or not versions or winner.text() != str(max(versions)):
            return f"the default value of {branch} is not its highest version"
        return ""


def _version(text: str) -> Version | None:
    try:
        return Version.parse(text)
    except DamagedInput:
        return None


def _number(branch: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else -1 for part in branch.split(".")[:2])
