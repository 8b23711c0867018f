"""Every command that writes, with small inputs for it, and how to tell its old result from its new.

A `Scene` has the inputs in one folder, which no command may change, and a folder for results.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from offline.wim import ntfs
from offline.wim.images import TIMES, rich, sha1, write
from offline.wim.judges import run
from wimsmith.offline.registry import Hive, ValueType, encode_dword, encode_text
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.verbs.split import split_wim
from wimsmith.offline.wim.workers._libwim import LibwimCodec
from wimsmith.offline.wim.writing.staging import PREFIX
from wimsmith.offline.wim.writing.write import write_wim
from wimsmith.practice.image import build_image
from wimsmith.practice.presets import preset
from wimsmith.practice.root import practice_root
from wimsmith.practice.spec import ImageSpec
from wimsmith.practice.updates import build_update

PART_BYTES = "60K"
REG = (
    'Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\New]\r\n"a"="b"\r\n'
)
_NEW = b"a later file " * 2000
_LIST = (
    *("--index", "1", "--add", "S/folder", "Windows/"),
    *("--replace", "Windows/System32/config/SOFTWARE", "S/SOFTWARE"),
    *("--import-reg", "S/change.reg"),
)
_SERVICE = (
    *("--add", "S/updates/small.cab", "--remove", "KB4000001", "--reset-base"),
    *("--test-root", "S/practice-root.pem", "--experimental"),
)


@dataclass(frozen=True)
class Scene:
    """`source` has the inputs, `target` gets the results and is the folder whose changes count."""

    source: Path
    target: Path

    def clear(self) -> None:
        for path in self.target.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@dataclass(frozen=True)
class Verb:
    """A command.

    Args:
        name: in tables.
        arguments: of the command line; `S/` and `T/` are the two folders.
        made: files and folders of the target folder that are there when it has worked.
        given: inputs that are copied there first, by their new names.
        references: inputs that the result is read with.
    """

    name: str
    arguments: Sequence[str]
    made: Sequence[str]
    given: dict[str, str] = field(default_factory=dict)
    references: Sequence[str] = ()

    def prepare(self, scene: Scene) -> dict[str, str]:
        """Put in place what the command is given; the folder as it is then."""
        scene.clear()
        for name, given in self.given.items():
            shutil.copy(scene.source / given, scene.target / name)
        return snapshot(scene.target)

    def line(self, scene: Scene) -> list[str]:
        folders = {"S/": f"{scene.source}/", "T/": f"{scene.target}/"}
        return [
            folders.get(one[:2], one[:2]) + one[2:] if one[:2] in folders else one
            for one in self.arguments
        ]

    def accept(self, scene: Scene) -> None:
        """Return if the result is whole, as other programs see it."""
        for name in self.made:
            path = scene.target / name
            if path.suffix == ".wim" or name == "part.swm":
                parts = [f"--ref={scene.target}/part*.swm"] if name == "part.swm" else []
                references = [f"--ref={scene.source / one}" for one in self.references]
                run("wimlib-imagex", "verify", path, *parts, *references)
            elif path.suffix == ".img":
                assert "/Windows/System32/tool.dll" in ntfs.names(path)
            elif path.name == "SOFTWARE":
                hive = Hive.parse(path.read_bytes())
                hive.check()
                assert hive.value("New", "a") is not None
            elif path.is_dir():
                assert (path / "Windows/System32/tool.dll").read_bytes() == b"MZ library" * 5000
                assert len(list(path.rglob("*"))) > 12


def _edit(name: str, *arguments: str) -> list[Verb]:
    """An edit in place, and one to a target."""
    return [
        Verb(
            f"{name} in place",
            ["wim", name, "T/whole.wim", "1", *arguments, "--in-place"],
            ["whole.wim"],
            {"whole.wim": "rich.wim"},
        ),
        Verb(
            f"{name} to a target",
            ["wim", name, "S/rich.wim", "1", *arguments, "--target", "T/new.wim"],
            ["new.wim"],
        ),
    ]


def _export(name: str, *options: str, source: str = "S/rich.wim") -> Verb:
    return Verb(name, ["wim", "export", source, "all", "T/new.wim", *options], ["new.wim"])


_PARTS = ("part.swm", "part2.swm", "part3.swm")
VERBS: tuple[Verb, ...] = (
    _export("export as it is"),
    Verb(
        "export over a file",
        ["wim", "export", "S/rich.wim", "1", "T/new.wim", "--overwrite"],
        ["new.wim"],
        {"new.wim": "other.wim"},
    ),
    _export("export converting", "--compress=xpress"),
    _export("export unpacking", "--compress=none"),
    _export("export solid", "--solid", "--chunk-size=128K", "--level=20"),
    _export("export of solid", source="S/solid.wim"),
    Verb(
        "export as a delta",
        ["wim", "export", "S/later.wim", "1", "T/new.wim", "--delta-from", "S/rich.wim"],
        ["new.wim"],
        references=["rich.wim"],
    ),
    Verb(
        "append",
        ["wim", "append", "S/other.wim", "1", "T/whole.wim"],
        ["whole.wim"],
        {"whole.wim": "rich.wim"},
    ),
    Verb("split", ["wim", "split", "S/rich.wim", "T/part.swm", PART_BYTES], _PARTS),
    Verb(
        "split over files",
        ["wim", "split", "S/rich.wim", "T/part.swm", PART_BYTES, "--overwrite"],
        _PARTS,
        {name: f"set{name[4:]}" for name in _PARTS},
    ),
    Verb("join", ["wim", "join", "T/new.wim", "S/set.swm"], ["new.wim"]),
    Verb(
        "optimize in place",
        ["wim", "optimize", "T/whole.wim", "--in-place"],
        ["whole.wim"],
        {"whole.wim": "waste.wim"},
    ),
    Verb("optimize to a target", ["wim", "optimize", "S/waste.wim", "T/new.wim"], ["new.wim"]),
    *_edit("add", "S/folder", "Windows/"),
    *_edit("rm", "Windows/System32/config/SOFTWARE"),
    *_edit("mv", "Windows/empty.log", "Users/"),
    *_edit("replace", "Windows/empty.log", "S/file.bin"),
    *_edit("mkdir", "Windows/Made"),
    Verb(
        "edit list in place",
        ["wim", "edit", "T/whole.wim", *_LIST, "--in-place"],
        ["whole.wim"],
        {"whole.wim": "rich.wim"},
    ),
    Verb(
        "edit list to a target",
        ["wim", "edit", "S/rich.wim", *_LIST, "--target", "T/new.wim"],
        ["new.wim"],
    ),
    Verb(
        "service in place",
        ["wim", "service", "T/whole.wim", "1", *_SERVICE, "--in-place"],
        ["whole.wim"],
        {"whole.wim": "practice.wim"},
    ),
    Verb(
        "service to a target",
        ["wim", "service", "S/practice.wim", "1", *_SERVICE, "--export", "--output", "T/new.wim"],
        ["new.wim"],
    ),
    Verb("capture folder", ["wim", "capture", "S/folder", "T/new.wim"], ["new.wim"]),
    Verb(
        "capture NTFS", ["wim", "capture", "S/volume.img", "T/new.wim", "--level=20"], ["new.wim"]
    ),
    Verb(
        "capture and append",
        ["wim", "capture", "S/folder", "T/whole.wim", "--append"],
        ["whole.wim"],
        {"whole.wim": "rich.wim"},
    ),
    Verb(
        "apply to a new volume",
        ["wim", "apply", "S/rich.wim", "1", "T/new.img", "--new=8M"],
        ["new.img"],
    ),
    Verb("extract", ["wim", "extract", "S/rich.wim", "1", "T/tree"], ["tree"]),
    Verb(
        "hive import in place",
        ["hive", "import", "T/SOFTWARE", "S/change.reg", "--in-place"],
        ["SOFTWARE"],
        {"SOFTWARE": "SOFTWARE"},
    ),
    Verb(
        "hive import to a target",
        ["hive", "import", "S/SOFTWARE", "S/change.reg", "--target", "T/SOFTWARE"],
        ["SOFTWARE"],
    ),
    Verb("hive export", ["hive", "export", "S/SOFTWARE", "", "T/all.reg"], ["all.reg"]),
    Verb("commit", ["commit", "S/rich.wim", "S/file.bin", "T/new.wim"], ["new.wim"]),
)
SWEEPER = Verb("sweep", ["hive", "export", "S/SOFTWARE", "", "T/sweep.reg"], ["sweep.reg"])


def by_name(name: str) -> Verb:
    return next(verb for verb in VERBS if verb.name == name)


def make_sources(folder: Path) -> None:
    """The inputs of all commands."""
    codec = LibwimCodec()
    _write_wims(folder, codec)
    volume = ntfs.make_volume(folder / "volume.img", 8 << 20)
    run("wimlib-imagex", "apply", folder / "rich.wim", 1, volume)
    (folder / "folder/sub").mkdir(parents=True)
    (folder / "folder/one.txt").write_bytes(b"one " * 9000)
    (folder / "folder/sub/noise").write_bytes(_noise(40_000))
    (folder / "folder/sub/twin.txt").hardlink_to(folder / "folder/one.txt")
    (folder / "file.bin").write_bytes(_noise(50_000))
    hive = Hive.new()
    hive.set_value("Some\\Key", "Name", ValueType.SZ, encode_text("value"))
    hive.set_value("Select", "Default", ValueType.DWORD, encode_dword(1))
    (folder / "SOFTWARE").write_bytes(hive.serialize(TIMES.written))
    build_image(ImageSpec(size_bytes=128 << 10), folder / "practice.wim")
    build_update(preset("small"), folder / "updates/small.cab", root=practice_root(folder))
    (folder / "change.reg").write_bytes(b"\xff\xfe" + REG.encode("utf-16-le"))


def _write_wims(folder: Path, codec: LibwimCodec) -> None:
    rich_path, waste = folder / "rich.wim", folder / "waste.wim"
    write(rich_path, rich(), codec=codec, compression=Compression.LZX)
    with open_wim(rich_path, codec) as base:
        tree = base.tree(1)
        tree.put_file("later.txt", sha1(_NEW), times=TIMES)
        new = {sha1(_NEW): _NEW}
        write_wim(folder / "later.wim", base=base, trees={1: tree}, new_content=new)
        tree.remove("later.txt")
        tree.remove("Windows/System32/config/SOFTWARE")
        write_wim(waste, base=base, trees={1: tree}, drop_unreferenced=False)
    other = rich()
    other.put("Windows/other.txt", b"other " * 8000)
    write(folder / "other.wim", other, codec=codec, compression=Compression.XPRESS, name="Other")
    split_wim(rich_path, folder / "set.swm", 60 << 10)
    run("wimlib-imagex", "export", rich_path, "all", folder / "solid.wim", "--solid")


def snapshot(folder: Path) -> dict[str, str]:
    """What every file below a folder holds."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def strays(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(PREFIX))


def _noise(size: int) -> bytes:
    return b"".join(sha1(b"%d" % number) for number in range(size // 20 + 1))[:size]
