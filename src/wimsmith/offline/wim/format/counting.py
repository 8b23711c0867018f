"""How often an image names each content, read from its metadata without building a tree.

The layout is described in `metadata`. Images that are copied as they are need no more than this.
"""

import struct
from collections import Counter
from itertools import pairwise

from wimsmith.errors import DamagedWim
from wimsmith.offline.wim.format.tree import ZERO_SHA1, Attribute

_SECURITY = struct.Struct("<II")
_LENGTH = struct.Struct("<Q")
_ENTRY = struct.Struct("<QI4xQ40x20s12xH4x")
_STREAM = struct.Struct("<Q8x20sH")


def count_content(data: bytes) -> Counter[bytes]:
    """Number of streams and of reparse data of each SHA-1, once per directory entry.

    Equals `parse_metadata(data).references()` for metadata that can be parsed. Names, security
    descriptors and times are not looked at.

    Raises:
        DamagedWim: offsets or lengths that cannot be true, lists that are shared or overlap.
    """
    root = _root_offset(data)
    counts: Counter[bytes] = Counter()
    if root == len(data):
        return counts
    lists, end = _entry(data, root, counts)
    extents = [(0, root), (root, end)] if lists else []
    budget = 2 * len(data)
    while lists:
        start = lists.pop()
        below, end = _list(data, start, counts)
        budget -= end - start
        if budget < 0:
            raise DamagedWim("directories share entries, or contain one another")
        if end - start > _LENGTH.size:
            extents.append((start, end))
        lists += below
    _refuse_overlap(extents)
    del counts[ZERO_SHA1]
    return counts


def _root_offset(data: bytes) -> int:
    if len(data) < _SECURITY.size:
        raise DamagedWim(f"metadata of {len(data)} bytes")
    length, _count = _SECURITY.unpack_from(data)
    offset: int = (max(length, _SECURITY.size) + 7) & ~7
    if offset > len(data):
        raise DamagedWim(f"security data of {length} bytes in metadata of {len(data)}")
    return offset


def _list(data: bytes, offset: int, counts: Counter[bytes]) -> tuple[list[int], int]:
    """Count the entries of one directory; where the lists below begin, and where this one ends."""
    below: list[int] = []
    while True:
        found, end = _entry(data, offset, counts)
        if end == offset:
            return below, offset + _LENGTH.size
        below += found
        offset = end


def _entry(data: bytes, offset: int, counts: Counter[bytes]) -> tuple[list[int], int]:
    """Count one entry; the offset of its own list if it has one, and its end (same at the last)."""
    if offset % 8 or offset + _LENGTH.size > len(data):
        raise DamagedWim(f"directory entry at {offset} in metadata of {len(data)} bytes")
    (length,) = _LENGTH.unpack_from(data, offset)
    if length <= _LENGTH.size:
        return [], offset
    if length < _ENTRY.size or length > len(data) - offset:
        raise DamagedWim(f"directory entry at {offset} is said to have {length} bytes")
    _, attributes, subdir, sha1, stream_count = _ENTRY.unpack_from(data, offset)
    end = offset + ((length + 7) & ~7)
    if stream_count:
        unnamed, end = _count_streams(data, end, stream_count, counts)
        _count_unnamed([sha1, *unnamed], attributes, counts)
    else:
        counts[sha1] += 1
    if end > len(data):
        raise DamagedWim(f"directory entry at {offset} ends outside the metadata")
    return [subdir] if subdir and attributes & Attribute.DIRECTORY else [], end


def _count_streams(
    data: bytes, offset: int, count: int, counts: Counter[bytes]
) -> tuple[list[bytes], int]:
    """Count the named streams at `offset`; the hashes of the others, and the end of all."""
    unnamed = []
    for _ in range(count):
        if offset + _STREAM.size > len(data):
            raise DamagedWim(f"stream entry at {offset} in metadata of {len(data)} bytes")
        length, sha1, name_bytes = _STREAM.unpack_from(data, offset)
        if length < _STREAM.size + name_bytes or length > len(data) - offset:
            raise DamagedWim(f"stream entry at {offset} is said to have {length} bytes")
        if name_bytes:
            counts[sha1] += 1
        else:
            unnamed.append(sha1)
        offset += (length + 7) & ~7
    return unnamed, offset


def _count_unnamed(hashes: list[bytes], attributes: int, counts: Counter[bytes]) -> None:
    """Reparse data counts once, and so does the main content, which may be named twice."""
    present = [sha1 for sha1 in hashes if sha1 != ZERO_SHA1]
    if attributes & Attribute.REPARSE_POINT:
        is_empty = hashes[0] == ZERO_SHA1 and len(hashes) > 1 and hashes[1] == ZERO_SHA1
        if present and not is_empty:
            counts[present.pop(0)] += 1
    if present:
        counts[present[0]] += 1
        if any(sha1 != present[0] for sha1 in present):
            raise DamagedWim("a file has two unnamed streams")


def _refuse_overlap(extents: list[tuple[int, int]]) -> None:
    extents.sort()
    for (_, end), (start, _) in pairwise(extents):
        if start < end:
            raise DamagedWim(f"directory entries at {start} overlap others")
