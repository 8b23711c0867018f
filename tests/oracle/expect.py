"""What an offline installation of a package must change, derived from its manifests alone.

The rules are those of the component store as public sources describe them; flags whose meaning is
not public are given as `Conventions`, since an engine has to copy them from the image.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from oracle.encoding import dword, numbers, sha1_of, sz, text_of
from oracle.names import (
    Identity,
    component_key,
    deployment_key,
    file_value,
    identity_text,
    reference_value,
    text_hash,
    winners_key,
)
from oracle.package import UpdateFile, components_of, deployments_of
from oracle.packages import CATALOGS, STORE, Packages
from oracle.places import Places
from oracle.security import Descriptor, of_sddl
from oracle.state import ARCHIVE, HIDDEN, ImageState
from oracle.states import INSTALLED, WINNERS, Target, targets
from oracle.want import ImageWant, SecurityWant
from oracle.xmlfacts import (
    Component,
    File,
    RegistryKey,
    RegistryValue,
    Update,
    multi_text,
    read_component,
)

COMPONENTS = r"DerivedData\Components"
DEPLOYMENTS = r"CanonicalData\Deployments"
VERSIONED_INDEX = r"DerivedData\VersionedIndex"
_SZ, _EXPAND_SZ, _BINARY, _DWORD, _MULTI_SZ = 1, 2, 3, 4, 7
_TYPES = {
    "REG_NONE": 0,
    "REG_SZ": _SZ,
    "REG_EXPAND_SZ": _EXPAND_SZ,
    "REG_BINARY": _BINARY,
    "REG_DWORD": _DWORD,
    "REG_MULTI_SZ": _MULTI_SZ,
    "REG_QWORD": 11,
}


@dataclass(frozen=True, slots=True)
class Conventions:
    """Values that siblings in the image have.

    `pinned`, `staged` and `installed` are the data of references with these marks; those of an
    update with an elevation have the data that `elevated` gives for it. `staged_file_flags` are
    the data of `f!` values of components that are no more than staged.
    """

    component_flags: int | None
    deployment_flags: int | None
    file_flags: int
    staged_file_flags: int
    owner_flag: int
    pinned: str
    staged: str
    installed: str
    elevated: Mapping[str, str]
    visible: int
    hidden: int
    thumbprint_of_catalog: bool


@dataclass(slots=True)
class _Wanted:
    """A component of the package: the highest state asked for, and who asks."""

    component: Component
    state: int = 0
    deployments: list[str] = field(default_factory=list)


def expected_after(update: UpdateFile, before: ImageState, conventions: Conventions) -> ImageWant:
    """The state of an index after installing a package, from the state before."""
    return _Expectation(update, before, conventions).derive()


class _Expectation:
    def __init__(self, update: UpdateFile, before: ImageState, conventions: Conventions) -> None:
        self.update = update
        self.before = before
        self.conventions = conventions
        self.want = ImageWant(before)
        number = before.value("SYSTEM", "Select", "Default")
        self.control_set = f"ControlSet{number.number if number else 1:03}"
        root = before.value("SOFTWARE", r"Microsoft\Windows NT\CurrentVersion", "SystemRoot")
        self.drive = root.text[:2] if root else "C:"

    def derive(self) -> ImageWant:
        found = targets(self.update, self.before)
        for wanted in self._components(found).values():
            self._staged(wanted)
        installed = [one for one in self._components(found).values() if one.state >= INSTALLED]
        for wanted in installed:
            self._winner(wanted.component.identity)
        shown = [
            wanted.component
            for wanted in installed
            if not wanted.component.is_deployment and self._wins(wanted.component.identity)
        ]
        self._folders(shown)
        self._keys(shown)
        for component in shown:
            self._shown(component)
        for component in shown:
            self._no_older_names(component)
        packages = Packages(self.before, self.conventions, self.want)
        for target in found:
            packages.package(target, found[0])
        for target in found:
            self._deployments(target)
            if target.state >= INSTALLED:
                packages.detections(target.part)
        if found:
            self.want.no_keys_below("COMPONENTS", VERSIONED_INDEX)
        return self.want

    def _components(self, found: tuple[Target, ...]) -> dict[str, _Wanted]:
        wanted: dict[str, _Wanted] = {}
        for deployment, target, change in self._all_deployments(found):
            owner = deployment_key(deployment.identity)
            for component in (deployment, *components_of(self.update, deployment)):
                one = wanted.setdefault(component_key(component.identity), _Wanted(component))
                one.state = max(one.state, target.updates[change.name])
                one.deployments.append(owner)
        return wanted

    def _all_deployments(
        self, found: tuple[Target, ...]
    ) -> Iterator[tuple[Component, Target, Update]]:
        """Deployments that are at least staged, with their package and update."""
        for target in found:
            for change in target.part.facts.updates:
                for identity in change.deployments if target.updates[change.name] else ():
                    for deployment in deployments_of(self.update, identity):
                        yield deployment, target, change

    def _staged(self, wanted: _Wanted) -> None:
        component, key = wanted.component, component_key(wanted.component.identity)
        manifest = self.update.manifests[key]
        path = f"{STORE}/Manifests/{key}.manifest"
        self.want.file(
            path, sha1_of(manifest), self.want.siblings(f"{STORE}/Manifests", ".manifest")
        )
        registry = rf"{COMPONENTS}\{key}"
        self._binary(registry, "identity", identity_text(component.identity).encode("ascii"))
        self._binary(registry, "S256H", sha256(manifest).digest())
        flags = self.conventions.component_flags
        if component.is_deployment:
            flags = self.conventions.deployment_flags
        if flags is not None:
            self.want.value("COMPONENTS", registry, "CF", _DWORD, dword(flags))
        for deployment in wanted.deployments:
            self._binary(registry, f"c!{deployment}", b"")
        if component.files:
            self.want.directory(f"{STORE}/{key}", self._payload_folders())
        for file in component.files:
            flags = self.conventions.staged_file_flags
            if wanted.state >= INSTALLED or self._was_installed(component.identity):
                flags = self.conventions.file_flags
            data = dword(flags)
            self.want.value("COMPONENTS", registry, file_value(file.name), _DWORD, data)
            self._payload(component, file, f"{STORE}/{key}/{file.name}")

    def _payload_folders(self) -> frozenset[Descriptor]:
        """Descriptors of the payload folders that the image has."""
        folders = self.want.siblings(STORE, "")
        assert folders
        return folders

    def _was_installed(self, identity: Identity) -> bool:
        """Whether another package has installed the same version, which then stays so."""
        branch = rf"{WINNERS}\{winners_key(identity)}\{identity.branch}"
        return self.before.value("SOFTWARE", branch, identity.version) is not None

    def _payload(self, component: Component, file: File, path: str) -> None:
        """A file in the store; one that is there already keeps its names."""
        content = sha1_of(self.update.payload(component, file.name))
        present = self.before.entries.get(path.lower())
        if present is not None and present.sha1 == content:
            return
        attributes = ARCHIVE | (HIDDEN if file.hidden else 0)
        security = _descriptor(component, file.security, for_key=False)
        self.want.file(path, content, security, attributes)

    def _winner(self, identity: Identity) -> None:
        family = rf"{WINNERS}\{winners_key(identity)}"
        branch = rf"{family}\{identity.branch}"
        versions = [identity.version]
        known = self.want.hives["SOFTWARE"].get(branch.lower())
        if known is not None and (default := known.values.get("")) is not None:
            assert default.data is not None
            versions.append(text_of(default.data))
        self.want.value("SOFTWARE", branch, identity.version, _BINARY, b"\1")
        self._text("SOFTWARE", branch, "", max(versions, key=numbers))
        branches = {
            name[len(family) + 1 :]
            for name in self.want.hives["SOFTWARE"]
            if name.startswith(family.lower() + "\\")
        }
        self._text("SOFTWARE", family, "", max(branches, key=numbers))

    def _wins(self, identity: Identity) -> bool:
        family = rf"{WINNERS}\{winners_key(identity)}"
        software = self.want.hives["SOFTWARE"]
        in_use = software[family.lower()].values[""]
        default = software[rf"{family}\{identity.branch}".lower()].values[""]
        if identity.scope.lower() == "nonsxs" and in_use.data != sz(identity.branch):
            return False
        return default.data == sz(identity.version)

    def _places(self, component: Component) -> Places:
        tables = list(component.strings.values())
        return Places(
            component.identity.architecture,
            {name: text for table in reversed(tables) for name, text in table.items()},
            self.control_set,
            self.drive,
        )

    def _folders(self, components: list[Component]) -> None:
        """Described folders: those who own one have the last word on it."""
        found = [
            (folder.owned, self._places(component).in_image(folder.path), component, folder)
            for component in components
            for folder in component.directories
        ]
        for owned, path, component, folder in sorted(found, key=lambda one: (one[0], len(one[1]))):
            security = _descriptor(component, folder.security, for_key=False)
            keeps = not owned and path.lower() in self.want.entries
            self.want.directory(path, None if keeps else security)

    def _keys(self, components: list[Component]) -> None:
        """Keys likewise; values come when all keys are there."""
        found = [
            (key.owned, *places.key(places.text(key.path)), component, key)
            for component in components
            for places in (self._places(component),)
            for key in component.keys
        ]
        for owned, hive, path, component, key in sorted(
            found, key=lambda one: (one[0], len(one[2]))
        ):
            security = _descriptor(component, key.security, for_key=True)
            keeps = not owned and path.lower() in self.want.hives[hive]
            self.want.key(hive, path, None if keeps else security)

    def _shown(self, component: Component) -> None:
        """What an installed, winning component shows outside the store besides."""
        places = self._places(component)
        for file in component.files:
            self._destinations(component, file, places)
        for key in component.keys:
            self._values(key, places)

    def _destinations(self, component: Component, file: File, places: Places) -> None:
        key = component_key(component.identity)
        stored = f"{STORE}/{key}/{file.name}"
        if file.destination:
            self.want.link(f"{places.in_image(file.destination)}/{file.name}", stored)
        for link in file.links:
            self.want.link(places.in_image(link), stored)
        if "BootRecovery" in component.memberships:
            suffix = text_hash(file.name) & 0xFFFFFFFF
            self._payload(component, file, f"{STORE}/Backup/{key}_{file.name}_{suffix:08x}")

    def _no_older_names(self, component: Component) -> None:
        """Names that only the version that was in use before had are gone with it."""
        version = self._version_before(component.identity)
        if version is None or numbers(version) >= component.identity.numbers:
            return
        older_key = component_key(replace(component.identity, version=version))
        assert self.before.read is not None
        older = read_component(self.before.read(f"{STORE}/Manifests/{older_key}.manifest"))
        kept = {path.lower() for path in self._names_of(component)}
        for path in self._names_of(older):
            entry = self.want.entries.get(path.lower())
            its_own = any(older_key in name for name in self.want.links.get(path.lower(), ()))
            if entry is not None and its_own and path.lower() not in kept:
                self.want.no_file(path)

    def _version_before(self, identity: Identity) -> str | None:
        """The version of a component that showed itself before."""
        family = rf"{WINNERS}\{winners_key(identity)}"
        branch = identity.branch
        if identity.scope.lower() == "nonsxs":
            default = self.before.value("SOFTWARE", family)
            branch = default.text if default else branch
        value = self.before.value("SOFTWARE", rf"{family}\{branch}")
        return value.text if value else None

    def _names_of(self, component: Component) -> list[str]:
        places = self._places(component)
        found = [
            f"{places.in_image(file.destination)}/{file.name}"
            for file in component.files
            if file.destination
        ]
        return found + [places.in_image(link) for file in component.files for link in file.links]

    def _values(self, key: RegistryKey, places: Places) -> None:
        hive, path = places.key(places.text(key.path))
        for value in key.values:
            name = places.text(value.name)
            if value.mutable and self.before.value(hive, path, name) is not None:
                continue
            self.want.value(hive, path, name, *_value_data(value, places))

    def _deployments(self, target: Target) -> None:
        part = target.part
        for deployment, _, change in self._all_deployments((target,)):
            name = deployment_key(deployment.identity)
            key = rf"{DEPLOYMENTS}\{name}"
            self._binary(key, "appid", identity_text(deployment.identity).encode("ascii"))
            thumbprint = part.catalog_sha256
            if not self.conventions.thumbprint_of_catalog:
                manifest = self.update.manifests[component_key(deployment.identity)]
                thumbprint = sha256(manifest).hexdigest()
            self._text("COMPONENTS", key, "CatalogThumbprint", thumbprint)
            identifier = f"{part.name}.{change.name}"
            for mark, data in self._references(change, target.updates[change.name]):
                self._binary(key, reference_value(mark, identifier), _reference(identifier, data))
            self._binary(rf"{CATALOGS}\{part.catalog_sha256}", f"c!{name}", b"")

    def _references(self, change: Update, state: int) -> Iterator[tuple[str, str]]:
        one = self.conventions
        kinds = [each.kind for each in change.conditions if each.kind in one.elevated]
        data = {"p": one.pinned, "s": one.staged, "i": one.installed}
        for mark in ("p", "s", "i") if state >= INSTALLED else ("p", "s"):
            yield mark, one.elevated[kinds[0]] if kinds else data[mark]

    def _binary(self, path: str, name: str, data: bytes) -> None:
        self.want.value("COMPONENTS", path, name, _BINARY, data)

    def _text(self, hive: str, path: str, name: str, text: str) -> None:
        self.want.value(hive, path, name, _SZ, sz(text))


def _descriptor(component: Component, name: str, *, for_key: bool) -> SecurityWant:
    """The descriptor that a manifest gives; without one it depends on the place."""
    text = component.descriptors.get(name, "")
    if not text or "(inherit)" in text.lower():
        return None
    return frozenset([of_sddl(text, for_key=for_key)])


def _value_data(value: RegistryValue, places: Places) -> tuple[int, bytes]:
    kind = _TYPES.get(value.type)
    text = places.text(value.text)
    match kind:
        case None:
            return int(value.type, 16), bytes.fromhex(value.text)
        case 1 | 2:
            return kind, sz(text)
        case 4:
            return kind, dword(int(text, 0))
        case 7:
            return kind, b"".join(map(sz, multi_text(text))) + b"\0\0"
    return kind, bytes.fromhex(value.text)


def _reference(identifier: str, data: str) -> bytes:
    head = struct.pack("<II", len(identifier), len(data))
    return head + identifier.encode("ascii") + data.encode("ascii")
