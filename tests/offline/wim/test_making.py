"""Whatever a verb does to a file: every image is what it was, for wimlib and 7-Zip as for us."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from offline.wim.images import Practice, meaning, rich, sha1
from offline.wim.judges import accept, link_groups, listing, run, xml
from offline.wim.verbs import fingerprint, strays
from wimsmith.errors import (
    AlreadyExists,
    Cancelled,
    InvalidInput,
    NoSuchIndex,
    NotEnoughSpace,
    NotFound,
    NotSupported,
)
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.document import ImageEdit, WindowsInfo
from wimsmith.offline.wim.format.header import Flag
from wimsmith.offline.wim.verbs.append import Addition, announce_append, append_images
from wimsmith.offline.wim.verbs.export import Selection, announce_export, export_images
from wimsmith.offline.wim.verbs.join import join_parts
from wimsmith.offline.wim.verbs.optimize import announce_optimize, optimize_wim
from wimsmith.offline.wim.verbs.split import split_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.offline.wim.writing import assembly
from wimsmith.offline.wim.writing.making import Announcement, Packing
from wimsmith.offline.wim.writing.write import write_wim

LARGE = b"".join(b"line %d of what is large\n" % number for number in range(40_000))
NOISE = b"".join(sha1(b"%d" % number) for number in range(10_000))


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images with everything rare, the second bootable, described as Windows images are."""
    path = tmp_path_factory.mktemp("generated") / "source.wim"
    practices = {number: rich() for number in (1, 2, 3)}
    for number, practice in practices.items():
        practice.put(f"only in {number}.txt", b"only in %d" % number * 100)
        practice.put("large.txt", LARGE)
        practice.put(f"noise {number}.bin", NOISE + b"%d" % number)
    windows = WindowsInfo(architecture=9, product_name="Practice", languages=("de-DE",))
    with WorkerCodec() as codec:
        write_wim(
            path,
            trees={number: one.tree for number, one in practices.items()},
            new_content={
                digest: data for one in practices.values() for digest, data in one.content.items()
            },
            images={
                number: ImageEdit(name=f"Image {number} & more", windows=windows, created=7)
                for number in practices
            },
            codec=codec,
            boot_index=2,
        )
    return path


@pytest.fixture
def source(generated: Path, tmp_path: Path) -> Iterator[Path]:
    """The same in a folder of its own, read-only as files of an ISO are."""
    path = tmp_path / "source" / "source.wim"
    path.parent.mkdir()
    shutil.copy(generated, path)
    path.chmod(0o444)
    before = fingerprint(path)
    yield path
    assert fingerprint(path) == before
    assert strays(path.parent) == []
    assert strays(tmp_path) == []


def unchanged(path: Path, source: Path, pairs: dict[int, int]) -> None:
    """Images of `path` (by number) are those of `source`: every field, every link, every byte."""
    accept(path)
    for number, old in pairs.items():
        assert listing(path, number) == listing(source, old)
        assert link_groups(path, number) == link_groups(source, old)
    with WorkerCodec() as codec, open_wim(path, codec) as new, open_wim(source, codec) as before:
        for number, old in pairs.items():
            assert meaning(new.tree(number)) == meaning(before.tree(old))


ALL = {1: 1, 2: 2, 3: 3}


def by_wimlib(*arguments: object) -> None:
    run("wimlib-imagex", *arguments)


def converted(source: Path, target: Path) -> None:
    export_images(source, None, target, packing=Packing(Compression.XPRESS, chunk_bytes=1 << 12))


def uncompressed(source: Path, target: Path) -> None:
    export_images(source, None, target, packing=Packing(Compression.NONE))


def recompressed(source: Path, target: Path) -> None:
    export_images(source, None, target, packing=Packing(recompress=True, level=50))


def solid(source: Path, target: Path) -> None:
    export_images(source, None, target, packing=Packing(solid=True, chunk_bytes=1 << 18, level=20))


def solid_of_solid(source: Path, target: Path) -> None:
    first = target.with_name("first.esd")
    by_wimlib("export", source, "all", first, "--boot", "--solid", "--solid-chunk-size=256K")
    export_images(first, None, target)
    with WorkerCodec() as codec, open_wim(target, codec) as wim:
        assert wim.is_solid


def from_solid(source: Path, target: Path) -> None:
    by_wimlib("export", source, "all", target.with_name("first.esd"), "--boot", "--solid")
    export_images(target.with_name("first.esd"), None, target, packing=Packing(Compression.LZX))


def from_pipable(source: Path, target: Path) -> None:
    by_wimlib("export", source, "all", target.with_name("first.wim"), "--boot", "--pipable")
    export_images(target.with_name("first.wim"), None, target)


def split_and_joined(source: Path, target: Path) -> None:
    report = split_wim(source, target.with_suffix(".swm"), 300_000)
    assert len(report.parts) > 2
    join_parts([report.parts[-1].path], target)


def split_here_joined_by_wimlib(source: Path, target: Path) -> None:
    report = split_wim(source, target.with_suffix(".swm"), 300_000)
    by_wimlib("join", target, *(part.path for part in reversed(report.parts)))


def split_by_wimlib_joined_here(source: Path, target: Path) -> None:
    by_wimlib("split", source, target.with_suffix(".swm"), "0.3")
    parts = sorted(target.parent.glob("*.swm"))
    assert len(parts) > 2
    join_parts(parts, target)


def appended(source: Path, target: Path) -> None:
    export_images(source, [1], target)
    append_images(source, target, Addition(indexes=[2, 3], boot=2))


def appended_to_solid(source: Path, target: Path) -> None:
    export_images(source, [1], target, packing=Packing(solid=True, chunk_bytes=1 << 17))
    append_images(source, target, Addition(indexes=[2, 3], boot=2))


def optimized(source: Path, target: Path) -> None:
    optimize_wim(source, target)


def delta_made_whole(source: Path, target: Path) -> None:
    base, delta = target.with_name("base.wim"), target.with_name("delta.wim")
    export_images(source, [1], base)
    export_images(source, None, delta, selection=Selection(delta_from=base))
    assert delta.stat().st_size < source.stat().st_size * 3 / 4
    export_images(delta, None, target, selection=Selection(references=(base,)))


WAYS = [
    converted,
    uncompressed,
    recompressed,
    solid,
    solid_of_solid,
    from_solid,
    from_pipable,
    split_and_joined,
    split_here_joined_by_wimlib,
    split_by_wimlib_joined_here,
    appended,
    appended_to_solid,
    optimized,
    delta_made_whole,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_is_lost_on_any_way(
    source: Path, tmp_path: Path, way: Callable[[Path, Path], None]
) -> None:
    target = tmp_path / "target.wim"
    way(source, target)
    unchanged(target, source, ALL)
    with open_wim(target) as wim:
        assert wim.header.boot_index == (0 if way is split_by_wimlib_joined_here else 2)


def test_a_file_from_an_iso_gives_one_that_can_be_written(source: Path, tmp_path: Path) -> None:
    export_images(source, [1], tmp_path / "target.wim")
    assert (tmp_path / "target.wim").stat().st_mode & 0o777 == 0o644


def image_texts(document: str) -> list[str]:
    return re.findall(r"<IMAGE .*?</IMAGE>", document, flags=re.DOTALL)


ODD = (
    '<IMAGE INDEX="1" ODD=\'a"b\'><NAME>x</NAME><EMPTY></EMPTY>'
    "<!-- kept --><Y>&#65;&gt;</Y></IMAGE>"
)


def with_odd_description(path: Path) -> Path:
    """A WIM with one image, described in a way that no XML library would write again."""
    practice = Practice()
    practice.put("file", b"content")
    write_wim(path, trees={1: practice.tree}, new_content=practice.content, with_integrity=False)
    with open_wim(path) as wim:
        header = wim.header
    document = f"<WIM><TOTALBYTES>1</TOTALBYTES>\n{ODD}\n</WIM>".encode("utf-16")
    place = header.xml.__class__(len(document), 2, header.xml.offset, len(document))
    data = path.read_bytes()[: header.xml.offset] + document
    path.write_bytes(data.replace(header.xml.pack(), place.pack(), 1))
    return path


def test_what_is_said_of_an_image_stays_to_the_letter(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.wim"
    export_images(source, [3, 1], target)
    old, new = image_texts(xml(source)), image_texts(xml(target))
    assert new[0] == old[2].replace('INDEX="3"', 'INDEX="1"')
    assert new[1] == old[0].replace('INDEX="1"', 'INDEX="2"')
    odd = with_odd_description(tmp_path / "odd.wim")
    append_images(odd, target)
    assert image_texts(xml(target)) == [*new, ODD.replace('INDEX="1"', 'INDEX="3"')]


def test_an_image_gets_another_name(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.wim"
    selection = Selection(name="New <name>", description="said of it", boot=2)
    export_images(source, [2], target, selection=selection)
    unchanged(target, source, {1: 2})
    text = run("wimlib-imagex", "info", target)
    assert re.search(r"Name:\s+New <name>\nDescription:\s+said of it\n", text)
    assert "x86_64" in text
    assert re.search(r"Boot Index:\s+1\n", text)
    with pytest.raises(InvalidInput):
        export_images(source, None, tmp_path / "other.wim", selection=selection)
    with pytest.raises(NoSuchIndex):
        export_images(source, [1], tmp_path / "other.wim", selection=Selection(boot=2))
    export_images(source, [2], target, selection=Selection(boot=0), overwrite=True)
    assert re.search(r"Boot Index:\s+0\n", run("wimlib-imagex", "info", target))


def test_relative_links_stay_so_marked_and_the_identifier_is_new(
    source: Path, tmp_path: Path
) -> None:
    marked, target = tmp_path / "marked.wim", tmp_path / "target.wim"
    by_wimlib("export", source, "1", marked)
    data = bytearray(marked.read_bytes())
    data[16] |= Flag.RELATIVE_LINKS
    marked.write_bytes(data)
    export_images(marked, None, target)
    with open_wim(marked) as old, open_wim(target) as new:
        assert new.header.flags & Flag.RELATIVE_LINKS
        assert new.header.guid != old.header.guid


def test_what_will_be_done_is_known_before(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.wim"
    same = announce_export(source, [2], target)
    assert (same.converted_contents, same.reasons) == (0, ())
    assert [(one.name, one.source_number) for one in same.images] == [("Image 2 & more", 2)]
    assert same.dropped_contents == 4
    other = announce_export(source, None, target, packing=Packing(Compression.XPRESS))
    with open_wim(source) as wim:
        stored = [blob for blob in wim.blobs.values() if not blob.location.is_compressed]
        every = sum(blob.size_bytes for blob in wim.blobs.values())
    assert other.copied_contents == len(stored) > 0  # what did not shrink is stored in both
    assert other.reasons == ("LZX becomes XPRESS",)
    asked = announce_export(source, None, target, packing=Packing(recompress=True))
    assert (asked.copied_contents, asked.reasons) == (0, ("it was asked for",))
    esd = announce_export(source, None, target, packing=Packing(solid=True))
    assert (esd.solid, esd.chunk_bytes, esd.level) == (True, 1 << 26, 50)
    assert esd.memory_bytes >= esd.workers * (600 << 20)
    assert not target.exists()
    told: list[Announcement] = []
    report = export_images(source, [2], target, tell=told.append)
    assert told == [same]
    assert report.copied_bytes == same.copied_bytes
    assert esd.converted_bytes == every


def test_refusing_what_was_announced_leaves_nothing(source: Path, tmp_path: Path) -> None:
    def refuse(_said: Announcement) -> None:
        raise Cancelled("by the user")

    with pytest.raises(Cancelled):
        export_images(source, None, tmp_path / "target.wim", tell=refuse)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_part_of_a_solid_file_is_packed_anew_and_all_of_it_copied(
    source: Path, tmp_path: Path
) -> None:
    esd, target = tmp_path / "all.esd", tmp_path / "target.esd"
    solid(source, esd)
    whole = announce_export(esd, None, target)
    assert (whole.converted_contents, whole.solid) == (0, True)
    part = announce_export(esd, [1], target)
    assert part.reasons == ("parts of solid resources",)
    assert part.copied_contents == 0
    export_images(esd, [1], target)
    unchanged(target, source, {1: 1})
    with open_wim(target) as wim, open_wim(esd) as old:
        assert wim.is_solid
        assert len(wim.blobs) == len(old.blobs) - part.dropped_contents < len(old.blobs)


@pytest.mark.parametrize(
    ("packing", "error"),
    [
        (Packing(Compression.LZX, chunk_bytes=1 << 16), NotSupported),
        (Packing(Compression.LZX, solid=True), InvalidInput),
        (Packing(Compression.XPRESS, chunk_bytes=5000), InvalidInput),
        (Packing(Compression.NONE, chunk_bytes=1 << 15), InvalidInput),
        (Packing(solid=True, chunk_bytes=1 << 27), NotSupported),
    ],
)
def test_forms_that_windows_does_not_read_are_refused(
    source: Path, tmp_path: Path, packing: Packing, error: type[Exception]
) -> None:
    with pytest.raises(error):
        export_images(source, [1], tmp_path / "target.wim", packing=packing)


def test_content_is_shared_between_appended_images(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.wim"
    export_images(source, [1], target)
    target.chmod(0o640)
    said = announce_append(source, target, Addition(indexes=[3]))
    assert [(one.number, one.source) for one in said.images] == [(1, target), (2, source)]
    report = append_images(source, target, Addition(indexes=[3]))
    assert report.numbers == (2,)
    assert target.stat().st_mode & 0o777 == 0o640
    unchanged(target, source, {1: 1, 2: 3})
    with open_wim(target) as wim, open_wim(source) as old:
        assert len(wim.blobs) == len(old.blobs) - 2


def test_two_images_of_one_name_are_refused_and_a_new_name_helps(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target.wim"
    export_images(source, None, target)
    before = fingerprint(target)
    with pytest.raises(AlreadyExists, match="Image 2") as caught:
        append_images(source, target, Addition(indexes=[2]))
    assert "--name" in str(caught.value.hint)
    assert fingerprint(target) == before
    append_images(source, target, Addition(indexes=[2], name="Another"))
    unchanged(target, source, ALL | {4: 2})


@pytest.mark.parametrize("kind", ["mode", "header", "part", "itself"])
def test_what_may_not_be_changed_is_not_replaced(source: Path, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target.wim"
    export_images(source, [1], target)
    origin = source
    if kind == "mode":
        target.chmod(0o444)
    elif kind == "header":
        data = bytearray(target.read_bytes())
        data[16] |= Flag.READ_ONLY
        target.write_bytes(data)
    elif kind == "part":
        target = split_wim(source, tmp_path / "part.swm", 300_000).parts[0].path
    else:
        origin = target
    before = fingerprint(target)
    with pytest.raises((InvalidInput, NotSupported)):
        append_images(origin, target, Addition(indexes=[1], name="new"))
    if kind != "itself":
        with pytest.raises((InvalidInput, NotSupported)):
            optimize_wim(target)
    assert fingerprint(target) == before


def test_a_link_to_the_file_that_is_replaced_stays_one(source: Path, tmp_path: Path) -> None:
    target, link = tmp_path / "folder" / "target.wim", tmp_path / "link.wim"
    target.parent.mkdir()
    link.symlink_to(target)
    export_images(source, [1], target)
    append_images(source, link, Addition(indexes=[2]))
    assert link.is_symlink()
    unchanged(target, source, {1: 1, 2: 2})
    assert strays(target.parent) == []


def test_a_target_that_changes_meanwhile_is_not_replaced(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.wim"
    export_images(source, [1], target)

    def change(event: Event) -> None:
        if event.phase == "check":
            shutil.copy(source, tmp_path / "other.wim")
            (tmp_path / "other.wim").replace(target)

    with pytest.raises(AlreadyExists, match="another program has changed"):
        append_images(source, target, Addition(indexes=[2]), progress=change)
    assert target.read_bytes() == source.read_bytes()


def test_parts_have_the_size_that_was_asked_for(source: Path, tmp_path: Path) -> None:
    report = split_wim(source, tmp_path / "install.swm", 250_000)
    assert [part.path.name for part in report.parts[:2]] == ["install.swm", "install2.swm"]
    for part in report.parts:
        assert part.size_bytes == part.path.stat().st_size
        assert part.is_oversize == (part.size_bytes > 250_000)
        run("wimlib-imagex", "info", part.path, "--check")
    by_wimlib("verify", report.parts[0].path, f"--ref={tmp_path}/install*.swm")


def test_7z_reads_a_set_of_parts(source: Path, tmp_path: Path) -> None:
    parts = split_wim(source, tmp_path / "install.swm", 400_000).parts
    # 7z takes the length of the last part for that of the first, in sets of wimlib as well.
    assert parts[-1].size_bytes < parts[0].size_bytes
    assert "Everything is Ok" in run("7z", "t", parts[0].path)


def test_content_larger_than_a_part_makes_one_oversize_part(tmp_path: Path) -> None:
    practice = Practice()
    for number in range(10):
        practice.put(f"small {number}", NOISE[number:10_000])
    practice.put("huge", NOISE)
    path = tmp_path / "source.wim"
    write_wim(path, trees={1: practice.tree}, new_content=practice.content)
    report = split_wim(path, tmp_path / "part.swm", 50_000)
    assert [part.is_oversize for part in report.parts].count(True) == 1
    join_parts([report.parts[0].path], tmp_path / "joined.wim")
    unchanged(tmp_path / "joined.wim", path, {1: 1})
    one = split_wim(path, tmp_path / "alone.swm", 1 << 30)
    assert len(one.parts) == 1
    accept(one.parts[0].path)
    with pytest.raises(InvalidInput, match="smaller than the descriptions"):
        split_wim(path, tmp_path / "tiny.swm", 1000)


def test_a_set_appears_whole_or_not_at_all(source: Path, tmp_path: Path) -> None:
    (tmp_path / "part2.swm").write_text("precious")
    with pytest.raises(AlreadyExists, match="part2"):
        split_wim(source, tmp_path / "part.swm", 300_000)

    def appear(event: Event) -> None:
        if event.phase == "check":
            (tmp_path / "set2.swm").write_text("of somebody else")

    with pytest.raises(AlreadyExists, match="set2"):
        split_wim(source, tmp_path / "set.swm", 300_000, progress=appear)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["part2.swm", "set2.swm", "source"]
    assert (tmp_path / "part2.swm").read_text() == "precious"


def test_a_solid_file_is_not_split_but_what_the_hint_makes_is(source: Path, tmp_path: Path) -> None:
    esd = tmp_path / "x.esd"
    solid(source, esd)
    with pytest.raises(NotSupported) as caught:
        split_wim(esd, tmp_path / "part.swm", 300_000)
    assert "--compress lzx" in str(caught.value.hint)


def test_a_set_with_a_part_missing_is_not_joined(source: Path, tmp_path: Path) -> None:
    report = split_wim(source, tmp_path / "part.swm", 300_000)
    report.parts[1].path.unlink()
    with pytest.raises((NotFound, NotSupported)):
        join_parts([report.parts[0].path], tmp_path / "joined.wim")
    assert not (tmp_path / "joined.wim").exists()


def wasteful(source: Path, target: Path) -> None:
    """A file of one image, with a hole and the content of two others left in it."""
    by_wimlib("export", source, "all", target)
    by_wimlib("delete", target, "3", "--soft")
    by_wimlib("delete", target, "1", "--soft")


def test_optimizing_says_what_it_gained(source: Path, tmp_path: Path) -> None:
    target, new = tmp_path / "wasteful.wim", tmp_path / "new.wim"
    wasteful(source, target)
    said, waste = announce_optimize(target, new)
    report = optimize_wim(target, new)
    assert report.before == waste
    assert waste.file_bytes == target.stat().st_size
    assert said.dropped_contents == waste.unreferenced_contents == 4
    assert waste.hole_bytes > 0
    assert report.after.file_bytes == new.stat().st_size < waste.file_bytes
    assert (report.after.unreferenced_contents, report.after.hole_bytes) == (0, 0)
    unchanged(new, source, {1: 2})
    assert target.stat().st_size == waste.file_bytes


def test_optimizing_in_place_replaces_the_file_in_one_step(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "wasteful.wim"
    wasteful(source, target)
    target.chmod(0o600)
    before = fingerprint(target)

    def stop(event: Event) -> None:
        if event.phase == "check":
            raise Cancelled("late")

    with pytest.raises(Cancelled):
        optimize_wim(target, progress=stop)
    assert fingerprint(target) == before
    report = optimize_wim(target, packing=Packing(recompress=True))
    assert report.target == target
    assert target.stat().st_mode & 0o777 == 0o600
    unchanged(target, source, {1: 2})


def test_solid_resources_without_need_are_packed_anew_by_optimizing(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "wasteful.esd"
    by_wimlib("export", source, "all", target, "--solid")
    by_wimlib("delete", target, "1", "--soft")
    report = optimize_wim(target)
    assert report.before.unreferenced_contents == 2
    assert report.after.unreferenced_contents == 0
    unchanged(target, source, {1: 2, 2: 3})


PHASES = ["read images", "copy", "compress", "hash", "check"]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("fault", ["cancel", "full"])
def test_old_or_new_at_every_phase(source: Path, tmp_path: Path, phase: str, fault: str) -> None:
    """A fault in each phase of a verb that converts and replaces leaves the old file alone."""
    target = tmp_path / "target.wim"
    export_images(source, [1], target, packing=Packing(Compression.XPRESS))
    before = fingerprint(target)
    reached: list[str] = []

    def fail(event: Event) -> None:
        if event.phase == phase:
            reached.append(phase)
            raise Cancelled(phase) if fault == "cancel" else OSError(28, os.strerror(28))

    expected = Cancelled if fault == "cancel" or phase == "read images" else NotEnoughSpace
    with pytest.raises(OSError if (fault, phase) == ("full", "read images") else expected):
        append_images(source, target, Addition(indexes=[2]), progress=fail)
    assert reached
    assert fingerprint(target) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target.wim"]


def test_space_is_looked_at_before_anything_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    for verb in (
        lambda: export_images(source, None, tmp_path / "target.wim"),
        lambda: split_wim(source, tmp_path / "part.swm", 300_000),
        lambda: optimize_wim(source, tmp_path / "target.wim"),
    ):
        with pytest.raises(NotEnoughSpace, match="has 1000 bytes free"):
            verb()
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_applying_gives_the_same_tree(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.esd"
    solid(source, target)
    for path, folder in ((source, "old"), (target, "new")):
        by_wimlib("apply", path, "2", tmp_path / folder)
    done = subprocess.run(
        ["diff", "-r", "--no-dereference", tmp_path / "old", tmp_path / "new"],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"")


def test_runs_lie_as_in_their_source_where_blocks_can_be_shared(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the kernel shares blocks instead of copying; here it copies, and the file is as good."""
    practice, large = Practice(), tmp_path / "large.wim"
    practice.put("first", b"first")
    practice.put("large", NOISE * 10)
    write_wim(large, trees={1: practice.tree}, new_content=practice.content)
    monkeypatch.setattr(assembly, "shares_blocks", lambda _source, _target: True)
    target = tmp_path / "target.wim"
    export_images(source, [1], target, packing=Packing(Compression.NONE))
    before = target.stat().st_size
    append_images(large, target)
    assert target.stat().st_size - before < len(NOISE) * 10 + 8192
    accept(target)
    with open_wim(large) as old, open_wim(target) as new:
        digest = sha1(NOISE * 10)
        places = [wim.blobs[digest].location.offset for wim in (old, new)]
    assert places[0] % 4096 == places[1] % 4096
