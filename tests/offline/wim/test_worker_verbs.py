"""Export, extract and verify: complete or nothing, and the source stays what it is."""

import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wimsmith.errors import (
    AlreadyExists,
    Cancelled,
    DamagedWim,
    InvalidInput,
    NoSuchIndex,
    NotEnoughSpace,
    NotFound,
    PathUnreachable,
    UnsafePath,
    WimsmithError,
    WorkerFailed,
)
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.codec import Compression
from wimsmith.offline.wim.container import open_wim
from wimsmith.offline.wim.export import export_images
from wimsmith.offline.wim.extract import extract_image
from wimsmith.offline.wim.staging import PREFIX
from wimsmith.offline.wim.verify import verify_wim

SOURCE_FOLDER = Path(__file__).parents[3] / "src"
IMAGE_COUNT_OFFSET = 44


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


@pytest.fixture(autouse=True)
def strangers() -> None:
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


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WIM of three images, the third bootable; as a session file, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    tree, wim = make_tree(folder / "tree"), folder / "three.wim"
    imagex("capture", tree, wim, "One", "the first", "--compress=LZX")
    (tree / "second.txt").write_text("only in the second\n" * 3000)
    imagex("append", tree, wim, "Two", "the second")
    (tree / "Windows/System32/third.dll").write_bytes(os.urandom(40_000))
    imagex("append", tree, wim, "Three", "the third", "--boot")
    return wim


@pytest.fixture
def wim(made: Path, tmp_path: Path) -> Iterator[Path]:
    """The same in a folder of its own, read-only; whatever the test does, it stays as it is."""
    source = tmp_path / "source" / "three.wim"
    source.parent.mkdir()
    shutil.copy(made, source)
    source.chmod(0o444)
    before = fingerprint(source)
    yield source
    assert fingerprint(source) == before
    assert strays(source.parent) == []
    assert children() == []


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WIM whose content unpacks to 300 MB and takes long to pack anew."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "tree").mkdir()
    line = b"%d is a number among many others, and this is the text about it;"
    block = b"".join(line % (number * 7919 % 65_521) for number in range(16_000))
    for number in range(300):
        with (folder / f"tree/{number}.txt").open("wb") as file:
            file.write(b"%d" % number + block)
    imagex("capture", folder / "tree", folder / "large.wim", "Large", "--compress=XPRESS:10")
    shutil.rmtree(folder / "tree")
    return folder / "large.wim"


def test_one_image_of_three_becomes_a_wim_of_its_own(wim: Path) -> None:
    target = wim.parent / "two.wim"
    report = export_images(wim, [2], target)
    assert report.images == (2,)
    assert report.checked
    assert report.size_bytes == target.stat().st_size < wim.stat().st_size
    imagex("verify", target)
    subprocess.run(["7z", "t", target], check=True, capture_output=True)
    assert files_of(target, 1) == files_of(wim, 2)
    text = imagex("info", target)
    assert re.search(r"Image Count:\s+1\n", text)
    assert re.search(r"Name:\s+Two\nDescription:\s+the second\n", text)
    assert re.search(r"Boot Index:\s+0\n", text)
    assert "Integrity info" in text
    target.unlink()


def test_all_images_keep_their_order_names_and_boot_mark(wim: Path, tmp_path: Path) -> None:
    export_images(wim, None, tmp_path / "all.wim")
    text = imagex("info", tmp_path / "all.wim")
    assert re.findall(r"^Name:\s+(.*)$", text, re.MULTILINE) == ["One", "Two", "Three"]
    assert re.search(r"Boot Index:\s+3\n", text)
    for index in (1, 2, 3):
        assert files_of(tmp_path / "all.wim", index) == files_of(wim, index)


def test_images_can_be_chosen_and_ordered(wim: Path, tmp_path: Path) -> None:
    export_images(wim, [3, 1], tmp_path / "new.wim")
    text = imagex("info", tmp_path / "new.wim")
    assert re.findall(r"^Name:\s+(.*)$", text, re.MULTILINE) == ["Three", "One"]
    assert re.search(r"Boot Index:\s+1\n", text)


@pytest.mark.parametrize("compression", list(Compression))
def test_content_can_be_packed_in_another_form(
    wim: Path, tmp_path: Path, compression: Compression
) -> None:
    target = tmp_path / "new.wim"
    export_images(wim, [1], target, compression=compression)
    with open_wim(target) as exported:
        assert exported.compression is compression
    assert files_of(target, 1) == files_of(wim, 1)


def test_a_solid_file_is_made_and_made_ordinary_again(wim: Path, tmp_path: Path) -> None:
    solid, back = tmp_path / "small.esd", tmp_path / "back.wim"
    export_images(wim, None, solid, compression=Compression.LZMS, solid=True)
    with open_wim(solid) as exported:
        assert exported.is_solid
    export_images(solid, [2], tmp_path / "one.esd")
    assert files_of(tmp_path / "one.esd", 1) == files_of(wim, 2)
    export_images(solid, [2], back, compression=Compression.LZX)
    with open_wim(back) as exported:
        assert not exported.is_solid
    assert files_of(back, 1) == files_of(wim, 2)


def test_the_result_has_the_permissions_of_any_new_file(wim: Path, tmp_path: Path) -> None:
    export_images(wim, [1], tmp_path / "new.wim")
    (tmp_path / "any").touch()
    assert (tmp_path / "new.wim").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_an_existing_target_is_replaced_only_on_demand(wim: Path, tmp_path: Path) -> None:
    target = tmp_path / "old.wim"
    target.write_text("precious")
    with pytest.raises(AlreadyExists) as caught:
        export_images(wim, [1], target)
    assert "--overwrite" in (caught.value.hint or "")
    assert target.read_text() == "precious"
    export_images(wim, [1], target, overwrite=True)
    imagex("verify", target)


def test_a_target_that_appears_meanwhile_is_not_replaced(wim: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.wim"

    def appear(_event: Event) -> None:
        target.write_text("of somebody else")

    with pytest.raises(AlreadyExists):
        export_images(wim, [1], target, progress=appear)
    assert target.read_text() == "of somebody else"
    assert strays(tmp_path) == []


def test_the_source_is_never_the_target(wim: Path, tmp_path: Path) -> None:
    alias = tmp_path / "alias.wim"
    alias.symlink_to(wim)
    for target in (wim, alias):
        with pytest.raises(InvalidInput, match="is the source itself"):
            export_images(wim, [1], target, overwrite=True)


@pytest.mark.parametrize("indexes", [[0], [4], [-1], [1, 9]])
def test_an_index_that_is_not_there_is_named(wim: Path, indexes: list[int]) -> None:
    with pytest.raises(NoSuchIndex, match=r"three\.wim") as caught:
        export_images(wim, indexes, wim.parent / "new.wim")
    assert caught.value.hint == "It has 1 to 3."


@pytest.mark.parametrize("indexes", [[], [1, 1]])
def test_indexes_must_make_sense(wim: Path, indexes: list[int]) -> None:
    with pytest.raises(InvalidInput):
        export_images(wim, indexes, wim.parent / "new.wim")


def test_a_target_folder_that_is_not_there_is_named(wim: Path, tmp_path: Path) -> None:
    with pytest.raises(PathUnreachable, match="nowhere: No such file"):
        export_images(wim, [1], tmp_path / "nowhere" / "new.wim")
    with pytest.raises(AlreadyExists, match="is a folder"):
        export_images(wim, [1], tmp_path)


def test_an_image_count_of_two_thousand_million_is_refused_at_once(
    made: Path, tmp_path: Path
) -> None:
    hostile = tmp_path / "hostile.wim"
    data = bytearray(made.read_bytes())
    struct.pack_into("<I", data, IMAGE_COUNT_OFFSET, 1 << 31)
    hostile.write_bytes(data)
    started = time.monotonic()
    for attempt in (
        lambda: verify_wim(hostile),
        lambda: export_images(hostile, None, tmp_path / "new.wim"),
        lambda: extract_image(hostile, 1, tmp_path / "new"),
    ):
        with pytest.raises(DamagedWim, match="2147483648"):
            attempt()
    assert time.monotonic() - started < 2


def flip(source: Path, target: Path) -> None:
    """Copy a WIM with one bit of its largest packed content changed."""
    with open_wim(source) as wim:
        packed = [blob for blob in wim.blobs.values() if blob.location.is_compressed]
    blob = max(packed, key=lambda blob: blob.location.stored_bytes)
    data = bytearray(source.read_bytes())
    data[blob.location.offset + blob.location.stored_bytes // 2] ^= 1
    target.write_bytes(data)


def test_damaged_content_is_not_exported(wim: Path, tmp_path: Path) -> None:
    damaged, target = tmp_path / "damaged.wim", tmp_path / "new.wim"
    flip(wim, damaged)
    with pytest.raises(DamagedWim, match=r"damaged\.wim, as copied: .*libwim error"):
        export_images(damaged, [1], target)
    assert not target.exists()
    assert strays(tmp_path) == []
    export_images(damaged, [1], target, check=False)  # it is copied as it is, unread


def test_verify_tells_a_good_file_from_a_damaged_one(wim: Path, tmp_path: Path) -> None:
    report = verify_wim(wim)
    assert (report.images, report.integrity_table) == (3, False)
    assert report.size_bytes == wim.stat().st_size
    flip(wim, tmp_path / "damaged.wim")
    with pytest.raises(DamagedWim, match=r"damaged\.wim"):
        verify_wim(tmp_path / "damaged.wim")


def test_verify_checks_the_integrity_table(wim: Path, tmp_path: Path) -> None:
    export_images(wim, None, tmp_path / "new.wim")
    assert verify_wim(tmp_path / "new.wim").integrity_table
    flip(tmp_path / "new.wim", tmp_path / "damaged.wim")
    with pytest.raises(DamagedWim, match="integrity"):
        verify_wim(tmp_path / "damaged.wim")


class Stop:
    """Progress that cancels when a little is packed, and remembers when."""

    def __init__(self) -> None:
        self.at = 0.0
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if event.phase == "Writing" and (event.fraction or 0) > 0.02:
            self.at = self.at or time.monotonic()
            raise Cancelled("by the test")


def test_cancel_ends_an_export_soon_and_leaves_nothing(large: Path, tmp_path: Path) -> None:
    before, stop = fingerprint(large), Stop()
    with pytest.raises(Cancelled):
        export_images(
            large, None, tmp_path / "new.wim", progress=stop, compression=Compression.LZX, level=100
        )
    assert time.monotonic() - stop.at < 2
    assert stop.events[-1].done < 300_000_000
    assert list(tmp_path.iterdir()) == []
    assert children() == []
    assert fingerprint(large) == before


def test_a_killed_worker_fails_the_export_and_leaves_nothing(large: Path, tmp_path: Path) -> None:
    def kill(event: Event) -> None:
        if event.phase == "Writing" and event.done:
            for pid in children():
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(WorkerFailed, match="SIGKILL"):
        export_images(
            large, None, tmp_path / "new.wim", progress=kill, compression=Compression.LZX, level=100
        )
    assert list(tmp_path.iterdir()) == []
    assert children() == []


EXPORT = """
import sys
from pathlib import Path
from wimsmith.offline.wim.export import export_images
from wimsmith.offline.wim.extract import extract_image
from wimsmith.offline.wim.verify import verify_wim
from wimsmith.offline.wim.codec import Compression
def tell(event):
    print(event.phase, event.done, flush=True)
source, target = map(Path, sys.argv[1:])
export_images(source, None, target, progress=tell, compression=Compression.LZX, level=100)
"""


def test_what_a_killed_export_left_is_swept_by_the_next(large: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", EXPORT, large, tmp_path / "first.wim"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(SOURCE_FOLDER)},
    ) as parent:
        assert parent.stdout is not None
        while not re.match(rb"Writing [1-9]", parent.stdout.readline()):
            pass
        (worker,) = map(
            int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        )
        assert len(strays(tmp_path)) == 1
        parent.kill()
    assert not (tmp_path / "first.wim").exists()
    assert soon(lambda: not Path(f"/proc/{worker}").exists())
    assert len(strays(tmp_path)) == 1
    export_images(large, None, tmp_path / "second.wim", check=False)
    assert [path.name for path in tmp_path.iterdir()] == ["second.wim"]


def test_a_folder_in_use_is_not_swept(wim: Path, tmp_path: Path) -> None:
    def export_beside(event: Event) -> None:
        if event.phase == "Writing" and not (tmp_path / "inner.wim").exists():
            assert len(strays(tmp_path)) == 1
            export_images(wim, [1], tmp_path / "inner.wim")

    export_images(wim, [2], tmp_path / "outer.wim", progress=export_beside)
    imagex("verify", tmp_path / "outer.wim")
    imagex("verify", tmp_path / "inner.wim")


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


def test_a_full_disk_is_told_with_numbers(made: Path, large: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        with pytest.raises(NotEnoughSpace, match=r"disk has \d+ bytes free, \d+ bytes are needed$"):
            export_images(large, None, disk / "new.wim")
        with pytest.raises(NotEnoughSpace, match=r"No space left on device"):
            export_images(large, None, disk / "new.wim", compression=Compression.NONE)
        with pytest.raises(NotEnoughSpace, match=r"bytes are needed$"):
            extract_image(large, 1, disk / "tree")
        assert list(disk.iterdir()) == []


def test_an_extracted_image_is_the_captured_tree(wim: Path, tmp_path: Path) -> None:
    report = extract_image(wim, 1, tmp_path / "out")
    expected = make_tree(tmp_path / "expected")
    assert (report.files, report.directories, report.left_out) == (6, 2, ())
    got = tmp_path / "out"
    for path in expected.rglob("*"):
        copy = got / path.relative_to(expected)
        assert copy.is_symlink() == path.is_symlink()
        if path.is_file() and path.name != "random.bin":
            assert copy.read_bytes() == path.read_bytes()
    assert (got / "Windows/notepad.exe").samefile(got / "Windows/System32/notepad.exe")
    assert (got / "link").readlink() == Path("Windows/notepad.exe")


def test_parts_of_an_image_are_extracted_by_pattern(wim: Path, tmp_path: Path) -> None:
    report = extract_image(wim, 3, tmp_path / "out", patterns=[r"windows\SYSTEM32\*.dll"])
    assert report.files == 2
    names = {path.name for path in (tmp_path / "out/Windows/System32").iterdir()}
    assert names == {"kernel.dll", "third.dll"}
    with pytest.raises(NotFound, match=r"none\.exe"):
        extract_image(wim, 3, tmp_path / "other", patterns=["Windows/none.exe"])
    assert not (tmp_path / "other").exists()


def test_extraction_adds_to_no_folder_with_content(wim: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    extract_image(wim, 1, target)
    with pytest.raises(AlreadyExists) as caught:
        extract_image(wim, 2, target)
    assert caught.value.hint == "Choose a new or empty folder."
    assert not (target / "second.txt").exists()


def rename_in_metadata(wim: Path, old: str, new: str) -> None:
    """Give an entry of an uncompressed WIM another name of the same length, hashes corrected."""
    with open_wim(wim) as opened:
        blob = opened.table.metadata[0]
    data = bytearray(wim.read_bytes())
    place = slice(blob.location.offset, blob.location.end)
    metadata = bytes(data[place])
    assert len(old) == len(new)
    changed = metadata.replace(old.encode("utf-16-le"), new.encode("utf-16-le"))
    assert changed != metadata
    data[place] = changed
    sha1 = hashlib.sha1(changed).digest()
    wim.write_bytes(bytes(data).replace(blob.sha1, sha1))


@pytest.mark.parametrize("name", ["../../evil", "a/b/c/d/ef", "..\\..\\evil", "nul\0inside"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    tree, wim = tmp_path / "tree", tmp_path / "hostile.wim"
    tree.mkdir()
    (tree / "harmless-1").write_text("evil")
    imagex("capture", tree, wim, "Hostile", "--compress=none")
    rename_in_metadata(wim, "harmless-1", name)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(WimsmithError) as caught:
        extract_image(wim, 1, tmp_path / "deep/er/out")
    assert isinstance(caught.value, UnsafePath | DamagedWim)
    assert sorted(tmp_path.rglob("*")) == before


def test_links_never_lead_out_of_the_extracted_tree(tmp_path: Path) -> None:
    tree, wim, out = tmp_path / "tree", tmp_path / "links.wim", tmp_path / "out"
    (tree / "Users/All").mkdir(parents=True)
    (tree / "ProgramData").mkdir()
    (tree / "ProgramData/file.txt").write_text("inside")
    links = {
        "Users/absolute": "/ProgramData",
        "passwd": "/etc/passwd",
        "Users/good": "../ProgramData/file.txt",
        "Users/out": "../../../../../../../../etc/passwd",
        "Users/All/root": "../..",
        "Users/All/through": "root/../../../etc",
        "loop": "loop",
    }
    for name, target in links.items():
        (tree / name).symlink_to(target)
    imagex("capture", tree, wim, "Links", "--norpfix")
    report = extract_image(wim, 1, out)
    assert set(report.left_out) == {"Users/out", "Users/All/through"}
    assert (out / "Users/absolute/file.txt").read_text() == "inside"
    assert (out / "Users/good").read_text() == "inside"
    assert (out / "passwd").readlink() == Path("etc/passwd")
    for path in out.rglob("*"):
        assert Path(os.path.realpath(path)).is_relative_to(out)


def test_times_survive_extraction(tmp_path: Path) -> None:
    tree, wim, out = make_tree(tmp_path / "tree"), tmp_path / "new.wim", tmp_path / "out"
    (tree / "absolute").symlink_to("/Windows")
    for path in (tree / "Windows/notepad.exe", tree / "Windows", tree):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    imagex("capture", tree, wim, "Times", "--norpfix")
    extract_image(wim, 1, out)
    for name in ("Windows/notepad.exe", "Windows", "."):
        assert (out / name).stat().st_mtime == 1_000_000_000


def test_paths_need_not_be_utf8(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff\xfe folder")
    folder.mkdir()
    source = folder / os.fsdecode(b"caf\xe9.wim")
    shutil.copy(made, source)
    assert verify_wim(source).images == 3
    export_images(source, [1], folder / os.fsdecode(b"\xe9.wim"))
    assert extract_image(source, 1, folder / os.fsdecode(b"\xe8")).files == 6


def test_reports_are_data(wim: Path, tmp_path: Path) -> None:
    report = export_images(wim, [1], tmp_path / "new.wim")
    assert json.loads(json.dumps(report.images)) == [1]
    assert 0 < report.duration_s < 60
