"""Writing components, deployments and packages of an update into a draft of the image."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from wimsmith.offline.components.install.cbs import (
    InstallFacts,
    Neighbours,
    drop_caches,
    supersede_older,
    write_package_files,
    write_package_index,
    write_package_key,
)
from wimsmith.offline.components.install.conflicts import check_conflicts
from wimsmith.offline.components.install.descriptions import Component
from wimsmith.offline.components.install.detections import write_detections
from wimsmith.offline.components.install.files import (
    PlannedFiles,
    is_stored,
    remove_names,
    write_backups,
    write_directories,
    write_links,
    write_payload,
)
from wimsmith.offline.components.install.registry import PlannedKey, write_registry
from wimsmith.offline.components.install.source import Deployment, Selection
from wimsmith.offline.components.store import winners
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import (
    CATALOGS,
    COMPONENTS,
    DEPLOYMENTS,
    Store,
)
from wimsmith.offline.components.store.references import Reference
from wimsmith.offline.components.store.siblings import Siblings, ThumbprintRule
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.names import (
    file_value_name,
    identity_string,
    reference_value_name,
)
from wimsmith.offline.packages.package import ExpandedPackage, PackageFile
from wimsmith.offline.planning.applicability import Plan
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.registry.values import ValueType, encode_dword, encode_text

log = logging.getLogger("wimsmith.offline")

_BOOT_RECOVERY = "BootRecovery"


@dataclass(frozen=True, slots=True)
class PlannedComponent:
    """A component with everything decided; `backups` are suffixes of copies by file name."""

    component: Component
    files: PlannedFiles
    registry: tuple[PlannedKey, ...]
    flags: int | None
    file_flags: int
    backups: Mapping[str, str]


class Writer:
    """Writes one update; every step is complete in itself, and their order is that of `write`."""

    def __init__(
        self,
        draft: Draft,
        store: Store,
        siblings: Siblings,
        package: ExpandedPackage,
        facts: InstallFacts,
    ) -> None:
        """`store` reads `draft`; `siblings` reads the image as it was before."""
        self.draft = draft
        self.store = store
        self.siblings = siblings
        self.package = package
        self.facts = facts
        self.neighbours = Neighbours(draft)

    def write(
        self,
        plan: Plan,
        selection: Selection,
        components: list[PlannedComponent],
        progress: Progress,
    ) -> None:
        """Write everything of an update into the draft.

        Raises:
            NotSupported: `calibration:...`, siblings do not show a value; `ambiguous:...`, two
                components claim one place.
            Untrusted: payload that is not what its manifest says.
            PathConflict: a file stands where a directory belongs, or the other way round.
        """
        total = len(components)
        for done, planned in enumerate(components, 1):
            self._stage(planned)
            progress(Event("stage components", done, total))
        self._mark_present(selection)
        for planned in components:
            self._enter_winner(planned.component)
        winning = [one for one in components if self._wins(one.component)]
        check_conflicts(winning)
        write_directories(self.draft, (one.files for one in winning))
        write_registry(self.draft, (key for one in winning for key in one.registry))
        for done, planned in enumerate(winning, 1):
            self._project(planned)
            progress(Event("install components", done, len(winning)))
        for planned in winning:
            remove_names(self.draft, planned.files)
        for deployment in selection.deployments:
            self._deployment(deployment)
        self._packages(plan)

    def _stage(self, planned: PlannedComponent) -> None:
        """The component in the store: manifest, payload, and its key."""
        component = planned.component
        key = rf"{COMPONENTS}\{component.key}"
        digest = hashlib.sha256(component.data).digest()
        known = self.store.component_value(component.key, "S256H")
        if known is None or known.data != digest or not self._is_complete(planned):
            self.neighbours.put(self.store.manifest_path(component.key), component.data)
            self._payload_folder(planned)
            write_payload(self.draft, component, planned.files)
            self._component_key(planned, digest)
            self._file_flags(planned)
        elif self._is_newly_installed(component):
            self._file_flags(planned)
        for owner in component.deployments:
            self.store.components.set_value(key, f"c!{owner}", ValueType.BINARY, b"")

    def _is_complete(self, planned: PlannedComponent) -> bool:
        """Whether the image holds all of the component as its manifest describes it."""
        has_manifest = self.draft.exists(self.store.manifest_path(planned.component.key))
        return has_manifest and all(is_stored(self.draft, file) for file in planned.files.files)

    def _is_newly_installed(self, component: Component) -> bool:
        """Whether the component was only staged so far and is to be installed."""
        if component.state < PackageState.INSTALLED:
            return False
        return component.identity.version not in self.store.installed_versions(component.identity)

    def _payload_folder(self, planned: PlannedComponent) -> None:
        """The folder of the payload, with the descriptor that the image's other ones have."""
        path = self.store.payload_path(planned.component.key)
        if planned.files.files and not self.draft.exists(path):
            self.draft.make_directory(path, self.siblings.payload_folder_security)

    def _component_key(self, planned: PlannedComponent, digest: bytes) -> None:
        component, hive = planned.component, self.store.components
        key = rf"{COMPONENTS}\{component.key}"
        identity = identity_string(component.identity).encode("ascii")
        hive.set_value(key, "identity", ValueType.BINARY, identity)
        hive.set_value(key, "S256H", ValueType.BINARY, digest)
        if planned.flags is not None:
            hive.set_value(key, "CF", ValueType.DWORD, encode_dword(planned.flags))

    def _file_flags(self, planned: PlannedComponent) -> None:
        key = rf"{COMPONENTS}\{planned.component.key}"
        for file in planned.files.files:
            name = file_value_name(file.name)
            data = encode_dword(planned.file_flags)
            self.store.components.set_value(key, name, ValueType.DWORD, data)

    def _mark_present(self, selection: Selection) -> None:
        for key, owners in selection.present.items():
            for owner in owners:
                path = rf"{COMPONENTS}\{key}"
                self.store.components.set_value(path, f"c!{owner}", ValueType.BINARY, b"")

    def _enter_winner(self, component: Component) -> None:
        """Add an installed version to its family, and let the highest of the branch win."""
        if component.state < PackageState.INSTALLED:
            return
        if component.manifest.is_deployment and not self.siblings.deployments_win:
            return
        winners.enter(self.store, component.identity)

    def _wins(self, component: Component) -> bool:
        if component.state < PackageState.INSTALLED or component.manifest.is_deployment:
            return False
        identity = component.identity
        return identity.version in winners.shown(self.store, identity)

    def _project(self, planned: PlannedComponent) -> None:
        """The files that a winning component shows outside the store."""
        write_links(self.draft, planned.files)
        if planned.backups:
            self._backups(planned)

    def _backups(self, planned: PlannedComponent) -> None:
        folder = self.store.payload_path("Backup")
        write_backups(self.draft, planned.component, planned.files, folder, dict(planned.backups))
        if self.siblings.backups_hold_manifests:
            path = f"{folder}/{planned.component.key}.manifest"
            self.neighbours.put(path, planned.component.data)

    def _deployment(self, deployment: Deployment) -> None:
        hive, identity = self.store.components, deployment.component.identity
        key = rf"{DEPLOYMENTS}\{deployment.key}"
        appid = identity_string(identity).encode("ascii")
        hive.set_value(key, "appid", ValueType.BINARY, appid)
        if hive.value(key, "CatalogThumbprint") is None:
            thumbprint = encode_text(self._thumbprint(deployment))
            hive.set_value(key, "CatalogThumbprint", ValueType.SZ, thumbprint)
        catalog = rf"{CATALOGS}\{deployment.catalog}"
        hive.set_value(catalog, f"c!{deployment.key}", ValueType.BINARY, b"")
        for mark in _marks(deployment.update.state):
            data = self.siblings.reference_data(mark, deployment.update.update)
            reference = Reference(mark, deployment.identifier, data)
            name = reference_value_name(mark, deployment.identifier)
            hive.set_value(key, name, ValueType.BINARY, reference.to_bytes())

    def _thumbprint(self, deployment: Deployment) -> str:
        thumbprint = deployment.catalog
        if self.siblings.thumbprint_rule is ThumbprintRule.DEPLOYMENT_MANIFEST:
            thumbprint = hashlib.sha256(deployment.component.data).hexdigest()
        return thumbprint.upper() if self.siblings.thumbprint_is_upper else thumbprint

    def _packages(self, plan: Plan) -> None:
        touched: list[str] = []
        for package in plan.packages:
            write_package_files(self.neighbours, self.store, self._package_file(package.identity))
            top = plan.packages[0]
            state = write_package_key(self.store, self.siblings, package, top, self.facts)
            write_package_index(self.store, self.siblings, package)
            touched.append(package.identity.package_name)
            if state >= PackageState.INSTALLED:
                touched += supersede_older(self.store, package)
        write_detections(self.siblings.store, self.store, plan.packages)
        drop_caches(self.store, touched)

    def _package_file(self, identity: AssemblyIdentity) -> PackageFile:
        found = self.package.package(identity)
        assert found is not None, "a plan holds packages of the update only"
        return found


def is_boot_recovery(component: Component) -> bool:
    """Whether copies of the files are kept for a start of Windows that fails."""
    return _BOOT_RECOVERY in component.manifest.categories


def _marks(state: int) -> tuple[str, ...]:
    """Pinned and staged, and installed where the deployment gets as far as that."""
    return ("p!", "s!", "i!") if state >= PackageState.INSTALLED else ("p!", "s!")
