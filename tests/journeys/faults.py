"""Running commands with a fault at one of the calls by which they change a folder.

A small library, loaded into every process of a command, libwim's and mkntfs's included, counts
these calls and lets one of them fail, or ends the processes at it; see `faults.c`.
"""

import errno
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from journeys import commandserver

SOURCES = Path(__file__).parent
KINDS = (
    *("write", "pwrite", "copy_file_range", "ftruncate", "fallocate", "fsync"),
    *("create", "mkdir", "rename", "link", "symlink", "unlink"),
)
"""In the order of `enum kind`; fsync stands for its relatives, create for opening a new file."""
_HEAD = struct.Struct(f"7i{len(KINDS)}i256s")
TIMEOUT_S = 120


class Mode(IntEnum):
    """What happens at the call that was chosen, as in `enum mode`."""

    COUNT = 0
    FAIL = 1
    CRASH = 2
    """The process is killed if it is a worker."""
    KILL = 3
    """The command is killed with the process that makes the call."""
    SIGNAL = 4
    """The command gets a signal and the call is made."""


@dataclass(frozen=True)
class Fault:
    """A fault at call `number` (from 1) of a kind. `code` is the error or the signal."""

    mode: Mode
    kind: str
    number: int
    code: int = 0

    def __str__(self) -> str:
        what = errno.errorcode[self.code] if self.mode is Mode.FAIL else self.mode.name
        return f"{what} at {self.kind} {self.number}"


@dataclass(frozen=True)
class Ended:
    """How a command ended. `hit` is the path at which the fault struck, below the folder."""

    code: int
    stdout: str
    stderr: str
    duration_s: float
    orphans: int
    orphans_s: float
    hit: str | None
    counts: dict[str, int]

    @property
    def phase(self) -> str:
        """What the command was last heard to do."""
        lines = [line for line in self.stderr.splitlines() if ": " not in line]
        return lines[-1].split(",")[0] if lines else "start"

    @property
    def errors(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


class Commands:
    """Runs commands; `root` is the folder whose changes count."""

    def __init__(self, folder: Path, library: Path, root: Path) -> None:
        self._folder = folder
        self._control = folder / "control"
        self._control.write_bytes(bytes(_HEAD.size))
        environment = os.environ | {
            "LD_PRELOAD": str(library),
            "WIMSMITH_FAULT_CONTROL": str(self._control),
            "WIMSMITH_FAULT_ROOT": str(root),
        }
        self._server = subprocess.Popen(
            [sys.executable, "-m", commandserver.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=SOURCES.parent,
        )
        assert self._answer() == "ready\n"

    def run(self, arguments: Sequence[object], fault: Fault | None = None) -> Ended:
        """Run one command to its end, and until no process of it is left."""
        head = [0] * 7
        if fault is not None:
            head = [fault.mode, KINDS.index(fault.kind), fault.number, fault.code, 0, 0, 0]
        self._control.write_bytes(_HEAD.pack(*head, *[0] * len(KINDS), b""))
        request = {
            "arguments": [str(one) for one in arguments],
            "output": str(self._folder),
            "timeout_s": TIMEOUT_S,
        }
        assert self._server.stdin
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._answer())
        *numbers, path = _HEAD.unpack(self._control.read_bytes())
        return Ended(
            code=answer["code"],
            stdout=(self._folder / "stdout").read_text(errors="replace"),
            stderr=(self._folder / "stderr").read_text(errors="replace"),
            duration_s=answer["duration_s"],
            orphans=answer["orphans"],
            orphans_s=answer["orphans_s"],
            hit=path.rstrip(b"\0").decode(errors="replace") if numbers[5] else None,
            counts=dict(zip(KINDS, numbers[7:], strict=True)),
        )

    def close(self) -> None:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.close()
        assert self._server.wait(30) == 0
        self._server.stdout.close()

    def _answer(self) -> str:
        assert self._server.stdout
        return self._server.stdout.readline()


def built_library(folder: Path) -> Path:
    """The library that does it; skips where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = folder / "faults.so"
    source = SOURCES / "faults.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


@contextmanager
def commands(folder: Path, root: Path) -> Iterator[Commands]:
    """A server for commands that change `root`."""
    running = Commands(folder, built_library(folder), root)
    try:
        yield running
    finally:
        running.close()
