"""Files that are not kept as they are: what is made of them, and that they stay as they are."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sitekit import Api, Practice, sha256
from wimsmith.errors import Cancelled
from wimsmith.images import convert as converting
from wimsmith.offline.wim.verbs.export import Selection, export_images
from wimsmith.offline.wim.writing.making import Announcement


def wimlib(*arguments: object) -> str:
    """Make or read a file with an outside tool."""
    command = ["wimlib-imagex", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def solid(api: Api, practice: Practice, name: str = "install.esd", seed: str = "practice") -> Path:
    target = api.media / name
    target.unlink(missing_ok=True)
    wimlib("export", practice.image(2, seed), "all", target, "--solid", "--compress=lzx")
    return target


def pipable(api: Api, practice: Practice) -> Path:
    target = api.media / "piped.wim"
    wimlib("export", practice.image(2), "all", target, "--pipable", "--compress=lzx")
    return target


def files(path: Path, index: int) -> str:
    """Entries of an index with the hash of their content, as wimlib lists them."""
    kept = (
        "Full Path",
        "Short Name",
        "Attributes",
        "Security",
        "Creation",
        "Last",
        "SHA-1",
        "Link",
    )
    lines = wimlib("dir", path, index, "--detailed").splitlines()
    return "\n".join(line for line in lines if line.lstrip("\t ").startswith(kept))


@pytest.mark.parametrize("make", [solid, pipable])
def test_an_ordinary_file_is_made_of_what_windows_does_not_take(
    api: Api, practice: Practice, make: Any
) -> None:
    source = make(api, practice)
    before = sha256(source), source.stat().st_mtime_ns

    job = api.job("/images", {"path": os.fspath(source)})

    assert job["state"] == "succeeded", job["error_text"]
    image = api.get(f"/images/{job['result']['package_id']}")
    blob = api.site.store.path(image["sha256"])
    facts = wimlib("info", blob)
    assert re.search(r"Compression:\s+LZX", facts)
    assert re.search(r"Chunk Size:\s+32768 bytes", facts)
    assert "Pipable" not in facts
    wimlib("verify", blob)
    for index in (1, 2):
        assert files(blob, index) == files(source, index)
    assert image["index_count"] == 2
    assert (sha256(source), source.stat().st_mtime_ns) == before
    assert [path.name for path in api.media.iterdir()] == [source.name]


def test_what_is_kept_and_what_is_converted_is_said_before_it_starts(
    api: Api, practice: Practice, caplog: pytest.LogCaptureFixture
) -> None:
    source = solid(api, practice)
    assert api.post("/images/inspect", {"path": os.fspath(source)})["conversion"] == (
        "a solid file (ESD)"
    )

    with caplog.at_level("INFO", "wimsmith.images"):
        image = api.add(source)

    (line,) = [one for one in caplog.messages if "an ordinary LZX file is made" in one]
    assert line.startswith(f"{source} is a solid file (ESD): ")
    assert "0 contents (0 bytes) are copied" in line
    assert "(content in solid resources)" in line
    event = api.get(f"/images/{image}/lineage")["items"][0]
    assert event["text"] == f"Imported {source}, a solid file (ESD), converted"


def test_one_index_of_a_solid_file_becomes_an_ordinary_file_beside_it(
    api: Api, practice: Practice, caplog: pytest.LogCaptureFixture
) -> None:
    source = solid(api, practice)

    with caplog.at_level("INFO", "wimsmith.images"):
        job = api.job("/images", {"path": os.fspath(source), "index": 2})

    assert job["state"] == "succeeded", job["error_text"]
    extracted = api.media / "install-index2.wim"
    assert files(extracted, 1) == files(source, 2)
    assert any(
        one == f"wimsmith wim export {source} 2 {extracted} --compress lzx"
        for one in caplog.messages
    )
    image = api.get(f"/images/{job['result']['package_id']}")
    assert (image["source_path"], image["sha256"]) == (os.fspath(extracted), sha256(extracted))


def test_a_solid_file_is_read_again_only_if_it_changed(api: Api, practice: Practice) -> None:
    source = solid(api, practice)
    image = api.add(source)

    same = api.job(f"/images/{image}/reload")
    solid(api, practice, seed="other")
    other = api.job(f"/images/{image}/reload")
    again = api.job(f"/images/{image}/reload")

    assert [job["result"] for job in (same, other, again)] == [
        {"changed": False, "version": 1},
        {"changed": True, "version": 2},
        {"changed": False, "version": 2},
    ]
    digest = api.get(f"/images/{image}")["sha256"]
    assert files(api.site.store.path(digest), 1) == files(source, 1)


def test_a_solid_file_may_take_the_place_of_an_ordinary_one(api: Api, practice: Practice) -> None:
    source = api.copy(practice.image(2))
    image = api.add(source)
    solid(api, practice, source.name)

    job = api.job(f"/images/{image}/reload")

    assert job["result"] == {"changed": True, "version": 2}
    assert api.job(f"/images/{image}/reload")["result"]["changed"] is False


def test_a_damaged_solid_file_becomes_no_image(api: Api, practice: Practice) -> None:
    source = solid(api, practice)
    with source.open("r+b") as file:
        file.seek(source.stat().st_size // 3)
        file.write(b"\xff" * 4096)

    job = api.job("/images", {"path": os.fspath(source)})

    assert (job["state"], job["error_code"]) == ("failed", "damaged-wim")
    _nothing_is_left(api)


def test_a_cancelled_conversion_leaves_nothing(
    api: Api, practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wish is put in where the work is announced: the inline engine has no other moment."""

    def cancel(_said: Announcement, _conversion: str) -> str:
        raise Cancelled("by alice")

    source = solid(api, practice)
    monkeypatch.setattr(converting, "describe", cancel)

    job = api.job("/images", {"path": os.fspath(source)})

    assert job["state"] == "cancelled"
    _nothing_is_left(api)


def test_a_source_that_changes_while_it_is_converted_is_not_taken(
    api: Api, practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = solid(api, practice)
    describe = converting.describe

    def touch(said: Announcement, conversion: str) -> str:
        os.utime(source, ns=(1, 1))
        return describe(said, conversion)

    monkeypatch.setattr(converting, "describe", touch)

    job = api.job("/images", {"path": os.fspath(source)})

    assert (job["state"], job["error_code"]) == ("failed", "path-unreachable")
    assert "it changed while it was read" in job["error_text"]
    _nothing_is_left(api)


def test_a_delta_is_refused_with_what_makes_it_whole(api: Api, practice: Practice) -> None:
    source, delta = practice.image(2), api.media / "delta.wim"
    export_images(source, None, delta, selection=Selection(delta_from=source))

    job = api.job("/images", {"path": os.fspath(delta)})

    assert (job["state"], job["error_code"]) == ("failed", "not-supported")
    assert "has not all content of index 1" in job["error_text"]
    _nothing_is_left(api)


def _nothing_is_left(api: Api) -> None:
    assert api.get("/images")["items"] == []
    assert list(api.site.store.list()) == []
    drive = Path(api.get("/site")["servicing_dir"])
    assert not drive.exists() or list(drive.iterdir()) == []
