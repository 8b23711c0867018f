"""One index into a new file: whole or not at all, reproducible from the log, source untouched."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sitekit import Api, Practice, sha256
from wimsmith.errors import PathUnreachable, WorkerFailed
from wimsmith.images import export as exporting
from wimsmith.images import requests

NOBODY = 65534


def _logged(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == logger]


def _wimlib(*arguments: object) -> str:
    """Ask an outside reader."""
    command = ["wimlib-imagex", *map(os.fspath, map(str, arguments))]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _content(path: Path, index: int) -> str:
    """Listing of an index as wimlib sees it, without what is about the file as a whole."""
    listing = _wimlib("dir", path, index, "--detailed")
    return re.sub(r"(Offset in WIM|Blob|Raw uncompressed size|Reference Count).*\n", "", listing)


def test_adding_one_index_makes_a_file_beside_the_source(api: Api, practice: Practice) -> None:
    source = api.copy(practice.image(3))
    before = sha256(source)

    job = api.job("/images", {"path": os.fspath(source), "index": 2})

    extracted = source.with_name("install-index2.wim")
    assert job["result"]["extracted_path"] == os.fspath(extracted)
    image = api.get(f"/images/{job['result']['package_id']}")
    assert image["source_path"] == os.fspath(extracted)
    assert (image["sha256"], image["index_count"]) == (sha256(extracted), 1)
    assert _content(extracted, 1) == _content(source, 2)
    assert sha256(source) == before
    assert sorted(path.name for path in source.parent.iterdir()) == [
        "install-index2.wim",
        "install.wim",
    ]


def test_the_lineage_says_which_index_it_was(api: Api, practice: Practice) -> None:
    source = api.copy(practice.image(3))
    image = api.add(source, index=3)

    version = api.get(f"/images/{image}/versions")["items"][0]
    event = api.get(f"/images/{image}/lineage")["items"][0]

    assert (version["origin"], version["parent_index"]) == ("index extract", 3)
    assert event["kind"] == "index extract"
    assert f"index 3 of {source}" in event["text"]
    assert event["actor"] == "local administrator"


def test_an_image_points_at_its_extracted_file(api: Api, practice: Practice) -> None:
    source = api.copy(practice.image(2))
    image = api.add(source)

    job = api.job(f"/images/{image}/extract", {"index": 2})

    assert job["state"] == "succeeded", job["error_text"]
    shown = api.get(f"/images/{image}")
    assert shown["source_path"] == job["result"]["path"]
    assert (shown["current_version"], shown["source_version"], shown["index_count"]) == (2, 2, 1)
    versions = api.get(f"/images/{image}/versions")["items"]
    assert [one["origin"] for one in versions] == ["index extract", "import"]
    assert (versions[0]["parent_image"], versions[0]["parent_version"]) == (image, 1)


def test_the_logged_command_runs_and_its_result_can_be_added(
    api: Api, practice: Practice, caplog: pytest.LogCaptureFixture
) -> None:
    source = api.copy(practice.image(3))
    with caplog.at_level("INFO"):
        api.add(source, index=2)
    extracted = source.with_name("install-index2.wim")
    first = extracted.rename(api.media / "first.wim")

    for logger in ("wimsmith.images", "wimsmith.offline"):
        lines = _logged(caplog, logger)
        command = next(line for line in lines if line.startswith("wimsmith wim export "))
        dism = lines[lines.index(command) + 1]
        assert dism == (
            f'dism /Export-Image /SourceImageFile:"{source}" /SourceIndex:2 '
            f'/DestinationImageFile:"{extracted}"'
        )
    arguments = shlex.split(command)[1:]
    environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = [sys.executable, "-m", "wimsmith.cli", *arguments]
    subprocess.run(run, check=True, env=environment, capture_output=True)

    assert _content(extracted, 1) == _content(first, 1)
    again = api.add(extracted, name="by hand")
    assert api.get(f"/images/{again}")["index_count"] == 1


def test_the_file_may_go_to_another_folder(api: Api, practice: Practice) -> None:
    source = api.copy(practice.image(2))
    other = api.media / "other"
    other.mkdir()
    image = api.add(source)

    body = {"index": 1, "folder": os.fspath(other), "file_name": "pro.wim"}
    job = api.job(f"/images/{image}/extract", body)

    assert job["result"]["path"] == os.fspath(other / "pro.wim")
    assert _content(other / "pro.wim", 1) == _content(source, 1)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"index": 9}, "no-such-index", "it has 1 (Windows 10 Pro), 2 ("),
        ({"index": 1, "folder": "/nowhere/at/all"}, "path-unreachable", "/nowhere/at/all"),
        ({"index": 1, "file_name": "../x.wim"}, "invalid-input", "plain file name"),
        ({"index": 1, "file_name": "x.txt"}, "invalid-input", ".wim file"),
    ],
)
def test_what_cannot_be_extracted_is_refused_before_the_job(
    api: Api, practice: Practice, body: dict[str, object], code: str, words: str
) -> None:
    image = api.add(api.copy(practice.image(2)))

    problem = api.refused("POST", f"/images/{image}/extract", body)

    assert problem["code"] == code
    assert words in problem["detail"]


def test_a_folder_that_cannot_be_written_is_refused_with_a_choice() -> None:
    """Asked as an ordinary user, for root may write everywhere."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    was_root = os.geteuid() == 0
    try:
        if was_root:
            os.seteuid(NOBODY)
        with pytest.raises(PathUnreachable, match="may not write there") as refused:
            requests.check_writable(folder)
    finally:
        if was_root:
            os.seteuid(0)
        folder.rmdir()

    assert refused.value.hint == "Choose another folder for the new file."


def test_an_existing_file_is_never_replaced(api: Api, practice: Practice) -> None:
    source = api.copy(practice.image(2))
    taken = source.with_name("install-index1.wim")
    taken.write_bytes(b"somebody's work")

    problem = api.refused("POST", "/images", {"path": os.fspath(source), "index": 1})

    assert problem["code"] == "already-exists"
    assert taken.read_bytes() == b"somebody's work"


def test_a_failed_extraction_keeps_the_text_of_the_tool_and_creates_nothing(
    api: Api,
    practice: Practice,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The failure is put in at the worker, which cannot be made to fail on a sound file."""

    def fail(*_arguments: object, **_options: object) -> None:
        raise WorkerFailed("Not enough storage is available to process this command")

    source = api.copy(practice.image(2))
    monkeypatch.setattr(exporting, "export_images", fail)

    with caplog.at_level("INFO"):
        job = api.job("/images", {"path": os.fspath(source), "index": 1})

    assert (job["state"], job["error_code"]) == ("failed", "worker-failed")
    assert "Not enough storage is available to process this command" in job["error_text"]
    for logger in ("wimsmith.images", "wimsmith.offline"):
        assert any("Not enough storage" in line for line in _logged(caplog, logger))
        assert any(line.startswith("wimsmith wim export") for line in _logged(caplog, logger))
    assert [path.name for path in source.parent.iterdir()] == ["install.wim"]
    assert api.get("/images")["items"] == []
