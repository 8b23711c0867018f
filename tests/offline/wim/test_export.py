"""Export: what is wanted and nothing else, complete or not at all, the source as it was."""

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from offline.wim.verbs import (
    SOURCE_FOLDER,
    children,
    files_of,
    fingerprint,
    flip,
    imagex,
    small_disk,
    soon,
    strays,
)
from wimsmith.errors import (
    AlreadyExists,
    Cancelled,
    DamagedWim,
    InvalidInput,
    LimitExceeded,
    NoSuchIndex,
    NotEnoughSpace,
    PathUnreachable,
    WorkerFailed,
)
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.verbs.export import export_images
from wimsmith.offline.wim.verbs.extract import extract_image
from wimsmith.offline.wim.verbs.verify import verify_wim
from wimsmith.offline.wim.writing.making import Packing

IMAGE_COUNT_OFFSET = 44


def test_one_image_of_three_becomes_a_wim_of_its_own(wim: Path) -> None:
    target = wim.parent / "two.wim"
    report = export_images(wim, [2], target)
    assert report.images == (2,)
    assert report.checked
    assert report.size_bytes == target.stat().st_size < wim.stat().st_size
    imagex("verify", target)
    subprocess.run(["7z", "t", target], check=True, capture_output=True)
    assert files_of(target, 1) == files_of(wim, 2)
    text = imagex("info", target)
    assert re.search(r"Image Count:\s+1\n", text)
    assert re.search(r"Name:\s+Two\nDescription:\s+the second\n", text)
    assert re.search(r"Boot Index:\s+0\n", text)
    assert "Integrity info" in text
    target.unlink()


def test_all_images_keep_their_order_names_and_boot_mark(wim: Path, tmp_path: Path) -> None:
    export_images(wim, None, tmp_path / "all.wim")
    text = imagex("info", tmp_path / "all.wim")
    assert re.findall(r"^Name:\s+(.*)$", text, re.MULTILINE) == ["One", "Two", "Three"]
    assert re.search(r"Boot Index:\s+3\n", text)
    for index in (1, 2, 3):
        assert files_of(tmp_path / "all.wim", index) == files_of(wim, index)


def test_images_can_be_chosen_and_ordered(wim: Path, tmp_path: Path) -> None:
    export_images(wim, [3, 1], tmp_path / "new.wim")
    text = imagex("info", tmp_path / "new.wim")
    assert re.findall(r"^Name:\s+(.*)$", text, re.MULTILINE) == ["Three", "One"]
    assert re.search(r"Boot Index:\s+1\n", text)


@pytest.mark.parametrize("compression", list(Compression))
def test_content_can_be_packed_in_another_form(
    wim: Path, tmp_path: Path, compression: Compression
) -> None:
    target = tmp_path / "new.wim"
    export_images(wim, [1], target, packing=Packing(compression))
    with open_wim(target) as exported:
        assert exported.compression is compression
    assert files_of(target, 1) == files_of(wim, 1)


def test_a_solid_file_is_made_and_made_ordinary_again(wim: Path, tmp_path: Path) -> None:
    solid, back = tmp_path / "small.esd", tmp_path / "back.wim"
    export_images(wim, None, solid, packing=Packing(solid=True))
    with open_wim(solid) as exported:
        assert exported.is_solid
    export_images(solid, [2], tmp_path / "one.esd")
    assert files_of(tmp_path / "one.esd", 1) == files_of(wim, 2)
    export_images(solid, [2], back, packing=Packing(Compression.LZX))
    with open_wim(back) as exported:
        assert not exported.is_solid
    assert files_of(back, 1) == files_of(wim, 2)


def test_the_result_has_the_permissions_of_any_new_file(wim: Path, tmp_path: Path) -> None:
    export_images(wim, [1], tmp_path / "new.wim")
    (tmp_path / "any").touch()
    assert (tmp_path / "new.wim").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_an_existing_target_is_replaced_only_on_demand(wim: Path, tmp_path: Path) -> None:
    target = tmp_path / "old.wim"
    target.write_text("precious")
    with pytest.raises(AlreadyExists) as caught:
        export_images(wim, [1], target)
    assert "--overwrite" in (caught.value.hint or "")
    assert target.read_text() == "precious"
    export_images(wim, [1], target, overwrite=True)
    imagex("verify", target)


def test_a_target_that_appears_meanwhile_is_not_replaced(wim: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.wim"

    def appear(_event: Event) -> None:
        target.write_text("of somebody else")

    with pytest.raises(AlreadyExists):
        export_images(wim, [1], target, progress=appear)
    assert target.read_text() == "of somebody else"
    assert strays(tmp_path) == []


def test_the_source_is_never_the_target(wim: Path, tmp_path: Path) -> None:
    alias = tmp_path / "alias.wim"
    alias.symlink_to(wim)
    for target in (wim, alias):
        with pytest.raises(InvalidInput, match="is the source itself"):
            export_images(wim, [1], target, overwrite=True)


@pytest.mark.parametrize("indexes", [[0], [4], [-1], [1, 9]])
def test_an_index_that_is_not_there_is_named(wim: Path, indexes: list[int]) -> None:
    with pytest.raises(NoSuchIndex, match=r"three\.wim") as caught:
        export_images(wim, indexes, wim.parent / "new.wim")
    assert caught.value.hint == "It has 1 to 3."


@pytest.mark.parametrize("indexes", [[], [1, 1]])
def test_indexes_must_make_sense(wim: Path, indexes: list[int]) -> None:
    with pytest.raises(InvalidInput):
        export_images(wim, indexes, wim.parent / "new.wim")


def test_a_target_folder_that_is_not_there_is_named(wim: Path, tmp_path: Path) -> None:
    with pytest.raises(PathUnreachable, match="nowhere: No such file"):
        export_images(wim, [1], tmp_path / "nowhere" / "new.wim")
    with pytest.raises(AlreadyExists, match="is a folder"):
        export_images(wim, [1], tmp_path)


def test_an_image_count_of_two_thousand_million_is_refused_at_once(
    made: Path, tmp_path: Path
) -> None:
    hostile = tmp_path / "hostile.wim"
    data = bytearray(made.read_bytes())
    struct.pack_into("<I", data, IMAGE_COUNT_OFFSET, 1 << 31)
    hostile.write_bytes(data)
    started = time.monotonic()
    for attempt in (
        lambda: verify_wim(hostile),
        lambda: export_images(hostile, None, tmp_path / "new.wim"),
        lambda: extract_image(hostile, 1, tmp_path / "new"),
    ):
        with pytest.raises(LimitExceeded, match="2147483648"):
            attempt()
    assert time.monotonic() - started < 2


def test_damaged_content_is_not_exported(wim: Path, tmp_path: Path) -> None:
    damaged, target = tmp_path / "damaged.wim", tmp_path / "new.wim"
    flip(wim, damaged)
    with pytest.raises(DamagedWim, match=r"damaged\.wim, as copied: blob \w{40}"):
        export_images(damaged, [1], target)
    assert not target.exists()
    assert strays(tmp_path) == []
    export_images(damaged, [1], target, check=False)  # it is copied as it is, unread


class Stop:
    """Progress that cancels when a little is packed, and remembers when."""

    def __init__(self) -> None:
        self.at = 0.0
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if event.phase == "compress" and (event.fraction or 0) > 0.02:
            self.at = self.at or time.monotonic()
            raise Cancelled("by the test")


def test_cancel_ends_an_export_soon_and_leaves_nothing(large: Path, tmp_path: Path) -> None:
    before, stop = fingerprint(large), Stop()
    with pytest.raises(Cancelled):
        export_images(
            large,
            None,
            tmp_path / "new.wim",
            progress=stop,
            packing=Packing(Compression.LZX, level=100),
        )
    assert time.monotonic() - stop.at < 2
    assert stop.events[-1].done < 300_000_000
    assert list(tmp_path.iterdir()) == []
    assert children() == []
    assert fingerprint(large) == before


def test_a_killed_worker_fails_the_export_and_leaves_nothing(large: Path, tmp_path: Path) -> None:
    def kill(event: Event) -> None:
        if event.phase == "compress" and event.done:
            for pid in children():
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(WorkerFailed, match="SIGKILL"):
        export_images(
            large,
            None,
            tmp_path / "new.wim",
            progress=kill,
            packing=Packing(Compression.LZX, level=100),
        )
    assert list(tmp_path.iterdir()) == []
    assert children() == []


EXPORT = """
import sys
from pathlib import Path
from wimsmith.offline.wim.verbs.export import export_images
from wimsmith.offline.wim.verbs.extract import extract_image
from wimsmith.offline.wim.verbs.verify import verify_wim
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.writing.making import Packing
def tell(event):
    print(event.phase, event.done, flush=True)
source, target = map(Path, sys.argv[1:])
export_images(source, None, target, progress=tell, packing=Packing(Compression.LZX, level=100))
"""


def test_what_a_killed_export_left_is_swept_by_the_next(large: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", EXPORT, large, tmp_path / "first.wim"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(SOURCE_FOLDER)},
    ) as parent:
        assert parent.stdout is not None
        while not re.match(rb"compress [1-9]", parent.stdout.readline()):
            pass
        (worker,) = map(
            int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        )
        assert len(strays(tmp_path)) == 1
        parent.kill()
    assert not (tmp_path / "first.wim").exists()
    assert soon(lambda: not Path(f"/proc/{worker}").exists())
    assert len(strays(tmp_path)) == 1
    export_images(large, None, tmp_path / "second.wim", check=False)
    assert [path.name for path in tmp_path.iterdir()] == ["second.wim"]


def test_a_folder_in_use_is_not_swept(wim: Path, tmp_path: Path) -> None:
    def export_beside(event: Event) -> None:
        if event.phase == "copy" and not (tmp_path / "inner.wim").exists():
            assert len(strays(tmp_path)) == 1
            export_images(wim, [1], tmp_path / "inner.wim")

    export_images(wim, [2], tmp_path / "outer.wim", progress=export_beside)
    imagex("verify", tmp_path / "outer.wim")
    imagex("verify", tmp_path / "inner.wim")


def test_a_full_disk_is_told_with_numbers(made: Path, large: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        with pytest.raises(NotEnoughSpace, match=r"disk has \d+ bytes free, \d+ bytes are needed$"):
            export_images(large, None, disk / "new.wim")
        with pytest.raises(NotEnoughSpace, match=r"No space left on device"):
            export_images(large, None, disk / "new.wim", packing=Packing(Compression.LZX))
        with pytest.raises(NotEnoughSpace, match=r"bytes are needed$"):
            extract_image(large, 1, disk / "tree")
        assert list(disk.iterdir()) == []


def test_paths_need_not_be_utf8(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff\xfe folder")
    folder.mkdir()
    source = folder / os.fsdecode(b"caf\xe9.wim")
    shutil.copy(made, source)
    assert verify_wim(source).images == 3
    export_images(source, [1], folder / os.fsdecode(b"\xe9.wim"))
    assert extract_image(source, 1, folder / os.fsdecode(b"\xe8")).files == 6


def test_reports_are_data(wim: Path, tmp_path: Path) -> None:
    report = export_images(wim, [1], tmp_path / "new.wim")
    assert json.loads(json.dumps(report.images)) == [1]
    assert 0 < report.duration_s < 60
