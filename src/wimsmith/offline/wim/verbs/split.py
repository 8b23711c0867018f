"""Splitting a WIM into parts of a size, for media and file systems with a limit.

The first part has the metadata of all images, each part a blob table for what it holds and the
XML document. All parts have one GUID. Layout as in sets that DISM and wimlib make.
"""

import logging
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wimsmith.errors import InvalidInput, NotSupported
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.format import integrity, remedies
from wimsmith.offline.wim.format.blobs import ENTRY_BYTES, Blob
from wimsmith.offline.wim.format.container import Kind, Wim
from wimsmith.offline.wim.format.header import HEADER_BYTES, Flag
from wimsmith.offline.wim.workers.budget import check_space
from wimsmith.offline.wim.workers.worker import CodecPool
from wimsmith.offline.wim.writing.copying import copy_blobs
from wimsmith.offline.wim.writing.form import Form, form_of
from wimsmith.offline.wim.writing.making import check_target, opened
from wimsmith.offline.wim.writing.output import Output
from wimsmith.offline.wim.writing.plan import NewImage, Plan, Recipe, can_copy, plan_file
from wimsmith.offline.wim.writing.proof import check_content
from wimsmith.offline.wim.writing.sealing import Written, first_header, seal, write_end
from wimsmith.offline.wim.writing.staging import Staging
from wimsmith.offline.wim.writing.watch import Counter, Watch

log = logging.getLogger("wimsmith.offline")

MAX_PARTS = 0xFFFF


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the set. `is_oversize` if one content alone is larger than a part should be."""

    path: Path
    size_bytes: int
    is_oversize: bool


@dataclass(frozen=True, slots=True)
class SplitReport:
    """A set that was written, in order."""

    source: Path
    parts: tuple[Part, ...]
    part_bytes: int
    checked: bool
    duration_s: float


@dataclass(frozen=True, slots=True)
class _Share:
    """What one part holds, and the size that it will have."""

    metadata: tuple[Blob, ...]
    content: tuple[Blob, ...]
    size_bytes: int


def split_wim(
    source: Path,
    target: Path,
    part_bytes: int,
    *,
    progress: Progress = silent,
    check: bool = True,
    overwrite: bool = False,
) -> SplitReport:
    """Write `source` as a set of parts: `target`, and beside it the same name with 2, 3 and so on.

    Packed content is copied as it is. A content is never cut: one that is larger than a part
    gets a part of its own, which the report names.

    Args:
        source: the WIM to read; never changed.
        target: the first part, `NAME.swm`.
        part_bytes: most bytes of a part.
        progress: called often; may raise to cancel.
        check: read all of the set again and compare every hash before the parts get their names.
        overwrite: replace existing files of these names.

    Raises:
        NotSupported: the source is solid, pipable or has chunks that Windows does not accept.
        InvalidInput: the metadata alone is larger than a part.
        AlreadyExists, NotEnoughSpace, DamagedWim, and what `progress` raises. Nothing is left then.
    """
    started = time.monotonic()
    watch = Watch(progress)
    with opened(source, watch) as wim, CodecPool(beat=watch.beat) as codec:
        form = form_of(wim)
        shares = plan_split(wim, part_bytes)
        paths = part_paths(target, len(shares))
        for path in paths:
            check_target(path, [file.path for file in wim.files], overwrite=overwrite)
        recipe = Recipe(images=_all_images(wim), form=form, base=wim, boot=wim.header.boot_index)
        plan = plan_file(recipe, watch.tell)
        needed = sum(share.size_bytes for share in shares)
        with Staging(target, needed) as staging:
            check_space(staging.target.parent, needed)
            new = [staging.folder / path.name for path in paths]
            _write_parts(new, wim, shares, recipe, plan, watch)
            if check:
                with opened(new[0], watch) as written:
                    check_content(written, list(written.blobs), {}, codec, watch)
            sizes = [path.stat().st_size for path in new]
            staging.publish_set(new, paths, overwrite=overwrite)
    parts = tuple(
        Part(path, size, size > part_bytes) for path, size in zip(paths, sizes, strict=True)
    )
    log.info("Split %s into %d parts, %s and following", source, len(parts), target)
    return SplitReport(source, parts, part_bytes, check, time.monotonic() - started)


def _all_images(wim: Wim) -> tuple[NewImage, ...]:
    return tuple(NewImage(wim, number) for number in range(1, len(wim.images) + 1))


def part_paths(target: Path, count: int) -> list[Path]:
    """Names of the parts: `NAME.swm`, `NAME2.swm`, `NAME3.swm`."""
    numbered = [
        target.with_name(f"{target.stem}{one}{target.suffix}") for one in range(2, count + 1)
    ]
    return [target, *numbered]


def plan_split(wim: Wim, part_bytes: int) -> list[_Share]:
    """What each part holds, in the order in which it is stored.

    Raises:
        NotSupported: content that cannot be copied as it is packed.
        InvalidInput: the metadata does not fit the first part, or there would be too many parts.
    """
    form = form_of(wim)
    blobs = sorted(wim.blobs.values(), key=lambda blob: blob.storage_order)
    _refuse_uncopied(wim, form, [*blobs, *wim.table.metadata])
    overhead = HEADER_BYTES + wim.header.xml.stored_bytes + 64
    metadata = wim.table.metadata
    first = sum(_cost(blob) for blob in metadata)
    if overhead + first > part_bytes:
        raise InvalidInput(
            f"parts of {part_bytes} bytes are smaller than the descriptions of the images",
            hint=f"Say at least {overhead + first} bytes.",
        )
    shares: list[_Share] = []
    content: list[Blob] = []
    size = overhead + first
    for blob in blobs:
        if size + _cost(blob) > part_bytes and (content or not shares):
            shares.append(_Share(() if shares else metadata, tuple(content), size))
            content, size = [], overhead
        content.append(blob)
        size += _cost(blob)
    if content or not shares:
        shares.append(_Share(() if shares else metadata, tuple(content), size))
    if len(shares) > MAX_PARTS:
        raise InvalidInput(f"{len(shares)} parts", hint=f"A set has at most {MAX_PARTS}.")
    return shares


def _cost(blob: Blob) -> int:
    """Bytes that a content takes in a part: packed, in the table, and its share of the hashes."""
    stored = blob.location.stored_bytes
    return stored + ENTRY_BYTES + 20 * (stored // integrity.CHUNK_BYTES + 1)


def _refuse_uncopied(wim: Wim, form: Form, blobs: Sequence[Blob]) -> None:
    if wim.is_solid:
        raise NotSupported(
            "solid",
            f"{wim.path} is solid (ESD): its content cannot be cut into parts",
            hint=remedies.EXPORT_AS_LZX,
        )
    if Kind.SPLIT in wim.kinds:
        raise NotSupported("split-set", f"{wim.path} is part of a set", hint=remedies.JOIN)
    if not all(can_copy(wim, blob, form) for blob in blobs):
        raise NotSupported(
            "conversion",
            f"content of {wim.path} cannot stay as it is packed",
            hint=remedies.EXPORT_AS_LZX,
        )


def _write_parts(
    paths: Sequence[Path],
    wim: Wim,
    shares: Sequence[_Share],
    recipe: Recipe,
    plan: Plan,
    watch: Watch,
) -> None:
    guid = secrets.token_bytes(16)
    total = sum(blob.location.stored_bytes for share in shares for blob in share.content)
    advance = Counter("copy", total, watch)
    header = replace(first_header(recipe, has_solid=False), guid=guid, total_parts=len(shares))
    if len(shares) > 1:
        header = replace(header, flags=header.flags | Flag.SPANNED)
    for number, (path, share) in enumerate(zip(paths, shares, strict=True), 1):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            output = Output(descriptor)
            once = {blob.sha1: 1 for blob in share.metadata}
            content = copy_blobs(output, wim, share.content, plan.references, advance, align=False)
            described = list(content)
            metadata = list(_in_order(output, wim, share.metadata, once))
            written = Written(tuple(described), (), tuple(metadata), frozenset())
            mine = replace(header, part_number=number)
            final, _table, _xml = write_end(output, mine, recipe, plan, written)
            seal(descriptor, final, watch, with_sha256=False)
        finally:
            os.close(descriptor)


def _in_order(
    output: Output, wim: Wim, metadata: Sequence[Blob], once: dict[bytes, int]
) -> Iterator[Blob]:
    """Copy metadata in the order of the images, which may not be that of the file."""
    for blob in metadata:
        yield from copy_blobs(output, wim, [blob], once, lambda _: None, align=False)
