"""Capturing a folder or an NTFS volume into a new WIM."""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wimsmith.errors import (
    AlreadyExists,
    DamagedWim,
    InvalidInput,
    InvalidState,
    NotFound,
    VerificationFailed,
)
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.format.codec import DEFAULT_CHUNK_BYTES, STANDARD_CHUNK_BYTES, Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.lint import NameFault
from wimsmith.offline.wim.verbs.append import Addition, append_images
from wimsmith.offline.wim.verbs.exclusions import Exclusions
from wimsmith.offline.wim.verbs.ntfs import NtfsVolume, blaming, open_volume, refuse_in_use
from wimsmith.offline.wim.verbs.verify import verify_wim
from wimsmith.offline.wim.workers.budget import limits_for, run_worker, threads_for
from wimsmith.offline.wim.workers.child import Worker
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.offline.wim.writing.replacing import check_replaceable
from wimsmith.offline.wim.writing.staging import Staging

log = logging.getLogger("wimsmith.offline")

DEFAULT_LEVEL = 50
"""What is captured is kept for long: harder than new content of an edit."""
_NOT_CLOSED = (
    "Start Windows, shut it down fully (`shutdown /s /t 0`), and capture again; or accept that "
    "files may be older than they were with --as-is."
)


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """How a capture is made.

    Args:
        name: name of the image; it must not be empty.
        description: of the image.
        flags: edition id for the element FLAGS, as DISM and Setup use it.
        bootable: mark the image as the one that Windows PE starts.
        compression: how to pack the file.
        level: 20 fast, 50 usual, 100 slow.
        solid: pack all content together with LZMS (an ESD file).
        exclude: what to leave out.
        fix_links: in a folder, make absolute links into it relative to the root of the image.
        strict: refuse names that Windows cannot use, and what a WIM cannot hold.
        as_is: capture a volume although Windows did not close it.
        check: read all of the result again before it gets its name.
        overwrite: replace an existing target.
        append: add the image to the existing target, in the form that this has.
    """

    name: str
    description: str = ""
    flags: str = ""
    bootable: bool = False
    compression: Compression = Compression.LZX
    level: int = DEFAULT_LEVEL
    solid: bool = False
    exclude: Exclusions = field(default_factory=Exclusions)
    fix_links: bool = True
    strict: bool = False
    as_is: bool = False
    check: bool = True
    overwrite: bool = False
    append: bool = False


@dataclass(frozen=True, slots=True)
class PathList:
    """Paths of one kind: how many, and the first thousand of them."""

    count: int
    first: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaptureReport:
    """A WIM that was captured.

    Args:
        source: folder or volume.
        target: the new file.
        index: number of the new image in it.
        name: of the image.
        directories: names of folders in the image, the root included.
        files: names of files and of junctions in the image.
        content_bytes: of what was read.
        size_bytes: of the new file.
        excluded: what the list of exclusions left out.
        left_out: sockets, devices, encrypted files: what cannot be captured here.
        odd_names: names that Windows cannot use, with the reason.
        fixed_links: absolute links that now begin at the root of the image.
        kept_links: absolute links that lead elsewhere, and stay as they are.
        extended_attributes: files that have some; they are in the image.
        special_links: how many files only Windows can read whole, by kind.
        not_closed: the volume had not been closed by Windows.
        checked: the result was read again.
        duration_s: time it took.
    """

    source: Path
    target: Path
    index: int
    name: str
    directories: int
    files: int
    content_bytes: int
    size_bytes: int
    excluded: PathList
    left_out: PathList
    odd_names: PathList
    fixed_links: PathList
    kept_links: PathList
    extended_attributes: int
    special_links: Mapping[str, int]
    not_closed: bool
    checked: bool
    duration_s: float


def capture(
    source: Path, target: Path, options: CaptureOptions, *, progress: Progress = silent
) -> CaptureReport:
    """Capture a folder, or the NTFS volume in an image file or block device; see these."""
    function = capture_folder if source.is_dir() else capture_ntfs
    return function(source, target, options, progress=progress)


def capture_folder(
    source: Path, target: Path, options: CaptureOptions, *, progress: Progress = silent
) -> CaptureReport:
    """Capture a folder of this system into a new WIM with one image.

    It is read as the calling user. Content, times and links are captured; such a folder has no
    security descriptors, short names or attributes of Windows, so files get those of the folder
    they are applied to.

    Raises:
        NotFound: there is no such folder.
        InvalidInput: the target is in the folder; with `strict` also odd names.
        NotSupported: a name that is not UTF-8.
        AlreadyExists, PathUnreachable, NotEnoughSpace, WorkerFailed, VerificationFailed, and what
        `progress` raises. Nothing is left behind then.
    """
    if not source.is_dir():
        raise NotFound(f"the folder {source}")
    if target.absolute().parent.resolve().is_relative_to(source.resolve()):
        raise InvalidInput(f"{target} is in the folder to capture", hint="Choose another folder.")
    return _capture(source, None, target, options, progress)


def capture_ntfs(
    source: Path, target: Path, options: CaptureOptions, *, progress: Progress = silent
) -> CaptureReport:
    """Capture an NTFS volume, without mounting it, into a new WIM with one image.

    Everything that the volume holds of a file is captured: security descriptor, attributes, times,
    short name, hard links, streams, reparse data, object id, extended attributes. What is encrypted
    with EFS is left out and reported.

    Raises:
        NotSupported: `source` is no NTFS volume.
        DamagedInput: its file system is damaged.
        InvalidState: it is mounted or attached, hibernated or not closed.
        As `capture_folder`.
    """
    volume = open_volume(source)
    refuse_in_use(source)
    if target.exists() and target.samefile(source):
        raise InvalidInput(f"{target} is the source itself", hint="Choose another target.")
    if volume.is_dirty and not options.as_is:
        raise InvalidState(f"Windows did not close the volume {source}", hint=_NOT_CLOSED)
    with blaming(source):
        if not options.as_is:
            _refuse_hibernated(source)
        return _capture(source, volume, target, options, progress)


def _refuse_hibernated(source: Path) -> None:
    request = {"do": "look", "volume": os.fspath(source.absolute())}
    with Worker(opens_files=True, limits=limits_for(threads=1)) as worker:
        found, _payload = worker.ask(request)
    if found["hibernated"]:
        text = f"the Windows on {source} is hibernated (fast startup does that too)"
        raise InvalidState(text, hint=_NOT_CLOSED)


def _capture(
    source: Path,
    volume: NtfsVolume | None,
    target: Path,
    options: CaptureOptions,
    progress: Progress,
) -> CaptureReport:
    started = time.monotonic()
    form = _form(target, options)
    with Staging(target) as staging:
        part = staging.folder / "part.wim"
        part.touch()  # so that it gets the permissions every new file of this user gets
        config = staging.folder / "exclusions.ini"
        config.write_text(options.exclude.text(), encoding="utf-8", errors="surrogateescape")
        request = _request(source, part, config, options, form, is_ntfs=volume is not None)
        limits = limits_for(threads_for(solid=options.solid), solid=options.solid)
        found = run_worker(staging, request, limits, 0, progress)
        if not found["written"]:
            raise InvalidInput(_refusal(source, found), hint="Rename or exclude these.")
        index = _publish(staging, part, target, options, progress)
    report = CaptureReport(
        source=source,
        target=target,
        index=index,
        name=options.name,
        directories=found["directories"],
        files=found["files"],
        content_bytes=found["size_bytes"],
        size_bytes=target.stat().st_size,
        excluded=_path_list(found["excluded"]),
        left_out=_path_list(found["unsupported"]),
        odd_names=_odd_names(found["names"]),
        fixed_links=_path_list(found["fixed_links"]),
        kept_links=_path_list(found["kept_links"]),
        extended_attributes=found["extended"],
        special_links=found["special"],
        not_closed=volume is not None and volume.is_dirty,
        checked=options.check,
        duration_s=time.monotonic() - started,
    )
    log.info("Captured %s to %s (%d bytes)", source, target, report.size_bytes)
    return report


def _publish(
    staging: Staging, part: Path, target: Path, options: CaptureOptions, progress: Progress
) -> int:
    """Give the captured file its name, or its image to the target; the number of the image."""
    if options.append:
        addition = Addition(boot=1 if options.bootable else None)
        added = append_images(part, target, addition, progress=progress, check=options.check)
        return added.numbers[0]
    if options.check:
        _verify(part, target, progress)
    staging.publish_file(part, overwrite=options.overwrite)
    return 1


def _verify(part: Path, target: Path, progress: Progress) -> None:
    try:
        verify_wim(part, progress=progress).check()
    except DamagedWim as error:
        raise VerificationFailed(f"{target}: {error.args[0]}") from error


def _form(target: Path, options: CaptureOptions) -> tuple[Compression, int]:
    """Compression and chunk size of the file; of one that exists when the image is appended."""
    if not options.name:
        raise InvalidInput("an image without a name", hint="Say --name.")
    if options.append:
        return _form_of(target, options)
    if options.solid and options.compression is not Compression.LZMS:
        raise InvalidInput("only LZMS is packed solid", hint="Leave out --compress, or --solid.")
    if target.is_dir():
        raise AlreadyExists(f"{target} is a folder", hint="Name the file to make.")
    if target.exists() and not options.overwrite:
        hint = "Choose another target, or say --overwrite, or --append to add an image to it."
        raise AlreadyExists(target, hint=hint)
    return options.compression, DEFAULT_CHUNK_BYTES[options.compression]


def _form_of(target: Path, options: CaptureOptions) -> tuple[Compression, int]:
    if options.overwrite or options.solid:
        raise InvalidInput("an image is appended in the form that the file has")
    if not target.is_file():
        raise NotFound(f"the file {target}", hint="Leave out --append to make it.")
    with WorkerCodec() as codec, open_wim(target, codec) as wim:
        check_replaceable(wim)
        if options.name in {image.name for image in wim.images}:
            raise AlreadyExists(
                f"an image called {options.name!r} in {target}", hint="Say another --name."
            )
        low, high = STANDARD_CHUNK_BYTES[wim.compression]
        if low <= wim.chunk_size <= high:
            return wim.compression, wim.chunk_size
        return wim.compression, DEFAULT_CHUNK_BYTES[wim.compression]


def _request(
    source: Path,
    part: Path,
    config: Path,
    options: CaptureOptions,
    form: tuple[Compression, int],
    *,
    is_ntfs: bool,
) -> dict[str, object]:
    compression, chunk_size = form
    return {
        "do": "capture",
        "source": os.fspath(source.resolve()),
        "part": os.fspath(part),
        "config": os.fspath(config),
        "name": options.name,
        "is_ntfs": is_ntfs,
        "fix_links": options.fix_links and not is_ntfs,
        "strict": options.strict,
        "compression": compression,
        "chunk_size": chunk_size,
        "level": options.level,
        "solid": options.solid,
        "threads": threads_for(solid=options.solid),
        "bootable": options.bootable,
        "edit": {
            "name": options.name,
            "description": options.description or None,
            "flags": options.flags or None,
        },
    }


def _refusal(source: Path, found: Mapping[str, Any]) -> str:
    odd, left_out = _odd_names(found["names"]), _path_list(found["unsupported"])
    shown = "; ".join((*odd.first, *left_out.first)[:5])
    text = f"{source} has {odd.count} names that Windows cannot use"
    return f"{text}, and {left_out.count} entries that a WIM cannot hold: {shown}"


def _path_list(found: Mapping[str, Any]) -> PathList:
    return PathList(int(found["count"]), tuple(found["first"]))


def _odd_names(found: Mapping[str, Any]) -> PathList:
    first = tuple(f"{path} {NameFault[fault]}" for path, fault in found["first"])
    return PathList(int(found["count"]), first)
