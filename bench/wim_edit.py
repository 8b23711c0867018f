"""Twenty changed files in an image of 1 GB, to a new file beside the old one.

Against wimlib: copy the source, mount the copy, change, commit, unmount, export. Nothing is
brought to the disk there, and nothing is read again. And against a plain copy that is brought to
the disk.
"""

import os
import random
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.inputs import HIVE, HIVE_BYTES, chunk_of_content, large_image
from bench.rows import Row, apart, measure
from wimsmith.offline.edits.kinds import Edit, Replace
from wimsmith.offline.edits.writing import edit_image
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers.worker import CodecPool, WorkerCodec

_FILES = 20
_FILE_BYTES = 250_000
_RUNS = 3


def run(work: Path) -> list[Row]:
    """The edit, the same through a mount, and a copy of the whole file."""
    image = large_image(work)
    changed = apart(partial(_changed_files, image, work))
    target, copy = work / "target.wim", work / "copy.wim"

    def fresh() -> None:
        target.unlink(missing_ok=True)
        copy.unlink(missing_ok=True)

    by_mount, by_copy = "cp, mountrw, change, commit, export", "cp, fsync"
    mount = partial(_by_mount, image, copy, changed, target, work / "mount")
    rows = [
        measure(by_mount, mount, runs=_RUNS, prepare=fresh),
        measure("the same, integrity tables, SHA-256", partial(mount, proved=True), prepare=fresh),
        measure("cp, update, export", partial(_by_update, image, copy, changed, target)),
        measure(by_copy, partial(_by_copy, image, target), runs=_RUNS, prepare=fresh),
    ]
    ours = partial(_by_edit, image, changed, target)
    edit = measure("edit", ours, peer=by_mount, runs=_RUNS, prepare=fresh)
    fresh()
    return [*rows, edit, replace(edit, name="the same, against the copy", peer=by_copy)]


def _changed_files(image: Path, work: Path) -> dict[str, Path]:
    """New content for the hive and for files all over the image, by their paths in it."""
    chance = random.Random(2)
    with WorkerCodec() as codec, open_wim(image, codec) as wim:
        files = [
            entry.path for entry in wim.tree(1).walk() if not entry.is_directory and entry.path
        ]
    places = [HIVE, *chance.sample([path for path in files if path != HIVE], _FILES - 1)]
    changed = {}
    for number, path in enumerate(places):
        changed[path] = work / f"new{number}"
        size_bytes = HIVE_BYTES if path == HIVE else _FILE_BYTES
        changed[path].write_bytes(chunk_of_content(chance, size_bytes))
    return changed


def _by_edit(image: Path, changed: dict[str, Path], target: Path) -> int:
    edits: list[Edit] = [Replace(path, source) for path, source in changed.items()]
    with CodecPool() as codec:
        edit_image(image, 1, edits, target, codec=codec)
    return image.stat().st_size


def _by_mount(
    image: Path,
    copy: Path,
    changed: dict[str, Path],
    target: Path,
    mount: Path,
    *,
    proved: bool = False,
) -> int:
    """`proved`: with the integrity table and the hash of the file that an edit makes, too."""
    mount.mkdir(exist_ok=True)
    _copy(image, copy)
    _wimlib("mountrw", copy, "1", mount)
    for path, source in changed.items():
        with (mount / path).open("r+b") as file:
            file.truncate()
            file.write(source.read_bytes())
    check = ["--check"] if proved else []
    _wimlib("unmount", mount, "--commit", *check)
    _wimlib("export", copy, "all", target, *check)
    if proved:
        subprocess.run(["sha256sum", target], stdout=subprocess.DEVNULL, check=True)
    return copy.stat().st_size


def _by_update(image: Path, copy: Path, changed: dict[str, Path], target: Path) -> int:
    """The files lose their security and links this way."""
    target.unlink()
    _copy(image, copy)
    commands = "".join(f"add '{source}' '/{path}'\n" for path, source in changed.items())
    _quietly(["wimlib-imagex", "update", copy, "1"], commands)
    _wimlib("export", copy, "all", target)
    return copy.stat().st_size


def _by_copy(image: Path, target: Path) -> int:
    _copy(image, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return image.stat().st_size


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--reflink=never", source, target], check=True)


def _wimlib(*arguments: str | Path) -> None:
    """Run a command of wimlib."""
    _quietly(["wimlib-imagex", *arguments])


def _quietly(command: list[str | Path], text: str = "") -> None:
    nowhere = subprocess.DEVNULL
    subprocess.run(command, input=text.encode(), stdout=nowhere, stderr=nowhere, check=True)
