"""What the database knows about content: which blobs are meant to be there, and who reads them."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from wimsmith.db.base import Base, now


class StoredBlob(Base):
    """Content of the library. Rows that need it refer to it, so it cannot be swept."""

    __tablename__ = "blob"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    size_bytes: Mapped[int]
    adopted_at: Mapped[datetime] = mapped_column(default=now)


class BlobLease(Base):
    """A job reads this blob in place: it stays, even if its image is removed meanwhile."""

    __tablename__ = "blob_lease"

    digest: Mapped[str] = mapped_column(ForeignKey("blob.digest"), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64), primary_key=True)
    since: Mapped[datetime] = mapped_column(default=now)
