"""Applying an image to an NTFS volume: into a new image file, or onto an existing volume."""

import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from wimsmith.errors import (
    AlreadyExists,
    InvalidInput,
    InvalidState,
    NotEnoughSpace,
    UnsafePath,
    VerificationFailed,
    WorkerFailed,
)
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.wim.format.container import check_indexes, naming, open_wim
from wimsmith.offline.wim.format.tree import Tree
from wimsmith.offline.wim.verbs.ntfs import NtfsVolume, blaming, open_volume, refuse_in_use
from wimsmith.offline.wim.workers.budget import check_space, limits_for, run_worker
from wimsmith.offline.wim.workers.child import Worker
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.offline.wim.writing.staging import Staging, no_space
from wimsmith.process import run

log = logging.getLogger("wimsmith.offline")

SMALLEST_BYTES = 8 << 20
"""A smaller volume has hardly room for more than its own tables."""
MAX_LABEL_CHARACTERS = 32

_CLUSTER_BYTES = 4096
_RECORD_BYTES = 1024
_MAX_NAME_BYTES = 510  # of UTF-16
_RESIDENT_BYTES = 700  # content of so many bytes lies in the record of its file
_HEADS, _SECTORS_PER_TRACK, _SECTOR_BYTES = 255, 63, 512
_ADMIN_FOLDERS = "/usr/sbin:/sbin"
_NORMAL_IN_ROOT = frozenset(["system volume information", "$recycle.bin", "recycler"])
_LOGGED = 20
_NOT_CLOSED = "Check it in Windows (`chkdsk /f`), or delete all that is on it with --format."
_FULL = "No space left on device"


class Check(StrEnum):
    """How much of a volume is read again and compared with the image."""

    NOTHING = "nothing"
    ENTRIES = "entries"
    CONTENT = "content"


@dataclass(frozen=True, slots=True)
class NewVolume:
    """An image file to make.

    Args:
        size_bytes: of the file, which takes room on the disk only for what is in it.
        label: name of the volume.
        first_sector: where the partition begins that the file will be copied to, in sectors of
            512 bytes; Windows starts only from a volume that knows its place.
    """

    size_bytes: int
    label: str = ""
    first_sector: int = 0


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """An image that was applied.

    Args:
        source: the WIM.
        index: number of the image.
        volume: image file or block device.
        entries: names that were read back; 0 without a check.
        content_bytes: of the image, each hard-linked file once.
        extended_attributes: files that got some.
        not_kept: what the volume cannot get from here, counted by kind.
        check: what was compared with the image.
        duration_s: time it took.
    """

    source: Path
    index: int
    volume: Path
    entries: int
    content_bytes: int
    extended_attributes: int
    not_kept: Mapping[str, int]
    check: Check
    duration_s: float


@dataclass(frozen=True, slots=True)
class _Image:
    """What is applied: files to open, number, and the room it takes."""

    source: Path
    files: tuple[Path, ...]
    index: int
    content_bytes: int
    needed_bytes: int

    def request(self, verb: str, volume: Path) -> dict[str, Any]:
        """A request to the worker."""
        first, *others = (os.fspath(file.absolute()) for file in self.files)
        where = {"volume": os.fspath(volume.absolute()), "index": self.index}
        return {"do": verb, "source": first, "references": others} | where


def apply_new_volume(
    source: Path,
    index: int,
    target: Path,
    new: NewVolume,
    *,
    references: Sequence[Path] = (),
    check: Check = Check.ENTRIES,
    overwrite: bool = False,
    progress: Progress = silent,
) -> ApplyReport:
    """Apply an image to a new NTFS volume in a new image file, which appears when it is complete.

    Args:
        source: the WIM to read; never changed.
        index: number of the image, from 1.
        target: image file to make.
        new: size, label and place of the volume.
        references: further files that hold content.
        check: what to read again before the file gets its name.
        overwrite: replace an existing target.
        progress: called often; may raise to cancel.

    Raises:
        NoSuchIndex, AlreadyExists, UnsafePath, NotEnoughSpace, DamagedWim, VerificationFailed,
        WorkerFailed, and what `progress` raises. Nothing is left behind then.
    """
    started = time.monotonic()
    _check_new(target, new, overwrite=overwrite)
    image = _image(source, index, references)
    if new.size_bytes < image.needed_bytes:
        raise NotEnoughSpace(
            f"the image needs a volume of about {image.needed_bytes} bytes, not {new.size_bytes}"
        )
    with Staging(target) as staging, naming(source):
        check_space(staging.target.parent, image.content_bytes)
        part = staging.folder / "volume.img"
        with part.open("xb") as file:
            file.truncate(new.size_bytes)
        _format(part, target.absolute().parent, new.label, _geometry(new), progress)
        limits = limits_for(threads=1)
        request = image.request("apply-volume", part)
        answer = run_worker(staging, request, limits, image.content_bytes, progress)
        found = _read_back(image, part, check, progress)
        staging.publish_file(part, overwrite=overwrite)
    return _report(image, target, answer, found, check, started)


def apply_ntfs(
    source: Path,
    index: int,
    volume: Path,
    *,
    references: Sequence[Path] = (),
    format_first: bool = False,
    check: Check = Check.ENTRIES,
    progress: Progress = silent,
) -> ApplyReport:
    """Apply an image to an NTFS volume that exists, in a file or a block device.

    The volume is changed in place: if this fails or is cancelled, part of the image is on it, and
    what was there before `format_first` is gone.

    Args:
        source: the WIM to read; never changed.
        index: number of the image, from 1.
        volume: image file or block device with an NTFS volume that is empty.
        references: further files that hold content.
        format_first: make the file system anew, which deletes all that is on the volume.
        check: what to read again afterwards.
        progress: called often; may raise to cancel.

    Raises:
        NotSupported: no NTFS volume.
        InvalidState: it is in use, hibernated, or was not closed by Windows.
        AlreadyExists: it is not empty.
        VerificationFailed: what was read back is not the image.
        NoSuchIndex, UnsafePath, NotEnoughSpace, DamagedWim, WorkerFailed.
    """
    started = time.monotonic()
    found_volume = open_volume(volume)
    refuse_in_use(volume)
    image = _image(source, index, references)
    if found_volume.size_bytes < image.needed_bytes:
        raise NotEnoughSpace(
            f"the image needs about {image.needed_bytes} bytes,"
            f" {volume} has {found_volume.size_bytes}"
        )
    if format_first:
        _format(volume, volume.absolute().parent, "", _geometry_of(found_volume), progress)
    else:
        with blaming(volume):
            _refuse_content(volume)
    with naming(source), blaming(volume):
        answer = _write(image, volume, progress)
        found = _read_back(image, volume, check, progress)
    return _report(image, volume, answer, found, check, started)


def _check_new(target: Path, new: NewVolume, *, overwrite: bool) -> None:
    if new.size_bytes < SMALLEST_BYTES or new.size_bytes % _SECTOR_BYTES:
        raise InvalidInput(
            f"a volume of {new.size_bytes} bytes",
            hint=f"At least {SMALLEST_BYTES >> 20} MiB, in sectors of {_SECTOR_BYTES} bytes.",
        )
    if len(new.label) > MAX_LABEL_CHARACTERS or "\0" in new.label:
        raise InvalidInput(f"a label of more than {MAX_LABEL_CHARACTERS} characters")
    if not 0 <= new.first_sector < 1 << 32:
        raise InvalidInput(f"a partition that begins at sector {new.first_sector}")
    if target.is_dir():
        raise AlreadyExists(f"{target} is a folder", hint="Name the file to make.")
    if target.exists() and not target.is_file():
        raise InvalidInput(f"{target} is a device", hint="Leave out --new to write to it.")
    if target.exists() and not overwrite:
        raise AlreadyExists(target, hint="Choose another target, or say --overwrite.")


def _image(source: Path, index: int, references: Sequence[Path]) -> _Image:
    """Read the image, and refuse names that libwim would leave out without a word."""
    with (
        naming(source),
        WorkerCodec() as codec,
        open_wim(source, codec, references=references) as wim,
    ):
        check_indexes(wim, [index])
        tree = wim.tree(index)
        files = tuple(file.path for file in wim.files)
        _refuse_unsafe(tree)
        content_bytes = needed_bytes = 0
        for inode in tree.inodes():
            sizes = [wim.size_of(sha1) for sha1 in inode.content()]
            content_bytes += sum(sizes)
            clusters = sum(-(-size // _CLUSTER_BYTES) for size in sizes if size > _RESIDENT_BYTES)
            needed_bytes += _RECORD_BYTES + clusters * _CLUSTER_BYTES
    return _Image(source, files, index, content_bytes, needed_bytes)


def _refuse_unsafe(tree: Tree) -> None:
    for entry in tree.walk():
        if entry.parent is None:
            continue
        if not entry.is_safe:
            raise UnsafePath(repr(entry.name)[:200])
        if len(entry.name.encode("utf-16-le", "surrogatepass")) > _MAX_NAME_BYTES:
            raise UnsafePath(f"{entry.name[:100]!r}..., a name of more than 255 characters")


def _geometry(new: NewVolume) -> tuple[str, ...]:
    return (
        *("--partition-start", str(new.first_sector)),
        *("--heads", str(_HEADS), "--sectors-per-track", str(_SECTORS_PER_TRACK)),
        *("--sector-size", str(_SECTOR_BYTES), "--cluster-size", str(_CLUSTER_BYTES)),
    )


def _geometry_of(volume: NtfsVolume) -> tuple[str, ...]:
    """The geometry that a volume has, for it to keep."""
    return (
        *("--partition-start", str(volume.first_sector)),
        *("--heads", str(volume.heads or _HEADS)),
        *("--sectors-per-track", str(volume.sectors_per_track or _SECTORS_PER_TRACK)),
        *("--sector-size", str(volume.sector_bytes)),
        *("--cluster-size", str(volume.cluster_bytes)),
    )


def _format(
    volume: Path, folder: Path, label: str, geometry: Sequence[str], progress: Progress
) -> None:
    """Make an NTFS volume in a file of `folder`, or on a device."""
    event = Event("Formatting")
    progress(event)
    folders = f"{os.environ.get('PATH', os.defpath)}:{_ADMIN_FOLDERS}"
    program = shutil.which("mkntfs", path=folders)
    if program is None:
        raise WorkerFailed("there is no mkntfs", hint="Install the package ntfs-3g.")
    options = ("--quick", "--force", "--quiet", "--no-indexing", "--label", label)
    try:
        run((program, *options, *geometry, volume), poll=lambda: progress(event))
    except WorkerFailed as error:
        if _FULL in str(error):
            raise no_space(folder, 0, str(error)) from error
        raise


def _refuse_content(volume: Path) -> None:
    request = {"do": "look", "volume": os.fspath(volume.absolute())}
    with Worker(opens_files=True, limits=limits_for(threads=1)) as worker:
        found, _payload = worker.ask(request)
    if found["hibernated"]:
        raise InvalidState(f"the Windows on {volume} is hibernated")
    names = sorted(name for name in found["names"] if name.lower() not in _NORMAL_IN_ROOT)
    if names:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise AlreadyExists(
            f"{volume} is not empty: {shown}",
            hint="Choose another volume, or say --format to delete all that is on it.",
        )


def _write(image: _Image, volume: Path, progress: Progress) -> dict[str, Any]:
    try:
        with Worker(writable=[volume], opens_files=True, limits=limits_for(threads=1)) as worker:
            answer, _payload = worker.ask(image.request("apply-volume", volume), progress=progress)
    except WorkerFailed as error:
        if _FULL in str(error):
            raise NotEnoughSpace(f"the volume {volume} is full ({error})") from error
        raise
    return answer


def _read_back(image: _Image, volume: Path, check: Check, progress: Progress) -> dict[str, Any]:
    """Compare the volume with the image in another process than the one that wrote it.

    Raises:
        VerificationFailed: they differ.
    """
    if check is Check.NOTHING:
        return {"entries": 0, "not_kept": {}}
    request = image.request("read-back", volume) | {"content": check is Check.CONTENT}
    with Worker(opens_files=True, limits=limits_for(threads=1)) as worker:
        found, _payload = worker.ask(request, progress=progress)
    for path, what in found["first"][:_LOGGED]:
        log.error("%s: %s: %s", volume, path or "the root folder", what)
    if found["differences"]:
        path, what = found["first"][0]
        raise VerificationFailed(
            f"{volume} differs from the image in {found['differences']} places;"
            f" first {path or 'the root folder'}: {what}"
        )
    return found


def _report(
    image: _Image,
    volume: Path,
    answer: Mapping[str, Any],
    found: Mapping[str, Any],
    check: Check,
    started: float,
) -> ApplyReport:
    extended = answer["extended"]
    log.info("Applied %s index %d to %s", image.source, image.index, volume)
    if extended:  # libwim has just said that it ignores them
        log.info("%s: extended attributes of %d files were set", volume, extended)
    return ApplyReport(
        source=image.source,
        index=image.index,
        volume=volume,
        entries=found["entries"],
        content_bytes=image.content_bytes,
        extended_attributes=extended,
        not_kept=found["not_kept"],
        check=check,
        duration_s=time.monotonic() - started,
    )
