"""Verbs of a worker process that opens WIM files itself: proving and unpacking content.

Content never crosses a pipe: a worker gets a slice of the blob table, and answers what is wrong.
"""

import hashlib
from contextlib import ExitStack
from pathlib import Path

from wimsmith.errors import DamagedInput, LimitExceeded, NotSupported
from wimsmith.offline import _libsandbox
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.wim.format.opened import WimFile
from wimsmith.offline.wim.format.resource import read_exactly
from wimsmith.offline.wim.workers import _frames
from wimsmith.offline.wim.workers._content import ContentReader
from wimsmith.offline.wim.workers._libwim import LibwimCodec
from wimsmith.offline.wim.workers._making import Maker
from wimsmith.offline.wim.workers.slices import unpack_blobs

_BLOCK_BYTES = 1 << 20

Answer = tuple[_frames.Header, bytes]


class Reading:
    """What one worker has open."""

    def __init__(self, codec: LibwimCodec) -> None:
        self._codec = codec
        self._opened = ExitStack()
        self._files: list[WimFile] = []
        self._reader = ContentReader(self._files, codec)
        self._maker: Maker | None = None
        self.verbs = {
            "open": self.open,
            "prove": self.prove,
            "hash": self.hash,
            "enter": self.enter,
            "unpack": self.unpack,
            "make": self.make,
        }

    def open(self, header: _frames.Header, _payload: memoryview, _tell: Progress) -> Answer:
        """Open `files`, in the order in which blobs number them; then, if asked, give up root."""
        for path in header["files"]:
            file = WimFile(Path(path), self._codec)
            self._files.append(self._opened.enter_context(file))
        if header["drop_root"]:
            _libsandbox.drop_root()
        return {}, b""

    def prove(self, header: _frames.Header, payload: memoryview, tell: Progress) -> Answer:
        """Unpack contents and compare them with their SHA-1s; answer which are something else."""
        blobs = unpack_blobs(header["solid"], payload)
        damaged = []
        done = Done(tell)
        for blob, blocks in self._reader.contents(blobs):
            before = done.bytes
            try:
                for block in blocks:
                    done.add(len(block))
            except (DamagedInput, LimitExceeded, NotSupported) as error:
                damaged.append((blob.sha1.hex(), str(error.args[-1])))
                done.add(before + blob.size_bytes - done.bytes)
        return {"damaged": damaged}, b""

    def hash(self, header: _frames.Header, _payload: memoryview, tell: Progress) -> Answer:
        """SHA-1 of each `chunk_bytes` of a part of file `file`, as its integrity table has them."""
        descriptor = self._files[header["file"]].descriptor
        start, end, chunk_bytes = header["start"], header["end"], header["chunk_bytes"]
        hashes = []
        done = Done(tell)
        for offset in range(start, end, chunk_bytes):
            digest = hashlib.sha1(usedforsecurity=False)
            stop = min(offset + chunk_bytes, end)
            for place in range(offset, stop, _BLOCK_BYTES):
                count = min(_BLOCK_BYTES, stop - place)
                digest.update(read_exactly(descriptor, place, count, "the WIM"))
                done.add(count)
            hashes.append(digest.digest())
        return {}, b"".join(hashes)

    def enter(self, header: _frames.Header, _payload: memoryview, _tell: Progress) -> Answer:
        """Make everything that follows below the folder `root`."""
        self._maker = Maker(header["root"])
        return {}, b""

    def unpack(self, header: _frames.Header, payload: memoryview, tell: Progress) -> Answer:
        """Write contents, each to one or more new files: `rows` has a list for each content."""
        assert self._maker is not None
        blobs = unpack_blobs(header["solid"], payload)
        done = Done(tell)
        contents = self._reader.contents(blobs)
        for rows, (blob, blocks) in zip(header["rows"], contents, strict=True):
            with self._maker.file(rows, blob.size_bytes) as writing:
                for block in blocks:
                    writing.write(block)
                    done.add(len(block))
        return {}, b""

    def make(self, header: _frames.Header, _payload: memoryview, _tell: Progress) -> Answer:
        """Make things of one kind (see `Maker`)."""
        assert self._maker is not None
        kind, rows = header["what"], header["rows"]
        if kind == "tame":
            return {"out": self._maker.tame(rows)}, b""
        if kind == "empty":
            for row in rows:
                with self._maker.file([row], 0):
                    pass
        elif kind == "sync":
            self._maker.sync()
        else:
            {
                "folders": self._maker.folders,
                "links": self._maker.links,
                "symbolic_links": self._maker.symbolic_links,
                "times": self._maker.times,
            }[kind](rows)
        return {}, b""


class Done:
    """Bytes of one request that are done, told as they grow."""

    def __init__(self, tell: Progress) -> None:
        self.bytes = 0
        self._tell = tell

    def add(self, count: int) -> None:
        """Count some more."""
        self.bytes += count
        self._tell(Event("", self.bytes, 0, "bytes"))
