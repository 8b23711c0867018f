"""The packages every practice image holds, and the content that makes it as large as asked."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from wimsmith.practice.content import content_bytes, program
from wimsmith.practice.generations import GenerationFacts, facts
from wimsmith.practice.names import WINDOWS_TOKEN, Identity
from wimsmith.practice.spec import (
    Applicable,
    ComponentSpec,
    Content,
    DeploymentSpec,
    DirectorySpec,
    FileSpec,
    ImageSpec,
    KeySpec,
    PackageSpec,
    PackageState,
    ParentSpec,
    UpdateEntry,
    ValueSpec,
)

GAMES_FEATURE = "Practice-Games"
PRINTING_FEATURE = "Practice-Printing"
FEATURES_OFF = {GAMES_FEATURE: False}
_PER_DEPLOYMENT = 16
_SMALL_FILE_BYTES = 24 << 10
_BASE_BYTES = 420 << 10
_MAX_COMPONENTS = 20_000


@dataclass(frozen=True, slots=True)
class Baseline:
    """Makes the packages of one image specification."""

    spec: ImageSpec

    @property
    def facts(self) -> GenerationFacts:
        return facts(self.spec.generation)

    def packages(self, edition: str) -> Iterator[PackageSpec]:
        """Packages of one edition, in the order in which they came into the image."""
        yield self._foundation()
        yield self._client_features()
        yield self._edition(edition)
        yield self._language_pack()
        yield self._optional()
        yield self._filler()
        yield from self._updates()
        yield from self.spec.extra_packages

    def _identity(self, name: str, **changes: str) -> Identity:
        return replace(Identity(name, self.facts.full_version), **changes)

    def _package(
        self, name: str, updates: tuple[UpdateEntry, ...], release_type: str, language: str = ""
    ) -> PackageSpec:
        identity = Identity.package(
            f"{name}~{WINDOWS_TOKEN}~amd64~{language}~{self.facts.full_version}"
        )
        return PackageSpec(
            identity,
            updates,
            identifier=name,
            release_type=release_type,
            description=f"Practice copy of {name}",
            state=PackageState.INSTALLED,
        )

    def _update(self, name: str, *components: ComponentSpec) -> UpdateEntry:
        deployment = DeploymentSpec(self._identity(f"{name}-Deployment"), components)
        return UpdateEntry(name, deployment)

    def _foundation(self) -> PackageSpec:
        updates = (
            self._update("Practice-Kernel", self._kernel(), self._boot()),
            self._update("Practice-Servicing", self._servicing_stack()),
            self._update("Practice-Base", *self._base_libraries()),
        )
        return self._package("Microsoft-Windows-Foundation-Package", updates, "Foundation")

    def _client_features(self) -> PackageSpec:
        updates = (
            self._update("Practice-Shell", shell(self.facts.full_version)),
            self._update("Practice-Media", self._fonts(), self._driver_files(), self._help()),
        )
        return self._package("Microsoft-Windows-Client-Features-Package", updates, "Feature Pack")

    def _edition(self, edition: str) -> PackageSpec:
        marker = FileSpec(f"{edition.lower()}.xml", _content(f"edition {edition}", 700, "text"))
        component = ComponentSpec(self._identity(f"Practice-Edition-{edition}"), (marker,))
        update = self._update(f"Practice-{edition}", component)
        return self._package(f"Microsoft-Windows-{edition}Edition", (update,), "Product")

    def _language_pack(self) -> PackageSpec:
        language = self.spec.language
        file = FileSpec(
            "shell32.dll.mui",
            self._file_content("shell32.mui", 3 << 10, "pe"),
            f"$(runtime.system32)\\{language}\\",
        )
        identity = self._identity("Practice-Windows-Shell.Resources", language=language)
        component = ComponentSpec(identity, (file,))
        deployment = DeploymentSpec(
            self._identity("Practice-Language-Deployment-LanguagePack", language=language),
            (component,),
        )
        update = UpdateEntry("Practice-Language", deployment)
        name = "Microsoft-Windows-Client-LanguagePack-Package"
        return self._package(name, (update,), "Language Pack", language)

    def _optional(self) -> PackageSpec:
        updates = tuple(
            replace(self._update(feature, self._feature(feature)), selectable=True)
            for feature in (PRINTING_FEATURE, GAMES_FEATURE)
        )
        return self._package("Practice-Optional-Package", updates, "OnDemand Pack")

    def _feature(self, name: str) -> ComponentSpec:
        folder = f"$(runtime.programFiles)\\{name}\\"
        file = FileSpec(f"{name}.exe", self._file_content(name, 5 << 10, "pe"), folder)
        key = KeySpec(
            f"HKEY_LOCAL_MACHINE\\SOFTWARE\\Practice\\{name}",
            (ValueSpec("Path", "REG_EXPAND_SZ", f"{folder}{name}.exe"),),
        )
        identity = self._identity(f"{name}-Component")
        return ComponentSpec(identity, (file,), (key,), (DirectorySpec(folder),))

    def _kernel(self) -> ComponentSpec:
        names = ("ntoskrnl.exe", "hal.dll")
        files = tuple(FileSpec(name, self._file_content(name, 40 << 10, "pe")) for name in names)
        identity = self._identity("Practice-Windows-Kernel")
        return ComponentSpec(identity, files, memberships=("SingleInstanceFiles", "BootRecovery"))

    def _boot(self) -> ComponentSpec:
        files = (
            FileSpec(
                "bootmgr",
                self._file_content("bootmgr", 9000, "pe:x86"),
                "$(runtime.windows)\\Boot\\PCAT\\",
            ),
            FileSpec(
                "bootmgfw.efi",
                self._file_content("bootmgfw", 9000, "pe"),
                "$(runtime.windows)\\Boot\\EFI\\",
            ),
            FileSpec("winload.exe", self._file_content("winload", 9000, "pe")),
            FileSpec("winload.efi", self._file_content("winload.efi", 9000, "pe")),
        )
        identity = self._identity("Practice-Windows-Boot-Environment")
        return ComponentSpec(identity, files, memberships=("BootRecovery",))

    def _base_libraries(self) -> Iterator[ComponentSpec]:
        names = ("kernel32.dll", "ntdll.dll", "user32.dll", "practice-common-controls.dll")
        for architecture, kind in (("amd64", "pe"), ("wow64", "pe:x86")):
            files = tuple(
                FileSpec(
                    name,
                    self._file_content(f"{architecture} {name}", 12 << 10, kind),
                    short_name="PRACTI~1.DLL" if name.startswith("practice") else "",
                )
                for name in names
            )
            key = KeySpec(
                "HKEY_LOCAL_MACHINE\\SOFTWARE\\Practice\\Base",
                (ValueSpec("Library", "REG_SZ", "$(runtime.system32)\\kernel32.dll"),),
            )
            identity = self._identity("Practice-Windows-Base", architecture=architecture)
            yield ComponentSpec(identity, files, (key,))

    def _servicing_stack(self) -> ComponentSpec:
        """The stack's own files are payload only: nothing links to them."""
        body = self._file_content("wcp.dll", 20 << 10, "pe")
        base_manifest = self.spec.base_manifest
        if base_manifest is not None:
            body = _with_base_manifest(self.spec, base_manifest)
        files = (
            FileSpec("wcp.dll", body, None),
            FileSpec("cbscore.dll", self._file_content("cbscore.dll", 9000, "pe"), None),
        )
        identity = self._identity("Microsoft-Windows-ServicingStack", token=WINDOWS_TOKEN)
        return ComponentSpec(identity, files)

    def _fonts(self) -> ComponentSpec:
        content = self._file_content("practice.ttf", 8 << 10, "noise")
        file = FileSpec("practice.ttf", content, "$(runtime.fonts)\\")
        value = ValueSpec("Practice (TrueType)", "REG_SZ", "practice.ttf")
        path = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Fonts"
        key = KeySpec(path, (value,), security=None)
        return ComponentSpec(self._identity("Practice-Windows-Fonts"), (file,), (key,))

    def _driver_files(self) -> ComponentSpec:
        files = (
            FileSpec(
                "practice.sys",
                self._file_content("practice.sys", 6000, "pe"),
                "$(runtime.drivers)\\",
            ),
            FileSpec("practice.inf", _content("inf", 900, "text"), "$(runtime.inf)\\"),
        )
        return ComponentSpec(self._identity("Practice-Windows-Bus-Files"), files)

    def _help(self) -> ComponentSpec:
        folder = "$(runtime.programFiles)\\Practice Help\\"
        file = FileSpec(
            "a guide to windows and doors.txt",
            _content("guide", 4000, "text"),
            folder,
            links=("$(runtime.programData)\\Practice\\guide.txt",),
            short_name="AGUIDE~1.TXT",
        )
        directories = (
            DirectorySpec(folder),
            DirectorySpec("$(runtime.programData)\\Practice\\", owner=False),
        )
        identity = self._identity("Practice-Windows-Help")
        return ComponentSpec(identity, (file,), directories=directories)

    def _filler(self) -> PackageSpec:
        components = list(self._filler_components())
        groups = [
            tuple(components[start : start + _PER_DEPLOYMENT])
            for start in range(0, len(components), _PER_DEPLOYMENT)
        ]
        updates = tuple(
            self._update(f"Practice-Content-{number:05}", *group)
            for number, group in enumerate(groups)
        )
        return self._package("Practice-Content-Package", updates, "Foundation")

    def _filler_components(self) -> Iterator[ComponentSpec]:
        count, file_bytes = self._filler_sizes()
        folder = "$(runtime.programFiles)\\Practice Content\\"
        for number in range(count):
            name = f"content-{number:05}.{'dll' if number % 4 else 'txt'}"
            kind = "pe" if number % 4 else "text"
            destination = folder if number % 2 else "$(runtime.system32)\\Practice\\"
            file = FileSpec(name, self._file_content(name, file_bytes, kind), destination)
            key = KeySpec(
                f"HKEY_LOCAL_MACHINE\\SOFTWARE\\Practice\\Content\\{number:05}",
                (ValueSpec("File", "REG_SZ", name),),
            )
            identity = self._identity(f"Practice-Content-{number:05}")
            yield ComponentSpec(identity, (file,), (key,) if number % 3 == 0 else ())

    def _filler_sizes(self) -> tuple[int, int]:
        """How many components carry content, and how large the file of each is."""
        wanted = max(self.spec.size_bytes - _BASE_BYTES, 0)
        count = self.spec.components
        if count is None:
            count = min(max(wanted // _SMALL_FILE_BYTES, 12), _MAX_COMPONENTS)
        return count, max(wanted // max(count, 1), 64)

    def _updates(self) -> Iterator[PackageSpec]:
        """What was installed since the release: an update in two versions, and a rollup."""
        yield self._small_update(1, PackageState.SUPERSEDED)
        yield self._small_update(2, PackageState.INSTALLED)
        revision = self.spec.revision
        if revision is not None and revision > self.facts.revision:
            yield self._rollup(revision)

    def _small_update(self, step: int, state: PackageState) -> PackageSpec:
        """Two branches of one fix: the general one is installed, the other is only staged."""
        article = "KB4000001"
        general = self._branch(step, "install", None)
        limited = self._branch(step + 4000, "revision", PackageState.STAGED)
        return self._wrapped(article, f"10.0.1.{step}", (general, limited), state)

    def _branch(self, step: int, rule: str, state: PackageState | None) -> UpdateEntry:
        version = f"{self.facts.version}.{self.facts.revision + step}"
        file = FileSpec("practice-fix.dll", self._file_content(f"fix {step}", 5000, "pe"))
        component = ComponentSpec(Identity("Practice-Windows-Fix", version), (file,))
        deployment = DeploymentSpec(Identity(f"Practice-Fix-{rule}", version), (component,))
        applicable = Applicable("staged", elevate=((rule, (component.identity,)),))
        name = f"4000001-{step}_neutral_{'GDR' if rule == 'install' else 'LDR'}"
        return UpdateEntry(name, deployment, applicable=applicable, state=state)

    def _rollup(self, revision: int) -> PackageSpec:
        version = f"{self.facts.version}.{revision}"
        build = self.facts.numbers[2]
        deployment = DeploymentSpec(
            Identity("Practice-Rollup-Deployment", version), (shell(version),)
        )
        update = UpdateEntry("4000002-1_neutral", deployment)
        package_version = f"{build}.{revision}.1.0"
        spec = self._wrapped("KB4000002", package_version, (update,), PackageState.INSTALLED)
        identity = replace(spec.identity, name="Package_for_RollupFix")
        return replace(spec, identity=identity, release_type="Security Update")

    def _wrapped(
        self, article: str, version: str, updates: tuple[UpdateEntry, ...], state: PackageState
    ) -> PackageSpec:
        """An update as they come: a visible package around a hidden one."""
        foundation = f"Microsoft-Windows-Foundation-Package~{WINDOWS_TOKEN}~amd64~~"
        parent = ParentSpec(
            (Identity.package(foundation + self.facts.full_version),),
            compare={"buildCompare": "EQ"},
        )
        identity = Identity(article, version, token=WINDOWS_TOKEN, version_scope="")
        child = PackageSpec(
            replace(identity, name=f"Package_1_for_{article}"),
            updates,
            (parent,),
            identifier=article,
            state=state,
            visible=False,
        )
        wrapper = UpdateEntry(f"{article.removeprefix('KB')}_neutral_PACKAGE", child=child)
        return PackageSpec(
            replace(identity, name=f"Package_for_{article}"),
            (wrapper,),
            (parent,),
            identifier=article,
            state=state,
        )

    def _file_content(self, name: str, size_bytes: int, kind: str) -> Content:
        seed = f"{self.spec.seed}/{self.spec.generation}/{name}"
        return Content(size_bytes=size_bytes, seed=seed, kind=kind)


def shell(version: str) -> ComponentSpec:
    """The component family that practice rollups replace."""
    files = (
        FileSpec("shell32.dll", _content(f"shell32 {version}", 20 << 10, "pe")),
        FileSpec(
            "explorer.exe", _content(f"explorer {version}", 16 << 10, "pe"), "$(runtime.windows)\\"
        ),
    )
    key = KeySpec(
        "HKEY_LOCAL_MACHINE\\SOFTWARE\\Practice\\Shell",
        (
            ValueSpec("Version", "REG_SZ", version),
            ValueSpec("Command", "REG_EXPAND_SZ", "%SystemRoot%\\explorer.exe"),
            ValueSpec("UserChoice", "REG_SZ", "as shipped", mutable=True),
        ),
    )
    return ComponentSpec(Identity("Practice-Windows-Shell", version), files, (key,), resources=True)


def _content(seed: str, size_bytes: int, kind: str) -> Content:
    return Content(size_bytes=size_bytes, seed=seed, kind=kind)


def _with_base_manifest(spec: ImageSpec, base_manifest: bytes) -> Content:
    """A library with the text in its data, at a place that nothing tells but searching."""
    before = 7000 + sum(spec.seed.encode()) % 4099
    noise = Content(size_bytes=before, seed=f"{spec.seed}/wcp/before")
    tail = Content(size_bytes=5000, seed=f"{spec.seed}/wcp/after")
    body = content_bytes(noise) + base_manifest + b"\0" + content_bytes(tail)
    return Content(data=program(body))
