"""Whatever is broken in a WIM, it is read or refused by our own errors, in little memory."""

import random
import resource
import struct
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from offline.wim.handmade import Handmade, entry, place
from offline.wim.images import rich
from offline.wim.judges import run
from offline.wim.mutants import Seed, load, mutant
from wimsmith.errors import WimsmithError
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.format.metadata import parse_metadata, serialize_metadata
from wimsmith.offline.wim.workers._libwim import LibwimCodec

ROUNDS = [pytest.param(1000, id="some"), pytest.param(20_000, id="many", marks=pytest.mark.slow)]
STAGES = ("refused", "opened", "trees", "contents")
MOST_BYTES = 1 << 22


class Watched(LibwimCodec):
    """Counts the chunks that come to each decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks: Counter[str] = Counter()

    def decompress(
        self, compression: Compression, chunk_size: int, chunks: Sequence[tuple[bytes, int]]
    ) -> list[bytes]:
        self.chunks[compression] += len(chunks)
        return super().decompress(compression, chunk_size, chunks)


@pytest.fixture(scope="module")
def codec() -> Watched:
    return Watched()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory, codec: Watched) -> list[Seed]:
    """Small files of every kind, of wimlib and made by hand."""
    folder = tmp_path_factory.mktemp("seeds")
    source = folder / "source"
    (source / "folder").mkdir(parents=True)
    for number, size in enumerate((1, 3000, 40_000, 70_000)):
        (source / f"{number}").write_bytes((b"%d some text " % number * size)[:size])
    (source / "folder" / "link").hardlink_to(source / "1")
    options = {
        "none": ["--compress=none", "--check"],
        "xpress": ["--compress=xpress", "--chunk-size=4K"],
        "lzx": ["--compress=lzx"],
        "lzms": ["--compress=lzms", "--chunk-size=32K"],
        "solid": ["--solid", "--solid-chunk-size=32K"],
        "pipable": ["--compress=lzx", "--pipable"],
    }
    paths = []
    for name, chosen in options.items():
        paths.append(folder / f"{name}.wim")
        run("wimlib-imagex", "capture", source, paths[-1], "Name", *chosen)
    paths += [_rich(folder / "rich.wim"), _mixed(folder / "mixed.wim", codec)]
    return load(paths)


def _rich(path: Path) -> Path:
    """All that metadata can hold, unpacked, so that what is damaged in it gets to its parser."""
    practice, made = rich(), Handmade()
    for data in practice.content.values():
        if isinstance(data, bytes) and len(data) < 20_000:
            made.raw(data)
    made.raw(serialize_metadata(practice.tree), flags=2)
    return made.write(path)


def _mixed(path: Path, codec: Watched) -> Path:
    """Two solid resources in one run, content beside them, a free and a repeated entry."""
    made = Handmade(Compression.LZX, 1 << 15, codec)
    parts = [b"%d in a solid resource " % number * 2000 for number in range(4)]
    made.solid_resource(parts[0] + parts[1], 1 << 15, Compression.LZX)
    made.solid_resource(parts[2] + parts[3], 1 << 12, Compression.NONE)
    offset = 0
    for data in parts:
        made.solid_blob(data, offset)
        offset += len(data)
    made.raw(b"beside them")
    made.table += [entry(place(5, 1, 208, 5)), made.table[-1]]
    made.image(*parts, b"beside them")
    return made.write(path)


def read_all(wim: Wim) -> Iterator[str]:
    """Read everything; tells what was reached."""
    yield "opened"
    for image in wim.images:
        serialize_metadata(wim.tree(image.number))
    yield "trees"
    wanted = [one for one, blob in wim.blobs.items() if blob.size_bytes < MOST_BYTES]
    for _, blocks in wim.open_blobs(wanted):
        assert sum(map(len, blocks)) < MOST_BYTES
    wim.verify_integrity()
    yield "contents"


def outcome(path: Path, codec: Watched) -> tuple[str, str]:
    """The last stage that was reached, and how it ended."""
    stage = "refused"
    try:
        with open_wim(path, codec) as wim:
            for reached in read_all(wim):
                stage = reached
    except WimsmithError as error:
        return stage, error.code
    return stage, "read"


@pytest.mark.parametrize("rounds", ROUNDS)
def test_files_are_read_or_refused(
    seeds: list[Seed], tmp_path: Path, codec: Watched, rounds: int
) -> None:
    chance, path = random.Random(20_260_101), tmp_path / "x.wim"
    ends: Counter[tuple[str, str]] = Counter()
    stages: Counter[str] = Counter()
    before = _peak_bytes()
    for _ in range(rounds):
        _kind, data = mutant(chance.choice(seeds), chance)
        path.write_bytes(data)
        end = outcome(path, codec)
        ends[end] += 1
        stages.update(STAGES[: STAGES.index(end[0]) + 1])
    tell(f"{rounds} files; reached", {one: f"{stages[one] / rounds:.0%}" for one in STAGES})
    tell("chunks that came to a decoder", dict(codec.chunks))
    tell("ends", {f"{stage} {how}": count for (stage, how), count in ends.most_common()})
    assert stages["opened"] > rounds / 2, "most damage gets past the header"
    assert stages["trees"] > rounds / 4
    assert ends["contents", "read"] > 0
    assert all(codec.chunks[one] > rounds / 10 for one in Compression if one != "none")
    assert sum(count for (_, how), count in ends.items() if how == "damaged-wim") > rounds / 4
    assert _peak_bytes() - before < 300 << 20


@pytest.mark.parametrize("rounds", ROUNDS)
def test_metadata_is_read_or_refused(rounds: int) -> None:
    """Lengths of entries and streams, offsets of lists, numbers of descriptors and of links."""
    chance, intact = random.Random(7), serialize_metadata(rich().tree)
    (root,) = struct.unpack_from("<I", intact)
    starts = [root, *_entry_starts(intact)]
    ends: Counter[str] = Counter()
    for _ in range(rounds):
        data = bytearray(intact)
        for _ in range(chance.choice((1, 1, 2, 3))):
            _damage(data, chance.choice(starts), chance, starts)
        try:
            again = serialize_metadata(parse_metadata(bytes(data)))
            assert serialize_metadata(parse_metadata(again)) == again
            ends["read"] += 1
        except WimsmithError as error:
            ends[error.code] += 1
    tell(f"{rounds} metadata", dict(ends))
    assert ends["read"] > rounds / 5
    assert ends["damaged-wim"] > rounds / 5


# Offset and width of each field of a directory entry.
_FIELDS = (
    *((0, 8), (8, 4), (12, 4), (16, 8), (24, 8), (40, 8), (64, 4), (84, 4), (88, 8)),
    *((96, 2), (98, 2), (100, 2), (102, 2), (104, 8)),
)


def _damage(data: bytearray, start: int, chance: random.Random, starts: list[int]) -> None:
    offset, width = chance.choice(_FIELDS)
    old = int.from_bytes(data[start + offset : start + offset + width], "little")
    near = old + chance.choice((-8, -2, -1, 1, 2, 8))
    values = (0, 1, 0xFF, near, near, chance.choice(starts), len(data), (1 << 8 * width) - 1)
    value = chance.choice(values) % (1 << 8 * width)
    data[start + offset : start + offset + width] = value.to_bytes(width, "little")


def _entry_starts(data: bytes) -> list[int]:
    """Where entries stand, found without our parser: lists are reached through their offsets."""
    found: list[int] = []
    (root,) = struct.unpack_from("<I", data)
    pending = [struct.unpack_from("<Q", data, root + 16)[0]]
    while pending:
        at = pending.pop()
        while (length := struct.unpack_from("<Q", data, at)[0]) > 8:
            found.append(at)
            (below,) = struct.unpack_from("<Q", data, at + 16)
            (streams,) = struct.unpack_from("<H", data, at + 96)
            pending += [below] if below else []
            at += (length + 7) & ~7
            for _ in range(streams):
                at += (struct.unpack_from("<Q", data, at)[0] + 7) & ~7
    return found


def tell(what: str, counts: Mapping[str, object]) -> None:
    """For `pytest -s` and the report of a long run."""
    sys.stdout.write(f"{what}: {dict(counts)}\n")


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
