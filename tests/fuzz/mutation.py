"""What the fuzz targets share: changing bytes, and telling findings from errors of ours."""

import random
from collections.abc import Callable, Sequence

from wimsmith.errors import WimsmithError

_VALUES = (0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0xFFFF, 1 << 31, 0xFFFF_FFFF, 1 << 32, 1 << 63)

Reader = Callable[[bytes], object]


def feed(readers: Sequence[Reader], data: bytes) -> None:
    """Give bytes to readers; anything but an error of ours is a finding and is raised."""
    for reader in readers:
        try:
            reader(data)
        except WimsmithError:
            continue


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Overwrite a few fields, cut, or repeat a part."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(0, max(len(changed), 1), chance.choice((1, 4, 8)))
        width = chance.choice((1, 2, 4, 8))
        value = chance.choice((*_VALUES, chance.getrandbits(64), at))
        changed[at : at + width] = value.to_bytes(8, "little")[:width]
    if not chance.randrange(20):
        del changed[chance.randrange(len(changed)) :]
    return bytes(changed)
