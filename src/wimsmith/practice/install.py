r"""Installs packages into an image model: files, links, registry and the component store.

The layout is that of installed Windows (docs/internals/practice.md); generated images start from
it. Written apart from the engine that later changes them.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from wimsmith.practice.assemble import PackageFiles, assemble, packages, with_nested
from wimsmith.practice.content import ContentPool, Stored
from wimsmith.practice.expand import expand_text, image_path, registry_place, value_data
from wimsmith.practice.model import DirectoryModel, FileModel, ImageModel, KeyModel
from wimsmith.practice.names import (
    Identity,
    component_key,
    deployment_key,
    file_value,
    identity_text,
    reference_value,
    text_hash,
    winners_key,
)
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.security import ADMIN_FILE, WRP_FILE
from wimsmith.practice.spec import (
    ComponentSpec,
    DeploymentSpec,
    FileSpec,
    PackageSpec,
    PackageState,
    StoreFlags,
    ThumbprintRule,
    UpdateEntry,
)

CBS = "Microsoft\\Windows\\CurrentVersion\\Component Based Servicing"
WINNERS = "Microsoft\\Windows\\CurrentVersion\\SideBySide\\Winners"
CATALOG_ROOT = "Windows/System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}"
_LINKED_FROM = PackageState.SUPERSEDED

Assembled = Callable[[PackageSpec], PackageFiles]


@dataclass(slots=True)
class Installer:
    """Puts packages into one image.

    Args:
        assembled: gives the files of a package; shared between the indexes of an image.
        features: optional features by name, False where switched off.
        installed: FILETIME written as the time of installation.
        detections: whether to enter packages in the indexes of what they look for.
    """

    image: ImageModel
    pool: ContentPool
    flags: StoreFlags
    assembled: Assembled
    installed: int
    features: Mapping[str, bool] = field(default_factory=dict)
    detections: bool = False

    def install(self, top: PackageSpec) -> None:
        """Install a package with its child packages, each in its own state."""
        for spec in packages(top):
            files = self.assembled(spec)
            state = self.package_state(spec)
            self._package_files(files)
            self._package_key(spec, state, owner=top)
            if self.detections and state >= PackageState.INSTALLED:
                self._detections(spec)
            catalog = hashlib.sha256(files.catalog).hexdigest()
            for update in spec.updates:
                self._update(spec, update, files, catalog, state)

    def package_state(self, spec: PackageSpec) -> PackageState:
        """The state a package is in: given, or staged when every update in it is off."""
        if spec.state is not None:
            return spec.state
        off = [self.features.get(update.name) is False for update in spec.updates]
        return PackageState.STAGED if off and all(off) else PackageState.INSTALLED

    def _update_state(self, update: UpdateEntry, state: PackageState) -> PackageState:
        if update.state is not None:
            return update.state
        if self.features.get(update.name) is False:
            return min(PackageState.STAGED, state)
        return state

    def _package_files(self, files: PackageFiles) -> None:
        base = f"Windows/servicing/Packages/{files.name}"
        catalog = self.pool.add(files.catalog)
        thumbprint = hashlib.sha256(files.catalog).hexdigest()
        self.image.put(f"{base}.mum", FileModel(self.pool.add(files.manifest)))
        self.image.put(f"{base}.cat", FileModel(catalog))
        self.image.put(f"Windows/WinSxS/Catalogs/{thumbprint}.cat", FileModel(catalog))
        self.image.hive("COMPONENTS").key(f"CanonicalData\\Catalogs\\{thumbprint}")
        root_file = FileModel(catalog, security=ADMIN_FILE.of_file)
        self.image.put(f"{CATALOG_ROOT}/{files.name}.cat", root_file)

    def _package_key(self, spec: PackageSpec, state: PackageState, owner: PackageSpec) -> None:
        name = spec.identity.package_name
        cbs = self.image.hive("SOFTWARE").key(CBS)
        key = cbs.key(f"Packages\\{name}")
        visibility = self.flags.visible if spec.visible else self.flags.hidden
        key.text("InstallClient", "DISM Package Manager Provider")
        key.text("InstallName", f"{name}.mum")
        key.text("InstallLocation", "\\\\?\\C:\\Windows\\CbsTemp\\practice\\")
        key.text("InstallUser", "S-1-5-18")
        key.number("InstallTimeHigh", self.installed >> 32)
        key.number("InstallTimeLow", self.installed & 0xFFFF_FFFF)
        key.number("CurrentState", state)
        key.number("SelfUpdate", 0)
        key.number("Visibility", visibility)
        key.number("DefVis", visibility)
        key.number("Trusted", 1)
        owner_value = self.flags.owner_flag << 16 | state
        key.key("Owners").number(owner.identity.package_name, owner_value)
        for update in spec.updates:
            key.key("Updates").number(update.name, self._update_state(update, state))
        self._index(cbs.key(f"PackageIndex\\{spec.identity.index_name}"), name)

    def _detections(self, spec: PackageSpec) -> None:
        """Enter a package wherever it looks for something."""
        name, cbs = spec.identity.package_name, self.image.hive("SOFTWARE").key(CBS)
        for parent in spec.parents:
            for identity in parent.identities:
                cbs.key(f"PackageDetect\\{identity.index_name}").number(name, 0)
        for rule in (update.applicable for update in spec.updates if update.applicable):
            if rule.follow_parent:
                cbs.key(f"UpdateDetect\\{rule.follow_parent}").number(name, 1)
        looked_for = [
            ({"install": 16, "revision": 2}[elevate], identity)
            for update in spec.updates
            for elevate, identities in (update.applicable.elevate if update.applicable else ())
            for identity in identities
        ]
        # the highest version of a family is the last, and stays
        for number, identity in sorted(looked_for, key=lambda one: _numbers(one[1].version)):
            family = cbs.key(f"ComponentDetect\\{winners_key(identity)}")
            family.text(name, f"{identity.version}@{number}")

    @staticmethod
    def _index(key: KeyModel, name: str) -> None:
        """The index names the newest version; versions are installed in rising order."""
        key.text("", name)

    def _update(
        self,
        spec: PackageSpec,
        update: UpdateEntry,
        files: PackageFiles,
        catalog: str,
        package_state: PackageState,
    ) -> None:
        state = self._update_state(update, package_state)
        linked = state >= _LINKED_FROM
        identifier = f"{spec.identity.package_name}.{update.name}"
        for deployment in with_nested(update.deployment) if update.deployment else ():
            self._deployment(deployment, files, catalog, linked=linked)
            key = self._deployment_key(deployment)
            for mark, data in self._references(update, linked=linked):
                key.binary(reference_value(mark, identifier), _reference(identifier, data))

    def _deployment_key(self, deployment: DeploymentSpec) -> KeyModel:
        name = deployment_key(deployment.identity)
        return self.image.hive("COMPONENTS").key(f"CanonicalData\\Deployments\\{name}")

    def _deployment(
        self, deployment: DeploymentSpec, files: PackageFiles, catalog: str, *, linked: bool
    ) -> None:
        identity = deployment.identity
        name = deployment_key(identity)
        manifest = files.manifests[component_key(identity)]
        self._register(identity, manifest, name, self.flags.deployment_flags)
        if linked:
            self._win(identity)
        key = self._deployment_key(deployment)
        key.binary("appid", identity_text(identity).encode("ascii"))
        key.text("CatalogThumbprint", self._thumbprint(catalog, manifest))
        listed = self.image.hive("COMPONENTS").key(f"CanonicalData\\Catalogs\\{catalog}")
        listed.binary(f"c!{name}", b"")
        for component in deployment.components:
            self._component(component, files, name, linked=linked)

    def _thumbprint(self, catalog: str, manifest: bytes) -> str:
        if self.flags.thumbprint is ThumbprintRule.CATALOG:
            return catalog
        return hashlib.sha256(manifest).hexdigest()

    def _references(self, update: UpdateEntry, *, linked: bool) -> Iterator[tuple[str, str]]:
        flags = self.flags
        rules = update.applicable.elevate if update.applicable else ()
        elevated = {"install": flags.elevated_install, "revision": flags.elevated_revision}
        marks = {"p": flags.pinned, "s": flags.staged} | ({"i": flags.installed} if linked else {})
        for mark, data in marks.items():
            yield mark, elevated[rules[0][0]] if rules else data

    def _register(
        self, identity: Identity, manifest: bytes, deployment: str, flags: int | None
    ) -> KeyModel:
        """Manifest file and key in COMPONENTS."""
        name = component_key(identity)
        path = f"Windows/WinSxS/Manifests/{name}.manifest"
        self.image.put(path, FileModel(self.pool.add(manifest)))
        key = self.image.hive("COMPONENTS").key(f"DerivedData\\Components\\{name}")
        key.binary("identity", identity_text(identity).encode("ascii"))
        key.binary("S256H", hashlib.sha256(manifest).digest())
        if flags is not None:
            key.number("CF", flags)
        key.binary(f"c!{deployment}", b"")
        return key

    def _win(self, identity: Identity) -> None:
        """Enter an installed version; a family's versions are installed in rising order."""
        family = self.image.hive("SOFTWARE").key(f"{WINNERS}\\{winners_key(identity)}")
        branch = family.key(identity.branch)
        family.text("", identity.branch)
        branch.text("", identity.version)
        branch.binary(identity.version, b"\1")

    def _component(
        self, spec: ComponentSpec, files: PackageFiles, deployment: str, *, linked: bool
    ) -> None:
        name = component_key(spec.identity)
        manifest = files.manifests[name]
        key = self._register(spec.identity, manifest, deployment, self.flags.component_flags)
        if spec.files:
            self.image.directory(f"Windows/WinSxS/{name}")
        for item in spec.files:
            flags = self.flags.file_flags if linked else self.flags.staged_file_flags
            key.number(file_value(item.name), flags)
            self._payload(spec, item, files.payload[name, item.name], linked=linked)
        if linked:
            self._win(spec.identity)
            self._directories(spec)
            self._registry(spec)

    def _payload(
        self, spec: ComponentSpec, item: FileSpec, content: Stored, *, linked: bool
    ) -> None:
        path = f"Windows/WinSxS/{component_key(spec.identity)}/{item.name}"
        descriptor = spec.descriptors.get(item.security or "")
        attributes = 0x22 if item.attributes == "hidden" else 0x20
        security = descriptor.of_file if descriptor else WRP_FILE.of_file
        file = FileModel(content, security, attributes, item.short_name)
        self.image.put(path, file)
        if linked:
            for target in _destinations(spec, item):
                self.image.link(target, path)
            if "BootRecovery" in spec.memberships:
                self.image.put(backup_path(spec, item.name), file)

    def _directories(self, spec: ComponentSpec) -> None:
        for item in spec.directories:
            path = image_path(item.path, spec.identity.architecture)
            descriptor = spec.descriptors.get(item.security or "")
            if descriptor and path not in self.image.directories:
                self.image.directory(path, DirectoryModel(descriptor.of_file))

    def _registry(self, spec: ComponentSpec) -> None:
        architecture = spec.identity.architecture
        for item in spec.keys:
            hive, path = registry_place(item.path, architecture)
            key = self.image.hive(hive).key(path)
            descriptor = spec.descriptors.get(item.security or "")
            key.security = descriptor.of_key if descriptor else key.security
            for value in item.values:
                kind, data = value_data(value.type, value.value, architecture, spec.strings)
                key.set(expand_text(value.name, architecture, spec.strings), kind, data)


def assembler(pool: ContentPool, root: PracticeRoot, *, sha256: bool, created: str) -> Assembled:
    """Assembles each package once, however many indexes hold it."""
    done: dict[str, PackageFiles] = {}

    def assembled(spec: PackageSpec) -> PackageFiles:
        name = spec.identity.package_name
        if name not in done:
            done[name] = assemble(spec, pool, root, sha256=sha256, created=created)
        return done[name]

    return assembled


def backup_path(spec: ComponentSpec, name: str) -> str:
    """Where a copy of a file that starting Windows needs is kept.

    That the last part is a hash of the file name is public; which hash is our assumption.
    """
    tail = text_hash(name) & 0xFFFF_FFFF
    return f"Windows/WinSxS/Backup/{component_key(spec.identity)}_{name}_{tail:08x}"


def _destinations(spec: ComponentSpec, item: FileSpec) -> Iterator[str]:
    architecture = spec.identity.architecture
    if item.destination is not None:
        yield image_path(f"{item.destination}\\{item.name}", architecture)
    for link in item.links:
        yield image_path(link, architecture)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _reference(identifier: str, data: str) -> bytes:
    """A reference: two lengths, identifier, opaque data."""
    head = struct.pack("<II", len(identifier), len(data))
    return head + identifier.encode("ascii") + data.encode("ascii")
