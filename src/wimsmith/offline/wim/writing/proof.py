"""Reading a new file again before it gets its name: what was written here, or all of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from wimsmith.errors import DamagedWim, VerificationFailed
from wimsmith.offline.wim.format.codec import Codec
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.format.document import ImageInfo
from wimsmith.offline.wim.format.header import Header
from wimsmith.offline.wim.writing.metadataproof import prove_metadata
from wimsmith.offline.wim.writing.pipeline import Pipeline
from wimsmith.offline.wim.writing.plan import Plan, Share
from wimsmith.offline.wim.writing.sealing import Written
from wimsmith.offline.wim.writing.watch import Counter, Watch

_SLICE_BYTES = 1 << 25
_SLICE_CHUNKS = 4


def read_again(
    part: Path,
    codec: Codec | None,
    expected: tuple[Header, bytes, bytes],
    plan: Plan,
    written: Written,
    watch: Watch,
    *,
    check_all: bool,
    prove: Callable[[Wim], None] | None,
) -> tuple[ImageInfo, ...]:
    """Read the new file as anybody would, and what is new in it (or all) by its hash.

    Raises:
        VerificationFailed: what was written here is something else.
        DamagedWim: content that was copied is not what its SHA-1 says, and so it is in its source.
    """
    header, table, xml = expected
    copied = _sources(plan.shares) if check_all else {}
    with open_wim(part, codec) as wim:
        if wim.header != header or wim.files[0].raw_table() != table:
            raise VerificationFailed("the header or the blob table differs")
        if wim.resources.read(header.xml, "the XML document", len(xml)) != xml:
            raise VerificationFailed("the XML document differs")
        with _as_failure():
            for position, image in enumerate(plan.images, 1):
                if image.metadata is not None and wim.metadata(position) != image.metadata:
                    raise VerificationFailed(f"the metadata of image {position} differs")
            _prove_table(wim, plan)
        if prove is not None:
            prove(wim)
        check_content(wim, [*copied, *written.packed], copied, codec, watch)
        return wim.images


def prove_trees(plan: Plan) -> None:
    """Compare the metadata of changed images, which `read_again` finds in the file, with its trees.

    Raises:
        VerificationFailed: it says something else.
    """
    for position, image in enumerate(plan.images, 1):
        if image.metadata is None or image.image.tree is None:
            continue
        try:
            prove_metadata(image.metadata, image.image.tree)
        except (DamagedWim, VerificationFailed) as error:
            raise VerificationFailed(f"image {position}: {error.args[0]}") from error


def _prove_table(wim: Wim, plan: Plan) -> None:
    """All that the images name is there, and counted, but what was to be left out."""
    left_out = {blob.sha1 for blob in plan.left_out}
    for sha1, count in plan.references.items():
        blob = wim.blobs.get(sha1)
        if sha1 not in left_out and (blob is None or blob.references != count):
            raise VerificationFailed(f"content {sha1.hex()} is not in the file {count} times")


def check_content(
    wim: Wim,
    wanted: Sequence[bytes],
    copied: Mapping[bytes, Wim],
    codec: Codec | None,
    watch: Watch,
) -> None:
    """Read content and compare it with its SHA-1, in as many threads as the codec has workers."""
    advance = Counter("check", sum(wim.blobs[sha1].size_bytes for sha1 in wanted), watch)

    def check(sha1s: Sequence[bytes]) -> int:
        done = 0
        for sha1, blocks in wim.open_blobs(sha1s):
            with _as_failure(wim, copied.get(sha1)):
                done += sum(map(len, blocks))
        return done

    pipeline: Pipeline[int] = Pipeline(codec.workers if codec else 1, watch)
    with pipeline:
        for part in _in_slices(wim, wanted):
            pipeline.submit(partial(check, part), advance)
        pipeline.drain()


def _in_slices(wim: Wim, sha1s: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Parts of some megabytes, or of some solid chunks, in the order in which content is stored."""
    blobs = sorted((wim.blobs[sha1] for sha1 in sha1s), key=lambda blob: blob.storage_order)
    chunk_bytes = max((blob.solid.chunk_size for blob in blobs if blob.solid), default=0)
    most = max(_SLICE_BYTES, _SLICE_CHUNKS * chunk_bytes)
    part: list[bytes] = []
    size_bytes = 0
    for blob in blobs:
        part.append(blob.sha1)
        size_bytes += blob.size_bytes
        if size_bytes >= most:
            yield part
            part, size_bytes = [], 0
    if part:
        yield part


@contextmanager
def _as_failure(wim: Wim | None = None, source: Wim | None = None) -> Iterator[None]:
    """Let damage be that of the source of what was copied, or else a failure to write."""
    try:
        yield
    except DamagedWim as error:
        if wim is None or source is None:
            raise VerificationFailed(str(error.args[0])) from error
        detail = str(error.args[0]).removeprefix(f"{wim.path}: ")
        raise DamagedWim(f"{source.path}, as copied: {detail}") from error


def _sources(shares: Iterable[Share]) -> Mapping[bytes, Wim]:
    """Which open file each copied content is from."""
    return {
        blob.sha1: share.wim
        for share in shares
        for blobs in (share.copied, *(one.blobs for one in share.solid))
        for blob in blobs
    }
