"""How Windows compares names of files and of registry keys."""

from functools import lru_cache

# The upper-case table of Windows is that of Unicode 5.1; capitals that came later are not in it.
_LATER_CAPITALS = (
    range(0x037F, 0x0380),
    range(0x0524, 0x0530),
    range(0x10C6, 0x10D0),
    range(0x13A0, 0x1400),
    range(0x1C80, 0x1CC0),
    range(0x2C2F, 0x2C30),
    range(0x2C70, 0x2C71),
    range(0x2C7E, 0x2C80),
    range(0x2CE5, 0x2D00),
    range(0xA660, 0xA662),
    range(0xA698, 0xA6A0),
    range(0xA78D, 0xABC0),
)


def upcase(name: str) -> str:
    """The form of a name under which Windows compares it.

    One UTF-16 code unit becomes one, and only where its lower case leads back; everything else
    stays as it is. Compared with those parts of the table of Windows 10 that M. Suhanov's `yarp`
    records; the table itself is not public.
    """
    if name.isascii():
        return name.upper()
    return "".join(map(_upcase_character, name))


@lru_cache(maxsize=4096)
def _upcase_character(character: str) -> str:
    upper = character.upper()
    if character > "\uffff" or len(upper) != 1 or upper.lower() != character:
        return character
    return character if any(ord(upper) in later for later in _LATER_CAPITALS) else upper
