"""The one place that starts child processes.

Every child gets an argument list (never a shell), a clean environment, its own session, resource
limits and an end: when it is done, too slow, too talkative or cancelled, its whole process group
is gone. Limits are set from outside with prlimit(2) right after the program has been loaded, so
that no Python code runs between fork and exec (unsafe in a program with threads).
"""

import contextlib
import logging
import os
import resource
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from wimsmith.errors import LimitExceeded, WorkerFailed

log = logging.getLogger("wimsmith.offline")

Poll = Callable[[], None]
"""Called about ten times a second while a child runs; raises to end it, for example `Cancelled`."""

CRASHES = frozenset(
    -number
    for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
)
"""Statuses of a program that its own mistake ended."""
OVERRUNS = frozenset((-signal.SIGXCPU, -signal.SIGXFSZ))
"""Statuses of a program that a limit on time or file size ended."""

_BOOT = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
_POLL_S = 0.1
_READ_BYTES = 65_536
_ERROR_TEXT_BYTES = 65_536
_KEPT_VARIABLES = ("PATH", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Limits:
    """Most that one child process may use; None leaves a resource as it is. Core dumps are off."""

    memory_bytes: int | None = None
    cpu_s: int | None = None
    file_bytes: int | None = None
    open_files: int | None = None

    def apply(self, pid: int) -> None:
        """Set the limits of the running process `pid`, never above its hard limits."""
        _limit(pid, resource.RLIMIT_CORE, 0)
        _limit(pid, resource.RLIMIT_AS, self.memory_bytes)
        _limit(pid, resource.RLIMIT_CPU, self.cpu_s)
        _limit(pid, resource.RLIMIT_FSIZE, self.file_bytes)
        _limit(pid, resource.RLIMIT_NOFILE, self.open_files)


@dataclass(frozen=True, slots=True)
class Completed:
    """What a child process that ended by itself left behind."""

    arguments: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes
    duration_s: float

    @property
    def error_text(self) -> str:
        """Last line the program wrote to stderr, for messages."""
        lines = self.stderr.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""


def python_module(module: str, *options: str) -> list[str]:
    """Command that runs a module of this package in a Python of its own.

    Without the variables and folders of the user, and without writing bytecode: a limit on the
    size of files would cut it off.
    """
    root = os.fspath(Path(__file__).parent.parent)
    return [sys.executable, "-I", "-B", *options, "-c", _BOOT, root, module]


def run(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout_s: float | None = None,
    limits: Limits | None = None,
    poll: Poll | None = None,
    grace_s: float = 1.0,
    output_limit_bytes: int = 16 << 20,
    check: bool = True,
) -> Completed:
    """Run a program to its end and return what it wrote.

    Args:
        arguments: the program and its arguments; it is looked up on PATH.
        cwd: folder to run in.
        environment: variables added to the clean environment.
        stdin: bytes to feed it.
        timeout_s: wall time after which it is ended.
        limits: resource limits of the program.
        poll: called about ten times a second; what it raises ends the program and is passed on.
        grace_s: time between SIGTERM and SIGKILL.
        output_limit_bytes: most that is accepted on stdout; of stderr the last 64 KiB are kept.
        check: raise when the exit status is not 0.

    Raises:
        WorkerFailed: it could not be started, took too long, or (with `check`) failed.
        LimitExceeded: it wrote more than `output_limit_bytes` to stdout.
    """
    started = time.monotonic()
    child = spawn(arguments, cwd=cwd, environment=environment, limits=limits)
    deadline = None if timeout_s is None else started + timeout_s
    try:
        stdout, stderr = _Conversation(child, stdin, output_limit_bytes, deadline, poll).hold()
    except (WorkerFailed, LimitExceeded) as error:
        log.error("%s: %s", error, shlex.join(child.arguments))  # noqa: TRY400 - no traceback in dism.log
        raise
    finally:
        returncode = child.end(grace_s)
    done = Completed(child.arguments, returncode, stdout, stderr, time.monotonic() - started)
    if check and returncode != 0:
        raise _failure(done)
    log.debug("%s ended with %d", shlex.join(child.arguments), returncode)
    return done


def spawn(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    umask: int = -1,
    keep_open: Sequence[int] = (),
) -> "Child":
    """Start a program with pipes on its stdin, stdout and stderr; the caller must `end` it.

    A program that belongs to this process for its whole life must exit when its stdin closes: that
    is how it learns that this process is gone.

    Args:
        arguments: the program and its arguments; it is looked up on PATH.
        cwd: folder to run in.
        environment: variables added to the clean environment.
        limits: resource limits, in force before anything is written to its stdin.
        umask: file creation mask of the program; -1 keeps ours.
        keep_open: descriptors it inherits under the same numbers.

    Raises:
        WorkerFailed: the program cannot be started.
    """
    listed = tuple(os.fspath(argument) for argument in arguments)
    try:
        process = subprocess.Popen(
            listed,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=cwd,
            env=clean_environment(environment),
            start_new_session=True,
            umask=umask,
            pass_fds=tuple(keep_open),
        )
    except OSError as error:
        log.error("%s: %s", error.strerror, shlex.join(listed))  # noqa: TRY400 - no traceback in dism.log
        raise WorkerFailed(f"{listed[0]} cannot be started: {error.strerror}") from error
    with contextlib.suppress(ProcessLookupError):
        (limits or Limits()).apply(process.pid)
    return Child(listed, process)


class Child:
    """A running program with pipes; its process group ends with it."""

    def __init__(self, arguments: tuple[str, ...], process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.arguments = arguments
        self.pid = process.pid
        self.stdin: IO[bytes] = process.stdin
        self.stdout: IO[bytes] = process.stdout
        self.stderr: IO[bytes] = process.stderr
        self._process = process

    @property
    def ended(self) -> bool:
        """Whether the program has ended, by itself or not."""
        return self._process.returncode is not None or self._exited()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the program has ended, at most `timeout_s`; return whether it has."""
        deadline = time.monotonic() + timeout_s
        while not self.ended:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        return True

    def end(self, grace_s: float = 1.0) -> int:
        """End the program (SIGTERM, after `grace_s` SIGKILL) and all it started.

        Returns the exit status, negative for a signal. Calling it again returns the same.
        """
        if self._process.returncode is None:
            if not self.ended:
                self._signal_group(signal.SIGTERM)
                self.wait(grace_s)
            self._signal_group(signal.SIGKILL)  # also what it left running in its group
            self._process.wait()
        for pipe in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(OSError):
                pipe.close()
        return self._process.returncode

    def _exited(self) -> bool:
        # WNOWAIT leaves the zombie, so that its group id cannot be given to strangers before
        # the group has been signalled.
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, options) is not None

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment of every child: PATH and TMPDIR of ours, UTF-8 texts in English, and `extra`."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C.UTF-8", **(extra or {})}


class _Conversation:
    """Feeds a child its input and collects its output until it ends."""

    def __init__(
        self,
        child: Child,
        stdin: bytes,
        output_limit_bytes: int,
        deadline: float | None,
        poll: Poll | None,
    ) -> None:
        self._child = child
        self._unsent = memoryview(stdin)
        self._limit = output_limit_bytes
        self._deadline = deadline
        self._poll = poll
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._selector = selectors.DefaultSelector()

    def hold(self) -> tuple[bytes, bytes]:
        with self._selector:
            for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
                os.set_blocking(pipe.fileno(), False)
            self._selector.register(self._child.stdin, selectors.EVENT_WRITE, self._send)
            self._selector.register(self._child.stdout, selectors.EVENT_READ, self._read_stdout)
            self._selector.register(self._child.stderr, selectors.EVENT_READ, self._read_stderr)
            while not self._over():
                self._turn(_POLL_S)
            self._turn(0)  # what was still in the pipes of a child that has just ended
        return bytes(self._stdout), bytes(self._stderr)

    def _over(self) -> bool:
        if self._poll is not None:
            self._poll()
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise WorkerFailed(f"{self._child.arguments[0]} took too long")
        return self._child.ended

    def _turn(self, timeout_s: float) -> None:
        if not self._selector.get_map():
            self._child.wait(timeout_s)
            return
        for key, _events in self._selector.select(timeout_s):
            key.data()

    def _send(self) -> None:
        try:
            sent = os.write(self._child.stdin.fileno(), self._unsent[:_READ_BYTES])
        except BrokenPipeError:
            sent = len(self._unsent)  # it does not want the rest
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._selector.unregister(self._child.stdin)
            self._child.stdin.close()

    def _read_stdout(self) -> None:
        self._stdout += self._read(self._child.stdout)
        if len(self._stdout) > self._limit:
            raise LimitExceeded(f"{self._child.arguments[0]} wrote more than {self._limit} bytes")

    def _read_stderr(self) -> None:
        self._stderr += self._read(self._child.stderr)
        del self._stderr[:-_ERROR_TEXT_BYTES]

    def _read(self, pipe: IO[bytes]) -> bytes:
        everything = bytearray()
        while len(everything) <= self._limit:
            try:
                data = os.read(pipe.fileno(), _READ_BYTES)
            except BlockingIOError:
                break
            everything += data
            if not data:
                self._selector.unregister(pipe)
                break
        return bytes(everything)


def _failure(done: Completed) -> WorkerFailed:
    how = describe_status(done.returncode)
    log.error("%s %s: %s", shlex.join(done.arguments), how, done.error_text)
    return WorkerFailed(f"{Path(done.arguments[0]).name} {how}: {done.error_text}".rstrip(": "))


def describe_status(returncode: int) -> str:
    """An exit status in words, for example `was ended by signal SIGKILL`."""
    if returncode < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by signal {signal.Signals(-returncode).name}"
        return f"was ended by signal {-returncode}"
    return f"ended with status {returncode}"


def _limit(pid: int, what: int, most: int | None) -> None:
    if most is None:
        return
    _soft, hard = resource.prlimit(pid, what)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.prlimit(pid, what, (most, most))
