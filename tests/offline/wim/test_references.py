"""Files whose content is elsewhere: names are read without it, content with files that have it."""

import os
from pathlib import Path

import pytest

from offline.wim.handmade import Handmade, sha1
from offline.wim.judges import run
from wimsmith.errors import DamagedWim, NotFound, NotSupported
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import Kind, open_wim
from wimsmith.offline.wim.workers._libwim import LibwimCodec

RESOURCE_ONLY, METADATA_ONLY, SPANNED = 0x10, 0x20, 0x8
CONTENTS = (b"one " * 5000, b"two", b"three " * 40_000)


@pytest.fixture(scope="module")
def codec() -> LibwimCodec:
    return LibwimCodec()


@pytest.fixture
def delta(tmp_path: Path) -> tuple[Path, Path]:
    """A base in LZX and a delta in XPRESS that adds a file and keeps two."""
    folder, base, delta = tmp_path / "folder", tmp_path / "base.wim", tmp_path / "delta.wim"
    folder.mkdir()
    for number, data in enumerate(CONTENTS):
        (folder / str(number)).write_bytes(data)
    run("wimlib-imagex", "capture", folder, base, "Base", "--compress=lzx")
    (folder / "new").write_bytes(b"new " * 9000)
    options = ("--compress=xpress", f"--delta-from={base}")
    run("wimlib-imagex", "capture", folder, delta, "Delta", *options)
    return base, delta


def test_a_delta_names_what_it_lacks_and_what_to_do(
    delta: tuple[Path, Path], codec: LibwimCodec
) -> None:
    _base, path = delta
    with open_wim(path, codec) as wim:
        assert wim.images[0].name == "Delta"
        assert len(wim.tree(1).references()) == 4
        assert wim.read_blob(sha1(b"new " * 9000)) == b"new " * 9000
        missing = sha1(CONTENTS[0])
        reads = (
            lambda: wim.read_blob(missing),
            lambda: wim.size_of(missing),
            lambda: list(wim.open_blob(missing)),
            lambda: list(wim.read_blobs([missing])),
            lambda: wim.open_blobs([missing]),
        )
        for read in reads:
            with pytest.raises(NotFound, match=missing.hex()) as caught:
                read()
            assert str(path) in str(caught.value)
            assert "wimsmith wim export SOURCE all TARGET --ref BASE" in str(caught.value.hint)


def test_a_delta_with_its_base_is_whole(delta: tuple[Path, Path], codec: LibwimCodec) -> None:
    base, path = delta
    with open_wim(path, codec, references=[base]) as wim:
        assert [image.name for image in wim.images] == ["Delta"]
        assert [file.path for file in wim.files] == [path, base]
        wanted = {*CONTENTS, b"new " * 9000}
        assert {wim.read_blob(one) for one in wim.tree(1).references()} == wanted
        assert {data for _, data in wim.read_blobs(wim.blobs)} == wanted
        assert {b"".join(blocks) for _, blocks in wim.open_blobs(wim.blobs)} == wanted
        for data in wanted:
            blob = wim.blobs[sha1(data)]
            is_from_base = data in CONTENTS
            assert wim.files[blob.file].path == (base if is_from_base else path)
            stored = blob.location.stored_bytes
            packed = os.pread(wim.descriptor_of(blob), stored, blob.location.offset)
            assert packed in wim.files[blob.file].path.read_bytes()
            assert wim.can_copy(blob) is not (is_from_base and blob.location.is_compressed)


def test_content_in_the_file_itself_is_preferred(tmp_path: Path) -> None:
    for name in ("x.wim", "other.wim"):
        made = Handmade()
        made.raw(b"in both")
        made.image(b"in both")
        made.write(tmp_path / name)
    with open_wim(tmp_path / "x.wim", references=[tmp_path / "other.wim"]) as wim:
        assert wim.blobs[sha1(b"in both")].file == 0
        assert len(wim.images) == 1


def test_solid_pipable_and_split_files_add_content(tmp_path: Path, codec: LibwimCodec) -> None:
    folder, more = tmp_path / "folder", []
    folder.mkdir()
    options = (["--solid"], ["--pipable"], ["--compress=lzms"])
    for number, (data, option) in enumerate(zip(CONTENTS, options, strict=True)):
        (folder / "file").write_bytes(data)
        more.append(tmp_path / f"{number}.wim")
        run("wimlib-imagex", "capture", folder, more[-1], *option)
    run("wimlib-imagex", "split", more.pop(), tmp_path / "s.swm", "0.0001")
    made = Handmade(flags=METADATA_ONLY)
    made.image(*CONTENTS)
    path = made.write(tmp_path / "x.wim")
    with open_wim(path, codec, references=[*more, tmp_path / "s.swm"]) as wim:
        assert wim.kinds[-1] == Kind.METADATA_ONLY
        assert [wim.read_blob(sha1(data)) for data in CONTENTS] == list(CONTENTS)
        assert len(wim.images) == 1


@pytest.mark.parametrize("spanned", [False, True])
@pytest.mark.parametrize("xml", [None, ""])
@pytest.mark.parametrize("image_count", [0, 1, 5])
def test_an_image_group_of_wds(
    tmp_path: Path, spanned: bool, xml: str | None, image_count: int
) -> None:
    """Res.rwm has the content of all images of a group, which may count images it has not."""
    flags, parts = (SPANNED, 2) if spanned else (0, 1)
    rest = Handmade(flags=RESOURCE_ONLY | flags, part=parts, parts=parts, image_count=image_count)
    for data in CONTENTS:
        rest.raw(data)
    resources = rest.write(tmp_path / "Res.rwm", xml=xml)
    made = Handmade(flags=METADATA_ONLY | flags, parts=parts)
    made.image(*CONTENTS)
    path = made.write(tmp_path / "install.wim")
    with open_wim(resources) as wim:
        assert Kind.RESOURCE_ONLY in wim.kinds
        assert wim.images == ()
        assert [wim.read_blob(sha1(data)) for data in CONTENTS] == list(CONTENTS)
    with open_wim(path) as wim:
        assert Kind.METADATA_ONLY in wim.kinds
        assert len(wim.tree(1).references()) == 3
        with pytest.raises(NotFound, match=r"describes images whose content is in another file"):
            wim.read_blob(sha1(CONTENTS[0]))
    with open_wim(path, references=[resources]) as wim:
        assert len(wim.images) == 1
        assert [wim.read_blob(sha1(data)) for data in CONTENTS] == list(CONTENTS)
        assert all(wim.can_copy(blob) for blob in wim.blobs.values())


def test_wimlib_reads_the_same_group(tmp_path: Path) -> None:
    """The judge of what was made by hand."""
    rest = Handmade(flags=RESOURCE_ONLY)
    for data in CONTENTS:
        rest.raw(data)
    rest.write(tmp_path / "Res.rwm")
    made = Handmade(flags=METADATA_ONLY)
    made.image(*CONTENTS)
    made.write(tmp_path / "x.wim", xml="<WIM><IMAGE INDEX='1'><NAME>A</NAME></IMAGE></WIM>")
    target = tmp_path / "whole.wim"
    reference = f"--ref={tmp_path / 'Res.rwm'}"
    run("wimlib-imagex", "export", tmp_path / "x.wim", "all", target, reference)
    with open_wim(target) as wim:
        assert [wim.read_blob(sha1(data)) for data in CONTENTS] == list(CONTENTS)


def test_references_that_are_no_wim_or_not_there(delta: tuple[Path, Path], tmp_path: Path) -> None:
    _base, path = delta
    other = tmp_path / "other.wim"
    other.write_bytes(b"no WIM at all")
    with pytest.raises(DamagedWim, match=r"other\.wim"):
        open_wim(path, references=[other])
    with pytest.raises(FileNotFoundError):
        open_wim(path, references=[tmp_path / "nowhere.wim"])


def test_a_damaged_reference_is_named(delta: tuple[Path, Path], codec: LibwimCodec) -> None:
    base, path = delta
    with open_wim(base) as wim:
        place = wim.blobs[sha1(CONTENTS[2])].location
    data = bytearray(base.read_bytes())
    data[place.offset + 40] ^= 0xFF
    base.write_bytes(data)
    with open_wim(path, codec, references=[base]) as wim:
        with pytest.raises(DamagedWim, match=r"base\.wim") as caught:
            wim.read_blob(sha1(CONTENTS[2]))
        assert str(path) not in str(caught.value)


def test_files_without_content_need_none(tmp_path: Path) -> None:
    made = Handmade(flags=RESOURCE_ONLY)
    made.raw(b"content")
    with open_wim(made.write(tmp_path / "Res.rwm", xml=None)) as wim:
        assert wim.xml == "<WIM />"
        assert not wim.verify_integrity()
    made = Handmade()
    made.raw(b"content")
    with open_wim(made.write(tmp_path / "none.wim", xml=None)) as wim:
        assert wim.images == ()


def test_an_ordinary_file_must_have_the_images_it_counts(tmp_path: Path) -> None:
    made = Handmade(image_count=2)
    made.raw(b"content")
    with pytest.raises(DamagedWim, match="counts 2 images"):
        open_wim(made.write(tmp_path / "x.wim"))
    made = Handmade(flags=RESOURCE_ONLY, image_count=2)
    made.image(b"")
    with pytest.raises(DamagedWim, match="counts 2 images"):
        open_wim(made.write(tmp_path / "x.wim"))


def test_a_set_with_missing_parts_still_refuses_ordinary_parts(tmp_path: Path) -> None:
    made = Handmade(flags=SPANNED, parts=2)
    made.image(b"")
    with pytest.raises(NotSupported) as caught:
        open_wim(made.write(tmp_path / "x.swm"))
    assert caught.value.reason == "split-set"


def test_compressions_of_references_are_their_own(tmp_path: Path, codec: LibwimCodec) -> None:
    """Chunks of each file are unpacked as its own header says."""
    folder = tmp_path / "folder"
    folder.mkdir()
    references = []
    for compression in Compression:
        data = f"packed with {compression} ".encode() * 30_000
        (folder / "file").write_bytes(data)
        references.append(tmp_path / f"{compression}.wim")
        run("wimlib-imagex", "capture", folder, references[-1], f"--compress={compression}")
    made = Handmade(flags=METADATA_ONLY)
    made.image(b"")
    path = made.write(tmp_path / "x.wim")
    with open_wim(path, codec, references=references) as wim:
        for digest, blob in wim.blobs.items():
            assert sha1(wim.read_blob(digest)) == digest
            assert wim.can_copy(blob) is not blob.location.is_compressed
        assert {sha1(data) for _, data in wim.read_blobs(wim.blobs)} == set(wim.blobs)
        assert len(wim.blobs) == 4
