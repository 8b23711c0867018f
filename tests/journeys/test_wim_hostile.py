"""Images with names and links made to do harm: nothing but a target is touched, or printed raw.

Every command that puts names onto this machine's disk or terminal meets every such image.
"""

import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from offline.wim.handmade import METADATA, Handmade, sha1
from wimsmith.cli.main import run
from wimsmith.errors import Cancelled, WimsmithError
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.format.metadata import serialize_metadata
from wimsmith.offline.wim.format.tree import Attribute, Entry, Reparse, Stream, Tree
from wimsmith.offline.wim.verbs.extract import extract_image
from wimsmith.offline.wim.writing.staging import PREFIX, remove_tree

SYMLINK, JUNCTION = 0xA000_000C, 0xA000_0003
DATA = b"evil content"
# What moves the cursor, changes colours or turns the direction of writing.
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
LEVELS = 2000

Change = Callable[["Image"], None]


class Image:
    """A tree that says what no tree of Windows does, and contents of reparse points."""

    def __init__(self) -> None:
        self.tree = Tree.new()
        self.made = Handmade()
        self.made.raw(DATA)
        self.canary = Path()
        self._named: list[tuple[Entry, str]] = []

    def put(self, *names: str) -> Entry:
        """A file whose name, and those of its folders, are exactly these."""
        folder = ""
        path = ""
        for number, name in enumerate(names):
            path = f"{folder}plain {self._count()} {number}"
            if name is names[-1] and number == len(names) - 1:
                entry = self.tree.put_file(path, sha1(DATA))
            else:
                entry = self.tree.make_directory(path)
            self._named.append((entry, name))
            folder = f"{path}/"
        return self._named[-1][0]

    def link(self, name: str, tag: int, data: bytes) -> Entry:
        entry = self.put(name)
        self.made.raw(data)
        entry.inode.reparse = Reparse(tag, sha1(data))
        entry.inode.attributes |= Attribute.REPARSE_POINT
        return entry

    def write(self, path: Path) -> Path:
        for entry, name in self._named:
            entry.name = name
        data = serialize_metadata(self.tree)
        self.made.raw(data, flags=METADATA)
        return self.made.write(path)

    def _count(self) -> int:
        return len(self._named)


def named(*names: str) -> Change:
    def change(image: Image) -> None:
        for name in names:
            image.put(name)

    return change


def inside(image: Image) -> None:
    image.put("..", "..", "canary", "evil")


def deep(image: Image) -> None:
    image.tree.put_file("/".join(["d"] * LEVELS), sha1(DATA))


def rather_deep(image: Image) -> None:
    """More than Python calls itself."""
    image.tree.put_file("/".join(["d"] * 1100), sha1(DATA))


def control(image: Image) -> None:
    image.put("clear \x1b[2J\x1b]0;title\x07", "new\nline")
    image.put("c1 \x9b2J \x85 \x7f")
    image.put("turned \u202etxt.exe \u2066 \u2028")
    entry = image.put("streams")
    entry.short_name = "S\x1b[1m~1"
    streams = (Stream("s\x1b[31m", sha1(DATA)), Stream("..\\..\\x", sha1(DATA)))
    entry.inode.named_streams = streams


def symbolic(target: str, *, is_relative: bool) -> bytes:
    text = target.encode("utf-16-le")
    return struct.pack("<4HI", 0, len(text), 0, len(text), int(is_relative)) + text


def junction(target: str) -> bytes:
    text = target.encode("utf-16-le")
    return struct.pack("<4H", 0, len(text), len(text) + 2, 0) + text + bytes(4)


def links(image: Image) -> None:
    outside = str(image.canary)
    image.link("absolute", SYMLINK, symbolic(outside, is_relative=False))
    image.link("rooted", SYMLINK, symbolic(outside.replace("/", "\\"), is_relative=True))
    image.link("relative", SYMLINK, symbolic("..\\..\\canary", is_relative=True))
    image.link("drive", SYMLINK, symbolic(f"\\??\\C:{outside}", is_relative=False))
    image.link("control", SYMLINK, symbolic("a\x1b[2Jb", is_relative=True))
    image.link("junction", JUNCTION, junction(f"\\??\\C:{outside}"))
    image.link("up", JUNCTION, junction("\\??\\C:\\..\\..\\canary"))
    image.link("short", SYMLINK, b"\xff\xff\xff\xff")


def through_a_link(image: Image) -> None:
    """The same name twice, once as a link that leads out and once as a folder with a file."""
    image.link("door", SYMLINK, symbolic(str(image.canary), is_relative=False))
    image.put("door", "evil")


def through_a_twin(image: Image) -> None:
    image.link("Door", JUNCTION, junction("\\??\\C:\\..\\canary"))
    image.link("dOOR", SYMLINK, symbolic("..\\canary", is_relative=True))
    image.put("DOOR", "evil")


IMAGES: dict[str, Change] = {
    "two dots": named(".."),
    "one dot": named("."),
    "below two dots": inside,
    "slashes": named("../../canary/evil", "/evil", "a/b"),
    "backslashes": named("..\\..\\canary\\evil", "\\\\host\\share", "a\\b"),
    "zero": named("a\0b", "\0"),
    "devices": named("CON", "nul.txt", "COM1", "LPT9.log", "a:b", "a.", "b ", "*", "?"),
    "control": control,
    "links": links,
    "a link and a folder": through_a_link,
    "a link and its twin": through_a_twin,
    "twins": named("Twin", "tWIN"),
    "the same twice": named("same", "same"),
    "long": named("n" * 255, "n" * 256, "\u4e2d" * 255, "x" * 30_000),
    "deep": deep,
    "lone surrogates": named("a\ud800b", "\udfff"),
}
COMMANDS: dict[str, list[str]] = {
    "info": ["wim", "info", "WIM"],
    "ls": ["wim", "ls", "WIM", "1", "-r", "--all"],
    "ls by pattern": ["wim", "ls", "WIM", "1", "*", "-l", "--acl", "--links", "--streams"],
    "cat": ["wim", "cat", "WIM", "1", "../canary/mine"],
    "diff": ["wim", "diff", "BENIGN", "1", "WIM", "1", "--times", "--hives"],
    "diff back": ["wim", "diff", "WIM", "1", "BENIGN", "1", "--brief"],
    "verify": ["wim", "verify", "WIM"],
    "extract": ["wim", "extract", "WIM", "1", "T/out"],
    "extract by pattern": ["wim", "extract", "WIM", "1", "T/out", "*"],
    "extract what leads out": ["wim", "extract", "WIM", "1", "T/out", "../canary/*"],
    "apply": ["wim", "apply", "WIM", "1", "T/new.img", "--new=8M"],
    "export": ["wim", "export", "WIM", "1", "T/new.wim", "--solid", "--chunk-size=128K"],
    "add": ["wim", "add", "WIM", "1", "BENIGN", "added/", "--parents", "--target", "T/new.wim"],
    "hive": ["hive", "ls", "WIM:1:../canary/mine"],
    "packages": ["wim", "packages", "WIM", "1"],
}
QUICK = ("below two dots", "control", "links", "a link and its twin")
REAL = ("dotdot.wim", "cyclic.wim", "corrupted_file_1.wim")


class Room:
    """A folder with something in it that must stay as it is, around the folder for targets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = folder / "deep/er/target"
        self.canary = folder / "canary"
        self.target.mkdir(parents=True)
        for place in (self.canary, folder / "deep/canary", folder / "deep/er/canary"):
            place.mkdir()
            (place / "mine").write_bytes(b"mine")

    def outside(self) -> dict[str, tuple[int, int, int]]:
        """All that is here but the targets, with sizes and times."""
        found = {}
        for top, folders, files in os.walk(self.folder):
            if Path(top) == self.target:
                folders.clear()
                continue
            for name in (*folders, *files):
                path = Path(top, name)
                status = path.lstat()
                moment = 0 if path == self.target else status.st_mtime_ns
                found[str(path)] = status.st_ino, status.st_mode, moment
        return found


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def meet(
    room: Room,
    wim: Path,
    benign: Path,
    command: str,
    options: list[str],
    capfd: pytest.CaptureFixture[str],
) -> int:
    """Run a command; how it ended."""
    words = {"WIM": str(wim), "BENIGN": str(benign), "T/": f"{room.target}/"}
    line = [*COMMANDS[command], *options]
    for word, path in words.items():
        line = [one.replace(word, path, 1) if one.startswith(word) else one for one in line]
    before = room.outside()
    code = run(line)
    captured = capfd.readouterr()
    assert room.outside() == before, line
    for text in (captured.out, captured.err):
        raw = RAW.search(text)
        assert raw is None, (line, text[max(0, raw.start() - 80) : raw.end() + 80])
    assert "Traceback" not in captured.err
    assert code in {0, 1} | KNOWN_EXITS, captured.err
    nothing_leads_out(room.target)
    empty(room.target)
    return code


def exits(kind: type[WimsmithError]) -> set[int]:
    return {kind.exit}.union(*(exits(one) for one in kind.__subclasses__()))


KNOWN_EXITS = exits(WimsmithError) - {WimsmithError.exit}


def nothing_leads_out(target: Path) -> None:
    for entry in below(target):
        if entry.is_symlink():
            real = os.path.realpath(entry.path)
            assert os.path.commonpath([real, os.fsencode(target)]) == os.fsencode(target), entry


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        else:
            path.unlink()


def below(folder: Path) -> Iterator[os.DirEntry[bytes]]:
    """Everything in a folder, folders before what is in them, however deep."""
    pending = [os.fsencode(folder)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)


def made(room: Room, change: Change, name: str = "hostile.wim") -> Path:
    image = Image()
    image.canary = room.canary
    change(image)
    return image.write(room.folder / name)


@pytest.mark.parametrize("name", QUICK)
def test_what_puts_names_on_the_disk_is_not_led_out_of_its_target(
    room: Room, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The commands and images that are most likely to; the long suite has them all."""
    wim, benign = made(room, IMAGES[name]), made(room, named("file"), "benign.wim")
    for command in ("ls", "diff", "extract", "apply"):
        meet(room, wim, benign, command, [], capfd)


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGES)
def test_no_command_is_led_out_of_its_target(
    room: Room, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    wim, benign = made(room, IMAGES[name]), made(room, named("file"), "benign.wim")
    for command in COMMANDS:
        ended = [meet(room, wim, benign, command, more, capfd) for more in ([], ["--json"])]
        with capfd.disabled():
            print(f"{name:<20} {command:<24} {ended}")  # noqa: T201 - a table


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[] if command == "extract" else pytest.mark.slow)
        for command in COMMANDS
    ],
)
@pytest.mark.parametrize("name", REAL)
def test_no_real_file_leads_out(
    real: Path, room: Room, name: str, command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    benign = made(room, named("file"), "benign.wim")
    meet(room, real / "wim" / name, benign, command, [], capfd)


def test_what_was_extracted_is_captured_again(
    room: Room, capfd: pytest.CaptureFixture[str]
) -> None:
    """A tree with links and odd names goes back into an image without following any of them."""
    for change in (links, control):
        wim = made(room, change)
        before = room.outside()
        assert run(["wim", "extract", str(wim), "1", f"{room.target}/out"]) == 0
        line = ["wim", "capture", f"{room.target}/out", f"{room.target}/new.wim", "--level=20"]
        assert run(line) == 0
        assert run(["wim", "ls", f"{room.target}/new.wim", "1", "-r"]) == 0
        captured = capfd.readouterr()
        assert RAW.search(captured.out + captured.err) is None
        assert DATA not in (room.target / "new.wim").read_bytes() or change is not links
        assert b"mine" not in (room.target / "new.wim").read_bytes()
        assert room.outside() == before
        empty(room.target)


def test_a_deep_tree_goes_when_its_extraction_ends_badly(room: Room) -> None:
    """Python's own way to remove a folder calls itself for each level, and gives up."""
    wim = made(room, rather_deep)

    def stop(event: Event) -> None:
        if event.phase in {"Setting times", "Writing to disk"}:
            raise Cancelled("by the test")

    with pytest.raises(Cancelled):
        extract_image(wim, 1, room.target / "out", progress=stop)
    assert list(room.target.iterdir()) == []


def test_a_deep_tree_of_a_killed_process_is_swept(room: Room) -> None:
    assert run(["wim", "extract", str(made(room, rather_deep)), "1", f"{room.target}/out"]) == 0
    (room.target / "out").rename(room.target / f"{PREFIX}left")
    benign = made(room, named("file"), "benign.wim")
    assert run(["wim", "extract", str(benign), "1", f"{room.target}/out"]) == 0
    assert [path.name for path in room.target.iterdir()] == ["out"]
