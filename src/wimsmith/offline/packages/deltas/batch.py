"""Expanding many deltas at once, in one child process with limits.

The child can write only to one folder, reaches no network, and has as much memory and time as the
sizes stated for the targets can need. Whatever it meets becomes one error of ours.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from wimsmith.errors import DamagedDelta, LimitExceeded, NotSupported, WimsmithError, WorkerFailed
from wimsmith.offline.manifests.xmlreader import MAX_XML_BYTES
from wimsmith.offline.packages.deltas.delta import MAX_TARGET_BYTES
from wimsmith.offline.packages.deltas.deltaworker import FAILED_STATUS, MEMORY_STATUS, Work
from wimsmith.offline.packages.limits import DEFAULT_LIMITS, PackageLimits
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.process import CRASHES, OVERRUNS, Completed, Limits, python_module, run

_ERRORS: dict[str, type[WimsmithError]] = {
    error.code: error for error in (DamagedDelta, LimitExceeded)
}
_MEMORY_AT_REST_BYTES = 256 << 20
_MEMORY_PER_BYTE = 6
_CPU_AT_REST_S = 30
_SLOWEST_BYTES_PER_S = 50_000
_WORKER = "wimsmith.offline.packages.deltas.deltaworker"


@dataclass(frozen=True, slots=True)
class DeltaJob:
    """One file to make: `delta` expanded against `base` (None: a null delta) becomes `target`.

    The base may be the target of an earlier job. `size_bytes` is what the target must have; if it
    is not known, the target may have as many as any manifest. `name` is for messages. DCM
    manifests are recognised; their base is the base manifest, and like all deltas that state no
    hash they need `proved_elsewhere`.
    """

    name: str
    delta: Path
    base: Path | None
    target: Path
    size_bytes: int | None = None
    proved_elsewhere: bool = False


def expand_deltas(
    jobs: Sequence[DeltaJob],
    folder: Path,
    *,
    limits: PackageLimits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> None:
    """Expand deltas one after the other, in their order, into new files below `folder`.

    A target has the size and the hash that its delta states; the caller compares it with what else
    is known of it. When an error is raised, targets of jobs before the failed one may exist.

    Raises:
        DamagedDelta: a delta is broken, or does not fit its base.
        LimitExceeded: more bytes, memory or time than `limits` allow.
        NotSupported: `delta-kind`, `delta-arch` or `delta-managed`, a kind that is not expanded.
        WorkerFailed: the child process could not be started or was ended from outside.
        OSError: a delta or a base cannot be read, or a target is there already.
    """
    if not jobs:
        return
    work = [_work(job, folder) for job in jobs]
    sizes = _most_bytes(jobs, limits)
    watcher = _Watcher(jobs, progress)
    done = run(
        [*python_module(_WORKER), folder.absolute()],
        cwd=Path("/"),
        stdin=json.dumps([astuple(one) for one in work]).encode(),
        timeout_s=limits.wall_s,
        limits=_process_limits(jobs, sizes, limits),
        poll=watcher,
        check=False,
    )
    if done.returncode != 0:
        raise _failure(done, jobs)
    watcher()


def _work(job: DeltaJob, folder: Path) -> Work:
    if folder.absolute() not in job.target.absolute().parents:
        raise ValueError(f"{job.target} is not below {folder}")
    if job.target.exists():
        raise FileExistsError(f"{job.target} is there already")
    base = None if job.base is None else os.fspath(job.base.absolute())
    delta, target = os.fspath(job.delta.absolute()), os.fspath(job.target.absolute())
    return Work(delta, base, target, job.size_bytes, proved_elsewhere=job.proved_elsewhere)


def _most_bytes(jobs: Sequence[DeltaJob], limits: PackageLimits) -> list[int]:
    """Bytes that each target may have."""
    sizes = [MAX_XML_BYTES if job.size_bytes is None else job.size_bytes for job in jobs]
    for job, size in zip(jobs, sizes, strict=True):
        if size > min(limits.file_bytes, MAX_TARGET_BYTES):
            raise LimitExceeded(f"{job.name[:200]}: a delta that expands to {size} bytes")
    if sum(sizes) > limits.total_bytes:
        raise LimitExceeded(f"deltas that expand to {sum(sizes)} bytes")
    return sizes


def _process_limits(jobs: Sequence[DeltaJob], sizes: list[int], limits: PackageLimits) -> Limits:
    made = {job.target: size for job, size in zip(jobs, sizes, strict=True)}
    largest = max(
        size + (0 if job.base is None else made.get(job.base) or job.base.stat().st_size)
        for job, size in zip(jobs, sizes, strict=True)
    )
    return Limits(
        memory_bytes=max(limits.memory_bytes, _MEMORY_AT_REST_BYTES + _MEMORY_PER_BYTE * largest),
        cpu_s=min(limits.cpu_s, _CPU_AT_REST_S + sum(sizes) // _SLOWEST_BYTES_PER_S),
        file_bytes=max(sizes),
        open_files=64,
    )


def _failure(done: Completed, jobs: Sequence[DeltaJob]) -> WimsmithError:
    if done.returncode == FAILED_STATUS:
        failure = json.loads(done.stdout)
        about = f"{jobs[failure['job']].name[:200]}: {failure['text']}"
        if failure["code"] == NotSupported.code:
            return NotSupported(failure["reason"], about)
        return _ERRORS.get(failure["code"], DamagedDelta)(about)
    if done.returncode in CRASHES:
        return DamagedDelta("expanding it crashed")
    if done.returncode == MEMORY_STATUS or done.returncode in OVERRUNS:
        return LimitExceeded("expanding deltas took too much memory or time")
    return WorkerFailed(f"expanding deltas: status {done.returncode} {done.error_text}".rstrip())


class _Watcher:
    """Reports how many targets are there."""

    def __init__(self, jobs: Sequence[DeltaJob], progress: Progress) -> None:
        self._jobs = jobs
        self._progress = progress
        self._finished = 0

    def __call__(self) -> None:
        total = len(self._jobs)
        while self._finished < total and self._jobs[self._finished].target.exists():
            self._finished += 1
        self._progress(Event("expand", self._finished, total, "files"))
