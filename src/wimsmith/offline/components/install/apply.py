"""Applying one update to one index: all of it as a change set, or nothing with the reasons.

Steps and state machine: docs/internals/component-store.md. Nothing here writes a WIM.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
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
from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.gate.remembered import calibration_findings
from wimsmith.offline.components.install.advanced import advanced_findings, unknown_attributes
from wimsmith.offline.components.install.cbs import InstallFacts
from wimsmith.offline.components.install.descriptions import Component, expander
from wimsmith.offline.components.install.files import (
    PlannedFiles,
    plan_files,
    without_names_of,
)
from wimsmith.offline.components.install.registry import plan_registry
from wimsmith.offline.components.install.selfcheck import check_changes, check_closure
from wimsmith.offline.components.install.source import Selection, Source
from wimsmith.offline.components.install.writing import PlannedComponent, Writer, is_boot_recovery
from wimsmith.offline.components.outcome import Outcome, decided, finding_of, log_outcome, refused
from wimsmith.offline.components.store.basemanifest import ManifestReader
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import WINNERS, Store
from wimsmith.offline.components.store.siblings import Siblings
from wimsmith.offline.components.store.view import View
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.packages.obstacles import manifests_in_use, obstacles_of
from wimsmith.offline.packages.package import ExpandedPackage
from wimsmith.offline.packages.trust.following import TrustPolicy, verify, verify_packages
from wimsmith.offline.planning.applicability import Plan, evaluate
from wimsmith.offline.planning.reasons import newer_components, stack_reached
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.verdicts import Finding, Verdict

log = logging.getLogger("wimsmith.offline")

LOCAL_SYSTEM = "S-1-5-18"
_SPOOL = "drafted"
_DRIVER_TYPES = frozenset(["dualmodedriver", "driverupdate"])
_POLICY_TYPE, _POLICY_PREFIX = "win32-policy", "policy."
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """What applying depends on besides the update and the image: same input, same output.

    Attributes:
        trust: whose signatures count.
        now: FILETIME that new files and package keys carry.
        install_client, install_user, install_location: what package keys say of their origin.
        expected: the package that a catalogue promised, if one did.
        allow_not_generalised: whether the Windows of one computer may be serviced all the same.
    """

    trust: TrustPolicy
    now: int
    install_client: str = "Wimsmith"
    install_user: str = LOCAL_SYSTEM
    install_location: str = ""
    expected: AssemblyIdentity | None = None
    allow_not_generalised: bool = False


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
        self.before = Store(Draft(view, update.root / _SPOOL, options.now))
        self.siblings = Siblings(self.before)
        self.reader = ManifestReader(self.before)
        self.source = Source(update, self.store, self.reader)

    def run(self) -> Outcome:
        self.findings += health_findings(
            self.store, allow_not_generalised=self.options.allow_not_generalised
        )
        if self.findings:
            return decided(tuple(self.findings))
        self._trust()
        plan = self._evaluate()
        selection = self._select(plan)
        components = list(self._planned(selection))
        self.findings += self._newer_components(selection)
        self.findings += self._calibration(plan, selection)
        if self.findings:
            return decided(tuple(dict.fromkeys(self.findings)))
        return self._write(plan, selection, components)

    def _calibration(self, plan: Plan, selection: Selection) -> tuple[Finding, ...]:
        """What the image's own store has against it; asked where something would be written."""
        touched = [one.identity for one in selection.components.values()]
        touched += [one.identity for one in plan.packages]
        return calibration_findings(self.before, touched, self.progress) if plan.packages else ()

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
            self.findings += self._advanced(component)
            self._check_kind(component.identity)
            self._check_family(component.identity)
            self._servicing_stack(component.identity)
            planned = self._plan_component(component)
            if planned is not None:
                yield planned

    def _advanced(self, component: Component) -> list[Finding]:
        """Elements that need an installer, where the component gets as far as that."""
        if component.state < PackageState.INSTALLED:
            return list(unknown_attributes(component.manifest))
        return list(advanced_findings(self.store, self.reader, component.data, component.manifest))

    def _check_kind(self, identity: AssemblyIdentity) -> None:
        """Drivers, and policies of assemblies where the image does not show what becomes of them.

        Policies are kept like any component; that is copied only where the image itself has one.
        """
        kind = identity.type.lower()
        if kind in _DRIVER_TYPES:
            self._refuse("driver-element", f"{identity.name} is a driver")
        is_policy = kind == _POLICY_TYPE or identity.name.lower().startswith(_POLICY_PREFIX)
        if is_policy and not identity.is_alone and not self._knows_policies:
            text = f"{identity.name} redirects assemblies, and the image has no such component"
            self._refuse("sxs-policy", text)

    @cached_property
    def _knows_policies(self) -> bool:
        return any(
            name.partition("_")[2].startswith(_POLICY_PREFIX)
            for name in self.before.software.subkeys(WINNERS)
        )

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
        backups = self._try(partial(self._backups, component, files))
        if keys is None or flags is None or backups is None:
            return None
        files = self._try(partial(self._without_older_names, component, files)) or files
        return PlannedComponent(component, files, keys, *flags[0], backups)

    def _without_older_names(self, component: Component, files: PlannedFiles) -> PlannedFiles:
        """The files, and which names the version in use so far has in the system besides."""
        version = self.store.version_in_use(component.identity)
        if component.state < PackageState.INSTALLED or component.manifest.is_deployment:
            return files
        if version is None or version >= component.identity.version:
            return files
        older = replace(component.identity, version=version)
        if not self.draft.exists(self.store.manifest_path(keyform(older))):
            return files  # which is damage that is told elsewhere
        return without_names_of(self.store, self.reader.stored(older)[1], files)

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
        if identity.is_servicing_stack and not self.store.has_component(identity):
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
        """Why an update brings nothing that the image has not: it is superseded."""
        found = selection.components.values()
        components = [one.identity for one in found if not one.manifest.is_deployment]
        yield from newer_components(self.store, components)
        yield from stack_reached(self.store, components)

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
        staged = " is staged only" if top.target < PackageState.INSTALLED else ""
        below = len(plan.packages) - 1
        more = f", with {below} of its packages" if below else ""
        return f"{top.identity.package_name}{staged}{more}"

    def _try(self, step: Callable[[], _T]) -> _T | None:
        """The result of a step, None with a finding if something is in the way."""
        try:
            return step()
        except (NotSupported, Untrusted, DamagedInput, NotFound) as error:
            self.findings.append(finding_of(error))
            return None

    def _refuse(self, code: str, text: str) -> None:
        self.findings.append(Finding(Verdict.NOT_SUPPORTED, code, text))
