"""What the site needs of a place that keeps content; every adapter passes one test suite."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from wimsmith.errors import InvalidInput
from wimsmith.offline.progress import Progress, silent

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Blob:
    """Content by its SHA-256 in lower-case hexadecimal."""

    digest: str
    size_bytes: int
    stored_at: datetime


class BlobStore(Protocol):
    """Keeps content by hash. What is there is whole: a blob appears at once or not at all."""

    def put(self, source: Path, *, take: bool = False, progress: Progress = silent) -> Blob:
        """Keep the content of the file `source`.

        Args:
            source: A regular file. It is read once and never written.
            take: The file may be moved instead of copied; afterwards it is gone.
            progress: Called with phase `store`, in bytes.

        Raises:
            PathUnreachable: the file cannot be read.
            NotEnoughSpace: the store is full.
        """
        ...

    def open(self, digest: str, offset: int = 0) -> BinaryIO:
        """Read the content from byte `offset`. Raises NotFound."""
        ...

    def stat(self, digest: str) -> Blob:
        """Size and age. Raises NotFound."""
        ...

    def delete(self, digest: str) -> None:
        """Forget the content; no error if it is not there."""
        ...

    def list(self) -> Iterator[Blob]:
        """Every blob, in the order of the digests."""
        ...


class LocalBlobStore(BlobStore, Protocol):
    """A store whose content can be read in place by programs that need a file."""

    def path(self, digest: str) -> Path:
        """The file that holds the content, for reading only. Raises NotFound."""
        ...


def check_digest(digest: str) -> str:
    """Return `digest` if it is one: it becomes part of a path.

    Raises:
        InvalidInput: it is not 64 lower-case hexadecimal digits.
    """
    if not _DIGEST.fullmatch(digest):
        raise InvalidInput(f"not a SHA-256: {digest[:80]!r}")
    return digest
