r"""What every Windows has before any package: folders, hives with their facts, loose files."""

from dataclasses import dataclass

from wimsmith.practice.content import ContentPool, content_bytes
from wimsmith.practice.generations import GenerationFacts, facts
from wimsmith.practice.install import CBS
from wimsmith.practice.model import (
    REG_EXPAND_SZ,
    REG_MULTI_SZ,
    DirectoryModel,
    FileModel,
    ImageModel,
    KeyModel,
    sz,
)
from wimsmith.practice.names import (
    PRACTICE_TOKEN,
    WINDOWS_TOKEN,
    Identity,
    component_key,
    winners_key,
)
from wimsmith.practice.security import (
    ADMIN_DIRECTORY,
    ADMIN_FILE,
    HIVE_KEY,
    INHERITED_FILE,
    JUNCTION,
    STORE_KEY,
    USERS_DIRECTORY,
    WRP_DIRECTORY,
)
from wimsmith.practice.spec import Content, ImageSpec

_DIRECTORY = 0x10
_HIDDEN_SYSTEM = 0x16
_READ_ONLY = 0x11
_JUNCTION = 0x2416
_LANGUAGE_CODES = {"en-US": "0409", "de-DE": "0407", "fr-FR": "040c", "ja-JP": "0411"}

_DIRECTORIES = {
    "Windows": DirectoryModel(),
    "Windows/System32": DirectoryModel(),
    "Windows/System32/config": DirectoryModel(ADMIN_DIRECTORY.of_file),
    "Windows/System32/drivers/etc": DirectoryModel(),
    "Windows/SysWOW64": DirectoryModel(),
    "Windows/WinSxS": DirectoryModel(),
    "Windows/WinSxS/Backup": DirectoryModel(),
    "Windows/WinSxS/Catalogs": DirectoryModel(),
    "Windows/WinSxS/FileMaps": DirectoryModel(),
    "Windows/WinSxS/ManifestCache": DirectoryModel(),
    "Windows/WinSxS/Manifests": DirectoryModel(),
    "Windows/WinSxS/Temp/InFlight": DirectoryModel(),
    "Windows/WinSxS/Temp/PendingDeletes": DirectoryModel(),
    "Windows/WinSxS/Temp/PendingRenames": DirectoryModel(),
    "Windows/servicing/Packages": DirectoryModel(),
    "Windows/servicing/Sessions": DirectoryModel(),
    "Windows/CbsTemp": DirectoryModel(),
    "Windows/Logs/CBS": DirectoryModel(),
    "Windows/Panther": DirectoryModel(ADMIN_DIRECTORY.of_file),
    "Windows/Setup/State": DirectoryModel(),
    "Windows/Temp": DirectoryModel(ADMIN_DIRECTORY.of_file),
    "Program Files": DirectoryModel(WRP_DIRECTORY.of_file, _READ_ONLY, "PROGRA~1"),
    "Program Files (x86)": DirectoryModel(WRP_DIRECTORY.of_file, _READ_ONLY, "PROGRA~2"),
    "ProgramData": DirectoryModel(USERS_DIRECTORY.of_file, 0x12, "PROGRA~3"),
    "PerfLogs": DirectoryModel(ADMIN_DIRECTORY.of_file),
    "Users": DirectoryModel(USERS_DIRECTORY.of_file, _READ_ONLY),
    "Users/Default": DirectoryModel(USERS_DIRECTORY.of_file, 0x12),
    "Users/Default/AppData/Local": DirectoryModel(USERS_DIRECTORY.of_file),
    "Users/Default/Desktop": DirectoryModel(USERS_DIRECTORY.of_file, _READ_ONLY),
    "Users/Public": DirectoryModel(USERS_DIRECTORY.of_file, _READ_ONLY),
    "Documents and Settings": DirectoryModel(
        JUNCTION.of_file, _JUNCTION, "DOCUME~1", junction="C:\\Users"
    ),
    "Users/Default User": DirectoryModel(
        JUNCTION.of_file, _JUNCTION, "DEFAUL~1", junction="C:\\Users\\Default"
    ),
    "Users/All Users": DirectoryModel(
        JUNCTION.of_file, _JUNCTION, "ALLUSE~1", junction="C:\\ProgramData"
    ),
}


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Fills an image model with what is there before any package."""

    spec: ImageSpec
    edition: str
    product: str

    @property
    def facts(self) -> GenerationFacts:
        return facts(self.spec.generation)

    @property
    def revision(self) -> int:
        """UBR: the installed rollup's, or that of the release."""
        return max(self.spec.revision or 0, self.facts.revision)

    def fill(self, image: ImageModel, pool: ContentPool) -> None:
        for path, directory in _DIRECTORIES.items():
            image.directory(path, directory)
        self._files(image, pool)
        self._software(image.hive("SOFTWARE"))
        self._system(image.hive("SYSTEM"))
        self._components(image.hive("COMPONENTS"))
        for name in ("DEFAULT", "NTUSER"):
            _user(image.hive(name))
        for name in ("SAM", "SECURITY"):
            image.hive(name).key(name)
        for name, root in image.hives.items():
            root.security = (STORE_KEY if name == "COMPONENTS" else HIVE_KEY).of_key

    @staticmethod
    def _files(image: ImageModel, pool: ContentPool) -> None:
        for path, seed, size_bytes in (
            ("Windows/win.ini", "win.ini", 92),
            ("Windows/System32/drivers/etc/hosts", "hosts", 824),
            ("Windows/Logs/CBS/CBS.log", "log", 2000),
        ):
            data = content_bytes(Content(size_bytes=size_bytes, seed=seed, kind="text"))
            image.put(path, FileModel(pool.add(data), INHERITED_FILE.of_file))
        for name in ("SOFTWARE", "SYSTEM", "COMPONENTS", "DEFAULT"):
            for log in ("LOG1", "LOG2"):
                path = f"Windows/System32/config/{name}.{log}"
                image.put(path, FileModel(pool.add(b""), ADMIN_FILE.of_file, 0x26))
        state = b"[State]\r\nImageState=IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE\r\n"
        image.put("Windows/Setup/State/State.ini", FileModel(pool.add(state), ADMIN_FILE.of_file))
        note = pool.add(b"This image was generated to practise on. It does not start.\r\n")
        image.put(
            "Users/Public/read me before practising.txt",
            FileModel(
                note,
                INHERITED_FILE.of_file,
                0x21,
                "README~1.TXT",
                (("Zone.Identifier", pool.add(b"[ZoneTransfer]\r\nZoneId=0\r\n")),),
            ),
        )

    def _software(self, hive: KeyModel) -> None:
        self._version(hive.key("Microsoft\\Windows NT\\CurrentVersion"))
        current = hive.key("Microsoft\\Windows\\CurrentVersion")
        current.text("ProgramFilesDir", "C:\\Program Files")
        current.text("ProgramFilesDir (x86)", "C:\\Program Files (x86)")
        current.text("CommonFilesDir", "C:\\Program Files\\Common Files")
        current.set("DevicePath", REG_EXPAND_SZ, sz("%SystemRoot%\\inf"))
        for name in ("Winners", "Configuration"):
            hive.key(f"Microsoft\\Windows\\CurrentVersion\\SideBySide\\{name}")
        configuration = hive.key("Microsoft\\Windows\\CurrentVersion\\SideBySide\\Configuration")
        configuration.number("SupersededActions", self.facts.superseded_actions)
        configuration.number("DisableResetbase", int(self.facts.numbers[2] >= 25380))
        self._servicing(hive.key(CBS))
        for name in ("Classes\\CLSID", "Classes\\Wow6432Node\\CLSID", "Wow6432Node\\Microsoft"):
            hive.key(name)

    def _version(self, key: KeyModel) -> None:
        facts_ = self.facts
        major, minor, build = facts_.numbers
        key.text("SystemRoot", "C:\\Windows")
        key.text("PathName", "C:\\Windows")
        key.text("ProductName", self.product)
        key.text("EditionID", self.edition)
        key.text("CompositionEditionID", self.edition)
        key.text("InstallationType", "Client")
        key.text("CurrentVersion", f"{major}.{minor}" if major < 10 else "6.3")
        key.text("CurrentBuild", str(build))
        key.text("CurrentBuildNumber", str(build))
        key.text("BuildLab", f"{build}.{facts_.branch}")
        key.text("BuildLabEx", f"{build}.{facts_.revision}.amd64fre.{facts_.branch}")
        if facts_.service_pack:
            key.text("CSDVersion", f"Service Pack {facts_.service_pack}")
        if major >= 10:
            key.number("CurrentMajorVersionNumber", major)
            key.number("CurrentMinorVersionNumber", minor)
            key.number("UBR", self.revision)
            key.text("ReleaseId", facts_.release_id)
        if facts_.display_version:
            key.text("DisplayVersion", facts_.display_version)

    def _servicing(self, cbs: KeyModel) -> None:
        for name in ("ApplicabilityEvaluationCache", "ComponentDetect", "PackageDetect"):
            cbs.key(name)
        cbs.key("UpdateDetect")
        cbs.key("SessionsPending").number("Exclusive", 0)
        cbs.key("Version").set(
            self.facts.full_version, REG_EXPAND_SZ, sz(_stack_folder(self.facts))
        )

    def _system(self, hive: KeyModel) -> None:
        select = hive.key("Select")
        for name, number in (("Current", 1), ("Default", 1), ("Failed", 0), ("LastKnownGood", 1)):
            select.number(name, number)
        control = hive.key("ControlSet001\\Control")
        control.text("CurrentUser", "USERNAME")
        environment = control.key("Session Manager\\Environment")
        environment.text("PROCESSOR_ARCHITECTURE", "AMD64")
        environment.text("OS", "Windows_NT")
        environment.set("Path", REG_EXPAND_SZ, sz("%SystemRoot%\\system32;%SystemRoot%"))
        language = control.key("Nls\\Language")
        code = _LANGUAGE_CODES.get(self.spec.language, "0409")
        language.text("Default", code)
        language.text("InstallLanguage", code)
        order = control.key("ServiceGroupOrder")
        order.set("List", REG_MULTI_SZ, sz("Boot Bus Extender") + sz("Base") + b"\0\0")
        hive.key("ControlSet001\\Services\\Tcpip\\Parameters").text("Hostname", "practice")
        setup = hive.key("Setup")
        setup.number("SystemSetupInProgress", 1)
        status = setup.key("Status\\SysprepStatus")
        status.number("GeneralizationState", 7)
        status.number("CleanupState", 2)

    def _components(self, hive: KeyModel) -> None:
        hive.binary("StoreFormatVersion", "0.0.0.6".encode("utf-16-le"))
        hive.binary("StoreArchitecture", (9).to_bytes(4, "little"))
        for name in ("Installers", "NonCanonicalData", "CanonicalData\\Catalogs"):
            hive.key(name)
        stack = f"{self.facts.full_version} ({self.facts.branch})"
        hive.key("ServicingStackVersions").text(stack, self.facts.created)
        families = hive.key(f"DerivedData\\VersionedIndex\\{stack}\\ComponentFamilies")
        identity = Identity("Practice-Windows-Shell", self.facts.full_version, token=PRACTICE_TOKEN)
        family = families.key(winners_key(identity))
        family.binary("SomeUnparsedVersionsExist", b"")
        family.key(f"v!{self.facts.full_version}")


def _user(hive: KeyModel) -> None:
    desktop = hive.key("Control Panel\\Desktop")
    desktop.text("Wallpaper", "")
    desktop.text("ScreenSaveActive", "1")
    hive.key("Software\\Microsoft\\Windows\\CurrentVersion\\Run")
    hive.key("Environment").set("TEMP", REG_EXPAND_SZ, sz("%USERPROFILE%\\AppData\\Local\\Temp"))


def _stack_folder(facts_: GenerationFacts) -> str:
    identity = Identity(
        "Microsoft-Windows-ServicingStack", facts_.full_version, token=WINDOWS_TOKEN
    )
    return f"%SystemRoot%\\winsxs\\{component_key(identity)}\\"
