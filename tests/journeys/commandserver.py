"""Starts commands for the tests of faults: each in a process of its own, forked from this one.

This process has loaded what commands load, which takes longer than most of what they do. It is the
parent of whatever they leave behind, and so knows of it. Started by `faults.py`, never by hand.
"""

import ctypes
import importlib
import json
import os
import pkgutil
import signal
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wimsmith.cli.hive
import wimsmith.cli.wim
import wimsmith.offline.wim
from wimsmith import process
from wimsmith.cli.main import main
from wimsmith.offline.changes import ChangeSet, Content, PutFile
from wimsmith.offline.commit import commit
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h
HEAD = struct.Struct("7i")
MAIN_PID_AT = 16
KILL, SIGNAL = 3, 4
ORPHANS_S = 15.0
MODIFIED = 133_600_000_000_000_000


def serve() -> None:
    """Answer each line on stdin, a JSON object, by one on stdout."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    kept = ("LD_PRELOAD", "WIMSMITH_FAULT_CONTROL", "WIMSMITH_FAULT_ROOT")
    process._KEPT_VARIABLES += kept  # type: ignore[assignment]  # workers are under test as well
    for package in (wimsmith.cli.wim, wimsmith.cli.hive, wimsmith.offline.wim):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if module.name != "wimsmith.offline.wim.workers._worker_main":
                importlib.import_module(module.name)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while line := sys.stdin.readline():
        request = json.loads(line)
        child = os.fork()
        if not child:
            begin(request)
            return
        answer = ended(child, request["timeout_s"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def begin(request: dict[str, Any]) -> None:
    """Be the command; what it raises to end its process ends this one."""
    folder = Path(request["output"])
    for number, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, folder / "stdout", os.O_WRONLY | os.O_TRUNC | os.O_CREAT),
        (2, folder / "stderr", os.O_WRONLY | os.O_TRUNC | os.O_CREAT),
    ):
        os.dup2(os.open(name, flags), number)
    control = os.open(os.environ["WIMSMITH_FAULT_CONTROL"], os.O_RDWR)
    os.pwrite(control, os.getpid().to_bytes(4, sys.byteorder), MAIN_PID_AT)
    os.close(control)
    arguments = request["arguments"]
    if arguments[0] == "commit":
        commit_one(*map(Path, arguments[1:]))
    else:
        main(arguments)


def commit_one(base: Path, source: Path, target: Path) -> None:
    """What the service does with an image: change sets become a new file."""
    content = Content.of_file(source)
    changes = ChangeSet(
        (PutFile("Windows/new.dll", content.sha1),), content={content.sha1: content}
    )
    with WorkerCodec() as codec, open_wim(base, codec) as wim:
        commit(wim, {1: [changes]}, target, codec=codec, modified=MODIFIED)


def ended(child: int, timeout_s: float) -> dict[str, Any]:
    """How a command ended; then wait until nothing that it started is left."""
    started = time.monotonic()
    code: int | None = None
    orphans: set[int] = set()
    died, acted = 0.0, False
    while True:
        pid, status = reaped()
        now = time.monotonic()
        if pid == child:
            code, died = os.waitstatus_to_exitcode(status), now
        if pid == -1:
            break
        if pid == 0:
            if code is None and not acted:
                acted = act_for_workers(child)
            orphans |= set(children()) - {child} if code is not None else set()
            if now - started > timeout_s if code is None else now - died > ORPHANS_S:
                for left in children():
                    os.kill(left, signal.SIGKILL)
            time.sleep(0.002)
    end = time.monotonic()
    return {
        "code": code,
        "duration_s": died - started,
        "orphans": len(orphans),
        "orphans_s": end - died,
    }


def act_for_workers(child: int) -> bool:
    """Do what a worker that a fault has struck cannot do: signal the command."""
    mode, _kind, _number, code, _main, hit, hit_pid = read_control()
    if not hit or hit_pid == child or mode not in {KILL, SIGNAL}:
        return False
    if mode == KILL:
        os.kill(child, signal.SIGKILL)
        os.kill(hit_pid, signal.SIGKILL)
    else:
        os.kill(child, code)
    return True


def read_control() -> tuple[int, ...]:
    return HEAD.unpack(Path(os.environ["WIMSMITH_FAULT_CONTROL"]).read_bytes()[: HEAD.size])


def reaped() -> tuple[int, int]:
    """A child that has ended: its id, 0 while none has, -1 if there are none."""
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return -1, 0


def children() -> Sequence[int]:
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return [int(pid) for pid in listed.split()]


if __name__ == "__main__":
    serve()
