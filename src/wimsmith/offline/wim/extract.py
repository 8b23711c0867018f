"""Extracting an image, or parts of it, into a folder of this system."""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import AlreadyExists, UnsafePath
from wimsmith.offline import paths
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.budget import check_space, limits_for, run_worker
from wimsmith.offline.wim.container import Wim, check_indexes, naming, open_wim
from wimsmith.offline.wim.staging import Staging
from wimsmith.offline.wim.tree import Tree
from wimsmith.offline.wim.worker import WorkerCodec

log = logging.getLogger("wimsmith.offline")


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


def extract_image(
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
        check_indexes(wim, [index])
        tree = wim.tree(index)
        needed_bytes = 0 if patterns else _check_tree(tree, wim)
    request = {
        "do": "extract",
        "source": os.fspath(source.absolute()),
        "index": index,
        "patterns": [f"/{paths.join(pattern)}" for pattern in patterns],
    }
    with Staging(target) as staging, naming(source):
        check_space(staging.folder, needed_bytes)
        part = staging.folder / "tree"
        part.mkdir()
        target_part = {"target": os.fspath(part)}
        run_worker(staging, request | target_part, limits_for(threads=1), needed_bytes, progress)
        left_out = tuple(_tame_links(part))
        files, directories, size_bytes = _measure(part)
        staging.publish_tree(part)
    for name in left_out:
        log.warning("%s: the link %s leads out of the image and was left out", source, name)
    duration_s = time.monotonic() - started
    return ExtractReport(
        source, target, index, files, directories, size_bytes, left_out, duration_s
    )


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
