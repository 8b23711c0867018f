"""Reading contents from open files: each proved by its SHA-1, small ones unpacked together."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby

from wimsmith.errors import DamagedWim
from wimsmith.offline.wim.format.blobs import Blob, SolidResource
from wimsmith.offline.wim.format.opened import WimFile, naming
from wimsmith.offline.wim.format.resource import BATCH_BYTES


class Contents:
    """The contents of some open files."""

    def __init__(self, files: Sequence[WimFile]) -> None:
        self._files = files

    def blocks(self, blob: Blob) -> Iterator[bytes]:
        """Content in blocks; after the last one it has been checked.

        Raises:
            DamagedWim: what is stored is something else.
            NotSupported: it is packed and there is no codec.
        """
        digest = hashlib.sha1(usedforsecurity=False)
        with naming(self._files[blob.file].path):
            for block in self._raw_blocks(blob):
                digest.update(block)
                yield block
            if digest.digest() != blob.sha1:
                raise DamagedWim(f"{label(blob)} holds other content")

    def in_order(self, blobs: Iterable[Blob]) -> Iterator[tuple[bytes, Iterator[bytes]]]:
        """Contents with their blocks; the blobs are given in the order they are stored.

        Small ones are read ahead, a few megabytes at once. Raises as `blocks`.
        """
        small: list[Blob] = []
        small_bytes = 0
        for blob in blobs:
            is_small = blob.size_bytes < BATCH_BYTES
            if is_small:
                small.append(blob)
                small_bytes += blob.size_bytes
            if small_bytes >= BATCH_BYTES or not is_small:
                yield from self._batch(small)
                small, small_bytes = [], 0
            if not is_small:
                yield blob.sha1, self.blocks(blob)
        yield from self._batch(small)

    def read_small(self, blobs: Sequence[Blob]) -> dict[bytes, bytes]:
        """Small contents unpacked together and not checked; what is damaged may be left out."""
        found: dict[bytes, bytes] = {}
        for (number, is_solid), group in groupby(blobs, lambda one: (one.file, one.is_solid)):
            mine, file = list(group), self._files[number]
            # Read alone, the damaged one says its name.
            with naming(file.path), suppress(DamagedWim):
                if is_solid:
                    file.solid.prepare(_chunks(mine), "one of several contents")
                    found |= {one.sha1: b"".join(self._raw_blocks(one)) for one in mine}
                else:
                    pieces = file.resources.read_many([one.location for one in mine])
                    found |= zip((one.sha1 for one in mine), pieces, strict=True)
        return found

    def _batch(self, blobs: Sequence[Blob]) -> Iterator[tuple[bytes, Iterator[bytes]]]:
        found = self.read_small(blobs)
        for blob in blobs:
            data = found.pop(blob.sha1, b"")
            is_right = sha1_of(data) == blob.sha1
            yield blob.sha1, iter([data]) if is_right else self.blocks(blob)

    def _raw_blocks(self, blob: Blob) -> Iterator[bytes]:
        file, place = self._files[blob.file], blob.location
        if blob.solid is None:
            return file.resources.blocks(place, label(blob))
        return file.solid.blocks(blob.solid, place.offset, blob.size_bytes, label(blob))


def label(blob: Blob) -> str:
    """How messages call a blob."""
    return f"blob {blob.sha1.hex()}"


def sha1_of(data: bytes) -> bytes:
    """The SHA-1 of data, 20 bytes."""
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _chunks(blobs: Iterable[Blob]) -> Iterator[tuple[SolidResource, range]]:
    """The chunks of solid resources that hold these blobs."""
    for blob in blobs:
        if blob.solid is not None:
            yield blob.solid, blob.solid.chunks_of(blob.location.offset, blob.size_bytes)
