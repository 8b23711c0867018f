"""Rules of what a store has once: its format, its folders, detect indexes, backup copies."""

import re
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from wimsmith.errors import DamagedInput
from wimsmith.offline.components.gate.reading import SubjectReader
from wimsmith.offline.components.gate.report import RuleReport
from wimsmith.offline.components.gate.rules.base import Rule
from wimsmith.offline.components.gate.subjects import Inventory, package_identity
from wimsmith.offline.components.store.lookups import CBS, WINSXS
from wimsmith.offline.components.store.siblings import BACKUP_NAME, BACKUP_RULES
from wimsmith.offline.descriptors import SecurityDescriptor
from wimsmith.offline.manifests.identity import Version
from wimsmith.offline.registry.values import Value, ValueType
from wimsmith.offline.security import TRUSTED_INSTALLER

STORE_FORMATS = frozenset(["0.0.0.6"])
_STORE_FOLDERS = (WINSXS, f"{WINSXS}/Manifests", "servicing/Packages")
_FAMILY_KEY = re.compile(r"[a-z0-9]+_.+_[0-9a-f]{16}_[^_]+_[0-9a-f]{16}", re.IGNORECASE)
_MAX_DETECT = 100_000
Shape = tuple[str, str]


class StoreFormatRule(Rule):
    """`StoreFormatVersion`: a version of the store that is known."""

    name = "store-format"
    is_needed = True

    def store_as_a_whole(self) -> None:
        value = self.store.components.value("", "StoreFormatVersion")
        if value is None:
            return
        text = value.data.decode("utf-16-le", "replace").rstrip("\0")
        holds = value.type == ValueType.BINARY and text in STORE_FORMATS
        self.tally.expect(holds, "StoreFormatVersion", f"the version {text[:20]!r}")


class BaseManifestRule(Rule):
    """Manifests stored as deltas: the servicing stack of the image holds the text they need."""

    name = "base-manifest"

    def __init__(self, inventory: Inventory, subjects: SubjectReader) -> None:
        super().__init__(inventory)
        self._subjects = subjects

    def report(self) -> RuleReport:
        for key in sorted(self._subjects.compressed):
            text = "no text in the servicing stack is the base of its manifest"
            self.tally.expect(key not in self._subjects.unproved, key, text)
        return self.tally.report()


class StoreSecurityRule(Rule):
    """Folders of the store belong to the installer of Windows, and their files look alike."""

    name = "store-security"

    def store_as_a_whole(self) -> None:
        for name in _STORE_FOLDERS:
            folder = self.store.draft.find(f"{self.store.image.windows}/{name}")
            if folder is None:
                self.tally.exempts("a folder is not there")
                continue
            owner = _owner(folder.security)
            text = "it does not belong to TrustedInstaller"
            self.tally.expect(owner == TRUSTED_INSTALLER, name, text)
        for folder_name, ending in (("servicing/Packages", ".mum"), (f"{WINSXS}/Manifests", "")):
            self._files(f"{self.store.image.windows}/{folder_name}", ending)

    def _files(self, folder: str, ending: str) -> None:
        """Files of a kind: one descriptor is that of at least nine in ten."""
        seen: Counter[bytes | None] = Counter()
        for name in self.store.draft.names_in(folder):
            file = self.store.draft.find(f"{folder}/{name}")
            if file is not None and not file.is_directory and name.lower().endswith(ending):
                seen[file.security] += 1
        if seen:
            security, count = seen.most_common(1)[0]
            alike = security is not None and count * 10 >= seen.total() * 9
            text = f"{len(seen)} descriptors, the most common on {count} of {seen.total()} files"
            self.tally.expect(alike, folder, text)


class BackupRule(Rule):
    r"""Names of copies in `WinSxS\Backup`: they end in a hash of the file's name."""

    name = "backup"

    def store_as_a_whole(self) -> None:
        names = self.store.draft.names_in(self.store.payload_path("Backup"))
        found = [(name, BACKUP_NAME.fullmatch(name.lower())) for name in names]
        parts = [(name, match[1], match[2]) for name, match in found if match]
        self.tally.exempts("another kind of name", len(found) - len(parts))
        if parts:
            hashes = [[rule(file) == end for _, file, end in parts] for rule in BACKUP_RULES]
            best = max(hashes, key=sum)
            for (name, _, _), holds in zip(parts, best, strict=True):
                self.tally.expect(holds, name, "the hash at its end is not that of the others")


class DetectRule(Rule):
    """Who must be asked again when something changes: the three detect indexes, by their form.

    Public notes show the forms of two of them. Another form in these is not understood; of the
    third, `UpdateDetect`, the forms are only counted.
    """

    name = "detect"

    def store_as_a_whole(self) -> None:
        for index, known in _DETECT_FORMS.items():
            path = rf"{CBS}\{index}"
            for count, name in enumerate(self.store.software.subkeys(path)):
                if count >= _MAX_DETECT:
                    self.tally.exempts("more than are looked at")
                    break
                for value in self.store.software.values(rf"{path}\{name}"):
                    self._value(rf"{index}\{name}", (_key_shape(name), _value_shape(value)), known)

    def _value(self, subject: str, shape: Shape, known: frozenset[Shape]) -> None:
        index, _, _ = subject.partition("\\")
        self.tally.saw(index, " / ".join(shape))
        if known:
            text = f"a form that is not known: {shape[0]} / {shape[1]}"
            self.tally.expect(shape in known, subject, text)
        else:
            self.tally.exempts(f"no form of {index} is known")


_DETECT_FORMS: Mapping[str, frozenset[Shape]] = MappingProxyType(
    {
        "ComponentDetect": frozenset([("component family", "package: text version@")]),
        "PackageDetect": frozenset(
            [("package index name", f"package: number {size}") for size in ("0", "other")]
        ),
        "UpdateDetect": frozenset(),
    }
)


def _key_shape(name: str) -> str:
    identity = package_identity(name)
    if identity is not None:
        zero = identity.version == Version(0, 0, 0, 0)
        return "package index name" if zero else "package"
    return "component family" if _FAMILY_KEY.fullmatch(name) else "another name"


def _value_shape(value: Value) -> str:
    if not value.name:
        return f"default: {_data_shape(value)}"
    name = "package" if package_identity(value.name) else "another name"
    return f"{name}: {_data_shape(value)}"


def _data_shape(value: Value) -> str:
    if value.type == ValueType.DWORD and len(value.data) == 4:
        return "number 0" if value.dword() == 0 else "number other"
    if value.type != ValueType.SZ:
        return f"type {value.type}, {len(value.data)} bytes"
    head, mark, _ = value.text().partition("@")
    try:
        Version.parse(head)
    except DamagedInput:
        return "another text"
    return f"text version{mark}"


def _owner(descriptor: bytes | None) -> str | None:
    if descriptor is None:
        return None
    try:
        return SecurityDescriptor.from_bytes(descriptor).owner
    except DamagedInput:
        return None
