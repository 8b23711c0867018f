"""Asking for long work on images: everything that can be refused is refused before the job."""

import os
from pathlib import Path, PureWindowsPath
from typing import Any

from sqlalchemy.orm import Session

from wimsmith.errors import AlreadyExists, InvalidInput, PathUnreachable
from wimsmith.images import jobs, rules, service
from wimsmith.images.facts import FileFacts, read_container
from wimsmith.images.models import MAX_NAME, Image
from wimsmith.images.schemas import AddRequest, ExportRequest, ExtractRequest
from wimsmith.jobs.models import JobRow
from wimsmith.site.access import Actor, ObjectClass, Verb, require
from wimsmith.site.context import Site
from wimsmith.site.sources import is_unc, reachable_file

_FOLDER_HINT = "Choose another folder for the new file."


def inspect(session: Session, actor: Actor, path: str) -> dict[str, Any]:
    """What a WIM holds, and what would be proposed for it, before anything is stored.

    Raises:
        InvalidInput, NotSupported, PathNotMapped, PathUnreachable, DamagedWim
    """
    require(actor, ObjectClass.IMAGE, Verb.READ)
    local, facts = _open(session, path)
    return {
        "path": path,
        "local_path": os.fspath(local),
        "size_bytes": facts.size_bytes,
        "compression": facts.compression,
        "chunk_size": facts.chunk_size,
        "guid": facts.guid,
        "conversion": facts.conversion,
        "indexes": facts.indexes,
        "suggested": {
            "name": rules.default_name(rules.check_source(path))[:MAX_NAME],
            "architecture": rules.common([index.architecture for index in facts.indexes]),
            "language": rules.common([index.default_language for index in facts.indexes]),
            "kind": rules.likely_kind(path),
        },
    }


def add(session: Session, site: Site, actor: Actor, wanted: AddRequest) -> JobRow:
    """Start to add an image.

    Raises:
        as `inspect`, and NoSuchIndex, NameInUse, AlreadyExists
    """
    require(actor, ObjectClass.IMAGE, Verb.CREATE)
    local, facts = _open(session, wanted.path)
    file_name = rules.check_source(wanted.path)
    name = rules.check_name(rules.default_name(file_name) if wanted.name is None else wanted.name)
    service.check_name_free(session, name)
    params: dict[str, Any] = {
        "local_path": os.fspath(local),
        "source_path": wanted.path,
        "conversion": facts.conversion,
        "index": wanted.index,
        "name": name,
        "version": rules.check_version(wanted.version),
        "comment": rules.check_comment(wanted.comment),
        "kind": wanted.kind or rules.likely_kind(wanted.path),
        "architecture": rules.check_text("architecture", wanted.architecture or "", 16),
        "language": rules.check_text("language", wanted.language or "", 35),
    }
    if wanted.index is not None:
        indexes = [(one.number, one.name) for one in facts.indexes]
        rules.check_index(wanted.index, indexes, file_name)
        new_name = rules.extracted_name(file_name, wanted.index)
        params |= _target(session, wanted.extract_folder or _folder(wanted.path), new_name)
    return site.jobs.submit(session, jobs.ADD, subject=name, params=params, actor=actor.name)


def reload(session: Session, site: Site, actor: Actor, image: Image) -> JobRow:
    """Start to read the source of an image again.

    Raises:
        InvalidState, InvalidInput, NotSupported, PathNotMapped, PathUnreachable, DamagedWim
    """
    require(actor, ObjectClass.IMAGE, Verb.MODIFY)
    local, facts = _open(session, image.source_path)
    params = {
        "local_path": os.fspath(local),
        "source_path": image.source_path,
        "conversion": facts.conversion,
        "source_digest": image.source_digest,
    }
    return _submit(session, site, actor, jobs.RELOAD, image, params)


def extract(
    session: Session, site: Site, actor: Actor, image: Image, wanted: ExtractRequest
) -> JobRow:
    """Start to take one index of the current version out into a file beside the source.

    Raises:
        InvalidState, NoSuchIndex, InvalidInput, PathNotMapped, PathUnreachable, AlreadyExists
    """
    require(actor, ObjectClass.IMAGE, Verb.MODIFY)
    version = service.version_of(session, image)
    indexes = [(index.number, index.name) for index in version.indexes]
    rules.check_index(wanted.index, indexes, image.name)
    own_name = rules.check_source(image.source_path)
    file_name = wanted.file_name or rules.extracted_name(own_name, wanted.index)
    folder = wanted.folder or _folder(image.source_path)
    params = {"index": wanted.index} | _target(session, folder, file_name)
    return _submit(session, site, actor, jobs.EXTRACT, image, params)


def export(
    session: Session, site: Site, actor: Actor, image: Image, wanted: ExportRequest
) -> JobRow:
    """Start to write a version of an image to a path.

    Raises:
        NotFound, InvalidState, InvalidInput, PathNotMapped, PathUnreachable, AlreadyExists
    """
    require(actor, ObjectClass.IMAGE, Verb.READ)
    version = service.version_of(session, image, wanted.version)
    rules.check_path(wanted.path)
    target = service.local_path(session, wanted.path)
    check_writable(target.parent)
    if target.exists() and not wanted.overwrite:
        raise AlreadyExists(wanted.path, hint="Choose another path, or ask to overwrite.")
    params = {
        "path": os.fspath(target),
        "digest": version.digest,
        "version": version.number,
        "overwrite": wanted.overwrite,
    }
    return _submit(session, site, actor, jobs.EXPORT, image, params)


def _submit(
    session: Session, site: Site, actor: Actor, kind: str, image: Image, params: dict[str, Any]
) -> JobRow:
    about = {"package_id": image.package_id}
    return site.jobs.submit(
        session,
        kind,
        subject=image.package_id,
        lane=image.package_id,
        params=about | params,
        actor=actor.name,
    )


def _open(session: Session, path: str) -> tuple[Path, FileFacts]:
    rules.check_source(path)
    local = reachable_file(service.local_path(session, path), path)
    return local, read_container(local)


def _folder(path: str) -> str:
    return str(PureWindowsPath(path).parent) if is_unc(path) else os.fspath(Path(path).parent)


def _target(session: Session, folder: str, file_name: str) -> dict[str, str]:
    if rules.check_path(file_name) != file_name:
        raise InvalidInput(f"{file_name!r} is not a plain file name")
    shown = f"{folder.rstrip(chr(92))}\\{file_name}" if is_unc(folder) else f"{folder}/{file_name}"
    target = service.local_path(session, shown)
    check_writable(target.parent)
    if target.exists():
        raise AlreadyExists(shown, hint="Remove it, add it as an image, or choose another name.")
    return {"target": os.fspath(target), "shown_target": shown}


def check_writable(folder: Path) -> None:
    """Raises PathUnreachable: not a folder, or this service may not make files in it."""
    if not folder.is_dir():
        raise PathUnreachable(f"{folder}: not a folder", hint=_FOLDER_HINT)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise PathUnreachable(f"{folder}: this service may not write there", hint=_FOLDER_HINT)
