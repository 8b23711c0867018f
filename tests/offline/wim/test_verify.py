"""Verify: every damaged content is found and named by the files it hits, and nothing else is."""

import os
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from offline.wim.handmade import PACKED, Handmade, entry, place, sha1
from offline.wim.verbs import children, flip, imagex, meet_strangers
from wimsmith.errors import Cancelled, DamagedWim, NotFound, WorkerFailed
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.format.blobs import Blob
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.tree import Tree
from wimsmith.offline.wim.verbs.export import export_images
from wimsmith.offline.wim.verbs.verify import MAX_FILES, verify_wim
from wimsmith.offline.wim.workers._libwim import LibwimCodec

KERNEL = "Windows/System32/kernel.dll"
FORMS = {
    "none": ["--compress=none"],
    "xpress": ["--compress=XPRESS"],
    "lzx": ["--compress=LZX"],
    "lzms": ["--compress=LZMS"],
    "solid": ["--solid", "--solid-chunk-size=64K"],
    "solid-lzx": ["--solid", "--solid-compress=LZX", "--solid-chunk-size=32K"],
    "pipable": ["--pipable"],
}


def capture(folder: Path, wim: Path, *options: str) -> Path:
    """A WIM of 60 files: small and large ones, text and noise."""
    tree = folder / "tree"
    tree.mkdir(exist_ok=True)
    for number in range(60):
        text = b"line %d of a text that packs well\r\n" % number
        data = text * (number**2 + 1) if number % 3 else os.urandom(number * 1500 + 10)
        (tree / f"{number:02}.bin").write_bytes(data)
    imagex("capture", tree, wim, "Sixty", *options)
    return wim


def spoil(wim: Path, *places: int) -> None:
    data = bytearray(wim.read_bytes())
    for at in places:
        data[at] ^= 0x10
    wim.write_bytes(data)


def stored_bytes(blob: Blob) -> range:
    where = blob.location if blob.solid is None else blob.solid.location
    return range(where.offset, where.end)


def unreadable(wim: Path) -> set[str]:
    """Contents that the reader of single contents cannot read."""
    found = set()
    with open_wim(wim, LibwimCodec()) as opened:
        for digest in opened.blobs:
            try:
                for _ in opened.open_blob(digest):
                    pass
            except DamagedWim:
                found.add(digest.hex())
    return found


def test_verify_tells_what_it_read(wim: Path) -> None:
    report = verify_wim(wim)
    assert (report.files, report.images, report.integrity_table) == (1, 3, False)
    assert report.size_bytes == wim.stat().st_size
    assert report.intact
    assert report.damaged == ()
    report.check()


def test_a_damaged_content_is_named_by_all_files_that_use_it(wim: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.wim"
    flip(wim, damaged)
    report = verify_wim(damaged)
    (only,) = report.damaged
    assert (only.kind, only.file, only.file_count) == ("content", damaged, 3)
    assert only.files == [f"{index}:/{KERNEL}" for index in (1, 2, 3)]
    assert only.size_bytes == 135_000
    assert not report.intact
    with pytest.raises(DamagedWim, match=rf"damaged\.wim: blob {only.sha1}: "):
        report.check()


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("workers", [1, 3])
def test_all_damages_are_found_and_no_others(tmp_path: Path, form: str, workers: int) -> None:
    wim = capture(tmp_path, tmp_path / "x.wim", *FORMS[form])
    assert verify_wim(wim, workers=workers).intact
    with open_wim(wim, LibwimCodec()) as opened:
        blobs = sorted(opened.blobs.values(), key=lambda blob: blob.storage_order)
    middles = [stored_bytes(blob)[len(stored_bytes(blob)) // 2] for blob in blobs[5::7]]
    if "solid" in form:
        region = stored_bytes(blobs[0])
        middles = [region[len(region) * part // 10] for part in (4, 5, 7, 9)]
    spoil(wim, *middles)
    report = verify_wim(wim, workers=workers)
    expected = unreadable(wim)
    assert len(expected) >= len(set(middles)) - 1
    assert {one.sha1 for one in report.damaged} == expected
    assert report.damaged_count == len(expected)
    assert all(one.kind == "content" and one.file_count == 1 for one in report.damaged)


def test_a_damaged_file_fails_both_by_content_and_by_table(wim: Path, tmp_path: Path) -> None:
    whole, damaged = tmp_path / "new.wim", tmp_path / "damaged.wim"
    export_images(wim, None, whole)
    assert verify_wim(whole).integrity_table
    flip(whole, damaged)
    kinds = [one.kind for one in verify_wim(damaged).damaged]
    assert sorted(kinds) == ["content", "integrity"]


def test_the_integrity_table_itself_may_be_what_is_damaged(wim: Path, tmp_path: Path) -> None:
    whole = tmp_path / "new.wim"
    export_images(wim, None, whole)
    with open_wim(whole) as opened:
        table = opened.header.integrity
    spoil(whole, table.end - 1)
    (only,) = verify_wim(whole).damaged
    assert only.kind == "integrity"
    assert "integrity check failed in the" in only.reason
    spoil(whole, table.offset)
    (only,) = verify_wim(whole).damaged
    assert "contradict one another" in only.reason


def test_each_part_of_an_integrity_table_is_compared(tmp_path: Path) -> None:
    tree, wim = tmp_path / "tree", tmp_path / "large.wim"
    tree.mkdir()
    (tree / "noise").write_bytes(os.urandom(55 << 20))
    imagex("capture", tree, wim, "Large", "--compress=none", "--check")
    assert verify_wim(wim).intact
    spoil(wim, 15 << 20, 16 << 20, 42 << 20)
    found = [one.reason for one in verify_wim(wim).damaged if one.kind == "integrity"]
    assert found == [
        f"integrity check failed in the {10 << 20} bytes from {208 + start * (10 << 20)}"
        for start in (1, 4)
    ]


def test_an_image_that_cannot_be_read_does_not_hide_the_rest(wim: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.wim"
    flip(wim, damaged)
    with open_wim(damaged) as opened:
        metadata = opened.table.metadata[1].location
    spoil(damaged, metadata.offset + metadata.stored_bytes // 2)
    report = verify_wim(damaged)
    by_kind = {one.kind: one for one in report.damaged}
    assert set(by_kind) == {"metadata", "content"}
    assert by_kind["metadata"].reason.startswith("image 2: ")
    assert by_kind["content"].files == [f"1:/{KERNEL}", f"3:/{KERNEL}"]


def test_a_content_of_many_files_names_the_first(tmp_path: Path) -> None:
    tree, wim = tmp_path / "tree", tmp_path / "x.wim"
    tree.mkdir()
    for number in range(MAX_FILES + 7):
        (tree / f"{number}").write_bytes(b"the same " * 90)
    imagex("capture", tree, wim, "Same", "--compress=none")
    with open_wim(wim) as opened:
        (blob,) = opened.blobs.values()
    spoil(wim, blob.location.offset)
    (only,) = verify_wim(wim).damaged
    assert (only.file_count, len(only.files)) == (MAX_FILES + 7, MAX_FILES)


def test_a_split_set_is_verified_as_a_whole(tmp_path: Path) -> None:
    wim = capture(tmp_path, tmp_path / "x.wim")
    imagex("split", wim, tmp_path / "x.swm", "0.4")
    parts = sorted(tmp_path.glob("*.swm"))
    assert len(parts) > 2
    for part in parts:
        report = verify_wim(part)
        assert (report.intact, report.files) == (True, len(parts))
        assert report.blobs == verify_wim(wim).blobs
    with open_wim(parts[0]) as opened:
        second = opened.files[1].path
        inside = [blob for blob in opened.blobs.values() if blob.file == 1]
    spoil(second, inside[0].location.offset + inside[0].location.stored_bytes // 2)
    (only,) = verify_wim(parts[0]).damaged
    assert (only.file, only.sha1) == (second, inside[0].sha1.hex())


def test_a_delta_lacks_content_until_its_base_is_named(tmp_path: Path) -> None:
    tree, base, delta = tmp_path / "tree", tmp_path / "base.wim", tmp_path / "delta.wim"
    tree.mkdir()
    (tree / "old").write_bytes(b"old " * 900)
    imagex("capture", tree, base, "Base")
    (tree / "new").write_bytes(b"new " * 900)
    imagex("capture", tree, delta, "Delta", f"--delta-from={base}")
    report = verify_wim(delta)
    (only,) = report.damaged
    assert (only.kind, only.files) == ("missing", ["1:/old"])
    with pytest.raises(NotFound, match=r"1 contents that .*delta\.wim names") as caught:
        report.check()
    assert "--ref" in (caught.value.hint or "")
    whole = verify_wim(delta, references=[base])
    assert (whole.intact, whole.blobs, whole.files) == (True, 2, 2)
    with open_wim(base) as opened:
        (blob,) = opened.blobs.values()
    spoil(base, blob.location.offset + blob.location.stored_bytes // 2)
    (only,) = verify_wim(delta, references=[base]).damaged
    assert (only.kind, only.file) == ("content", base)


@pytest.mark.parametrize("stored", [1 << 40, 5000, 1])
def test_a_chunk_that_lies_about_its_size_costs_no_memory(tmp_path: Path, stored: int) -> None:
    made = Handmade(Compression.LZX, 1 << 15)
    made.image(b"x" * 4000)
    made.table.append(entry(place(stored, PACKED, 208, 4000), sha1(b"x" * 4000)))
    wim = made.write(tmp_path / "x.wim")
    os.truncate(wim, max(stored * 2, wim.stat().st_size))
    (only,) = verify_wim(wim).damaged
    assert (only.kind, only.files) == ("content", ["1:/0"])


@pytest.mark.parametrize("offsets", [(40, 20, 60), (0, 0, 0), (1 << 31, 1 << 31, 5)])
def test_chunk_tables_that_cannot_be_true_are_damage(
    tmp_path: Path, offsets: tuple[int, int, int]
) -> None:
    content = b"x" * (4 << 15)
    made = Handmade(Compression.LZX, 1 << 15)
    where = made.put(struct.pack("<3I", *offsets) + bytes(3000))
    made.table.append(entry(place(3012, PACKED, where, len(content)), sha1(content)))
    tree = Tree.new()
    tree.put_file("a", sha1(content))
    made.image(content)
    (only,) = verify_wim(made.write(tmp_path / "x.wim")).damaged
    assert only.sha1 == sha1(content).hex()


def test_progress_grows_to_the_whole(large: Path) -> None:
    events: list[Event] = []
    report = verify_wim(large, progress=events.append)
    done = [event.done for event in events if event.phase == "Verifying"]
    assert done == sorted(done)
    assert (events[-1].done, events[-1].total) == (report.content_bytes, report.content_bytes)
    assert len(set(done)) > 3


def stop_at(share: float, what: Callable[[], None]) -> Callable[[Event], None]:
    def progress(event: Event) -> None:
        if (event.fraction or 0) > share:
            what()

    return progress


def cancel() -> None:
    raise Cancelled("by the test")


def test_cancel_ends_soon_and_leaves_no_process(large: Path) -> None:
    meet_strangers()
    before = time.monotonic()
    with pytest.raises(Cancelled, match="by the test"):
        verify_wim(large, progress=stop_at(0.05, cancel))
    assert time.monotonic() - before < 30
    assert children() == []


def test_a_killed_worker_is_one_error(large: Path) -> None:
    meet_strangers()

    def kill() -> None:
        for pid in children():
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(WorkerFailed, match="SIGKILL"):
        verify_wim(large, progress=stop_at(0.05, kill))
    assert children() == []


@pytest.mark.parametrize("name", ["LZX.wim", "XPRESS.wim", "LZMS.wim", "MultiImage.wim"])
def test_real_files_are_intact(real: Path, name: str) -> None:
    assert verify_wim(real / "wim" / name).intact


def test_a_real_split_set_is_intact(real: Path) -> None:
    assert verify_wim(real / "wim" / "Split.swm").files == 2


def test_a_real_damaged_file_is_not(real: Path) -> None:
    assert verify_wim(real / "wim" / "VerifySuccess.wim").intact
    assert not verify_wim(real / "wim" / "VerifyFail.wim").intact
