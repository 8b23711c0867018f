"""What planning asks of an image: a component store answers it, and so does its snapshot."""

from dataclasses import dataclass
from typing import Protocol

from wimsmith.offline.manifests.identity import AssemblyIdentity, Version


@dataclass(frozen=True, slots=True)
class StoredPackage:
    """A package that the image knows, and the state it is in."""

    identity: AssemblyIdentity
    name: str
    state: int


@dataclass(frozen=True, slots=True)
class Image:
    r"""What the rules need to know of the image as a whole.

    `system_root` is the Windows folder of the running system, such as `C:\Windows`; `windows`
    the same folder inside the image. `languages` and `editions` are empty where the image does
    not say. `revision` is the fourth part of the version (UBR).

    Attributes:
        base_build: the build that the files of the image are of, as `BuildLabEx` says. An
            enablement package raises `build` (19041 to 19045), not the files.
        editions: `EditionID`, and the edition that the image was composed from.
        installation_type: Client, Server, Server Core, WindowsPE.
        generalised: whether Sysprep has generalised the image; None where it does not say.
    """

    major: int
    minor: int
    build: int
    architecture: str
    system_root: str
    windows: str
    control_set: str
    languages: tuple[str, ...]
    revision: int = 0
    base_build: int = 0
    editions: tuple[str, ...] = ()
    installation_type: str = ""
    generalised: bool | None = None

    @property
    def is_modern(self) -> bool:
        """Whether versions are compared in the three parts of Windows 10 and later."""
        return self.major >= 10

    @property
    def is_preinstallation(self) -> bool:
        """Whether it is a boot or recovery image (Windows PE)."""
        return self.installation_type.lower() == "windowspe"

    @property
    def serviced_version(self) -> Version:
        """Build and revision as cumulative updates count them, whatever is enabled on top."""
        return Version(self.major, self.minor, self.base_build or self.build, self.revision)


class ImageState(Protocol):
    """The state of one image; versions and packages are listed lowest version first."""

    @property
    def image(self) -> Image:
        """Facts of the image as a whole."""

    def packages_of(self, identity: AssemblyIdentity) -> tuple[StoredPackage, ...]:
        """Packages of the same name, token, architecture and language."""

    def package_state(self, identity: AssemblyIdentity) -> int:
        """`CurrentState` of a package; 0 for one that the image does not know."""

    def update_state(self, package_name: str, update_name: str) -> int | None:
        """State of an update of a package, None where the image does not say."""

    def installed_versions(self, identity: AssemblyIdentity) -> tuple[Version, ...]:
        """All installed versions of a component family."""

    def servicing_stack(self) -> Version | None:
        """The newest servicing stack in the image."""
