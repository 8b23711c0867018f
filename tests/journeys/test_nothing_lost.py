"""What a command does not name is the same afterwards: every command, one table, three readers.

Compared are wimlib's detailed listing, the raw metadata as another parser reads it (extended
attributes and unknown items included), and NTFS volumes to which wimlib applied both files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from offline.edits.test_edit_sequences import Model, Player
from offline.wim import ntfs
from offline.wim.images import Practice, write
from offline.wim.judges import link_groups, listing, run
from offline.wim.ntfs import OnVolume
from offline.wim.rawmetadata import RawEntry, raw_entries
from offline.wim.test_unusual import LONE, unusual
from offline.wim.test_write import comparable
from wimsmith.cli.main import run as wimsmith
from wimsmith.offline.changes import ChangeSet, Remove
from wimsmith.offline.commit import commit
from wimsmith.offline.edits.writing import edit_image
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers._libwim import LibwimCodec

VOLUME_BYTES = 16 << 20
NOW = 133_600_000_000_000_000
SCRIPTS = (
    "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac.txt",
    "\u0440\u0443\u0441\u0441\u043a\u0438\u0439.dll",
    "\u4e2d\u6587\u6a94\u6848.exe",
    "\u0639\u0631\u0628\u064a",
    "\u05e2\u05d1\u05e8\u05d9\u05ea",
    "\u0939\u093f\u0928\u094d\u0926\u0940",
    "\ud55c\uad6d\uc5b4",
    "I\u0307\u0131\u0130 \u00df \ufb01.txt",
    "e\u0301 and \u00e9",
    "\U0001f600\u200d\U0001f468",
)
GOOD = (
    *("LZX.wim", "XPRESS.wim", "LZMS.wim", "MultiImage.wim"),
    *("Split.swm", "VerifySuccess.wim", "dotdot.wim"),
)


@dataclass(frozen=True)
class Result:
    """A file with the image to compare, and what it is read with."""

    wim: Path
    index: int = 1
    references: tuple[str, ...] = ()


Way = Callable[[Path, Path], Result]


def cli(*tokens: object) -> None:
    assert wimsmith(["wim", *map(str, tokens)]) == 0


def exported(*options: str) -> Way:
    def way(base: Path, folder: Path) -> Result:
        cli("export", base, "all", folder / "new.wim", *options)
        return Result(folder / "new.wim")

    return way


def through_solid(base: Path, folder: Path) -> Result:
    cli("export", base, "all", folder / "solid.wim", "--solid", "--chunk-size=128K", "--level=20")
    cli("export", folder / "solid.wim", "all", folder / "new.wim", "--compress=lzx")
    return Result(folder / "new.wim")


def as_delta(base: Path, folder: Path) -> Result:
    cli("export", base, "all", folder / "delta.wim", "--delta-from", base)
    cli("export", folder / "delta.wim", "all", folder / "new.wim", "--ref", base)
    return Result(folder / "new.wim")


def appended(base: Path, folder: Path) -> Result:
    write(folder / "new.wim", Practice(), codec=LibwimCodec(), compression=Compression.XPRESS)
    cli("append", base, "1", folder / "new.wim", "--name", "Appended")
    return Result(folder / "new.wim", 2)


def appended_to(base: Path, folder: Path) -> Result:
    cli("export", base, "all", folder / "new.wim")
    other = unusual()
    other.put("other", b"other")
    write(folder / "other.wim", other, name="Other")
    cli("append", folder / "other.wim", "1", folder / "new.wim")
    return Result(folder / "new.wim")


def split(base: Path, folder: Path) -> Result:
    cli("export", base, "all", folder / "whole.wim")
    cli("split", folder / "whole.wim", folder / "part.swm", "300K")
    return Result(folder / "part.swm", references=(f"--ref={folder}/part*.swm",))


def joined(base: Path, folder: Path) -> Result:
    split(base, folder)
    cli("join", folder / "new.wim", folder / "part.swm")
    return Result(folder / "new.wim")


def optimized(*options: str) -> Way:
    def way(base: Path, folder: Path) -> Result:
        cli("optimize", base, folder / "new.wim", *options)
        return Result(folder / "new.wim")

    return way


def edited(verb: str, *arguments: str, in_place: bool = False) -> Way:
    def way(base: Path, folder: Path) -> Result:
        (folder / "file").write_bytes(b"new content " * 99)
        given = [str(folder / "file") if one == "FILE" else one for one in arguments]
        if in_place:
            cli("export", base, "all", folder / "new.wim")
            cli(verb, folder / "new.wim", "1", *given, "--in-place")
        else:
            cli(verb, base, "1", *given, "--target", folder / "new.wim")
        return Result(folder / "new.wim")

    return way


def committed(base: Path, folder: Path) -> Result:
    codec = LibwimCodec()
    changes = ChangeSet((Remove("same/one"),))
    with open_wim(base, codec) as wim:
        commit(wim, {1: [changes]}, folder / "new.wim", codec=codec, modified=NOW)
    return Result(folder / "new.wim")


COPIES: dict[str, Way] = {
    "export": exported(),
    "export to XPRESS": exported("--compress=xpress"),
    "export to LZMS": exported("--compress=lzms", "--level=20"),
    "export unpacked": exported("--compress=none"),
    "export anew": exported("--recompress"),
    "export solid": exported("--solid", "--chunk-size=128K", "--level=20"),
    "export solid and back": through_solid,
    "export as a delta and back": as_delta,
    "append": appended,
    "append to it": appended_to,
    "split": split,
    "join": joined,
    "optimize": optimized(),
    "optimize to XPRESS": optimized("--compress=xpress", "--recompress"),
}
ON_REAL = tuple(name for name in COPIES if not name.startswith("append"))
EDITS: dict[str, tuple[Way, frozenset[str]]] = {
    "add": (edited("add", "FILE", "same/new"), frozenset(["same/new"])),
    "add over a file": (edited("add", "FILE", "same/ONE", "--overwrite"), frozenset(["same/one"])),
    "rm": (edited("rm", "same/one"), frozenset(["same/one"])),
    "mv": (edited("mv", "same/one", "same/new"), frozenset(["same/one", "same/new"])),
    "replace": (edited("replace", "same/one", "FILE", in_place=True), frozenset(["same/one"])),
    "mkdir": (edited("mkdir", "same/new", in_place=True), frozenset(["same/new"])),
    "commit": (committed, frozenset(["same/one"])),
}
ORDINARY_ON_VOLUME = ("export solid and back", "add over a file")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with everything that a file can have."""
    path = tmp_path_factory.mktemp("base") / "base.wim"
    practice = unusual()
    practice.put(LONE, b"lone")
    for name in SCRIPTS:
        practice.put(f"scripts/{name}", name.encode())
        practice.put(f"scripts of {name}/file", b"below")
    write(path, practice, codec=LibwimCodec(), compression=Compression.LZX)
    return path


@dataclass(frozen=True)
class Seen:
    """An image as others see it, by path."""

    listed: Mapping[str, object]
    raw: Mapping[str, RawEntry]
    links: set[frozenset[str]]


def seen(result: Result, folder: Path) -> Seen:
    plain = unpacked(result, folder)
    listed = comparable(listing(result.wim, result.index))
    return Seen(listed, raw_entries(plain), link_groups(plain))


def unpacked(result: Result, folder: Path) -> Path:
    """The image alone, unpacked by wimlib."""
    plain = folder / f"plain-{result.wim.stem}.wim"
    plain.unlink(missing_ok=True)
    arguments = ("export", result.wim, result.index, plain, "--compress=none")
    run("wimlib-imagex", *arguments, *result.references)
    return plain


def on_volume(result: Result, folder: Path) -> dict[str, OnVolume]:
    volume = ntfs.make_volume(folder / f"{result.wim.stem}.img", VOLUME_BYTES)
    run("wimlib-imagex", "apply", result.wim, result.index, volume, *result.references)
    found = ntfs.read_back(volume)
    volume.unlink()
    return found


def compare(before: Seen, after: Seen, touched: frozenset[str] = frozenset()) -> None:
    named = {f"/{path}" for path in touched}
    assert before.raw.keys() - named == after.raw.keys() - named
    for path in before.raw.keys() - named:
        assert after.raw[path] == before.raw[path], path
    for path in before.listed.keys() - touched:
        assert after.listed[path] == before.listed[path], path
    assert after.listed.keys() - touched == before.listed.keys() - touched
    assert {group - touched for group in after.links} == {group - touched for group in before.links}


@pytest.fixture(scope="module")
def base_seen(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return seen(Result(base), tmp_path_factory.mktemp("seen"))


@pytest.fixture(scope="module")
def base_on_volume(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, OnVolume]:
    return on_volume(Result(base), tmp_path_factory.mktemp("volume"))


def test_there_is_something_to_lose(base_seen: Seen) -> None:
    """Each kind of fact is in the image, and some in several forms."""
    entries = base_seen.raw.values()
    assert len(base_seen.links) > 1
    assert len({entry.security for entry in entries}) > 1
    assert len({entry.attributes for entry in entries}) > 8
    assert sum(bool(entry.short_name) for entry in entries) > 2
    assert sum(bool(entry.named) for entry in entries) > 5
    assert sum(bool(entry.tagged) for entry in entries) > 3
    assert sum(bool(entry.reparse) for entry in entries) > 4
    assert sum(not entry.hashes for entry in entries) > 2
    assert all(f"/scripts/{name}" in base_seen.raw for name in SCRIPTS)


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_has_all_that_the_file_had(
    base: Path, base_seen: Seen, tmp_path: Path, name: str
) -> None:
    compare(base_seen, seen(COPIES[name](base, tmp_path), tmp_path))


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_leaves_what_it_does_not_name(
    base: Path, base_seen: Seen, tmp_path: Path, name: str
) -> None:
    way, touched = EDITS[name]
    compare(base_seen, seen(way(base, tmp_path), tmp_path), touched)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ORDINARY_ON_VOLUME else pytest.mark.slow)
        for name in (*COPIES, *EDITS)
    ],
)
def test_on_a_volume_it_is_the_same(
    base: Path, base_on_volume: dict[str, OnVolume], tmp_path: Path, name: str
) -> None:
    way, touched = EDITS.get(name) or (COPIES[name], frozenset[str]())
    after = on_volume(way(base, tmp_path), tmp_path)
    named = {f"/{path}" for path in touched} | ({"/same"} if touched else set())
    assert after.keys() - named == base_on_volume.keys() - named
    for path in base_on_volume.keys() - named:
        old, new = base_on_volume[path], after[path]
        assert replace(new, links=new.links - named) == replace(old, links=old.links - named), path


def chained(start: Path, folder: Path, seed: int) -> Path:
    """Edits by chance, then one command after the other; the names of the images may change."""
    sources = folder / "sources"
    sources.mkdir()
    player = Player(Model.of(unpacked(Result(start), folder)), sources, seed)
    planned = [player.edit() for _ in range(12)]
    edit_image(start, 1, planned, folder / "edited.wim", codec=LibwimCodec())
    return folder / "edited.wim"


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 30))]
)
def test_after_edits_by_chance_every_command_keeps_all(
    base: Path, tmp_path: Path, seed: int
) -> None:
    """What edits by chance do is shown elsewhere; here each result goes through a chain."""
    (tmp_path / "edits").mkdir()
    wim = chained(base, tmp_path / "edits", seed)
    before = seen(Result(wim), tmp_path)
    ways = ["split", "export solid and back", "export as a delta and back", "append", "optimize"]
    result = Result(wim)
    for step, name in enumerate(ways):
        folder = tmp_path / str(step)
        folder.mkdir()
        if name == "split":
            result = joined(result.wim, folder)
        else:
            result = COPIES[name](alone(result, folder), folder)
        compare(before, seen(result, folder))


def alone(result: Result, folder: Path) -> Path:
    """The file with no other image than the one that is looked at."""
    if result.index == 1:
        return result.wim
    cli("export", result.wim, result.index, folder / "alone.wim")
    return folder / "alone.wim"


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=[] if way == "join" else pytest.mark.slow) for way in ON_REAL],
)
def test_real_files_lose_nothing(real: Path, tmp_path: Path, name: str, way: str) -> None:
    source, count = real / "wim" / name, 3 if name == "MultiImage.wim" else 1
    if name == "Split.swm":
        cli("join", tmp_path / "joined.wim", source)
        others = (f"--ref={real}/wim/Split*.swm",)
        compare(
            seen(Result(source, 1, others), tmp_path),
            seen(Result(tmp_path / "joined.wim"), tmp_path),
        )
        source = tmp_path / "joined.wim"
    if way in {"split", "join"}:
        cli("export", source, "all", tmp_path / "ordinary.wim", "--compress=lzx")
        source = tmp_path / "ordinary.wim"
    result = COPIES[way](source, tmp_path)
    for index in range(1, count + 1):
        compare(seen(Result(source, index), tmp_path), seen(replace(result, index=index), tmp_path))
