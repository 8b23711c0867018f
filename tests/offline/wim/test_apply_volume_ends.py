"""Applying to a volume that is stopped, killed or runs out of room: no volume is left behind."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from offline.wim.images import Practice, rich, write
from offline.wim.test_apply_volume import NEW, uncompressed
from offline.wim.verbs import SOURCE_FOLDER, children, soon, strays
from wimsmith.errors import (
    Cancelled,
    DamagedWim,
    NotEnoughSpace,
    WorkerFailed,
)
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.verbs.apply import Check, NewVolume, apply_new_volume
from wimsmith.offline.wim.workers._libwim import LibwimCodec


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full") / "full.wim"
    write(path, rich(), codec=LibwimCodec())
    return path


def flipped(source: Path, target: Path) -> Path:
    data = source.read_bytes()
    place = len(data) // 2
    target.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    return target


def test_a_damaged_image_leaves_no_volume(full: Path, tmp_path: Path) -> None:
    source = flipped(full, tmp_path / "damaged.wim")
    with pytest.raises(DamagedWim, match=r"damaged\.wim"):
        apply_new_volume(source, 1, tmp_path / "volume.img", NEW)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.wim"]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough that there is time to stop it."""
    practice = Practice()
    block = os.urandom(1 << 20)
    for number in range(200):
        practice.put(f"folder/{number}", b"%d" % number + block)
    return uncompressed(practice, tmp_path_factory.mktemp("large") / "large.wim")


@pytest.fixture
def spare() -> Iterator[set[int]]:
    """Children that were there before; afterwards there are no others."""
    before = set(children())
    yield before
    assert soon(lambda: set(children()) <= before)


@pytest.mark.parametrize("phase", ["Formatting", "Extracting", "Reading back"])
def test_cancel_ends_soon_and_leaves_nothing(
    large: Path, tmp_path: Path, phase: str, spare: set[int]
) -> None:
    stopped: list[float] = []

    def stop(event: Event) -> None:
        if event.phase == phase and (event.done or phase == "Formatting"):
            stopped.append(time.monotonic())
            raise Cancelled("by the test")

    with pytest.raises(Cancelled):
        apply_new_volume(
            large, 1, tmp_path / "volume.img", NewVolume(1 << 30), check=Check.CONTENT,
            progress=stop,
        )  # fmt: skip
    assert time.monotonic() - stopped[0] < 2
    assert list(tmp_path.iterdir()) == []


def test_a_killed_worker_leaves_no_volume(large: Path, tmp_path: Path, spare: set[int]) -> None:
    def kill(event: Event) -> None:
        if event.phase == "Extracting" and event.done:
            for pid in set(children()) - spare:
                os.kill(pid, 9)

    with pytest.raises(WorkerFailed, match="SIGKILL"):
        apply_new_volume(large, 1, tmp_path / "volume.img", NewVolume(1 << 30), progress=kill)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_volume(large: Path, full: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100M", "tmpfs", disk], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("needs the right to mount")
    try:
        with pytest.raises(NotEnoughSpace, match=r"disk has \d+ bytes free"):
            apply_new_volume(large, 1, disk / "volume.img", NewVolume(1 << 30))
        (disk / "filler").write_bytes(bytes(98 << 20))
        with pytest.raises(NotEnoughSpace):
            apply_new_volume(full, 1, disk / "volume.img", NEW)
        assert [path.name for path in disk.iterdir()] == ["filler"]
    finally:
        subprocess.run(["umount", disk], check=True)


APPLY = """
import sys
from pathlib import Path
from wimsmith.offline.wim.verbs.apply import NewVolume, apply_new_volume
def tell(event):
    print(event.phase, event.done, flush=True)
apply_new_volume(Path(sys.argv[1]), 1, Path(sys.argv[2]), NewVolume(1 << 30), progress=tell)
"""


def test_what_a_killed_parent_left_is_swept_by_the_next(
    large: Path, full: Path, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", APPLY, large, tmp_path / "first.img"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(SOURCE_FOLDER)},
    ) as parent:
        assert parent.stdout is not None
        while not re.match(rb"Extracting [1-9]", parent.stdout.readline()):
            pass
        assert len(strays(tmp_path)) == 1
        parent.kill()
    assert soon(lambda: not (tmp_path / "first.img").exists())
    time.sleep(0.5)
    assert soon(lambda: _swept(full, tmp_path))


def _swept(full: Path, folder: Path) -> bool:
    apply_new_volume(full, 1, folder / "second.img", NEW, overwrite=True)
    return [path.name for path in folder.iterdir()] == ["second.img"]
