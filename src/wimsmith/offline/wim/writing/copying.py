"""Copying packed bytes from one file to another, in the kernel where it can.

On file systems that share blocks between files (btrfs, XFS) `copy_file_range` copies nothing at
all where both offsets lie alike in their blocks.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence

from wimsmith.errors import DamagedWim
from wimsmith.offline.wim.format.blobs import Blob
from wimsmith.offline.wim.format.container import Wim, naming
from wimsmith.offline.wim.format.header import Location
from wimsmith.offline.wim.format.resource import read_exactly
from wimsmith.offline.wim.writing.output import Advance, Output

_RAW_BYTES = 1 << 20
_COPY_BYTES = 64 << 20
_BLOCK_BYTES = 4096
_WORTH_SHARING_BYTES = 1 << 20
_CLONE_RANGE = 0x4020940D  # FICLONERANGE of linux/fs.h
_CANNOT_COPY = frozenset(
    [
        errno.EXDEV,
        errno.ENOSYS,
        errno.EINVAL,
        errno.EOPNOTSUPP,
        errno.EBADF,
        errno.EPERM,
    ]
)


def shares_blocks(source: int, target: int) -> bool:
    """Whether `target`, which is still empty, can share blocks with `source`."""
    try:
        fcntl.ioctl(target, _CLONE_RANGE, struct.pack("<qQQQ", source, 0, _BLOCK_BYTES, 0))
    except OSError:
        return False
    os.ftruncate(target, 0)
    return True


def copy_blobs(
    output: Output,
    wim: Wim,
    blobs: Iterable[Blob],
    references: Mapping[bytes, int],
    advance: Advance,
    *,
    align: bool,
) -> Iterator[Blob]:
    """Copy packed resources, neighbours in one go; the blobs as they are in the new file.

    Args:
        output: where they are appended.
        wim: the open file that they are from.
        blobs: none of them in a solid resource.
        references: number of names of each in the new file.
        advance: told the number of bytes copied.
        align: leave gaps below 4 KiB where blocks can then be shared.

    Raises:
        DamagedWim: two of them claim the same bytes, or the file ends before one does.
    """
    ordered = sorted(blobs, key=lambda blob: (blob.file, blob.location.offset))
    with naming(wim.path):
        runs = list(_runs(ordered))
    for run in runs:
        start, end = run[0].location.offset, run[-1].location.end
        if align:
            align_to(output, start, end - start)
        shift = output.position - start
        copy_range(wim.descriptor_of(run[0]), output, start, end - start, advance)
        for sha1, (stored_bytes, flags, offset, size_bytes), *_ in run:
            location = Location(stored_bytes, flags, offset + shift, size_bytes)
            yield Blob(sha1, location, references.get(sha1, 0))


def align_to(output: Output, source_offset: int, count: int) -> None:
    """Move on to where blocks of the source can be shared, if that is worth it."""
    if count >= _WORTH_SHARING_BYTES:
        output.position += (source_offset - output.position) % _BLOCK_BYTES


def copy_range(
    source: int, output: Output, source_offset: int, count: int, advance: Advance
) -> None:
    """Append `count` bytes of another file.

    Raises:
        DamagedWim: the source ends before.
    """
    end = source_offset + count
    in_kernel = True
    while source_offset < end:
        want = min(_COPY_BYTES, end - source_offset)
        to_block = -source_offset % _BLOCK_BYTES
        if to_block and want > _BLOCK_BYTES:
            want = to_block  # what follows begins with a block, which can be shared
        done = _kernel_copy(source, output, source_offset, want) if in_kernel else 0
        if done:
            output.position += done
        else:
            in_kernel = False
            done = min(_RAW_BYTES, end - source_offset)
            output.write(read_exactly(source, source_offset, done, "the WIM that is copied"))
        source_offset += done
        advance(done)


def _kernel_copy(source: int, output: Output, offset: int, count: int) -> int:
    try:
        return os.copy_file_range(source, output.descriptor, count, offset, output.position)
    except OSError as error:
        if error.errno in _CANNOT_COPY:
            return 0
        raise


def _runs(ordered: Sequence[Blob]) -> Iterator[list[Blob]]:
    """Groups of blobs of one file that follow one another without a gap."""
    run: list[Blob] = []
    last_file = end = 0
    for blob in ordered:
        stored_bytes, _, offset, _ = blob.location
        if run and blob.file == last_file and stored_bytes and offset < end:
            raise DamagedWim(f"blob {blob.sha1.hex()} overlaps another")
        if run and (blob.file != last_file or offset != end):
            yield run
            run = []
        run.append(blob)
        last_file, end = blob.file, offset + stored_bytes
    if run:
        yield run
