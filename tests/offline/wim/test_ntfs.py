"""Volumes seen from outside, extended attributes, and volumes that somebody damaged."""

import random
import re
import struct
from pathlib import Path

import pytest

from offline.wim import ntfs
from offline.wim.images import rich, write
from offline.wim.judges import run
from offline.wim.verbs import strays
from wimsmith.errors import (
    DamagedInput,
    DamagedWim,
    NotSupported,
    WimsmithError,
    WorkerFailed,
)
from wimsmith.offline.wim.format import tagged
from wimsmith.offline.wim.format.tagged import ExtendedAttribute
from wimsmith.offline.wim.verbs.capture import CaptureOptions, capture_ntfs
from wimsmith.offline.wim.verbs.ntfs import open_volume
from wimsmith.offline.wim.workers.budget import limits_for
from wimsmith.offline.wim.workers.child import Worker

TABLE = 4 * 4096
RECORD_BYTES = 1024
VOLUME_RECORD = TABLE + 3 * RECORD_BYTES


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("volume")
    write(folder / "rich.wim", rich())
    made = ntfs.make_volume(folder / "volume.img", 16 << 20, "-p", 2048, "-H", 255, "-S", 63)
    run("wimlib-imagex", "apply", folder / "rich.wim", 1, made)
    return made


def changed(volume: Path, target: Path, place: int, data: bytes) -> Path:
    whole = bytearray(volume.read_bytes())
    whole[place : place + len(data)] = data
    target.write_bytes(whole)
    return target


def test_a_volume_tells_its_geometry(volume: Path) -> None:
    found = open_volume(volume)
    assert (found.sector_bytes, found.cluster_bytes) == (512, 4096)
    assert (found.first_sector, found.heads, found.sectors_per_track) == (2048, 255, 63)
    assert found.size_bytes == volume.stat().st_size - 512
    assert not found.is_device
    assert not found.is_dirty


@pytest.mark.parametrize("options", [("-c", 65536), ("-c", 512), ("-s", 4096, "-c", 4096)])
def test_volumes_of_other_geometry_are_read(tmp_path: Path, options: tuple[object, ...]) -> None:
    made = ntfs.make_volume(tmp_path / "volume.img", 32 << 20, *options)
    assert open_volume(made).cluster_bytes == int(str(options[-1]))
    report = capture_ntfs(made, tmp_path / "new.wim", CaptureOptions("Empty"))
    assert (report.files, report.directories) == (0, 1)


@pytest.mark.parametrize(
    ("place", "data", "about"),
    [
        (11, b"\0\0", "sectors of 0 bytes"),
        (13, b"\0", "0 in a cluster"),
        (40, struct.pack("<Q", 1 << 50), "a volume of"),
        (48, struct.pack("<Q", 1 << 50), "outside of the volume"),
        (48, struct.pack("<Q", 1 << 63), "outside of the volume"),
        (64, b"\x80", "file records of"),
        (64, b"\0", "file records of 0"),
        (VOLUME_RECORD, b"BAAD", "is not there"),
        (VOLUME_RECORD + 20, b"\xff\xff", "tells nothing"),
        (VOLUME_RECORD + 56, b"\x10\0\0\0\0\0\0\0", "tells nothing"),
    ],
)
def test_a_boot_sector_that_cannot_be_true_is_refused(
    volume: Path, tmp_path: Path, place: int, data: bytes, about: str
) -> None:
    with pytest.raises(DamagedInput, match=about):
        open_volume(changed(volume, tmp_path / "bad.img", place, data))


@pytest.mark.parametrize(
    ("place", "data", "about"),
    [
        (3, b"-FVE-FS-", "is BitLocker"),
        (3, b"EXFAT   ", "is exFAT"),
        (3, b"ReFS\0\0\0\0", "is ReFS"),
        (3, b"MSDOS5.0", "seems to be a whole disk"),
    ],
)
def test_what_else_it_may_be_is_named(
    volume: Path, tmp_path: Path, place: int, data: bytes, about: str
) -> None:
    with pytest.raises(NotSupported, match=about):
        open_volume(changed(volume, tmp_path / "other.img", place, data))


@pytest.mark.parametrize("size_bytes", [0, 1, 100, 511])
def test_a_file_that_is_too_short_is_refused(volume: Path, tmp_path: Path, size_bytes: int) -> None:
    short = tmp_path / "short.img"
    short.write_bytes(volume.read_bytes()[:size_bytes])
    with pytest.raises((DamagedInput, NotSupported)):
        open_volume(short)


SOME = (
    ExtendedAttribute(b"$KERNEL.PURGE.ESBCACHE", bytes(range(60)), 0x80),
    ExtendedAttribute(b"A", b""),
    ExtendedAttribute(b"LONG" * 60, bytes(1000)),
)


def test_extended_attributes_change_their_form_and_nothing_else() -> None:
    packed = tagged.item(tagged.OBJECT_ID, bytes(64)) + tagged.pack_extended(SOME)
    assert tagged.extended_of(packed) == SOME
    assert tagged.from_volume(tagged.to_volume(SOME)) == SOME
    assert len(tagged.to_volume(SOME)) % 4 == 0
    assert [tag for tag, _ in tagged.items(packed)] == [tagged.OBJECT_ID, tagged.EXTENDED]
    assert tagged.from_volume(b"") == ()
    last = tagged.to_volume(SOME[:1])
    assert tagged.from_volume(bytes(4) + last[4:]) == SOME[:1], "Windows ends a list with 0"


def test_attributes_that_are_cut_off_are_refused() -> None:
    packed, on_volume = tagged.pack_extended(SOME[:2]), tagged.to_volume(SOME[:2])
    with pytest.raises(DamagedWim):
        tagged.extended_of(packed[:40])
    with pytest.raises(DamagedWim):
        tagged.from_volume(on_volume[:40])
    long = struct.pack("<HBB", 60_000, 5, 0) + b"SHORT\0value"
    with pytest.raises(DamagedWim, match="cut off"):
        tagged.extended_of(tagged.item(tagged.EXTENDED, long))


def mutated(volume: Path, target: Path, seed: int) -> Path:
    """A volume with some bytes changed in the records of its files and of its own tables."""
    chance = random.Random(seed)
    data = bytearray(volume.read_bytes())
    for _ in range(chance.choice([1, 3, 10, 40])):
        record = TABLE + RECORD_BYTES * chance.choice([*range(12), *range(64, 84)])
        data[record + chance.randrange(480)] = chance.choice(
            [0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)]
        )
    target.write_bytes(data)
    return target


def test_a_folder_that_contains_itself_is_refused(volume: Path, tmp_path: Path) -> None:
    """The entry of a folder in its parent is made to lead to the folder above."""
    folder, below = (reference(volume, name) for name in ("Windows", "Windows/System32"))
    data = volume.read_bytes()
    places = [
        found.start()
        for found in re.finditer(re.escape(below), data)
        if data[found.start() + 16 :].startswith(folder)
    ]
    assert places, "an entry that names the folder above as the parent"
    for place in places:
        data = data[:place] + folder + data[place + 8 :]
    loop = tmp_path / "loop.img"
    loop.write_bytes(data)
    with pytest.raises(WimsmithError):
        capture_ntfs(loop, tmp_path / "new.wim", CaptureOptions("Loop"))
    assert [path.name for path in tmp_path.iterdir()] == ["loop.img"]
    with (
        pytest.raises((DamagedInput, WorkerFailed)),
        Worker(opens_files=True, limits=limits_for(threads=1)) as worker,
    ):
        worker.ask(read_back_request(volume, loop))


def reference(volume: Path, name: str) -> bytes:
    """The reference to a file, as entries of directories have it: record and sequence number."""
    text = run("ntfsinfo", "-F", name, volume)
    record = re.search(r"Dumping Inode (\d+)", text)
    sequence = re.search(r"MFT Record Seq. Numb.:\s+(\d+)", text)
    assert record
    assert sequence
    return struct.pack("<Q", int(record[1]) | int(sequence[1]) << 48)


def read_back_request(volume: Path, loop: Path) -> dict[str, object]:
    return {
        "do": "read-back",
        "source": str(volume.with_name("rich.wim")),
        "references": [],
        "index": 1,
        "volume": str(loop),
        "content": False,
    }


def capture_mutated(volume: Path, folder: Path, seeds: range) -> dict[str, int]:
    outcomes: dict[str, int] = {}
    options = CaptureOptions("Damaged", as_is=True, overwrite=True, check=False)
    for seed in seeds:
        bad, target = mutated(volume, folder / "bad.img", seed), folder / "new.wim"
        try:
            capture_ntfs(bad, target, options)
            outcome = "captured"
            run("wimlib-imagex", "verify", target)
        except WimsmithError as error:
            outcome = type(error).__name__
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        assert strays(folder) == []
    return outcomes


def test_a_damaged_volume_is_captured_or_refused(volume: Path, tmp_path: Path) -> None:
    assert set(capture_mutated(volume, tmp_path, range(8))) == {"captured", "DamagedInput"}


@pytest.mark.slow
def test_many_damaged_volumes_are_captured_or_refused(volume: Path, tmp_path: Path) -> None:
    outcomes = capture_mutated(volume, tmp_path, range(100, 200))
    assert set(outcomes) <= {"captured", "DamagedInput"}
    assert min(outcomes.values()) > 20
