"""Manifests of an image as XML: many are stored as deltas against a text in its servicing stack.

Which text is the right base is proved, never assumed: a manifest of the image expanded with it
has the hash that the store states, or one of a package has a hash that its catalog lists.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

from wimsmith.errors import DamagedInput, DamagedManifest, NotFound, NotSupported, Untrusted
from wimsmith.offline.components.store.expansion import Expander, StoredManifest
from wimsmith.offline.components.store.lookups import WINSXS, Store
from wimsmith.offline.components.store.view import View
from wimsmith.offline.manifests.component import ComponentManifest, parse_component
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.packages.deltas.dcm import base_manifest_candidates, expand_dcm, is_dcm
from wimsmith.offline.packages.package import ExpandedPackage

_STACK = re.compile(
    r"[a-z0-9]+_microsoft-windows-servicingstack_[0-9a-f]+_(\d+\.\d+\.\d+\.\d+)_.*", re.IGNORECASE
)
_LIBRARY = "wcp.dll"
_TRIED = 16


class ManifestReader:
    """Reads component manifests of one image and of packages for it."""

    def __init__(self, store: Store) -> None:
        """Nothing is read before it is needed."""
        self._store = store
        self._expander = Expander(lambda: self._candidates, self._stated)
        self._refusal: NotSupported | None = None
        self._last: tuple[AssemblyIdentity, bytes, ComponentManifest] | None = None

    def base_for(self, package: ExpandedPackage) -> bytes | None:
        """The base text that the manifests of `package` need, None if all are plain XML.

        Raises:
            NotSupported: `calibration:base-manifest`, the image has no text that fits.
        """
        if self._refusal is not None:
            raise self._refusal
        compressed = [one.keyform for one in package.manifests.values() if one.compressed]
        if not compressed or self._expander.base is not None:
            return self._expander.base
        for candidate in self._candidates:
            if any(_fits(package, key, candidate) for key in compressed[:_TRIED]):
                self._expander.base = candidate
                return candidate
        if self._proved_by_image():
            return self._expander.base
        self._refusal = _no_base(len(self._candidates))
        raise self._refusal

    def many(self, keys: Iterable[str]) -> Iterator[StoredManifest]:
        """Manifests of components by their keyforms, those that the store has, in any order.

        Raises: as `Expander.read`, and DamagedWim.
        """
        paths = {self._store.manifest_path(key): key for key in keys}
        stored = self._store.draft.read_many(paths)
        return self._expander.read((paths[path], data) for path, data in stored)

    def _proved_by_image(self) -> bool:
        """Whether a manifest of the image itself shows the base: then it is the package's fault."""
        folder = f"{self._store.image.windows}/{WINSXS}/Manifests"
        names = self._store.draft.names_in(folder)[:_TRIED] if self._candidates else ()
        stored = ((name, self._store.draft.read(f"{folder}/{name}")) for name in names)
        return self._expander.proves(
            (data, digest)
            for name, data in stored
            if is_dcm(data) and (digest := self._stated(name.rpartition(".")[0]))
        )

    def stored(self, identity: AssemblyIdentity) -> tuple[bytes, ComponentManifest]:
        """XML of a manifest in the store of the image, and its meaning.

        Raises:
            NotFound: the image does not have it.
            DamagedManifest: it is not what the store says that it is.
            NotSupported: `calibration:base-manifest`.
        """
        if self._last is None or self._last[0] != identity:
            data = self.text(identity)
            self._last = (identity, data, parse_component(data))
        return self._last[1:]

    def text(self, identity: AssemblyIdentity) -> bytes:
        """XML of a manifest in the store of the image; raises as `stored` does."""
        key = keyform(identity)
        return self._expanded(key, self._store.draft.read(self._store.manifest_path(key)))

    def _expanded(self, key: str, data: bytes) -> bytes:
        digest = self._stated(key)
        if is_dcm(data):
            if not self._expander.proves([(data, digest or b"")]):
                raise _no_base(len(self._candidates))
            assert self._expander.base is not None, "it is proved"
            data = expand_dcm(data, self._expander.base)
            digest = digest or b""
        if digest is not None and hashlib.sha256(data).digest() != digest:
            raise DamagedManifest(f"{key}: not the manifest that the store states by hash")
        return data

    def _stated(self, key: str) -> bytes | None:
        """The SHA-256 that the store has for the XML of a manifest."""
        value = self._store.component_value(key, "S256H")
        return value.data if value else None

    @cached_property
    def _candidates(self) -> tuple[bytes, ...]:
        image, draft = self._store.image, self._store.draft
        winsxs = f"{image.windows}/{WINSXS}"
        folders = _stack_folders(draft.names_in(winsxs), f"{image.architecture}_")
        return tuple(_texts(draft.read, [f"{winsxs}/{folder}" for folder in folders]))


def base_texts(view: View, windows: str = "Windows") -> tuple[bytes, ...]:
    """Texts in the servicing stacks of an image that may be the base of manifests.

    Nothing but the files of the image is asked, and which text is the right one is not proved.
    """
    winsxs = f"{windows}/{WINSXS}"
    entry = view.find(winsxs)
    names = [one.name for one in ((entry.children or {}) if entry else {}).values()]
    return tuple(_texts(view.read, [f"{winsxs}/{one}" for one in _stack_folders(names)]))


def _stack_folders(names: Iterable[str], prefix: str = "") -> list[str]:
    """Folders of servicing stacks among names in WinSxS that start so, newest first."""
    found = [
        (Version.parse(match[1]), name)
        for name in names
        if (match := _STACK.fullmatch(name)) and name.lower().startswith(prefix)
    ]
    return [name for _, name in sorted(found, reverse=True)]


def _texts(read: Callable[[str], bytes], folders: Iterable[str]) -> Iterator[bytes]:
    """Candidates in the libraries of servicing stacks, each once."""
    seen: set[bytes] = set()
    for folder in folders:
        try:
            library = read(f"{folder}/{_LIBRARY}")
        except NotFound:
            continue
        for text in base_manifest_candidates(library):
            if text not in seen:
                seen.add(text)
                yield text


def _fits(package: ExpandedPackage, key: str, candidate: bytes) -> bool:
    try:
        package.decoded_manifest(key, candidate)
    except (DamagedInput, Untrusted):
        return False
    return True


def _no_base(tried: int) -> NotSupported:
    text = f"none of {tried} texts in the servicing stack of the image is the base of manifests"
    return NotSupported("calibration:base-manifest", text)
