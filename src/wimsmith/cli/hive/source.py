"""Hives that commands are pointed at: a file, or WIM:INDEX:NAME."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from wimsmith.cli.wimfile import found, open_file
from wimsmith.errors import InvalidInput, LimitExceeded, NotFound
from wimsmith.offline.hivefile import StoredHive, read_hive_file
from wimsmith.offline.image import HIVE_PATHS
from wimsmith.offline.registry import LOG_SUFFIXES, MAX_HIVE_BYTES, Hive, Key
from wimsmith.offline.registry.regfile import long_root
from wimsmith.offline.registry.roots import HIVE_ROOTS, default_control_set, mount_name
from wimsmith.offline.wim.format.container import Wim, naming
from wimsmith.offline.wim.format.tree import Entry

_IN_WIM = re.compile(r"(?P<wim>.+):(?P<index>[0-9]{1,6}):(?P<name>[^:]+)", re.DOTALL)
_PATHS: Mapping[str, str] = MappingProxyType(
    {
        **HIVE_PATHS,
        "SAM": "Windows/System32/config/SAM",
        "SECURITY": "Windows/System32/config/SECURITY",
    }
)


@dataclass(frozen=True, slots=True)
class Source:
    """A hive as a command names it: parsed, with its bytes and its mount name if that is known."""

    stored: StoredHive
    hive: Hive
    mount: str | None

    @property
    def root(self) -> str:
        """Path under which Windows shows the root, or else one after the name of the file."""
        if self.mount is not None:
            return HIVE_ROOTS[self.mount]
        name = re.split(r"[/\\:]", self.stored.label)[-1]
        return f"HKEY_LOCAL_MACHINE\\{name.upper()}"

    def key(self, path: str) -> Key:
        """The key at `path`.

        Raises:
            NotFound: there is none.
        """
        key = self.hive.key(path)
        if key is None:
            raise NotFound(f"the key {path} in {self.stored.label}", hint=self._hint(path))
        return key

    def _hint(self, path: str) -> str:
        first, _, below = path.lstrip("\\").partition("\\")
        control_set = default_control_set(self.hive)
        if first.upper() == "CURRENTCONTROLSET" and control_set is not None:
            return f"CurrentControlSet is {control_set} here: {control_set}\\{below}."
        if long_root(first).upper().startswith("HKEY_"):
            return "Paths begin below the root of the hive."
        return "`wimsmith hive ls` lists the keys that are there."


def in_wim(reference: str) -> re.Match[str] | None:
    """The WIM, index and name in a reference to a hive in a WIM; None where it names a file."""
    return None if Path(reference).exists() else _IN_WIM.fullmatch(reference)


def load(reference: str) -> StoredHive:
    """Read the bytes of a hive.

    Raises:
        NotFound, NoSuchIndex: there is no such file, index or hive.
        InvalidInput: a WIM without a hive in it, or something that is no file.
        LimitExceeded: more than 512 MiB.
    """
    match = in_wim(reference)
    if match is None:
        return read_hive_file(Path(reference))
    with open_file(Path(match["wim"])) as wim:
        return _stored(wim, int(match["index"]), match["name"], reference)


def open_source(reference: str) -> Source:
    """Read and parse a hive.

    Raises:
        DamagedHive: it cannot be read, or its logs do not complete it.
        NotFound, NoSuchIndex, InvalidInput, LimitExceeded: as `load`.
    """
    stored = load(reference)
    with naming(Path(reference)):
        hive = stored.parse()
    return Source(stored, hive, mount_name(re.split(r"[/\\:]", reference)[-1]))


def _stored(wim: Wim, index: int, name: str, label: str) -> StoredHive:
    tree = wim.tree(index)
    path = _PATHS.get(name.upper(), name)
    try:
        entry = found(wim, tree, index, path)
    except NotFound as error:
        error.hint = f"Names are {', '.join(_PATHS)}, or the path of a file in the image."
        raise
    logs = {suffix: tree.find(path + suffix) for suffix in LOG_SUFFIXES}
    return StoredHive(
        label,
        _content(wim, entry, label),
        {suffix: _content(wim, log, label) for suffix, log in logs.items() if log is not None},
    )


def _content(wim: Wim, entry: Entry, label: str) -> bytes:
    if entry.is_directory:
        raise InvalidInput(f"{label} is a folder")
    blob = wim.blobs.get(entry.inode.sha1)
    if blob is not None and blob.size_bytes > MAX_HIVE_BYTES:
        raise LimitExceeded(f"{label} has more than {MAX_HIVE_BYTES >> 20} MiB")
    return wim.read_blob(entry.inode.sha1)
