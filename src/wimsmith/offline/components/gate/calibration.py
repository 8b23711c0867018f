"""Self-calibration: an image's own store, re-derived, before anything is written into it.

Every rule that installing relies on is checked on what the image has already: a rule that does not
reproduce it is not one of this image, and nothing is written. So Windows versions that nobody has
tried are refused by the name of the rule, without any list of builds. Rules and what is exempt:
docs/internals/calibration.md.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from wimsmith.offline.components.gate.reading import SubjectReader, unique
from wimsmith.offline.components.gate.report import CalibrationReport, Word
from wimsmith.offline.components.gate.rules.base import Rule
from wimsmith.offline.components.gate.rules.components import (
    DigestRule,
    FilesRule,
    FlagsRule,
    IdentityRule,
    KeyformRule,
    OwnersRule,
)
from wimsmith.offline.components.gate.rules.deployments import (
    AppIdRule,
    CatalogsRule,
    DeploymentKeyRule,
    ReferencesRule,
    ThumbprintsRule,
)
from wimsmith.offline.components.gate.rules.files import DestinationsRule, LinksRule, SecurityRule
from wimsmith.offline.components.gate.rules.packages import (
    PackageCatalogRule,
    PackageFilesRule,
    PackageIndexRule,
    PackageNameRule,
    PackageOwnersRule,
    StatesRule,
    VisibilityRule,
)
from wimsmith.offline.components.gate.rules.registry import RegistryRule
from wimsmith.offline.components.gate.rules.wholes import (
    BackupRule,
    BaseManifestRule,
    DetectRule,
    StoreFormatRule,
    StoreSecurityRule,
)
from wimsmith.offline.components.gate.rules.winners import WinnersRule
from wimsmith.offline.components.gate.subjects import Deployment, Inventory
from wimsmith.offline.components.store.basemanifest import ManifestReader
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.names import deployment_key
from wimsmith.offline.paths import fold
from wimsmith.offline.progress import Event, Progress, silent

log = logging.getLogger("wimsmith.offline")

_PHASE = "calibrate"
_ON_COMPONENTS: tuple[type[Rule], ...] = (
    KeyformRule,
    IdentityRule,
    DigestRule,
    OwnersRule,
    FilesRule,
    FlagsRule,
    WinnersRule,
    LinksRule,
    DestinationsRule,
    SecurityRule,
)
_ON_DEPLOYMENTS: tuple[type[Rule], ...] = (
    DeploymentKeyRule,
    AppIdRule,
    ThumbprintsRule,
    CatalogsRule,
    ReferencesRule,
)
_ON_PACKAGES: tuple[type[Rule], ...] = (
    PackageNameRule,
    PackageFilesRule,
    PackageCatalogRule,
    PackageIndexRule,
    PackageOwnersRule,
    StatesRule,
    VisibilityRule,
)
_ON_THE_STORE: tuple[type[Rule], ...] = (StoreFormatRule, StoreSecurityRule, DetectRule, BackupRule)


@dataclass(frozen=True, slots=True)
class Sample:
    """How many of each kind are looked at; the same ones each time, spread over the store."""

    installed: int = 200
    staged: int = 50
    deployments: int = 50
    packages: int = 200


DEFAULT_SAMPLE = Sample()
FAMILIES_ONLY = Sample(0, 0, 0, 0)
"""For an image that has been calibrated: only the families that an update touches."""


def calibrate(
    store: Store,
    progress: Progress = silent,
    *,
    families: Iterable[AssemblyIdentity] = (),
    sample: Sample | None = DEFAULT_SAMPLE,
) -> CalibrationReport:
    """Check every rule of the store on what the image has, without writing anything.

    Where content of a sample differs more often than it may, all of the store is looked at before
    that is called a rule not understood: a class may have few examples in a sample.

    Args:
        store: the image as it is.
        progress: told of each batch; may raise to cancel.
        families: components and packages; all versions that the image has are looked at as well.
        sample: how much; None for everything.

    Raises:
        DamagedHive, DamagedWim: the image cannot be read.
        WorkerFailed: the child process for deltas could not be started.
        OSError: no space for deltas, for example.
    """
    families = tuple(families)
    report = _Calibration(store, progress, families, sample).run()
    doubtful = [one.name for one in report.rules if one.word is Word.NOT_UNDERSTOOD]
    if sample is not None and doubtful and set(doubtful) <= _CONTENT:
        log.info("Calibration: %s differ in the sample, reading all", ", ".join(doubtful))
        report = _Calibration(store, progress, families, None).run()
    for rule in report.rules:
        log.info("Calibration: %s: %s, %d of %d", rule.name, rule.word, rule.matched, rule.checked)
    return report


_CONTENT = frozenset((LinksRule.name, SecurityRule.name, RegistryRule.name))


class _Calibration:
    """One run over one store."""

    def __init__(
        self,
        store: Store,
        progress: Progress,
        families: Sequence[AssemblyIdentity],
        sample: Sample | None,
    ) -> None:
        self._store = store
        self._progress = progress
        self._families = families
        self._sample = sample
        self._inventory = inventory = Inventory(store)
        reader = ManifestReader(store)
        self._reader = SubjectReader(inventory, reader)
        self._rules: tuple[Rule, ...] = (
            *(rule(inventory) for rule in _ON_COMPONENTS),
            RegistryRule(inventory, reader),
            BaseManifestRule(inventory, self._reader),
            *(rule(inventory) for rule in _ON_DEPLOYMENTS),
            *(rule(inventory) for rule in _ON_PACKAGES),
            *(rule(inventory) for rule in _ON_THE_STORE),
        )
        self._looked_at: Counter[str] = Counter()
        self._done = 0
        self._total = 0

    def run(self) -> CalibrationReport:
        deployments = self._chosen_deployments()
        components = self._chosen_components()
        owners = self._owners_of(components)
        deployments = unique([*deployments, *owners])
        described = {self._inventory.component_of(one) for one in deployments}
        components = [one for one in components if one not in described]
        packages = self._chosen_packages()
        self._total = 2 * len(deployments) + len(components) + len(packages)
        self._look_at_deployments(deployments)
        self._look_at_components(components)
        self._look_at_packages(packages)
        if self._sample != FAMILIES_ONLY:
            for rule in self._rules:
                rule.store_as_a_whole()
        return self._report()

    def _chosen_deployments(self) -> list[str]:
        names = _spread(self._inventory.deployments.values())
        count = None if self._sample is None else self._sample.deployments
        return list(islice(names, count))

    def _chosen_components(self) -> list[str]:
        """Installed and staged ones, as many as wanted, and all versions of touched families."""
        names = _spread(self._inventory.components.values())
        touched = [
            key for identity in self._families for key in self._inventory.versions_of(identity)
        ]
        if self._sample is None:
            return unique([*touched, *names])
        chosen: dict[bool, list[str]] = {True: [], False: []}
        wanted = {True: self._sample.installed, False: self._sample.staged}
        for name in names:
            if all(len(chosen[kind]) >= wanted[kind] for kind in wanted):
                break
            kind = self._is_installed(name)
            if len(chosen[kind]) < wanted[kind]:
                chosen[kind].append(name)
        return unique([*touched, *chosen[True], *chosen[False]])

    def _is_installed(self, key: str) -> bool:
        return any(self._inventory.is_installed(owner) for owner in self._owners(key))

    def _owners(self, key: str) -> list[str]:
        values = self._inventory.component_values(key)
        return [name[2:] for name in values if name.startswith("c!")]

    def _owners_of(self, components: Sequence[str]) -> list[str]:
        """Deployments that the chosen components name: what those list is to be compared."""
        names = self._inventory.deployments
        owners = (fold(owner) for key in components for owner in self._owners(key))
        return [names[owner] for owner in unique(owners) if owner in names]

    def _chosen_packages(self) -> list[str]:
        touched = [
            package.name
            for identity in self._families
            for package in self._store.packages_of(identity)
        ]
        count = None if self._sample is None else self._sample.packages
        return unique([*touched, *islice(_spread(self._inventory.packages), count)])

    def _look_at_deployments(self, keys: Sequence[str]) -> None:
        waiting = []
        for one in self._reader.deployments(keys):
            self._step("deployments")
            misnamed = _is_misnamed(one)
            for rule in self._rules:
                if not misnamed or isinstance(rule, DeploymentKeyRule):
                    rule.deployment(one)
            if one.component is not None:
                waiting.append(one.component.key)
        self._look_at_components(unique(waiting))

    def _look_at_components(self, keys: Sequence[str]) -> None:
        for one in self._reader.components(keys):
            self._step("components")
            misnamed = one.is_misnamed
            for rule in self._rules:
                if not misnamed or isinstance(rule, KeyformRule):
                    rule.component(one)

    def _look_at_packages(self, keys: Sequence[str]) -> None:
        for one in self._reader.packages(keys):
            self._step("packages")
            for rule in self._rules:
                if one.identity is not None or isinstance(rule, PackageNameRule):
                    rule.package(one)

    def _step(self, kind: str) -> None:
        self._looked_at[kind] += 1
        self._done += 1
        self._progress(Event(_PHASE, self._done, max(self._total, self._done)))

    def _report(self) -> CalibrationReport:
        rules = tuple(rule.report() for rule in self._rules)
        if self._sample == FAMILIES_ONLY:
            rules = tuple(replace(rule, is_needed=False) for rule in rules)
        return CalibrationReport(
            rules=rules,
            sample=dict(self._looked_at),
            store=self._facts(),
            is_full=self._sample is None,
        )

    def _facts(self) -> dict[str, str]:
        image, stack = self._store.image, self._store.servicing_stack()
        value = self._store.components.value("", "StoreFormatVersion")
        return {
            "windows": f"{image.major}.{image.minor}.{image.build}.{image.revision}",
            "architecture": image.architecture,
            "store format": value.data.decode("utf-16-le", "replace").rstrip("\0") if value else "",
            "servicing stack": str(stack or ""),
            "components": str(len(self._inventory.components)),
            "deployments": str(len(self._inventory.deployments)),
            "packages": str(len(self._inventory.packages)),
        }


def _is_misnamed(one: Deployment) -> bool:
    return one.identity is not None and fold(deployment_key(one.identity)) != fold(one.key)


def _spread(names: Iterable[str]) -> list[str]:
    """The names in an order of their own: the first few are from all over the store."""
    return sorted(names, key=lambda name: hashlib.sha256(fold(name).encode()).digest())
