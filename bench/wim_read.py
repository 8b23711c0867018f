"""Looking into an image of 100,000 files, and reading many small ones."""

import random
import subprocess
from functools import partial
from pathlib import Path

from bench.inputs import many_files
from bench.rows import Row, apart, measure
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.counting import count_content
from wimsmith.offline.wim.workers.worker import WorkerCodec

_FILES = 12_000
_RUNS = 3


def run(work: Path) -> list[Row]:
    """Inventory and contents, each against wimlib."""
    image = many_files(work)
    places = apart(partial(_sample, image))
    read_bytes = apart(partial(_read, image, list(places.values()), in_stored_order=True))
    names = work / "names"
    names.write_text("".join(f"/{path}\n" for path in places))
    listing, extraction = "wimlib-imagex dir", f"wimlib-imagex extract of {_FILES} files"
    return [
        measure(listing, partial(_listing, image), runs=_RUNS),
        measure("open, tree, walk", partial(_walk, image), peer=listing, runs=_RUNS),
        measure("open, count content", partial(_count, image), peer=listing, runs=_RUNS),
        measure(
            extraction,
            partial(_extract, image, names, work / "extracted", read_bytes),
            runs=_RUNS,
            prepare=partial(_remove, work / "extracted"),
        ),
        measure(
            "read by SHA-1, as asked for",
            partial(_read, image, list(places.values()), in_stored_order=False),
            peer=extraction,
            runs=_RUNS,
        ),
        measure(
            "read by SHA-1, as stored",
            partial(_read, image, list(places.values()), in_stored_order=True),
            peer=extraction,
            runs=_RUNS,
        ),
    ]


def _sample(image: Path) -> dict[str, bytes]:
    with WorkerCodec() as codec, open_wim(image, codec) as wim:
        files = {
            entry.path: entry.inode.sha1
            for entry in wim.tree(1).walk()
            if not entry.is_directory and len(entry.inode.entries) == 1
        }
    return {path: files[path] for path in random.Random(3).sample(sorted(files), _FILES)}


def _listing(image: Path) -> int:
    done = subprocess.run(["wimlib-imagex", "dir", image, "1"], stdout=subprocess.PIPE, check=True)
    return done.stdout.count(b"\n")


def _walk(image: Path) -> int:
    with WorkerCodec() as codec, open_wim(image, codec) as wim:
        return sum(1 for entry in wim.tree(1).walk() if entry.name or entry.parent is None)


def _count(image: Path) -> int:
    with WorkerCodec() as codec, open_wim(image, codec) as wim:
        return count_content(wim.metadata(1)).total()


def _read(image: Path, sha1s: list[bytes], *, in_stored_order: bool) -> int:
    with WorkerCodec() as codec, open_wim(image, codec) as wim:
        if in_stored_order:
            return sum(len(block) for _, blocks in wim.open_blobs(sha1s) for block in blocks)
        return sum(len(data) for _, data in wim.read_blobs(sha1s))


def _extract(image: Path, names: Path, target: Path, read_bytes: int) -> int:
    subprocess.run(
        ["wimlib-imagex", "extract", image, "1", f"@{names}", f"--dest-dir={target}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return read_bytes


def _remove(folder: Path) -> None:
    subprocess.run(["rm", "-rf", folder], check=True)
