"""The servicing drive: where runs keep their work, and how much room is there."""

import os
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import InvalidInput

FOLDER = "ConfigMgr_OfflineImageServicing"
"""Name that administrators know from Configuration Manager."""

NETWORK_FILESYSTEMS = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "gfs2",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    ]
)


@dataclass(frozen=True, slots=True)
class ServicingDrive:
    """The folder below which every run has its workspace; `warning` if it is not the wanted one."""

    folder: Path
    warning: str = ""


def resolve_drive(setting: str, state_dir: Path) -> ServicingDrive:
    """The servicing folder for a setting; empty means Automatic, beside the state of the site.

    A drive that does not exist behaves as Automatic, with a warning.
    """
    automatic = state_dir / FOLDER
    if not setting:
        return ServicingDrive(automatic)
    if not Path(setting).is_dir():
        text = f"The servicing drive {setting} does not exist; {automatic} is used instead"
        return ServicingDrive(automatic, text)
    return ServicingDrive(Path(setting) / FOLDER)


def check_drive(setting: str) -> str:
    """Return `setting` if it can be a servicing drive; one that is missing may come back later.

    Raises:
        InvalidInput: it is not an absolute path, or on a network filesystem.
    """
    if not setting:
        return ""
    path = Path(setting)
    if not path.is_absolute():
        raise InvalidInput(f"servicing_drive {setting!r} is not an absolute path")
    kind = filesystem_of(path)
    if kind in NETWORK_FILESYSTEMS:
        hint = "Choose a folder on a local filesystem."
        text = f"servicing_drive {setting} is on a network filesystem ({kind})"
        raise InvalidInput(text, hint=hint)
    return setting


def filesystem_of(path: Path) -> str:
    """Type of the filesystem that `path` is, or would be, on (proc(5), mountinfo).

    Empty where that cannot be seen, as in a chroot below the mount.
    """
    real = Path(os.path.realpath(path))
    found, depth = "", -1
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, rest = line.partition(" - ")
        point = Path(_unescape(fields.split()[4]))
        if (point == real or point in real.parents) and len(point.parts) >= depth:
            found, depth = rest.split()[0], len(point.parts)
    return found


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
