"""What this machine can give to work on whole WIM files: disk, cores, memory."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from wimsmith.errors import WorkerFailed
from wimsmith.offline.progress import Progress
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.workers.child import Worker
from wimsmith.offline.wim.writing.staging import Staging, no_space
from wimsmith.process import Limits

_BASE_MEMORY_BYTES = 2 << 30
_THREAD_MEMORY_BYTES = 128 << 20
_SOLID_THREAD_MEMORY_BYTES = 1 << 30  # LZMS with chunks of 64 MiB takes 600 MB a thread
_WORKER_MEMORY_BYTES = 48 << 20
_MEMORY_PER_CHUNK_BYTE = 11
_READER_MEMORY_BYTES = 64 << 20
_MEMORY_PER_CHUNK_BYTE_READ = 4
_OPEN_FILES = 64
_CGROUP = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")
_NO_SPACE = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def run_worker(
    staging: Staging,
    request: dict[str, object],
    limits: Limits,
    needed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Let a one-shot worker do `request`, writing in the staging folder only; its answer."""
    writable, lock = [staging.folder], [staging.lock]
    try:
        with Worker(writable=writable, opens_files=True, limits=limits, keep_open=lock) as worker:
            answer, _payload = worker.ask(request, progress=progress)
    except WorkerFailed as error:
        if any(reason in str(error) for reason in _NO_SPACE):
            raise no_space(staging.target.parent, needed, str(error)) from error
        raise
    return answer


def check_space(folder: Path, needed_bytes: int) -> None:
    if shutil.disk_usage(folder).free < needed_bytes:
        raise no_space(folder, needed_bytes, "")


def threads_for(*, solid: bool) -> int:
    if not solid:
        return cores()
    return max(1, min(cores(), available_memory_bytes() // _SOLID_THREAD_MEMORY_BYTES))


def codec_workers(compression: Compression, chunk_size: int) -> int:
    """How many workers should pack chunks of this size at once: by cores and free memory.

    A worker that packs LZMS in chunks of 64 MiB takes 700 MB, one that packs LZX next to nothing.
    """
    if compression is Compression.NONE:
        return 1
    return max(1, min(cores(), available_memory_bytes() // codec_memory_bytes(chunk_size)))


def codec_memory_bytes(chunk_size: int) -> int:
    """Memory that one worker takes to pack chunks of this size."""
    return _WORKER_MEMORY_BYTES + _MEMORY_PER_CHUNK_BYTE * chunk_size


def reading_workers(chunk_size: int) -> int:
    """How many workers should unpack content at once, in chunks of at most this size."""
    needed_bytes = _READER_MEMORY_BYTES + _MEMORY_PER_CHUNK_BYTE_READ * chunk_size
    return max(1, min(cores(), available_memory_bytes() // needed_bytes))


def reading_limits(files: int, largest_bytes: int = 0) -> Limits:
    """For a worker that reads so many files of a set and writes none larger than this."""
    return Limits(
        memory_bytes=_BASE_MEMORY_BYTES,
        file_bytes=largest_bytes,
        open_files=_OPEN_FILES + files,
    )


def cores() -> int:
    """Cores that this process may use, a quota of its control group included."""
    allowed = len(os.sched_getaffinity(0))
    for folder in _control_groups("cpu"):
        quota, period = _words(folder / "cpu.max", 2)
        if quota and period:
            allowed = min(allowed, max(1, -(-quota // period)))
    return allowed


def available_memory_bytes() -> int:
    """Memory that can be had without swapping, by the kernel and by the control groups."""
    available = 0
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    for folder in _control_groups("memory"):
        available = min(available, _left_in(folder, available))
    return available


def _left_in(folder: Path, most: int) -> int:
    """What a control group may still take; memory of files that nobody uses counts as free."""
    for limit, usage, reclaimable in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        (allowed,), (used,) = _words(folder / limit, 1), _words(folder / usage, 1)
        if allowed is not None and used is not None:
            return max(0, allowed - max(0, used - _statistic(folder, reclaimable)))
    return most


def _control_groups(controller: str) -> list[Path]:
    """Folders of the control group of this process and of all above it, version 1 or 2.

    Facts from the kernel's `cgroup-v2` page and from cgroups(7). Inside a container the path may
    be that of the host, and only the top folder be there.
    """
    found: list[Path] = []
    with suppress(OSError):
        for line in _CGROUP.read_text(encoding="utf-8").splitlines():
            _number, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            root = _CGROUP_ROOT / controller if controllers else _CGROUP_ROOT
            place = Path(path.lstrip("/"))
            found += [root / above for above in (place, *place.parents)]
    return found


def _words(file: Path, count: int) -> list[int | None]:
    """The first numbers in a file; None for each that is not there or is `max`."""
    text = ""
    with suppress(OSError):
        text = file.read_text(encoding="ascii")
    words = [int(word) if word.isdigit() else None for word in text.split()[:count]]
    return words + [None] * (count - len(words))


def _statistic(folder: Path, name: str) -> int:
    with suppress(OSError):
        for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def limits_for(threads: int, *, solid: bool = False) -> Limits:
    thread_bytes = _SOLID_THREAD_MEMORY_BYTES if solid else _THREAD_MEMORY_BYTES
    return Limits(memory_bytes=_BASE_MEMORY_BYTES + threads * thread_bytes)
