"""Folders as images, and captures that are stopped: odd things are told, nothing is left behind."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from offline.wim.judges import accept, link_groups, listing, run
from offline.wim.rawmetadata import raw_entries
from offline.wim.test_unusual import plain
from offline.wim.verbs import SOURCE_FOLDER, children, soon, strays
from wimsmith.errors import (
    Cancelled,
    InvalidInput,
    NotEnoughSpace,
    NotSupported,
    WorkerFailed,
)
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.verbs.capture import CaptureOptions, capture, capture_folder
from wimsmith.offline.wim.verbs.exclusions import exclusions

FAST = CaptureOptions("Captured", level=20)


def make_folder(folder: Path) -> Path:
    (folder / "Windows/System32").mkdir(parents=True)
    (folder / "Windows/notepad.exe").write_bytes(b"MZ notepad " * 500)
    (folder / "Windows/System32/notepad.exe").hardlink_to(folder / "Windows/notepad.exe")
    (folder / "empty.txt").touch()
    (folder / "random.bin").write_bytes(os.urandom(70_000))
    (folder / "relative").symlink_to("Windows/notepad.exe")
    (folder / "inside").symlink_to(folder / "Windows")
    (folder / "outside").symlink_to("/etc/passwd")
    os.utime(folder / "Windows/notepad.exe", (1_000_000_000, 1_000_000_000))
    return folder


def test_a_folder_is_captured(tmp_path: Path) -> None:
    folder, target = make_folder(tmp_path / "tree"), tmp_path / "new.wim"
    report = capture_folder(folder, target, replace(FAST, strict=True))
    accept(target)
    assert (report.files, report.directories) == (7, 3)
    assert {frozenset({"Windows/notepad.exe", "Windows/System32/notepad.exe"})} == {
        frozenset(group) for group in link_groups(target)
    }
    run("wimlib-imagex", "apply", target, 1, tmp_path / "out")
    out = tmp_path / "out"
    assert (out / "random.bin").read_bytes() == (folder / "random.bin").read_bytes()
    assert (out / "Windows/notepad.exe").stat().st_mtime == 1_000_000_000
    assert (out / "relative").readlink() == Path("Windows/notepad.exe")
    assert target.stat().st_mode == (folder / "empty.txt").stat().st_mode
    assert {one.security for one in raw_entries(plain(target, tmp_path)).values()} == {None}


@pytest.mark.parametrize("fix_links", [True, False])
def test_absolute_links_begin_at_the_root_of_the_image(tmp_path: Path, fix_links: bool) -> None:
    folder, target = make_folder(tmp_path / "tree"), tmp_path / "new.wim"
    report = capture_folder(folder, target, replace(FAST, fix_links=fix_links))
    run("wimlib-imagex", "apply", target, 1, tmp_path / "out", "--norpfix")
    goal = "/Windows" if fix_links else str(folder / "Windows")
    assert (tmp_path / "out/inside").readlink() == Path(goal)
    assert (tmp_path / "out/outside").readlink() == Path("/etc/passwd")
    if fix_links:
        assert report.fixed_links.first == (str(folder / "inside"),)
        assert report.kept_links.first == (str(folder / "outside"),)


def odd_folder(folder: Path) -> Path:
    make_folder(folder)
    for name in ("CON.txt", "trailing.", "a:b", "TWIN", "twin", "back\\slash"):
        (folder / name).write_text(name)
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(folder / "socket"))
    return folder


def test_names_windows_cannot_use_and_what_cannot_be_captured_are_told(tmp_path: Path) -> None:
    folder, target = odd_folder(tmp_path / "t"), tmp_path / "new.wim"
    report = capture_folder(folder, target, FAST)
    assert report.odd_names.count == 5
    shown = "\n".join(report.odd_names.first)
    assert re.search("^CON.txt is a device", shown, re.MULTILINE)
    assert re.search("^twin differs from another name", shown, re.MULTILINE)
    assert re.search(r"^back\\slash means another place", shown, re.MULTILINE)
    assert set(report.left_out.first) == {str(folder / "fifo"), str(folder / "socket")}
    assert {"TWIN", "twin"} <= set(listing(target))


def test_strict_refuses_them_before_anything_is_packed(tmp_path: Path) -> None:
    folder = odd_folder(tmp_path / "t")
    events: list[Event] = []
    with pytest.raises(InvalidInput, match="5 names that Windows cannot use, and 2 entries"):
        capture_folder(
            folder, tmp_path / "new.wim", replace(FAST, strict=True), progress=events.append
        )
    assert {event.phase for event in events} <= {"Starting", "Scanning"}
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_a_name_that_is_not_utf8_is_refused_by_name(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "tree")
    (folder / os.fsdecode(b"caf\xe9")).touch()
    with pytest.raises(NotSupported, match=r"a name that is not UTF-8.*tree/caf"):
        capture_folder(folder, tmp_path / "new.wim", FAST)
    chosen = exclusions(None, ["caf*"])
    assert strays(tmp_path) == []
    assert chosen.excluded[-1] == "caf*"


def test_a_folder_is_read_with_the_rights_of_the_user(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    folder = make_folder(tmp_path / "tree")
    (folder / "random.bin").chmod(0)
    with pytest.raises(WorkerFailed, match=r"random\.bin"):
        capture_folder(folder, tmp_path / "new.wim", FAST)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that takes long to pack."""
    folder = tmp_path_factory.mktemp("large") / "tree"
    folder.mkdir()
    line = b"%d is a number among many others, and this is the text about it;"
    block = b"".join(line % (number * 7919 % 65_521) for number in range(16_000))
    for number in range(60):
        (folder / f"{number}.txt").write_bytes(b"%d" % number + block)
    return folder


@pytest.fixture
def spare() -> Iterator[set[int]]:
    before = set(children())
    yield before
    assert soon(lambda: set(children()) <= before)


@pytest.mark.parametrize("solid", [False, True])
def test_cancel_ends_soon_and_leaves_nothing(
    large: Path, tmp_path: Path, solid: bool, spare: set[int]
) -> None:
    stopped: list[float] = []

    def stop(event: Event) -> None:
        if event.phase == "Writing":
            stopped.append(time.monotonic())
            raise Cancelled("by the test")

    options = replace(FAST, level=100, solid=solid)
    if solid:
        options = replace(options, compression=Compression.LZMS)
    with pytest.raises(Cancelled):
        capture(large, tmp_path / "new.wim", options, progress=stop)
    assert time.monotonic() - stopped[0] < 2
    assert list(tmp_path.iterdir()) == []


def test_a_killed_worker_leaves_nothing(large: Path, tmp_path: Path, spare: set[int]) -> None:
    def kill(event: Event) -> None:
        if event.phase == "Writing":
            for pid in set(children()) - spare:
                os.kill(pid, 9)

    with pytest.raises(WorkerFailed, match="SIGKILL"):
        capture(large, tmp_path / "new.wim", replace(FAST, level=100), progress=kill)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(large: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", disk], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("needs the right to mount")
    try:
        with pytest.raises(NotEnoughSpace, match=r"disk has \d+ bytes free"):
            capture(large, disk / "new.wim", replace(FAST, compression=Compression.NONE))
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


CAPTURE = """
import sys
from pathlib import Path
from wimsmith.offline.wim.verbs.capture import CaptureOptions, capture
def tell(event):
    print(event.phase, event.done, flush=True)
capture(Path(sys.argv[1]), Path(sys.argv[2]), CaptureOptions("X", level=100), progress=tell)
"""


def test_what_a_killed_parent_left_is_swept_by_the_next(large: Path, tmp_path: Path) -> None:
    small = make_folder(tmp_path / "small")
    with subprocess.Popen(
        [sys.executable, "-c", CAPTURE, large, tmp_path / "first.wim"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(SOURCE_FOLDER)},
    ) as parent:
        assert parent.stdout is not None
        while not re.match(rb"Writing [1-9]", parent.stdout.readline()):
            pass
        assert len(strays(tmp_path)) == 1
        parent.kill()
    assert not (tmp_path / "first.wim").exists()

    def swept() -> bool:
        capture(small, tmp_path / "second.wim", replace(FAST, overwrite=True))
        return strays(tmp_path) == []

    assert soon(swept)
