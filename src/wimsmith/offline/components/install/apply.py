"""Applying one update to one index: all of it as a change set, or nothing with the reasons.

Steps and state machine: docs/internals/component-store.md. Nothing here writes a WIM.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from wimsmith.errors import (
    Cancelled,
    DamagedInput,
    Interrupted,
    NotFound,
    NotSupported,
    Untrusted,
    WimsmithError,
)
from wimsmith.offline.components.applicability import Plan, evaluate
from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.install.advanced import advanced_findings
from wimsmith.offline.components.install.cbs import InstallFacts
from wimsmith.offline.components.install.descriptions import Component, expander
from wimsmith.offline.components.install.files import PlannedFiles, plan_files
from wimsmith.offline.components.install.registry import plan_registry
from wimsmith.offline.components.install.selfcheck import check_changes, check_closure
from wimsmith.offline.components.install.source import Selection, Source
from wimsmith.offline.components.install.writing import PlannedComponent, Writer, is_boot_recovery
from wimsmith.offline.components.outcome import Outcome, decided, finding_of, log_outcome, refused
from wimsmith.offline.components.store.basemanifest import ManifestReader
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.components.store.siblings import Siblings
from wimsmith.offline.components.store.view import View
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.packages.obstacles import manifests_in_use, obstacles_of
from wimsmith.offline.packages.package import ExpandedPackage
from wimsmith.offline.packages.trust.following import TrustPolicy, verify, verify_packages
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.verdicts import Finding, Verdict

log = logging.getLogger("wimsmith.offline")

LOCAL_SYSTEM = "S-1-5-18"
_SPOOL = "drafted"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """What applying depends on besides the update and the image: same input, same output.

    Attributes:
        trust: whose signatures count.
        now: FILETIME that new files and package keys carry.
        install_client, install_user, install_location: what package keys say of their origin.
        expected: the package that a catalogue promised, if one did.
    """

    trust: TrustPolicy
    now: int
    install_client: str = "Wimsmith"
    install_user: str = LOCAL_SYSTEM
    install_location: str = ""
    expected: AssemblyIdentity | None = None


def apply(
    update: ExpandedPackage, view: View, options: ApplyOptions, progress: Progress = silent
) -> Outcome:
    """Apply one expanded update to one index, all or nothing.

    The content of the change set lies below `update.root` until the set is saved.

    Raises:
        Cancelled, Interrupted: `progress` asked for it.
        OSError: no space, for example.
    """
    log.info("Applying package %s", update.top.name)
    try:
        outcome = _Application(update, view, options, progress).run()
    except (Cancelled, Interrupted):
        raise
    except WimsmithError as error:
        return refused(update.top.name, error)
    log_outcome(update.top.name, outcome)
    return outcome


class _Application:
    """One update on one index; `findings` grow while it runs."""

    def __init__(
        self, update: ExpandedPackage, view: View, options: ApplyOptions, progress: Progress
    ) -> None:
        self.update = update
        self.options = options
        self.progress = progress
        self.findings: list[Finding] = []
        self.draft = Draft(view, update.root / _SPOOL, options.now)
        self.store = Store(self.draft)
        before = Store(Draft(view, update.root / _SPOOL, options.now))
        self.siblings = Siblings(before)
        self.reader = ManifestReader(before)
        self.source = Source(update, self.store, self.reader)

    def run(self) -> Outcome:
        self.findings += health_findings(self.store)
        if self.findings:
            return decided(tuple(self.findings))
        self._trust()
        plan = self._evaluate()
        selection = self._select(plan)
        components = list(self._planned(selection))
        self.findings += self._newer_components(selection)
        if self.findings:
            return decided(tuple(dict.fromkeys(self.findings)))
        return self._write(plan, selection, components)

    def _trust(self) -> None:
        """Follow the whole chain of trust; what breaks it is a finding."""
        with_base = self._try(lambda: (self.reader.base_for(self.update),))
        if with_base is None:
            self._try(
                lambda: verify_packages(self.update, self.options.trust, self.options.expected)
            )
            return
        self._try(
            lambda: verify(
                self.update,
                self.options.trust,
                base_manifest=with_base[0],
                expected=self.options.expected,
                progress=self.progress,
            )
        )

    def _evaluate(self) -> Plan:
        packages = {name.lower(): one.manifest for name, one in self.update.packages.items()}
        for obstacle in obstacles_of(manifests_in_use(self.update)):
            self._refuse(obstacle.code, obstacle.text)
        plan = evaluate(self.store, self.update.top.manifest, packages)
        self.findings += plan.findings
        for package in plan.packages:
            self._servicing_stack(package.identity)
        return plan

    def _select(self, plan: Plan) -> Selection:
        """What the plan asks for; without a plan everything in the update is looked at."""
        if plan.packages:
            return self._try(lambda: self.source.select(plan)) or Selection()
        selection = Selection()
        for key in self.update.manifests:
            read = self._try(lambda key=key: self.source.component(key))  # type: ignore[misc]
            if read is not None:
                data, manifest = read
                selection.components[key] = Component(data, manifest, PackageState.INSTALLED, ())
        return selection

    def _planned(self, selection: Selection) -> Iterator[PlannedComponent]:
        for component in selection.components.values():
            self.findings += advanced_findings(
                self.store, self.reader, component.data, component.manifest
            )
            self._check_family(component.identity)
            if component.manifest.is_deployment:
                self._servicing_stack(component.identity)
            planned = self._plan_component(component)
            if planned is not None:
                yield planned

    def _plan_component(self, component: Component) -> PlannedComponent | None:
        """Decide where all of a component goes; each thing in the way is a finding."""
        manifest, key = component.manifest, component.key
        files = self._try(lambda: plan_files(self.store, manifest, self.update, key))
        texts = self._try(
            lambda: expander(self.store, self.reader, manifest, self.source.everything())
        )
        if files is None or texts is None:
            return None
        keys = self._try(lambda: plan_registry(self.store, manifest, texts))
        flags = self._try(lambda: (self._flags(component),))
        backups = self._try(lambda: self._backups(component, files))
        if keys is None or flags is None or backups is None:
            return None
        return PlannedComponent(component, files, keys, *flags[0], backups)

    def _flags(self, component: Component) -> tuple[int | None, int]:
        has_files = bool(component.manifest.files)
        flags = self.siblings.component_flags(
            component.identity,
            is_deployment=component.manifest.is_deployment,
            has_files=has_files,
        )
        if not has_files:
            return flags, 0
        installed = component.state >= PackageState.INSTALLED
        return flags, self.siblings.file_flags(is_installed=installed)

    def _backups(self, component: Component, files: PlannedFiles) -> dict[str, str]:
        if not is_boot_recovery(component):
            return {}
        return {
            file.name: self.siblings.backup_suffix(file.name.rpartition("/")[2])
            for file in files.files
        }

    def _servicing_stack(self, identity: AssemblyIdentity) -> None:
        if "servicingstack" in identity.name.lower() and not self.store.has_component(identity):
            text = f"{identity.name} {identity.version} would replace the servicing stack"
            self._refuse("servicing-stack", text)

    def _check_family(self, identity: AssemblyIdentity) -> None:
        """The version that wins so far must be in the store, or the image is damaged."""
        winner = self.store.winning_version(identity)
        present = winner and replace(identity, version=winner)
        if present and not self.draft.exists(self.store.manifest_path(keyform(present))):
            text = f"the manifest of {keyform(present)}, which wins, is missing"
            self._refuse("image-damaged", text)

    def _newer_components(self, selection: Selection) -> Iterator[Finding]:
        """An update all of whose components are there in higher versions is superseded."""
        found = [
            self._is_newer_there(component.identity)
            for component in selection.components.values()
            if not component.manifest.is_deployment
        ]
        if found and all(found):
            text = f"the image has all {len(found)} components in higher versions"
            yield Finding(Verdict.SUPERSEDED, "superseded", text)

    def _is_newer_there(self, identity: AssemblyIdentity) -> bool:
        """Whether the image has a higher version; those side by side count by branch."""
        winner = self.store.winning_version(identity)
        installed = self.store.installed_versions(identity) if identity.is_alone else ()
        return any(one > identity.version for one in (winner, *installed) if one)

    def _write(
        self, plan: Plan, selection: Selection, components: list[PlannedComponent]
    ) -> Outcome:
        options = self.options
        facts = InstallFacts(
            options.install_client, options.install_location, options.install_user, options.now
        )
        writer = Writer(self.draft, self.store, self.siblings, self.update, facts)
        writer.write(plan, selection, components, self.progress)
        changes = self.draft.changes
        check_changes(self.draft, changes)
        planned = [(one.component, one.files) for one in components]
        check_closure(self.store, planned, selection.deployments)
        names = tuple(package.identity.package_name for package in plan.packages)
        return Outcome(Verdict.APPLIED, "applied", self._summary(plan), (), changes, names)

    def _summary(self, plan: Plan) -> str:
        top = plan.packages[0]
        state = "installed" if top.target >= PackageState.INSTALLED else "staged"
        return f"{top.identity.package_name} is {state}, {len(plan.packages)} packages written"

    def _try(self, step: Callable[[], _T]) -> _T | None:
        """The result of a step, None with a finding if something is in the way."""
        try:
            return step()
        except (NotSupported, Untrusted, DamagedInput, NotFound) as error:
            self.findings.append(finding_of(error))
            return None

    def _refuse(self, code: str, text: str) -> None:
        self.findings.append(Finding(Verdict.NOT_SUPPORTED, code, text))
