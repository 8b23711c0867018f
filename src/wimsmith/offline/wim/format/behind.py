"""What stands behind a directory entry, for showing and comparing: nothing is refused.

Beside object id (tag 1) and extended attributes (tag 2), which `tagged` reads, there is tag
0x337DD873: what wimlib keeps of Unix files, that is user, group, mode and device as u32 (`struct
wimlib_unix_data` of its public header).
"""

import struct
from dataclasses import dataclass

from wimsmith.errors import DamagedWim
from wimsmith.offline.wim.format.tagged import (
    EXTENDED,
    OBJECT_ID,
    ExtendedAttribute,
    extended_of,
    item,
    items,
)

UNIX_DATA = 0x337D_D873
_UNIX = struct.Struct("<4I")


@dataclass(frozen=True, slots=True)
class UnixData:
    user: int
    group: int
    mode: int
    device: int


@dataclass(frozen=True, slots=True)
class Behind:
    """Items that are understood; `other` has those that are not, by tag.

    `object_id` has 16 bytes, or 64 with the birth ids. Bytes that are no items stand in `other`
    under tag 0.
    """

    object_id: bytes = b""
    extended_attributes: tuple[ExtendedAttribute, ...] = ()
    unix: UnixData | None = None
    other: tuple[tuple[int, bytes], ...] = ()


_NOTHING = Behind()


def read_behind(tagged: bytes) -> Behind:
    """What the bytes behind an entry say."""
    if not tagged:
        return _NOTHING
    try:
        found = list(items(tagged))
    except DamagedWim:
        return Behind(other=((0, tagged),))
    object_id, unix = b"", None
    attributes: list[ExtendedAttribute] = []
    other = []
    for tag, data in found:
        extended = _extended(data) if tag == EXTENDED else ()
        attributes += extended
        if tag == OBJECT_ID and not object_id:
            object_id = data
        elif tag == UNIX_DATA and len(data) == _UNIX.size and unix is None:
            unix = UnixData(*_UNIX.unpack(data))
        elif (tag or data) and not extended:
            other.append((tag, data))
    return Behind(object_id, tuple(attributes), unix, tuple(other))


def _extended(data: bytes) -> tuple[ExtendedAttribute, ...]:
    try:
        return extended_of(item(EXTENDED, data))
    except DamagedWim:
        return ()
