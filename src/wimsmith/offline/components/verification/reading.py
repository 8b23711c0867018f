"""Reading very many files of an image: each content once, in the order in which it is stored."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from wimsmith.errors import DamagedWim, LimitExceeded, NotFound, WimsmithError
from wimsmith.offline.image import ImageView
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.wim.format.tree import EMPTY_SHA1, ZERO_SHA1

_COPY_BYTES = 1 << 20
_HEAD_BYTES = 4
_NOTHING = frozenset([EMPTY_SHA1, ZERO_SHA1])

Broken = Callable[[str, WimsmithError], None]


@dataclass(frozen=True, slots=True)
class Digested:
    """A content that was read: its digests by algorithm, its size and its first bytes."""

    sha1: bytes
    digests: Mapping[str, bytes]
    size_bytes: int
    head: bytes


def read_files(
    view: ImageView, wanted: Iterable[str], limit_bytes: int, broken: Broken
) -> Iterator[tuple[str, bytes]]:
    """Path and content of those files that exist, in stored order.

    What is larger than `limit_bytes`, or cannot be read, is told to `broken` by its path; the rest
    is read all the same.
    """
    hashes: dict[str, bytes] = {}
    for path in wanted:
        entry = view.find(path)
        if entry is None or entry.is_directory:
            continue
        sha1 = entry.inode.sha1
        if not _is_there(view, sha1):
            broken(path, NotFound(f"content {sha1.hex()}"))
        elif (size_bytes := _size_bytes(view, sha1)) > limit_bytes:
            broken(path, LimitExceeded(f"{size_bytes} bytes"))
        else:
            hashes[path] = sha1
    left = sorted(hashes, key=lambda path: _order(view, hashes[path]))
    while left:
        done = 0
        try:
            for path, data in view.read_many(left):
                done += 1
                yield path, data
        except DamagedWim as error:
            broken(left[done], error)
        left = left[done + 1 :]


def read_digests(
    view: ImageView, wanted: Mapping[bytes, Iterable[str]], broken: Broken, progress: Progress
) -> Iterator[Digested]:
    """Digests of contents, each read once, in stored order.

    Args:
        view: The image.
        wanted: Names of the algorithms by SHA-1 of the content.
        broken: Told of what cannot be read, by its SHA-1 in hexadecimal.
        progress: Told of bytes read.
    """
    there = {sha1: list(names) for sha1, names in wanted.items() if _is_there(view, sha1)}
    for sha1 in wanted.keys() - there.keys():
        broken(sha1.hex(), NotFound(f"content {sha1.hex()}"))
    total, done = sum(_size_bytes(view, sha1) for sha1 in there), 0
    for sha1, blocks in _contents(view, there):
        hashes = {name: hashlib.new(name, usedforsecurity=False) for name in there[sha1]}
        head, size = b"", 0
        try:
            for block in blocks:
                head = head or bytes(block[:_HEAD_BYTES])
                for one in hashes.values():
                    one.update(block)
                size += len(block)
                progress(Event("check payload", done + size, total, "bytes"))
        except DamagedWim as error:
            broken(sha1.hex(), error)
        else:
            digests = {name: one.digest() for name, one in hashes.items()}
            yield Digested(sha1, digests, size, head)
        done += size


def _contents(
    view: ImageView, wanted: Mapping[bytes, object]
) -> Iterator[tuple[bytes, Iterator[bytes]]]:
    pending = view.pending_content
    yield from view.wim.open_blobs(sha1 for sha1 in wanted if sha1.hex() not in pending)
    for sha1 in wanted:
        if sha1.hex() in pending:
            with pending[sha1.hex()].path.open("rb") as file:
                yield sha1, iter(lambda file=file: file.read(_COPY_BYTES), b"")  # type: ignore[misc]


def _order(view: ImageView, sha1: bytes) -> tuple[bool, tuple[int, ...]]:
    """Sorts stored content as it is stored, and content of pending changes behind it."""
    blob = view.wim.blobs.get(sha1)
    if blob is None or sha1.hex() in view.pending_content:
        return True, ()
    return False, blob.storage_order


def _is_there(view: ImageView, sha1: bytes) -> bool:
    return sha1 in _NOTHING or sha1 in view.wim.blobs or sha1.hex() in view.pending_content


def _size_bytes(view: ImageView, sha1: bytes) -> int:
    pending = view.pending_content.get(sha1.hex())
    if pending is not None:
        return pending.size_bytes
    return 0 if sha1 in _NOTHING else view.wim.size_of(sha1)
