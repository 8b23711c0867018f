"""What edits change, told from the image before and after; what changes nothing is left out."""

from dataclasses import dataclass

from wimsmith.offline.changes import (
    ChangeSet,
    CreateKey,
    DeleteKey,
    Link,
    MakeDirectory,
    PutFile,
    RegistryEdit,
    Remove,
    Rename,
    ReplaceContent,
    SetSecurity,
    SetValue,
    TreeEdit,
)
from wimsmith.offline.edits.keys import idle
from wimsmith.offline.image import ImageView
from wimsmith.offline.paths import fold
from wimsmith.offline.registry.values import Value
from wimsmith.offline.wim.format.tree import EMPTY_SHA1, ZERO_SHA1, Attribute, Entry, Inode

_SECRETS = ("PASSWORD", "PASSWD", "SECRET")


@dataclass(frozen=True, slots=True)
class FileState:
    """What stands at a path: size and SHA-1 (hexadecimal) of its main content."""

    is_folder: bool
    size_bytes: int
    sha1: str


@dataclass(frozen=True, slots=True)
class FileChange:
    """One change of a path: what stood there, and what does now; None is nothing.

    `aspect` is `content`, `security`, `attributes`, `name` or `link`; `new_path` that of a move.
    `names` counts the names of the file that change with it.
    """

    path: str
    aspect: str
    old: FileState | None
    new: FileState | None
    new_path: str | None = None
    names: int = 1


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A registry key that is made or deleted; `below` counts the keys that go with it."""

    hive: str
    key: str
    made: bool
    below: int = 0


@dataclass(frozen=True, slots=True)
class ValueChange:
    """A registry value before and after; data of a `secret` one are left out."""

    hive: str
    key: str
    name: str
    old: Value | None
    new: Value | None
    secret: bool = False


Change = FileChange | KeyChange | ValueChange


def carry_out(view: ImageView, edit: TreeEdit | RegistryEdit, changes: ChangeSet) -> Change | None:
    """Stack one edit of a change set on a view; None, and nothing done, if it changes nothing."""
    if isinstance(edit, TreeEdit):
        if _changes_nothing(view, edit):
            return None
        return _file_change(view, edit, changes)
    if idle(view, edit):
        return None
    told = _registry_change(view, edit)
    view.stack(ChangeSet(registry=(edit,)))
    return told


def _changes_nothing(view: ImageView, edit: TreeEdit) -> bool:
    entry = view.find(edit.path)
    if entry is None:
        return False
    inode = entry.inode
    match edit:
        case MakeDirectory(_, security, attributes, times):
            wanted = None if attributes is None else attributes | Attribute.DIRECTORY
            return (
                entry.is_directory
                and security in {None, inode.security}
                and wanted in {None, inode.attributes}
                and times in {None, inode.times}
            )
        case PutFile():
            return _is_same_file(entry, edit)
        case ReplaceContent(_, sha1, written):
            return _stored(sha1) == inode.sha1 and written in {None, inode.written}
        case Link(_, target):
            other = view.find(target)
            return other is not None and other.inode is inode
        case SetSecurity(_, security):
            return security == inode.security
        case Rename(_, new_path):
            return entry.path == new_path
        case Remove():
            return False


def _is_same_file(entry: Entry, edit: PutFile) -> bool:
    inode = entry.inode
    is_plain = len(inode.entries) == 1 and not inode.named_streams and not inode.tagged
    return (
        is_plain
        and inode.reparse is None
        and _stored(edit.sha1) == inode.sha1
        and edit.attributes == inode.attributes
        and edit.security in {None, inode.security}
        and edit.times in {None, inode.times}
        and edit.short_name in {None, entry.short_name}
    )


def _file_change(view: ImageView, edit: TreeEdit, changes: ChangeSet) -> FileChange:
    path = edit.path
    entry = view.find(path)
    old = _state(view, entry)
    names = len(entry.inode.entries) if entry else 1
    sha1 = edit.sha1 if isinstance(edit, PutFile | ReplaceContent) else ""
    brought = {sha1: changes.content[sha1]} if sha1 in changes.content else {}
    view.stack(ChangeSet((edit,), content=brought))
    match edit:
        case Rename(_, new_path):
            return FileChange(path, "name", old, _state(view, view.find(new_path)), new_path)
        case SetSecurity():
            return FileChange(path, "security", old, old, names=names)
        case ReplaceContent():
            return FileChange(path, "content", old, _state(view, view.find(path)), names=names)
        case MakeDirectory() if old is not None:
            return FileChange(path, "attributes", old, old)
        case Link():
            return FileChange(path, "link", old, _state(view, view.find(path)))
    return FileChange(path, "content", old, _state(view, view.find(path)))


def _state(view: ImageView, entry: Entry | None) -> FileState | None:
    if entry is None:
        return None
    if entry.is_directory:
        return FileState(is_folder=True, size_bytes=0, sha1="")
    sha1 = _content(entry.inode)
    pending = view.pending_content.get(sha1.hex())
    size_bytes = pending.size_bytes if pending else view.wim.size_of(sha1)
    return FileState(is_folder=False, size_bytes=size_bytes, sha1=sha1.hex())


def _content(inode: Inode) -> bytes:
    return EMPTY_SHA1 if inode.sha1 == ZERO_SHA1 else inode.sha1


def _stored(sha1: str) -> bytes:
    raw = bytes.fromhex(sha1)
    return ZERO_SHA1 if raw == EMPTY_SHA1 else raw


def _registry_change(view: ImageView, edit: RegistryEdit) -> KeyChange | ValueChange:
    hive = view.hive(edit.hive)
    if isinstance(edit, CreateKey):
        return KeyChange(edit.hive, edit.key, made=True)
    if isinstance(edit, DeleteKey):
        below = sum(1 for _ in hive.walk(edit.key)) - 1
        return KeyChange(edit.hive, edit.key, made=False, below=below)
    old = hive.value(edit.key, edit.name)
    new = Value(edit.name, edit.type, edit.data) if isinstance(edit, SetValue) else None
    secret = any(word in fold(edit.name) for word in _SECRETS)
    if secret:
        old, new = _without_data(old), _without_data(new)
    return ValueChange(edit.hive, edit.key, edit.name, old, new, secret)


def _without_data(value: Value | None) -> Value | None:
    return None if value is None else Value(value.name, value.type, b"")
