"""Images in memory for tests of the component engine: a tree, contents, and hives made by hand."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from wimsmith.errors import NotFound
from wimsmith.offline.changes import ChangeSet
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import CBS, PACKAGES, WINNERS, Store
from wimsmith.offline.hiveedits import edit_hive
from wimsmith.offline.image import edit_tree
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version, parse_package_name
from wimsmith.offline.manifests.names import (
    deployment_key,
    identity_string,
    keyform,
    keyform_without_version,
    reference_value_name,
)
from wimsmith.offline.registry.hive import Hive
from wimsmith.offline.registry.values import encode_dword, encode_text
from wimsmith.offline.security import compile_sddl
from wimsmith.offline.wim.format.tree import Entry, Tree

NOW = 133_000_000_000_000_000
TOKEN = "31bf3856ad364e35"
FOLDER_SD = compile_sddl("O:SYG:SYD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)")
SZ, BINARY, DWORD = 1, 3, 4


class MemoryImage:
    """An image that is nowhere on disk; it has what `View` asks for."""

    def __init__(self) -> None:
        self.tree = Tree.new(security=FOLDER_SD)
        self.content: dict[str, bytes] = {}
        self.hives = {
            name: Hive.new() for name in ("SOFTWARE", "SYSTEM", "COMPONENTS", "DEFAULT", "NTUSER")
        }
        self.system_root(r"C:\Windows")
        self.windows(10, 0, 19041)
        self.architecture("AMD64")

    def find(self, path: str) -> Entry | None:
        return self.tree.find(path)

    def exists(self, path: str) -> bool:
        return self.find(path) is not None

    def read(self, path: str) -> bytes:
        entry = self.find(path)
        if entry is None or entry.is_directory:
            raise NotFound(path)
        return self.content.get(entry.inode.sha1.hex(), b"")

    def read_many(self, wanted: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        yield from ((path, self.read(path)) for path in wanted if self.exists(path))

    @property
    def stated_architecture(self) -> int | None:
        return None

    def hive(self, name: str) -> Hive:
        if name not in self.hives:
            raise NotFound(name)
        return self.hives[name]

    def has_hive(self, name: str) -> bool:
        return name in self.hives

    def stack(self, changes: ChangeSet) -> None:
        for content in changes.content.values():
            self.content[content.sha1] = content.path.read_bytes()
        for edit in changes.tree:
            edit_tree(self.tree, edit)
        for change in changes.registry:
            edit_hive(self.hives[change.hive], change)

    def put(self, path: str, data: bytes, **how: object) -> Entry:
        sha1 = hashlib.sha1(data).digest()
        self.content[sha1.hex()] = data
        return self.tree.put_file(path, sha1, **how)  # type: ignore[arg-type]

    def text(self, hive: str, key: str, name: str, text: str) -> None:
        self.hives[hive].set_value(key, name, SZ, encode_text(text))

    def number(self, hive: str, key: str, name: str, number: int) -> None:
        self.hives[hive].set_value(key, name, DWORD, encode_dword(number))

    def binary(self, hive: str, key: str, name: str, data: bytes) -> None:
        self.hives[hive].set_value(key, name, BINARY, data)

    def system_root(self, path: str) -> None:
        self.text("SOFTWARE", r"Microsoft\Windows NT\CurrentVersion", "SystemRoot", path)

    def windows(self, major: int, minor: int, build: int) -> None:
        key = r"Microsoft\Windows NT\CurrentVersion"
        self.text("SOFTWARE", key, "CurrentVersion", f"{major}.{minor}")
        self.text("SOFTWARE", key, "CurrentBuildNumber", str(build))
        if major >= 10:
            self.number("SOFTWARE", key, "CurrentMajorVersionNumber", major)
            self.number("SOFTWARE", key, "CurrentMinorVersionNumber", minor)

    def architecture(self, name: str) -> None:
        self.number("SYSTEM", "Select", "Default", 1)
        key = r"ControlSet001\Control\Session Manager\Environment"
        self.text("SYSTEM", key, "PROCESSOR_ARCHITECTURE", name)

    def language(self, name: str) -> None:
        self.hives["SYSTEM"].create_key(rf"ControlSet001\Control\MUI\UILanguages\{name}")

    def package(
        self, name: str, state: int = 0x70, updates: dict[str, int] | None = None
    ) -> AssemblyIdentity:
        key = rf"{PACKAGES}\{name}"
        self.number("SOFTWARE", key, "CurrentState", state)
        for update, number in (updates or {}).items():
            self.number("SOFTWARE", rf"{key}\Updates", update, number)
        return parse_package_name(name)

    def cbs(self, key: str) -> None:
        self.hives["SOFTWARE"].create_key(rf"{CBS}\{key}")

    def win(self, identity: AssemblyIdentity) -> None:
        family = rf"{WINNERS}\{keyform_without_version(identity)}"
        branch = rf"{family}\{identity.version.branch}"
        self.text("SOFTWARE", family, "", identity.version.branch)
        self.text("SOFTWARE", branch, "", str(identity.version))
        self.binary("SOFTWARE", branch, str(identity.version), b"\1")

    def component(
        self,
        identity: AssemblyIdentity,
        manifest: bytes = b"<assembly/>",
        *,
        flags: int | None = 0x4,
        files: dict[str, int] | None = None,
        owner: AssemblyIdentity | None = None,
    ) -> str:
        """An installed component with its manifest, key and place among the winners."""
        key = keyform(identity)
        path = rf"DerivedData\Components\{key}"
        self.put(f"Windows/WinSxS/Manifests/{key}.manifest", manifest)
        self.binary("COMPONENTS", path, "identity", identity_string(identity).encode())
        self.binary("COMPONENTS", path, "S256H", hashlib.sha256(manifest).digest())
        self.binary("COMPONENTS", path, f"c!{deployment_key(owner or identity)}", b"")
        if flags is not None:
            self.number("COMPONENTS", path, "CF", flags)
        for name, flag in (files or {}).items():
            self.number("COMPONENTS", path, f"f!{name}", flag)
            self.put(f"Windows/WinSxS/{key}/{name}", name.encode())
        self.win(identity)
        return key

    def deployment(
        self,
        identity: AssemblyIdentity,
        identifier: str,
        thumbprint: str,
        marks: dict[str, bytes],
    ) -> None:
        path = rf"CanonicalData\Deployments\{deployment_key(identity)}"
        self.binary("COMPONENTS", path, "appid", identity_string(identity).encode())
        self.text("COMPONENTS", path, "CatalogThumbprint", thumbprint)
        for mark, data in marks.items():
            head = len(identifier).to_bytes(4, "little") + len(data).to_bytes(4, "little")
            name = reference_value_name(mark, identifier)
            self.binary("COMPONENTS", path, name, head + identifier.encode() + data)


def draft_of(image: MemoryImage, spool: Path) -> Draft:
    return Draft(image, spool, NOW)


def store_of(image: MemoryImage, spool: Path) -> Store:
    return Store(draft_of(image, spool))


def component_identity(
    name: str, version: str, architecture: str = "amd64", language: str = "neutral"
) -> AssemblyIdentity:
    return AssemblyIdentity(
        name, Version.parse(version), architecture, language, TOKEN, "nonSxS", "", "release"
    )
