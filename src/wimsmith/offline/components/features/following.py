"""What follows when features are switched: states of updates and packages, until none changes.

An update is as far installed as its package, its conditions and the choice of users let it be;
packages that an update carries are as far as it is, and as their parents. Nothing goes below
staged: switching a feature off keeps its payload. Evidence: docs/internals/removing.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wimsmith.errors import DamagedPackage, NotSupported
from wimsmith.offline.components.features.facts import needs_of, update_state
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.components.transition.packages import Packages
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.package import Update
from wimsmith.offline.planning.parents import matches
from wimsmith.offline.planning.state import StoredPackage
from wimsmith.offline.planning.states import coarse, elevation_holds

STAGED, INSTALLED = PackageState.STAGED, PackageState.INSTALLED
_PROVEN = frozenset(["install", "revision"])
_MAX_ROUNDS = 64

UpdateKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class UpdateChange:
    """An update whose state changes."""

    package: StoredPackage
    update: Update
    state: int


class Following:
    """Carries a choice of features through the packages of an image."""

    def __init__(self, store: Store, packages: Packages, chosen: Mapping[UpdateKey, bool]) -> None:
        """`chosen` are updates by package and update name, both in lower case."""
        self._store = store
        self._packages = packages
        self._chosen = chosen
        self._updates: dict[UpdateKey, UpdateChange] = {}
        self._states: dict[str, int] = {}
        self._carried: dict[str, list[tuple[StoredPackage, Update]]] = {}
        self._waiting: list[StoredPackage] = []
        self._rounds: dict[str, int] = {}

    def run(self, start: list[StoredPackage]) -> None:
        """Decide all states that follow, beginning with the packages that hold the features.

        Raises:
            DamagedPackage: packages and updates follow each other without end.
            NotSupported: `elevate-unproven`, or a manifest cannot be read.
        """
        self._waiting = list(start)
        while self._waiting:
            package = self._waiting.pop(0)
            self._rounds[package.name] = self._rounds.get(package.name, 0) + 1
            if self._rounds[package.name] > _MAX_ROUNDS:
                raise DamagedPackage(f"updates of {package.name} follow each other without end")
            self._package(package)

    def updates(self) -> tuple[UpdateChange, ...]:
        """Updates whose state has changed."""
        return tuple(
            one
            for one in self._updates.values()
            if coarse(update_state(self._store, one.package, one.update)) != one.state
        )

    def packages(self) -> Iterator[tuple[StoredPackage, int]]:
        """Packages whose state has changed, with the new one."""
        for name, state in self._states.items():
            package = self._packages.find(name)
            if package is not None and package.state != state:
                yield package, state

    def held_back_by(self, package: StoredPackage, update: Update) -> tuple[str, ...]:
        """Names of what keeps an update from being installed, none if it is."""
        if self.state_of(package, update) >= INSTALLED:
            return ()
        in_package = [
            other.name
            for other in self._packages.manifest(package).updates
            if other.name.lower() in {name.lower() for name in needs_of(update)}
            and self.state_of(package, other) < INSTALLED
        ]
        carriers = [
            carrier.name
            for holder, carrier in self._carriers(package)
            if self.state_of(holder, carrier) < INSTALLED
        ]
        return tuple(dict.fromkeys((*in_package, *carriers))) or (package.name,)

    def state_of(self, package: StoredPackage, update: Update) -> int:
        """The coarse state of an update after all that has been decided."""
        return self._state(package, update, past=False)

    def _state(self, package: StoredPackage, update: Update, *, past: bool) -> int:
        known = None if past else self._updates.get((package.name.lower(), update.name.lower()))
        return known.state if known else coarse(update_state(self._store, package, update))

    def _package(self, package: StoredPackage) -> None:
        """Decide a package and its updates anew; what depends on changes waits for its turn."""
        before = self._limit(package)
        self._decide_package(package)
        changed = self._decide_updates(package)
        for update in changed:
            self._waiting += [
                child for one in update.packages if (child := self._packages.of(one.identity))
            ]
        if changed or self._limit(package) != before:
            self._waiting += self._followers(package)

    def _decide_updates(self, package: StoredPackage) -> list[Update]:
        """Decide all updates of a package, which may follow each other in any order."""
        updates = self._packages.manifest(package).updates
        changed: list[Update] = []
        for _ in range(len(updates) + 1):
            now = [one for one in updates if self._decide_update(package, one)]
            changed += now
            if not now:
                return changed
        raise DamagedPackage(f"updates of {package.name} follow each other without end")

    def _decide_package(self, package: StoredPackage) -> None:
        """A package is as far as what carries it and its parents; others rise when chosen."""
        if package.state in {PackageState.SUPERSEDED, PackageState.PERMANENT}:
            return
        name = package.name.lower()
        now, was = self._reach(package), self._reach(package, past=True)
        self._states.pop(name, None)
        rises = self._is_chosen(name) and now > coarse(package.state)
        if now != was or rises:
            self._states[name] = now

    def _is_chosen(self, name: str) -> bool:
        return any(wanted and package == name for (package, _), wanted in self._chosen.items())

    def _reach(self, package: StoredPackage, *, past: bool = False) -> int:
        """How far a package can be by what carries it and by its parents, now or in the past."""
        carriers = [
            self._state(holder, update, past=past) for holder, update in self._carriers(package)
        ]
        parents = [self._limit(one, past=past) for one in self._fitting_parents(package)]
        reach = min(max(carriers, default=INSTALLED), max(parents, default=INSTALLED))
        return max(STAGED, reach)

    def _fitting_parents(self, package: StoredPackage) -> Iterator[StoredPackage]:
        for parent in self._packages.manifest(package).parents:
            for identity in parent.identities:
                for one in self._store.packages_of(identity):
                    fits = matches(
                        self._store.image, parent, identity.version, one.identity.version
                    )
                    if fits and one.state >= STAGED:
                        yield one

    def _limit(self, package: StoredPackage, *, past: bool = False) -> int:
        """How far updates of a package may go; a superseded one has been installed."""
        known = None if past else self._states.get(package.name.lower())
        state = package.state if known is None else known
        return INSTALLED if state == PackageState.SUPERSEDED else coarse(state)

    def _carriers(self, package: StoredPackage) -> Sequence[tuple[StoredPackage, Update]]:
        """Updates that hold a package as a part."""
        wanted = package.name.lower()
        if wanted not in self._carried:
            self._carried[wanted] = [
                (holder, update)
                for holder in self._packages.mentioning([package.identity.name])
                for update in self._packages.manifest(holder).updates
                if any(one.identity.package_name.lower() == wanted for one in update.packages)
            ]
        return self._carried[wanted]

    def _followers(self, package: StoredPackage) -> Iterator[StoredPackage]:
        """Packages of which this one is a parent."""
        family = package.identity.family
        for one in self._packages.mentioning([package.identity.name]):
            parents = self._packages.manifest(one).parents
            if any(identity.family == family for p in parents for identity in p.identities):
                yield one

    def _decide_update(self, package: StoredPackage, update: Update) -> bool:
        """Decide an update anew; whether its state is another one now."""
        key = (package.name.lower(), update.name.lower())
        before = self.state_of(package, update)
        was = self._state(package, update, past=True)
        if was < STAGED and not self._chosen.get(key):
            return False  # neither its payload nor a choice is there
        self._updates.pop(key, None)
        reach, reached = (self._possible(package, update, past=past) for past in (False, True))
        if key in self._chosen:
            state = min(reach, INSTALLED if self._chosen[key] else STAGED)
        elif reach == reached:
            state = was
        elif update.selectable is not None:
            state = min(reach, INSTALLED if update.selectable.default else was)
        else:
            state = reach
        self._updates[key] = UpdateChange(package, update, state)
        return state != before

    def _possible(self, package: StoredPackage, update: Update, *, past: bool) -> int:
        """How far an update can be by its package and its conditions."""
        states: list[int] = [self._limit(package, past=past)]
        applicable = update.applicable
        for one in applicable.detections if applicable else ():
            holders = self._fitting_parents(package) if one.in_parent else iter([package])
            states.append(self._detected(holders, one.name, past=past))
        if applicable and applicable.components:
            if {one.elevate for one in applicable.components} - _PROVEN:
                text = f"how Windows evaluates update {update.name} of {package.name} is not proven"
                raise NotSupported("elevate-unproven", text)
            if not any(elevation_holds(self._store, one) for one in applicable.components):
                states.append(STAGED)
        return max(STAGED, min(states))

    def _detected(self, holders: Iterator[StoredPackage], name: str, *, past: bool) -> int:
        """The best state that an update of that name has in one of some packages."""
        found = [
            self._state(holder, update, past=past)
            for holder in holders
            for update in self._packages.manifest(holder).updates
            if update.name.lower() == name.lower()
        ]
        return max(found, default=STAGED)
