"""Where links of an image lead, as a file system of this system says it.

Layouts of the three kinds of link: [MS-FSCC] 2.1.2.4 and 2.1.2.5, and for links made by the
Windows Subsystem for Linux a u32 of 2 and the target in UTF-8.
"""

import re
import struct
from collections.abc import Sequence

from wimsmith.offline.wim.format.reparse import JUNCTION, LINUX_LINK, SYMBOLIC_LINK
from wimsmith.offline.wim.format.tree import Entry, Tree

LINK_TAGS = frozenset({SYMBOLIC_LINK, JUNCTION, LINUX_LINK})
MAX_TARGET_BYTES = 4095
_PREFIX = re.compile(r"\\(?:\?\?|\\\?|\\\.)\\", re.ASCII)
_DRIVE = re.compile(r"[A-Za-z]:(?=\\|$)", re.ASCII)
_RELATIVE = 1
_LINUX_VERSION = 2


def target_in(tree: Tree, link: Entry, tag: int, data: bytes) -> str | None:
    """The text of a link that leads to the same place within the extracted tree.

    What is absolute counts from the root of the image, whatever drive it was on. Names get the
    case in which the image has them. None for a link to another volume or machine, and for data
    that does not follow its layout.
    """
    found = _linux(data) if tag == LINUX_LINK else _windows(data, has_flags=tag == SYMBOLIC_LINK)
    if found is None:
        return None
    is_absolute, names = found
    start = tree.root if is_absolute else link.parent
    if start is None:
        return None
    spelled = _spelled(start, names)
    if is_absolute:
        spelled = [".."] * _depth(link) + spelled
    target = "/".join(spelled) or "."
    fits = len(target.encode("utf-8", "surrogatepass")) <= MAX_TARGET_BYTES
    return target if fits and "\0" not in target else None


def _windows(data: bytes, *, has_flags: bool) -> tuple[bool, list[str]] | None:
    head = 12 if has_flags else 8
    if len(data) < head:
        return None
    place, size = struct.unpack_from("<HH", data)
    flags = struct.unpack_from("<I", data, 8)[0] if has_flags else 0
    raw = data[head + place : head + place + size]
    if len(raw) != size or size % 2:
        return None
    path = raw.decode("utf-16-le", "surrogatepass")
    is_absolute = not flags & _RELATIVE or path.startswith("\\")
    if not flags & _RELATIVE:
        prefix = _PREFIX.match(path)
        path = path[prefix.end() :] if prefix else path
        drive = _DRIVE.match(path)
        if drive is None:
            return None
        path = path[drive.end() :]
    return is_absolute, _names(path.replace("\\", "/"))


def _linux(data: bytes) -> tuple[bool, list[str]] | None:
    if len(data) <= 4 or struct.unpack_from("<I", data)[0] != _LINUX_VERSION:
        return None
    path = data[4:].decode("utf-8", "replace")
    return path.startswith("/"), _names(path)


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name and name != "."]


def _depth(entry: Entry) -> int:
    """Number of folders between the root and an entry."""
    depth = -1
    at: Entry | None = entry
    while at is not None and at.parent is not None:
        depth += 1
        at = at.parent
    return max(0, depth)


def _spelled(start: Entry, names: Sequence[str]) -> list[str]:
    """Names as the image has them, as far as they lead through folders that are there."""
    at: Entry | None = start
    spelled = []
    for name in names:
        if at is not None:
            at = at.parent if name == ".." else at.child(name)
        spelled.append(at.name if at is not None and name != ".." else name)
    return spelled
