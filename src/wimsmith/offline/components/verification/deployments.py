"""Deployments and catalogs: who holds them, what they list, and who lists them."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping

from wimsmith.errors import DamagedInput, LimitExceeded, WimsmithError
from wimsmith.offline.components.store.lookups import WINSXS
from wimsmith.offline.components.store.references import Reference, split_identifier
from wimsmith.offline.components.verification.manifests import ManifestFacts
from wimsmith.offline.components.verification.reading import read_files
from wimsmith.offline.components.verification.report import Area, Findings
from wimsmith.offline.components.verification.tables import (
    ComponentRow,
    DeploymentRow,
    Tables,
)
from wimsmith.offline.facts import PackageState
from wimsmith.offline.image import ImageView
from wimsmith.offline.manifests.names import deployment_key, keyform
from wimsmith.offline.packages.trust.catalog import MAX_CATALOG_BYTES, parse_catalog
from wimsmith.offline.progress import Event, Progress

_KEPT_AS_INSTALLED = PackageState.SUPERSEDED


def check_deployments(
    tables: Tables,
    manifests: Mapping[str, ManifestFacts],
    updates: Mapping[str, frozenset[str]],
    findings: Findings,
) -> None:
    """Check every deployment key.

    Args:
        tables: What the hives say.
        manifests: Facts of manifests by component key.
        updates: Names of the updates of each package, for those whose manifest was read.
        findings: Told what is wrong.
    """
    for key, row in tables.deployments.items():
        findings.checked(Area.DEPLOYMENTS)
        for reference in row.references:
            _check_reference(row, reference, tables, updates, findings)
        if not row.references:
            findings.add("deployment-unreferenced", row.key, row.key)
        if row.identity is None or deployment_key(row.identity).lower() != key:
            findings.add("deployment-identity", row.key, row.key)
            continue
        own = keyform(row.identity).lower()
        component = tables.components.get(own)
        if component is None:
            findings.add("deployment-component-missing", f"{row.key}: {own}", row.key, own)
        digest = component.digest.hex() if component and component.digest else ""
        if not row.thumbprint or (
            row.thumbprint not in tables.catalogs and row.thumbprint != digest
        ):
            findings.add("deployment-catalog-missing", row.key, row.key)
        if own in manifests:
            _check_installs(row, key, manifests[own], tables, findings)


def _check_reference(
    row: DeploymentRow,
    reference: Reference,
    tables: Tables,
    updates: Mapping[str, frozenset[str]],
    findings: Findings,
) -> None:
    if reference.identifier.count("~") != 4:
        return  # held by something else than a package
    package_name, update = split_identifier(reference.identifier)
    package = tables.packages.get(package_name.lower())
    about = f"{row.key}: {reference.mark}{reference.identifier}"
    if package is None:
        findings.add("deployment-package-missing", about, row.key, package_name)
        return
    known = updates.get(package_name.lower())
    if known is not None and update.lower() not in known:
        findings.add("deployment-update", about, row.key, package_name)
    if reference.mark == "i!" and package.state < _KEPT_AS_INSTALLED:
        findings.add("deployment-state", f"{about} ({package.state:#x})", row.key, package_name)


def _check_installs(
    row: DeploymentRow, key: str, manifest: ManifestFacts, tables: Tables, findings: Findings
) -> None:
    if manifest.wildcards:
        findings.add("deployment-language", f"{row.key}: {manifest.wildcards}", row.key)
    for name in manifest.installs:
        component = tables.components.get(name)
        about = f"{row.key}: {name}"
        if component is None:
            installed = row.is_installed
            code = "deployment-incomplete" if installed else "deployment-staged-incomplete"
            findings.add(code, about, row.key, name)
        elif key not in component.deployments and not _is_nested(component):
            findings.add("component-mark-missing", about, row.key, name)


def _is_nested(component: ComponentRow) -> bool:
    """Whether a component is itself a deployment, which names itself."""
    if component.identity is None:
        return False
    return deployment_key(component.identity).lower() in component.deployments


class CatalogCheck:
    """Checks the catalogs of the store, and that they list its manifests."""

    def __init__(self, view: ImageView, windows: str, tables: Tables, findings: Findings) -> None:
        """`windows` is the Windows folder of the image."""
        self._view = view
        self._folder = f"{windows}/{WINSXS}/Catalogs"
        self._tables = tables
        self._findings = findings

    def run(self, manifests: Mapping[str, ManifestFacts], progress: Progress) -> None:
        """Check all catalogs, then whether each manifest is listed by one of its deployments."""
        names = self._names()
        for key, deployments in self._tables.catalogs.items():
            self._findings.checked(Area.CATALOGS)
            if key not in names:
                self._findings.add("catalog-missing", key, key, *deployments)
            for deployment in deployments:
                if deployment not in self._tables.deployments:
                    about = f"{key}: {deployment}"
                    self._findings.add("catalog-deployment", about, key, deployment)
        for key in names.keys() - self._tables.catalogs.keys():
            self._findings.add("catalog-unregistered", key, key)
        self._check_listed(names, manifests, progress)

    def _names(self) -> dict[str, str]:
        folder = self._view.find(self._folder)
        names = [one.name for one in ((folder.children or {}) if folder else {}).values()]
        return {name.lower()[:-4]: name for name in names if name.lower().endswith(".cat")}

    def _check_listed(
        self,
        names: Mapping[str, str],
        manifests: Mapping[str, ManifestFacts],
        progress: Progress,
    ) -> None:
        """Catalogs are read one at a time: those of cumulative updates have many members."""
        by_deployment = self._manifests_by_deployment(manifests)
        unlisted = {key for one in by_deployment.values() for key in one}
        wanted = {
            f"{self._folder}/{names[key]}": key
            for key, deployments in self._tables.catalogs.items()
            if key in names
            and (self._findings.covers(key, *deployments) or by_deployment.keys() & deployments)
        }
        for done, (path, data) in enumerate(
            read_files(self._view, wanted, MAX_CATALOG_BYTES, self._unreadable), 1
        ):
            key = wanted[path]
            progress(Event("check catalogs", done, len(wanted), "files"))
            hashes = self._hashes(key, data)
            if hashes is None:
                # What a broken catalog lists is not known, and needs no second finding.
                hashes = frozenset()
                for deployment in self._tables.catalogs[key]:
                    unlisted.difference_update(by_deployment[deployment])
            for deployment in self._tables.catalogs[key]:
                for component in by_deployment[deployment]:
                    facts = manifests[component]
                    if facts.sha256 in hashes or facts.sha1 in hashes:
                        unlisted.discard(component)
        for component in sorted(unlisted - self._of_missing(names, by_deployment)):
            self._findings.add("catalog-incomplete", component, component)

    def _manifests_by_deployment(
        self, manifests: Mapping[str, ManifestFacts]
    ) -> defaultdict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for key in manifests:
            row = self._tables.components.get(key)
            for deployment in row.deployments if row else ():
                found[deployment].append(key)
        return found

    def _of_missing(
        self, names: Mapping[str, str], by_deployment: Mapping[str, list[str]]
    ) -> set[str]:
        """Components of deployments whose catalog is missing, which has been said."""
        listed: set[str] = set()
        for key, deployments in self._tables.catalogs.items():
            if key in names:
                listed.update(deployments)
        return {
            component
            for deployment, components in by_deployment.items()
            if deployment not in listed
            for component in components
        }

    def _hashes(self, key: str, data: bytes) -> frozenset[bytes] | None:
        """What a catalog lists; None if it is not what it should be."""
        if hashlib.sha256(data).hexdigest() != key:
            self._findings.add("catalog-damaged", f"{key}: its SHA-256 is another", key)
            return None
        try:
            return parse_catalog(data).hashes
        except (DamagedInput, LimitExceeded) as error:
            self._findings.add("catalog-damaged", f"{key}: {error}", key)
            return None

    def _unreadable(self, path: str, error: WimsmithError) -> None:
        self._findings.add("payload-unreadable", f"{path}: {error}", path)
