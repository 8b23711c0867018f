"""Cabinets, judged by readers that are not ours."""

import struct
import subprocess
import tempfile
from pathlib import Path

import libarchive
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wimsmith.practice.cabinet import build_cabinet

_NAMES = st.lists(
    st.text(st.sampled_from("abcXYZ019-~_."), min_size=1, max_size=20).filter(
        lambda name: name.strip(".") != ""
    ),
    min_size=1,
    max_size=3,
).map("\\".join)
_FILES = st.dictionaries(_NAMES, st.binary(max_size=300), min_size=1, max_size=8)


def _read(data: bytes) -> dict[str, bytes]:
    with libarchive.memory_reader(data) as archive:
        return {
            entry.pathname.replace("\\", "/"): b"".join(entry.get_blocks()) for entry in archive
        }


def _slashes(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name.replace("\\", "/"): data for name, data in files.items()}


@given(_FILES, st.booleans(), st.sampled_from([200, 100_000]))
@settings(max_examples=60, deadline=None)
def test_libarchive_reads_what_was_put_in(
    files: dict[str, bytes], compress: bool, folder_bytes: int
) -> None:
    data = build_cabinet(files, compress=compress, folder_bytes=folder_bytes)
    assert _read(data) == _slashes(files)


def _large() -> dict[str, bytes]:
    text = "".join(f"line {number}\r\n" for number in range(20_000)).encode()
    return {
        "update.mum": text,
        "folder\\noise.bin": bytes(range(256)) * 301,
        "folder\\empty": b"",
        "folder\\Größe.txt": b"name beyond ASCII",
    }


@pytest.mark.parametrize("compress", [True, False])
def test_7z_and_cabextract_accept_and_unpack(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "test.cab"
    path.write_bytes(
        build_cabinet(_large(), compress=compress, folder_bytes=150_000, reserve=b"r" * 20)
    )
    subprocess.run(["7z", "t", path], check=True, capture_output=True)
    subprocess.run(["cabextract", "-q", "-d", tmp_path / "out", path], check=True)
    unpacked = {
        str(one.relative_to(tmp_path / "out")): one.read_bytes()
        for one in (tmp_path / "out").rglob("*")
        if one.is_file()
    }
    assert unpacked == _slashes(_large())


def test_what_lies_behind_the_declared_end_is_no_part_of_the_cabinet() -> None:
    files = {"a": b"content"}
    data = build_cabinet(files, trailing=b"signature" * 100)
    assert struct.unpack_from("<I", data, 8)[0] == len(data) - 900
    assert _read(data) == files


def test_the_time_is_the_one_asked_for(tmp_path: Path) -> None:
    with tempfile.NamedTemporaryFile(suffix=".cab", dir=tmp_path) as file:
        file.write(build_cabinet({"a": b"content"}))
        file.flush()
        listing = subprocess.run(
            ["7z", "l", file.name], check=True, capture_output=True, text=True
        ).stdout
    assert "2024-05-14 17:00:00" in listing
