"""A second reader of WIM files, for uncompressed ones, that shares no code with the first.

It keeps what it does not understand as bytes, so that nothing can be lost unseen.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

METADATA, SKIPPED = 2, 0x11
REPARSE_POINT = 0x400


@dataclass(frozen=True)
class RawEntry:
    """All fields of a directory entry but those that say where something else is."""

    attributes: int
    security: bytes | None
    unused: bytes
    times: bytes
    hashes: tuple[bytes, ...]
    named: tuple[tuple[bytes, bytes], ...]
    reserved: int
    reparse: bytes
    short_name: bytes
    tagged: bytes


def raw_entries(wim: Path, number: int = 1) -> dict[str, RawEntry]:
    """Entries of an image by path with a leading `/`."""
    data = _metadata(wim.read_bytes(), number)
    total, count = struct.unpack_from("<II", data)
    sizes = struct.unpack_from(f"<{count}Q", data, 8)
    ends = [8 + 8 * count + sum(sizes[: place + 1]) for place in range(count)]
    security = [data[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    root = (max(total, 8) + 7) & ~7
    found = {}
    pending = [("", root)]
    while pending:
        above, at = pending.pop()
        for name, entry, below in _list(data, at, security):
            path = f"{above}/{name}" if above or at != root else ""
            assert path not in found
            found[path] = entry
            if below:
                pending.append((path, below))
    return found


def raw_xml(wim: Path) -> bytes:
    """The XML document as it stands in the file."""
    offset, size = struct.unpack_from("<QQ", wim.read_bytes(), 80)
    return wim.read_bytes()[offset : offset + size]


def _metadata(whole: bytes, number: int) -> bytes:
    size = int.from_bytes(whole[48:55], "little")
    (offset,) = struct.unpack_from("<Q", whole, 56)
    images = []
    for at in range(offset, offset + size, 50):
        stored = int.from_bytes(whole[at : at + 7], "little")
        start, length = struct.unpack_from("<QQ", whole, at + 8)
        if whole[at + 7] & METADATA:
            assert stored == length, "only for uncompressed files"
            images.append(whole[start : start + stored])
    return images[number - 1]


def _list(data: bytes, at: int, security: list[bytes]) -> Iterator[tuple[str, RawEntry, int]]:
    while (length := struct.unpack_from("<Q", data, at)[0]) > 8:
        attributes, owner, below = struct.unpack_from("<IIQ", data, at + 8)
        reserved, union = struct.unpack_from("<I8s", data, at + 84)
        streams, short_size, name_size = struct.unpack_from("<HHH", data, at + 96)
        name = data[at + 102 : at + 102 + name_size]
        short_at = at + 102 + name_size + (2 if name_size else 0)
        short_name = data[short_at : short_at + short_size]
        end = short_at + short_size + (2 if short_size else 0)
        tagged = data[(end + 7) & ~7 : at + length]
        hashes, named = [data[at + 64 : at + 84]], []
        next_at = at + ((length + 7) & ~7)
        for _ in range(streams):
            size, _, digest, label = struct.unpack_from("<QQ20sH", data, next_at)
            if label:
                named.append((data[next_at + 38 : next_at + 38 + label], digest))
            else:
                hashes.append(digest)
            next_at += (size + 7) & ~7
        yield (
            name.decode("utf-16-le", "surrogatepass"),
            RawEntry(
                attributes,
                None if owner == 0xFFFFFFFF else security[owner],
                data[at + 24 : at + 40],
                data[at + 40 : at + 64],
                tuple(one for one in hashes if any(one)),
                tuple(named),
                reserved,
                union if attributes & REPARSE_POINT else b"",
                short_name,
                tagged,
            ),
            below,
        )
        at = next_at
