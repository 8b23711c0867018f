"""What workers read in place is what the reader of single contents gives, whatever is broken."""

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from offline.wim.handmade import METADATA, Handmade
from offline.wim.images import rich
from offline.wim.mutants import Seed, load, mutant
from offline.wim.verbs import imagex
from wimsmith.errors import DamagedInput, LimitExceeded, NotSupported, WimsmithError
from wimsmith.offline.progress import silent
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.format.metadata import serialize_metadata
from wimsmith.offline.wim.verbs.extract import _Work
from wimsmith.offline.wim.verbs.extractplan import plan_extraction
from wimsmith.offline.wim.workers._content import ContentReader
from wimsmith.offline.wim.workers._libwim import LibwimCodec
from wimsmith.offline.wim.workers._reading import Reading

ROUNDS = [pytest.param(400, id="some"), pytest.param(6000, id="many", marks=pytest.mark.slow)]
MOST_BYTES = 1 << 22
FORMS = {
    "none": ["--compress=none"],
    "xpress": ["--compress=xpress", "--chunk-size=4K"],
    "lzx": ["--compress=lzx"],
    "lzms": ["--compress=lzms", "--chunk-size=32K"],
    "solid": ["--solid", "--solid-chunk-size=32K"],
    "pipable": ["--compress=lzx", "--pipable"],
}


@pytest.fixture(scope="module")
def codec() -> LibwimCodec:
    return LibwimCodec()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Seed]:
    folder = tmp_path_factory.mktemp("seeds")
    source = folder / "source"
    (source / "folder").mkdir(parents=True)
    for number, size in enumerate((1, 3000, 40_000, 300_000, 700_000)):
        (source / f"{number}").write_bytes((b"%d some text " % number * size)[:size])
    (source / "folder" / "linked").hardlink_to(source / "1")
    (source / "folder" / "link").symlink_to("../2")
    (source / "folder" / "noise").write_bytes(os.urandom(5000))
    paths = []
    for name, options in FORMS.items():
        paths.append(folder / f"{name}.wim")
        imagex("capture", source, paths[-1], "Name", *options)
    practice, made = rich(), Handmade()
    for data in practice.content.values():
        if isinstance(data, bytes):
            made.raw(data)
    made.raw(serialize_metadata(practice.tree), flags=METADATA)
    return load([*paths, made.write(folder / "rich.wim")])


def alone(wim: Wim) -> dict[bytes, bytes | None]:
    """Each content by itself; None for what cannot be read."""
    found: dict[bytes, bytes | None] = {}
    for digest, blob in wim.blobs.items():
        if blob.size_bytes < MOST_BYTES:
            try:
                found[digest] = b"".join(wim.open_blob(digest))
            except (DamagedInput, LimitExceeded, NotSupported):
                found[digest] = None
    return found


def in_place(wim: Wim, codec: LibwimCodec) -> dict[bytes, bytes | None]:
    """All contents in the order they are stored, as a worker reads them."""
    small = [blob for blob in wim.blobs.values() if blob.size_bytes < MOST_BYTES]
    blobs = sorted(small, key=lambda blob: blob.storage_order)
    found: dict[bytes, bytes | None] = {}
    for blob, blocks in ContentReader(wim.files, codec).contents(blobs):
        try:
            found[blob.sha1] = b"".join(bytes(block) for block in blocks)
        except (DamagedInput, LimitExceeded, NotSupported):
            found[blob.sha1] = None
    return found


@pytest.mark.parametrize("rounds", ROUNDS)
def test_workers_read_what_anybody_reads(
    seeds: list[Seed], tmp_path: Path, codec: LibwimCodec, rounds: int
) -> None:
    chance = random.Random(20_250_101)
    seen: Counter[str] = Counter()
    path = tmp_path / "mutant.wim"
    for number in range(rounds):
        seed = seeds[number % len(seeds)]
        _, data = mutant(seed, chance) if number >= len(seeds) else ("", seed.data)
        path.write_bytes(data)
        try:
            with open_wim(path, codec) as wim:
                expected, found = alone(wim), in_place(wim, codec)
        except WimsmithError:
            seen["refused"] += 1
            continue
        assert found == expected, seed.name
        seen["damaged" if None in expected.values() else "whole"] += 1
    print(dict(seen))  # noqa: T201 - the share that got past the first checks
    assert min(seen["damaged"], seen["whole"]) > rounds // 20
    assert seen["refused"] < rounds * 0.7


@pytest.mark.parametrize("rounds", ROUNDS)
def test_extraction_writes_below_its_folder_only(
    seeds: list[Seed], tmp_path: Path, codec: LibwimCodec, rounds: int
) -> None:
    chance = random.Random(20_250_102)
    ended: Counter[str] = Counter()
    wim, outside, out = tmp_path / "x.wim", tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    for number in range(rounds):
        _, data = mutant(seeds[number % len(seeds)], chance)
        wim.write_bytes(data)
        out.mkdir()
        try:
            extract_here(wim, out, codec)
            ended["extracted"] += 1
        except WimsmithError as error:
            ended[type(error).__name__] += 1
        assert sorted(one.name for one in tmp_path.iterdir()) == ["out", "outside", "x.wim"]
        assert list(outside.iterdir()) == []
        shutil.rmtree(out)
    print(dict(ended))  # noqa: T201 - the share that got past the first checks
    assert ended["extracted"] > rounds // 10


def extract_here(path: Path, out: Path, codec: LibwimCodec) -> None:
    """The requests of an extraction, answered in this process."""
    with open_wim(path, codec) as wim:
        if not wim.images or sum(blob.size_bytes for blob in wim.blobs.values()) > MOST_BYTES:
            raise LimitExceeded("not for a test")
        work = _Work(wim, plan_extraction(wim, wim.tree(1), []), 1)
        reading = Reading(codec)
        empty = memoryview(b"")
        opened = {"files": [str(one.path) for one in wim.files], "drop_root": False}
        with reading._opened:
            reading.verbs["open"](opened, empty, silent)
            reading.verbs["enter"]({"root": str(out)}, empty, silent)
            assert reading._maker is not None
            reading._opened.callback(os.close, reading._maker._root)
            for piece in work._pieces():
                if piece.header.get("what") != "sync":
                    payload = memoryview(bytearray(piece.payload))
                    reading.verbs[piece.header["do"]](piece.header, payload, silent)
        for link in (one for one in out.rglob("*") if one.is_symlink()):
            assert is_inside(link, out), link


def is_inside(link: Path, root: Path) -> bool:
    return Path(os.path.realpath(link)).is_relative_to(root)
