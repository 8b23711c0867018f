"""Writing a WIM, judged by wimlib and 7-Zip."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from offline.wim.images import (
    COMPONENT,
    INSTALLER,
    TIMES,
    Practice,
    meaning,
    rich,
    sha1,
    write,
)
from offline.wim.judges import ZERO, Listed, accept, blob_references, link_groups, listing, run, xml
from wimsmith.errors import (
    AlreadyExists,
    Cancelled,
    DamagedInput,
    DamagedWim,
    InvalidInput,
    NoSuchIndex,
    NotSupported,
    VerificationFailed,
)
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.document import ImageEdit, WindowsInfo
from wimsmith.offline.wim.format.metadata import parse_metadata, serialize_metadata
from wimsmith.offline.wim.format.tree import Tree
from wimsmith.offline.wim.workers._libwim import LibwimCodec
from wimsmith.offline.wim.writing.staging import PREFIX
from wimsmith.offline.wim.writing.write import write_wim

COMPRESSIONS = tuple(Compression)
EDITED = {
    "Windows/System32/config/SOFTWARE",
    "Windows/System32/notes with spaces.txt",
    "Windows/brand new.txt",
}


@pytest.fixture(scope="module")
def codec() -> LibwimCodec:
    return LibwimCodec()


def only_file(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_files_from_scratch_are_accepted_by_both_judges(
    tmp_path: Path, codec: LibwimCodec, compression: Compression
) -> None:
    practice = rich()
    path = tmp_path / "new.wim"
    report = write(path, practice, codec=codec, compression=compression)
    accept(path)
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.size_bytes == path.stat().st_size
    assert report.new_blobs == len(practice.tree.references())
    assert only_file(tmp_path) == ["new.wim"]
    with open_wim(path, codec) as wim:
        assert meaning(wim.tree(1)) == meaning(practice.tree)
        assert wim.verify_integrity()
        for digest in practice.tree.references():
            assert wim.read_blob(digest) == practice.content[digest]


def test_wimlib_sees_what_was_meant(tmp_path: Path, codec: LibwimCodec) -> None:
    path = tmp_path / "new.wim"
    write(path, rich(), codec=codec)
    seen = listing(path)
    software = seen["Windows/System32/config/SOFTWARE"]
    assert software["Security Descriptor"] == INSTALLER.hex()
    assert software["Attributes"] == "0x00000026"
    assert software["Object ID"] == "0x" + bytes(range(16)).hex()
    tool = seen["Windows/System32/tool.dll"]
    assert (tool["Short Name"], tool.link_count) == ('"TOOL~1"', 2)
    assert ('Named data stream "Zone.Identifier"', sha1(b"[ZoneTransfer]").hex()) in tool.streams
    assert seen[f"{COMPONENT}/tool.dll"]["Short Name"] == '""'
    assert link_groups(path) == {frozenset({f"{COMPONENT}/tool.dll", "Windows/System32/tool.dll"})}
    junction = seen["Documents and Settings"]
    assert junction["Reparse Tag"] == "0xa0000003"
    assert {label for label, digest in junction.streams if digest != ZERO} == {
        "Reparse point stream"
    }
    assert "Windows/System32/gr\u00fc\u00df\u20ac\U0001f600.txt" in seen


def test_ntfs_gives_back_what_was_written(tmp_path: Path, codec: LibwimCodec) -> None:
    """Apply with wimlib to an NTFS volume in a file, capture that, compare both listings."""
    path, volume, back = (tmp_path / name for name in ("new.wim", "volume", "back.wim"))
    practice = rich()
    write(path, practice, codec=codec)
    ntfs_volume(volume)
    run("wimlib-imagex", "apply", path, 1, volume)
    run("wimlib-imagex", "capture", volume, back, "--compress=none", "--norpfix")
    assert comparable(listing(path)) == comparable(listing(back))
    assert link_groups(path) == link_groups(back)
    with open_wim(back) as wim, open_wim(path, codec) as ours:
        theirs, mine = wim.image(1), ours.image(1)
        assert (mine.directory_count, mine.file_count) == (
            theirs.directory_count,
            theirs.file_count,
        )
        assert (mine.total_bytes, mine.hard_link_bytes) == (
            theirs.total_bytes,
            theirs.hard_link_bytes,
        )


def ntfs_volume(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(16 << 20)
    run("mkntfs", "-F", "-q", path)


def comparable(seen: Mapping[str, Listed]) -> dict[str, object]:
    """A listing without what renumbering changes; the object id stands apart (NTFS adds to it)."""
    ignored = {"Link Group ID", "Birth Volume ID", "Birth Object ID", "Domain ID"}
    return {
        path: (
            tuple(one for one in entry.fields if one[0] not in ignored),
            frozenset(one for one in entry.streams if one[1] != ZERO),
            entry.link_count,
        )
        for path, entry in seen.items()
    }


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_edit_of_three_files_leaves_all_others_as_they_were(
    tmp_path: Path, codec: LibwimCodec, compression: Compression
) -> None:
    """The image is what wimlib captured from an NTFS volume, not what this package wrote."""
    base_path = from_ntfs(tmp_path, codec, compression)
    before, target = base_path.read_bytes(), tmp_path / "edited.wim"
    with open_wim(base_path, codec) as base:
        tree = base.tree(1)
        tree.replace_content("windows/system32/config/software", sha1(b"edited hive"))
        tree.put_file(
            "Windows/System32/NOTES WITH SPACES.txt", sha1(b"edited"), times=TIMES, attributes=0x21
        )
        tree.put_file("Windows/brand new.txt", sha1(b"brand new"), times=TIMES)
        new = {sha1(data): data for data in (b"edited hive", b"edited", b"brand new")}
        report = write_wim(target, base=base, trees={1: tree}, new_content=new)
    accept(target)
    assert report.new_blobs == 3
    old_entries, new_entries = comparable(listing(base_path)), comparable(listing(target))
    assert new_entries.keys() - old_entries.keys() == {"Windows/brand new.txt"}
    changed = {path for path in old_entries if old_entries[path] != new_entries[path]}
    assert changed == EDITED - {"Windows/brand new.txt"}
    assert link_groups(base_path) == link_groups(target)
    old, now = listing(base_path), listing(target)
    for name in ("Security Descriptor", "Attributes", "Object ID", "Short Name"):
        path = "Windows/System32/config/SOFTWARE"
        assert old[path][name] == now[path][name]
    notes = "Windows/System32/notes with spaces.txt"
    assert now[notes]["Short Name"] == old[notes]["Short Name"]
    assert base_path.read_bytes() == before


def from_ntfs(
    folder: Path, codec: LibwimCodec, compression: Compression, practice: Practice | None = None
) -> Path:
    first, volume, path = (folder / name for name in ("first.wim", "volume", "base.wim"))
    write(first, practice or rich(), codec=codec)
    ntfs_volume(volume)
    run("wimlib-imagex", "apply", first, 1, volume)
    run("wimlib-imagex", "capture", volume, path, "Base", f"--compress={compression}", "--norpfix")
    first.unlink()
    volume.unlink()
    return path


def test_reference_counts_are_those_wimlib_computes(tmp_path: Path, codec: LibwimCodec) -> None:
    """wimlib counts them anew when it exports."""
    path, exported = tmp_path / "new.wim", tmp_path / "exported.wim"
    practice = rich()
    write_wim(path, trees={1: practice.tree, 2: practice.tree}, new_content=practice.content)
    run("wimlib-imagex", "export", path, "all", exported)
    ours, theirs = blob_references(path), blob_references(exported)
    files = {digest.hex() for digest in practice.tree.references()}
    assert {digest: ours[digest] for digest in files} == {
        digest: theirs[digest] for digest in files
    }
    with open_wim(path, codec) as wim:
        assert len(wim.images) == 2


@pytest.fixture
def three(tmp_path: Path, codec: LibwimCodec) -> Path:
    """Three images that share most content, the second bootable."""
    path = tmp_path / "three.wim"
    practices = {number: rich() for number in (1, 2, 3)}
    for number, practice in practices.items():
        practice.put(f"only in {number}.txt", b"only in %d" % number * 100)
    content = {digest: data for one in practices.values() for digest, data in one.content.items()}
    write_wim(
        path,
        trees={number: one.tree for number, one in practices.items()},
        new_content=content,
        images={
            number: ImageEdit(name=f"Image {number}", flags=f"F{number}") for number in (1, 2, 3)
        },
        codec=codec,
        boot_index=2,
    )
    return path


def test_untouched_images_keep_their_metadata_and_packed_content(
    tmp_path: Path, three: Path, codec: LibwimCodec
) -> None:
    target = tmp_path / "out.wim"
    with open_wim(three, codec) as base:
        tree = base.tree(3)
        tree.replace_content("Windows/System32/tool.dll", sha1(b"fixed"))
        write_wim(target, base=base, trees={3: tree}, new_content={sha1(b"fixed"): b"fixed"})
        with open_wim(target, codec) as out:
            for number in (1, 2):
                assert out.metadata(number) == base.metadata(number)
                assert out.images[number - 1] == base.images[number - 1]
            assert out.images[2].modified != base.images[2].modified
            for digest, blob in base.blobs.items():
                assert out.blobs[digest].location.stored_bytes == blob.location.stored_bytes
            assert out.header.boot_index == 2
            assert out.header.boot_metadata == out.table.metadata[1].location
    accept(target)


def test_one_image_is_exported_with_only_its_content(
    tmp_path: Path, three: Path, codec: LibwimCodec
) -> None:
    target, theirs = tmp_path / "out.wim", tmp_path / "theirs.wim"
    with open_wim(three, codec) as base:
        report = write_wim(target, base=base, indexes=[2])
    accept(target)
    assert report.dropped_blobs == 2
    assert [(info.number, info.name) for info in report.images] == [(1, "Image 2")]
    run("wimlib-imagex", "export", three, 2, theirs, "--boot")
    assert blob_references(target) == blob_references(theirs)
    assert comparable(listing(target)) == comparable(listing(theirs))
    with open_wim(target, codec) as out:
        assert out.header.boot_index == 1


def test_images_are_reordered_added_and_unbooted(
    tmp_path: Path, three: Path, codec: LibwimCodec
) -> None:
    target = tmp_path / "out.wim"
    with open_wim(three, codec) as base:
        write_wim(
            target,
            base=base,
            indexes=[4, 3, 1],
            trees={4: Tree.new(times=TIMES)},
            images={4: ImageEdit(name="New & <empty>", description="d\u00e9j\u00e0")},
        )
    accept(target)
    with open_wim(target, codec) as out:
        assert [info.name for info in out.images] == ["New & <empty>", "Image 3", "Image 1"]
        assert out.header.boot_index == 0
        assert out.images[0].created is not None
    assert 'INDEX="1"><DIRCOUNT>1</DIRCOUNT><FILECOUNT>0</FILECOUNT>' in xml(target)


def test_unreferenced_content_is_kept_when_asked(
    tmp_path: Path, three: Path, codec: LibwimCodec
) -> None:
    target = tmp_path / "out.wim"
    with open_wim(three, codec) as base:
        tree = base.tree(1)
        tree.remove("only in 1.txt")
        report = write_wim(target, base=base, trees={1: tree}, drop_unreferenced=False)
        assert report.dropped_blobs == 0
        with open_wim(target, codec) as out:
            assert out.blobs[sha1(b"only in 1" * 100)].references == 0
        smaller = write_wim(target, base=base, trees={1: tree}, overwrite=True)
        assert smaller.dropped_blobs == 1
        assert smaller.size_bytes < report.size_bytes
    accept(target)


def test_content_the_base_has_is_not_written_again(
    tmp_path: Path, three: Path, codec: LibwimCodec
) -> None:
    known = b"only in 2" * 100
    with open_wim(three, codec) as base:
        tree = base.tree(1)
        tree.put_file("copy.txt", sha1(known), times=TIMES)
        report = write_wim(
            tmp_path / "out.wim", base=base, trees={1: tree}, new_content={sha1(known): known}
        )
    assert report.new_blobs == 0


def test_the_xml_document_says_what_is_inside(tmp_path: Path, codec: LibwimCodec) -> None:
    path = tmp_path / "new.wim"
    practice = rich()
    windows = WindowsInfo(
        architecture=9,
        product_name="Practice",
        edition_id="Professional",
        installation_type="Client",
        languages=("en-US", "de-DE"),
        default_language="en-US",
        major=10,
        minor=0,
        build=19041,
        service_pack_build=1,
        service_pack_level=0,
        system_root="WINDOWS",
    )
    edit = ImageEdit(name="Pro", description="Text", windows=windows, created=5, modified=6)
    write_wim(path, trees={1: practice.tree}, new_content=practice.content, images={1: edit})
    shown = run("wimlib-imagex", "info", path, 1)
    for line in ("Architecture:           x86_64", "Build:                  19041", "en-US de-DE"):
        assert line in shown
    with open_wim(path) as base:
        assert base.images[0].windows == windows
        assert (base.images[0].created, base.images[0].modified) == (5, 6)
        target = tmp_path / "out.wim"
        values = {"WINDOWS/VERSION/SPBUILD": "5678", "WINDOWS/SERVICINGDATA/IMAGESTATE": "X"}
        write_wim(target, base=base, trees={1: base.tree(1)}, images={1: ImageEdit(values=values)})
    assert "Service Pack Build:     5678" in run("wimlib-imagex", "info", target, 1)
    assert "<IMAGESTATE>X</IMAGESTATE>" in xml(target)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, codec: LibwimCodec) -> None:
    written = []
    for name in ("a.wim", "b.wim"):
        practice = rich()
        write_wim(
            tmp_path / name,
            trees={1: practice.tree},
            new_content=practice.content,
            images={1: ImageEdit(name="x", created=1, modified=2)},
            codec=codec,
            guid=bytes(range(16)),
        )
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]


def test_large_content_comes_from_files_in_many_chunks(tmp_path: Path, codec: LibwimCodec) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(b"".join(b"line %d of a large file\n" % number for number in range(700_000)))
    digest = sha1(large.read_bytes())
    practice = Practice()
    practice.tree.put_file("large.bin", digest, times=TIMES)
    practice.content[digest] = large
    events: list[Event] = []
    write_wim(
        tmp_path / "x.wim",
        trees={1: practice.tree},
        new_content=practice.content,
        codec=codec,
        compression=Compression.XPRESS,
        progress=events.append,
    )
    accept(tmp_path / "x.wim")
    assert {"read images", "compress", "hash", "check"} <= {event.phase for event in events}
    with open_wim(tmp_path / "x.wim", codec) as wim:
        assert b"".join(wim.open_blob(digest)) == large.read_bytes()


def test_without_integrity_table_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.wim"
    practice = rich()
    report = write_wim(
        path, trees={1: practice.tree}, new_content=practice.content, with_integrity=False
    )
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    run("wimlib-imagex", "verify", path)
    with open_wim(path) as wim:
        assert not wim.verify_integrity()


def test_copying_works_where_the_kernel_cannot(
    tmp_path: Path, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crossing(*_arguments: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", crossing)
    with open_wim(three, LibwimCodec()) as base:
        write_wim(tmp_path / "out.wim", base=base)
    accept(tmp_path / "out.wim")


@pytest.mark.parametrize("phase", ["read images", "copy", "compress", "hash", "check"])
def test_a_cancelled_write_leaves_nothing(
    tmp_path: Path, three: Path, codec: LibwimCodec, phase: str
) -> None:
    new = tmp_path / "new.bin"
    new.write_bytes(b"new" * 3_000_000)
    digest = sha1(new.read_bytes())

    def cancel(event: Event) -> None:
        if event.phase == phase:
            raise Cancelled(phase)

    with open_wim(three, codec) as base:
        tree = base.tree(1)
        tree.put_file("new.bin", digest)
        with pytest.raises(Cancelled):
            write_wim(
                tmp_path / "out.wim",
                base=base,
                trees={1: tree},
                new_content={digest: new},
                progress=cancel,
            )
    assert only_file(tmp_path) == ["new.bin", "three.wim"]


def test_content_that_is_not_what_it_claims_is_refused(tmp_path: Path, codec: LibwimCodec) -> None:
    for data in (b"other", b"", b"content and more"):
        practice = Practice()
        practice.tree.put_file("x", sha1(b"content"))
        with pytest.raises(DamagedInput):
            write_wim(
                tmp_path / "x.wim",
                trees={1: practice.tree},
                new_content={sha1(b"content"): data},
                codec=codec,
            )
        assert only_file(tmp_path) == []


def test_a_codec_that_lies_is_found_when_the_file_is_read_again(
    tmp_path: Path, codec: LibwimCodec
) -> None:
    class Lying(LibwimCodec):
        def compress(self, *arguments: object) -> list[bytes | None]:
            pieces = super().compress(*arguments)  # type: ignore[arg-type]
            return [piece and piece[:-1] + b"?" for piece in pieces]

    practice = rich()
    with pytest.raises(VerificationFailed):
        write(tmp_path / "x.wim", practice, codec=Lying())
    assert only_file(tmp_path) == []


def test_nothing_is_overwritten_by_accident(
    tmp_path: Path, three: Path, codec: LibwimCodec
) -> None:
    before = three.read_bytes()
    alias = tmp_path / "alias.wim"
    alias.symlink_to(three)
    with open_wim(three, codec) as base:
        for target in (three, alias):
            with pytest.raises(AlreadyExists):
                write_wim(target, base=base, overwrite=True)
        other = tmp_path / "other.wim"
        other.write_bytes(b"mine")
        with pytest.raises(AlreadyExists):
            write_wim(other, base=base)
        assert other.read_bytes() == b"mine"
        stray = tmp_path / f"{PREFIX}of-a-killed-run"
        stray.mkdir()
        (stray / "part.wim").write_bytes(b"left over")
        write_wim(other, base=base, overwrite=True)
    accept(other)
    assert three.read_bytes() == before
    assert only_file(tmp_path) == ["alias.wim", "other.wim", "three.wim"]


def test_of_two_writers_of_one_target_the_second_loses(
    tmp_path: Path, three: Path, codec: LibwimCodec
) -> None:
    target = tmp_path / "out.wim"

    def first_writer(event: Event) -> None:
        if event.phase == "copy" and not target.exists():
            with open_wim(three, codec) as base:
                write_wim(target, base=base, indexes=[1])

    with open_wim(three, codec) as base, pytest.raises(AlreadyExists):
        write_wim(target, base=base, progress=first_writer)
    accept(target)
    with open_wim(target, codec) as out:
        assert len(out.images) == 1
    assert only_file(tmp_path) == ["out.wim", "three.wim"]


def test_what_cannot_be_written_is_refused_by_name(
    tmp_path: Path, three: Path, codec: LibwimCodec
) -> None:
    target, delta = tmp_path / "out.wim", tmp_path / "delta.wim"
    with open_wim(three, codec) as base:
        with pytest.raises(InvalidInput):
            write_wim(target, base=base, compression=Compression.XPRESS)
        for numbers in ([], [1, 1], [4]):
            with pytest.raises(NoSuchIndex):
                write_wim(target, base=base, indexes=numbers)
        with pytest.raises(NoSuchIndex):
            write_wim(target, base=base, trees={5: Tree.new()})
        with pytest.raises(NoSuchIndex):
            write_wim(target, base=base, indexes=[1], boot_index=2)
    other = tmp_path / "folder"
    other.mkdir()
    (other / "new").write_bytes(b"new")
    (other / "shared").write_bytes(b"text")
    run("wimlib-imagex", "capture", other, delta, f"--delta-from={three}")
    with open_wim(delta, codec) as base, pytest.raises(NotSupported, match="missing-content"):
        write_wim(target, base=base)
    assert not target.exists()


def test_a_base_in_chunks_that_windows_refuses_is_packed_anew(
    tmp_path: Path, three: Path, codec: LibwimCodec
) -> None:
    wide, target = tmp_path / "wide.wim", tmp_path / "out.wim"
    run("wimlib-imagex", "export", three, "all", wide, "--compress=lzx", "--chunk-size=64K")
    run("wimlib-imagex", "optimize", wide, "--recompress", "--compress=lzx", "--chunk-size=64K")
    with open_wim(wide, codec) as base:
        assert base.chunk_size == 1 << 16
        write_wim(target, base=base)
    accept(target)
    with open_wim(target, codec) as out:
        assert out.chunk_size == 1 << 15
    for index in (1, 2, 3):
        assert listing(target, index) == listing(three, index)


def test_a_solid_base_keeps_its_solid_resources_and_gets_new_content_beside_them(
    tmp_path: Path, three: Path, codec: LibwimCodec
) -> None:
    solid, target = tmp_path / "x.esd", tmp_path / "out.esd"
    run("wimlib-imagex", "export", three, "all", solid, "--solid")
    with open_wim(solid, codec) as base:
        tree = base.tree(3)
        tree.remove("only in 3.txt")
        tree.put_file("new.txt", sha1(b"new" * 999), times=TIMES)
        new = {sha1(b"new" * 999): b"new" * 999}
        write_wim(target, base=base, trees={3: tree}, new_content=new)
        with open_wim(target, codec) as out:
            assert out.is_solid
            assert not out.blobs[sha1(b"new" * 999)].is_solid
            assert out.read_blob(sha1(b"new" * 999)) == b"new" * 999
            assert {
                blob.solid.location.stored_bytes for blob in out.blobs.values() if blob.solid
            } == {blob.solid.location.stored_bytes for blob in base.blobs.values() if blob.solid}
    accept(target)
    for index in (1, 2):
        assert listing(target, index) == listing(three, index)


def test_overlapping_content_is_not_copied(tmp_path: Path) -> None:
    """Blobs that all claim the same bytes would let a small file write a huge one."""
    path = tmp_path / "x.wim"
    practice = Practice()
    practice.put("a", b"a" * 1000)
    practice.put("b", b"b" * 1000)
    write(path, practice)
    with open_wim(path) as wim:
        first, second = (wim.blobs[sha1(letter * 1000)] for letter in (b"a", b"b"))
        table = wim.header.blob_table
    data = path.read_bytes()
    moved = second.location.pack().replace(
        second.location.offset.to_bytes(8, "little"), first.location.offset.to_bytes(8, "little")
    )
    head, tail = data[: table.offset], data[table.offset :]
    path.write_bytes(head + tail.replace(second.location.pack(), moved))
    with open_wim(path) as base, pytest.raises(DamagedWim, match="overlaps"):
        write_wim(tmp_path / "out.wim", base=base)


def test_written_metadata_reads_back_from_wimlibs_own_rewrite(
    tmp_path: Path, codec: LibwimCodec
) -> None:
    """wimlib rewrites the metadata when it changes an image; the meaning must come back."""
    path = tmp_path / "x.wim"
    practice = rich()
    write(path, practice)
    run("wimlib-imagex", "update", path, 1, "--command=delete 'Windows/empty.log'", "--rebuild")
    practice.tree.remove("Windows/empty.log")
    with open_wim(path, codec) as wim:
        assert meaning(wim.tree(1)) == meaning(practice.tree)
        assert meaning(parse_metadata(serialize_metadata(wim.tree(1)))) == meaning(practice.tree)


def test_a_short_kernel_copy_is_completed(
    tmp_path: Path, three: Path, codec: LibwimCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.copy_file_range

    def short(source: int, target: int, count: int, *offsets: int) -> int:
        return real(source, target, min(count, 1000), *offsets)

    monkeypatch.setattr(os, "copy_file_range", short)
    with open_wim(three, codec) as base:
        write_wim(tmp_path / "out.wim", base=base)
    accept(tmp_path / "out.wim")
