"""A package with every kind of element that can be installed without running code."""

from wimsmith.practice.names import WINDOWS_TOKEN, Identity
from wimsmith.practice.spec import (
    ComponentSpec,
    Content,
    DeploymentSpec,
    DirectorySpec,
    FileSpec,
    KeySpec,
    PackageSpec,
    ParentSpec,
    UpdateEntry,
    ValueSpec,
)

_CLASS = "{7072ACE0-0000-4000-8000-5072616374AA}"
_SOFTWARE = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Practice\\Every"

EVERY_TYPE = (
    ValueSpec("", "REG_SZ", "the default value"),
    ValueSpec("Text", "REG_SZ", 'quotes " & <angles>'),
    ValueSpec("Empty", "REG_SZ", ""),
    ValueSpec("Named", "REG_SZ", "$(string.title)"),
    ValueSpec("Resource", "REG_SZ", "$(resourceString.detail)"),
    ValueSpec("Expand", "REG_EXPAND_SZ", "%SystemRoot%\\System32\\every.dll"),
    ValueSpec("Macro", "REG_EXPAND_SZ", "$(runtime.system32)\\every.dll,-1"),
    ValueSpec("Folder", "REG_SZ", "$(runtime.windows)"),
    ValueSpec("Multi", "REG_MULTI_SZ", '"one","two words","three"'),
    ValueSpec("MultiOne", "REG_MULTI_SZ", '"alone"'),
    ValueSpec("Number", "REG_DWORD", "0x0000002a"),
    ValueSpec("Wide", "REG_QWORD", "0123456789abcdef"),
    ValueSpec("Binary", "REG_BINARY", "00ff10A0"),
    ValueSpec("BinaryEmpty", "REG_BINARY", ""),
    ValueSpec("Nothing", "REG_NONE", ""),
    ValueSpec("NothingWithData", "REG_NONE", "0102"),
    ValueSpec("Raw", "00020001", "deadbeef"),
    ValueSpec("Replaced", "REG_DWORD", "0x1", operation_hint="replace"),
    ValueSpec("Mutable", "REG_SZ", "as shipped", mutable=True),
    ValueSpec("Höhe", "REG_SZ", "naïve Überschrift"),
)


def every_element_package(
    version: str, language: str, parents: tuple[ParentSpec, ...]
) -> PackageSpec:
    """One top-level package with a native, a 32-bit, a language and a file part.

    Args:
        version: of all components, four numbers.
        language: of the language resource.
        parents: what the top-level package asks for.
    """
    children = (
        UpdateEntry("Every-Native", _native(version)),
        UpdateEntry("Every-Language", _language(version, language)),
        UpdateEntry("Every-Child", child=_child(version, parents)),
    )
    identity = Identity.package(f"Package_for_KB5000100~{WINDOWS_TOKEN}~amd64~~1.0.0.0")
    return PackageSpec(identity, children, parents, identifier="KB5000100", offline_capable=True)


def _native(version: str) -> DeploymentSpec:
    redirected = DeploymentSpec(
        Identity("Practice-Every-Deployment", version, "wow64"), (_wow64(version),)
    )
    return DeploymentSpec(
        Identity("Practice-Every-Deployment", version), (_amd64(version),), (redirected,)
    )


def _amd64(version: str) -> ComponentSpec:
    folder = "$(runtime.programFiles)\\Practice Every\\"
    return ComponentSpec(
        Identity("Practice-Every-Element", version),
        files=(
            FileSpec("every.dll", _program("every")),
            FileSpec("every.sys", _program("driver file"), "$(runtime.drivers)\\"),
            FileSpec("every.exe", _program("tool"), "$(runtime.windows)\\"),
            FileSpec("every.ttf", _noise("font"), "$(runtime.fonts)\\", digest="sha1"),
            FileSpec("hidden.dat", _noise("hidden"), folder, attributes="hidden"),
            FileSpec("empty.txt", Content(data=b""), folder),
            FileSpec("boot.bin", _noise("boot"), "$(runtime.bootDrive)\\PracticeBoot\\"),
            FileSpec("payload-only.bin", _noise("payload"), None),
            FileSpec("a-file-with-a-name-of-more-than-25.characters", _noise("long"), folder),
            FileSpec("no-security.txt", _noise("plain"), folder, security=None),
            FileSpec(
                "linked.dll",
                _program("linked"),
                folder,
                links=(f"{folder}second\\linked-again.dll", "$(runtime.system32)\\linked.dll"),
            ),
        ),
        keys=(
            KeySpec(_SOFTWARE, EVERY_TYPE),
            KeySpec(f"{_SOFTWARE}\\Only a key", owner=True),
            KeySpec(f"{_SOFTWARE}\\Plain", (_value("Security", "inherited"),), security=None),
            KeySpec(
                "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Practice",
                (ValueSpec("Start", "REG_DWORD", "0x3"),),
            ),
            KeySpec(f"HKEY_CLASSES_ROOT\\CLSID\\{_CLASS}", (_value("", "Practice class"),)),
            KeySpec("HKEY_CLASSES_ROOT\\.practice", (_value("", "practicefile"),)),
            KeySpec("HKEY_USERS\\.DEFAULT\\Software\\Practice", (_value("Greeting", "hello"),)),
            KeySpec("HKEY_CURRENT_USER\\Software\\Practice", (_value("Greeting", "hello you"),)),
        ),
        directories=(
            DirectorySpec(folder),
            DirectorySpec(f"{folder}empty\\"),
            DirectorySpec("$(runtime.bootDrive)\\PracticeBoot\\", owner=False),
        ),
        memberships=("SingleInstanceFiles", "BootRecovery"),
        strings={"title": "A title", "detail": "Some detail"},
        resources=True,
    )


def _wow64(version: str) -> ComponentSpec:
    """The 32-bit view: some keys are redirected, some are shared."""
    return ComponentSpec(
        Identity("Practice-Every-Element", version, "wow64"),
        files=(
            FileSpec("every.dll", _program("every 32", "pe:x86")),
            FileSpec(
                "every32.exe",
                _program("tool 32", "pe:x86"),
                "$(runtime.programFiles)\\Practice Every\\",
            ),
        ),
        keys=(
            KeySpec(
                f"{_SOFTWARE}\\Redirected", (_value("Path", "$(runtime.system32)\\every.dll"),)
            ),
            KeySpec(
                f"HKEY_CLASSES_ROOT\\CLSID\\{_CLASS}\\InProcServer32", (_value("", "every.dll"),)
            ),
        ),
        directories=(DirectorySpec("$(runtime.programFiles)\\Practice Every\\"),),
    )


def _language(version: str, language: str) -> DeploymentSpec:
    resource = ComponentSpec(
        Identity("Practice-Every-Element.Resources", version, language=language),
        (FileSpec("every.dll.mui", _program("mui"), f"$(runtime.system32)\\{language}\\"),),
    )
    identity = Identity("Practice-Every-Deployment-LanguagePack", version, language=language)
    return DeploymentSpec(identity, (resource,))


def _child(version: str, parents: tuple[ParentSpec, ...]) -> PackageSpec:
    component = ComponentSpec(
        Identity("Practice-Every-Child", version), (FileSpec("child.dll", _program("child")),)
    )
    deployment = DeploymentSpec(Identity("0123456789abcdef0123456789abcdef", version), (component,))
    identity = Identity.package(f"Package_1_for_KB5000100~{WINDOWS_TOKEN}~amd64~~1.0.0.0")
    return PackageSpec(
        identity,
        (UpdateEntry("5000100-1_neutral_GDR", deployment),),
        parents,
        identifier="KB5000100",
        visible=False,
    )


def _value(name: str, text: str) -> ValueSpec:
    return ValueSpec(name, "REG_SZ", text)


def _program(seed: str, kind: str = "pe") -> Content:
    return Content(size_bytes=4 << 10, seed=f"every {seed}", kind=kind)


def _noise(seed: str) -> Content:
    return Content(size_bytes=1500, seed=f"every {seed}")
