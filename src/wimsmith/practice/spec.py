"""What to generate: images, packages, components, updates as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from wimsmith.practice.names import Identity
from wimsmith.practice.security import WRP_DIRECTORY, WRP_FILE, WRP_KEY, Descriptor

MIB = 1 << 20


class Generation(StrEnum):
    """Which Windows an image resembles, by its build number."""

    WINDOWS_7 = "7601"
    WINDOWS_10 = "19041"
    WINDOWS_11 = "26100"


class PackageState(IntEnum):
    """States of packages and updates as the registry keeps them."""

    ABSENT = 0
    STAGED = 0x40
    SUPERSEDED = 0x50
    INSTALLED = 0x70
    PERMANENT = 0x80


class ThumbprintRule(StrEnum):
    """What `CatalogThumbprint` is the SHA-256 of: public notes disagree, so both are tried."""

    CATALOG = "catalog"
    DEPLOYMENT_MANIFEST = "deployment-manifest"


@dataclass(frozen=True, slots=True)
class StoreFlags:
    """Values whose meaning is not public: an engine must copy them from siblings in the image.

    `pinned`, `staged` and `installed` are the opaque data of references marked `p!`, `s!`, `i!`,
    `elevated_install` and `elevated_revision` that of all three for updates with an elevation;
    `staged_file_flags` is what `f!` values of staged components hold; `owner_flag` is the high
    word of the values below `Owners`, the state is the low word.
    """

    component_flags: int | None = 0x40
    deployment_flags: int | None = None
    file_flags: int = 0x1
    staged_file_flags: int = 0x1
    owner_flag: int = 0x0002
    pinned: str = "4"
    staged: str = "5"
    installed: str = "16"
    elevated_install: str = "17"
    elevated_revision: str = "2"
    visible: int = 1
    hidden: int = 2
    thumbprint: ThumbprintRule = ThumbprintRule.CATALOG


FLAGS_A = StoreFlags()
FLAGS_B = StoreFlags(
    component_flags=0x100,
    deployment_flags=0x80000,
    file_flags=0x41,
    staged_file_flags=0x81,
    owner_flag=0x0006,
    pinned="18",
    staged="12",
    installed="7",
    elevated_install="33",
    elevated_revision="3",
    visible=3,
    hidden=4,
    thumbprint=ThumbprintRule.DEPLOYMENT_MANIFEST,
)


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes of a file: given, or generated from a seed and a size.

    `kind` is "pe" (a Windows program header before the noise), "text" or "noise".
    """

    data: bytes | None = None
    size_bytes: int = 0
    seed: str = ""
    kind: str = "noise"


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A `file` element.

    `destination` is a macro path that ends in a backslash, or None for payload only;
    `links` are further destinations of the same file (full macro paths with a name). `described`
    are further elements in it, as tag and attributes, that nobody has to act upon.
    """

    name: str
    content: Content
    destination: str | None = "$(runtime.system32)\\"
    security: str | None = "WRP_FILE_DEFAULT_SDDL"
    links: tuple[str, ...] = ()
    attributes: str | None = None
    digest: str = "sha256"
    short_name: str = ""
    described: tuple[tuple[str, Mapping[str, str]], ...] = ()


@dataclass(frozen=True, slots=True)
class ValueSpec:
    """A `registryValue`: `type` as a REG_ name or 8 hex digits, `value` as manifests write it."""

    name: str
    type: str
    value: str
    operation_hint: str | None = None
    mutable: bool | None = None


@dataclass(frozen=True, slots=True)
class KeySpec:
    """A `registryKey`; `path` starts with the name of a root such as HKEY_LOCAL_MACHINE.

    `protection` is the behaviour of its `systemProtection` element, None for none.
    """

    path: str
    values: tuple[ValueSpec, ...] = ()
    security: str | None = "WRP_REGKEY_DEFAULT_SDDL"
    owner: bool | None = None
    protection: str | None = None


@dataclass(frozen=True, slots=True)
class DirectorySpec:
    path: str
    security: str | None = "WRP_PARENT_DIR_DEFAULT_SDDL"
    owner: bool = True


DESCRIPTORS: Mapping[str, Descriptor] = {
    "WRP_FILE_DEFAULT_SDDL": WRP_FILE,
    "WRP_PARENT_DIR_DEFAULT_SDDL": WRP_DIRECTORY,
    "WRP_REGKEY_DEFAULT_SDDL": WRP_KEY,
}


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """A component manifest.

    `advanced` is XML text of elements that need an installer to run. With `side_by_side` it is
    written as those of assemblies are that programs bind to, in the first version of the schema;
    `redirects` makes it a policy that sends versions of an assembly (old, new) to another.
    """

    identity: Identity
    files: tuple[FileSpec, ...] = ()
    keys: tuple[KeySpec, ...] = ()
    directories: tuple[DirectorySpec, ...] = ()
    memberships: tuple[str, ...] = ("SingleInstanceFiles",)
    strings: Mapping[str, str] = field(default_factory=dict)
    resources: bool = False
    descriptors: Mapping[str, Descriptor] = field(default_factory=lambda: dict(DESCRIPTORS))
    advanced: str = ""
    side_by_side: bool = False
    redirects: tuple[tuple[Identity, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """A deployment manifest: components, and deployments for another architecture."""

    identity: Identity
    components: tuple[ComponentSpec, ...] = ()
    nested: tuple["DeploymentSpec", ...] = ()


@dataclass(frozen=True, slots=True)
class ParentSpec:
    """A `parent` element: any of the identities will do."""

    identities: tuple[Identity, ...]
    disposition: str = "detect"
    integrate: str = "separate"
    compare: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applicable:
    """An `applicable` element: updates to follow, and component families to look for.

    `elevate` pairs a rule (install, revision, ...) with the identities it is about.
    """

    disposition: str | None = "staged"
    follow_parent: str | None = None
    follow_self: str | None = None
    elevate: tuple[tuple[str, tuple[Identity, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class UpdateEntry:
    """An `update` element: a deployment, or a child package, or a driver.

    `state` is what images hold; None follows from the package and the features. `default_on` is
    what a selectable update says of itself where nobody has chosen.
    """

    name: str
    deployment: DeploymentSpec | None = None
    child: "PackageSpec | None" = None
    integrate: str = "hidden"
    contained: bool | None = None
    applicable: Applicable | None = None
    selectable: bool = False
    default_on: bool = False
    state: PackageState | None = None
    driver: Identity | None = None


@dataclass(frozen=True, slots=True)
class PackageSpec:
    """A package manifest. `state` is what images hold; None follows from the features in it."""

    identity: Identity
    updates: tuple[UpdateEntry, ...] = ()
    parents: tuple[ParentSpec, ...] = ()
    identifier: str = ""
    release_type: str = "Update"
    description: str = ""
    offline_capable: bool | None = None
    stack_version: str | None = None
    psfx: bool = False
    restart: str | None = None
    permanence: str | None = None
    state: PackageState | None = None
    visible: bool = True


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """A Windows image. The same values, with the same root, give the same bytes.

    Args:
        size_bytes: about how much content one index holds before compression.
        indexes: how many editions.
        base_manifest: bytes of the text that compressed manifests are deltas against; it is put
            inside the generated `wcp.dll`.
        extra_packages: packages the image holds besides its own.
        features: state of optional features by name; those not named are enabled.
        components: how many components carry the content; None follows from the size.
        revision: fourth part of the version of the installed cumulative state (UBR).
        detections: whether the three detect indexes have entries; their data are our invention.
    """

    generation: Generation = Generation.WINDOWS_10
    indexes: int = 1
    size_bytes: int = 2 * MIB
    seed: str = "practice"
    flags: StoreFlags = FLAGS_A
    base_manifest: bytes | None = None
    extra_packages: tuple[PackageSpec, ...] = ()
    features: Mapping[str, bool] = field(default_factory=dict)
    components: int | None = None
    revision: int | None = None
    language: str = "en-US"
    detections: bool = False


class Container(StrEnum):
    """The file an update comes in: a cabinet, cabinets in a `.msu`, or a `.msu` that is a WIM."""

    CAB = "cab"
    MSU = "msu"
    WIM = "wim"

    @property
    def extension(self) -> str:
        return "cab" if self is Container.CAB else "msu"


class Signing(StrEnum):
    """Who signs the catalogs of an update, and how well."""

    PRACTICE = "practice"
    FOREIGN = "foreign"
    NONE = "none"
    WRONG_HASH = "wrong-hash"
    BROKEN = "broken"


class Damage(StrEnum):
    """What is wrong in the files of an update."""

    NONE = "none"
    PAYLOAD = "payload"
    MANIFEST = "manifest"
    MISSING_PAYLOAD = "missing-payload"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class UpdateSpec:
    """An update file.

    Args:
        package: the top-level package; its manifest is also stored as `update.mum`.
        file_name: name of the generated file.
        compress: MSZIP blocks instead of stored ones.
        file_hashes: add the list of hashes that packages of Windows 10 and later carry.
        sha256: SHA-256 members in the catalogs besides SHA-1 ones.
        extra_files: files added to the cabinet as they are.
        trailing_bytes: bytes after the declared end, where real cabinets keep their signature.
        indexed: store the files in a container index, with copies and deltas.
        branch_forward: the package that `update-bf.mum` is about.
        parts: further updates, whose cabinets stand in the same `.msu` and are installed before
            this one.
        ordered: whether such a `.msu` has a PkgInstallOrder.txt besides its answer file.
    """

    package: PackageSpec
    file_name: str
    container: Container = Container.CAB
    article: str = ""
    compress: bool = True
    file_hashes: bool = True
    sha256: bool = True
    signing: Signing = Signing.PRACTICE
    damage: Damage = Damage.NONE
    extra_files: Mapping[str, bytes] = field(default_factory=dict)
    trailing_bytes: int = 0
    indexed: bool = False
    branch_forward: PackageSpec | None = None
    parts: tuple["UpdateSpec", ...] = ()
    ordered: bool = True
    created: str = "2024-05-14T17:00:00Z"
