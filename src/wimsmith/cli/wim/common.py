"""What several commands on WIM files share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wimsmith.errors import InvalidInput, NotFound
from wimsmith.offline.filetime import to_datetime
from wimsmith.offline.wim.container import Wim, open_wim
from wimsmith.offline.wim.tree import Entry, Tree
from wimsmith.offline.wim.worker import WorkerCodec


@contextmanager
def open_file(file: Path) -> Iterator[Wim]:
    with WorkerCodec() as codec, open_wim(file, codec) as wim:
        yield wim


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
