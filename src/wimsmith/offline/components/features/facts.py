"""Optional features that an image has: `selectable` updates of its packages."""

from collections.abc import Iterator
from dataclasses import dataclass

from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.components.transition.packages import Packages
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.package import Update
from wimsmith.offline.planning.state import StoredPackage


@dataclass(frozen=True, slots=True)
class FeatureFacts:
    """One optional feature.

    Attributes:
        name: what users and DISM call it.
        package: name of the package that holds it.
        state: 0x70 enabled, 0x40 disabled, 0x20 disabled and its payload removed.
        display_name: text of the manifest, which may be in any language.
        needs: features of the same package without which it cannot be enabled.
    """

    name: str
    package: str
    state: int
    display_name: str = ""
    needs: tuple[str, ...] = ()

    @property
    def has_payload(self) -> bool:
        """Whether the image still has the files to enable it."""
        return self.state >= PackageState.STAGED


def features_of(store: Store) -> tuple[FeatureFacts, ...]:
    """All optional features of an image, by name; superseded versions of packages left out.

    Raises:
        NotSupported: `image-damaged`, a package manifest is missing or cannot be read.
    """
    packages = Packages(store)
    found = [
        FeatureFacts(
            name=update.name,
            package=package.name,
            state=update_state(store, package, update),
            display_name=update.display_name,
            needs=needs_of(update),
        )
        for package, update in selectable_updates(packages)
        if package.state != PackageState.SUPERSEDED
    ]
    return tuple(sorted(found, key=lambda one: (one.name.lower(), one.package.lower())))


def selectable_updates(packages: Packages) -> Iterator[tuple[StoredPackage, Update]]:
    """Every update that users can switch, with its package."""
    for package in packages.mentioning(["<selectable"]):
        for update in packages.manifest(package).updates:
            if update.selectable is not None:
                yield package, update


def update_state(store: Store, package: StoredPackage, update: Update) -> int:
    """State of an update; one that the image does not list is in the state of its package."""
    known = store.update_state(package.name, update.name)
    return package.state if known is None else known


def needs_of(update: Update) -> tuple[str, ...]:
    """Updates of the same package that an update follows."""
    detections = update.applicable.detections if update.applicable else ()
    return tuple(one.name for one in detections if not one.in_parent)
