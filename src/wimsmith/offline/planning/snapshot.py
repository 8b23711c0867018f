"""The state of one index, kept as plain data: what a store answers without its image at hand."""

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Protocol, Self

from wimsmith.errors import UnreadableFacts, WimsmithError
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version, parse_package_name
from wimsmith.offline.manifests.names import identity_hash
from wimsmith.offline.planning.plaindata import (
    findings_from,
    maybe_flag,
    number,
    numbers_by_name,
    text,
    texts,
    version_or_none,
)
from wimsmith.offline.planning.state import Image, ImageState, StoredPackage
from wimsmith.offline.verdicts import Finding

FORMAT = 1
_MAX_BYTES = 256 << 20
_KINDS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        **dict.fromkeys(("languages", "editions"), texts),
        **dict.fromkeys(("major", "minor", "build", "revision", "base_build"), number),
        "generalised": maybe_flag,
    }
)
"""Facts of an image that are no texts, with what reads each."""


class Store(ImageState, Protocol):
    """What a snapshot is taken from, once: it lists what `ImageState` is asked for."""

    def all_packages(self) -> Iterable[StoredPackage]:
        """Every package that the image knows."""

    def update_states(self, package_name: str) -> Mapping[str, int]:
        """States of the updates of a package, by the name of the update."""

    def component_families(self) -> Iterable[tuple[str, tuple[Version, ...]]]:
        """Keyforms without version, with the versions installed of each family."""


@dataclass(frozen=True)
class Snapshot:
    """The state of an index. It answers as the store that it was taken from.

    Attributes:
        packages: states by package name.
        updates: states of updates by package name, for packages that have any.
        families: installed versions of component families, by the hash at the end of their
            keyforms, which stands for all attributes of a family.
        stack: the newest servicing stack.
        obstacles: why nothing at all may be done to the index, as its gate said.
    """

    image: Image
    packages: Mapping[str, int] = field(repr=False)
    updates: Mapping[str, Mapping[str, int]] = field(repr=False)
    families: Mapping[str, str] = field(repr=False)
    stack: Version | None = None
    obstacles: tuple[Finding, ...] = ()

    def packages_of(self, identity: AssemblyIdentity) -> tuple[StoredPackage, ...]:
        """See `ImageState`."""
        found = self._by_family.get(identity.family, {}).values()
        return tuple(sorted(found, key=lambda one: one.identity.version))

    def package_state(self, identity: AssemblyIdentity) -> int:
        """See `ImageState`."""
        known = self._by_family.get(identity.family, {}).get(identity.version)
        return known.state if known else PackageState.ABSENT

    def update_state(self, package_name: str, update_name: str) -> int | None:
        """See `ImageState`."""
        states = self._updates.get(package_name.lower(), {})
        return states.get(update_name.lower())

    def installed_versions(self, identity: AssemblyIdentity) -> tuple[Version, ...]:
        """See `ImageState`."""
        found = self.families.get(family_hash(identity), "")
        return tuple(Version.parse(one) for one in found.split())

    def servicing_stack(self) -> Version | None:
        """See `ImageState`."""
        return self.stack

    @cached_property
    def _by_family(
        self,
    ) -> Mapping[tuple[str, str, str, str], Mapping[Version, StoredPackage]]:
        found: dict[tuple[str, str, str, str], dict[Version, StoredPackage]] = {}
        for name, state in self.packages.items():
            identity = parse_package_name(name)
            family = found.setdefault(identity.family, {})
            family[identity.version] = StoredPackage(identity, name, state)
        return found

    @cached_property
    def _updates(self) -> Mapping[str, Mapping[str, int]]:
        return {
            package.lower(): {name.lower(): state for name, state in states.items()}
            for package, states in self.updates.items()
        }

    def as_data(self) -> dict[str, Any]:
        """The snapshot as plain data, which JSON can hold."""
        return {
            "format": FORMAT,
            "image": asdict(self.image),
            "packages": dict(self.packages),
            "updates": {name: dict(states) for name, states in self.updates.items()},
            "families": dict(self.families),
            "stack": str(self.stack or ""),
            "obstacles": [[one.verdict.value, one.code, one.text] for one in self.obstacles],
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """The snapshot that `as_data` wrote.

        Raises:
            UnreadableFacts: it is of another format, or not whole.
        """
        if data.get("format") != FORMAT:
            raise UnreadableFacts(f"a snapshot of format {str(data.get('format'))[:40]}")
        try:
            updates = data["updates"].items()
            snapshot = cls(
                image=_image_from(data["image"]),
                packages=MappingProxyType(numbers_by_name(data["packages"])),
                updates=MappingProxyType({name: numbers_by_name(one) for name, one in updates}),
                families=MappingProxyType(
                    {name: text(versions) for name, versions in data["families"].items()}
                ),
                stack=version_or_none(data["stack"]),
                obstacles=findings_from(data["obstacles"]),
            )
            assert snapshot._by_family is not None  # parses every name once
        except (KeyError, TypeError, ValueError, AttributeError, WimsmithError) as error:
            raise UnreadableFacts(f"a snapshot that cannot be read: {error}") from error
        return snapshot


def take(store: Store, obstacles: Iterable[Finding] = ()) -> Snapshot:
    """Take a snapshot of a component store.

    Args:
        store: of the index.
        obstacles: what its gate says against changing it at all.
    """
    packages = sorted((one.name, one.state) for one in store.all_packages())
    updates = {name: store.update_states(name) for name, _ in packages}
    families = {
        keyform.rpartition("_")[2].lower(): " ".join(map(str, versions))
        for keyform, versions in store.component_families()
        if versions
    }
    return Snapshot(
        image=store.image,
        packages=MappingProxyType(dict(packages)),
        updates=MappingProxyType({name: states for name, states in updates.items() if states}),
        families=MappingProxyType(families),
        stack=store.servicing_stack(),
        obstacles=tuple(obstacles),
    )


def _image_from(data: Mapping[str, Any]) -> Image:
    fields: dict[str, Any] = {name: text(one) for name, one in data.items() if name not in _KINDS}
    return Image(**fields, **{name: read(data[name]) for name, read in _KINDS.items()})


def pack(data: Mapping[str, Any]) -> bytes:
    """Plain data as compressed JSON."""
    return zlib.compress(json.dumps(data, separators=(",", ":")).encode(), 9)


def unpack(packed: bytes) -> Any:
    """What `pack` packed.

    Raises:
        UnreadableFacts: it is something else, or larger than anything that was packed.
    """
    expander = zlib.decompressobj()
    try:
        text = expander.decompress(packed, _MAX_BYTES)
        if expander.unconsumed_tail or not expander.eof:
            raise UnreadableFacts("packed data that do not end")
        return json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise UnreadableFacts(f"packed data that cannot be read: {error}") from error


@lru_cache(maxsize=1 << 16)
def family_hash(identity: AssemblyIdentity) -> str:
    """The hash at the end of the keyform of a component family."""
    return f"{identity_hash(identity, with_version=False):016x}"
