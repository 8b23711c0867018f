"""Extract: the tree as it was captured, complete or not at all, and nothing beside it."""

import hashlib
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from offline.wim.handmade import METADATA, Handmade, sha1
from offline.wim.images import TIMES, Practice, rich, write
from offline.wim.verbs import (
    SOURCE_FOLDER,
    children,
    flip,
    imagex,
    make_tree,
    meet_strangers,
    small_disk,
    soon,
    strays,
)
from wimsmith.errors import (
    AlreadyExists,
    Cancelled,
    DamagedWim,
    NotEnoughSpace,
    NotFound,
    UnsafePath,
    WimsmithError,
    WorkerFailed,
)
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.metadata import serialize_metadata
from wimsmith.offline.wim.format.tree import Attribute, Reparse, Tree
from wimsmith.offline.wim.verbs.extract import ExtractReport, extract_image
from wimsmith.offline.wim.workers._making import Maker

WRITTEN_NS = (TIMES.written - 116_444_736_000_000_000) * 100


def snapshot(root: Path) -> dict[str, object]:
    """All that extraction promises of a tree: content, links, shared files, times to 100 ns."""
    found: dict[str, object] = {}
    groups: dict[int, set[str]] = {}
    for path in sorted(root.rglob("*")):
        name, status = str(path.relative_to(root)), path.lstat()
        written = status.st_mtime_ns // 100
        if path.is_symlink():
            found[name] = ("link", path.readlink(), written)
        elif path.is_dir():
            found[name] = ("folder", written)
        else:
            groups.setdefault(status.st_ino, set()).add(name)
            digest = hashlib.sha1(path.read_bytes()).hexdigest()
            found[name] = ("file", digest, written)
    found["<shared>"] = sorted(sorted(group) for group in groups.values() if len(group) > 1)
    return found


def left_out(report: ExtractReport) -> dict[str, str]:
    return {one.path: one.reason for one in report.left_out}


def various_tree(folder: Path) -> Path:
    """A tree with hard links over folders, equal files, an empty folder, and many sizes."""
    make_tree(folder)
    for number in range(60):
        place = folder / f"Windows/many/{number % 7}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.txt").write_bytes(b"%d of many\n" % (number % 20) * number**2)
    (folder / "Windows/other name.txt").hardlink_to(folder / "Windows/many/1/1.txt")
    (folder / "empty folder").mkdir()
    (folder / "gr\u00fc\u00df \U0001f600").write_text("a name")
    (folder / "zeros").write_bytes(bytes(3 << 20) + b"end" + bytes(1 << 20))
    os.utime(folder / "Windows/many/1", (1_000_000_000, 1_234_567_890))
    return folder


@pytest.mark.parametrize(
    "options",
    [
        ["--compress=none"],
        ["--compress=LZX"],
        ["--compress=LZMS"],
        ["--solid", "--solid-chunk-size=64K"],
        ["--pipable"],
    ],
)
@pytest.mark.parametrize("workers", [1, 3])
def test_what_was_captured_is_extracted(tmp_path: Path, options: list[str], workers: int) -> None:
    tree, wim, out = various_tree(tmp_path / "tree"), tmp_path / "x.wim", tmp_path / "out"
    imagex("capture", tree, wim, "Various", *options)
    report = extract_image(wim, 1, out, workers=workers)
    assert snapshot(out) == snapshot(tree)
    assert report.files == sum(1 for path in tree.rglob("*") if path.is_symlink() or path.is_file())
    assert report.directories == sum(1 for path in tree.rglob("*") if path.is_dir())
    assert report.left_out == ()


def test_wimlib_extracts_the_same(made: Path, tmp_path: Path) -> None:
    extract_image(made, 3, tmp_path / "ours")
    imagex("apply", made, 3, tmp_path / "theirs")
    assert snapshot(tmp_path / "ours") == snapshot(tmp_path / "theirs")


def test_split_sets_and_deltas_are_extracted(tmp_path: Path) -> None:
    tree, base, delta = various_tree(tmp_path / "tree"), tmp_path / "base.wim", tmp_path / "d.wim"
    (tree / "noise").write_bytes(os.urandom(900_000))
    imagex("capture", tree, base, "Base")
    imagex("split", base, tmp_path / "x.swm", "0.3")
    assert len(list(tmp_path.glob("*.swm"))) > 1
    extract_image(tmp_path / "x.swm", 1, tmp_path / "from set")
    assert snapshot(tmp_path / "from set") == snapshot(tree)
    (tree / "added").write_text("added later")
    imagex("capture", tree, delta, "Delta", f"--delta-from={base}")
    with pytest.raises(NotFound, match="delta"):
        extract_image(delta, 1, tmp_path / "from delta")
    extract_image(delta, 1, tmp_path / "from delta", references=[base])
    assert snapshot(tmp_path / "from delta") == snapshot(tree)


def test_zeros_take_no_space_on_the_disk(tmp_path: Path) -> None:
    tree, wim = tmp_path / "tree", tmp_path / "x.wim"
    tree.mkdir()
    (tree / "zeros").write_bytes(bytes(8 << 20) + b"end" + bytes(8 << 20))
    imagex("capture", tree, wim, "Zeros")
    extract_image(wim, 1, tmp_path / "out")
    status = (tmp_path / "out/zeros").stat()
    assert status.st_size == (16 << 20) + 3
    assert status.st_blocks * 512 < 2 << 20
    assert (tmp_path / "out/zeros").read_bytes() == (tree / "zeros").read_bytes()


def test_what_has_no_place_in_a_folder_is_counted(tmp_path: Path) -> None:
    wim, out = tmp_path / "rich.wim", tmp_path / "out"
    practice = rich()
    write(wim, practice)
    report = extract_image(wim, 1, out)
    lost = report.not_kept
    assert (lost.named_streams, lost.short_names, lost.tagged_items) == (3, 2, 1)
    inodes = [inode for inode in practice.tree.inodes() if inode.entries[0].parent]
    assert lost.security_descriptors == len(inodes)
    assert lost.attributes == sum(1 for inode in inodes if inode.attributes & 7)
    assert (out / "Documents and Settings").readlink() == Path("Users")
    assert (out / "Documents and Settings").resolve() == (out / "Users").resolve()
    tool = out / "Windows/System32/tool.dll"
    assert tool.stat().st_nlink == 2
    for path in (tool, out / "Windows", out / "Documents and Settings"):
        assert path.lstat().st_mtime_ns == WRITTEN_NS


def test_parts_of_an_image_are_extracted_by_pattern(wim: Path, tmp_path: Path) -> None:
    report = extract_image(wim, 3, tmp_path / "out", patterns=[r"windows\SYSTEM32\*.dll"])
    assert report.files == 2
    names = {path.name for path in (tmp_path / "out/Windows/System32").iterdir()}
    assert names == {"kernel.dll", "third.dll"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["Windows"]
    with pytest.raises(NotFound, match=r"none\.exe") as caught:
        extract_image(wim, 3, tmp_path / "other", patterns=["Windows/*", "Windows/none.exe"])
    assert "wim ls" in (caught.value.hint or "")
    assert not (tmp_path / "other").exists()


def test_folders_come_whole_and_patterns_may_overlap(wim: Path, tmp_path: Path) -> None:
    patterns = ["/Windows", "Windows/System32/ker?el.dll", "e*"]
    extract_image(wim, 1, tmp_path / "out", patterns=patterns)
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")}
    assert names == {
        "empty.txt",
        "Windows",
        "Windows/notepad.exe",
        "Windows/System32",
        "Windows/System32/kernel.dll",
        "Windows/System32/notepad.exe",
    }
    assert (tmp_path / "out/Windows/notepad.exe").stat().st_nlink == 2


def test_one_name_of_a_hard_link_has_the_content(wim: Path, tmp_path: Path) -> None:
    extract_image(wim, 1, tmp_path / "out", patterns=["Windows/System32/notepad.exe"])
    only = tmp_path / "out/Windows/System32/notepad.exe"
    assert only.read_bytes() == b"MZ notepad " * 500
    assert only.stat().st_nlink == 1


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
    wim.write_bytes(bytes(data).replace(blob.sha1, hashlib.sha1(changed).digest()))


@pytest.mark.parametrize("name", ["../../evil", "a/b/c/d/ef", "..\\..\\evil", "nul\0inside"])
@pytest.mark.parametrize("patterns", [[], ["*"]])
def test_names_that_lead_elsewhere_are_refused(
    tmp_path: Path, name: str, patterns: list[str]
) -> None:
    tree, wim = tmp_path / "tree", tmp_path / "hostile.wim"
    tree.mkdir()
    (tree / "harmless-1").write_text("evil")
    imagex("capture", tree, wim, "Hostile", "--compress=none")
    rename_in_metadata(wim, "harmless-1", name)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(WimsmithError) as caught:
        extract_image(wim, 1, tmp_path / "deep/er/out", patterns=patterns)
    assert isinstance(caught.value, UnsafePath | DamagedWim)
    assert sorted(tmp_path.rglob("*")) == before


def test_names_that_only_windows_refuses_are_extracted(tmp_path: Path) -> None:
    tree, wim, out = tmp_path / "tree", tmp_path / "odd.wim", tmp_path / "out"
    tree.mkdir()
    names = {"CON", "aux.txt", "trailing.", "space ", "a:b", 'quo"te', "Twin", "tWIN", "x" * 255}
    for name in names:
        (tree / name).write_text(name)
    imagex("capture", tree, wim, "Odd")
    extract_image(wim, 1, out)
    assert {path.name: path.read_text() for path in out.iterdir()} == {name: name for name in names}


def hostile(path: Path, change: Callable[[Tree], None]) -> Path:
    """A WIM with an image of one file, after `change`."""
    tree = Tree.new()
    tree.put_file("file", sha1(b"content"))
    change(tree)
    made = Handmade()
    made.raw(b"content")
    made.raw(serialize_metadata(tree), flags=METADATA)
    return made.write(path)


def test_names_and_paths_too_long_for_this_system_are_left_out(tmp_path: Path) -> None:
    wide = "\u4e2d" * 200

    def change(tree: Tree) -> None:
        tree.put_file(f"{wide}.txt", sha1(b"content"))
        tree.put_file(f"{wide}/below.txt", sha1(b"content"))
        tree.put_file("/".join(["deep" * 20] * 60), sha1(b"content"))

    report = extract_image(hostile(tmp_path / "x.wim", change), 1, tmp_path / "out")
    found = left_out(report)
    assert {f"{wide}.txt", wide} < set(found)
    assert len(found) == 3
    assert set(found.values()) == {"the name or path is too long for this system"}
    assert (tmp_path / "out/file").read_bytes() == b"content"


def test_names_with_lone_surrogates_are_extracted(tmp_path: Path) -> None:
    def change(tree: Tree) -> None:
        tree.put_file("a\ud800b", sha1(b"content"))

    wim = hostile(tmp_path / "x.wim", change)
    extract_image(wim, 1, tmp_path / "out")
    names = {os.fsencode(path.name) for path in (tmp_path / "out").iterdir()}
    assert names == {b"a\xed\xa0\x80b", b"file"}


@pytest.mark.parametrize("moment", [0, 1, (1 << 64) - 1, 1 << 63, 116_444_736_000_000_000])
def test_no_time_is_too_odd(tmp_path: Path, moment: int) -> None:
    def change(tree: Tree) -> None:
        for entry in tree.walk():
            entry.inode.written = entry.inode.accessed = moment

    extract_image(hostile(tmp_path / "x.wim", change), 1, tmp_path / "out")
    assert (tmp_path / "out/file").read_bytes() == b"content"


def symbolic(target: str, *, is_relative: bool) -> bytes:
    text = target.encode("utf-16-le")
    head = struct.pack("<4HI", 0, len(text), len(text), 0, int(is_relative))
    return head + text


def junction(target: str) -> bytes:
    text = target.encode("utf-16-le")
    return struct.pack("<4H", 0, len(text), len(text) + 2, 0) + text + bytes(4)


LINK, JUNCTION, LINUX, WOF, APP = 0xA000000C, 0xA0000003, 0xA000001D, 0x80000017, 0x8000001B


def linked(path: Path, links: dict[str, tuple[int, bytes]]) -> Path:
    """A WIM with Windows/System32/Config/a.txt and these reparse points."""
    practice = Practice()
    practice.put("Windows/System32/Config/a.txt", b"here")
    for name, (tag, data) in links.items():
        if tag == JUNCTION:
            practice.folder(name)
        else:
            practice.put(name, b"")
        practice.tree.set_reparse(name, Reparse(tag, practice.add(data)))
    write(path, practice)
    return path


def test_links_of_windows_lead_to_the_same_place(tmp_path: Path) -> None:
    links = {
        "a": (LINK, symbolic("\\??\\C:\\windows\\SYSTEM32\\config\\A.TXT", is_relative=False)),
        "Windows/b": (LINK, symbolic("system32\\config\\a.txt", is_relative=True)),
        "Windows/System32/c": (LINK, symbolic("..\\SYSTEM32\\.\\config", is_relative=True)),
        "Windows/System32/d": (LINK, symbolic("\\Windows", is_relative=True)),
        "Windows/System32/e": (JUNCTION, junction("\\??\\D:\\Windows\\System32\\")),
        "f": (JUNCTION, junction("\\??\\C:\\")),
        "Windows/g": (LINUX, struct.pack("<I", 2) + b"/Windows/System32"),
        "h": (LINK, symbolic("no\\such\\thing", is_relative=True)),
    }
    report = extract_image(linked(tmp_path / "x.wim", links), 1, tmp_path / "out")
    assert report.left_out == ()
    text = {name: str((tmp_path / "out" / name).readlink()) for name in links}
    assert text == {
        "a": "Windows/System32/Config/a.txt",
        "Windows/b": "System32/Config/a.txt",
        "Windows/System32/c": "../System32/Config",
        "Windows/System32/d": "../../Windows",
        "Windows/System32/e": "../../Windows/System32",
        "f": ".",
        "Windows/g": "../Windows/System32",
        "h": "no/such/thing",
    }
    assert (tmp_path / "out/Windows/System32/e/d/b").read_bytes() == b"here"


def test_links_to_other_places_and_odd_reparse_points_are_left_out(tmp_path: Path) -> None:
    links = {
        "volume": (JUNCTION, junction("\\??\\Volume{01234567-89ab-cdef-0123-456789abcdef}\\")),
        "share": (LINK, symbolic("\\??\\UNC\\server\\share", is_relative=False)),
        "short": (LINK, b"\0\0"),
        "lying": (LINK, struct.pack("<4HI", 0, 5000, 0, 0, 1) + b"abc"),
        "odd": (LINK, struct.pack("<4HI", 0, 3, 0, 0, 1) + b"abc"),
        "zero": (LINK, symbolic("a\0b", is_relative=True)),
        "long": (LINK, symbolic("a\\" * 4000, is_relative=True)),
        "app": (APP, b"\x03\0\0\0"),
        "name": (0xA0000099, b"unknown"),
        "up": (LINK, symbolic("..\\..\\etc", is_relative=True)),
    }
    out = tmp_path / "out"
    report = extract_image(linked(tmp_path / "x.wim", links), 1, out)
    assert set(left_out(report)) == set(links)
    assert {path.name for path in out.iterdir()} == {"Windows"}


def test_a_reparse_point_with_content_is_extracted_without_it(tmp_path: Path) -> None:
    practice = Practice()
    practice.put("compressed.dll", b"MZ unpacked")
    practice.tree.set_reparse("compressed.dll", Reparse(WOF, practice.add(b"wof data")))
    practice.put("secret", b"raw EFS", attributes=Attribute.ENCRYPTED)
    write(tmp_path / "x.wim", practice)
    report = extract_image(tmp_path / "x.wim", 1, tmp_path / "out")
    assert (tmp_path / "out/compressed.dll").read_bytes() == b"MZ unpacked"
    assert report.not_kept.reparse_points == 1
    assert left_out(report) == {"secret": "it is encrypted"}


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
        "sibling": "../out-side",
    }
    for name, target in links.items():
        (tree / name).symlink_to(target)
    imagex("capture", tree, wim, "Links", "--norpfix")
    report = extract_image(wim, 1, out)
    assert set(left_out(report)) == {"Users/out", "Users/All/through", "sibling"}
    assert report.files == 1 + len(links) - 3
    assert (out / "Users/absolute/file.txt").read_text() == "inside"
    assert (out / "Users/good").read_text() == "inside"
    assert (out / "passwd").readlink() == Path("etc/passwd")
    for path in out.rglob("*"):
        assert Path(os.path.realpath(path)).is_relative_to(out)


def test_nothing_is_written_through_a_link_of_the_image(tmp_path: Path) -> None:
    """A folder that is a link in one place and a folder in another cannot be had in a tree."""
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "planted").symlink_to(outside)
    maker = Maker(str(root))
    with pytest.raises(UnsafePath, match="planted"), maker.file([["planted", 0, 0]], 5) as file:
        file.write(b"hello")
    with pytest.raises(UnsafePath, match="planted"):
        maker.folders(["planted"])
    assert list(outside.iterdir()) == []


def test_times_survive_extraction(tmp_path: Path) -> None:
    tree, wim, out = make_tree(tmp_path / "tree"), tmp_path / "new.wim", tmp_path / "out"
    (tree / "absolute").symlink_to("/Windows")
    for path in (tree / "Windows/notepad.exe", tree / "Windows", tree):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    imagex("capture", tree, wim, "Times", "--norpfix")
    extract_image(wim, 1, out)
    for name in ("Windows/notepad.exe", "Windows", "."):
        assert (out / name).stat().st_mtime == 1_000_000_000


def test_damaged_content_is_not_extracted(wim: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged" / "x.wim"
    damaged.parent.mkdir()
    flip(wim, damaged)
    with pytest.raises(DamagedWim, match=r"damaged/x\.wim"):
        extract_image(damaged, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert strays(tmp_path) == []
    report = extract_image(damaged, 1, tmp_path / "part", patterns=["random.bin"])
    assert report.files == 1


def test_content_that_is_something_else_is_not_extracted(tmp_path: Path) -> None:
    wim = hostile(tmp_path / "x.wim", lambda _tree: None)
    wim.write_bytes(wim.read_bytes().replace(b"content", b"CONTENT", 1))
    with pytest.raises(DamagedWim, match="holds other content"):
        extract_image(wim, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def when_extracting(what: Callable[[], None]) -> Callable[[Event], None]:
    def progress(event: Event) -> None:
        if event.phase == "Extracting" and event.done:
            what()

    return progress


def cancel() -> None:
    raise Cancelled("by the test")


def test_cancel_ends_soon_and_leaves_nothing(large: Path, tmp_path: Path) -> None:
    meet_strangers()
    before = time.monotonic()
    with pytest.raises(Cancelled, match="by the test"):
        extract_image(large, 1, tmp_path / "out", progress=when_extracting(cancel))
    assert time.monotonic() - before < 60
    assert list(tmp_path.iterdir()) == []
    assert children() == []


def test_a_killed_worker_is_one_error_and_leaves_nothing(large: Path, tmp_path: Path) -> None:
    meet_strangers()

    def kill() -> None:
        for pid in children():
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(WorkerFailed, match="SIGKILL"):
        extract_image(large, 1, tmp_path / "out", progress=when_extracting(kill))
    assert list(tmp_path.iterdir()) == []
    assert children() == []


EXTRACT = """
import sys
from pathlib import Path
from wimsmith.offline.wim.verbs.extract import extract_image
def tell(event):
    print(event.phase, event.done, flush=True)
extract_image(Path(sys.argv[1]), 1, Path(sys.argv[2]), progress=tell)
"""


def test_what_a_killed_extraction_left_is_swept_by_the_next(
    large: Path, wim: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "place"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", EXTRACT, large, folder / "first"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(SOURCE_FOLDER)},
    ) as parent:
        assert parent.stdout is not None
        while not re.match(rb"Extracting [1-9]", parent.stdout.readline()):
            pass
        tasks = Path(f"/proc/{parent.pid}/task").glob("*/children")
        workers = [int(pid) for task in tasks for pid in task.read_text().split()]
        parent.kill()
    assert workers
    assert soon(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 30)
    assert len(strays(folder)) == 1
    extract_image(wim, 1, folder / "second")
    assert [path.name for path in folder.iterdir()] == ["second"]


def test_a_full_disk_is_told_with_numbers(large: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        with pytest.raises(NotEnoughSpace, match=r"disk has \d+ bytes free, \d+ bytes are needed$"):
            extract_image(large, 1, disk / "out")
        assert list(disk.iterdir()) == []


def test_a_disk_that_fills_meanwhile_is_told_and_left_as_it_was(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wimsmith.offline.wim.workers.budget.check_space", lambda *_: None)
    with small_disk(tmp_path / "disk") as disk:
        with pytest.raises(NotEnoughSpace, match="No space left on device"):
            extract_image(large, 1, disk / "out")
        assert list(disk.iterdir()) == []


@pytest.mark.parametrize("name", ["dotdot.wim", "cyclic.wim", "corrupted_file_1.wim"])
def test_real_hostile_files_leave_nothing(real: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(WimsmithError):
        extract_image(real / "wim" / name, 1, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_real_split_set_is_extracted(real: Path, tmp_path: Path) -> None:
    report = extract_image(real / "wim" / "Split.swm", 1, tmp_path / "out")
    imagex("apply", real / "wim/Split.swm", f"--ref={real}/wim/Split*.swm", 1, tmp_path / "theirs")
    assert report.files > 0
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "theirs")
