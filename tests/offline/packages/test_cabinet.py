"""Cabinets: expanded to the byte, or refused before anything is written."""

import random
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
    UnsafePath,
    WimsmithError,
    WorkerFailed,
)
from wimsmith.offline.packages.cabinet import _failure, expand_cabinet
from wimsmith.offline.packages.cablisting import list_cabinet
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


def test_a_cabinet_that_needs_more_than_the_disk_has(tmp_path: Path) -> None:
    row = struct.pack("<IIHHHH", 0x7FFF_FFFF, 0, 0, 0, 0, 0)
    rows = b"".join(row + f"{number}\0".encode() for number in range(60_000))
    head = struct.pack(
        "<4sIIIIIBBHHHHH", b"MSCF", 0, 44 + len(rows), 0, 44, 0, 3, 1, 1, 60_000, 0, 0, 0
    )
    path = saved(tmp_path, head + struct.pack("<IHH", 44, 0, 0) + rows)
    free = PackageLimits(total_bytes=1 << 60, ratio_free_bytes=1 << 60)
    with pytest.raises(LimitExceeded, match="bytes of disk"):
        expand_cabinet(path, tmp_path / "out", limits=free)


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
        (30, b"\x01\0"),  # continues another cabinet
        (30, b"\x02\0"),
        (30, b"\x04\0"),  # a reserved area that is not there
        (36, b"\xff\xff\xff\x7f"),  # data outside
        (42, b"\x02\0"),  # Quantum
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
    for _count in range(600):
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
    for number in range(25):
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


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(file_names.map(str.lower), st.binary(max_size=3000), min_size=1))
def test_any_files_survive(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("cab")
    files = expand_cabinet(saved(folder, build_cabinet(contents)), folder / "out")
    assert {file.name: file.path.read_bytes() for file in files} == contents


def test_malformed_real_cabinets_meet_only_our_errors(real: Path, tmp_path: Path) -> None:
    outcomes: dict[str, int | str] = {}
    for number, path in enumerate(sorted((real / "cab").glob("*.cab"))):
        try:
            outcomes[path.name] = len(expand_cabinet(path, tmp_path / str(number)))
        except (DamagedInput, LimitExceeded) as error:
            outcomes[path.name] = error.code
    assert {name: count for name, count in outcomes.items() if isinstance(count, int)} == {
        "case-utf8.cab": 6,
        "dir.cab": 2,
        "large-files-cab.cab": 1,
        "normal_2files_2folders.cab": 4,
    }
    assert len(outcomes) >= 34


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
