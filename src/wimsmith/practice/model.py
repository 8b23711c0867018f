"""An image while it is being generated: a tree of files and the hives, as plain values."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from wimsmith.practice.content import Stored
from wimsmith.practice.security import WRP_DIRECTORY, WRP_FILE

REG_NONE, REG_SZ, REG_EXPAND_SZ, REG_BINARY, REG_DWORD = range(5)
REG_MULTI_SZ = 7
REG_QWORD = 11

_DIRECTORY = 0x10
_ARCHIVE = 0x20


def sz(text: str) -> bytes:
    """Text of a registry value."""
    return (text + "\0").encode("utf-16-le")


def dword(number: int) -> bytes:
    return number.to_bytes(4, "little")


@dataclass(slots=True)
class KeyModel:
    """A registry key; lookups ignore case, the first spelling is kept."""

    name: str
    security: bytes | None = None
    values: dict[str, tuple[str, int, bytes]] = field(default_factory=dict)
    subkeys: dict[str, Self] = field(default_factory=dict)

    def key(self, path: str) -> Self:
        """The key at a path below this one, made with its parents where it is missing."""
        current = self
        for name in path.split("\\") if path else ():
            current = current.subkeys.setdefault(name.lower(), type(self)(name))
        return current

    def set(self, name: str, kind: int, data: bytes) -> None:
        old = self.values.get(name.lower())
        self.values[name.lower()] = (old[0] if old else name, kind, data)

    def text(self, name: str, text: str) -> None:
        self.set(name, REG_SZ, sz(text))

    def number(self, name: str, number: int) -> None:
        self.set(name, REG_DWORD, dword(number))

    def binary(self, name: str, data: bytes) -> None:
        self.set(name, REG_BINARY, data)

    def walk(self, path: str = "") -> Iterator[tuple[str, Self]]:
        """All keys below this one, parents first."""
        for child in self.subkeys.values():
            child_path = f"{path}\\{child.name}" if path else child.name
            yield child_path, child
            yield from child.walk(child_path)


@dataclass(frozen=True, slots=True)
class FileModel:
    """A file; `streams` are named streams by name."""

    content: Stored
    security: bytes = WRP_FILE.of_file
    attributes: int = _ARCHIVE
    short_name: str = ""
    streams: tuple[tuple[str, Stored], ...] = ()


@dataclass(frozen=True, slots=True)
class DirectoryModel:
    security: bytes = WRP_DIRECTORY.of_file
    attributes: int = _DIRECTORY
    short_name: str = ""
    junction: str = ""


@dataclass(slots=True)
class ImageModel:
    """One index: paths with `/`, in any order; `links` give further names of a file.

    `tagged` are object ids and extended attributes of files, as they stand behind WIM entries.
    `hives` are the roots by mount name; where they are stored is decided by the writer.
    """

    files: dict[str, FileModel] = field(default_factory=dict)
    directories: dict[str, DirectoryModel] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    tagged: dict[str, bytes] = field(default_factory=dict)
    hives: dict[str, KeyModel] = field(default_factory=dict)

    def hive(self, name: str) -> KeyModel:
        return self.hives.setdefault(name, KeyModel("ROOT"))

    def put(self, path: str, file: FileModel) -> None:
        self._parents(path)
        self.files[path] = file

    def link(self, path: str, target: str) -> None:
        self._parents(path)
        self.links[path] = target

    def directory(self, path: str, directory: DirectoryModel | None = None) -> None:
        """Make a directory with its parents; one that is described keeps its description."""
        self._parents(path)
        if directory is not None:
            self.directories[path] = directory
        else:
            self.directories.setdefault(path, DirectoryModel())

    def _parents(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent and parent not in self.directories:
            self.directory(parent)
