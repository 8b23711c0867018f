"""Edits of files and folders, as changes to the tree of an image.

What would surprise is refused: a name that is taken, a folder that is missing, a folder removed
with all that is in it.
"""

from dataclasses import replace

from wimsmith.errors import AlreadyExists, InvalidInput, NotFound
from wimsmith.offline import paths
from wimsmith.offline.changes import (
    ChangeSet,
    Content,
    MakeDirectory,
    Remove,
    Rename,
    ReplaceContent,
    SetSecurity,
    Times,
)
from wimsmith.offline.descriptors import SecurityDescriptor
from wimsmith.offline.edits.kinds import (
    INHERITED,
    Access,
    Add,
    Delete,
    FileEdit,
    MakeFolder,
    Move,
    Replace,
    Secure,
)
from wimsmith.offline.image import inherited_security
from wimsmith.offline.intake import Intake, file_written, refuse_short_name
from wimsmith.offline.progress import Progress
from wimsmith.offline.security import stored_descriptor
from wimsmith.offline.wim.format.tree import Entry, Tree

_ROOT = "that is the root of the image"
_OVERWRITE = "Say --overwrite to replace it."
_PARENTS = "Look at the name, or say --parents to make what is missing."


def file_changes(edit: FileEdit, tree: Tree, progress: Progress) -> ChangeSet:
    """What an edit changes in `tree`; nothing is changed yet.

    Raises:
        NotFound, AlreadyExists, PathConflict, UnsafePath, NotSupported, InvalidInput: as
            `wimsmith.offline.edits.writing.edit_image`.
    """
    match edit:
        case Add():
            return _added(edit, tree, progress)
        case Delete():
            return _deleted(edit, tree)
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
        case Secure(path, access):
            entry = _there(tree, path)
            return ChangeSet((SetSecurity(entry.path, _new_security(access, entry)),))


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
    intake = Intake(
        tree,
        overwrite=edit.overwrite,
        attributes=edit.attributes,
        links=edit.links,
        within=edit.within,
        time=edit.time,
    )
    if old is not None and edit.access != INHERITED:
        security: bytes | None = _new_security(edit.access, old)
    else:
        security = _security(edit.access, tree, path, is_directory=is_folder)
    return intake.take(edit.source, path, security, progress)


def _deleted(edit: Delete, tree: Tree) -> ChangeSet:
    entry = _there(tree, edit.path)
    if entry.parent is None:
        raise InvalidInput("the root of an image cannot be removed")
    if entry.children and not edit.recursive:
        raise InvalidInput(
            f"{edit.path} is a folder that is not empty",
            hint="Say --recursive to remove it with all below it.",
        )
    return ChangeSet((Remove(entry.path),))


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
    times = None if edit.time is None else Times(edit.time, edit.time, edit.time)
    return ChangeSet((MakeDirectory(path, security, edit.attributes, times),))


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
        return _owned(access, stored_descriptor(access.sddl))
    if access.owner is None:
        return None
    inherited = inherited_security(tree, paths.parent(path), is_directory=is_directory)
    if inherited is None:
        raise InvalidInput(
            f"{path} would inherit, but the folder has no security descriptor",
            hint="Give the whole descriptor with --sddl.",
        )
    return _owned(access, inherited)


def _new_security(access: Access, entry: Entry) -> bytes:
    """The descriptor of what is there already."""
    if access.sddl is not None:
        return _owned(access, stored_descriptor(access.sddl))
    if access.owner is None:
        raise InvalidInput("neither a descriptor nor an owner", hint="Say --sddl or --owner.")
    if entry.inode.security is None:
        raise InvalidInput(
            f"{entry.path} has no security descriptor whose owner could change",
            hint="Give the whole descriptor with --sddl.",
        )
    return _owned(access, entry.inode.security)


def _owned(access: Access, descriptor: bytes) -> bytes:
    if access.owner is None:
        return descriptor
    value = SecurityDescriptor.from_bytes(descriptor)
    return replace(value, owner=access.owner).to_bytes()
