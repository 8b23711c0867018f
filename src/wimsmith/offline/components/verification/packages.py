"""Packages: keys, manifests, catalogs, owners and the index agree with each other."""

from collections.abc import Iterable

from wimsmith.errors import DamagedInput, DamagedManifest, LimitExceeded, WimsmithError
from wimsmith.offline.components.verification.reading import read_files
from wimsmith.offline.components.verification.report import Area, Findings
from wimsmith.offline.components.verification.tables import PackageRow, Tables
from wimsmith.offline.facts import PackageState
from wimsmith.offline.image import ImageView
from wimsmith.offline.manifests.identity import parse_package_name
from wimsmith.offline.manifests.names import deployment_key
from wimsmith.offline.manifests.package import PackageManifest, parse_package
from wimsmith.offline.manifests.xmlreader import MAX_XML_BYTES
from wimsmith.offline.progress import Event, Progress

_STATES = frozenset(PackageState)
_UNFINISHED = frozenset(
    one
    for one in PackageState
    if one not in {PackageState.ABSENT, PackageState.STAGED, PackageState.SUPERSEDED}
    and one < PackageState.INSTALLED
)


class PackageCheck:
    """Checks every package, and remembers which updates each has."""

    def __init__(self, view: ImageView, windows: str, tables: Tables, findings: Findings) -> None:
        """`windows` is the Windows folder of the image."""
        self._view = view
        self._folder = f"{windows}/servicing/Packages"
        self._tables = tables
        self._findings = findings
        self.updates: dict[str, frozenset[str]] = {}
        """Names of updates by package, in lower case."""

    def run(self, progress: Progress, *, has_store: bool) -> None:
        """Check all packages; deployments are looked up only in images with a store."""
        names = self._files()
        for key, row in self._tables.packages.items():
            self._check_key(row, names)
            self._findings.checked(Area.PACKAGES)
            if key not in names and row.state != PackageState.ABSENT:
                self._findings.add("package-manifest-missing", row.name, row.name)
        for key, name in names.items():
            if key not in self._tables.packages:
                self._findings.add("package-unregistered", name, key)
        self._check_index()
        wanted = {
            f"{self._folder}/{names[key]}": row
            for key, row in self._tables.packages.items()
            if key in names and self._findings.covers(key)
        }
        files = read_files(self._view, wanted, MAX_XML_BYTES, self._unreadable)
        for done, (path, data) in enumerate(files, 1):
            self._check_manifest(wanted[path], data, has_store=has_store)
            progress(Event("check packages", done, len(wanted), "files"))

    def _files(self) -> dict[str, str]:
        """Manifest files by name of the package, and catalogs by theirs with the extension."""
        folder = self._view.find(self._folder)
        names = [one.name for one in ((folder.children or {}) if folder else {}).values()]
        self._catalogs = {name.lower()[:-4] for name in names if name.lower().endswith(".cat")}
        return {
            name.lower()[:-4]: name
            for name in names
            if name.lower().endswith(".mum") and name.count("~") == 4
        }

    def _check_key(self, row: PackageRow, names: Iterable[str]) -> None:
        add, name = self._findings.add, row.name
        if row.state == PackageState.ABSENT:
            add("package-absent", name, name)
            return
        if row.state in _UNFINISHED:
            add("pending", f"{name} is in state {row.state:#x}", name)
        elif row.state not in _STATES:
            add("package-state", f"{name}: {row.state:#x}", name)
        if name.lower() in names and name.lower() not in self._catalogs:
            add("package-catalog-missing", name, name)
        if not row.owners:
            add("package-owners", name, name)
        for owner in row.owners:
            if owner.lower() not in self._tables.packages:
                add("package-owner-missing", f"{name}: {owner}", name, owner)

    def _check_index(self) -> None:
        for named in self._tables.index.values():
            for name in named:
                if not name.endswith("~0.0.0.0") and name.lower() not in self._tables.packages:
                    self._findings.add("package-index", name, name)
        for row in self._tables.packages.values() if self._tables.index else ():
            if row.state < PackageState.INSTALLED:
                continue
            try:
                identity = parse_package_name(row.name)
            except DamagedManifest:
                continue  # names of another form are not looked for by anyone
            if identity.package_index_name.lower() not in self._tables.index:
                self._findings.add("package-not-indexed", row.name, row.name)

    def _check_manifest(self, row: PackageRow, data: bytes, *, has_store: bool) -> None:
        try:
            manifest = parse_package(data)
        except (DamagedInput, LimitExceeded) as error:
            self._findings.add("package-manifest-damaged", f"{row.name}: {error}", row.name)
            return
        if manifest.identity.package_name.lower() != row.name.lower():
            about = f"{row.name}: it is that of {manifest.identity}"
            self._findings.add("package-manifest-damaged", about, row.name)
            return
        self.updates[row.name.lower()] = frozenset(one.name.lower() for one in manifest.updates)
        if has_store:
            self._check_deployments(row, manifest)

    def _check_deployments(self, row: PackageRow, manifest: PackageManifest) -> None:
        for update in manifest.updates:
            state = row.updates.get(update.name.lower(), PackageState.ABSENT)
            for identity in update.components:
                if deployment_key(identity).lower() in self._tables.deployments:
                    continue
                installed = min(state, row.state) >= PackageState.INSTALLED
                code = "package-deployment-missing" if installed else "package-staged"
                if installed or state >= PackageState.STAGED:
                    about = f"{row.name}, update {update.name}: {identity}"
                    self._findings.add(code, about, row.name, deployment_key(identity))

    def _unreadable(self, path: str, error: WimsmithError) -> None:
        self._findings.add("payload-unreadable", f"{path}: {error}", path)
