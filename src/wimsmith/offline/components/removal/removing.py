"""Removing installed packages from one index: all of them as a change set, or nothing.

What Windows documents of it and what is our reading: docs/internals/removing.md.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.components.install.cbs import drop_caches
from wimsmith.offline.components.install.selfcheck import check_changes
from wimsmith.offline.components.outcome import Outcome, answered, decided
from wimsmith.offline.components.removal.reasons import missing, reasons_against
from wimsmith.offline.components.store.lookups import COMPONENTS, DEPLOYMENTS
from wimsmith.offline.components.store.references import parse_reference
from wimsmith.offline.components.store.view import View
from wimsmith.offline.components.transition.cbs import (
    drop_detections,
    drop_owner,
    drop_package_files,
    drop_package_key,
    own_itself,
    set_package_state,
)
from wimsmith.offline.components.transition.context import Context
from wimsmith.offline.components.transition.moving import Move, Moving
from wimsmith.offline.components.transition.packages import Packages
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.names import deployment_key, keyform
from wimsmith.offline.planning.state import StoredPackage
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.verdicts import Finding, Verdict

log = logging.getLogger("wimsmith.offline")

_SPOOL = "drafted"


def remove(
    packages: Sequence[str],
    view: View,
    options: ApplyOptions,
    spool: Path,
    progress: Progress = silent,
) -> Outcome:
    """Remove packages from one index, with what came with them; all or nothing.

    What they had replaced comes back: the next lower versions of components that the store still
    has, and packages of the same name that they had superseded.

    Args:
        packages: names such as `Package_for_KB5000001~31bf3856ad364e35~amd64~~1.0.0.0`; see
            `packages_named` for how to get one from the number of an article.
        view: the index.
        options: the time that new files carry; whose signatures count plays no part.
        spool: a folder where new content stays until the change set is saved.
        progress: may raise to cancel.

    Returns:
        The packages removed, those that others need last; or why nothing is.

    Raises:
        Cancelled, Interrupted: `progress` asked for it.
        OSError: no space, for example.
    """
    title = ", ".join(packages)
    log.info("Removing %s", title)
    return answered(title, lambda: _Removal(packages, view, options, spool, progress).run())


class _Removal:
    """One removal; `findings` grow while it runs."""

    def __init__(
        self,
        names: Sequence[str],
        view: View,
        options: ApplyOptions,
        spool: Path,
        progress: Progress,
    ) -> None:
        self.names = names
        self.allow_not_generalised = options.allow_not_generalised
        self.context = Context.of(view, spool / _SPOOL, options.now)
        self.packages = Packages(self.context.before)
        self.moving = Moving(self.context, progress, missing="reset-base")
        self.findings: list[Finding] = []

    def run(self) -> Outcome:
        self.findings += health_findings(
            self.context.before, allow_not_generalised=self.allow_not_generalised
        )
        if self.findings:
            return decided(tuple(self.findings))
        found = {name: self.packages.find(name) for name in self.names}
        self.findings += missing(name for name, one in found.items() if one is None)
        going = self._with_parts([one for one in found.values() if one is not None])
        self.findings += reasons_against(self.context.before, self.packages, going)
        if self.findings or not going:
            return self._refused()
        order = self._in_order(going)
        back = tuple(self._coming_back(order))
        self._move(order)
        if self.findings:
            return self._refused()
        self._write(order, back)
        changes = self.context.draft.changes
        check_changes(self.context.draft, changes)
        names = tuple(one.name for one in order)
        text = ", ".join(self.names)
        below = len(names) - len(self.names)
        if below:
            text = f"{text}, with {below} of its packages"
        return Outcome(Verdict.APPLIED, "applied", text, (), changes, names)

    def _refused(self) -> Outcome:
        if not self.findings:
            text = "no package is named that shall be removed"
            self.findings.append(Finding(Verdict.NOT_APPLICABLE, "not-installed", text))
        return decided(tuple(dict.fromkeys(self.findings)))

    def _with_parts(self, tops: Sequence[StoredPackage]) -> dict[str, StoredPackage]:
        """Packages with those that are in the image for them alone, by name in lower case."""
        going = {one.name.lower(): one for one in tops}
        grown = True
        while grown:
            grown = False
            for package in list(going.values()):
                for child, goes_along in self.packages.children(package):
                    owners = {name.lower() for name in self._owners(child)}
                    if goes_along and child.name.lower() not in going and owners <= set(going):
                        going[child.name.lower()] = child
                        grown = True
        return going

    def _owners(self, package: StoredPackage) -> Iterator[str]:
        """Owners of a package that the image has; a name that means nothing owns nothing."""
        return (name for name in self.packages.owners(package) if self.packages.find(name))

    def _in_order(self, going: dict[str, StoredPackage]) -> tuple[StoredPackage, ...]:
        """Each package before those that it needs or that hold it: dependants first."""
        waiting, order = dict(going), []
        while waiting:
            needed = {
                parent.name.lower() for one in waiting.values() for parent in self._needs(one)
            }
            free = [name for name in waiting if name not in needed] or list(waiting)[:1]
            order += [waiting.pop(name) for name in free]
        return tuple(order)

    def _needs(self, package: StoredPackage) -> Iterator[StoredPackage]:
        for parent in self.packages.manifest(package).parents:
            for identity in parent.identities:
                for one in self.context.before.packages_of(identity):
                    if one.name != package.name:
                        yield one

    def _coming_back(self, going: Sequence[StoredPackage]) -> Iterator[StoredPackage]:
        """Superseded packages whose successor goes, the newest of each name."""
        names = {one.name for one in going}
        for package in going:
            if package.state < PackageState.INSTALLED:
                continue
            versions = self.context.before.packages_of(package.identity)
            rest = [one for one in versions if one.name not in names and one.state]
            older = [one for one in rest if one.identity.version < package.identity.version]
            has_other = any(one.state >= PackageState.INSTALLED for one in rest)
            if older and not has_other and older[-1].state == PackageState.SUPERSEDED:
                self._check_whole(older[-1])
                yield older[-1]

    def _check_whole(self, package: StoredPackage) -> None:
        """A superseded package can come back only with all that it had installed."""
        for update in self.packages.manifest(package).updates:
            state = self.context.before.update_state(package.name, update.name)
            if state is None or state < PackageState.INSTALLED:
                continue
            for identity in update.components:
                gone = self._gone(f"{package.name}.{update.name}", identity)
                if gone:
                    text = f"{package.name} cannot come back: {gone} is gone from the store"
                    self.findings.append(Finding(Verdict.NOT_SUPPORTED, "reset-base", text))

    def _gone(self, identifier: str, deployment: AssemblyIdentity) -> str:
        """What the store no longer has of a deployment that was installed for an update."""
        hive = self.context.before.components
        key = deployment_key(deployment)
        marks = map(parse_reference, hive.values(rf"{DEPLOYMENTS}\{key}"))
        if not any(
            one and one.mark == "i!" and one.identifier.lower() == identifier.lower()
            for one in marks
        ):
            return f"the deployment {key}"
        members = self.moving.stored.component(deployment).manifest.installs
        keys = (keyform(one) for one in members)
        return next((key for key in keys if not hive.exists(rf"{COMPONENTS}\{key}")), "")

    def _move(self, going: Sequence[StoredPackage]) -> None:
        moves = [
            Move(package.name, update, PackageState.ABSENT)
            for package in going
            for update in self.moving.updates_of(package.name)
        ]
        self.moving.run(moves, going)
        self.findings += self.moving.findings

    def _write(self, going: Sequence[StoredPackage], back: Sequence[StoredPackage]) -> None:
        store, names = self.context.store, {one.name.lower() for one in going}
        staying = [
            child
            for package in going
            for child, _ in self.packages.children(package)
            if child.name.lower() not in names
        ]
        for child in staying:
            owners = {name.lower() for name in self._owners(child)}
            for name in self.packages.owners(child):
                if name.lower() in names:
                    drop_owner(store, child, name)
            if owners and owners <= names:
                own_itself(self.context, child)
        for package in going:
            drop_package_files(store, package)
            drop_package_key(self.context, package)
        for package in back:
            permanent = self.packages.manifest(package).permanence.lower() == "permanent"
            state = PackageState.PERMANENT if permanent else PackageState.INSTALLED
            set_package_state(store, package, state)
        touched = [one.name for one in (*going, *back, *staying)]
        drop_detections(store, (one.name for one in going))
        drop_caches(store, touched)
