"""Tagged items behind a directory entry, and the extended attributes (EAs) among them.

An item is a u32 tag, a u32 size, its data, and zeros up to a multiple of eight. Tag 1 is the object
id; tag 2 holds EAs one behind the other: u16 size of the value, u8 length of the name, u8 flags,
the name with a NUL, the value. On an NTFS volume each EA has a u32 distance to the next in front,
flags and lengths in another order, and is padded to a multiple of four. Sources: what wimlib writes
for attributes of files, Microsoft's description of FILE_FULL_EA_INFORMATION.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wimsmith.errors import DamagedWim

OBJECT_ID = 1
EXTENDED = 2
_ITEM = struct.Struct("<II")
_IN_WIM = struct.Struct("<HBB")
_ON_VOLUME = struct.Struct("<IBBH")


@dataclass(frozen=True, slots=True)
class ExtendedAttribute:
    """One EA; `flags` 0x80 says that who does not know it must not open the file."""

    name: bytes
    value: bytes
    flags: int = 0


def items(tagged: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and data of each item.

    Raises:
        DamagedWim: an item is said to be longer than what is there.
    """
    place = 0
    while place + _ITEM.size <= len(tagged):
        tag, size = _ITEM.unpack_from(tagged, place)
        place += _ITEM.size
        if size > len(tagged) - place:
            raise DamagedWim(f"a tagged item of {size} bytes where {len(tagged) - place} are left")
        yield tag, tagged[place : place + size]
        place += (size + 7) & ~7


def item(tag: int, data: bytes) -> bytes:
    """The bytes of one item."""
    return _ITEM.pack(tag, len(data)) + data + bytes(-len(data) % 8)


def extended_of(tagged: bytes) -> tuple[ExtendedAttribute, ...]:
    """The EAs among the items.

    Raises:
        DamagedWim: an item, or an EA in it, is cut off.
    """
    return tuple(one for tag, data in items(tagged) if tag == EXTENDED for one in _in_wim(data))


def pack_extended(attributes: Iterable[ExtendedAttribute]) -> bytes:
    """One item with these EAs."""
    return item(
        EXTENDED,
        b"".join(
            _IN_WIM.pack(len(one.value), len(one.name), one.flags) + one.name + b"\0" + one.value
            for one in attributes
        ),
    )


def to_volume(attributes: Iterable[ExtendedAttribute]) -> bytes:
    """EAs as an NTFS volume holds them."""
    packed = []
    for one in attributes:
        text = one.name + b"\0" + one.value
        size = (_ON_VOLUME.size + len(text) + 3) & ~3
        head = _ON_VOLUME.pack(size, one.flags, len(one.name), len(one.value))
        packed.append((head + text).ljust(size, b"\0"))
    return b"".join(packed)


def from_volume(data: bytes) -> tuple[ExtendedAttribute, ...]:
    """EAs read from an NTFS volume.

    Raises:
        DamagedWim: one of them is cut off.
    """
    found = []
    place = 0
    while place + _ON_VOLUME.size <= len(data):
        distance, flags, name_bytes, value_bytes = _ON_VOLUME.unpack_from(data, place)
        one, _ = _attribute(data, place + _ON_VOLUME.size, name_bytes, value_bytes, flags)
        found.append(one)
        if not distance:
            break
        place += distance
    return tuple(found)


def _in_wim(data: bytes) -> Iterator[ExtendedAttribute]:
    place = 0
    while place + _IN_WIM.size <= len(data):
        value_bytes, name_bytes, flags = _IN_WIM.unpack_from(data, place)
        one, place = _attribute(data, place + _IN_WIM.size, name_bytes, value_bytes, flags)
        yield one


def _attribute(
    data: bytes, place: int, name_bytes: int, value_bytes: int, flags: int
) -> tuple[ExtendedAttribute, int]:
    value_at = place + name_bytes + 1
    if value_at + value_bytes > len(data):
        raise DamagedWim("an extended attribute is cut off")
    name = data[place : value_at - 1]
    return ExtendedAttribute(name, data[value_at : value_at + value_bytes], flags), (
        value_at + value_bytes
    )
