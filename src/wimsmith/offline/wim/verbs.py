"""Heavy work on whole WIM files, done by libwim in a one-shot worker: export, extract, verify.

Sources are opened for reading only, and the worker can write only in a private folder beside the
target. Results appear under their name complete or not at all.
"""

import errno
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import (
    AlreadyExists,
    DamagedWim,
    InvalidInput,
    NoSuchIndex,
    NotEnoughSpace,
    UnsafePath,
    WorkerFailed,
)
from wimsmith.offline import paths
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.codec import DEFAULT_CHUNK_BYTES, Compression
from wimsmith.offline.wim.container import Wim, naming, open_wim
from wimsmith.offline.wim.lint import NameFindings, UnusableName
from wimsmith.offline.wim.staging import Staging
from wimsmith.offline.wim.tree import Tree
from wimsmith.offline.wim.worker import Worker, WorkerCodec
from wimsmith.process import Limits

log = logging.getLogger("wimsmith.offline")

FAST_LEVEL = 20
"""Compression for new content: seven times faster than the library's own 50, 3 % larger."""

_BASE_MEMORY_BYTES = 2 << 30
_THREAD_MEMORY_BYTES = 128 << 20
_SOLID_THREAD_MEMORY_BYTES = 1 << 30  # LZMS with chunks of 64 MiB takes 600 MB a thread
_NO_SPACE = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


@dataclass(frozen=True, slots=True)
class ExportReport:
    """A WIM that was exported. `images` are the numbers in the source, in order."""

    source: Path
    target: Path
    images: tuple[int, ...]
    size_bytes: int
    checked: bool
    duration_s: float


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """A tree that was extracted. `left_out` are links that led out of it."""

    source: Path
    target: Path
    index: int
    files: int
    directories: int
    size_bytes: int
    left_out: tuple[str, ...]
    duration_s: float


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """A WIM whose every byte of content has the hash it should have.

    Names that Windows or this program cannot use are counted, and the first ones listed.
    """

    source: Path
    images: int
    blobs: int
    size_bytes: int
    content_bytes: int
    integrity_table: bool
    duration_s: float
    unusable_count: int = 0
    unusable_names: tuple[UnusableName, ...] = ()


@dataclass(frozen=True, slots=True)
class _Packing:
    """How an export packs; see `export`."""

    compression: Compression | None
    level: int
    solid: bool
    recompress: bool

    @property
    def keeps(self) -> bool:
        """Whether what is packed is copied as it is."""
        return self.compression is None and not self.solid and not self.recompress


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an export takes: image numbers, bytes (0 if unknown), and memory for solid packing."""

    indexes: list[int]
    needed_bytes: int
    packs_solid: bool = False


def export(
    source: Path,
    indexes: Sequence[int] | None,
    target: Path,
    *,
    progress: Progress = silent,
    check: bool = True,
    overwrite: bool = False,
    compression: Compression | None = None,
    level: int = FAST_LEVEL,
    solid: bool = False,
    recompress: bool = False,
) -> ExportReport:
    """Copy images into a new WIM that holds only what they need.

    Packed content is copied as it is, unless `compression`, `solid` or `recompress` ask for
    another form. Names, descriptions and the boot mark are kept; an integrity table is written.

    Args:
        source: the WIM to read; never changed.
        indexes: numbers of the images (from 1), in the order wanted; None for all.
        target: file to make.
        progress: called often; may raise to cancel.
        check: read all of the result again and compare every hash before it gets its name.
        overwrite: replace an existing target.
        compression: how to pack the result; None keeps what the source has.
        level: for what must be packed anew: 20 fast, 50 usual, 100 slow.
        solid: pack all content together (an ESD file).
        recompress: pack anew even what could be copied.

    Raises:
        NoSuchIndex, AlreadyExists, NotEnoughSpace, DamagedWim, WorkerFailed, and what `progress`
        raises. Nothing is left behind then.
    """
    started = time.monotonic()
    _check_target(source, target, overwrite=overwrite)
    packing = _Packing(compression, level, solid, recompress)
    plan = _plan_export(source, indexes, packing)
    with Staging(target) as staging, naming(source):
        _check_space(staging.folder, plan.needed_bytes)
        part = staging.folder / "part.wim"
        part.touch()  # so that it gets the permissions every new file of this user gets
        _write_part(source, part, plan, packing, staging, progress, check=check)
        size_bytes = part.stat().st_size
        staging.publish_file(part, overwrite=overwrite)
    duration_s = time.monotonic() - started
    log.info("Exported %s of %s to %s (%d bytes)", plan.indexes, source, target, size_bytes)
    return ExportReport(source, target, tuple(plan.indexes), size_bytes, check, duration_s)


def extract(
    source: Path,
    index: int,
    target: Path,
    *,
    patterns: Sequence[str] = (),
    progress: Progress = silent,
) -> ExtractReport:
    """Extract an image, or the parts of it that `patterns` name, into a new folder.

    Contents, names, times and links are extracted; security descriptors, attributes and short
    names have no place in a folder of this system. Absolute links are made to point into the
    tree; links that lead out of it are left out and reported.

    Args:
        source: the WIM to read; never changed.
        index: number of the image (from 1).
        target: folder to make; an existing one must be empty.
        patterns: paths in the image, with `?` and `*` within one name; folders come whole.
        progress: called often; may raise to cancel.

    Raises:
        NoSuchIndex, NotFound, AlreadyExists, UnsafePath, NotEnoughSpace, DamagedWim,
        WorkerFailed, and what `progress` raises. Nothing is left behind then.
    """
    started = time.monotonic()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise AlreadyExists(target, hint="Choose a new or empty folder.")
    with naming(source), WorkerCodec() as codec, open_wim(source, codec) as wim:
        _check_indexes(wim, [index])
        tree = wim.tree(index)
        needed_bytes = 0 if patterns else _check_tree(tree, wim)
    request = {
        "do": "extract",
        "source": os.fspath(source.absolute()),
        "index": index,
        "patterns": [f"/{paths.join(pattern)}" for pattern in patterns],
    }
    with Staging(target) as staging, naming(source):
        _check_space(staging.folder, needed_bytes)
        part = staging.folder / "tree"
        part.mkdir()
        target_part = {"target": os.fspath(part)}
        _run(staging, request | target_part, _limits(threads=1), needed_bytes, progress)
        left_out = tuple(_tame_links(part))
        files, directories, size_bytes = _measure(part)
        staging.publish_tree(part)
    for name in left_out:
        log.warning("%s: the link %s leads out of the image and was left out", source, name)
    duration_s = time.monotonic() - started
    return ExtractReport(
        source, target, index, files, directories, size_bytes, left_out, duration_s
    )


def verify(source: Path, *, progress: Progress = silent) -> VerifyReport:
    """Check the integrity table if there is one, all metadata, names, and the hash of all content.

    Raises:
        DamagedWim: something is not what it should be.
        WorkerFailed: the worker was ended; nothing is known then.
    """
    started = time.monotonic()
    with open_wim(source) as wim:
        images, sizes = len(wim.images), [blob.size_bytes for blob in wim.blobs.values()]
        integrity = bool(wim.header.integrity.stored_bytes)
    place = os.fspath(source.absolute())
    with naming(source), Worker(opens_files=True, limits=_limits(threads=1)) as worker:
        worker.ask({"do": "verify", "source": place, "integrity": integrity}, progress=progress)
    with WorkerCodec() as codec, open_wim(source, codec) as wim:
        names = NameFindings()
        for index in range(1, images + 1):
            names.look_at(wim.tree(index), index)
    return VerifyReport(
        source=source,
        images=images,
        blobs=len(sizes),
        size_bytes=source.stat().st_size,
        content_bytes=sum(sizes),
        integrity_table=integrity,
        duration_s=time.monotonic() - started,
        unusable_count=names.count,
        unusable_names=tuple(names.first),
    )


def _run(
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
            raise _no_space(staging.folder, needed, str(error)) from error
        raise


def _check_target(source: Path, target: Path, *, overwrite: bool) -> None:
    if target.is_dir():
        raise AlreadyExists(f"{target} is a folder", hint="Name the file to make.")
    if not target.exists():
        return
    if target.samefile(source):
        raise InvalidInput(f"{target} is the source itself", hint="Choose another target.")
    if not overwrite:
        raise AlreadyExists(target, hint="Choose another target, or say --overwrite.")


def _check_indexes(wim: Wim, indexes: Sequence[int]) -> None:
    if not indexes:
        raise InvalidInput(f"{wim.path}: no index was named")
    if len(set(indexes)) != len(indexes):
        raise InvalidInput(f"{wim.path}: an index was named twice")
    for index in indexes:
        if not 1 <= index <= len(wim.images):
            raise NoSuchIndex(f"{index} of {wim.path}", hint=f"It has 1 to {len(wim.images)}.")


def _plan_export(source: Path, indexes: Sequence[int] | None, packing: _Packing) -> _Plan:
    with WorkerCodec() as codec, open_wim(source, codec) as wim:
        everything = list(range(1, len(wim.images) + 1))
        wanted = everything if indexes is None else list(indexes)
        _check_indexes(wim, wanted)
        if not packing.keeps or wim.is_solid:
            stays_solid = wim.is_solid and packing.compression in {None, Compression.LZMS}
            return _Plan(wanted, 0, packs_solid=packing.solid or stays_solid)
        if set(wanted) == set(everything):
            return _Plan(wanted, wim.file_bytes)
        return _Plan(wanted, _stored_bytes(wim, wanted))


def _write_part(
    source: Path,
    part: Path,
    plan: _Plan,
    packing: _Packing,
    staging: Staging,
    progress: Progress,
    *,
    check: bool,
) -> None:
    threads = _threads(solid=plan.packs_solid)
    request = {
        "do": "export",
        "source": os.fspath(source.absolute()),
        "target": os.fspath(part),
        "indexes": plan.indexes,
        "check": check,
        "compression": packing.compression,
        "chunk_size": DEFAULT_CHUNK_BYTES[packing.compression or Compression.NONE],
        "level": packing.level,
        "solid": packing.solid,
        "recompress": packing.recompress,
        "threads": threads,
    }
    limits = _limits(threads, solid=plan.packs_solid)
    try:
        _run(staging, request, limits, plan.needed_bytes, progress)
    except DamagedWim as error:
        about = str(error.args[0]).replace(os.fspath(part), f"{source}, as copied")
        raise DamagedWim(about) from error


def _stored_bytes(wim: Wim, indexes: Sequence[int]) -> int:
    """Bytes that these images and their content take in the file."""
    content: set[bytes] = set()
    for index in indexes:
        for inode in wim.tree(index).inodes():
            content.update(inode.content())
    stored = [wim.blobs[sha1].location.stored_bytes for sha1 in content if sha1 in wim.blobs]
    metadata = [wim.table.metadata[index - 1].location.stored_bytes for index in indexes]
    return sum(stored) + sum(metadata)


def _check_tree(tree: Tree, wim: Wim) -> int:
    """Bytes the files of a tree take, each hard-linked file once.

    Raises:
        UnsafePath: a name that could lead elsewhere or would be lost.
    """
    total_bytes = 0
    for entry in tree.walk():
        if entry.parent is not None and not entry.is_safe:
            raise UnsafePath(repr(entry.name)[:200])
        if entry.inode.entries[0] is entry:
            held = (wim.blobs.get(sha1) for sha1 in entry.inode.content())
            total_bytes += sum(blob.size_bytes for blob in held if blob is not None)
    return total_bytes


def _check_space(folder: Path, needed_bytes: int) -> None:
    if shutil.disk_usage(folder).free < needed_bytes:
        raise _no_space(folder, needed_bytes, "")


def _no_space(folder: Path, needed_bytes: int, detail: str) -> NotEnoughSpace:
    free_bytes = shutil.disk_usage(folder).free
    needed = f"{needed_bytes} bytes are needed" if needed_bytes else "more is needed"
    text = f"{folder.parent} has {free_bytes} bytes free, {needed}"
    return NotEnoughSpace(f"{text} ({detail})" if detail else text)


def _threads(*, solid: bool) -> int:
    cores = len(os.sched_getaffinity(0))
    if not solid:
        return cores
    return max(1, min(cores, _available_memory_bytes() // _SOLID_THREAD_MEMORY_BYTES))


def _available_memory_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _limits(threads: int, *, solid: bool = False) -> Limits:
    thread_bytes = _SOLID_THREAD_MEMORY_BYTES if solid else _THREAD_MEMORY_BYTES
    return Limits(memory_bytes=_BASE_MEMORY_BYTES + threads * thread_bytes)


def _tame_links(root: Path) -> Iterator[str]:
    """Make absolute links relative to `root`, remove those that lead out of it, and name these.

    A second look follows each link as the kernel would, since a link may lead through another.
    """
    place = root.resolve()
    links = list(_links(root))
    for link in links:
        target = link.readlink()
        if target.is_absolute():
            inside = root / target.relative_to("/")
            _relink(link, os.path.relpath(inside, link.parent))
    for link in links:
        if not Path(os.path.realpath(link)).is_relative_to(place):  # resolve() refuses loops
            _relink(link, None)
            yield str(link.relative_to(root))


def _relink(link: Path, target: str | None) -> None:
    """Point a link elsewhere, or remove it, leaving the times as they were."""
    times, folder_times = link.lstat(), link.parent.stat()
    link.unlink()
    if target is not None:
        link.symlink_to(target)
        os.utime(link, ns=(times.st_atime_ns, times.st_mtime_ns), follow_symlinks=False)
    os.utime(link.parent, ns=(folder_times.st_atime_ns, folder_times.st_mtime_ns))


def _links(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink():
                yield path


def _measure(root: Path) -> tuple[int, int, int]:
    """Files, folders below `root`, and bytes, each hard-linked file once."""
    files = directories = size_bytes = 0
    seen: set[int] = set()
    for folder, inner, names in os.walk(root):
        directories += len(inner)
        files += len(names)
        for name in names:
            status = Path(folder, name).lstat()
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                size_bytes += status.st_size
    return files, directories, size_bytes
