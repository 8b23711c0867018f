"""From image models to a WIM file, written with the engine's own WIM and hive writers."""

import struct
from dataclasses import dataclass

from wimsmith.offline.registry import Hive
from wimsmith.offline.wim.format.tree import Entry, Reparse, Tree
from wimsmith.practice.content import ContentPool
from wimsmith.practice.model import FileModel, ImageModel, KeyModel
from wimsmith.practice.security import ADMIN_FILE, ROOT_DIRECTORY

HIVE_FILES = {
    "SOFTWARE": "Windows/System32/config/SOFTWARE",
    "SYSTEM": "Windows/System32/config/SYSTEM",
    "COMPONENTS": "Windows/System32/config/COMPONENTS",
    "DEFAULT": "Windows/System32/config/DEFAULT",
    "SAM": "Windows/System32/config/SAM",
    "SECURITY": "Windows/System32/config/SECURITY",
    "NTUSER": "Users/Default/NTUSER.DAT",
}
_MOUNT_POINT = 0xA000_0003


def hive_bytes(root: KeyModel, filetime: int, *, version_minor: int) -> bytes:
    """A hive file with the keys of a model."""
    hive = Hive.new("ROOT", version_minor=version_minor, security=root.security)
    for path, key in [("", root), *root.walk()]:
        hive.create_key(path, key.security)
        for name, kind, data in key.values.values():
            hive.set_value(path, name, kind, data)
    return hive.serialize(filetime)


def put_hives(image: ImageModel, pool: ContentPool, filetime: int, *, version_minor: int) -> None:
    """Turn the hives of a model into files of it."""
    for name, root in image.hives.items():
        data = hive_bytes(root, filetime, version_minor=version_minor)
        hidden = 0x22 if name == "NTUSER" else 0x20
        image.put(HIVE_FILES[name], FileModel(pool.add(data), ADMIN_FILE.of_file, hidden))


@dataclass(frozen=True, slots=True)
class TreeMaker:
    """Makes the tree of one image; directories before files, so that each has its parent."""

    image: ImageModel
    pool: ContentPool
    filetime: int

    def tree(self) -> Tree:
        tree = Tree.new(security=ROOT_DIRECTORY.of_file)
        self._stamp(tree.root, 0)
        for path in sorted(self.image.directories, key=lambda path: path.count("/")):
            self._directory(tree, path)
        for number, (path, file) in enumerate(sorted(self.image.files.items())):
            self._file(tree, path, file, number)
        for path, target in sorted(self.image.links.items()):
            tree.link(path, target)
        for path, data in self.image.tagged.items():
            entry = tree.find(path)
            if entry is None:
                raise LookupError(path)
            entry.inode.tagged = data
        return tree

    def _stamp(self, entry: Entry, number: int) -> None:
        """Give an entry times that differ from file to file."""
        inode = entry.inode
        inode.created = self.filetime + number % 86_400 * 10_000_000
        inode.written = inode.created + 600_000_000
        inode.accessed = inode.created + 36_000_000_000

    def _directory(self, tree: Tree, path: str) -> None:
        directory = self.image.directories[path]
        entry = tree.make_directory(
            path,
            security=directory.security,
            attributes=directory.attributes,
            short_name=directory.short_name,
        )
        self._stamp(entry, len(path))
        if directory.junction:
            data = self.pool.add(junction_data(directory.junction))
            tree.set_reparse(path, Reparse(_MOUNT_POINT, data.sha1))

    def _file(self, tree: Tree, path: str, file: FileModel, number: int) -> None:
        entry = tree.put_file(
            path,
            file.content.sha1,
            security=file.security,
            attributes=file.attributes,
            short_name=file.short_name,
        )
        self._stamp(entry, number)
        for name, content in file.streams:
            tree.put_stream(path, name, content.sha1)


def object_id(identifier: bytes) -> bytes:
    """Tagged item with a 16-byte object id and three empty birth ids."""
    return _tagged_item(1, identifier + bytes(48))


def extended_attribute(name: str, value: bytes) -> bytes:
    """Tagged item with one extended attribute, as Windows 10 and later store them in WIM files."""
    raw = name.encode("ascii")
    return _tagged_item(2, struct.pack("<HBB", len(value), len(raw), 0) + raw + b"\0" + value)


def _tagged_item(tag: int, data: bytes) -> bytes:
    """One tagged item behind a WIM entry, padded to 8 bytes (public wimlib headers)."""
    item = struct.pack("<II", tag, len(data)) + data
    return item + bytes(-len(item) % 8)


def junction_data(target: str) -> bytes:
    r"""Data of a mount point to `target` such as `C:\Users` ([MS-FSCC] 2.1.2.5)."""
    substitute, shown = f"\\??\\{target}".encode("utf-16-le"), target.encode("utf-16-le")
    head = struct.pack("<HHHH", 0, len(substitute), len(substitute) + 2, len(shown))
    return head + substitute + b"\0\0" + shown + b"\0\0"
