"""What this machine can give to work on whole WIM files: disk, cores, memory."""

import errno
import os
import shutil
from pathlib import Path

from wimsmith.errors import NotEnoughSpace, WorkerFailed
from wimsmith.offline.progress import Progress
from wimsmith.offline.wim.staging import Staging
from wimsmith.offline.wim.worker import Worker
from wimsmith.process import Limits

_BASE_MEMORY_BYTES = 2 << 30
_THREAD_MEMORY_BYTES = 128 << 20
_SOLID_THREAD_MEMORY_BYTES = 1 << 30  # LZMS with chunks of 64 MiB takes 600 MB a thread
_NO_SPACE = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def run_worker(
    staging: Staging,
    request: dict[str, object],
    limits: Limits,
    needed: int,
    progress: Progress,
) -> None:
    """Let a one-shot worker do `request`; it can write in the staging folder only."""
    writable, lock = [staging.folder], [staging.lock]
    try:
        with Worker(writable=writable, opens_files=True, limits=limits, keep_open=lock) as worker:
            worker.ask(request, progress=progress)
    except WorkerFailed as error:
        if any(reason in str(error) for reason in _NO_SPACE):
            raise no_space(staging.folder, needed, str(error)) from error
        raise


def check_space(folder: Path, needed_bytes: int) -> None:
    if shutil.disk_usage(folder).free < needed_bytes:
        raise no_space(folder, needed_bytes, "")


def no_space(folder: Path, needed_bytes: int, detail: str) -> NotEnoughSpace:
    free_bytes = shutil.disk_usage(folder).free
    needed = f"{needed_bytes} bytes are needed" if needed_bytes else "more is needed"
    text = f"{folder.parent} has {free_bytes} bytes free, {needed}"
    return NotEnoughSpace(f"{text} ({detail})" if detail else text)


def threads_for(*, solid: bool) -> int:
    cores = len(os.sched_getaffinity(0))
    if not solid:
        return cores
    return max(1, min(cores, available_memory_bytes() // _SOLID_THREAD_MEMORY_BYTES))


def available_memory_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def limits_for(threads: int, *, solid: bool = False) -> Limits:
    thread_bytes = _SOLID_THREAD_MEMORY_BYTES if solid else _THREAD_MEMORY_BYTES
    return Limits(memory_bytes=_BASE_MEMORY_BYTES + threads * thread_bytes)
