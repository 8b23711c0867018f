"""What the tests of verbs on whole files share."""

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.writing.staging import PREFIX

SOURCE_FOLDER = Path(__file__).parents[3] / "src"


def imagex(*arguments: object) -> str:
    done = subprocess.run(["wimlib-imagex", *map(str, arguments)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def files_of(wim: Path, index: int) -> dict[str, str]:
    """Hash of every file, as wimlib's own listing gives it."""
    text = imagex("dir", wim, index, "--detailed")
    paths = re.findall(r'^Full Path\s+= "(.*)"$', text, re.MULTILINE)
    assert len(paths) > 3
    hashes = [re.findall(r"Hash\s+= 0x(\w+)", block) for block in text.split("Full Path")[1:]]
    return {path: ",".join(found) for path, found in zip(paths, hashes, strict=True)}


def fingerprint(path: Path) -> tuple[str, int, int, int]:
    status = path.stat()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return digest, status.st_size, status.st_mtime_ns, status.st_mode


def strays(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(PREFIX))


_strangers: set[int] = set()


def meet_strangers() -> None:
    """Remember the children that other tests of this process keep, such as a shared codec."""
    _strangers.clear()
    _strangers.update(children())


def children() -> list[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    pids = [int(pid) for task in tasks for pid in task.read_text().split()]
    return [pid for pid in pids if pid not in _strangers]


def soon(condition: Callable[[], bool], timeout_s: float = 5) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def make_tree(folder: Path) -> Path:
    (folder / "Windows/System32").mkdir(parents=True)
    (folder / "Windows/System32/kernel.dll").write_bytes(b"MZ kernel code " * 9000)
    (folder / "Windows/notepad.exe").write_bytes(b"MZ notepad " * 500)
    (folder / "Windows/System32/notepad.exe").hardlink_to(folder / "Windows/notepad.exe")
    (folder / "empty.txt").touch()
    (folder / "random.bin").write_bytes(os.urandom(70_000))
    (folder / "link").symlink_to("Windows/notepad.exe")
    return folder


def flip(source: Path, target: Path) -> None:
    """Copy a WIM with one bit of its largest packed content changed."""
    with open_wim(source) as wim:
        packed = [blob for blob in wim.blobs.values() if blob.location.is_compressed]
    blob = max(packed, key=lambda blob: blob.location.stored_bytes)
    data = bytearray(source.read_bytes())
    data[blob.location.offset + blob.location.stored_bytes // 2] ^= 1
    target.write_bytes(data)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("needs the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
