"""Cabinets: expanded to the byte, or refused before anything is written."""

import random
import re
import signal
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wimsmith.errors import (
    Cancelled,
    DamagedInput,
    DamagedPackage,
    LimitExceeded,
    NotSupported,
    UnsafePath,
    WimsmithError,
    WorkerFailed,
)
from wimsmith.offline.packages.containers.cabinet import _failure, expand_cabinet
from wimsmith.offline.packages.containers.cablisting import list_cabinet
from wimsmith.offline.packages.limits import PackageLimits
from wimsmith.offline.progress import Event
from wimsmith.practice.cabinet import build_cabinet
from wimsmith.process import Completed

TEXT = b"the same words again and again. " * 5000
FILES = {"update.mum": b"<a/>", "folder\\deep\\text.txt": TEXT, "empty": b""}


def saved(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "made.cab"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("trailing", [b"", b"\x30\x82 a signature" * 1000])
def test_files_come_out_as_they_went_in(tmp_path: Path, compress: bool, trailing: bytes) -> None:
    cabinet = build_cabinet(FILES, compress=compress, reserve=bytes(20), trailing=trailing)
    files = expand_cabinet(saved(tmp_path, cabinet), tmp_path / "out")
    assert {file.name: file.path.read_bytes() for file in files} == {
        "update.mum": b"<a/>",
        "folder/deep/text.txt": TEXT,
        "empty": b"",
    }
    assert all(file.path.parent == tmp_path / "out" for file in files)
    # 2024-05-14 17:00:00 as a FILETIME
    assert {file.written for file in files} == {133_601_796_000_000_000}


def test_several_compression_folders(tmp_path: Path) -> None:
    cabinet = build_cabinet({"a": TEXT, "b": TEXT[::-1]}, folder_bytes=100_000)
    files = expand_cabinet(saved(tmp_path, cabinet), tmp_path / "out")
    assert [file.path.read_bytes() for file in files] == [TEXT, TEXT[::-1]]


def test_progress_ends_with_all_bytes_and_may_cancel(tmp_path: Path) -> None:
    events: list[Event] = []
    path = saved(tmp_path, build_cabinet(FILES))
    expand_cabinet(path, tmp_path / "out", progress=events.append)
    assert events[-1] == Event("expand", len(TEXT) + 4, len(TEXT) + 4, "bytes")

    def cancel(_event: Event) -> None:
        raise Cancelled("by the user")

    with pytest.raises(Cancelled):
        expand_cabinet(path, tmp_path / "again", progress=cancel)


@pytest.mark.parametrize(
    "name",
    [
        "..\\evil",
        "a\\..\\..\\evil",
        "\\absolute",
        "/absolute",
        "C:\\evil",
        "C:evil",
        "NUL",
        "a\\con.txt",
        "ends\\",
        "dot.",
        "a\\ ",
        "x*",
    ],
)
def test_names_that_leave_or_that_windows_could_not_hold(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, build_cabinet({"good": b"1", name: b"2"}))
    with pytest.raises(UnsafePath):
        expand_cabinet(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "names", [("File.txt", "fILE.TXT"), ("a\\b", "A/B"), ("a", "a\\b"), ("Ä.txt", "ä.txt")]
)
def test_two_names_for_one_file_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    path = saved(tmp_path, build_cabinet(dict.fromkeys(names, b"x")))
    with pytest.raises(DamagedPackage, match="two files with one name"):
        expand_cabinet(path, tmp_path / "out")


@pytest.mark.parametrize(
    "limits",
    [
        PackageLimits(files=2),
        PackageLimits(file_bytes=len(TEXT) - 1),
        PackageLimits(total_bytes=len(TEXT) + 3),
        PackageLimits(ratio=10, ratio_free_bytes=0),
    ],
)
def test_asking_for_too_much(tmp_path: Path, limits: PackageLimits) -> None:
    path = saved(tmp_path, build_cabinet(FILES))
    with pytest.raises(LimitExceeded):
        expand_cabinet(path, tmp_path / "out", limits=limits)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (3, DamagedPackage),
        (4, LimitExceeded),
        (-signal.SIGXCPU, LimitExceeded),
        (-signal.SIGXFSZ, LimitExceeded),
        (-signal.SIGSEGV, DamagedPackage),
        (-signal.SIGKILL, WorkerFailed),
        (1, WorkerFailed),
    ],
)
def test_how_an_ended_reader_is_told(status: int, error: type[WimsmithError]) -> None:
    failure = _failure(Completed(("reader",), status, b"", b"first\nthe reason\n", 0.1))
    assert type(failure) is error
    if status == 3:
        assert str(failure) == "The update package is damaged: the reason"


def listing_only(folders: list[int], files: list[tuple[int, int, int]]) -> bytes:
    """A cabinet of nothing but a directory: blocks of folders; size, offset, folder of files."""
    files_at = 36 + 8 * len(folders)
    table = b"".join(struct.pack("<IHH", files_at, blocks, 0) for blocks in folders)
    rows = b"".join(
        struct.pack("<IIHHHH", size, offset, folder, 0, 0, 0) + f"{number}\0".encode()
        for number, (size, offset, folder) in enumerate(files)
    )
    total = files_at + len(rows)
    counts = (files_at, 0, 3, 1, len(folders), len(files), 0, 0, 0)
    return struct.pack("<4sIIIIIBBHHHHH", b"MSCF", 0, total, 0, *counts) + table + rows


def with_reserved_areas(data: bytes, header: int, folder: int, block: int) -> bytes:
    """A cabinet of one stored file `a` with room reserved in its header, folder and blocks."""
    reserve = struct.pack("<HBB", header, folder, block) + b"h" * header
    files_at = 36 + len(reserve) + 8 + folder
    row = struct.pack("<IIHHHH", len(data), 0, 0, 0, 0, 0) + b"a\0"
    starts = range(0, len(data), 32_768)
    blocks = [data[start : start + 32_768] for start in starts]
    stored = b"".join(
        struct.pack("<IHH", 0, len(one), len(one)) + b"b" * block + one for one in blocks
    )
    total = files_at + len(row) + len(stored)
    counts = (files_at, 0, 3, 1, 1, 1, 4, 0, 0)
    head = struct.pack("<4sIIIIIBBHHHHH", b"MSCF", 0, total, 0, *counts)
    table = struct.pack("<IHH", files_at + len(row), len(blocks), 0) + b"f" * folder
    return head + reserve + table + row + stored


@pytest.mark.parametrize("areas", [(0, 0, 0), (20, 0, 0), (0, 5, 0), (0, 0, 9), (60_000, 255, 255)])
def test_reserved_areas_are_passed_over(tmp_path: Path, areas: tuple[int, int, int]) -> None:
    path = saved(tmp_path, with_reserved_areas(TEXT, *areas))
    (file,) = expand_cabinet(path, tmp_path / "out")
    assert file.path.read_bytes() == TEXT
    theirs = tmp_path / "theirs"
    assert expanded_by(["cabextract", "-d", theirs, path], theirs) == {"a": TEXT}


@pytest.mark.parametrize(
    "rows",
    [
        [(100, 0, 0), (100, 50, 0)],  # the same bytes in two files
        [(100, 100, 0), (100, 0, 0)],  # not in their order
        [(100, 0, 0), (100, 200, 0)],  # with bytes of no file between
        [(100, 40, 0)],
    ],
)
def test_files_that_do_not_follow_one_another_never_get_the_bytes_of_others(
    tmp_path: Path, rows: list[tuple[int, int, int]]
) -> None:
    blocks = b"".join(struct.pack("<IHH", 0, len(one), len(one)) + one for one in (TEXT[:32_768],))
    made = bytearray(listing_only([1], rows) + blocks)
    struct.pack_into("<I", made, 8, len(made))
    struct.pack_into("<I", made, 36, len(made) - len(blocks))
    path = saved(tmp_path, bytes(made))
    with pytest.raises(DamagedPackage):
        expand_cabinet(path, tmp_path / "out")


def test_a_cabinet_that_needs_more_than_the_disk_has(tmp_path: Path) -> None:
    count = 60_000
    made = listing_only([0xFFFF] * count, [(0x7FFF_8000, 0, number) for number in range(count)])
    free = PackageLimits(total_bytes=1 << 60, ratio_free_bytes=1 << 60)
    with pytest.raises(LimitExceeded, match="bytes of disk"):
        expand_cabinet(saved(tmp_path, made), tmp_path / "out", limits=free)
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("size", "offset", "fits"),
    [
        (65_536, 0, True),
        (65_537, 0, False),
        (32_768, 32_768, True),
        (1, 65_536, False),
        (0xFFFF_FFFF, 0, False),
        (1, 0xFFFF_FFFF, False),
    ],
)
def test_a_file_cannot_be_larger_than_its_blocks(
    tmp_path: Path, size: int, offset: int, fits: bool
) -> None:
    path = saved(tmp_path, listing_only([2], [(size, offset, 0)]))
    if fits:
        assert list_cabinet(path)[0].size_bytes == size
    else:
        with pytest.raises(DamagedPackage, match="larger than the blocks"):
            list_cabinet(path)


@pytest.mark.parametrize("compress", [True, False])
def test_only_some_files_are_wanted(tmp_path: Path, compress: bool) -> None:
    path = saved(tmp_path, build_cabinet(FILES, compress=compress))
    wanted = ["folder/deep/text.txt", "not there"]
    (file,) = expand_cabinet(path, tmp_path / "out", wanted=wanted)
    assert (file.name, file.path.read_bytes()) == ("folder/deep/text.txt", TEXT)
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["1"]
    assert expand_cabinet(path, tmp_path / "none", wanted=[]) == ()
    assert list((tmp_path / "none").iterdir()) == []


def test_a_payload_of_the_wrong_size_is_damage(tmp_path: Path) -> None:
    cabinet = bytearray(build_cabinet({"a": TEXT}))
    at = struct.unpack_from("<I", cabinet, 16)[0]
    for size in (len(TEXT) + 1000, 5):
        struct.pack_into("<I", cabinet, at, size)
        path = saved(tmp_path, bytes(cabinet))
        if size > len(TEXT):
            with pytest.raises(DamagedPackage):
                expand_cabinet(path, tmp_path / str(size))
        else:
            (file,) = expand_cabinet(path, tmp_path / str(size))
            assert file.path.read_bytes() == TEXT[:5]


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0, b"MSCE"),
        (8, b"\xff\xff\xff\x7f"),  # longer than the file
        (16, b"\xff\xff\xff\x7f"),  # directory outside
        (16, bytes(4)),
        (25, b"\x02"),  # version
        (26, bytes(2)),  # no folders
        (28, bytes(2)),  # no files
        (28, b"\xff\xff"),  # more files than there are
        (30, b"\x04\0"),  # a reserved area that is not there
        (36, b"\xff\xff\xff\x7f"),  # data outside
        (42, b"\x0f\0"),  # no method of compression
    ],
)
def test_broken_directories_are_damage(tmp_path: Path, offset: int, value: bytes) -> None:
    cabinet = bytearray(build_cabinet({"a": b"data"}))
    cabinet[offset : offset + len(value)] = value
    with pytest.raises(DamagedInput):
        expand_cabinet(saved(tmp_path, bytes(cabinet)), tmp_path / "out")


def test_a_truncated_cabinet_is_damage(tmp_path: Path) -> None:
    cabinet = build_cabinet({"a": TEXT, "b": b"b"})
    for end in range(0, len(cabinet), 97):
        with pytest.raises(DamagedPackage):
            list_cabinet(saved(tmp_path, cabinet[:end]))


def test_mutated_directories_are_listed_or_refused(tmp_path: Path) -> None:
    source = random.Random(11)
    good = build_cabinet(FILES)
    for _count in range(300):
        changed = bytearray(good)
        for _flip in range(source.randint(1, 5)):
            changed[source.randrange(160)] = source.randrange(256)
        try:
            list_cabinet(saved(tmp_path, bytes(changed)))
        except WimsmithError:
            continue


def test_mutated_cabinets_are_expanded_or_refused(tmp_path: Path) -> None:
    source = random.Random(12)
    good = build_cabinet({"a": TEXT, "b": b"b" * 100})
    for number in range(12):
        changed = bytearray(good)
        for _flip in range(source.randint(1, 4)):
            changed[source.randrange(36, len(changed))] ^= 1 << source.randrange(8)
        try:
            expand_cabinet(saved(tmp_path, bytes(changed)), tmp_path / str(number))
        except (DamagedInput, LimitExceeded):
            continue


file_names = st.text("abcXYZ09._- ", min_size=1, max_size=12).filter(
    lambda name: name[-1] not in ". " and not name.startswith(" ")
)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(file_names.map(str.lower), st.binary(max_size=3000), min_size=1))
def test_any_files_survive(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("cab")
    files = expand_cabinet(saved(folder, build_cabinet(contents)), folder / "out")
    assert {file.name: file.path.read_bytes() for file in files} == contents


@pytest.mark.parametrize(
    ("offset", "value", "sentence"),
    [
        (30, b"\x01\0", "one part of a set of cabinets"),
        (30, b"\x02\0", "one part of a set of cabinets"),
        (42, b"\x02\x13", "compressed as Quantum"),
    ],
)
def test_cabinets_of_a_kind_that_no_package_is(
    tmp_path: Path, offset: int, value: bytes, sentence: str
) -> None:
    cabinet = bytearray(build_cabinet({"a": b"data"}))
    cabinet[offset : offset + len(value)] = value
    with pytest.raises(NotSupported, match=sentence) as refused:
        expand_cabinet(saved(tmp_path, bytes(cabinet)), tmp_path / "out")
    assert refused.value.reason == "not-cbs"
    assert not (tmp_path / "out").exists()


def expanded_by(program: list[str | Path], folder: Path) -> dict[str, bytes] | None:
    """Files that another program gets out of a cabinet, or None if it calls it broken."""
    if subprocess.run(program, check=False, capture_output=True).returncode != 0:
        return None
    files = (path for path in folder.rglob("*") if path.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


REAL_OUTCOMES = {
    "bad_nofiles": "an empty cabinet",
    "bad_signature": "does not start as a cabinet",
    "case-utf8": 6,
    "cve-2010-2801-qtm-flush": "compressed as Quantum",
    "cve-2014-9732-folders-segfault": "compression method 15",
    "cve-2015-4471-lzx-under-read": "should have 220 bytes",
    "dir": 2,
    "encoding-koi8": "cannot be used on Windows",  # a question mark in a name
    "encoding-sjis": "cannot be used on Windows",
    "filename-read-violation-2": "should have 84 bytes",
    "filename-read-violation-4": "data outside the cabinet",
    "hidden-file-beyond-eof": "should have 200 bytes",
    "large-files-cab": 1,
    "lzx-premature-matches": "LZX decompression failed",
    "multi_basic_pt1": "one part of a set",
    "multi_basic_pt3": "one part of a set",
    "multi_basic_pt5": "one part of a set",
    "normal_2files_2folders": 4,
    "partial_nofiles": "should have 253 bytes",
    "partial_shortextheader": "should have 253 bytes",
    "partial_shortfile2": "should have 253 bytes",
    "partial_shortheader": "ends in its directory",
    "partial_str_noninfo": "one part of a set",
    "partial_str_nopinfo": "one part of a set",
    "partial_str_shortfname": "one part of a set",
    "partial_str_shortnname": "one part of a set",
    "partial_str_shortpname": "one part of a set",
    "reserve_---": "Invalid CFDATA",  # a short block before another, as for 7z
    "reserve_-F-": "Invalid CFDATA",
    "reserve_H--": "Invalid CFDATA",
    "reserve_HF-": "Invalid CFDATA",
    "search": "does not start as a cabinet",
    "search_tricky1": "does not start as a cabinet",
    "split-1": "one part of a set",
    "split-3": "one part of a set",
    "split-5": "one part of a set",
}


def test_every_odd_real_cabinet_has_its_outcome(real: Path, tmp_path: Path) -> None:
    paths = {path.stem: path for path in (real / "cab").glob("*.cab")}
    assert paths.keys() == REAL_OUTCOMES.keys()
    for name, expected in REAL_OUTCOMES.items():
        if isinstance(expected, str):
            with pytest.raises(
                (DamagedPackage, NotSupported, UnsafePath), match=re.escape(expected)
            ):
                expand_cabinet(paths[name], tmp_path / name)
            continue
        found = expand_cabinet(paths[name], tmp_path / name)
        ours = {file.name: file.path.read_bytes() for file in found}
        assert len(ours) == expected
        theirs = tmp_path / f"{name}-7z", tmp_path / f"{name}-cabextract"
        assert ours == expanded_by(["7z", "x", "-y", f"-o{theirs[0]}", paths[name]], theirs[0])
        assert ours == expanded_by(["cabextract", "-d", theirs[1], paths[name]], theirs[1])


def test_real_packages_expand_as_other_programs_expand_them(real: Path, tmp_path: Path) -> None:
    cabinets = [*(real / "cbs").glob("*.cab"), *(real / "msu").glob("*.msu")]
    assert len(cabinets) == 4
    for number, path in enumerate(cabinets):
        ours = {
            file.name: file.path.read_bytes()
            for file in expand_cabinet(path, tmp_path / str(number))
        }
        theirs = tmp_path / f"{number}-7z"
        subprocess.run(["7z", "x", "-y", f"-o{theirs}", path], check=True, capture_output=True)
        assert ours == {
            file.relative_to(theirs).as_posix(): file.read_bytes()
            for file in theirs.rglob("*")
            if file.is_file()
        }


def test_a_made_cabinet_is_the_same_to_cabextract(tmp_path: Path) -> None:
    path = saved(tmp_path, build_cabinet(FILES, trailing=bytes(9000)))
    theirs = tmp_path / "theirs"
    subprocess.run(["cabextract", "-q", "-d", theirs, path], check=True, capture_output=True)
    for file in expand_cabinet(path, tmp_path / "ours"):
        assert (theirs / file.name).read_bytes() == file.path.read_bytes()
