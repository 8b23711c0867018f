"""Editing one image of a WIM by hand: add, remove, move, replace, make a folder.

An `Edit` is what a person asks for. `changes_of` turns one into a `ChangeSet` against the image as
it is by then, refusing what would surprise: a name that is taken, a folder that is missing, a
folder removed with all that is in it. `edit_image` does several edits in one new file.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from wimsmith.errors import AlreadyExists, InvalidInput, NotFound
from wimsmith.offline import filetime, paths
from wimsmith.offline.changes import (
    ChangeSet,
    Content,
    MakeDirectory,
    Remove,
    Rename,
    ReplaceContent,
)
from wimsmith.offline.commit import CommitReport, commit_views
from wimsmith.offline.descriptors import SecurityDescriptor
from wimsmith.offline.image import ImageView, inherited_security
from wimsmith.offline.inplace import hold_for_replacing
from wimsmith.offline.intake import Intake, SourceLinks, file_written, refuse_short_name
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.security import stored_descriptor
from wimsmith.offline.wim.format.codec import Codec
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.tree import Entry, Tree

_ROOT = "that is the root of the image"
_OVERWRITE = "Say --overwrite to replace it."
_PARENTS = "Look at the name, or say --parents to make what is missing."


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use what is made. Without both, a new entry inherits from its folder.

    `sddl` is the whole descriptor. `owner` is a SID, and changes that of what is inherited.
    """

    sddl: str | None = None
    owner: str | None = None


_INHERITED = Access()


@dataclass(frozen=True, slots=True)
class Add:
    """Put a file, or a folder with all below it, at `path`.

    A path that ends in a separator is the folder to put it into. A folder that is there already
    is filled. `attributes` are those of added files, without the bit for directories.
    """

    source: Path
    path: str
    access: Access = _INHERITED
    attributes: int | None = None
    overwrite: bool = False
    parents: bool = False
    links: SourceLinks = SourceLinks.REFUSE


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
    access: Access = _INHERITED
    attributes: int | None = None
    parents: bool = False


Edit = Add | Delete | Move | Replace | MakeFolder


@dataclass(frozen=True, slots=True)
class EditReport:
    """A file that was written and read back. `changes` counts single changes of the tree."""

    path: Path
    index: int
    changes: int
    new_content_count: int
    new_content_bytes: int
    size_bytes: int
    sha256: str
    in_place: bool
    duration_s: float


def edit_image(
    source: Path,
    index: int,
    edits: Sequence[Edit],
    target: Path | None,
    *,
    codec: Codec,
    modified: int | None = None,
    progress: Progress = silent,
) -> EditReport:
    """Carry out edits, in order, on one image, and write the WIM with them.

    Args:
        source: the WIM; it is only read, unless there is no `target`.
        index: number of the image, from 1. Other images are copied as they are.
        edits: each sees what those before it did.
        target: new file, which must not exist. None: the source is replaced, by a file that was
            written beside it and read back, with its owner and permissions.
        codec: unpacks what is read and packs what is new.
        modified: FILETIME for the image; by default now.
        progress: told of the phases; may raise `Cancelled`, which leaves all as it was.

    Raises:
        NotFound: an edit needs something that is not there.
        AlreadyExists: a name or the target is taken.
        PathConflict: a file or a link stands where a folder would have to be, or the reverse.
        UnsafePath: a name that Windows does not accept.
        NotSupported: a source that an image cannot hold, a WIM that cannot be written.
        InvalidInput: of the root, a folder into itself, a folder that is not empty.
        InvalidState: somebody else owns the source that is to be replaced, or changes it.
    """
    started = time.monotonic()
    if modified is None:
        modified = filetime.from_datetime(datetime.now(UTC))
    with open_wim(source, codec) as wim:
        if target is None:
            hold_for_replacing(wim)
        view = ImageView(wim, index)
        changes = 0
        for place, edit in enumerate(edits):
            progress(Event("plan", place, len(edits)))
            planned = changes_of(edit, view, progress)
            view.stack(planned)
            changes += len(planned.tree)
        report = commit_views(
            wim,
            {index: view},
            target or source.resolve(),
            codec=codec,
            modified=modified,
            in_place=target is None,
            progress=progress,
        )
    return _report(report, target or source, index, changes, started, in_place=target is None)


def _report(
    report: CommitReport, path: Path, index: int, changes: int, started: float, *, in_place: bool
) -> EditReport:
    return EditReport(
        path=path,
        index=index,
        changes=changes,
        new_content_count=report.new_content_count,
        new_content_bytes=report.new_content_bytes,
        size_bytes=report.size_bytes,
        sha256=report.sha256,
        in_place=in_place,
        duration_s=time.monotonic() - started,
    )


def changes_of(edit: Edit, view: ImageView, progress: Progress = silent) -> ChangeSet:
    """What an edit changes in the image that `view` shows; nothing is changed yet.

    Raises: as `edit_image`, for this edit.
    """
    tree = view.tree
    match edit:
        case Add():
            return _added(edit, tree, progress)
        case Delete(path, recursive):
            entry = _there(tree, path)
            if entry.parent is None:
                raise InvalidInput("the root of an image cannot be removed")
            if entry.children and not recursive:
                raise InvalidInput(
                    f"{path} is a folder that is not empty",
                    hint="Say --recursive to remove it with all below it.",
                )
            return ChangeSet((Remove(path),))
        case Move():
            return _moved(edit, tree)
        case Replace(path, source, source_time):
            content = Content.of_file(source)
            written = file_written(source) if source_time else None
            return ChangeSet(
                (ReplaceContent(_there(tree, path).path, content.sha1, written),),
                content={content.sha1: content},
            )
        case MakeFolder():
            return _folder(edit, tree)


def _added(edit: Add, tree: Tree, progress: Progress) -> ChangeSet:
    path = _place(edit.path, edit.source.resolve().name)
    _check_parents(tree, path, parents=edit.parents)
    old = tree.find(path)
    refuse_short_name(tree, path)
    is_folder = edit.source.is_dir()
    if old is not None and old.is_directory and not is_folder:
        raise AlreadyExists(
            f"the folder {path or _ROOT}", hint="End the path with / to put the file into it."
        )
    intake = Intake(tree, overwrite=edit.overwrite, attributes=edit.attributes, links=edit.links)
    security = _security(edit.access, tree, path, is_directory=is_folder)
    return intake.take(edit.source, path, security, progress)


def _moved(edit: Move, tree: Tree) -> ChangeSet:
    entry = _there(tree, edit.path)
    path = _place(edit.new_path, entry.name)
    if entry.parent is None:
        raise InvalidInput("the root of an image cannot be moved")
    if paths.fold(path).startswith(paths.fold(f"{entry.path}/")):
        raise InvalidInput(f"{entry.path} cannot be moved into itself")
    made = _check_parents(tree, path, parents=edit.parents)
    old = tree.find(path)
    if old is not entry:
        refuse_short_name(tree, path)
    edits: list[MakeDirectory | Remove | Rename] = [MakeDirectory(made)] if made else []
    if old is not None and old is not entry:
        if old.is_directory:
            raise AlreadyExists(
                f"the folder {path or _ROOT}", hint="End the path with / to move the entry into it."
            )
        if entry.is_directory or not edit.overwrite:
            hint = "Remove it first." if entry.is_directory else _OVERWRITE
            raise AlreadyExists(path, hint=hint)
        edits.append(Remove(path))
    return ChangeSet((*edits, Rename(edit.path, path)))


def _folder(edit: MakeFolder, tree: Tree) -> ChangeSet:
    path = paths.check(edit.path)
    old = tree.find(path)
    if old is not None:
        if edit.parents and old.is_directory:
            return ChangeSet()
        raise AlreadyExists(path or _ROOT)
    _check_parents(tree, path, parents=edit.parents)
    refuse_short_name(tree, path)
    security = _security(edit.access, tree, path, is_directory=True)
    return ChangeSet((MakeDirectory(path, security, edit.attributes),))


def _place(path: str, name: str) -> str:
    """The path meant: one that ends in a separator is a folder for an entry called `name`."""
    into = path.endswith(("/", "\\"))
    return paths.check(paths.join(path, name) if into else path)


def _there(tree: Tree, path: str) -> Entry:
    entry = tree.find(path)
    if entry is None:
        raise NotFound(path, hint="`wimsmith wim ls` shows what is there.")
    return entry


def _check_parents(tree: Tree, path: str, *, parents: bool) -> str:
    """The folder that has to be made for `path`, or nothing."""
    above = paths.parent(path)
    folder = tree.find(above)
    if folder is None and not parents:
        raise NotFound(f"the folder {above}", hint=_PARENTS)
    return above if folder is None else ""


def _security(access: Access, tree: Tree, path: str, *, is_directory: bool) -> bytes | None:
    """The descriptor of what is made at `path`; None for what it inherits."""
    if access.sddl is not None:
        descriptor: bytes | None = stored_descriptor(access.sddl)
    elif access.owner is None:
        return None
    else:
        descriptor = inherited_security(tree, paths.parent(path), is_directory=is_directory)
    if descriptor is None:
        raise InvalidInput(
            f"{path} would inherit, but the folder has no security descriptor",
            hint="Give the whole descriptor with --sddl.",
        )
    if access.owner is None:
        return descriptor
    value = SecurityDescriptor.from_bytes(descriptor)
    return replace(value, owner=access.owner).to_bytes()
