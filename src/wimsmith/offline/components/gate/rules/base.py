"""What all rules have in common."""

from wimsmith.offline.components.gate.report import RuleReport, Tally
from wimsmith.offline.components.gate.subjects import Component, Deployment, Inventory, Package


class Rule:
    """One rule of the store, told of everything that is looked at.

    Deployments come before components, so that their lists are known; packages come last.
    """

    name = ""
    is_needed = False
    is_content = False

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.store = inventory.store
        self.tally = Tally(self.name, needed=self.is_needed, content=self.is_content)

    def deployment(self, one: Deployment) -> None:
        """Look at a deployment whose name is understood."""

    def component(self, one: Component) -> None:
        """Look at a component whose name is understood; deployments are components, too."""

    def package(self, one: Package) -> None:
        """Look at a package whose name is understood."""

    def store_as_a_whole(self) -> None:
        """Look at what is there once; not asked for where only some families are looked at."""

    def report(self) -> RuleReport:
        """What came out; called once, after everything has been looked at."""
        return self.tally.report()
