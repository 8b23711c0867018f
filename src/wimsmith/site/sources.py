r"""Paths as administrators write them: local, or UNC, which a site setting maps to a mount."""

from collections.abc import Mapping
from pathlib import Path

from wimsmith.errors import InvalidInput, PathNotMapped, PathUnreachable


def is_unc(path: str) -> bool:
    r"""Whether the path begins with `\\server`, or `//server`."""
    return path.startswith(("\\\\", "//"))


def unc_names(path: str) -> tuple[str, ...]:
    r"""Names of a UNC path; `\\?\UNC\server\share` is the same as `\\server\share`."""
    names = tuple(name for name in path.replace("\\", "/").split("/") if name)
    return names[2:] if names[:1] == ("?",) and names[1:2] and names[1].upper() == "UNC" else names


def check_root(root: str) -> str:
    r"""Return a UNC root as `\\server\share[\folder]`.

    Raises:
        InvalidInput: it is not one.
    """
    names = unc_names(root)
    if not is_unc(root) or len(names) < 2 or ".." in names:
        raise InvalidInput(f"{root!r} is not a UNC root such as \\\\server\\share")
    return "\\\\" + "\\".join(names)


def to_local(path: str, roots: Mapping[str, str]) -> Path:
    """The local path of a path as an administrator wrote it.

    Args:
        path: Absolute, or UNC.
        roots: UNC root to local folder; case of the root does not matter, the longest wins.

    Raises:
        PathNotMapped: no root is known for this UNC path.
        InvalidInput: the path is relative, or leaves its root.
    """
    if not is_unc(path):
        if "\x00" in path or not Path(path).is_absolute():
            raise InvalidInput(f"the path {path!r} is not absolute")
        return Path(path)
    names = unc_names(path)
    if ".." in names or "." in names or "\x00" in path:
        raise InvalidInput(f"the path {path!r} is not in its shortest form")
    folded = tuple(name.upper() for name in names)
    for root in sorted(roots, key=lambda root: -len(unc_names(root))):
        wanted = tuple(name.upper() for name in unc_names(root))
        if folded[: len(wanted)] == wanted:
            return Path(roots[root], *names[len(wanted) :])
    share = "\\\\" + "\\".join(names[:2])
    raise PathNotMapped(
        path, hint=f"Mount {share} on this server and add it to the site setting unc_roots."
    )


def reachable_file(path: Path, shown: str) -> Path:
    """Return `path` if it is a file that can be read.

    Raises:
        PathUnreachable: it is not; `shown` is how the user wrote it.
    """
    try:
        with path.open("rb"):
            pass
        if not path.is_file():
            raise PathUnreachable(f"{shown}: not a regular file")
    except OSError as error:
        raise PathUnreachable(f"{shown}: {error.strerror or error}") from error
    return path
