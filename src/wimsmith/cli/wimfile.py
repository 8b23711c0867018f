"""What several commands on WIM files share."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from cyclopts import Parameter

from wimsmith.errors import InvalidInput, NotFound
from wimsmith.offline.filetime import to_datetime
from wimsmith.offline.wim.format.codec import Codec
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.format.tree import Attribute, Entry, Tree
from wimsmith.offline.wim.workers.worker import WorkerCodec

References = Annotated[
    tuple[Path, ...],
    Parameter(name="--ref", negative="", consume_multiple=False),
]
LETTERS: Mapping[str, int] = MappingProxyType(
    {
        "D": Attribute.DIRECTORY,
        "R": Attribute.READONLY,
        "H": Attribute.HIDDEN,
        "S": Attribute.SYSTEM,
        "A": Attribute.ARCHIVE,
        "L": Attribute.REPARSE_POINT,
        "E": Attribute.ENCRYPTED,
        "T": 0x100,
        "P": 0x200,
        "C": 0x800,
        "O": 0x1000,
        "I": 0x2000,
    }
)
"""How attributes are shown, as the command `attrib` of Windows does, with D, L, E, T, P, C added:
directory, reparse point, encrypted, temporary, sparse, compressed."""


@contextmanager
def open_codec() -> Iterator[Codec]:
    with WorkerCodec() as codec:
        yield codec


@contextmanager
def open_file(file: Path, references: Sequence[Path] = ()) -> Iterator[Wim]:
    with open_codec() as codec, open_wim(file, codec, references=references) as wim:
        yield wim


def attribute_letters(bits: int) -> str:
    return "".join(letter for letter, bit in LETTERS.items() if bits & bit)


def printable(name: str) -> str:
    """A name without what could move the cursor or turn the writing direction."""
    return "".join(character if character.isprintable() else "?" for character in name)


def found(wim: Wim, tree: Tree, index: int, path: str) -> Entry:
    entry = tree.find(path)
    if entry is None:
        raise NotFound(f"{path} in index {index} of {wim.path}")
    return entry


def numbers(index: str) -> list[int] | None:
    if index == "all":
        return None
    try:
        return [int(part) for part in index.split(",")]
    except ValueError:
        raise InvalidInput(f"index {index!r}", hint="Say a number from 1, or all.") from None


def time_text(filetime: int | None) -> str | None:
    moment = to_datetime(filetime or 0)
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
