"""The closure of a store: packages, deployments, components, files and hives agree. Only reads."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from wimsmith.errors import DamagedHive, NotFound
from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import CURRENT_VERSION, Store
from wimsmith.offline.components.verification.components import Winners, check_components
from wimsmith.offline.components.verification.deployments import CatalogCheck, check_deployments
from wimsmith.offline.components.verification.hives import check_hives
from wimsmith.offline.components.verification.manifests import ManifestCheck, ManifestFacts
from wimsmith.offline.components.verification.packages import PackageCheck
from wimsmith.offline.components.verification.payload import PayloadCheck
from wimsmith.offline.components.verification.report import Area, Findings, HealthReport
from wimsmith.offline.components.verification.settings import check_settings
from wimsmith.offline.components.verification.tables import Tables, read_tables
from wimsmith.offline.image import ImageView
from wimsmith.offline.manifests.component import ComponentManifest
from wimsmith.offline.planning.state import Image
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.registry.values import ValueType

NOWHERE = Path("/dev/null")
_STORE_HIVE = "COMPONENTS"
_PENDING = "pending"
_DAMAGED = "image-damaged"
_WINDOWS = "Windows"


def examine(
    view: ImageView,
    progress: Progress = silent,
    *,
    content: bool = True,
    only: Iterable[str] | None = None,
) -> HealthReport:
    """Check the whole store of one index, and its hives. Nothing is written.

    Args:
        view: The index.
        progress: Told what is being checked; may raise to cancel.
        content: Whether payload files are read, and compared with the digests in the manifests.
        only: Names of packages, deployments, catalogs and component keys: findings about anything
            else are left out, and manifests, catalogs and files of anything else are not read.

    Raises:
        NotFound: the index holds no Windows.
        DamagedWim: the directory of the image cannot be read.
        WorkerFailed: the child process that expands manifests could not be started.
    """
    if not view.has_hive("SOFTWARE"):
        raise NotFound(
            f"a Windows in index {view.index_number} of {view.wim.path}: no SOFTWARE hive"
        )
    findings = Findings(only)
    readable = check_hives(view, findings, progress)
    has_store = _STORE_HIVE in readable
    if {"SOFTWARE", "SYSTEM"} <= readable:
        try:
            _examine(view, findings, progress, content=content, has_store=has_store)
        except DamagedHive as error:
            findings.add("hive-damaged", str(error), "SOFTWARE", _STORE_HIVE)
    return findings.report(has_store=has_store, content_checked=content and has_store)


def _examine(
    view: ImageView, findings: Findings, progress: Progress, *, content: bool, has_store: bool
) -> None:
    progress(Event("read the registry"))
    software = view.hive("SOFTWARE")
    tables = read_tables(software, view.hive(_STORE_HIVE) if has_store else None)
    store = Store(Draft(view, NOWHERE, 0)) if has_store else None
    image = _as_stored(view, store.image) if store else None
    windows = image.windows if image else _WINDOWS
    _check_build(view, findings)
    packages = PackageCheck(view, windows, tables, findings)
    packages.run(progress, has_store=has_store)
    if store is not None and image is not None:
        _check_store(view, store, image, tables, packages, findings, progress, content=content)
        _check_gate(store, findings)


def _check_store(
    view: ImageView,
    store: Store,
    image: Image,
    tables: Tables,
    packages: PackageCheck,
    findings: Findings,
    progress: Progress,
    *,
    content: bool,
) -> None:
    windows = image.windows
    early = Winners(tables, {})

    def seen(facts: ManifestFacts, manifest: ComponentManifest) -> None:
        if facts.key in early.in_use:
            check_settings(store, facts.key, manifest, findings)

    manifests = ManifestCheck(view, image, tables, findings, seen)
    manifests.run(progress)
    facts = manifests.facts
    winners = Winners(tables, facts)
    check_components(tables, facts, findings)
    check_deployments(tables, facts, packages.updates, findings)
    CatalogCheck(view, windows, tables, findings).run(facts, progress)
    winners.check(findings)
    PayloadCheck(view, windows, tables, facts, winners, findings).run(progress, content=content)


def _as_stored(view: ImageView, image: Image) -> Image:
    """The image with the place of its Windows folder in the WIM: boot images run from another."""
    if view.exists(image.windows):
        return image
    return replace(image, windows=_WINDOWS, system_root=rf"{image.system_root[:2]}\{_WINDOWS}")


def _check_gate(store: Store, findings: Findings) -> None:
    """Say what stops updates on this image; damage only if nothing more precise was found."""
    findings.checked(Area.PENDING)
    has_errors = findings.has_errors
    for one in health_findings(store):
        if one.code == _DAMAGED and has_errors:
            continue
        known = one.code in {_PENDING, _DAMAGED}
        text = one.text if known else f"{one.code}: {one.text}"
        findings.add(one.code if known else "not-serviced", text, one.code)


def _check_build(view: ImageView, findings: Findings) -> None:
    """Compare the build that the WIM's description states with the one in the registry."""
    stated = view.wim.image(view.index_number).windows
    revision = revision_of(view)
    if stated is None or stated.service_pack_build is None or revision is None:
        return
    findings.checked(Area.BUILD)
    if stated.service_pack_build != revision:
        text = f"description: {stated.service_pack_build}, registry: {revision}"
        findings.add("revision-differs", text, "build")


def revision_of(view: ImageView) -> int | None:
    """`UBR`: the revision in the registry, None where it says none (before Windows 8.1)."""
    value = view.hive("SOFTWARE").value(CURRENT_VERSION, "UBR")
    if value is None or value.type != ValueType.DWORD or len(value.data) != 4:
        return None
    return value.dword()
