"""Servicing from the schedule to the new version, with the real engine on practice images."""

import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from sitekit import Api, Practice, sha256
from wimsmith.errors import Cancelled, VersionChanged, WimsmithError
from wimsmith.offline.backends import native
from wimsmith.offline.commit import CommitReport
from wimsmith.offline.progress import Event
from wimsmith.servicing import finishing, steps, workspace
from wimsmith.servicing.models import ScheduledUpdate
from wimsmith.site.drive import FOLDER
from wimsmith.site.models import StatusMessage
from wimsmith.storage.models import BlobLease


@pytest.fixture
def ready(api: Api, practice: Practice) -> Api:
    api.allow_servicing(practice.fingerprint)
    return api


def _left(api: Api) -> list[str]:
    drive = api.site.config.state_dir / FOLDER
    return [path.name for path in drive.iterdir()] if drive.exists() else []


def _leases(api: Api) -> int:
    with api.site.database.read() as session:
        return len(session.scalars(select(BlobLease)).all())


def _words(run: dict[str, list[dict[str, str]]]) -> list[str]:
    return [result["word"] for result in run["results"]]


def test_every_index_of_an_image_is_serviced(ready: Api, practice: Practice) -> None:
    source = ready.copy(practice.image(3))
    image = ready.add(source)
    update = ready.import_update(practice.update("rollup"))

    run = ready.service(image, update)

    assert (run["status"], run["base_version"], run["result_version"]) == ("Successful", 1, 2)
    assert [(one["index"], one["word"], one["status"]) for one in run["results"]] == [
        (1, "Installed", 2),
        (2, "Installed", 2),
        (3, "Installed", 2),
    ]
    indexes = ready.get(f"/images/{image}/indexes")["items"]
    before = ready.get(f"/images/{image}/indexes", version=1)["items"]
    assert [index["revision"] for index in indexes] == [501] * 3
    assert [index["revision"] for index in before] == [1] * 3
    assert sha256(source) == sha256(practice.image(3))
    assert (_left(ready), _leases(ready)) == ([], 0)


def test_the_new_version_is_accepted_by_an_outside_reader(
    ready: Api, practice: Practice, tmp_path: Path
) -> None:
    image = ready.add(practice.image(2))
    ready.service(image, ready.import_update(practice.update("rollup")))
    target = tmp_path / "out.wim"

    ready.job(f"/images/{image}/export", {"path": os.fspath(target)})

    assert sha256(target) == ready.get(f"/images/{image}")["sha256"]
    found = subprocess.run(
        ["wimlib-imagex", "verify", target], check=True, capture_output=True, text=True
    )
    assert "successfully verified" in found.stdout


def test_an_update_of_deltas_is_installed_like_any_other(
    ready: Api, practice: Practice, tmp_path: Path
) -> None:
    """Its files are rebuilt from the container index; of two branches the general one is used."""
    image = ready.add(practice.image(2))
    update = ready.import_update(practice.update("container-index"))
    likely = ready.get(f"/images/{image}/choices")["items"][0]["indexes"]
    assert {one["likely"] for one in likely} == {"applicable"}

    run = ready.service(image, update)

    assert (run["status"], _words(run)) == ("Successful", ["Installed"] * 2)
    blob = ready.site.store.path(ready.get(f"/images/{image}")["sha256"])
    path = "/Windows/System32/first/indexed.dll"
    options = [path, f"--dest-dir={tmp_path}", "--no-acls"]
    command = ["wimlib-imagex", "extract", os.fspath(blob), "2", *options]
    subprocess.run(command, check=True, capture_output=True)
    assert b"entry 200 as of GDR" in (tmp_path / "indexed.dll").read_bytes()
    again = ready.service(image, update)
    assert (again["status"], set(_words(again))) == ("Nothing applied", {"Already installed"})


def test_the_lineage_tells_of_both_servicings(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image())
    runs = [
        ready.service(image, ready.import_update(practice.update(name)))
        for name in ("rollup", "small")
    ]

    versions = ready.get(f"/images/{image}/versions")["items"]
    events = ready.get(f"/images/{image}/lineage")["items"]

    assert [(one["number"], one["origin"], one["run_id"]) for one in versions] == [
        (3, "serviced", runs[1]["id"]),
        (2, "serviced", runs[0]["id"]),
        (1, "import", None),
    ]
    assert [(one["parent_image"], one["parent_version"]) for one in versions[:2]] == [
        (image, 2),
        (image, 1),
    ]
    assert [event["kind"] for event in events] == ["import", "serviced", "serviced"]
    assert events[1]["text"] == "Serviced with KB5000001"
    assert [event["sha256"] for event in events] == [one["sha256"] for one in versions[::-1]]


def test_what_a_run_brought_is_told_from_what_was_there(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image())
    before = {one["identity"] for one in ready.get(f"/images/{image}/packages")["items"]}
    run = ready.service(image, ready.import_update(practice.update("small")))

    after = ready.get(f"/images/{image}/packages")["items"]

    new = {one["identity"] for one in after if one["source"] == "run"}
    assert new == {one["identity"] for one in after} - before
    assert "Package_for_KB5000006~31bf3856ad364e35~amd64~~1.0.0.0" in new
    assert {one["run_id"] for one in after if one["source"] == "run"} == {run["id"]}


@pytest.mark.parametrize(
    ("preset", "word", "status", "code"),
    [
        ("psfx", "Not supported", 4, "psfx"),
        ("driver", "Not supported", 4, "driver-element"),
        ("unsupported-service", "Not supported", 4, "advanced-new:memberships/Service"),
        ("wrong-arch", "Not applicable", 1, "arch"),
        ("wrong-build", "Not applicable", 1, "build"),
    ],
)
def test_an_update_that_cannot_be_applied_leaves_nothing_applied(
    ready: Api,
    practice: Practice,
    caplog: pytest.LogCaptureFixture,
    preset: str,
    word: str,
    status: int,
    code: str,
) -> None:
    image = ready.add(practice.image())
    update = ready.import_update(practice.update(preset))

    with caplog.at_level("INFO", "wimsmith.servicing"):
        run = ready.service(image, update)

    assert (run["status"], run["result_version"]) == ("Nothing applied", None)
    (result,) = run["results"]
    assert (result["word"], result["status"], result["code"]) == (word, status, code)
    schedule = ready.get(f"/servicing/schedules/{image}")
    assert (schedule["state"], schedule["status"]) == ("Succeeded", "Nothing applied")
    assert ready.get(f"/images/{image}")["current_version"] == 1
    refused = "Not applying this update binary, it is not supported"
    assert (refused in caplog.messages) == (word == "Not supported")


def test_of_two_updates_the_one_that_belongs_here_is_applied(
    ready: Api, practice: Practice
) -> None:
    image = ready.add(practice.image())
    here, elsewhere = (
        ready.import_update(practice.update(name)) for name in ("small", "wrong-arch")
    )

    run = ready.service(image, elsewhere, here)

    words = {one["update"]: one["word"] for one in run["results"]}
    assert words == {here: "Installed", elsewhere: "Not applicable"}
    assert (run["status"], run["result_version"]) == ("Successful", 2)


def test_what_is_only_staged_is_not_passed_off_as_installed(ready: Api, practice: Practice) -> None:
    source, update = practice.staged_pair()
    image = ready.add(source)

    run = ready.service(image, ready.import_update(update))

    (result,) = run["results"]
    assert (run["status"], result["word"]) == ("Successful", "Installed")
    assert "is staged only" in result["text"]
    packages = ready.get(f"/images/{image}/packages", q=result["identity"])["items"]
    assert [one["state"] for one in packages] == [0x40]


def test_a_missing_parent_is_named(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image())

    run = ready.service(image, ready.import_update(practice.update("missing-parent")))

    (result,) = run["results"]
    assert result["word"] == (
        "Prerequisite missing: Practice-Absent-Package~31bf3856ad364e35~amd64~~10.0.19041.1"
    )
    assert (run["status"], result["status"]) == ("Nothing applied", 1)


def test_an_update_that_is_there_already_is_not_applied_again(
    ready: Api, practice: Practice
) -> None:
    image = ready.add(practice.image())
    old, new = (ready.import_update(practice.update(name)) for name in ("rollup", "rollup-v2"))

    first = ready.service(image, old, new)
    second = ready.service(image, new)

    by_update = {result["update"]: result["word"] for result in first["results"]}
    assert by_update == {old: "Not required", new: "Installed"}
    assert (second["status"], _words(second)) == ("Nothing applied", ["Already installed"])


def test_a_failing_update_ends_the_run_and_nothing_is_committed(
    ready: Api, practice: Practice
) -> None:
    image = ready.add(practice.image(2))
    good = ready.import_update(practice.update("small"))
    bad = ready.import_update(practice.update("corrupt-payload"))

    run = ready.service(image, good, bad)

    assert (run["status"], run["error_code"]) == ("Failed", "update-failed")
    assert (run["failed_update"], run["result_version"]) == (bad, None)
    assert "Package_for_KB5000030" in run["error_text"]
    words = {(one["index"], one["update"]): one["word"] for one in run["results"]}
    assert words == {
        (1, good): "Not attempted",
        (1, bad): "Failed",
        (2, good): "Not attempted",
        (2, bad): "Not attempted",
    }
    schedule = ready.get(f"/servicing/schedules/{image}")
    assert (schedule["state"], schedule["status"]) == ("Failed", "Failed")
    shown = ready.get(f"/images/{image}")
    assert (shown["current_version"], shown["scheduled_status"]) == (1, "Failed")
    assert (_left(ready), _leases(ready)) == ([], 0)


def test_with_continue_on_error_the_rest_is_committed_and_the_failure_seen(
    ready: Api, practice: Practice
) -> None:
    image = ready.add(practice.image(2))
    good = ready.import_update(practice.update("small"))
    bad = ready.import_update(practice.update("corrupt-payload"))

    run = ready.service(image, good, bad, continue_on_error=True)

    assert (run["status"], run["result_version"]) == ("Successful with errors", 2)
    failed = [one for one in run["results"] if one["update"] == bad]
    assert {(one["word"], one["status"], one["code"]) for one in failed} == {
        ("Failed", 3, "untrusted:payload-hash")
    }
    assert {one["word"] for one in run["results"] if one["update"] == good} == {"Installed"}
    assert ready.get("/servicing/failed-updates")["items"] == [
        {
            "update": bad,
            "identity": "Package_for_KB5000030~31bf3856ad364e35~amd64~~1.0.0.0",
            "article": "KB5000030",
            "title": "Fix for KB5000030",
            "images": 1,
        }
    ]


def test_an_image_without_trusted_root_takes_no_practice_update(
    api: Api, practice: Practice
) -> None:
    api.setting("experimental_native_servicing", True)
    image = api.add(practice.image())

    run = api.service(image, api.import_update(practice.update("small")))

    assert run["status"] == "Failed"
    assert run["results"][0]["code"].startswith("untrusted:")


def test_native_servicing_is_off_until_it_is_switched_on(api: Api, practice: Practice) -> None:
    image = api.add(practice.image())
    update = api.import_update(practice.update("small"))
    body = {"image": image, "updates": [update], "run_now": True}

    problem = api.refused("POST", "/servicing/schedules", body)

    assert (problem["status"], problem["code"]) == (409, "native-servicing-off")
    assert "experimental" in problem["detail"]
    assert "wimsmith settings set experimental_native_servicing true" in problem["hint"]


def test_the_log_has_the_sentences_that_administrators_know(
    ready: Api, practice: Practice, caplog: pytest.LogCaptureFixture
) -> None:
    image = ready.add(practice.image())
    update = ready.import_update(practice.update("small"))

    with caplog.at_level("INFO", "wimsmith.servicing"):
        run = ready.service(image, update)

    schedule = run["schedule"]
    wanted = [
        f"Schedule with ID {schedule} (Schedule Name = ) is marked for RunNow by the administrator",
        f"Processing started for Schedule with ID {schedule}",
        "STATMSG: ID=7900 SEV=I",
        "Initialization of schedule processing succeeded",
        "UnMounting Image (Commit Changes = 1)...",
        f"Completed processing image package {image}. Status = Successful",
        f"Updated history for image package {image} in the database",
    ]
    places = [
        next(n for n, message in enumerate(caplog.messages) if message.startswith(words))
        for words in wanted
    ]
    assert places == sorted(places)
    assert 'COMP="SMS_OFFLINE_SERVICING_MANAGER"' in caplog.text
    assert schedule == 16777217


def test_a_failed_commit_sends_message_7913_and_publishes_nothing(
    ready: Api,
    practice: Practice,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The failure is put in at the engine, which has no reason of its own here."""

    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(5, "Input/output error", "/out.wim")

    monkeypatch.setattr(native.NativeSession, "commit", fail)
    image = ready.add(practice.image())

    with caplog.at_level("INFO", "wimsmith.servicing"):
        run = ready.service(image, ready.import_update(practice.update("small")))

    assert (run["status"], run["error_code"]) == ("Failed", "commit-failed")
    assert _words(run) == ["Not attempted"]
    assert any(line.startswith("Image UnMount failed with error") for line in caplog.messages)
    assert any(line.startswith("STATMSG: ID=7913 SEV=E") for line in caplog.messages)
    assert "Schedule processing failed" in caplog.messages
    with ready.site.database.read() as session:
        numbers = [row.number for row in session.scalars(select(StatusMessage))]
    assert numbers == [7900, 7913]
    assert (ready.get(f"/images/{image}")["current_version"], _left(ready)) == (1, [])


def test_a_new_image_that_is_not_what_was_committed_is_not_published(
    ready: Api, practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes are spoilt between commit and verification, as a bad disk would do it."""
    honest = native.NativeSession.commit

    def spoil(self: native.NativeSession, target: Path | None) -> CommitReport:
        report = honest(self, target)
        with report.path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        return report

    monkeypatch.setattr(native.NativeSession, "commit", spoil)
    image = ready.add(practice.image())

    run = ready.service(image, ready.import_update(practice.update("small")))

    assert (run["status"], run["error_code"]) == ("Failed", "verification-failed")
    assert ready.get(f"/images/{image}")["current_version"] == 1


def test_an_image_that_changed_meanwhile_is_not_overwritten(
    ready: Api, practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = ready.add(practice.image())
    honest = finishing.publish

    def publish(*arguments: object) -> int:
        from sqlalchemy import update  # noqa: PLC0415 - only here

        from wimsmith.images.models import Image  # noqa: PLC0415 - only here

        with ready.site.database.write() as session:
            session.execute(update(Image).values(current_version=0))
        return honest(*arguments)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(finishing, "publish", publish)

    run = ready.service(image, ready.import_update(practice.update("small")))

    assert (run["status"], run["error_code"]) == ("Failed", VersionChanged.code)
    assert _words(run) == ["Not attempted"]


@pytest.mark.parametrize(
    "step",
    ["stage", "gate", "apply", "act", "clean_components", "commit", "export", "verify", "store"],
)
def test_a_run_is_cancelled_in_every_step_before_publish(
    ready: Api, practice: Practice, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The wish comes while the step works; the step is left at its next progress."""
    from wimsmith.jobs import runner  # noqa: PLC0415 - only here

    monkeypatch.setattr(runner, "CHECK_INTERVAL_S", 0.0)
    image = ready.add(practice.image())
    update = ready.import_update(practice.update("small"))
    room = steps if hasattr(steps, step) else finishing
    honest = getattr(room, step)

    def cancelled(site: object, job: object, *arguments: object) -> object:
        answer = ready.client.post(f"/api/v1/servicing/schedules/{image}/cancel")
        assert answer.status_code == 202, answer.text
        return honest(site, job, *arguments)

    monkeypatch.setattr(room, step, cancelled)
    run = ready.service(image, update, remove=["KB4000001"], remove_superseded=True)

    assert (run["status"], run["error_code"]) == ("Cancelled", Cancelled.code)
    assert run["error_text"] == "Cancelled: by local administrator"
    assert ready.get(f"/images/{image}")["scheduled_status"] == "Cancelled"
    assert ready.get(f"/servicing/schedules/{image}")["state"] == "Failed"
    assert (ready.get(f"/images/{image}")["current_version"], _left(ready)) == (1, [])
    assert _leases(ready) == 0


def test_publishing_is_not_cancelled(
    ready: Api, practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = ready.add(practice.image())
    honest, refused = finishing.publish, []

    def publish(*arguments: object) -> int:
        refused.append(ready.refused("POST", f"/servicing/schedules/{image}/cancel"))
        return honest(*arguments)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(finishing, "publish", publish)
    run = ready.service(image, ready.import_update(practice.update("small")))

    assert refused[0]["code"] == "invalid-state"
    assert run["status"] == "Successful"


def test_only_a_run_in_process_is_cancelled(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image())
    ready.service(image, ready.import_update(practice.update("small")))

    problem = ready.refused("POST", f"/servicing/schedules/{image}/cancel")

    assert (problem["status"], problem["code"]) == (409, "invalid-state")
    assert "is Successful" in problem["detail"]


def test_a_schedule_waits_for_its_time(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image())
    update = ready.import_update(practice.update("small"))
    due = datetime.now(UTC) + timedelta(hours=1)
    body = {"image": image, "updates": [update], "run_at": due.isoformat(), "name": "tonight"}

    schedule = ready.post("/servicing/schedules", body)

    assert (schedule["state"], schedule["run"]) == ("Scheduled", None)
    assert ready.get(f"/images/{image}")["scheduled_status"] == "Scheduled"
    assert ready.start_due() == 0


def test_a_missed_time_is_made_up_for_once(
    ready: Api, practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wimsmith.servicing import service  # noqa: PLC0415 - only here

    image = ready.add(practice.image())
    update = ready.import_update(practice.update("small"))
    due = datetime.now(UTC) + timedelta(seconds=30)
    body = {"image": image, "updates": [update], "run_at": due.isoformat()}
    schedule = ready.post("/servicing/schedules", body)
    monkeypatch.setattr(service, "now", lambda: due + timedelta(days=3))

    assert ready.start_due() == 1
    assert ready.start_due() == 0

    shown = ready.get(f"/servicing/schedules/{schedule['id']}")
    assert (shown["state"], shown["status"]) == ("Succeeded", "Successful")


def test_a_schedule_that_has_not_started_is_cleared(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image())
    update = ready.import_update(practice.update("small"))
    due = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    ready.post("/servicing/schedules", {"image": image, "updates": [update], "run_at": due})

    answer = ready.client.delete(f"/api/v1/servicing/schedules/{image}")

    assert answer.status_code == 204
    assert ready.get("/servicing/schedules")["items"] == []
    shown = ready.get(f"/images/{image}")
    assert (shown["scheduled_at"], shown["scheduled_status"]) == (None, "")
    with ready.site.database.read() as session:
        assert session.scalars(select(ScheduledUpdate)).all() == []


def test_a_run_that_waits_for_its_turn_is_cleared_too(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image())
    update = ready.import_update(practice.update("small"))
    ready.engine.held = True
    body = {"image": image, "updates": [update], "run_now": True}
    job = ready.post("/servicing/schedules", body)["run"]["job"]

    assert ready.client.delete(f"/api/v1/servicing/schedules/{image}").status_code == 204
    ready.engine.run_pending()

    assert ready.get(f"/jobs/{job}")["state"] == "cancelled"
    assert ready.get(f"/images/{image}")["current_version"] == 1


def test_a_schedule_that_ran_is_kept(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image())
    ready.service(image, ready.import_update(practice.update("small")))

    problem = ready.refused("DELETE", f"/servicing/schedules/{image}")

    assert (problem["code"], "kept as a record" in problem["detail"]) == ("invalid-state", True)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"run_now": False}, "invalid-input", "exactly one"),
        ({"run_now": False, "run_at": "2020-01-01T00:00"}, "invalid-input", "is in the past"),
        ({"updates": []}, "invalid-input", "updates"),
        ({"updates": [99]}, "not-found", "update 99"),
        ({"image": "nobody"}, "not-found", "image nobody"),
        ({"remove_superseded": True}, "invalid-input", "this one has 2"),
        ({"update_distribution_points": True}, "not-offered", "update_distribution_points"),
        ({"recurrence": "second Tuesday"}, "not-offered", "recurring schedules"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(
    ready: Api, practice: Practice, change: dict[str, object], code: str, words: str
) -> None:
    image = ready.add(practice.image(2))
    update = ready.import_update(practice.update("small"))
    body = {"image": image, "updates": [update], "run_now": True} | change

    problem = ready.refused("POST", "/servicing/schedules", body)

    assert problem["code"] == code
    assert words in problem["detail"]
    assert ready.get("/servicing/schedules")["items"] == []


def test_updates_are_chosen_by_number_article_or_identity(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image())
    ready.import_update(practice.update("small"))
    identity = "package_for_kb5000006~31bf3856ad364e35~amd64~~1.0.0.0"
    body = {"image": image, "updates": ["KB5000006", "5000006", identity, 1], "run_now": True}

    schedule = ready.post("/servicing/schedules", body)

    assert [one["article"] for one in schedule["updates"]] == ["KB5000006"]


def test_choices_tell_what_each_update_would_likely_do(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image(2))
    for name in ("rollup", "wrong-arch", "missing-parent", "psfx"):
        ready.import_update(practice.update(name))
    ready.service(image, 1)

    found = ready.get(f"/images/{image}/choices")["items"]

    likely = {one["id"]: {index["word"] for index in one["indexes"]} for one in found}
    assert likely[1] == {"Already installed"}
    assert likely[2] == {"Not applicable"}
    assert {word.partition(":")[0] for word in likely[3]} == {"Prerequisite missing"}
    assert likely[4] == {"Not supported"}
    assert [len(one["indexes"]) for one in found] == [2, 2, 2, 2]


def test_update_status_shows_the_latest_word_on_each_index(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image(2))
    update = ready.import_update(practice.update("small"))
    ready.service(image, update)
    second = ready.service(image, update)

    rows = ready.get(f"/images/{image}/updates")["items"]

    assert [(one["index"], one["word"], one["run"]) for one in rows] == [
        (1, "Already installed", second["id"]),
        (2, "Already installed", second["id"]),
    ]
    assert len(ready.get(f"/images/{image}/updates", index=2)["items"]) == 1


class TestDrive:
    def test_a_missing_drive_behaves_as_automatic_with_a_warning(
        self, ready: Api, practice: Practice, caplog: pytest.LogCaptureFixture
    ) -> None:
        ready.setting("servicing_drive", "/mnt/not/there")
        image = ready.add(practice.image())

        run = ready.service(image, ready.import_update(practice.update("small")))

        assert run["status"] == "Successful"
        assert "/mnt/not/there does not exist" in caplog.text
        assert "/mnt/not/there does not exist" in ready.get("/site")["servicing_warning"]
        events = ready.client.get(
            f"/api/v1/jobs/{run['job']}/events", headers={"Accept": "application/json"}
        ).json()["items"]
        assert "warning" in {event["level"] for event in events}

    def test_another_drive_holds_the_work(
        self, ready: Api, practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drive = tmp_path / "drive"
        drive.mkdir()
        ready.setting("servicing_drive", os.fspath(drive))
        seen: list[Path] = []
        honest = workspace.Workspace.make

        def make(self: workspace.Workspace) -> None:
            seen.append(self.folder)
            honest(self)

        monkeypatch.setattr(workspace.Workspace, "make", make)
        image = ready.add(practice.image())

        run = ready.service(image, ready.import_update(practice.update("small")))

        assert run["status"] == "Successful"
        assert seen == [drive / FOLDER / str(run["id"])]
        assert list((drive / FOLDER).iterdir()) == []

    def test_too_little_room_is_refused_with_numbers_before_anything_is_written(
        self, ready: Api, practice: Practice, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(workspace, "free_bytes", lambda _folder: 1000)
        image = ready.add(practice.image())

        run = ready.service(image, ready.import_update(practice.update("small")))

        assert (run["status"], run["error_code"]) == ("Failed", "not-enough-space")
        assert re.search(r"\d{8,} bytes are needed, 1000 are free", run["error_text"])
        assert _left(ready) == []


def test_a_progress_that_is_cancelled_is_no_error_of_the_update(
    ready: Api, practice: Practice, tmp_path: Path
) -> None:
    """The engine must pass a wish to stop through, not report it as a verdict."""
    from wimsmith.servicing.options import apply_options  # noqa: PLC0415 - only here

    def stop(_event: Event) -> None:
        raise Cancelled("by a test")

    with ready.site.database.read() as session:
        options = apply_options(session, datetime.now(UTC))
    with (
        pytest.raises(WimsmithError) as raised,
        native.NativeBackend().open(
            practice.image(), tmp_path / "work", options, progress=stop
        ) as opened,
    ):
        opened.apply(1, practice.update("small"), tmp_path / "out")

    assert isinstance(raised.value, Cancelled)
