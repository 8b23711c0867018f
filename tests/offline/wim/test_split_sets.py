"""Split sets: one part is opened, the others are found and proved, or what is missing is named."""

import os
import shutil
import struct
from pathlib import Path

import pytest

from offline.wim.handmade import Handmade, entry, place, sha1
from offline.wim.judges import run
from wimsmith.errors import DamagedWim, LimitExceeded, NotFound, NotSupported, WimsmithError
from wimsmith.offline.wim.format.container import Kind, Wim, open_wim
from wimsmith.offline.wim.workers._libwim import LibwimCodec

GUID_AT, PART_AT, PARTS_AT = 24, 40, 42


@pytest.fixture(scope="module")
def codec() -> LibwimCodec:
    return LibwimCodec()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("split")
    for number in range(12):
        noise = b"".join(sha1(b"%d %d" % (number, one)) for one in range(5000))
        (folder / f"file{number}").write_bytes(noise + b"text %d " % number * 9000)
    return folder


@pytest.fixture
def parts(folder: Path, tmp_path: Path) -> list[Path]:
    """A set of 12 parts, so that names have one and two digits."""
    whole, place = tmp_path / "whole.wim", tmp_path / "set"
    place.mkdir()
    run("wimlib-imagex", "capture", folder, whole, "Name", "--compress=xpress", "--check")
    run("wimlib-imagex", "split", whole, place / "install.swm", "0.13", "--check")
    whole.unlink()
    found = [place / f"install{number if number > 1 else ''}.swm" for number in range(1, 13)]
    assert sorted(found) == sorted(place.iterdir())
    return found


def everything(folder: Path) -> dict[bytes, bytes]:
    return {sha1(file.read_bytes()): file.read_bytes() for file in folder.iterdir()}


def read_all(wim: Wim) -> None:
    for _, blocks in wim.open_blobs(wim.blobs):
        list(blocks)


def patched(path: Path, offset: int, data: bytes) -> None:
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(data)] = data
    path.write_bytes(whole)


@pytest.mark.parametrize("which", [0, 1, 9, 11])
def test_any_part_opens_the_whole_set(
    folder: Path, parts: list[Path], codec: LibwimCodec, which: int
) -> None:
    with open_wim(parts[which], codec) as wim:
        assert wim.kinds == (Kind.SPLIT,)
        assert [file.path for file in wim.files] == parts
        assert wim.file_bytes == sum(path.stat().st_size for path in parts)
        assert wim.images[0].name == "Name"
        assert wim.verify_integrity()
        read = {digest: b"".join(blocks) for digest, blocks in wim.open_blobs(wim.blobs)}
        assert read == everything(folder)
        assert dict(wim.read_blobs(reversed(list(wim.blobs)))) == read
        tree = wim.tree(1)
        for file in folder.iterdir():
            found = tree.find(file.name)
            assert found is not None
            assert wim.read_blob(found.inode.sha1) == file.read_bytes()


def test_packed_bytes_are_where_a_copy_would_take_them(
    parts: list[Path], codec: LibwimCodec
) -> None:
    with open_wim(parts[3], codec) as wim:
        assert len({blob.file for blob in wim.blobs.values()}) == 12
        for blob in (*wim.blobs.values(), *wim.table.metadata):
            assert wim.can_copy(blob)
            place = blob.location
            packed = os.pread(wim.descriptor_of(blob), place.stored_bytes, place.offset)
            whole = wim.files[blob.file].path.read_bytes()
            assert packed == whole[place.offset : place.end]


def test_parts_with_other_names_are_found_by_their_guid(
    folder: Path, parts: list[Path], codec: LibwimCodec, tmp_path: Path
) -> None:
    for number, path in enumerate(parts):
        path.rename(path.with_name(f"renamed {97 * number % 12}.SWM"))
    shutil.copy(Path(__file__), parts[0].with_name("no wim.swm"))
    run("wimlib-imagex", "capture", folder, parts[0].with_name("another.swm"))
    with open_wim(parts[0].with_name("renamed 0.SWM"), codec) as wim:
        assert [file.header.part_number for file in wim.files] == list(range(1, 13))
        assert all(wim.read_blob(one) == data for one, data in everything(folder).items())


def test_parts_in_other_folders_are_named_by_the_user(
    folder: Path, parts: list[Path], codec: LibwimCodec, tmp_path: Path
) -> None:
    """As on several discs."""
    discs = []
    for number, path in enumerate(parts):
        disc = tmp_path / f"disc{number}"
        disc.mkdir()
        discs.append(path.rename(disc / path.name))
    with pytest.raises(NotSupported):
        open_wim(discs[4], codec)
    with open_wim(discs[4], codec, references=discs) as wim:
        assert len(wim.files) == 12
        assert all(wim.read_blob(one) == data for one, data in everything(folder).items())


def test_missing_parts_are_named(parts: list[Path]) -> None:
    parts[2].unlink()
    parts[10].unlink()
    for path in (parts[0], parts[1], parts[11]):
        with pytest.raises(NotSupported) as caught:
            open_wim(path)
        assert caught.value.reason == "split-set"
        assert str(caught.value).count(str(path)) == 1
        assert "missing beside it: 3 (install3.swm), 11 (install11.swm)" in str(caught.value)
        assert "wimsmith wim join TARGET PART..." in str(caught.value.hint)


def test_a_lone_first_part_names_all_others(parts: list[Path], tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere.swm"
    shutil.copy(parts[0], alone)
    with pytest.raises(NotSupported, match=r"2 \(elsewhere2\.swm\), .* and 1 more"):
        open_wim(alone)


def test_a_part_that_cannot_be_used_says_why(parts: list[Path]) -> None:
    os.truncate(parts[3], 100)
    with pytest.raises(NotSupported, match=r"4 \(install4\.swm, which cannot be used: .*100 bytes"):
        open_wim(parts[0])
    parts[3].unlink()
    os.mkfifo(parts[3])
    with pytest.raises(NotSupported, match="is not a file"):
        open_wim(parts[0])


def test_a_part_of_another_set_is_not_taken(parts: list[Path]) -> None:
    patched(parts[3], GUID_AT, bytes(16))
    with pytest.raises(NotSupported, match=r"missing beside it: 4 \(install4\.swm\)"):
        open_wim(parts[0])


def test_parts_that_count_the_set_differently_are_refused(parts: list[Path]) -> None:
    patched(parts[3], PARTS_AT, struct.pack("<H", 13))
    with pytest.raises(DamagedWim, match="of 12 parts"):
        open_wim(parts[0])


def test_numbers_of_parts_that_cannot_be_true(parts: list[Path]) -> None:
    for number, total in ((0, 12), (13, 12), (1, 0)):
        patched(parts[0], PART_AT, struct.pack("<HH", number, total))
        with pytest.raises(DamagedWim):
            open_wim(parts[0])
    patched(parts[0], PART_AT, struct.pack("<HH", 1, 65_535))
    with pytest.raises(LimitExceeded, match="65535 parts"):
        open_wim(parts[0])


def test_damage_in_a_part_is_named_with_the_part(parts: list[Path], codec: LibwimCodec) -> None:
    whole = bytearray(parts[5].read_bytes())
    whole[4000] ^= 1
    parts[5].write_bytes(whole)
    with open_wim(parts[0], codec) as wim:
        with pytest.raises(DamagedWim, match=r"install6\.swm: blob") as caught:
            read_all(wim)
        assert str(caught.value).count("install6.swm") == 1
        with pytest.raises(DamagedWim, match=r"install6\.swm: integrity"):
            wim.verify_integrity()


def two_parts(tmp_path: Path, content: bytes) -> tuple[Handmade, Handmade]:
    """The table of the first part says what is in the second, which has none of its own."""
    second = Handmade(part=2, parts=2, flags=8, image_count=1)
    at = second.put(content)
    second.raw(b"also in the second")
    second.write(tmp_path / "x2.swm")
    first = Handmade(parts=2, flags=8)
    first.raw(b"in the first")
    first.table.append(entry(place(len(content), 0, at, len(content)), sha1(content), part=2))
    first.image(content, b"in the first", b"also in the second")
    return first, second


def test_the_first_part_may_say_what_is_in_the_others(tmp_path: Path) -> None:
    content = b"in the second part " * 100
    first, _second = two_parts(tmp_path, content)
    path = first.write(tmp_path / "x.swm")
    for opened in (path, tmp_path / "x2.swm"):
        with open_wim(opened) as wim:
            assert wim.read_blob(sha1(content)) == content
            assert wim.blobs[sha1(content)].file == 1
            assert wim.read_blob(sha1(b"also in the second")) == b"also in the second"
            assert len(wim.tree(1).references()) == 3


def test_places_in_another_part_are_held_against_that_part(tmp_path: Path) -> None:
    first, second = two_parts(tmp_path, b"x")
    first.put(bytes(100_000))
    beyond = place(10, 0, len(second.body) + 50_000, 10)
    first.table.append(entry(beyond, sha1(b"y"), part=2))
    with pytest.raises(DamagedWim, match="is said to be at"):
        open_wim(first.write(tmp_path / "x.swm"))


def test_entries_of_parts_that_no_set_has_are_ignored(tmp_path: Path) -> None:
    first, _second = two_parts(tmp_path, b"x")
    for part in (0, 3, 65_535):
        first.table.append(entry(place(1 << 40, 0, 208, 1 << 40), sha1(b"z"), part=part))
    with open_wim(first.write(tmp_path / "x.swm")) as wim:
        with pytest.raises(NotFound):
            wim.read_blob(sha1(b"z"))
        assert wim.read_blob(sha1(b"x")) == b"x"


def test_a_folder_of_many_files_ends_the_search(tmp_path: Path) -> None:
    for number in range(400):
        (tmp_path / f"other{number}.swm").write_bytes(b"")
    made = Handmade(parts=3, flags=8)
    made.image(b"")
    with pytest.raises(WimsmithError, match=r"2 \(x2\.swm\), 3 \(x3\.swm\)"):
        open_wim(made.write(tmp_path / "x.swm"))


def test_a_real_set(real: Path, tmp_path: Path, codec: LibwimCodec) -> None:
    for name in ("Split.swm", "Split2.swm"):
        with open_wim(real / "wim" / name, codec) as wim:
            assert wim.kinds == (Kind.SPLIT,)
            assert sum(len(wim.read_blob(digest)) for digest in wim.blobs) == 2 << 20
            assert set(wim.tree(1).references()) == set(wim.blobs)
    alone = tmp_path / "Split2.swm"
    shutil.copyfile(real / "wim" / "Split2.swm", alone)
    with pytest.raises(NotSupported, match=r"missing beside it: 1 \(Split\.swm\)"):
        open_wim(alone)
