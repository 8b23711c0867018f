"""What has to be done differently for the version of libwim that is installed.

Facts are from the release notes of wimlib 1.14.0 to 1.14.5, and from trying 1.13.6.
"""

import logging
from enum import StrEnum
from functools import cache

log = logging.getLogger("wimsmith.offline")

Version = tuple[int, int, int]

_BAD = ((1, 14, 0), (1, 14, 3))
_RECOMMENDED = (1, 14, 4)


class Workaround(StrEnum):
    """Something this program does because a version of the library does it badly."""

    CHECK_HEADER = "check-header"
    """The library believes the counts in a header: 1.5 kB that claim 2^31 images cost it 17 GB.

    Before 1.14.0. The container layer opens every file first, which refuses such headers.
    """

    DIRECTORY_STREAMS = "directory-streams"
    """Metadata of the library has stream entries for directories, which Windows may refuse.

    Before 1.14.2: junctions are refused by the setup of some Windows 8, directories with named
    streams by recent DISM. What the library captured is to be written again by `write_wim`, whose
    metadata is parsed and serialised anew.
    """

    LINK_MARKS = "link-marks"
    """Absolute symbolic links captured from NTFS are marked as made relative to the image.

    Before 1.14.5; DISM then reads them wrongly.
    """


_FIXED_IN: dict[Workaround, Version] = {
    Workaround.CHECK_HEADER: (1, 14, 0),
    Workaround.DIRECTORY_STREAMS: (1, 14, 2),
    Workaround.LINK_MARKS: (1, 14, 5),
}


def workarounds(version: Version) -> frozenset[Workaround]:
    """What this version of the library needs."""
    return frozenset(one for one, fixed in _FIXED_IN.items() if version < fixed)


def warning(version: Version) -> str | None:
    """Why this version should be replaced, or None."""
    first, last = _BAD
    if first <= version <= last:
        return (
            f"libwim {dotted(version)} has known faults (crashes on older processors and on odd"
            f" XML, names that are not ASCII): install {dotted(_RECOMMENDED)} or newer"
        )
    return None


@cache
def note_version(version: Version) -> frozenset[Workaround]:
    """The work-arounds for a version that was found installed; logged the first time.

    Args:
        version: major, minor and patch number, as the library reports them.
    """
    needed = workarounds(version)
    names = ", ".join(sorted(needed)) or "none"
    log.info("libwim %s, work-arounds: %s", dotted(version), names)
    if text := warning(version):
        log.warning("%s", text)
    return needed


def dotted(version: Version) -> str:
    """A version as people write it."""
    return ".".join(map(str, version))
