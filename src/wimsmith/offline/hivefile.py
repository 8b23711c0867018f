"""Hives as files: read with their logs, described, edited, written whole or not at all."""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wimsmith.errors import (
    ChangedMeanwhile,
    InvalidInput,
    InvalidState,
    LimitExceeded,
    NotFound,
    NotSupported,
    SelfCheckFailed,
)
from wimsmith.offline.changes import CreateKey, RegistryEdit, SetValue
from wimsmith.offline.hiveedits import edit_hive
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.registry.base import MAX_HIVE_BYTES, BaseBlock
from wimsmith.offline.registry.diff import diff_hives
from wimsmith.offline.registry.hive import Hive, Key
from wimsmith.offline.registry.logs import LOG_SUFFIXES
from wimsmith.offline.registry.names import split_path
from wimsmith.offline.wim.writing.staging import Staging

_WIM_SIGNATURES = (b"MSWIM\0\0\0", b"WLPWM\0\0\0")
_NAME_AT, _NAME_BYTES = 48, 64
_TOLD_EDITS = 1000


@dataclass(frozen=True, slots=True)
class StoredHive:
    """The bytes of a hive and of the transaction logs beside it, by their suffix."""

    label: str
    data: bytes
    logs: Mapping[str, bytes] = field(default_factory=dict)

    def parse(self) -> Hive:
        """The hive, completed from its logs if its last write did not end.

        Raises:
            DamagedHive: not a hive, broken, or dirty and not completed by the logs.
        """
        return Hive.parse(self.data, tuple(self.logs.values()))


@dataclass(frozen=True, slots=True)
class HiveFacts:
    """What a hive says of itself; times are FILETIME.

    `dirty` means that the last write did not end; the figures are then those after its completion
    from the logs.
    """

    name: str
    version: str
    dirty: bool
    checksum_right: bool
    primary_sequence: int
    secondary_sequence: int
    written: int
    last_change: int
    size_bytes: int
    bins_bytes: int
    keys: int
    values: int
    logs: Mapping[str, int]


def read_hive_file(path: Path) -> StoredHive:
    """Read a hive and its logs; their names match as Windows matches them.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is a WIM, or something that is not a file.
        LimitExceeded: more than 512 MiB.
    """
    if not path.exists():
        raise NotFound(f"{path}")
    if not path.is_file():
        raise InvalidInput(f"{path} is not a file")
    data = _read(path)
    if data.startswith(_WIM_SIGNATURES):
        raise InvalidInput(
            f"{path} is a WIM file",
            hint=f"Name an index and a hive in it, as in {path}:1:SOFTWARE.",
        )
    return StoredHive(str(path), data, _logs_beside(path))


def describe(stored: StoredHive) -> HiveFacts:
    """Facts of a hive.

    Raises:
        DamagedHive: it cannot be read.
    """
    base = BaseBlock.parse(stored.data)
    hive = stored.parse()
    keys = values = last_change = 0
    for key in hive.walk():
        keys += 1
        values += sum(1 for _ in key.values())
        last_change = max(last_change, key.written)
    name = base.raw[_NAME_AT : _NAME_AT + _NAME_BYTES].decode("utf-16-le", "replace")
    return HiveFacts(
        name=name.partition("\0")[0],
        version=".".join(map(str, hive.version)),
        dirty=base.is_dirty or not base.is_sound,
        checksum_right=base.is_sound,
        primary_sequence=base.primary_sequence,
        secondary_sequence=base.secondary_sequence,
        written=base.written,
        last_change=last_change,
        size_bytes=len(stored.data),
        bins_bytes=base.bins_size_bytes,
        keys=keys,
        values=values,
        logs={suffix: len(log) for suffix, log in stored.logs.items()},
    )


def apply_edits(hive: Hive, edits: Sequence[RegistryEdit], progress: Progress = silent) -> None:
    """Carry out edits on one hive; new keys get the descriptor that their parent hands down.

    Raises:
        NotSupported: `registry-link`, a key on the way is a link, which Windows would follow;
            `registry-key`, the root of the hive cannot be deleted.
        UnsafePath, LimitExceeded: names or data that the format does not hold.
    """
    last_path: str | None = None
    for done, edit in enumerate(edits):
        if done % _TOLD_EDITS == 0:
            progress(Event("Changing keys and values", done, len(edits)))
        makes_key = isinstance(edit, CreateKey | SetValue)
        if makes_key and edit.key != last_path:
            refuse_links(hive, edit.key)
        last_path = edit.key if makes_key else None
        edit_hive(hive, edit)


def write_hive_file(
    hive: Hive,
    target: Path,
    *,
    modified: int,
    overwrite: bool = False,
    replaced: Path | None = None,
) -> int:
    """Write a hive beside its target, read it back, and give it the name of the target.

    Whatever fails leaves the target as it was, and no other file.

    Args:
        hive: What to write.
        target: New file; links are followed.
        modified: FILETIME of this write.
        overwrite: Whether a file may be there already.
        replaced: File whose owner and permissions the new one takes over.

    Returns:
        Size in bytes.

    Raises:
        AlreadyExists: the target exists.
        DamagedHive: the hive is not consistent, perhaps was not when it was read.
        SelfCheckFailed: what was read back is not what was written.
        PathUnreachable: the folder of the target cannot be written.
    """
    target = target.resolve()
    data = hive.serialize(modified)
    with Staging(target) as staging:
        part = staging.folder / target.name
        part.write_bytes(data)
        _prove(hive, part, data)
        if replaced is not None:
            status = replaced.stat()
            os.chown(part, status.st_uid, status.st_gid)
            part.chmod(stat.S_IMODE(status.st_mode))
        staging.publish_file(part, overwrite=overwrite)
    return len(data)


def replace_hive_file(hive: Hive, path: Path, old: StoredHive, *, modified: int) -> int:
    """Write a hive in place of the file that it was read from.

    Returns:
        Size in bytes.

    Raises:
        ChangedMeanwhile: the file no longer has the bytes that were read.
        InvalidState: the file is write-protected.
        DamagedHive, SelfCheckFailed, PathUnreachable: as `write_hive_file`.
    """
    if not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        raise InvalidState(f"{path} is write-protected", hint="Write a new file instead.")
    if _read(path) != old.data:
        raise ChangedMeanwhile(f"{path}")
    return write_hive_file(hive, path, modified=modified, overwrite=True, replaced=path)


def _prove(hive: Hive, part: Path, data: bytes) -> None:
    if part.read_bytes() != data:
        raise SelfCheckFailed(f"{part.name} reads back other than it was written")
    written = Hive.parse(data)
    written.check()
    for difference in diff_hives(hive, written, security=True, classes=True):
        raise SelfCheckFailed(f"{part.name} differs at {difference.key!r}")


def refuse_links(hive: Hive, path: str) -> None:
    """Return if no key on the way to the one at `path` is a link, which Windows would follow.

    Raises:
        NotSupported: `registry-link`, one is.
    """
    key: Key | None = hive.root
    for name in split_path(path):
        key = key.subkey(name) if key else None
        if key is not None and key.is_link:
            value = key.value("SymbolicLinkValue")
            target = value.data.decode("utf-16-le", "replace") if value else "nothing"
            raise NotSupported("registry-link", f"{key.path} is a link to {target}")


def _logs_beside(path: Path) -> dict[str, bytes]:
    wanted = {(path.name + suffix).upper(): suffix for suffix in LOG_SUFFIXES}
    found = {
        wanted[one.name.upper()]: one
        for one in sorted(path.parent.iterdir())
        if one.name.upper() in wanted and one.is_file()
    }
    return {suffix: _read(found[suffix]) for suffix in LOG_SUFFIXES if suffix in found}


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_HIVE_BYTES + 1)
    if len(data) > MAX_HIVE_BYTES:
        raise LimitExceeded(f"{path} has more than {MAX_HIVE_BYTES >> 20} MiB")
    return data
