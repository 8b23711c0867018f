"""Removals, features and edits in a schedule: each with its own row per index."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sitekit import Api, Practice

UPDATE = "Package_for_KB4000001~31bf3856ad364e35~amd64~~10.0.1.2"
REG = (
    "Windows Registry Editor Version 5.00\r\n\r\n"
    '[HKEY_LOCAL_MACHINE\\SOFTWARE\\Practice\\Edited]\r\n"Greeting"="hello"\r\n'
)


@pytest.fixture
def ready(api: Api, practice: Practice) -> Api:
    api.allow_servicing(practice.fingerprint)
    return api


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "edits"
    folder.mkdir()
    (folder / "readme.txt").write_bytes(b"read me\r\n")
    (folder / "change.reg").write_bytes(b"\xff\xfe" + REG.encode("utf-16-le"))
    return folder


def do(api: Api, image: str, **wanted: Any) -> Any:
    return api.service(image, **wanted)


def rows(run: Any) -> list[tuple[int, str, str, str]]:
    return [(one["index"], one["kind"], one["subject"], one["word"]) for one in run["actions"]]


def states(api: Api, image: str, text: str, index: int = 1) -> dict[str, int]:
    found = api.get(f"/images/{image}/packages", q=text, index=index, limit=500)["items"]
    return {one["identity"]: one["state"] for one in found}


def file_of(api: Api, image: str) -> Path:
    return api.site.store.path(api.get(f"/images/{image}")["sha256"])


def extracted(path: Path, inside: str, folder: Path, index: int = 1) -> bytes:
    folder.mkdir(exist_ok=True)
    command = ["wimlib-imagex", "extract", str(path), str(index), inside, f"--dest-dir={folder}"]
    subprocess.run([*command, "--no-acls"], check=True, capture_output=True)
    return (folder / inside.rpartition("/")[2]).read_bytes()


def test_an_installed_update_is_removed_from_every_index(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image(2))
    before = states(ready, image, "KB4000001")

    run = do(ready, image, remove=["KB4000001"])

    assert (run["status"], run["result_version"]) == ("Successful", 2)
    assert rows(run) == [
        (1, "remove", "KB4000001", "Removed"),
        (2, "remove", "KB4000001", "Removed"),
    ]
    assert {one["outcome"] for one in run["actions"]} == {"applied"}
    assert UPDATE in before
    assert UPDATE not in states(ready, image, "KB4000001")
    assert UPDATE not in states(ready, image, "KB4000001", 2)
    events = ready.get(f"/images/{image}/lineage")["items"]
    assert events[-1]["text"] == "Serviced with remove KB4000001"


def test_what_is_not_there_is_not_removed_and_the_rest_is_done(
    ready: Api, practice: Practice
) -> None:
    image = ready.add(practice.image())
    update = ready.import_update(practice.update("small"))

    run = do(ready, image, updates=[update], remove=["KB4999999"], continue_on_error=True)

    (action,) = run["actions"]
    assert (action["word"] in {"Removed", "Installed"}, bool(action["code"])) == (False, True)
    assert [one["word"] for one in run["results"]] == ["Installed"]
    assert run["result_version"] == 2


def test_a_feature_is_switched_on(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image())

    run = do(ready, image, enable_features=["Practice-Games"])
    again = do(ready, image, enable_features=["Practice-Games"])

    assert rows(run) == [(1, "feature-on", "Practice-Games", "Enabled")]
    assert (run["status"], again["status"]) == ("Successful", "Nothing applied")
    assert [(one["outcome"], one["word"]) for one in again["actions"]] == [
        ("installed", "Already so")
    ]


def test_edits_are_done_in_order_and_an_outside_reader_finds_them(
    ready: Api, practice: Practice, sources: Path, tmp_path: Path
) -> None:
    image = ready.add(practice.image(2))
    edits = [
        {"edit": "mkdir", "path": "Windows/Made"},
        {"edit": "add", "source": "readme.txt", "path": "Windows/Made/"},
        {"edit": "import-reg", "source": "change.reg"},
    ]

    run = do(ready, image, edits=edits, edit_sources=os.fspath(sources))

    assert run["status"] == "Successful"
    assert [(one["index"], one["word"]) for one in run["actions"]] == [
        (index, "Done") for index in (1, 1, 1, 2, 2, 2)
    ]
    made = file_of(ready, image)
    for index in (1, 2):
        folder = tmp_path / f"out{index}"
        assert extracted(made, "/Windows/Made/readme.txt", folder, index) == b"read me\r\n"
        extracted(made, "/Windows/System32/config/SOFTWARE", folder, index)
        shell = subprocess.run(
            ["hivexsh", str(folder / "SOFTWARE")],
            input="cd \\Practice\\Edited\nlsval Greeting\nquit\n",
            check=True,
            capture_output=True,
            text=True,
        )
        assert shell.stdout.strip() == "hello"


def test_an_edit_that_changes_nothing_makes_no_new_version(
    ready: Api, practice: Practice, sources: Path
) -> None:
    image = ready.add(practice.image())
    edits = [{"edit": "mkdir", "path": "Windows", "parents": True}]

    run = do(ready, image, edits=edits, edit_sources=os.fspath(sources))

    assert [(one["word"], one["code"]) for one in run["actions"]] == [("Already so", "unchanged")]
    assert (run["status"], run["result_version"]) == ("Nothing applied", None)


def test_an_edit_that_fails_ends_the_run_and_nothing_is_committed(
    ready: Api, practice: Practice, sources: Path
) -> None:
    image = ready.add(practice.image())
    edits = [
        {"edit": "mkdir", "path": "Windows/Made"},
        {"edit": "rm", "path": "Windows/is not there"},
    ]

    run = do(ready, image, edits=edits, edit_sources=os.fspath(sources))

    assert (run["status"], run["error_code"]) == ("Failed", "update-failed")
    assert [one["word"] for one in run["actions"]] == ["Not attempted", "Failed"]
    assert run["actions"][0]["text"] == "Rolled back: nothing was committed"
    assert ready.get(f"/images/{image}")["current_version"] == 1


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({}, "invalid-input"),
        ({"enable_features": ["A"], "disable_features": ["a"]}, "invalid-input"),
        ({"edits": [{"edit": "mkdir", "path": "A"}]}, "invalid-input"),
        ({"edits": [{"edit": "juggle"}], "edit_sources": "/tmp"}, "invalid-input"),
        (
            {
                "edits": [{"edit": "add", "source": "../shadow", "path": "A"}],
                "edit_sources": "/tmp",
            },
            "unsafe-path",
        ),
        ({"remove": [""]}, "invalid-input"),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_scheduled(
    ready: Api, practice: Practice, wanted: dict[str, Any], code: str
) -> None:
    image = ready.add(practice.image())

    problem = ready.refused(
        "POST", "/servicing/schedules", {"image": image, "run_now": True, **wanted}
    )

    assert problem["code"] == code
    assert ready.get("/servicing/schedules")["items"] == []
