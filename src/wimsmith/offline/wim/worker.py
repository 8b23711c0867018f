"""Parent side of the worker process that holds libwim: codec calls and heavy verbs.

libwim is fed foreign bytes, so it lives in a child process with limits, without write access to
anything but one private folder, and can be killed at any time. Whatever ends it (a crash, the
kernel's out-of-memory killer, an administrator) becomes one `WorkerFailed`.
"""

import contextlib
import fcntl
import logging
import os
import select
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import wimsmith
from wimsmith.errors import (
    Cancelled,
    DamagedWim,
    LimitExceeded,
    NoSuchIndex,
    NotFound,
    NotSupported,
    WimsmithError,
    WorkerFailed,
)
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.wim import _frames
from wimsmith.offline.wim.codec import Compression
from wimsmith.process import Limits, describe_status, spawn

log = logging.getLogger("wimsmith.offline")

CODEC_MEMORY_BYTES = 2 << 30
STALL_S = 1800.0
"""A worker that says nothing for so long is taken for hung; solid LZMS speaks once in minutes."""

_HEARTBEAT_S = 0.2
_GRACE_S = 0.5
_PIPE_BYTES = 1 << 20
_LOG_LINE_BYTES = 4096
_ERRORS: dict[str, type[WimsmithError]] = {
    error.code: error
    for error in (
        Cancelled,
        DamagedWim,
        LimitExceeded,
        NoSuchIndex,
        NotFound,
        NotSupported,
        WorkerFailed,
    )
}
_T = TypeVar("_T")
# -I and -S: no environment, no user or site packages; our package and the standard library only.
_BOOT = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); "
    "runpy.run_module('wimsmith.offline.wim._worker_main', run_name='__main__', alter_sys=True)"
)


class Worker:
    """One worker process. A context manager; for one thread at a time.

    Args:
        writable: folders below which it may write; none of them may hold a source.
        opens_files: whether it opens files at all; a worker that does not gives up root as well.
        limits: resource limits.
        keep_open: descriptors it inherits, for example a lock that must live as long as it does.
    """

    def __init__(
        self,
        *,
        writable: Sequence[Path] = (),
        opens_files: bool = False,
        limits: Limits | None = None,
        keep_open: Sequence[int] = (),
    ) -> None:
        root = Path(wimsmith.__file__).parent.parent
        command = (sys.executable, "-I", "-S", "-c", _BOOT, root)
        chosen = limits or Limits(memory_bytes=CODEC_MEMORY_BYTES)
        self._child = spawn(command, cwd=Path("/"), limits=chosen, umask=0o022, keep_open=keep_open)
        self._end = weakref.finalize(self, self._child.end, _GRACE_S)
        self._stdout = self._child.stdout.fileno()
        self._stderr = self._child.stderr.fileno()
        self._space = _frames.Space()
        self._log = _LogLines()
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)
        self._poll.register(self._stderr, select.POLLIN)
        for pipe in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(OSError):  # a user has a limit on pipe memory
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(self._stdout, False)
        os.set_blocking(self._stderr, False)
        self._start([os.fspath(path.absolute()) for path in writable], drop_root=not opens_files)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.stop()

    @property
    def pid(self) -> int:
        """Process id, for messages and tests."""
        return self._child.pid

    def ask(
        self,
        header: _frames.Header,
        payload: Sequence[_frames.Buffer] = (),
        *,
        progress: Progress = silent,
        stall_s: float = STALL_S,
    ) -> tuple[_frames.Header, memoryview]:
        """Send a request and wait for its answer, whose payload is valid until the next one.

        `progress` gets the worker's events, and its last one again every 0.2 s while the worker
        is silent, so that it can raise to cancel at any time.

        Raises:
            WorkerFailed: the worker ended, was silent for `stall_s`, or ran out of memory.
            WimsmithError: what the worker reported.
        """
        self._log.last_error = ""
        try:
            self._send(header, payload)
            answer, data = self._answer(progress, stall_s)
        except BaseException:
            self.stop()
            raise
        if answer.get("is") == "error":
            self._drain_log()
            raise self._reported(answer)
        return answer, data

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._child.ended

    def close(self) -> None:
        """End the worker when it has nothing to do; what it still has to say is logged."""
        if not self._end.alive:
            return
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        self._child.wait(_GRACE_S)
        self._drain_log()
        self._end()

    def stop(self) -> None:
        """End the worker whatever it does: ask, then SIGTERM, then SIGKILL, half a second each."""
        if self._end.alive and not self._child.ended:
            with contextlib.suppress(OSError):
                os.set_blocking(self._child.stdin.fileno(), False)
                os.write(self._child.stdin.fileno(), b"!")
                self._child.stdin.close()
            self._child.wait(_GRACE_S)
        if self._end.alive:
            self._drain_log()
        self._end()

    def _start(self, writable: list[str], *, drop_root: bool) -> None:
        header = {"do": "start", "writable": writable, "drop_root": drop_root}
        ready, _payload = self.ask(header, stall_s=60)
        log.debug(
            "worker %d: libwim %s, confined=%s, offline=%s, dropped=%s",
            self.pid, ready["libwim"], ready["confined"], ready["offline"], ready["dropped"],
        )  # fmt: skip

    def _send(self, header: _frames.Header, payload: Sequence[_frames.Buffer]) -> None:
        size_bytes = sum(len(part) for part in payload)
        try:
            _frames.write_all(
                self._child.stdin.fileno(), _frames.pack(header, size_bytes), *payload
            )
        except BrokenPipeError:
            raise self._death() from None

    def _answer(self, progress: Progress, stall_s: float) -> tuple[_frames.Header, memoryview]:
        latest = Event("Starting")
        while True:
            header, payload = self._receive(partial(progress, latest), stall_s)
            if header.get("is") != "progress":
                return header, payload
            latest = _event(header)
            progress(latest)

    def _receive(
        self, beat: Callable[[], None], stall_s: float
    ) -> tuple[_frames.Header, memoryview]:
        head = self._read(_frames.HEAD.size, beat, stall_s)
        header_bytes, payload_bytes = _frames.unpack_head(head)
        rest = self._read(header_bytes + payload_bytes, beat, stall_s)
        return _frames.unpack_header(rest[:header_bytes]), rest[header_bytes:]

    def _read(self, size_bytes: int, beat: Callable[[], None], stall_s: float) -> memoryview:
        buffer = self._space.take(size_bytes)
        filled = 0
        while filled < size_bytes:
            count = _frames.read_soon(self._stdout, buffer[filled:])
            if count == 0:
                raise self._death()
            if count is None:
                self._wait(beat, stall_s)
            filled += count or 0
        return buffer

    def _wait(self, beat: Callable[[], None], stall_s: float) -> None:
        """Wait until there is something to read on stdout; `beat` and log meanwhile."""
        patient_until = time.monotonic() + stall_s
        while True:
            ready = [descriptor for descriptor, _ in self._poll.poll(_HEARTBEAT_S * 1000)]
            if self._stderr in ready:
                self._drain_log()
            if self._stdout in ready:
                return
            if time.monotonic() > patient_until:
                raise WorkerFailed(f"no sign of life for {stall_s:.0f} seconds")
            if not ready:
                beat()

    def _reported(self, answer: _frames.Header) -> WimsmithError:
        kind = _ERRORS.get(str(answer["code"]), WorkerFailed)
        *about, text = answer["about"]
        detail = f" - {self._log.last_error}" if self._log.last_error else ""
        return kind(*about, f"{text}{detail}", hint=answer["hint"])

    def _death(self) -> WorkerFailed:
        self._child.wait(_GRACE_S)
        self._drain_log()
        how = describe_status(int(self._end() or 0))
        detail = f": {self._log.last}" if self._log.last else ""
        return WorkerFailed(f"it {how}{detail}", hint=_DEATH_HINT)

    def _drain_log(self) -> None:
        with contextlib.suppress(BlockingIOError, KeyError):
            while data := os.read(self._stderr, 65_536):
                self._log.feed(data)
            self._poll.unregister(self._stderr)


_DEATH_HINT = (
    "Nothing was changed. If it was ended by SIGKILL, this machine may be short of memory; "
    "else the input may be hostile or damaged."
)


class WorkerCodec:
    """The codec of this package: chunks are packed and unpacked in a worker process.

    The worker starts with the first call, serves all further ones, and after a failure the next
    call starts a new one. May be shared by threads; calls wait for each other. A context manager.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits
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
        with self._lock:
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
        with self._lock:
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
        if self._worker is None or self._worker.ended:
            self._worker = Worker(limits=self._limits)
        return self._worker.ask(header, payload)


class _LogLines:
    """Turns what libwim writes to stderr into log records."""

    def __init__(self) -> None:
        self._rest = b""
        self.last = ""
        self.last_error = ""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[:_LOG_LINE_BYTES]
        for line in lines:
            self._log(line[:_LOG_LINE_BYTES].decode("utf-8", "replace").strip())

    def _log(self, line: str) -> None:
        if not line:
            return
        self.last = line
        if line.startswith("[ERROR]"):
            self.last_error = line.removeprefix("[ERROR]").strip()
            log.error("libwim: %s", self.last_error)
        elif line.startswith("[WARNING]"):
            log.warning("libwim: %s", line.removeprefix("[WARNING]").strip())
        else:
            log.info("libwim: %s", line)


def _event(header: _frames.Header) -> Event:
    return Event(
        str(header["phase"]), int(header["done"]), int(header["total"]), str(header["unit"])
    )


def _batches(chunks: Sequence[_T], size_of: Callable[[_T], int]) -> Iterator[list[_T]]:
    """Split so that no batch is larger than a frame should be, unless it is a single chunk."""
    batch: list[_T] = []
    total_bytes = 0
    for chunk in chunks:
        size_bytes = size_of(chunk)
        if batch and total_bytes + size_bytes > _frames.BATCH_BYTES:
            yield batch
            batch, total_bytes = [], 0
        batch.append(chunk)
        total_bytes += size_bytes
    if batch:
        yield batch


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
