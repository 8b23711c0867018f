"""The codecs of this package: chunks are packed and unpacked in worker processes.

libwim is fed foreign bytes, so it lives in child processes with limits, without write access, that
can be killed at any time. Whatever ends one (a crash, the kernel's out-of-memory killer, an
administrator) becomes one `WorkerFailed`, and the next call has a new one.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from wimsmith.errors import WorkerFailed
from wimsmith.offline.wim.format.codec import Codec, Compression
from wimsmith.offline.wim.workers import _frames, budget
from wimsmith.offline.wim.workers.child import CODEC_LIMITS, HEARTBEAT_S, Beat, Worker
from wimsmith.offline.wim.workers.slices import balanced
from wimsmith.process import Limits

_T = TypeVar("_T")


class WorkerCodec:
    """One worker process behind the protocol `Codec`.

    The worker starts with the first call, serves all further ones, and after a failure the next
    call starts a new one. May be shared by threads; calls wait for each other. A context manager.

    Args:
        limits: resource limits of the worker.
        beat: called at least every 0.2 s by whoever waits inside a call; what it raises ends the
            worker at once, whatever it does, and is passed on.
    """

    workers = 1

    def __init__(self, limits: Limits | None = None, *, beat: Beat | None = None) -> None:
        self._limits = limits or CODEC_LIMITS
        self._beat = beat or _nothing
        self._worker: Worker | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the worker, or None while there is none."""
        return None if self._worker is None else self._worker.pid

    def decompress(
        self, compression: Compression, chunk_size: int, chunks: Sequence[tuple[bytes, int]]
    ) -> list[bytes]:
        """Unpack chunks, each given with its size in bytes after; see `Codec.decompress`.

        Raises:
            DamagedWim: a chunk does not unpack to its size.
            WorkerFailed: the worker crashed or was ended.
        """
        with self._turn():
            unpacked: list[bytes] = []
            for batch in _batches(chunks, _larger_side):
                unpacked += self._decompress(compression, chunk_size, batch)
            return unpacked

    def compress(
        self, compression: Compression, chunk_size: int, level: int, chunks: Sequence[bytes]
    ) -> list[bytes | None]:
        """Pack chunks; None for one that does not shrink; see `Codec.compress`.

        Raises:
            WorkerFailed: the worker crashed or was ended.
        """
        with self._turn():
            packed: list[bytes | None] = []
            for batch in _batches(chunks, len):
                packed += self._compress(compression, chunk_size, level, batch)
            return packed

    def close(self) -> None:
        """End the worker; a later call starts a new one."""
        with self._lock:
            if self._worker is not None:
                self._worker.close()
            self._worker = None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        while not self._lock.acquire(timeout=HEARTBEAT_S):
            self._beat()
        try:
            yield
        finally:
            self._lock.release()

    def _decompress(
        self, compression: Compression, chunk_size: int, batch: Sequence[tuple[bytes, int]]
    ) -> list[bytes]:
        header = {
            "do": "decompress",
            "compression": compression.value,
            "chunk_size": chunk_size,
            "sizes": [(len(data), size_after) for data, size_after in batch],
        }
        _header, payload = self._ask(header, [data for data, _ in batch])
        return _sliced(payload, [size_after for _, size_after in batch])

    def _compress(
        self, compression: Compression, chunk_size: int, level: int, batch: Sequence[bytes]
    ) -> list[bytes | None]:
        header = {
            "do": "compress",
            "compression": compression.value,
            "chunk_size": chunk_size,
            "level": level,
            "sizes": [len(data) for data in batch],
        }
        answer, payload = self._ask(header, batch)
        sizes = answer.get("sizes")
        if not isinstance(sizes, list) or len(sizes) != len(batch):
            raise WorkerFailed("an answer for another number of chunks")
        packed = iter(_sliced(payload, [size for size in sizes if size >= 0]))
        return [next(packed) if size >= 0 else None for size in sizes]

    def _ask(
        self, header: _frames.Header, payload: Sequence[bytes]
    ) -> tuple[_frames.Header, memoryview]:
        self._beat()  # also where no single answer takes long enough to wait for it
        if self._worker is None or self._worker.ended:
            self._worker = Worker(limits=self._limits, beat=self._beat, grace_s=0)
        return self._worker.ask(header, payload)


class CodecPool:
    """Several worker processes behind the protocol `Codec`; each call takes a free one.

    Workers start when they are needed. A failed one is one error of the call that it served, and
    is replaced. A context manager.

    Args:
        workers: how many; as many as there are cores if None. `budget.codec_workers` knows how
            many fit into memory.
        limits: resource limits of each.
        beat: as for `WorkerCodec`; called by each thread that waits inside a call.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        limits: Limits | None = None,
        beat: Beat | None = None,
    ) -> None:
        self.workers = budget.cores() if workers is None else max(1, workers)
        self._beat = beat or _nothing
        self._all = [WorkerCodec(limits, beat=beat) for _ in range(self.workers)]
        self._free: queue.LifoQueue[WorkerCodec] = queue.LifoQueue()  # those that run come first
        for codec in reversed(self._all):
            self._free.put(codec)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run."""
        return [codec.pid for codec in self._all if codec.pid is not None]

    def decompress(
        self, compression: Compression, chunk_size: int, chunks: Sequence[tuple[bytes, int]]
    ) -> list[bytes]:
        """Unpack chunks in a free worker; see `WorkerCodec.decompress`."""
        with self._taken() as codec:
            return codec.decompress(compression, chunk_size, chunks)

    def compress(
        self, compression: Compression, chunk_size: int, level: int, chunks: Sequence[bytes]
    ) -> list[bytes | None]:
        """Pack chunks in a free worker; see `WorkerCodec.compress`."""
        with self._taken() as codec:
            return codec.compress(compression, chunk_size, level, chunks)

    def close(self) -> None:
        """End all workers; a later call starts new ones."""
        for codec in self._all:
            codec.close()

    @contextmanager
    def _taken(self) -> Iterator[Codec]:
        codec = self._wait()
        try:
            yield codec
        finally:
            self._free.put(codec)

    def _wait(self) -> WorkerCodec:
        while True:
            try:
                return self._free.get(timeout=HEARTBEAT_S)
            except queue.Empty:
                self._beat()


def _nothing() -> None:
    """A beat of those who do not watch."""


def _batches(chunks: Sequence[_T], size_of: Callable[[_T], int]) -> Iterator[list[_T]]:
    """Split so that no batch is larger than a frame should be, unless it is a single chunk."""
    return balanced(chunks, size_of, _frames.BATCH_BYTES, len(chunks))


def _larger_side(chunk: tuple[bytes, int]) -> int:
    return max(len(chunk[0]), chunk[1])


def _sliced(payload: memoryview, sizes: Sequence[int]) -> list[bytes]:
    if sum(sizes) != len(payload):
        raise WorkerFailed(f"an answer of {len(payload)} instead of {sum(sizes)} bytes")
    parts, place = [], 0
    for size in sizes:
        parts.append(bytes(payload[place : place + size]))
        place += size
    return parts
