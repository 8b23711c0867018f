"""Decisions about images that need nothing but their inputs."""

import shlex
from pathlib import PurePosixPath

from wimsmith.errors import InvalidInput, NoSuchIndex, NotSupported
from wimsmith.images.models import MAX_COMMENT, MAX_NAME, MAX_VERSION, ImageKind

_WRITTEN = frozenset([".wim"])
_READ = frozenset([".wim", ".esd"])
_MEDIA_NAMES = frozenset(["install.wim", "install.esd"])
_SPLIT_HINT = "Join the parts into one file, and add that: `wimsmith wim join TARGET.wim {}`."


def check_path(path: str, suffixes: frozenset[str] = _WRITTEN) -> str:
    """The file name of a path to an image.

    Raises:
        InvalidInput: it does not end in the name of a .wim file.
        NotSupported: a .swm file, with what to do about it.
    """
    name = PurePosixPath(path.replace("\\", "/")).name if not path.endswith(("/", "\\")) else ""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".swm":
        text = f"{name} is one part of a split image"
        raise NotSupported("split", text, hint=_SPLIT_HINT.format(shlex.quote(path)))
    if suffix not in suffixes:
        raise InvalidInput(
            f"the path {path!r} does not end in the name of a .wim file",
            hint="Give the path with the file name, for example /srv/images/install.wim.",
        )
    return name


def check_source(path: str) -> str:
    """As `check_path`, for a file that is to be read: .esd files are too."""
    return check_path(path, _READ)


def check_text(field: str, value: str, most: int) -> str:
    """Return `value` without outer blanks if it is not too long and stays on its line.

    Raises:
        InvalidInput: it is longer than `most` characters, or holds control characters.
    """
    text = value.strip()
    if len(text) > most:
        raise InvalidInput(f"{field} has {len(text)} characters, the limit is {most}")
    if not text.isprintable():
        raise InvalidInput(f"{field} holds control characters")
    return text


def check_name(value: str) -> str:
    """Raises InvalidInput: as `check_text`, or the name is empty."""
    text = check_text("name", value, MAX_NAME)
    if not text:
        raise InvalidInput("name is empty")
    return text


def check_version(value: str) -> str:
    return check_text("version", value, MAX_VERSION)


def check_comment(value: str) -> str:
    return check_text("comment", value, MAX_COMMENT)


def name_key(name: str) -> str:
    """The form of a name under which names of images are compared."""
    return name.casefold()


def default_name(file_name: str) -> str:
    """Name of an image that nobody named: its file name without extension."""
    return PurePosixPath(file_name).stem.strip()


def likely_kind(path: str) -> ImageKind:
    r"""Install media keep their image as `sources\install.wim` or `sources\install.esd`."""
    names = [name.lower() for name in path.replace("\\", "/").split("/")]
    is_default = names[-2:-1] == ["sources"] and names[-1] in _MEDIA_NAMES
    return ImageKind.DEFAULT if is_default else ImageKind.UNKNOWN


def check_index(number: int, indexes: list[tuple[int, str]], file_name: str) -> int:
    """Return the index number if the file has it.

    Raises:
        NoSuchIndex: it has not; the message lists those it has.
    """
    if number not in {one for one, _ in indexes}:
        listed = ", ".join(f"{one} ({name})" for one, name in indexes)
        raise NoSuchIndex(f"{number} in {file_name}; it has {listed}")
    return number


def extracted_name(file_name: str, index_number: int) -> str:
    """File name for one index taken out of a file."""
    return f"{PurePosixPath(file_name).stem}-index{index_number}.wim"


def common(values: list[str]) -> str:
    """The value that all indexes share, else empty."""
    return values[0] if values and len(set(values)) == 1 else ""
