"""Components as the store of an image holds them, and what they show outside it."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from wimsmith.errors import DamagedInput, LimitExceeded, NotFound, NotSupported
from wimsmith.offline import paths
from wimsmith.offline.components.install.descriptions import Component, expander
from wimsmith.offline.components.install.files import PlannedFiles, plan_files
from wimsmith.offline.components.install.registry import PlannedKey, plan_registry
from wimsmith.offline.components.store.lookups import (
    COMPONENTS,
    Store,
)
from wimsmith.offline.components.transition.context import Context
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.component import ComponentFile, parse_component
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.names import keyform as keyform_of
from wimsmith.offline.packages.containers.cabinet import CabinetFile
from wimsmith.offline.progress import Event, Progress


@dataclass(frozen=True, slots=True)
class Shown:
    """A component with everything that it shows outside the store when it wins."""

    component: Component
    files: PlannedFiles = field(repr=False)
    registry: tuple[PlannedKey, ...] = field(repr=False)

    @property
    def identity(self) -> AssemblyIdentity:
        return self.component.identity

    @property
    def key(self) -> str:
        return self.component.key


class Stored:
    """Reads components of one image, each once."""

    def __init__(self, context: Context) -> None:
        """Nothing is read before it is asked for."""
        self._context = context
        self._read: dict[str, Component] = {}

    def load(self, identities: Iterable[AssemblyIdentity]) -> None:
        """Read components that will be asked for, in the order in which they are stored.

        Those that the store does not have, or has damaged, are told when they are asked for.
        """
        keys = {keyform_of(one) for one in identities} - self._read.keys()
        for one in self._context.reader.many(keys) if len(keys) > 1 else ():
            if one.is_proved:
                with suppress(DamagedInput, LimitExceeded):
                    self._read[one.key] = _component(one.xml)

    def component(self, identity: AssemblyIdentity) -> Component:
        """A component by its manifest in the store.

        Raises:
            NotSupported: `image-damaged`, or `calibration:base-manifest`.
        """
        key = keyform_of(identity)
        if key not in self._read:
            try:
                self._read[key] = _component(self._context.reader.text(identity))
            except (NotFound, DamagedInput) as error:
                raise NotSupported("image-damaged", f"the manifest of {key}: {error}") from error
        return self._read[key]

    def texts(
        self, keys: Iterable[str], title: str, progress: Progress
    ) -> Iterator[tuple[str, bytes | None]]:
        """Keys and manifests of very many components, None for one that is not proved.

        The texts are not kept; `progress` is told of `title`.
        """
        keys = tuple(keys)
        found = set()
        for done, one in enumerate(self._context.reader.many(keys), 1):
            found.add(one.key)
            progress(Event(title, done, len(keys)))
            yield one.key, one.xml if one.is_proved else None
        yield from ((key, None) for key in keys if key not in found)

    def shown(self, identity: AssemblyIdentity) -> Shown:
        """Decide where everything of a component is outside the store.

        Raises:
            NotSupported: `image-damaged`, `macro`, `hive`, `wow64-key`, `calibration:security`.
        """
        component, context = self.component(identity), self._context
        manifest = component.manifest
        files = plan_files(context.store, manifest, _InStore(context.store), component.key)
        texts = expander(context.store, context.reader, manifest, {})
        return Shown(component, files, plan_registry(context.store, manifest, texts))

    def check_payload(self, component: Component, missing: str) -> None:
        """Look whether the store still has every file of a component, as its manifest has it.

        Raises:
            NotSupported: the code `missing`, a file is gone; `image-damaged`, it is another.
        """
        draft = self._context.draft
        folder = self._context.store.payload_path(component.key)
        for file in component.manifest.files:
            path = paths.join(folder, file.name)
            if not draft.exists(path):
                raise NotSupported(missing, f"{component.key}/{file.name} is gone from the store")
            if file.hash is None or _digest(draft.read(path), file) != file.hash.digest:
                text = f"{path} is not what its manifest says"
                raise NotSupported("image-damaged", text)


def _component(xml: bytes) -> Component:
    return Component(xml, parse_component(xml), PackageState.INSTALLED, ())


def component_keys(store: Store) -> tuple[str, ...]:
    """Keyforms of all components in the store."""
    return tuple(store.components.subkeys(COMPONENTS))


@dataclass(frozen=True, slots=True)
class _InStore:
    """Payload that is in the store already: planning asks where it comes from, nobody reads it."""

    store: Store

    def payload_of(self, keyform: str, file: ComponentFile) -> CabinetFile:
        path = paths.join(self.store.payload_path(keyform), file.name)
        return CabinetFile(path, Path(path), 0, 0, 0)


def _digest(data: bytes, file: ComponentFile) -> bytes:
    assert file.hash is not None, "asked for only where there is one"
    return hashlib.new(file.hash.algorithm, data, usedforsecurity=False).digest()
