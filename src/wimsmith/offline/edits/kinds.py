"""What a person asks for, as values: each edit sees what those before it did."""

from dataclasses import dataclass
from pathlib import Path

from wimsmith.offline.intake import SourceLinks
from wimsmith.offline.registry.regfile import WESTERN_CODE_PAGE


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use what is made. Without both, a new entry inherits from its folder.

    `sddl` is the whole descriptor. `owner` is a SID, and changes that of what is inherited.
    """

    sddl: str | None = None
    owner: str | None = None


INHERITED = Access()


@dataclass(frozen=True, slots=True)
class Add:
    """Put a file, or a folder with all below it, at `path`.

    A path that ends in a separator is the folder to put it into. A folder that is there already
    is filled. `attributes` are those of added files, without the bit for directories. `time` is
    the FILETIME of all that is added, instead of the last write of each source. Links that are
    followed lead no further than the folder `within`, if there is one.
    """

    source: Path
    path: str
    access: Access = INHERITED
    attributes: int | None = None
    time: int | None = None
    overwrite: bool = False
    parents: bool = False
    links: SourceLinks = SourceLinks.REFUSE
    within: Path | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a file or an empty folder; with `recursive` a folder with all below it."""

    path: str
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """Give an entry another name or folder; a path that ends in a separator is the folder."""

    path: str
    new_path: str
    overwrite: bool = False
    parents: bool = False


@dataclass(frozen=True, slots=True)
class Replace:
    """Give a file, with all its names, other content; `source_time` takes its time along."""

    path: str
    source: Path
    source_time: bool = False


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """Make a folder; with `parents` also those above it, and one that is there is kept."""

    path: str
    access: Access = INHERITED
    attributes: int | None = None
    time: int | None = None
    parents: bool = False


@dataclass(frozen=True, slots=True)
class Secure:
    """Give a file, with all its names, or a folder another descriptor, or another owner.

    What is below a folder keeps its own.
    """

    path: str
    access: Access


@dataclass(frozen=True, slots=True)
class ImportReg:
    r"""Bring a `.reg` file into the hives of the image: all of it, or nothing.

    Attributes:
        hive: the one hive that all its keys are in: mount name, or path of a user's hive.
        root: what the file calls the root of that hive, such as `HKEY_LOCAL_MACHINE\OFFLINE`.
        code_page: that of the texts of a file of version 4.
    """

    source: Path
    hive: str | None = None
    root: str | None = None
    code_page: int = WESTERN_CODE_PAGE


@dataclass(frozen=True, slots=True)
class SetRegistryValue:
    r"""Set a value, making its key. The default value has the empty name.

    `key` begins with a root such as `HKLM\SOFTWARE`, or with the mount name of a hive; with `hive`,
    which is as of `ImportReg`, it may also be told from the root of that.
    """

    key: str
    name: str
    type: int
    data: bytes
    hive: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteRegistryValue:
    """Delete a value; one that is not there is no error."""

    key: str
    name: str
    hive: str | None = None


@dataclass(frozen=True, slots=True)
class MakeRegistryKey:
    """Make a key with those above it; one that is there is no error."""

    key: str
    hive: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteRegistryKey:
    """Delete a key with all below it; one that is not there is no error."""

    key: str
    hive: str | None = None


@dataclass(frozen=True, slots=True)
class PlaceAnswerFile:
    r"""Make a file the answer file of the installed Windows, `Windows\Panther\unattend.xml`."""

    source: Path


@dataclass(frozen=True, slots=True)
class SetFeature:
    """Enable or disable an optional feature whose payload is in the image."""

    feature: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class RemovePackage:
    """Remove an installed package, by its name with version."""

    package: str


FileEdit = Add | Delete | Move | Replace | MakeFolder | Secure
RegistryChange = (
    ImportReg | SetRegistryValue | DeleteRegistryValue | MakeRegistryKey | DeleteRegistryKey
)
InstalledEdit = SetFeature | RemovePackage
Edit = FileEdit | RegistryChange | PlaceAnswerFile | InstalledEdit
