"""States of the updates of one package: conditions, features, and updates that follow others."""

import logging
from collections.abc import Mapping, Sequence

from wimsmith.errors import DamagedPackage
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.manifests.package import (
    Applicable,
    PackageManifest,
    Update,
    UpdateComponent,
)
from wimsmith.offline.planning.parents import distribution
from wimsmith.offline.planning.state import ImageState, StoredPackage
from wimsmith.offline.planning.telling import log
from wimsmith.offline.verdicts import Finding, Verdict

ABSENT, STAGED, INSTALLED = PackageState.ABSENT, PackageState.STAGED, PackageState.INSTALLED
MAX_DEPTH = 64

STATE_WORDS: dict[int, str] = {ABSENT: "Absent", STAGED: "Staged", INSTALLED: "Installed"}
_DISPOSITIONS = {
    "": ABSENT,
    "absent": ABSENT,
    "detect": ABSENT,
    "staged": STAGED,
    "installed": INSTALLED,
}
_PROVEN_ELEVATIONS = {"install": 16, "revision": 2}
"""The numbers are those of Windows' own log."""

_NO_VERSION = Version(0, 0, 0, 0)


def coarse(state: int) -> int:
    """A state as conditions see it: absent, staged or installed."""
    if state >= PackageState.INSTALL_PENDING:
        return INSTALLED
    return STAGED if state >= STAGED else ABSENT


def elevation_holds(state: ImageState, component: UpdateComponent) -> bool:
    """Whether a condition on a component family holds for one of its identities.

    `install` holds always. `revision` holds if the highest version of the family below the
    update's own is of the same build and branch.
    """
    if component.elevate == "install":
        return True
    return any(_is_revision_of_installed(state, identity) for identity in component.identities)


def _is_revision_of_installed(state: ImageState, identity: AssemblyIdentity) -> bool:
    lower = [one for one in state.installed_versions(identity) if one < identity.version]
    holder = lower[-1] if lower else _NO_VERSION
    same_build = (holder.branch, holder.build) == (identity.version.branch, identity.version.build)
    holds = same_build and distribution(holder) == distribution(identity.version)
    if log.isEnabledFor(logging.INFO):
        log.info(
            "Appl: Selfupdate, Component: %s, elevation:%d, lower version revision holder: %s, "
            "applicable: %d",
            keyform(identity),
            _PROVEN_ELEVATIONS["revision"],
            holder,
            holds,
        )
    return holds


class UpdateStates:
    """States that the updates of a package have where it is installed; they may follow each other.

    What speaks against the whole package goes to `findings`.
    """

    def __init__(
        self,
        state: ImageState,
        findings: list[Finding],
        manifest: PackageManifest,
        parents: Sequence[StoredPackage],
        planned: Mapping[tuple[str, str], int],
    ) -> None:
        """`planned` are states of updates of packages that come along, by names in lower case."""
        self._state = state
        self._planned = planned
        self._findings = findings
        self._manifest = manifest
        self._parents = parents
        self._by_name = {one.name.lower(): one for one in reversed(manifest.updates)}
        self._known: dict[str, int] = {}
        self._following = 0

    def of(self, update: Update) -> int:
        """The state that an update has where its package is installed.

        Raises:
            DamagedPackage: updates follow each other beyond all use.
        """
        name = update.name.lower()
        if name not in self._known:
            if self._following > MAX_DEPTH:
                raise DamagedPackage(f"more than {MAX_DEPTH} updates that follow each other")
            self._following += 1
            self._known[name] = STAGED  # what an update gets that follows itself
            self._known[name] = self._decide(update)
            self._following -= 1
        return self._known[name]

    def _decide(self, update: Update) -> int:
        if update.applicable is not None:
            return self._applicable(update, update.applicable)
        if update.selectable is not None:
            return self._selected(update)
        return INSTALLED

    def _applicable(self, update: Update, applicable: Applicable) -> int:
        otherwise = _DISPOSITIONS.get(applicable.disposition.lower())
        unproven = {one.elevate for one in applicable.components} - _PROVEN_ELEVATIONS.keys()
        if otherwise is None or unproven:
            self._refuse(update, applicable)
            return ABSENT
        states: list[int] = [INSTALLED]
        if applicable.components:
            holds = any(elevation_holds(self._state, one) for one in applicable.components)
            states.append(INSTALLED if holds else otherwise)
        for one in applicable.detections:
            found = self._in_parent(one.name) if one.in_parent else self._in_package(one.name)
            states.append(_followed(found, otherwise))
        return min(states)

    def _refuse(self, update: Update, applicable: Applicable) -> None:
        kinds = sorted({one.elevate or "none" for one in applicable.components})
        about = f"elevation {', '.join(kinds)}, disposition {applicable.disposition or 'none'}"
        text = (
            f"update {update.name} of {self._manifest.identity.package_name}: "
            f"how Windows evaluates {about} is not proven"
        )
        self._findings.append(Finding(Verdict.NOT_SUPPORTED, "elevate-unproven", text))

    def _in_parent(self, name: str) -> int | None:
        """The state in the parents that decide: not in those that better ones have replaced."""
        found = [
            (coarse(parent.state), state)
            for parent in self._parents
            if (state := self._state_in(parent.name, name)) is not None
        ]
        return max(found)[1] if found else None

    def _state_in(self, package: str, update: str) -> int | None:
        planned = self._planned.get((package.lower(), update.lower()))
        return self._state.update_state(package, update) if planned is None else planned

    def _in_package(self, name: str) -> int | None:
        update = self._by_name.get(name.lower())
        return None if update is None else self.of(update)

    def _selected(self, update: Update) -> int:
        """A feature keeps the state that it has in an older version of the package."""
        assert update.selectable is not None
        for package in reversed(self._state.packages_of(self._manifest.identity)):
            state = self._state.update_state(package.name, update.name)
            if state is not None:
                return coarse(state)
        if update.selectable.default:
            return INSTALLED
        return _DISPOSITIONS.get(update.selectable.disposition.lower(), ABSENT)


def _followed(found: int | None, otherwise: int) -> int:
    """State of an update that follows another; one that is not there leaves it staged."""
    return STAGED if found is None else max(coarse(found), otherwise)
