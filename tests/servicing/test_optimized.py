"""Clean-up with reset base after the updates, then an export: or the run fails and nothing is."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sitekit import Api, Practice
from wimsmith.offline.changes import ChangeSet, Link
from wimsmith.offline.commit import commit
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.site.drive import FOLDER

NOW = 133_600_000_000_000_000
NEW = "Package_for_RollupFix~31bf3856ad364e35~amd64~~19041.601.1.0"


@pytest.fixture
def ready(api: Api, practice: Practice) -> Api:
    api.allow_servicing(practice.fingerprint)
    return api


@pytest.fixture
def serviced(ready: Api, practice: Practice) -> tuple[Api, str]:
    """An image that had the older of two cumulative updates before it came here."""
    image = ready.add(practice.image())
    assert ready.service(image, ready.import_update(practice.update("rollup")))["status"] == (
        "Successful"
    )
    return ready, image


def blob(api: Api, image: str) -> Path:
    """The file of the current version in the library."""
    return api.site.store.path(api.get(f"/images/{image}")["sha256"])


def optimize(api: Api, image: str, practice: Practice, **more: Any) -> Any:
    newer = api.import_update(practice.update("rollup-v2"))
    return api.service(image, newer, remove_superseded=True, **more)


def extracted(path: Path, *wanted: str) -> list[str]:
    """Which of some paths are in the first image, as wimlib lists them."""
    found = subprocess.run(
        ["wimlib-imagex", "dir", path, "1"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return [name for name in wanted if name in found]


def test_superseded_components_go_and_the_figures_are_those_of_the_files(
    serviced: tuple[Api, str], practice: Practice, caplog: pytest.LogCaptureFixture
) -> None:
    api, image = serviced
    before = blob(api, image)

    with caplog.at_level("INFO", "wimsmith.servicing"):
        run = optimize(api, image, practice)

    after, cleaned = blob(api, image), run["clean_up"]
    assert (run["status"], run["result_version"], run["backend"]) == ("Successful", 3, "native")
    assert cleaned["removed"][:4] == [
        "Package_1_for_KB4000001~31bf3856ad364e35~amd64~~10.0.1.1",
        "Package_1_for_KB5000001~31bf3856ad364e35~amd64~~19041.501.1.0",
        "Package_for_KB4000001~31bf3856ad364e35~amd64~~10.0.1.1",
        "Package_for_RollupFix~31bf3856ad364e35~amd64~~19041.501.1.0",
    ]
    (shell,) = [one for one in cleaned["removed"] if "-shell_" in one and "19041.501" in one]
    assert cleaned["logical_bytes"] > 0
    assert cleaned["before_bytes"] == before.stat().st_size
    assert cleaned["after_bytes"] == after.stat().st_size
    assert cleaned["freed_bytes"] == before.stat().st_size - after.stat().st_size
    payload = f"/Windows/WinSxS/{shell}/shell32.dll"
    assert (extracted(before, payload), extracted(after, payload)) == ([payload], [])
    subprocess.run(["wimlib-imagex", "verify", after], check=True, capture_output=True)
    text = "\n".join(caplog.messages)
    assert "Cleaning up the component store of index 1 (reset base)" in text
    assert f"{cleaned['after_bytes']} bytes exported, {cleaned['freed_bytes']} bytes freed" in text


def test_what_was_made_permanent_cannot_be_removed_any_more(
    serviced: tuple[Api, str], practice: Practice
) -> None:
    api, image = serviced
    optimize(api, image, practice)

    run = api.service(image, remove=[NEW])

    (action,) = run["actions"]
    assert (run["status"], action["code"]) == ("Nothing applied", "reset-base")
    assert (action["word"], action["outcome"]) == ("Not supported", "not-supported")
    assert api.get(f"/images/{image}")["current_version"] == 3


def test_the_gate_tells_every_rule_and_that_none_stops(
    serviced: tuple[Api, str],
) -> None:
    api, _ = serviced

    run = api.get("/servicing/runs")["items"][0]
    (gate,) = api.get(f"/servicing/runs/{run['id']}")["gate"]

    assert (gate["index"], gate["findings"]) == (1, [])
    assert {"keyform", "winners"} <= {one["name"] for one in gate["rules"]}


def hivexsh(hive: Path, *lines: str, writes: bool = False) -> list[str]:
    """What hivexsh answers to some commands."""
    command = ["hivexsh", *(["-w"] if writes else []), str(hive)]
    ended = subprocess.run(
        command,
        input="".join(f"{line}\n" for line in (*lines, "quit")),
        check=True,
        capture_output=True,
        text=True,
    )
    return ended.stdout.splitlines()


def with_hive(source: Path, folder: Path, name: str, change: Callable[[Path], None]) -> Path:
    """A copy of an image one of whose hives other tools have changed."""
    folder.mkdir()
    target = folder / "changed.wim"
    shutil.copyfile(source, target)
    inside = f"/Windows/System32/config/{name}"
    extract = ["wimlib-imagex", "extract", str(target), "1", inside, f"--dest-dir={folder}"]
    subprocess.run([*extract, "--no-acls"], check=True, capture_output=True)
    change(folder / name)
    command = [
        "wimlib-imagex",
        "update",
        str(target),
        "1",
        f"--command=add '{folder / name}' {inside}",
    ]
    subprocess.run([*command, "--no-acls"], check=True, capture_output=True)
    return target


def no_reset(hive: Path) -> None:
    """Forbid the reset of the base, as administrators do it."""
    key = r"cd \Microsoft\Windows\CurrentVersion\SideBySide\Configuration"
    hivexsh(hive, key, "setval 1", "DisableResetbase", "dword:1", "commit", writes=True)


def lost_deployment(hive: Path) -> None:
    """Take a deployment away that components name."""
    deployments = r"cd \CanonicalData\Deployments"
    victim = next(
        one for one in hivexsh(hive, deployments, "ls") if "kb5000001" in one.lower() or "_" in one
    )
    hivexsh(hive, rf"{deployments}\{victim}", "del", "commit", writes=True)


def test_a_base_that_the_image_does_not_let_reset_is_cleaned_up_without_and_warned_of(
    serviced: tuple[Api, str],
    practice: Practice,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    api, image = serviced
    other = api.add(
        with_hive(blob(api, image), tmp_path / "other", "SOFTWARE", no_reset), name="other"
    )

    with caplog.at_level("INFO", "wimsmith.servicing"):
        run = optimize(api, other, practice)

    cleaned = run["clean_up"]
    assert (run["status"], run["result_version"]) == ("Successful", 2)
    assert cleaned["reset_base"] is False
    (warning,) = cleaned["warnings"]
    assert "the base was not reset, because the image has switched that off" in warning
    assert "wimsmith wim edit FILE INDEX --set-value" in warning
    assert f"Index 1: {warning}" in caplog.messages
    removed = api.service(other, remove=[NEW])
    assert removed["status"] == "Successful", "what is installed can still be removed"


def in_use_elsewhere(source: Path, target: Path) -> Path:
    """A copy of an image in which a program has a second name for a file of the store."""
    with open_wim(source) as wim, WorkerCodec() as codec:
        store = wim.tree(1).find("Windows/WinSxS")
        assert store
        folder = next(
            name
            for name, entry in sorted((store.children or {}).items())
            if "-shell_" in name.lower() and "19041.501" in name
        )
        link = Link("Windows/program.dll", f"Windows/WinSxS/{folder}/shell32.dll")
        commit(wim, {1: [ChangeSet(tree=(link,))]}, target, codec=codec, modified=NOW)
    return target


def test_a_failed_clean_up_fails_the_run_and_nothing_is_committed(
    serviced: tuple[Api, str], practice: Practice, tmp_path: Path
) -> None:
    api, image = serviced
    other = api.add(in_use_elsewhere(blob(api, image), tmp_path / "other.wim"), name="other")

    run = optimize(api, other, practice, continue_on_error=True)

    assert (run["status"], run["error_code"]) == ("Failed", "clean-up-failed")
    assert "linked-payload" in run["error_text"]
    assert [(one["word"], one["text"]) for one in run["results"]] == [
        ("Not attempted", "Rolled back: nothing was committed")
    ]
    assert run["result_version"] is None
    assert api.get(f"/images/{other}")["current_version"] == 1
    assert api.get(f"/servicing/schedules/{other}")["state"] == "Failed"
    assert list((api.site.config.state_dir / FOLDER).iterdir()) == []


def test_a_store_with_a_gap_is_not_changed_at_all(
    serviced: tuple[Api, str], practice: Practice, tmp_path: Path
) -> None:
    api, image = serviced
    other = api.add(
        with_hive(blob(api, image), tmp_path / "other", "COMPONENTS", lost_deployment),
        name="other",
    )

    run = optimize(api, other, practice)

    (gate,) = run["gate"]
    assert "calibration:c!" in {one["code"] for one in gate["findings"]}
    assert (run["status"], run["result_version"]) == ("Nothing applied", None)
    assert {one["word"] for one in run["results"]} == {"Not supported"}
    assert api.get(f"/images/{other}")["current_version"] == 1


def test_several_indexes_are_not_cleaned_up(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image(2))
    update = ready.import_update(practice.update("rollup"))
    body = {"image": image, "updates": [update], "run_now": True, "remove_superseded": True}

    problem = ready.refused("POST", "/servicing/schedules", body)

    assert (problem["code"], "this one has 2" in problem["detail"]) == ("invalid-input", True)
