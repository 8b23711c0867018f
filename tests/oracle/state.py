"""An image as plain values: files by path, registry keys by hive and path, all in lower case."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

EMPTY_SHA1 = "0" * 40
DIRECTORY, HIDDEN, ARCHIVE = 0x10, 0x02, 0x20


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory. `links` are all its names; `rest` is what else the listing says."""

    path: str
    attributes: int
    security: bytes
    sha1: str
    short_name: str
    links: frozenset[str]
    rest: tuple[str, ...] = ()

    @property
    def is_directory(self) -> bool:
        return bool(self.attributes & DIRECTORY)


@dataclass(frozen=True, slots=True)
class Value:
    name: str
    type: int
    data: bytes

    @property
    def text(self) -> str:
        return self.data.decode("utf-16-le").split("\0", 1)[0]

    @property
    def number(self) -> int:
        return int.from_bytes(self.data, "little")


@dataclass(frozen=True, slots=True)
class Key:
    path: str
    security: bytes
    values: Mapping[str, Value]


Keys = Mapping[str, Key]


@dataclass(frozen=True, slots=True)
class ImageState:
    """One index of an image. `read` gives the content of a file by its path."""

    entries: Mapping[str, Entry]
    hives: Mapping[str, Keys]
    read: Callable[[str], bytes] | None = field(default=None, compare=False)

    def value(self, hive: str, path: str, name: str = "") -> Value | None:
        key = self.hives[hive].get(path.lower())
        return key.values.get(name.lower()) if key else None

    def subkeys(self, hive: str, path: str) -> list[Key]:
        """Keys directly below a key."""
        start = path.lower() + "\\"
        return [
            key
            for name, key in self.hives[hive].items()
            if name.startswith(start) and "\\" not in name[len(start) :]
        ]
