"""Names and paths inside a Windows image.

A path is text with `/` between names, without a leading `/`; the root is the empty text. Lookup
ignores case as NTFS does: one code point at a time, so that names keep their length.
"""

from wimsmith.errors import UnsafePath
from wimsmith.offline.upcase import upcase

MAX_NAME_CHARACTERS = 255
MAX_PATH_CHARACTERS = 32_767
_FORBIDDEN = frozenset('/\\:*?"<>|') | frozenset(chr(code) for code in range(32))
_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [f"{port}{digit}" for port in ("COM", "LPT") for digit in "123456789\u00b9\u00b2\u00b3"]
)


def fold(name: str) -> str:
    """The form of a name or path under which Windows compares it; it keeps its length."""
    return name.upper() if name.isascii() else upcase(name)


def split(path: str) -> tuple[str, ...]:
    r"""Names of a path; `/` and `\\` both separate, empty names are dropped."""
    return tuple(name for name in path.replace("\\", "/").split("/") if name)


def join(*parts: str) -> str:
    """One path from several, in normal form."""
    return "/".join(name for part in parts for name in split(part))


def parent(path: str) -> str:
    """Path of the containing directory; the root contains itself."""
    return "/".join(split(path)[:-1])


def check_name(name: str) -> str:
    """Return `name` if Windows would accept it as the name of a file.

    Raises:
        UnsafePath: separators, reserved characters or devices, trailing dot or space, too long.
    """
    stem = name.split(".", 1)[0].rstrip(" ").upper()
    if (
        not name
        or len(name.encode("utf-16-le", "surrogatepass")) > MAX_NAME_CHARACTERS * 2
        or name in {".", ".."}
        or name[-1] in ". "
        or not _FORBIDDEN.isdisjoint(name)
        or stem in _DEVICES
    ):
        raise UnsafePath(repr(name)[:200])
    return name


def check(path: str) -> str:
    """Return `path` in normal form if every name in it is acceptable to Windows.

    Raises:
        UnsafePath: any name fails `check_name`, or the whole is too long.
    """
    names = split(path)
    for name in names:
        check_name(name)
    normal = "/".join(names)
    if len(normal) > MAX_PATH_CHARACTERS:
        raise UnsafePath(f"{normal[:60]}... ({len(normal)} characters)")
    return normal
