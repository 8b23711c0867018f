"""Switching optional features of one index on and off: all of it as a change set, or nothing.

What Windows documents of it and what is our reading: docs/internals/removing.md.
"""

import logging
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from wimsmith.offline.components.features.facts import selectable_updates, update_state
from wimsmith.offline.components.features.following import Following, UpdateChange, UpdateKey
from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.components.install.cbs import drop_caches
from wimsmith.offline.components.install.detections import INDEXES, learn, write_detections
from wimsmith.offline.components.install.selfcheck import check_changes
from wimsmith.offline.components.outcome import Outcome, answered, decided
from wimsmith.offline.components.store.lookups import PACKAGES
from wimsmith.offline.components.store.view import View
from wimsmith.offline.components.transition.cbs import drop_detections, set_package_state
from wimsmith.offline.components.transition.context import Context
from wimsmith.offline.components.transition.moving import Move, Moving
from wimsmith.offline.components.transition.packages import Packages
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.package import Update
from wimsmith.offline.planning.applicability import PackagePlan
from wimsmith.offline.planning.state import StoredPackage
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.registry.values import ValueType, encode_dword
from wimsmith.offline.verdicts import Finding, Verdict

log = logging.getLogger("wimsmith.offline")

_SPOOL = "drafted"
_STATED = frozenset(["staged"])
_CLOSE = 5
_ALIKE = 0.5


def set_features(
    wanted: Mapping[str, bool],
    view: View,
    options: ApplyOptions,
    spool: Path,
    progress: Progress = silent,
) -> Outcome:
    """Switch optional features of one index, with all that follows them; all or nothing.

    Args:
        wanted: features by name, in any case: whether each shall be enabled.
        view: the index.
        options: the time that new files carry; whose signatures count plays no part.
        spool: a folder where new content stays until the change set is saved.
        progress: may raise to cancel.

    Returns:
        The packages touched; `INSTALLED` and no changes if all is as wanted; or why nothing is
        changed.

    Raises:
        Cancelled, Interrupted: `progress` asked for it.
        OSError: no space, for example.
    """
    title = ", ".join(f"{'+' if on else '-'}{name}" for name, on in wanted.items())
    log.info("Switching features %s", title)
    return answered(title, lambda: _Switching(wanted, view, options, spool, progress).run())


class _Switching:
    """One change of features; `findings` grow while it runs."""

    def __init__(
        self,
        wanted: Mapping[str, bool],
        view: View,
        options: ApplyOptions,
        spool: Path,
        progress: Progress,
    ) -> None:
        self.wanted = {name.lower(): on for name, on in wanted.items()}
        self.names = {name.lower(): name for name in wanted}
        self.allow_not_generalised = options.allow_not_generalised
        self.context = Context.of(view, spool / _SPOOL, options.now)
        self.packages = Packages(self.context.before)
        self.moving = Moving(self.context, progress, missing="payload-removed")
        self.findings: list[Finding] = []

    def run(self) -> Outcome:
        self.findings += health_findings(
            self.context.before, allow_not_generalised=self.allow_not_generalised
        )
        if self.findings:
            return decided(tuple(self.findings))
        known = tuple(selectable_updates(self.packages))
        self.findings += self._unknown({update.name for _, update in known})
        chosen = [one for one in known if one[1].name.lower() in self.wanted]
        self.findings += self._unswitchable(chosen)
        if self.findings:
            return decided(tuple(self.findings))
        following = self._follow(chosen)
        changes = following.updates()
        self.findings += self._held_back(following, chosen)
        self.findings += self._without_payload(changes)
        if self.findings:
            return decided(tuple(dict.fromkeys(self.findings)))
        if not changes:
            text = f"{', '.join(self.names.values())}: as wanted already"
            unchanged = Finding(Verdict.INSTALLED, "unchanged", text)
            return decided((unchanged,))
        return self._switch(following, changes)

    def _unknown(self, names: set[str]) -> Iterator[Finding]:
        folded = {name.lower(): name for name in sorted(names)}
        for name in self.wanted:
            if name not in folded:
                close = get_close_matches(name, folded, _CLOSE, _ALIKE)
                hint = f"; close to it: {', '.join(folded[one] for one in close)}" if close else ""
                text = f"the image has no feature {self.names[name]}{hint}"
                yield Finding(Verdict.FAILED, "unknown-feature", text)

    def _unswitchable(self, chosen: list[tuple[StoredPackage, Update]]) -> Iterator[Finding]:
        """Features that do not say that their payload stays when they are off."""
        for package, update in chosen:
            assert update.selectable is not None, "only such updates are chosen"
            if update.selectable.disposition.lower() not in _STATED:
                text = f"{update.name} of {package.name} is not staged while it is disabled"
                yield Finding(Verdict.NOT_SUPPORTED, "feature-disposition", text)

    def _follow(self, chosen: list[tuple[StoredPackage, Update]]) -> Following:
        keys: dict[UpdateKey, bool] = {}
        for package, update in chosen:
            on = self.wanted[update.name.lower()]
            if on or update_state(self.context.before, package, update) >= PackageState.STAGED:
                keys[package.name.lower(), update.name.lower()] = on
        following = Following(self.context.before, self.packages, keys)
        following.run([package for package, _ in chosen])
        return following

    def _held_back(
        self, following: Following, chosen: list[tuple[StoredPackage, Update]]
    ) -> Iterator[Finding]:
        for package, update in chosen:
            if self.wanted[update.name.lower()]:
                names = following.held_back_by(package, update)
                if names:
                    text = f"{update.name} cannot be enabled while {', '.join(names)} is not"
                    yield Finding(Verdict.PREREQUISITE_MISSING, "parent-feature", text)

    def _without_payload(self, changes: tuple[UpdateChange, ...]) -> Iterator[Finding]:
        for change in changes:
            state = update_state(self.context.before, change.package, change.update)
            identifier = f"{change.package.name}.{change.update.name}".lower()
            is_gone = change.update.components and identifier not in self.moving.references
            if change.state >= PackageState.INSTALLED and (state < PackageState.STAGED or is_gone):
                text = f"the image no longer has the payload of {change.update.name}"
                yield Finding(Verdict.NOT_SUPPORTED, "payload-removed", text)

    def _switch(self, following: Following, changes: tuple[UpdateChange, ...]) -> Outcome:
        moves = [Move(one.package.name, one.update.name, one.state, one.update) for one in changes]
        self.moving.run(moves, (one.package for one in changes))
        self.findings += self.moving.findings
        if self.findings:
            return decided(tuple(dict.fromkeys(self.findings)))
        touched = self._write(following, changes)
        changed = self.context.draft.changes
        check_changes(self.context.draft, changed)
        return Outcome(Verdict.APPLIED, "applied", self._also(changes), (), changed, touched)

    def _also(self, changes: tuple[UpdateChange, ...]) -> str:
        """What was switched without having been named."""
        found = dict.fromkeys(change.update.name for change in changes)
        others = [name for name in found if name.lower() not in self.names]
        return f"with {', '.join(others)}" if others else ""

    def _write(self, following: Following, changes: tuple[UpdateChange, ...]) -> tuple[str, ...]:
        store = self.context.store
        names = dict.fromkeys(change.package.name for change in changes)
        for change in changes:
            path = rf"{PACKAGES}\{change.package.name}\Updates"
            data = encode_dword(change.state)
            store.software.set_value(path, change.update.name, ValueType.DWORD, data)
        for package, state in following.packages():
            self._package_state(package, state)
            self._detections(package, state)
            names[package.name] = None
        drop_caches(store, names)
        return tuple(names)

    def _detections(self, package: StoredPackage, state: int) -> None:
        """Enter a package in the detect indexes, or take it out, as the image does with staged."""
        before, store = self.context.before, self.context.store
        if state >= PackageState.INSTALLED:
            manifest = self.packages.manifest(package)
            plan = PackagePlan(manifest, state, package.identity, 1, hidden=False, updates=())
            write_detections(before, store, [plan])
            return
        for index in INDEXES:
            form = learn(before, index)
            if form is not None and form.staged is False:
                drop_detections(store, [package.name], [index])

    def _package_state(self, package: StoredPackage, state: int) -> None:
        """The state of a package stands in its key, and with each owner in the low word."""
        store, path = self.context.store, rf"{PACKAGES}\{package.name}"
        set_package_state(store, package, state)
        for owner in list(store.software.values(rf"{path}\Owners")):
            data = encode_dword(owner.dword() & ~0xFFFF | state)
            store.software.set_value(rf"{path}\Owners", owner.name, ValueType.DWORD, data)
