"""The folder store: the conformance suite, and what only a folder can do wrong."""

import errno
import os
import stat
from pathlib import Path

import pytest

from storage.suite import CONTENT, BlobStoreSuite, write
from wimsmith.errors import NotEnoughSpace
from wimsmith.storage import files
from wimsmith.storage.folder import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "content")


class TestFolderStore(BlobStoreSuite):
    """Passes the suite."""


def test_nothing_is_left_in_incoming(store: FolderStore, tmp_path: Path) -> None:
    store.put(write(tmp_path))
    store.put(write(tmp_path), take=True)

    assert list((store.folder / "incoming").iterdir()) == []


def test_blobs_are_read_only_files_named_by_their_hash(store: FolderStore, tmp_path: Path) -> None:
    blob = store.put(write(tmp_path))

    path = store.path(blob.digest)

    assert path == store.folder / "blobs" / blob.digest[:2] / blob.digest
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_what_an_interrupted_put_left_is_swept(store: FolderStore) -> None:
    (store.folder / "incoming" / "dead.part").write_bytes(b"half")

    assert store.sweep_incoming() == 1
    assert list((store.folder / "incoming").iterdir()) == []


def test_a_truncated_blob_is_replaced(store: FolderStore, tmp_path: Path) -> None:
    blob = store.put(write(tmp_path))
    store.path(blob.digest).chmod(0o644)
    os.truncate(store.path(blob.digest), 10)

    store.put(write(tmp_path))

    assert store.path(blob.digest).read_bytes() == CONTENT


def test_a_full_disk_is_told_with_the_free_bytes(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated at the system call, for a full filesystem needs root."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(NotEnoughSpace, match=r"\d+ bytes are free"):
        store.put(write(tmp_path))

    assert list((store.folder / "incoming").iterdir()) == []


def test_publishing_does_not_overwrite_unless_asked(tmp_path: Path) -> None:
    target = write(tmp_path, b"old", "target")
    part = write(tmp_path, b"new", "part")

    with pytest.raises(FileExistsError):
        files.publish(part, target, overwrite=False)
    assert (target.read_bytes(), part.read_bytes()) == (b"old", b"new")

    files.publish(part, target, overwrite=True)
    assert target.read_bytes() == b"new"
    assert not part.exists()


def test_a_filesystem_without_hard_links_still_gets_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(_source: Path, _target: Path) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "link", no_links)
    part = write(tmp_path, b"new", "part")

    files.publish(part, tmp_path / "target", overwrite=False)

    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_copy_is_independent_whether_or_not_it_is_a_reflink(tmp_path: Path) -> None:
    source = write(tmp_path)
    measured = files.copy_file(source, tmp_path / "copy")
    source.write_bytes(b"changed")

    assert measured.size_bytes == len(CONTENT)
    assert (tmp_path / "copy").read_bytes() == CONTENT


def test_the_number_of_the_clone_request_is_that_of_linux() -> None:
    """_IOW(0x94, 9, int), linux/fs.h."""
    write, size_bytes, group, number = 1, 4, 0x94, 9

    assert write << 30 | size_bytes << 16 | group << 8 | number == files.FICLONE
