"""Parent side of one worker process that holds libwim.

libwim is fed foreign bytes, so it lives in a child process with limits, without write access to
anything but one private folder, and can be killed at any time. Whatever ends it (a crash, the
kernel's out-of-memory killer, an administrator) becomes one `WorkerFailed`.
"""

import contextlib
import fcntl
import logging
import os
import select
import signal
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from wimsmith.errors import (
    Cancelled,
    DamagedWim,
    LimitExceeded,
    NoSuchIndex,
    NotEnoughSpace,
    NotFound,
    NotSupported,
    UnsafePath,
    WimsmithError,
    WorkerFailed,
)
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.wim.workers import _frames
from wimsmith.offline.wim.workers._workerlog import LogLines
from wimsmith.offline.wim.workers.libwim_versions import note_version
from wimsmith.process import Limits, describe_status, python_module, spawn

log = logging.getLogger("wimsmith.offline")

Beat = Callable[[], None]
"""Called at least every 0.2 s by whoever waits for a worker; raises to end it."""

HEARTBEAT_S = 0.2
CODEC_LIMITS = Limits(memory_bytes=2 << 30, file_bytes=0, open_files=64)
"""For a worker that packs and unpacks chunks and opens no file."""
STALL_S = 1800.0
"""A worker that says nothing for so long is taken for hung; solid LZMS speaks once in minutes."""

_GRACE_S = 0.5
_PIPE_BYTES = 1 << 20
_ERRORS: dict[str, type[WimsmithError]] = {
    error.code: error
    for error in (
        Cancelled,
        DamagedWim,
        LimitExceeded,
        NoSuchIndex,
        NotEnoughSpace,
        NotFound,
        NotSupported,
        UnsafePath,
        WorkerFailed,
    )
}
_NOWHERE = "/nonexistent"
_DEATH_HINT = (
    "Nothing was changed. If it was ended by SIGKILL, this machine may be short of memory; "
    "else the input may be hostile or damaged."
)
_MEMORY_HINT = "Nothing was changed. Close other programs, or give this machine more memory."
_WORKER = "wimsmith.offline.wim.workers._worker_main"


class Worker:
    """One worker process. A context manager; for one thread at a time.

    Args:
        writable: folders below which it may write; none of them may hold a source.
        links: whether it links files; kernels before 5.19 confine none that does.
        opens_files: whether it opens files at all; a worker that does not gives up root as well.
        limits: resource limits.
        keep_open: descriptors it inherits, for example a lock that must live as long as it does.
        beat: called at least every 0.2 s while one waits for it; what it raises ends the worker.
        grace_s: how long each of the two polite ways to stop it may take, before SIGKILL.
    """

    def __init__(
        self,
        *,
        writable: Sequence[Path] = (),
        links: bool = False,
        opens_files: bool = False,
        limits: Limits = CODEC_LIMITS,
        keep_open: Sequence[int] = (),
        beat: Beat | None = None,
        grace_s: float = _GRACE_S,
    ) -> None:
        folders = [os.fspath(path.absolute()) for path in writable]
        command = python_module(_WORKER, "-S")  # the standard library and our own package only
        place = {"TMPDIR": folders[0] if folders else _NOWHERE}
        self._child = spawn(
            command,
            cwd=Path("/"),
            environment=place,
            limits=limits,
            umask=0o022,
            keep_open=keep_open,
        )
        self._out_of_memory_before = _out_of_memory_count()
        self._end = weakref.finalize(self, self._child.end, grace_s)
        self._beat = beat or _nothing
        self._grace_s = grace_s
        self._stdin = self._child.stdin.fileno()
        self._stdout = self._child.stdout.fileno()
        self._stderr = self._child.stderr.fileno()
        self._space = _frames.Space()
        self._log = LogLines()
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(self._stdout, select.POLLIN)
        self._writable.register(self._stdin, select.POLLOUT)
        for poll in (self._readable, self._writable):
            poll.register(self._stderr, select.POLLIN)
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):  # a user has a limit on pipe memory
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        for pipe in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(pipe, False)
        try:
            self._start({"writable": folders, "links": links, "drop_root": not opens_files})
        except BaseException:
            self.stop()
            raise

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
        latest = Event("Starting")

        def pulse() -> None:
            self._beat()
            progress(latest)

        try:
            self._send(header, payload, pulse, stall_s)
            while True:
                answer, data = self._receive(pulse, stall_s)
                if answer.get("is") != "progress":
                    break
                latest = _event(answer)
                progress(latest)
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
        """End the worker whatever it does: ask, then SIGTERM, then SIGKILL, `grace_s` each."""
        if self._end.alive and not self._child.ended:
            with contextlib.suppress(OSError):
                os.write(self._stdin, b"!")
                self._child.stdin.close()
            self._child.wait(self._grace_s)
        if self._end.alive:
            self._drain_log()
        self._end()

    def _start(self, wishes: _frames.Header) -> None:
        ready, _payload = self.ask({"do": "start"} | wishes, stall_s=60)
        major, minor, patch = ready["libwim"]
        note_version((major, minor, patch))
        log.debug(
            "worker %d: confined=%s, offline=%s, dropped=%s",
            self.pid, ready["confined"], ready["offline"], ready["dropped"],
        )  # fmt: skip

    def _send(
        self,
        header: _frames.Header,
        payload: Sequence[_frames.Buffer],
        pulse: Beat,
        stall_s: float,
    ) -> None:
        head = _frames.pack(header, sum(len(part) for part in payload))
        try:
            _frames.write_all(
                self._stdin,
                head,
                *payload,
                wait=lambda: self._wait(self._writable, self._stdin, pulse, stall_s),
            )
        except BrokenPipeError:
            raise self._death() from None

    def _receive(self, pulse: Beat, stall_s: float) -> tuple[_frames.Header, memoryview]:
        head = self._read(_frames.HEAD.size, pulse, stall_s)
        header_bytes, payload_bytes = _frames.unpack_head(head)
        rest = self._read(header_bytes + payload_bytes, pulse, stall_s)
        return _frames.unpack_header(rest[:header_bytes]), rest[header_bytes:]

    def _read(self, size_bytes: int, pulse: Beat, stall_s: float) -> memoryview:
        buffer = self._space.take(size_bytes)
        filled = 0
        while filled < size_bytes:
            count = _frames.read_soon(self._stdout, buffer[filled:])
            if count == 0:
                raise self._death()
            if count is None:
                self._wait(self._readable, self._stdout, pulse, stall_s)
            filled += count or 0
        return buffer

    def _wait(self, poll: select.poll, pipe: int, pulse: Beat, stall_s: float) -> None:
        """Wait until something can be done on `pipe`; `pulse` and log meanwhile."""
        now = time.monotonic()
        patient_until, due = now + stall_s, now + HEARTBEAT_S
        while True:
            ready = [number for number, _ in poll.poll(max(0.0, due - now) * 1000)]
            if self._stderr in ready:
                self._drain_log()
            if pipe in ready:
                return
            now = time.monotonic()
            if now > patient_until:
                raise WorkerFailed(f"no sign of life for {stall_s:.0f} seconds")
            if now >= due:
                pulse()
                due = now + HEARTBEAT_S

    def _reported(self, answer: _frames.Header) -> WimsmithError:
        kind = _ERRORS.get(str(answer["code"]), WorkerFailed)
        *about, text = answer["about"]
        detail = f" - {self._log.last_error}" if self._log.last_error else ""
        return kind(*about, f"{text}{detail}", hint=answer["hint"])

    def _death(self) -> WorkerFailed:
        self._child.wait(_GRACE_S)
        self._drain_log()
        status = int(self._end() or 0)
        how = describe_status(status)
        if status == -signal.SIGKILL and _out_of_memory_count() > self._out_of_memory_before:
            return WorkerFailed(f"it {how}: this machine ran out of memory", hint=_MEMORY_HINT)
        if status == -signal.SIGXCPU:
            how = "used more processor time than any known input needs"
        detail = f": {self._log.last}" if self._log.last else ""
        return WorkerFailed(f"it {how}{detail}", hint=_DEATH_HINT)

    def _drain_log(self) -> None:
        with contextlib.suppress(BlockingIOError, KeyError):
            while data := os.read(self._stderr, 65_536):
                self._log.feed(data)
            for poll in (self._readable, self._writable):
                poll.unregister(self._stderr)


def _out_of_memory_count() -> int:
    """How many processes the kernel has ended for want of memory since it started."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _event(header: _frames.Header) -> Event:
    return Event(
        str(header["phase"]), int(header["done"]), int(header["total"]), str(header["unit"])
    )


def _nothing() -> None:
    """A beat of those who do not watch."""
