"""Durable job of updates: import from a folder or a file."""

import logging
import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sqlalchemy import select

from wimsmith.errors import (
    DamagedInput,
    Interrupted,
    LimitExceeded,
    PathUnreachable,
    Untrusted,
    WimsmithError,
)
from wimsmith.jobs.port import Job, JobKind, Step
from wimsmith.offline.packages.facts import inspect_all
from wimsmith.offline.progress import Event
from wimsmith.offline.verdicts import Verdict
from wimsmith.site import settings
from wimsmith.site.context import Site
from wimsmith.site.drive import resolve_drive
from wimsmith.storage import library
from wimsmith.storage.files import hash_file
from wimsmith.updates.descriptions import is_described, keep_description, packed_description
from wimsmith.updates.facts import describe, refusal
from wimsmith.updates.models import Update, UpdateState
from wimsmith.updates.service import IMPORT

log = logging.getLogger("wimsmith.updates.content")

SUFFIXES = frozenset([".cab", ".msu"])

STEPS: Mapping[str, tuple[Step, ...]] = MappingProxyType(
    {
        IMPORT: (Step("scan"), Step("import"), Step("cleanup", cancellable=False)),
    }
)


def kinds(site: Site) -> tuple[JobKind, ...]:
    """The kinds of jobs of this noun, bound to a site."""
    return (JobKind(IMPORT, STEPS[IMPORT], partial(import_updates, site)),)


def import_updates(site: Site, job: Job) -> dict[str, Any]:
    """Bring update packages into the library. Params: `local_path`, `source_path` (as given)."""
    try:
        files = job.step("scan", _scan, job)
        rows = [
            job.step(f"import/{place}", _import, site, job, Path(path), f"{place}/{len(files)}")
            for place, path in enumerate(files, 1)
        ]
    except Interrupted:
        raise
    except WimsmithError:
        shutil.rmtree(_work(site, job), ignore_errors=True)
        raise
    job.step("cleanup", _clean_up, site, job)
    return {
        "imported": [row["id"] for row in rows if row["outcome"] == "imported"],
        "known": [row["id"] for row in rows if row["outcome"] == "known"],
        "refused": [
            {"id": row["id"], "file": row["file"], "code": row["code"], "text": row["text"]}
            for row in rows
            if row["outcome"] == "refused"
        ],
    }


def _scan(job: Job) -> list[str]:
    source = Path(job.params["local_path"])
    job.progress(Event("scan"))
    if source.is_file():
        return [os.fspath(source)]
    files = [
        os.fspath(path)
        for path in sorted(source.iterdir())
        if path.suffix.lower() in SUFFIXES and path.is_file()
    ]
    if not files:
        raise PathUnreachable(f"{source}: no .cab or .msu file there")
    return files


def _import(site: Site, job: Job, path: Path, place: str) -> dict[str, Any]:
    job.progress(Event(f"import {place}"))
    measured = hash_file(path, job.progress, f"read {path.name}")
    with site.database.read() as session:
        known = session.scalars(
            select(Update).where(Update.file_digest == measured.digest)
        ).one_or_none()
        described = known is not None and is_described(session, known.id)
    if known is not None and known.state is UpdateState.READY and described:
        return {"id": known.id, "outcome": "known", "file": path.name}
    values = {
        "file_digest": measured.digest,
        "file_name": path.name,
        "size_bytes": measured.size_bytes,
        "source_path": os.fspath(path),
        "actor": job.actor,
    }
    found, description = _inspect(path, _work(site, job) / place.partition("/")[0], job)
    values |= found
    if values["state"] is UpdateState.READY:
        values["digest"] = site.store.put(path, progress=job.progress).digest
        if values["digest"] != measured.digest:
            raise PathUnreachable(f"{path}: it changed while it was read")
    return _keep(site, values, description, known.id if known else None)


def _inspect(path: Path, work: Path, job: Job) -> tuple[dict[str, Any], bytes]:
    """Values of the columns of the update, and its packed description."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        facts, packages = inspect_all(path, work, progress=job.progress)
        return describe(facts), packed_description(facts, packages)
    except (DamagedInput, LimitExceeded) as error:
        return refusal(Verdict.FAILED, f"damaged:{error.code}", str(error)), b""
    except Untrusted as error:
        return refusal(Verdict.FAILED, error.reason, str(error)), b""
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _keep(
    site: Site, values: dict[str, Any], description: bytes, known_id: int | None
) -> dict[str, Any]:
    with site.database.write() as session:
        if values.get("digest"):
            library.adopt(session, site.store, values["digest"])
        row = session.get_one(Update, known_id) if known_id is not None else Update()
        for name, value in values.items():
            setattr(row, name, value)
        session.add(row)
        session.flush()
        keep_description(session, row.id, description)
    answer = {"id": row.id, "outcome": "imported", "file": row.file_name}
    if row.state is UpdateState.READY:
        log.info("Imported %s as update %d: %s", row.file_name, row.id, row.identity)
        return answer
    log.warning("Refused %s: %s (%s)", row.file_name, row.reason_text, row.reason_code)
    refused = {"outcome": "refused", "code": row.reason_code, "text": row.reason_text}
    return answer | refused


def _clean_up(site: Site, job: Job) -> None:
    job.progress(Event("clean up"))
    shutil.rmtree(_work(site, job), ignore_errors=True)


def _work(site: Site, job: Job) -> Path:
    with site.database.read() as session:
        drive = settings.get(session, settings.SERVICING_DRIVE)
    return resolve_drive(drive, site.config.state_dir).folder / f"import-{job.id}"
