"""Making a file of a plan: it grows in a private folder, is read again, and appears whole."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from wimsmith.offline.wim.format.blobs import Blob
from wimsmith.offline.wim.format.codec import Codec
from wimsmith.offline.wim.format.collection import without_collection
from wimsmith.offline.wim.format.container import Wim, naming
from wimsmith.offline.wim.format.document import ImageInfo
from wimsmith.offline.wim.format.header import ResourceFlag
from wimsmith.offline.wim.workers.budget import check_space
from wimsmith.offline.wim.writing.copying import align_to, copy_blobs, copy_range, shares_blocks
from wimsmith.offline.wim.writing.flushing import EarlyFlush
from wimsmith.offline.wim.writing.output import Item, MemorySource, Output, ResourcePacker, item_of
from wimsmith.offline.wim.writing.plan import (
    Plan,
    Recipe,
    converted_bytes,
    copied_bytes,
    needed_bytes,
)
from wimsmith.offline.wim.writing.proof import prove_trees, read_again
from wimsmith.offline.wim.writing.replacing import take_identity
from wimsmith.offline.wim.writing.sealing import Written, first_header, seal, write_end
from wimsmith.offline.wim.writing.solid_output import in_solid, pack_solid, solid_entry
from wimsmith.offline.wim.writing.staging import Staging
from wimsmith.offline.wim.writing.watch import Counter, Watch

_LARGE_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What was written. `copied_bytes` were taken from sources as they were packed.

    `sha256` is that of the whole file in hexadecimal, "" if it was not asked for.
    """

    path: Path
    size_bytes: int
    sha256: str
    images: tuple[ImageInfo, ...]
    copied_bytes: int
    new_blobs: int
    new_bytes: int
    dropped_blobs: int


def assemble(
    target: Path,
    recipe: Recipe,
    plan: Plan,
    *,
    codec: Codec | None,
    watch: Watch,
    overwrite: bool = False,
    check_all: bool = False,
    with_sha256: bool = False,
    replaces: Wim | None = None,
    prove: Callable[[Wim], None] | None = None,
) -> WriteReport:
    """Write the file that `plan` says, and give it the name `target` when it is proved.

    Args:
        target: where it appears.
        recipe: what the plan was made of.
        plan: what is copied, converted and new.
        codec: packs; several calls at once if it has several workers.
        watch: progress and cancel.
        overwrite: whether a file at `target` is replaced.
        check_all: read all content of the new file again, not only what was packed here.
        with_sha256: take the SHA-256 of the file while it is hashed for its integrity table.
        replaces: the open file that stands at `target`; the new one gets its owner and mode.
        prove: looks at the new file, opened as any other, before it gets its name; may refuse it.

    Raises:
        NotEnoughSpace: the disk is full, or will be.
        VerificationFailed: the new file, read again, is not what was written.
        DamagedWim: content that was copied is not what its SHA-1 says.
        DamagedInput: new content that does not have its SHA-1.
        AlreadyExists: a file has appeared at `target`, or the one to be replaced has changed.
    """
    needed = needed_bytes(recipe, plan)
    if replaces is not None:
        target = target.resolve()  # a link stays one
    with Staging(target, needed) as staging:
        check_space(staging.target.parent, needed)
        part = staging.folder / "part.wim"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(part, flags, 0o666)  # what the umask leaves
        try:
            output, flush = Output(descriptor), EarlyFlush(descriptor)
            written = _write_content(output, recipe, plan, codec, watch, flush)
            first = first_header(recipe, has_solid=bool(written.solid))
            header, table, xml = write_end(output, first, recipe, plan, written)
            with ThreadPoolExecutor(1) as beside:  # hashing leaves the interpreter to others
                proving = beside.submit(prove_trees, plan)
                sha256 = seal(descriptor, header, watch, with_sha256=with_sha256)
                proving.result()
            flush.finish()
            infos = read_again(
                part,
                codec,
                (header, table, xml),
                plan,
                written,
                watch,
                check_all=check_all,
                prove=prove,
            )
            size_bytes = os.fstat(descriptor).st_size
            if replaces is not None:
                take_identity(descriptor, target, replaces)
        finally:
            os.close(descriptor)
        staging.publish_file(part, overwrite=overwrite)
    return WriteReport(
        path=target,
        size_bytes=size_bytes,
        sha256=sha256,
        images=infos,
        copied_bytes=copied_bytes(plan),
        new_blobs=len(plan.new),
        new_bytes=sum(source.size_bytes for source in plan.new.values()),
        dropped_blobs=plan.dropped,
    )


def _write_content(
    output: Output,
    recipe: Recipe,
    plan: Plan,
    codec: Codec | None,
    watch: Watch,
    flush: EarlyFlush,
) -> Written:
    with without_collection():
        copied, solid, in_it = _copy(output, plan, watch, flush)
    content = list(copied)
    advance = Counter("compress", converted_bytes(plan), watch)
    with ResourcePacker(output, recipe.form, codec, watch) as packer:
        if recipe.form.is_solid:
            entry, packed = _pack_solid(output, recipe, plan, codec, watch, advance)
            place = sum(one.resource.size_bytes for share in plan.shares for one in share.solid)
            in_it += [_moved(blob, place) for blob in packed]
            solid += entry
        else:
            packed = packer.pack(_items(plan), advance)
            content += _counted(packed, plan)
        metadata = tuple(_write_metadata(output, packer, plan))
    solid += _counted(in_it, plan)
    new = frozenset(blob.sha1 for blob in packed)
    return Written(tuple(content), tuple(solid), metadata, new)


def _counted(blobs: Iterable[Blob], plan: Plan) -> list[Blob]:
    return [Blob(one.sha1, one.location, plan.references.get(one.sha1, 0)) for one in blobs]


def _copy(
    output: Output, plan: Plan, watch: Watch, flush: EarlyFlush
) -> tuple[list[Blob], list[Blob], list[Blob]]:
    """Copy what is kept packed: ordinary blobs, entries of solid resources, and what is in them."""
    told = Counter("copy", copied_bytes(plan), watch)

    def advance(count: int) -> None:
        told(count)
        flush.grown(count)

    shares = [share for share in plan.shares if share.copied or share.solid]
    align = bool(shares) and shares_blocks(shares[0].wim.descriptor, output.descriptor)
    content: list[Blob] = []
    entries: list[Blob] = []
    inside: list[Blob] = []
    place = 0
    for share in shares:
        content += copy_blobs(
            output, share.wim, share.copied, plan.references, advance, align=align
        )
        for one in share.solid:
            where = one.resource.location
            if align:
                align_to(output, where.offset, where.stored_bytes)
            entries.append(solid_entry(output.position, where.stored_bytes))
            descriptor = share.wim.files[one.file].descriptor
            with naming(share.wim.path):
                copy_range(descriptor, output, where.offset, where.stored_bytes, advance)
            inside += [
                in_solid(blob.sha1, place + blob.location.offset, blob.size_bytes)
                for blob in one.blobs
            ]
            place += one.resource.size_bytes
    return content, entries, inside


def _moved(blob: Blob, distance: int) -> Blob:
    return in_solid(blob.sha1, blob.location.offset + distance, blob.size_bytes)


def _pack_solid(
    output: Output,
    recipe: Recipe,
    plan: Plan,
    codec: Codec | None,
    watch: Watch,
    advance: Counter,
) -> tuple[list[Blob], list[Blob]]:
    total = converted_bytes(plan)
    if not total:
        return [], []
    entry, blobs = pack_solid(
        output,
        _items_by_name(plan),
        total,
        form=recipe.form,
        codec=codec,
        watch=watch,
        advance=advance,
    )
    return [entry], blobs


def _items(plan: Plan) -> Iterator[Item]:
    """What is packed, in the order in which it is read fastest."""
    for share in plan.shares:
        yield from _in_stored_order(share.wim, share.converted)
    for sha1, source in plan.new.items():
        yield item_of(sha1, source)


def _items_by_name(plan: Plan) -> Iterator[Item]:
    """What is packed, files of one kind next to one another where that costs no more reading."""
    last = ("\U0010ffff", "")
    for share in plan.shares:
        solid = [blob for blob in share.converted if blob.is_solid]
        others = [blob for blob in share.converted if not blob.is_solid]
        others.sort(key=lambda blob: plan.names.get(blob.sha1, last))
        yield from _in_stored_order(share.wim, solid)
        yield from _in_this_order(share.wim, others)
    for sha1 in sorted(plan.new, key=lambda one: plan.names.get(one, last)):
        if plan.new[sha1].size_bytes:
            yield item_of(sha1, plan.new[sha1])


def _in_stored_order(wim: Wim, blobs: Sequence[Blob]) -> Iterator[Item]:
    for sha1, blocks in wim.open_blobs(blob.sha1 for blob in blobs):
        yield Item(sha1, wim.size_of(sha1), blocks)


def _in_this_order(wim: Wim, blobs: Sequence[Blob]) -> Iterator[Item]:
    small: list[bytes] = []
    for blob in blobs:
        if blob.size_bytes < _LARGE_BYTES:
            small.append(blob.sha1)
            continue
        yield from _read(wim, small)
        small = []
        yield Item(blob.sha1, blob.size_bytes, wim.open_blob(blob.sha1))
    yield from _read(wim, small)


def _read(wim: Wim, sha1s: Iterable[bytes]) -> Iterator[Item]:
    for sha1, data in wim.read_blobs(sha1s):
        yield Item(sha1, len(data), (data,))


def _write_metadata(output: Output, packer: ResourcePacker, plan: Plan) -> Iterator[Blob]:
    """Write or copy the metadata of each image, in order."""
    for planned in plan.images:
        if planned.metadata is not None:
            sha1 = hashlib.sha1(planned.metadata, usedforsecurity=False).digest()
            source = MemorySource(planned.metadata)
            (blob,) = packer.pack([item_of(sha1, source, ResourceFlag.METADATA)])
            yield blob._replace(references=1)
        elif planned.source is not None and planned.image.wim is not None:
            wim = planned.image.wim
            once = {planned.source.sha1: 1}
            yield from copy_blobs(output, wim, [planned.source], once, _ignore, align=False)


def _ignore(_count: int) -> None:
    """Progress of what is small."""
