"""Decisions about images that need nothing but their inputs."""

from pathlib import PurePosixPath

from wimsmith.errors import InvalidInput, NoSuchIndex, NotSupported
from wimsmith.images.models import MAX_COMMENT, MAX_NAME, MAX_VERSION, ImageKind

_ENCRYPTED_HINT = "Decrypt it to a WIM, or take the ISO that holds install.wim."
_SPLIT_HINT = "Join the parts into one WIM: wimlib-imagex join TARGET.wim FIRST.swm 'REST*.swm'."


def check_path(path: str) -> str:
    """The file name of a path to an image.

    Raises:
        InvalidInput: it does not end in the name of a .wim file.
        NotSupported: .esd and .swm files, with what to do about them.
    """
    name = PurePosixPath(path.replace("\\", "/")).name if not path.endswith(("/", "\\")) else ""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".esd":
        raise NotSupported("esd", f"{name} is an electronic download (ESD)", hint=_ENCRYPTED_HINT)
    if suffix == ".swm":
        raise NotSupported("split", f"{name} is one part of a split image", hint=_SPLIT_HINT)
    if suffix != ".wim" or name.lower() == ".wim":
        raise InvalidInput(
            f"the path {path!r} does not end in the name of a .wim file",
            hint="Give the path with the file name, for example /srv/images/install.wim.",
        )
    return name


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
    r"""Install media keep their image as `sources\install.wim`."""
    names = [name.lower() for name in path.replace("\\", "/").split("/")]
    return ImageKind.DEFAULT if names[-2:] == ["sources", "install.wim"] else ImageKind.UNKNOWN


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
