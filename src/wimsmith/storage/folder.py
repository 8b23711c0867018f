"""Content library in a plain folder.

blobs/ab/abcd...        one file for each blob, read-only, named by its SHA-256
incoming/               files on their way in; emptied when the site starts
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from wimsmith.errors import NotFound
from wimsmith.offline.durable import fsync_folder
from wimsmith.offline.progress import Progress, silent
from wimsmith.storage.files import Measured, copy_file, hash_file
from wimsmith.storage.store import Blob, check_digest


class FolderStore:
    """A `LocalBlobStore` below one folder."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._incoming = folder / "incoming"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._incoming.mkdir(exist_ok=True)

    @property
    def folder(self) -> Path:
        return self._blobs.parent

    def put(self, source: Path, *, take: bool = False, progress: Progress = silent) -> Blob:
        part = self._incoming / f"{uuid.uuid4().hex}.part"
        try:
            measured = self._bring(source, part, take=take, progress=progress)
            self._publish(part, measured)
        finally:
            part.unlink(missing_ok=True)
        if take:
            source.unlink(missing_ok=True)
        return self.stat(measured.digest)

    def open(self, digest: str, offset: int = 0) -> BinaryIO:
        file = self.path(digest).open("rb")
        file.seek(offset)
        return file

    def stat(self, digest: str) -> Blob:
        found = self.path(digest).stat()
        return Blob(digest, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def delete(self, digest: str) -> None:
        self._place(digest).unlink(missing_ok=True)

    def list(self) -> Iterator[Blob]:
        for path in sorted(self._blobs.glob("??/*")):
            with contextlib.suppress(NotFound):
                yield self.stat(path.name)

    def path(self, digest: str) -> Path:
        path = self._place(digest)
        if not path.is_file():
            raise NotFound(f"content {digest}")
        return path

    def sweep_incoming(self) -> int:
        """Remove what interrupted `put`s left; returns how many files. Only before work begins."""
        left = list(self._incoming.iterdir())
        for path in left:
            path.unlink()
        return len(left)

    def _bring(self, source: Path, part: Path, *, take: bool, progress: Progress) -> Measured:
        if take:
            with contextlib.suppress(OSError):
                os.link(source, part)
                measured = hash_file(part, progress, "store")
                _sync(part)
                return measured
            part.unlink(missing_ok=True)
        return copy_file(source, part, progress, "store")

    def _publish(self, part: Path, measured: Measured) -> None:
        target = self._place(measured.digest)
        if target.is_file() and target.stat().st_size == measured.size_bytes:
            os.utime(target)  # younger than any sweep that is about to look for forgotten files
            return
        target.parent.mkdir(exist_ok=True)
        part.chmod(0o444)
        part.rename(target)
        fsync_folder(target.parent)
        fsync_folder(self._blobs)

    def _place(self, digest: str) -> Path:
        return self._blobs / check_digest(digest)[:2] / digest


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
