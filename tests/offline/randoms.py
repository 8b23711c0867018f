"""Packages put together at random from everything that can be installed without running code."""

import random
from collections.abc import Iterator

from wimsmith.practice.maker import Maker
from wimsmith.practice.names import WINDOWS_TOKEN, Identity
from wimsmith.practice.spec import (
    Applicable,
    ComponentSpec,
    Content,
    DeploymentSpec,
    DirectorySpec,
    FileSpec,
    KeySpec,
    PackageSpec,
    UpdateEntry,
    ValueSpec,
)

_FOLDERS = (
    "$(runtime.system32)\\",
    "$(runtime.system32)",
    "$(runtime.system32)\\Made\\Deep\\Er\\",
    "$(runtime.programFiles)\\Made here\\",
    "$(runtime.programData)\\Made\\",
    "$(runtime.wbem)\\",
    "$(runtime.drivers)\\",
    "$(runtime.inf)\\made",
    "$(runtime.fonts)\\",
    "$(runtime.help)\\",
    "$(runtime.windows)\\",
    "$(runtime.systemRoot)\\Made\\",
    "$(runtime.bootDrive)\\Made\\",
    "$(RUNTIME.System32)\\",
)
_FILES = (
    "made.dll",
    "Größe der Datei.txt",
    "файл.dat",
    "twenty-two-chara.abcde",
    "twenty-three-char.abcde",
    "ALLCAPS.EXE",
    "no extension",
    "a.b.c.d",
)
_KEYS = (
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\Made",
    "HKEY_LOCAL_MACHINE\\Software\\Made\\",
    "hkey_local_machine\\software\\Microsoft\\Made",
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\Wow6432Node\\Made",
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\Clients\\Made",
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Fonts",
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\App Paths\\made.exe",
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\Classes\\made.file",
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\Classes\\Interface\\{7072ACE1-0000-4000-8000-5072616374AA}",
    "HKEY_CLASSES_ROOT\\Media Type\\Made",
    "HKEY_CLASSES_ROOT\\AppID\\made.exe",
    "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\Made\\Parameters",
    "HKEY_LOCAL_MACHINE\\SYSTEM\\Made",
    "HKEY_USERS\\.DEFAULT\\Software\\Classes\\CLSID\\{7072ACE2-0000-4000-8000-5072616374AA}",
    "HKEY_CURRENT_USER\\Software\\Made",
    "HKEY_CURRENT_USER\\Control Panel\\Made",
)
_VALUES = (
    ("REG_SZ", ""),
    ("REG_SZ", "quotes \" ' & < > and ü"),
    ("REG_SZ", "$(runtime.programFiles)\\made.dll,$(runtime.system32)\\x"),
    ("REG_EXPAND_SZ", "%SystemRoot%\\made"),
    ("REG_MULTI_SZ", ""),
    ("REG_MULTI_SZ", '"one"'),
    ("REG_MULTI_SZ", '"a, b","$(runtime.windows)","ö"'),
    ("REG_DWORD", "0x0"),
    ("REG_DWORD", "0xFFFFFFFF"),
    ("REG_DWORD", "4294967295"),
    ("REG_QWORD", "00000000000000ff"),
    ("REG_BINARY", ""),
    ("REG_BINARY", "ab" * 40),
    ("REG_BINARY", "cd" * 20_000),
    ("REG_NONE", "ff"),
    ("00020001", "0102"),
    ("ffff0011", ""),
    ("00000001", "41004200"),
)
_NAMES = (
    "Practice-Made",
    "Practice Made (x) Of",
    "Practice.Made",
    "Practice-Made-Of-A-Name-That-Is",
)


class Dice:
    """A source of packages; the same seed gives the same ones."""

    def __init__(self, seed: int, maker: Maker) -> None:
        """Throw for images that `maker` makes packages for."""
        self._random = random.Random(seed)
        self._maker = maker
        self._numbers = iter(range(1000))

    def package(self, article: str = "KB5088000") -> PackageSpec:
        """A package with one to three updates, some of them in children or staged."""
        updates = tuple(self._updates(article))
        parents = (self._maker.parent(),) if self._random.random() < 0.8 else ()
        return self._maker.package(article, "1.0.0.0", *updates, parents=parents)

    def _updates(self, article: str) -> Iterator[UpdateEntry]:
        for number in range(self._random.randint(1, 3)):
            entry = UpdateEntry(f"{article}-{number}_neutral", self._deployment())
            if self._random.random() < 0.3:
                identity = Identity.package(
                    f"Package_{number}_for_{article}~{WINDOWS_TOKEN}~amd64~~1.0.0.0"
                )
                child = PackageSpec(identity, (entry,), (self._maker.parent(),), visible=False)
                yield UpdateEntry(f"carrier-{number}", child=child)
            elif self._random.random() < 0.3:
                components = entry.deployment.components if entry.deployment else ()
                rule = self._random.choice(["install", "revision"])
                families = tuple(one.identity for one in components)
                yield UpdateEntry(
                    entry.name, entry.deployment, applicable=Applicable(elevate=((rule, families),))
                )
            else:
                yield entry

    def _deployment(self, architecture: str = "") -> DeploymentSpec:
        nested: tuple[DeploymentSpec, ...] = ()
        if not architecture and self._random.random() < 0.4:
            nested = (self._deployment(self._random.choice(["wow64", "x86"])),)
        architecture = architecture or "amd64"
        components = tuple(self._component(architecture) for _ in range(self._random.randint(1, 3)))
        return DeploymentSpec(self._identity("Deployment", architecture), components, nested)

    def _identity(self, kind: str, architecture: str) -> Identity:
        name = f"{self._random.choice(_NAMES)}-{kind}{next(self._numbers)}"
        name += "-" * self._random.choice([0, 0, 40 - len(name), 41 - len(name), 24 - len(name)])
        language = self._random.choice(["neutral"] * 4 + ["en-US", "sr-Latn-RS", "qps-ploc"])
        scope = self._random.choice(["nonSxS"] * 3 + ["NonSxS"])
        kind = self._random.choice([""] * 3 + ["win32"])
        version = self._maker.version(self._random.choice([-1, 1, 300, 4000]))
        return Identity(name, version, architecture, language, version_scope=scope, type=kind)

    def _component(self, architecture: str) -> ComponentSpec:
        if architecture == "amd64" and self._random.random() < 0.2:
            architecture = "msil"
        return ComponentSpec(
            self._identity("Component", architecture),
            files=tuple(self._files()),
            keys=tuple(self._keys()),
            directories=tuple(self._directories()),
            strings={"made": "Made text"},
        )

    def _files(self) -> Iterator[FileSpec]:
        number = next(self._numbers)  # no two components put a file in one place
        for name in self._random.sample(_FILES, self._random.randint(0, 4)):
            folder = self._random.choice((*_FOLDERS, None))
            links = [f"$(runtime.system32)\\Made\\{number}\\again {name}"]
            yield FileSpec(
                f"{number} {name}" if folder else name,
                Content(size_bytes=self._random.choice([0, 1, 700, 5000]), seed=f"{number} {name}"),
                folder,
                self._random.choice(["WRP_FILE_DEFAULT_SDDL", None]),
                tuple(links) if folder and self._random.random() < 0.3 else (),
                self._random.choice([None, None, "hidden"]),
                self._random.choice(["sha256", "sha1"]),
            )

    def _keys(self) -> Iterator[KeySpec]:
        """Keys of the component's own, and values in keys that it shares with others.

        Which of two components wins that write one value, nobody has described.
        """
        for path in self._random.sample(_KEYS, self._random.randint(0, 4)):
            number = next(self._numbers)
            if self._random.random() < 0.3:
                yield KeySpec(path, tuple(self._values(f"{number} ")), None)
                continue
            yield KeySpec(
                path.rstrip("\\") + f"\\{number}" + path[len(path.rstrip("\\")) :],
                tuple(self._values("")),
                self._random.choice(["WRP_REGKEY_DEFAULT_SDDL", None]),
                self._random.choice([None, True, False]),
            )

    def _values(self, prefix: str) -> Iterator[ValueSpec]:
        for number in range(self._random.randint(0, 4)):
            kind, text = self._random.choice(_VALUES)
            name = self._random.choice([f"Value {number}", "", f"v{number} ü $(string.made)"])
            hint = self._random.choice([None, None, "replace"])
            yield ValueSpec(prefix + name, kind, text, hint)

    def _directories(self) -> Iterator[DirectorySpec]:
        for path in self._random.sample(_FOLDERS[2:5], self._random.randint(0, 2)):
            yield DirectorySpec(path, owner=self._random.choice([True, False]))
