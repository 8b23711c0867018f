"""The content library: the blob store together with the rows that say what is needed.

The order of work makes every crash harmless. In: first the bytes, then the row. Out: the bytes go
while the row is deleted and not yet committed, so that nobody adopts them in between; a crash there
leaves a row that nothing refers to, which the next sweep removes. Bytes without a row are swept
once they are old enough not to be on their way.
"""

import logging
from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from wimsmith.db.base import now
from wimsmith.db.engine import Database
from wimsmith.errors import DamagedContent, NotFound
from wimsmith.storage.models import BlobLease, StoredBlob
from wimsmith.storage.store import LocalBlobStore

log = logging.getLogger("wimsmith.storage")

ORPHAN_AGE = timedelta(hours=24)
"""How long bytes without a row are left alone: longer than any import should take."""


def adopt(session: Session, store: LocalBlobStore, digest: str) -> StoredBlob:
    """The row of a blob that has just been put, locked against the sweep until the commit.

    Raises:
        DamagedContent: a sweep was faster; put the content again.
    """
    touched = session.execute(
        update(StoredBlob).where(StoredBlob.digest == digest).values(adopted_at=now())
    )
    try:
        found = store.stat(digest)
    except NotFound as error:
        raise DamagedContent(f"content {digest} is gone") from error
    if not touched.rowcount:  # type: ignore[attr-defined]  # an UPDATE gives a CursorResult
        session.add(StoredBlob(digest=digest, size_bytes=found.size_bytes))
        session.flush()
    return session.get_one(StoredBlob, digest)


def lease(session: Session, digest: str, holder: str) -> None:
    """Keep a blob while `holder` reads it; asking again changes nothing."""
    if session.get(BlobLease, (digest, holder)) is None:
        session.add(BlobLease(digest=digest, holder=holder))
        session.flush()


def release(session: Session, holder: str) -> None:
    """End every lease of `holder`."""
    session.execute(delete(BlobLease).where(BlobLease.holder == holder))


def forget(database: Database, store: LocalBlobStore, digests: Iterable[str]) -> list[str]:
    """Delete those of some blobs that no row needs any more; returns their digests.

    Foreign keys decide: the row of a blob that anything refers to cannot be deleted.
    """
    return [digest for digest in sorted(set(digests)) if _forget(database, store, digest)]


def sweep(database: Database, store: LocalBlobStore) -> list[str]:
    """Delete all content that no row needs any more; returns the digests."""
    with database.read() as session:
        known = set(session.scalars(select(StoredBlob.digest)))
    swept = forget(database, store, known)
    oldest = now() - ORPHAN_AGE
    orphans = [
        blob.digest for blob in store.list() if blob.digest not in known and blob.stored_at < oldest
    ]
    for digest in orphans:
        store.delete(digest)
    if swept or orphans:
        log.info("Removed %d blobs that nothing refers to", len(swept) + len(orphans))
    return swept + orphans


def _forget(database: Database, store: LocalBlobStore, digest: str) -> bool:
    try:
        with database.write() as session:
            session.execute(delete(StoredBlob).where(StoredBlob.digest == digest))
            session.flush()
            store.delete(digest)
    except IntegrityError:
        return False
    return True
