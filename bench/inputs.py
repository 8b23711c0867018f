"""Large inputs, made once: they stand in the folder `inputs` beside that of the scenario.

The content compresses about as that of Windows does (LZX to half), differs in every file and is
the same in every run.
"""

import hashlib
import random
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.rows import apart
from wimsmith.offline.changes import Times
from wimsmith.offline.security import compile_sddl
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.tree import Tree
from wimsmith.offline.wim.workers import budget
from wimsmith.offline.wim.workers.worker import CodecPool
from wimsmith.offline.wim.writing.write import write_wim

HIVE = "Windows/System32/config/SOFTWARE"
HIVE_BYTES = 10_000_000

_TIMES = Times(131_000_000_000_000_000, 131_000_000_100_000_000, 131_000_000_200_000_000)
_SECURITY = [
    compile_sddl("O:BAG:BAD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)"),
    compile_sddl("O:SYG:SYD:P(A;;FA;;;SY)(A;;0x1200a9;;;BU)"),
    compile_sddl("O:SYG:SYD:P(A;;0x1200a9;;;BA)(A;;0x1200a9;;;SY)(A;;0x1200a9;;;BU)"),
]
_POOL_BYTES = 1 << 24
_WORDS = 700
_MEDIAN_BYTES = 7500
_SPREAD = 1.75
_MOST_BYTES = 30_000_000


def large_image(work: Path) -> Path:
    """A LZX file of about 1 GB with one image of 80,000 entries, of which 10,000 are folders."""
    return kept(work, "large.wim", partial(_make, folders=10_000, files=70_000))


def many_files(work: Path) -> Path:
    """A LZX file whose image has 100,000 small files in 5,000 folders."""
    return kept(
        work,
        "many.wim",
        partial(_make, folders=5_000, files=100_000, median=1600, spread=0.5),
    )


def small_image(work: Path) -> Path:
    """A LZX file of about 30 MB, for what costs much CPU."""
    return kept(work, "small.wim", partial(_make, folders=200, files=2_000))


def chunk_of_content(chance: random.Random, size_bytes: int) -> bytes:
    """Content of so many bytes."""
    return b"".join(Generator.shared().pieces(chance, size_bytes))


class Generator:
    """Cuts content out of a pool of noise and a pool of words."""

    _shared: "Generator | None" = None

    def __init__(self) -> None:
        chance = random.Random(1)
        self._noise = memoryview(chance.randbytes(_POOL_BYTES))
        words = [chance.randbytes(chance.randrange(4, 16)) for _ in range(_WORDS)]
        parts = chance.choices(
            words, [1 / (rank + 2) for rank in range(_WORDS)], k=_POOL_BYTES // 8
        )
        self._words = memoryview(b"".join(parts)[:_POOL_BYTES])

    @classmethod
    def shared(cls) -> "Generator":
        if cls._shared is None:
            cls._shared = cls()
        return cls._shared

    def pieces(self, chance: random.Random, size_bytes: int) -> Iterator[bytes]:
        """Content in pieces; the first says its number, so that no two files are the same."""
        first = chance.randbytes(8)[:size_bytes]
        yield first
        left = size_bytes - len(first)
        while left:
            pool, most = (self._noise, 800) if chance.random() < 0.32 else (self._words, 1600)
            start = int(chance.random() * (_POOL_BYTES - most))
            count = min(left, 1 + int(chance.random() * most))
            yield bytes(pool[start : start + count])
            left -= count


def kept(work: Path, name: str, make: Callable[[Path], None]) -> Path:
    """What `make` makes at a path: the file `name` of the inputs, made if it is not there."""
    folder = work.parent / "inputs"
    folder.mkdir(exist_ok=True)
    path = folder / name
    if not path.exists():
        apart(partial(make, path))
    return path


def _make(
    path: Path, *, folders: int, files: int, median: int = _MEDIAN_BYTES, spread: float = _SPREAD
) -> None:
    """An image with a hive; every eighth file is a second name of the one before it."""
    chance = random.Random(path.name)
    tree = Tree.new(security=_SECURITY[0], times=_TIMES)
    places = _folders(tree, folders, chance)
    content: dict[bytes, Path | bytes] = {}
    before = HIVE
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        store = Path(folder)
        _file(tree, HIVE, HIVE_BYTES, store, content, chance)
        for number in range(files - 1):
            place = f"{chance.choice(places)}/file-{number:06}.dll"
            if number % 8 == 7:
                tree.link(place, before)
                continue
            before = place
            size_bytes = min(int(median * chance.lognormvariate(0, spread)), _MOST_BYTES)
            _file(tree, place, size_bytes, store, content, chance)
        with CodecPool(budget.codec_workers(Compression.LZX, 1 << 15)) as codec:
            write_wim(path, trees={1: tree}, new_content=content, codec=codec)


def _folders(tree: Tree, count: int, chance: random.Random) -> list[str]:
    tree.make_directory("Windows/System32/config", security=_SECURITY[0], times=_TIMES)
    places = ["Windows", "Windows/System32", "Windows/System32/config"]
    for number in range(count - len(places)):
        above = places[int(len(places) * chance.random() ** 2)]
        places.append(f"{above}/folder {number:05}")
        tree.make_directory(places[-1], security=chance.choice(_SECURITY), times=_TIMES)
    return places


def _file(
    tree: Tree,
    path: str,
    size_bytes: int,
    store: Path,
    content: dict[bytes, Path | bytes],
    chance: random.Random,
) -> None:
    data = chunk_of_content(chance, size_bytes)
    sha1 = hashlib.sha1(data, usedforsecurity=False).digest()
    if data:
        content[sha1] = store / sha1.hex()
        (store / sha1.hex()).write_bytes(data)
    entry = tree.put_file(path, sha1, security=chance.choice(_SECURITY), times=_TIMES)
    if len(entry.name) > 12 and chance.random() < 0.3:
        entry.short_name = f"F{entry.name[6:11]}~1.DLL"
