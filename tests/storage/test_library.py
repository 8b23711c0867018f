"""The library: content stays as long as anything needs it, and no longer."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from storage.suite import write
from wimsmith.db import migrate
from wimsmith.db.engine import Database
from wimsmith.errors import DamagedContent
from wimsmith.storage import library
from wimsmith.storage.folder import FolderStore
from wimsmith.updates.models import Update, UpdateState


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "content")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path / 'site.sqlite'}")
    migrate.upgrade(found)
    yield found
    found.close()


@pytest.fixture
def digest(database: Database, store: FolderStore, tmp_path: Path) -> str:
    """Adopted content that nothing refers to."""
    blob = store.put(write(tmp_path))
    with database.write() as session:
        library.adopt(session, store, blob.digest)
    return blob.digest


def _refer(session: Session, digest: str) -> Update:
    row = Update(
        file_digest=digest,
        digest=digest,
        state=UpdateState.READY,
        file_name="x.cab",
        size_bytes=1,
        source_path="/x.cab",
        actor="alice",
    )
    session.add(row)
    session.flush()
    return row


def test_content_that_nothing_needs_is_swept(
    database: Database, store: FolderStore, digest: str
) -> None:
    assert library.sweep(database, store) == [digest]
    assert list(store.list()) == []


def test_content_that_a_row_refers_to_stays(
    database: Database, store: FolderStore, digest: str
) -> None:
    with database.write() as session:
        row_id = _refer(session, digest).id

    assert library.sweep(database, store) == []
    assert store.stat(digest).digest == digest

    with database.write() as session:
        session.delete(session.get_one(Update, row_id))
    assert library.sweep(database, store) == [digest]


def test_leased_content_stays_until_it_is_released(
    database: Database, store: FolderStore, digest: str
) -> None:
    with database.write() as session:
        library.lease(session, digest, "job-1")
        library.lease(session, digest, "job-1")
    assert library.sweep(database, store) == []

    with database.write() as session:
        library.release(session, "job-1")
    assert library.sweep(database, store) == [digest]


def test_bytes_on_their_way_in_are_not_swept(
    database: Database, store: FolderStore, tmp_path: Path
) -> None:
    blob = store.put(write(tmp_path, b"fresh"))

    assert library.sweep(database, store) == []

    old = time.time() - library.ORPHAN_AGE.total_seconds() - 60
    os.utime(store.path(blob.digest), (old, old))
    assert library.sweep(database, store) == [blob.digest]


def test_content_that_was_swept_meanwhile_cannot_be_adopted(
    database: Database, store: FolderStore, digest: str
) -> None:
    store.delete(digest)

    with pytest.raises(DamagedContent), database.write() as session:
        library.adopt(session, store, digest)
