"""What scenarios measure and how: one row per thing done, each in a process of its own."""

import ctypes
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

REAL = Path(__file__).resolve().parents[2] / "shared" / "real"
"""Folder of real third-party files; a scenario makes its own input where it is absent."""

_T = TypeVar("_T")
_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h


@dataclass(frozen=True, slots=True)
class Row:
    """What one thing cost.

    `cpu_s` is user and system time, that of child processes included, also of those that became
    daemons; `bytes` is what it worked on, usually output; `written_bytes` is what it gave to the
    disk, as the kernel counts it; `peak_rss_bytes` is the largest of its processes. `ratio` is CPU
    time of the row named `peer` for one of this row, both per byte, and `wall_ratio` the same of
    wall time.
    """

    name: str
    wall_s: float
    cpu_s: float
    bytes: int
    peak_rss_bytes: int
    peer: str | None = None
    ratio: float | None = None
    written_bytes: int = 0
    wall_ratio: float | None = None

    @property
    def rate(self) -> float:
        """Bytes per second of CPU time."""
        return self.bytes / self.cpu_s if self.cpu_s else 0.0


def measure(
    name: str,
    do: Callable[[], int],
    *,
    peer: str | None = None,
    runs: int = 1,
    prepare: Callable[[], object] = lambda: None,
) -> Row:
    """Run `do`, which returns the bytes it worked on, in a forked process; it has to succeed.

    Of several runs the least of each time counts. `prepare` runs before each, unmeasured.
    """
    rows = []
    for _run in range(runs):
        prepare()
        rows.append(_measured(name, do, peer))
    best = min(rows, key=lambda row: row.cpu_s)
    return replace(best, wall_s=min(row.wall_s for row in rows))


def apart(do: Callable[[], _T]) -> _T:
    """What `do` returns, run in a process of its own, so that what it takes of memory is gone."""
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        return pool.submit(do).result()


def _measured(name: str, do: Callable[[], int], peer: str | None) -> Row:
    os.sync()  # what others wrote is not to be waited for
    gc.collect()
    gc.freeze()
    reader, writer = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _run_and_leave(do, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read().split()
    _pid, status, usage = os.wait4(child, 0)
    wall_s = time.monotonic() - started
    if status != 0 or len(answer) != 2:
        raise RuntimeError(f"{name} failed")
    count, written = map(int, answer)
    cpu_s = usage.ru_utime + usage.ru_stime
    return Row(name, wall_s, cpu_s, count, usage.ru_maxrss * 1024, peer, written_bytes=written)


def _run_and_leave(do: Callable[[], int], writer: int) -> None:
    status = 1
    try:
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        count = do()
        _wait_for_all()
        os.write(writer, f"{count} {_written_bytes()}".encode())
        status = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(status)


def _wait_for_all() -> None:
    """Let daemons that were started end too, so that they are counted."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def _written_bytes() -> int:
    """What this process, and children that it has waited for, made the disk write."""
    facts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(facts["write_bytes"])


def with_ratios(rows: Sequence[Row]) -> list[Row]:
    """The same rows, each with the ratios to its peer."""
    known: dict[str | None, Row] = {row.name: row for row in rows}
    return [_with_ratio(row, known[row.peer]) if row.peer in known else row for row in rows]


def _with_ratio(row: Row, peer: Row) -> Row:
    share = row.bytes / peer.bytes if peer.bytes else 0.0
    return replace(
        row,
        ratio=share * peer.cpu_s / row.cpu_s if row.cpu_s else None,
        wall_ratio=share * peer.wall_s / row.wall_s if row.wall_s else None,
    )


def as_text(rows: Iterable[Row]) -> str:
    """A table for people."""
    figures = f"{'wall':>8} {'CPU':>8} {'MB':>8} {'MB/CPU s':>9} {'written':>8} {'peak MB':>8}"
    lines = [f"{'':44} {figures}  less CPU, wall than peer"]
    for row in rows:
        ratio = ""
        if row.ratio is not None:
            ratio = f"{row.ratio:.1f} x, {row.wall_ratio or 0:.1f} x {row.peer}"
        lines.append(
            f"{row.name:44} {row.wall_s:7.2f}s {row.cpu_s:7.2f}s {row.bytes / 1e6:8.1f}"
            f" {row.rate / 1e6:9.1f} {row.written_bytes / 1e6:8.1f}"
            f" {row.peak_rss_bytes / 1e6:8.0f}  {ratio}".rstrip()
        )
    return "\n".join(lines)


def as_json(rows: Iterable[Row]) -> str:
    """The same for programs, one object per row."""
    return json.dumps([{**asdict(row), "bytes_per_cpu_s": row.rate} for row in rows], indent=2)
