"""What every blob store must do; an adapter passes by subclassing with a `store` fixture."""

import hashlib
from pathlib import Path

import pytest

from wimsmith.errors import Cancelled, InvalidInput, NotFound, PathUnreachable
from wimsmith.offline.progress import Event
from wimsmith.storage.store import BlobStore

CONTENT = b"content of an image " * 100_000


def write(folder: Path, data: bytes = CONTENT, name: str = "source.wim") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def read(store: BlobStore, digest: str) -> bytes:
    with store.open(digest) as file:
        return file.read()


class BlobStoreSuite:
    """The conformance suite."""

    def test_content_comes_back_by_its_hash(self, store: BlobStore, tmp_path: Path) -> None:
        blob = store.put(write(tmp_path))

        assert blob.digest == hashlib.sha256(CONTENT).hexdigest()
        assert blob.size_bytes == len(CONTENT)
        assert store.stat(blob.digest) == blob
        with store.open(blob.digest) as file:
            assert file.read() == CONTENT

    def test_reading_starts_where_asked(self, store: BlobStore, tmp_path: Path) -> None:
        blob = store.put(write(tmp_path))

        with store.open(blob.digest, offset=1_999_990) as file:
            assert file.read() == CONTENT[1_999_990:]

    def test_the_same_content_is_kept_once(self, store: BlobStore, tmp_path: Path) -> None:
        store.put(write(tmp_path))
        store.put(write(tmp_path, name="again.wim"))

        assert len(list(store.list())) == 1

    def test_empty_content_is_content(self, store: BlobStore, tmp_path: Path) -> None:
        blob = store.put(write(tmp_path, b""))

        assert blob.size_bytes == 0
        assert read(store, blob.digest) == b""

    def test_the_source_stays(self, store: BlobStore, tmp_path: Path) -> None:
        source = write(tmp_path)
        before = source.stat()

        store.put(source)

        assert source.read_bytes() == CONTENT
        assert (source.stat().st_mtime_ns, source.stat().st_mode) == (
            before.st_mtime_ns,
            before.st_mode,
        )

    def test_a_later_change_of_the_source_changes_nothing(
        self, store: BlobStore, tmp_path: Path
    ) -> None:
        source = write(tmp_path)
        blob = store.put(source)

        source.write_bytes(b"another")

        assert read(store, blob.digest) == CONTENT

    def test_taken_content_is_gone_from_where_it_was(
        self, store: BlobStore, tmp_path: Path
    ) -> None:
        source = write(tmp_path)

        blob = store.put(source, take=True)

        assert not source.exists()
        assert read(store, blob.digest) == CONTENT

    def test_taking_what_is_there_already_is_fine(self, store: BlobStore, tmp_path: Path) -> None:
        first = store.put(write(tmp_path))
        source = write(tmp_path, name="again.wim")

        assert store.put(source, take=True).digest == first.digest
        assert not source.exists()

    def test_deleted_content_is_not_found(self, store: BlobStore, tmp_path: Path) -> None:
        blob = store.put(write(tmp_path))

        store.delete(blob.digest)
        store.delete(blob.digest)

        assert list(store.list()) == []
        with pytest.raises(NotFound):
            store.stat(blob.digest)
        with pytest.raises(NotFound):
            store.open(blob.digest)

    def test_listing_is_in_the_order_of_the_digests(self, store: BlobStore, tmp_path: Path) -> None:
        for number in range(10):
            store.put(write(tmp_path, str(number).encode()))

        digests = [blob.digest for blob in store.list()]

        assert digests == sorted(digests)
        assert len(digests) == 10

    @pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "g" * 64, "a" * 63])
    def test_what_is_no_digest_is_refused(self, store: BlobStore, digest: str) -> None:
        with pytest.raises(InvalidInput):
            store.open(digest)
        with pytest.raises(InvalidInput):
            store.delete(digest)

    def test_a_missing_source_is_refused(self, store: BlobStore, tmp_path: Path) -> None:
        with pytest.raises(PathUnreachable, match=r"gone\.wim"):
            store.put(tmp_path / "gone.wim")

    def test_progress_counts_the_bytes(self, store: BlobStore, tmp_path: Path) -> None:
        events: list[Event] = []

        store.put(write(tmp_path), progress=events.append)

        assert (events[-1].phase, events[-1].unit) == ("store", "bytes")
        assert events[-1].done == events[-1].total == len(CONTENT)

    def test_a_cancelled_put_leaves_nothing(self, store: BlobStore, tmp_path: Path) -> None:
        def cancel(_event: Event) -> None:
            raise Cancelled("by a test")

        source = write(tmp_path)
        for take in (False, True):
            with pytest.raises(Cancelled):
                store.put(source, take=take, progress=cancel)

        assert list(store.list()) == []
        assert source.read_bytes() == CONTENT
