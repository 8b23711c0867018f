"""Packages of an image with their manifests: who carries, owns and needs whom."""

from collections.abc import Iterable, Iterator

from wimsmith.errors import DamagedInput, NotFound, NotSupported
from wimsmith.offline.components.install.cbs import package_folder
from wimsmith.offline.components.store.lookups import PACKAGES, Store
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.package import PackageManifest, parse_package
from wimsmith.offline.planning.state import StoredPackage


class Packages:
    """Reads package manifests of one image, each once."""

    def __init__(self, store: Store) -> None:
        """Nothing is read before it is asked for."""
        self._store = store
        self._raw: dict[str, bytes] = {}
        self._manifests: dict[str, PackageManifest] = {}
        self._by_name = {one.name.lower(): one for one in store.all_packages()}

    def find(self, name: str) -> StoredPackage | None:
        """A package that is at least staged, by its name in any case."""
        found = self._by_name.get(name.lower())
        return found if found and found.state >= PackageState.STAGED else None

    def all(self) -> Iterator[StoredPackage]:
        """All packages that are at least staged."""
        return (one for one in self._by_name.values() if one.state >= PackageState.STAGED)

    def manifest(self, package: StoredPackage) -> PackageManifest:
        """The manifest of a package.

        Raises:
            NotSupported: `image-damaged`, it is not there or cannot be read.
        """
        if package.name not in self._manifests:
            try:
                found = parse_package(self._data(package))
            except DamagedInput as error:
                raise _damaged(package, str(error)) from error
            if found.identity.package_name.lower() != package.name.lower():
                raise _damaged(package, f"it is the manifest of {found.identity}")
            self._manifests[package.name] = found
        return self._manifests[package.name]

    def mentioning(self, texts: Iterable[str]) -> Iterator[StoredPackage]:
        """Packages in whose manifest one of `texts` stands, whatever the case."""
        wanted = [text.lower().encode() for text in texts]
        for package in self.all():
            data = self._data(package).lower()
            if any(text in data for text in wanted):
                yield package

    def owners(self, package: StoredPackage) -> tuple[str, ...]:
        """Names of the packages that a package is in the image for; itself for a top-level one."""
        path = rf"{PACKAGES}\{package.name}\Owners"
        return tuple(value.name for value in self._store.software.values(path))

    def children(self, package: StoredPackage) -> Iterator[tuple[StoredPackage, bool]]:
        """Packages that a package carries and the image has, and whether they go with it.

        `contained="false"` marks those that are packages of their own.
        """
        for child in self.manifest(package).children:
            found = self.of(child.identity)
            if found is not None:
                yield found, child.contained is not False

    def of(self, identity: AssemblyIdentity) -> StoredPackage | None:
        """The package with an identity, if it is at least staged."""
        return self.find(identity.package_name)

    def _data(self, package: StoredPackage) -> bytes:
        if package.name not in self._raw:
            path = f"{package_folder(self._store)}/{package.name}.mum"
            try:
                self._raw[package.name] = self._store.draft.read(path)
            except NotFound as error:
                raise _damaged(package, f"{path} is not there") from error
        return self._raw[package.name]


def _damaged(package: StoredPackage, text: str) -> NotSupported:
    return NotSupported("image-damaged", f"the manifest of {package.name}: {text}")
