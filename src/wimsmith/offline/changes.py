"""What an update does to an image, as a value: nothing here reads or writes a WIM.

A `ChangeSet` is an ordered list of edits to the tree and to the registry of one index, and the
new content they refer to. Change sets stack (`stack(a, b)` does a, then b), and are saved beside
their content so that a run resumes from its last finished update.
"""

import hashlib
import json
import os
import shutil
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from wimsmith.errors import DamagedInput
from wimsmith.offline.durable import fsync_folder

FORMAT_VERSION = 2
"""Version 2 knows renames and the time of replaced content; sets of version 1 are read as well."""
_READ_VERSIONS = frozenset([1, 2])
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes that an edit brings along: known by SHA-1, as WIM files know them."""

    sha1: str
    size_bytes: int
    path: Path

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Describe the file at `path` by reading it."""
        digest = hashlib.sha1(usedforsecurity=False)
        size_bytes = 0
        with path.open("rb") as file:
            while block := file.read(_COPY_BYTES):
                digest.update(block)
                size_bytes += len(block)
        return cls(digest.hexdigest(), size_bytes, path)


@dataclass(frozen=True, slots=True)
class Times:
    """Times of a file as FILETIME: 100 ns since 1601-01-01 UTC."""

    created: int
    accessed: int
    written: int


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Make a directory with its missing parents; what is None is kept, or inherited if new."""

    op: ClassVar[str] = "mkdir"
    path: str
    security: bytes | None = None
    attributes: int | None = None
    times: Times | None = None


@dataclass(frozen=True, slots=True)
class PutFile:
    """Put a new file at a path; an entry that stands there leaves its link group.

    `security` None means: the descriptor of the replaced entry, else what Windows would let the
    file inherit from its folder. `short_name` None: that of the replaced entry, else none;
    `times` None: those of the replaced entry, else of the folder.
    """

    op: ClassVar[str] = "put"
    path: str
    sha1: str
    security: bytes | None = None
    attributes: int = 0x20
    times: Times | None = None
    short_name: str | None = None


@dataclass(frozen=True, slots=True)
class ReplaceContent:
    """Give the file at a path, and so all its links, other content; all else is kept.

    `written` is the FILETIME of the last write, None to keep that as well.
    """

    op: ClassVar[str] = "replace"
    path: str
    sha1: str
    written: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Make `path` one more name of the file at `target`; an entry that stands there is replaced."""

    op: ClassVar[str] = "link"
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class SetSecurity:
    """Give an existing file or directory another security descriptor."""

    op: ClassVar[str] = "security"
    path: str
    security: bytes


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file, or a directory with all below it."""

    op: ClassVar[str] = "remove"
    path: str


@dataclass(frozen=True, slots=True)
class Rename:
    """Give the file or directory at a path another name or folder; nothing stands there yet.

    The short name goes with an entry that keeps its name, unless the new folder has it already.
    """

    op: ClassVar[str] = "rename"
    path: str
    new_path: str


TreeEdit = MakeDirectory | PutFile | ReplaceContent | Link | SetSecurity | Remove | Rename


@dataclass(frozen=True, slots=True)
class SetValue:
    """Set a value, making the keys above it. `hive` is a mount name such as SOFTWARE."""

    op: ClassVar[str] = "set-value"
    hive: str
    key: str
    name: str
    type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class DeleteValue:
    op: ClassVar[str] = "delete-value"
    hive: str
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class CreateKey:
    """Make a key with those above it; without `security` it inherits, or keeps its own."""

    op: ClassVar[str] = "create-key"
    hive: str
    key: str
    security: bytes | None = None


@dataclass(frozen=True, slots=True)
class DeleteKey:
    """Delete a key with all below it; one that is not there is no error."""

    op: ClassVar[str] = "delete-key"
    hive: str
    key: str


RegistryEdit = SetValue | DeleteValue | CreateKey | DeleteKey
Edit = TreeEdit | RegistryEdit

_KINDS: Mapping[str, type[Any]] = {
    kind.op: kind
    for kind in (
        MakeDirectory,
        PutFile,
        ReplaceContent,
        Link,
        SetSecurity,
        Remove,
        Rename,
        SetValue,
        DeleteValue,
        CreateKey,
        DeleteKey,
    )
}


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Edits of one index, in order, with the content they need."""

    tree: tuple[TreeEdit, ...] = ()
    registry: tuple[RegistryEdit, ...] = ()
    content: Mapping[str, Content] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tree or self.registry)

    def missing_content(self) -> set[str]:
        """SHA-1 of content that edits name and nobody brings."""
        named = {edit.sha1 for edit in self.tree if isinstance(edit, PutFile | ReplaceContent)}
        return named - set(self.content)


def stack(*sets: ChangeSet) -> ChangeSet:
    """One change set that does what `sets` do one after the other."""
    return ChangeSet(
        tree=tuple(edit for one in sets for edit in one.tree),
        registry=tuple(edit for one in sets for edit in one.registry),
        content={sha1: content for one in sets for sha1, content in one.content.items()},
    )


def save(changes: ChangeSet, folder: Path) -> None:
    """Write a change set into `folder`, which appears whole or not at all.

    The content files are moved nowhere: each is hard-linked, or copied, below `folder`, so the
    saved set stands on its own.

    Raises:
        DamagedInput: a content file no longer has the bytes it was described with.
        OSError: the folder exists already or cannot be written.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "content").mkdir(parents=True)
    for content in changes.content.values():
        _keep(content, part / "content" / content.sha1)
    document = {
        "format": FORMAT_VERSION,
        "content": {sha1: content.size_bytes for sha1, content in changes.content.items()},
        "tree": [_to_json(edit) for edit in changes.tree],
        "registry": [_to_json(edit) for edit in changes.registry],
    }
    with (part / "changes.json").open("w", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    fsync_folder(part / "content")
    fsync_folder(part)
    part.rename(folder)
    fsync_folder(folder.parent)


def load(folder: Path) -> ChangeSet:
    """Read a change set that `save` wrote, checking its content by hash.

    Raises:
        DamagedInput: the document or a content file is not what was saved.
    """
    try:
        document = json.loads((folder / "changes.json").read_text(encoding="utf-8"))
        if document["format"] not in _READ_VERSIONS:
            raise DamagedInput(f"{folder}: change set of format {document['format']}")
        edits = [_from_json(row) for row in document["tree"] + document["registry"]]
        sizes = dict(document["content"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedInput(f"{folder}: {error}") from error
    content = {sha1: _proved(folder / "content" / sha1, sha1, size) for sha1, size in sizes.items()}
    return ChangeSet(
        tree=tuple(edit for edit in edits if isinstance(edit, TreeEdit)),
        registry=tuple(edit for edit in edits if isinstance(edit, RegistryEdit)),
        content=content,
    )


def _keep(content: Content, target: Path) -> None:
    _proved(content.path, content.sha1, content.size_bytes)
    try:
        os.link(content.path, target)
    except OSError:
        with content.path.open("rb") as source, target.open("xb") as copy:
            for block in iter(lambda: source.read(_COPY_BYTES), b""):
                copy.write(block)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _proved(path: Path, sha1: str, size_bytes: int) -> Content:
    try:
        content = Content.of_file(path)
    except OSError as error:
        raise DamagedInput(f"{path}: {error.strerror}") from error
    if (content.sha1, content.size_bytes) != (sha1, size_bytes):
        raise DamagedInput(f"{path}: expected SHA-1 {sha1}, found {content.sha1}")
    return content


def _to_json(edit: Edit) -> dict[str, Any]:
    row: dict[str, Any] = {"op": edit.op}
    for item in fields(edit):
        value = getattr(edit, item.name)
        if isinstance(value, bytes):
            value = {"base64": b64encode(value).decode("ascii")}
        elif isinstance(value, Times):
            value = [value.created, value.accessed, value.written]
        row[item.name] = value
    return row


def _from_json(row: dict[str, Any]) -> Edit:
    values = dict(row)
    kind = _KINDS[values.pop("op")]
    for name, value in values.items():
        if isinstance(value, dict):
            values[name] = b64decode(value["base64"])
        elif isinstance(value, list):
            values[name] = Times(*value)
    edit: Edit = kind(**values)
    return edit
