"""Durable jobs of images: add, reload, extract one index, export a version.

Every job that brings content follows the same path: the file is put into the library, its facts
are read there, and one transaction makes it a version. Sources are only ever read.
"""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from wimsmith import logs
from wimsmith.db.base import now
from wimsmith.errors import AlreadyExists, Interrupted, NotFound, WimsmithError
from wimsmith.images import service
from wimsmith.images.convert import convert, telling
from wimsmith.images.export import Extraction, extract_index, forget_part
from wimsmith.images.facts import check_whole, read_file
from wimsmith.images.models import Image, ImageEvent, Origin
from wimsmith.images.service import NewVersion
from wimsmith.jobs.port import Job, JobKind, Step
from wimsmith.offline.progress import Event
from wimsmith.site import settings
from wimsmith.site.context import Site
from wimsmith.site.drive import resolve_drive
from wimsmith.storage.files import copy_file, hash_file, publish

log = logging.getLogger("wimsmith.images")

ADD = "add-image"
RELOAD = "reload-image"
EXTRACT = "extract-index"
EXPORT = "export-image"

_EXTRACT, _CONVERT = Step("extract"), Step("convert")
_STORE, _REGISTER = Step("store"), Step("register", cancellable=False)
STEPS: Mapping[str, tuple[Step, ...]] = MappingProxyType(
    {
        ADD: (_EXTRACT, _CONVERT, _STORE, _REGISTER),
        RELOAD: (_CONVERT, _STORE, _REGISTER),
        EXTRACT: (_EXTRACT, _STORE, _REGISTER),
        EXPORT: (Step("copy"), Step("note", cancellable=False)),
    }
)


def kinds(site: Site) -> tuple[JobKind, ...]:
    """The kinds of jobs of this noun, bound to a site."""
    functions = {
        ADD: add_image,
        RELOAD: reload_image,
        EXTRACT: extract_from_image,
        EXPORT: export_image,
    }
    return tuple(JobKind(name, STEPS[name], partial(run, site)) for name, run in functions.items())


def add_image(site: Site, job: Job) -> dict[str, Any]:
    """Bring a WIM, or one index of it, into the library as a new image.

    Params: `local_path`, `source_path` (as given), `conversion` (what the file is if it must be
    converted), `index`, `target` (path of the new file when one index is wanted), and the
    properties of the image.
    """
    source, source_digest = Path(job.params["local_path"]), ""
    origin, text = Origin.IMPORT, f"Imported {job.params['source_path']}"
    with _converting(site, job):
        if job.params["index"] is not None:
            source = Path(job.step("extract", _extract, job, source, job.params))
            text = (
                f"Imported index {job.params['index']} of {job.params['source_path']} as {source}"
            )
            origin = Origin.INDEX_EXTRACT
        elif job.params.get("conversion"):
            made = job.step("convert", _convert, site, job)
            source, source_digest = Path(made["path"]), made["source_digest"]
            text = f"{text}, {job.params['conversion']}, converted"
        digest = job.step("store", _store, site, job, source)
        arguments = (digest, source_digest, origin, text)
        package_id = job.step("register", _register, site, job, *arguments)
    result = {"package_id": package_id, "version": 1}
    return result | ({"extracted_path": os.fspath(source)} if job.params["index"] else {})


def reload_image(site: Site, job: Job) -> dict[str, Any]:
    """Read the source again: a changed file is a new version, an unchanged one a new date.

    Params: `package_id`, `local_path`, `source_path`, `source_digest`, `conversion`.
    """
    with _converting(site, job):
        if job.params.get("conversion"):
            made = job.step("convert", _convert, site, job)
            changed, source_digest, digest = bool(made["path"]), made["source_digest"], ""
            if changed:
                digest = job.step("store", _store, site, job, Path(made["path"]))
        else:
            digest = source_digest = job.step("store", _store_if_changed, site, job)
            changed = digest != job.params["source_digest"]
        version = job.step("register", _reload, site, job, digest, source_digest, changed)
    return {"changed": changed, "version": version}


def extract_from_image(site: Site, job: Job) -> dict[str, Any]:
    """Take one index of the current version out into a new file, to which the image then points.

    Params: `package_id`, `index`, `target`, `shown_target`.
    """
    found = job.step("extract", _extract_current, site, job)
    digest = job.step("store", _store, site, job, Path(found["path"]))
    version = job.step("register", _point_to, site, job, digest, found)
    return {"path": found["path"], "version": version}


def export_image(site: Site, job: Job) -> dict[str, Any]:
    """Write a version to a path. Params: `package_id`, `version`, `digest`, `path`, `overwrite`."""
    result = job.step("copy", _copy_out, site, job)
    job.step("note", _note_export, site, job)
    return result


def _extract(job: Job, source: Path, params: Any) -> str:
    job.progress(Event("extract"))
    conversion = params.get("conversion", "")
    target = Path(params["target"])
    wanted = Extraction.of(source, params["index"], target, job.id, conversion)
    return extract_index(wanted, job.progress, telling(job, source, conversion))


def _extract_current(site: Site, job: Job) -> dict[str, Any]:
    with site.database.read() as session:
        version = service.version_of(session, _image(session, job))
    source = site.store.path(version.digest)
    return {"path": _extract(job, source, job.params), "base_version": version.number}


def _convert(site: Site, job: Job) -> dict[str, str]:
    """Make an ordinary WIM of the source, unless it is the one that is known; no path then."""
    source, known = Path(job.params["local_path"]), job.params.get("source_digest", "")
    job.progress(Event("read"))
    if known and hash_file(source, job.progress, "compare").digest == known:
        return {"path": "", "source_digest": known}
    folder = _work(site, job)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "converted.wim"
    digest = convert(job, source, target, job.params["conversion"])
    return {"path": os.fspath(target), "source_digest": digest}


@contextmanager
def _converting(site: Site, job: Job) -> Iterator[None]:
    """Remove what was converted when the job has ended, but not when it will go on later."""
    try:
        yield
    except Interrupted:
        raise
    except WimsmithError:
        shutil.rmtree(_work(site, job), ignore_errors=True)
        raise
    shutil.rmtree(_work(site, job), ignore_errors=True)


def _work(site: Site, job: Job) -> Path:
    with site.database.read() as session:
        drive = settings.get(session, settings.SERVICING_DRIVE)
    return resolve_drive(drive, site.config.state_dir).folder / f"convert-{job.id}"


def _store(site: Site, job: Job, source: Path) -> str:
    check_whole(source, job.progress)
    blob = site.store.put(source, progress=job.progress)
    if job.params.get("target"):
        target = Path(job.params["target"])
        forget_part(Extraction.of(source, job.params["index"], target, job.id))
    log.info("Opened %s: %d bytes, SHA-256 %s", source, blob.size_bytes, blob.digest)
    return blob.digest


def _store_if_changed(site: Site, job: Job) -> str:
    source = Path(job.params["local_path"])
    measured = hash_file(source, job.progress, "compare")
    if measured.digest == job.params["source_digest"]:
        return measured.digest
    return _store(site, job, source)


def _register(
    site: Site, job: Job, digest: str, source_digest: str, origin: Origin, text: str
) -> str:
    facts = read_file(site.store.path(digest), job.progress)
    params = dict(job.params)
    if origin is Origin.INDEX_EXTRACT:
        params["source_path"] = params["shown_target"]
    new = NewVersion(
        digest=digest,
        facts=facts,
        origin=origin,
        actor=job.actor,
        job_id=job.id,
        text=text,
        parent_index=job.params["index"],
        source_digest=source_digest,
    )
    with site.database.write() as session:
        image = service.register(session, site.store, params, new)
        package_id = image.package_id
    with logs.context(image=package_id):
        for index in facts.indexes:
            log.info("Index %d: %s, %s", index.number, index.name, index.os_version)
        log.info("Image %s has package id %s", params["name"], package_id)
    return package_id


def _reload(site: Site, job: Job, digest: str, source_digest: str, changed: bool) -> int:
    if not changed:
        return _refresh(site, job)
    facts = read_file(site.store.path(digest), job.progress)
    with site.database.write() as session:
        image = _image(session, job)
        new = NewVersion(
            digest=digest,
            facts=facts,
            origin=Origin.RELOAD,
            actor=job.actor,
            job_id=job.id,
            text=f"Reloaded {job.params['source_path']}",
            parent_image=image.package_id,
            parent_version=image.current_version,
        )
        version = service.publish(session, site.store, image, new, image.current_version)
        _follow_source(image, job.params["source_path"], source_digest)
        log.info("%s is reloaded as version %d", image.package_id, version.number)
        return version.number


def _refresh(site: Site, job: Job) -> int:
    """Note that the source is as it was; read again what an earlier program did not keep."""
    with site.database.read() as session:
        version = service.version_of(session, _image(session, job))
        lacking = service.lacks_snapshots(session, version)
    facts = read_file(site.store.path(version.digest), job.progress) if lacking else None
    with site.database.write() as session:
        image = _image(session, job)
        image.refreshed_at = now()
        if facts is not None and image.current_version == version.number:
            service.add_snapshots(session, service.version_of(session, image), facts)
        return image.current_version


def _point_to(site: Site, job: Job, digest: str, found: Mapping[str, Any]) -> int:
    facts = read_file(site.store.path(digest), job.progress)
    with site.database.write() as session:
        image = _image(session, job)
        new = NewVersion(
            digest=digest,
            facts=facts,
            origin=Origin.INDEX_EXTRACT,
            actor=job.actor,
            job_id=job.id,
            text=f"Extracted index {job.params['index']} into {found['path']}",
            parent_image=image.package_id,
            parent_version=found["base_version"],
            parent_index=job.params["index"],
        )
        version = service.publish(session, site.store, image, new, found["base_version"])
        _follow_source(image, job.params["shown_target"], digest)
        return version.number


def _follow_source(image: Image, source_path: str, digest: str) -> None:
    if image.source_digest != digest:
        image.source_path, image.source_digest = source_path, digest
        image.source_version += 1
        image.revision += 1


def _copy_out(site: Site, job: Job) -> dict[str, Any]:
    target, digest = Path(job.params["path"]), job.params["digest"]
    job.progress(Event("export"))
    if not target.exists() or (job.params["overwrite"] and hash_file(target).digest != digest):
        _copy_to(site.store.path(digest), target, job)
    elif hash_file(target).digest != digest:  # with our content we were here before a crash
        raise AlreadyExists(target, hint="Choose another path, or ask to overwrite.")
    return {"path": os.fspath(target), "sha256": digest, "size_bytes": target.stat().st_size}


def _copy_to(source: Path, target: Path, job: Job) -> None:
    part = target.with_name(f".{target.name}.{job.id}.part")
    part.unlink(missing_ok=True)
    try:
        copy_file(source, part, job.progress, "export")
        publish(part, target, overwrite=job.params["overwrite"])
    except FileExistsError as error:
        raise AlreadyExists(target) from error
    finally:
        part.unlink(missing_ok=True)


def _note_export(site: Site, job: Job) -> None:
    job.progress(Event("note"))
    with site.database.write() as session:
        image = _image(session, job)
        version = service.version_of(session, image, job.params["version"])
        event = ImageEvent(
            kind=Origin.EXPORT,
            text=f"Exported version {version.number} to {job.params['path']}",
            actor=job.actor,
            job_id=job.id,
        )
        service.note_event(session, image, version, event)
    log.info("Version %d of %s is in %s", version.number, image.package_id, job.params["path"])


def _image(session: Session, job: Job) -> Image:
    found = session.scalars(
        select(Image).where(Image.package_id == job.params["package_id"])
    ).one_or_none()
    if found is None:
        raise NotFound(f"image {job.params['package_id']}")
    return found
