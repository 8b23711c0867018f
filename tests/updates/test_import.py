"""Importing updates: facts from the package, content into the library, refusals as records."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from sitekit import Api, Practice, sha256
from wimsmith.errors import Interrupted
from wimsmith.offline.packages.containers.kinds import Obstacle
from wimsmith.offline.packages.planning import planned_facts
from wimsmith.offline.progress import Event
from wimsmith.practice.cabinet import build_cabinet
from wimsmith.updates.models import Update, UpdateState


def _import(api: Api, path: Path) -> Any:
    job = api.job("/updates/import", {"path": os.fspath(path)})
    assert job["state"] == "succeeded", job["error_text"]
    return job["result"]


def _folder(api: Api, practice: Practice, *presets: str) -> Path:
    folder = api.media / "updates"
    folder.mkdir()
    for preset in presets:
        shutil.copyfile(practice.update(preset), folder / f"{preset}.cab")
    return folder


def test_an_update_comes_with_the_facts_of_its_package(api: Api, practice: Practice) -> None:
    source = practice.update("rollup")

    (number,) = _import(api, source)["imported"]

    update = api.get(f"/updates/{number}")
    assert update["identity"] == "Package_for_RollupFix~31bf3856ad364e35~amd64~~19041.501.1.0"
    assert (update["article"], update["release_type"]) == ("KB5000001", "Security Update")
    assert (update["architecture"], update["state"]) == ("amd64", "ready")
    assert (update["sha256"], update["size_bytes"]) == (sha256(source), source.stat().st_size)
    assert api.site.store.path(update["sha256"]).read_bytes() == source.read_bytes()


def test_a_folder_is_imported_file_by_file(api: Api, practice: Practice) -> None:
    folder = _folder(api, practice, "rollup", "small", "psfx")
    (folder / "readme.txt").write_text("no update", encoding="utf-8")

    result = _import(api, folder)

    assert len(result["imported"]) == 2
    assert [(one["file"], one["code"]) for one in result["refused"]] == [("psfx.cab", "psfx")]
    assert len(api.get("/updates")["items"]) == 3


@pytest.mark.parametrize(
    ("preset", "code"),
    [
        ("psfx", "psfx"),
        ("driver", "driver-element"),
        ("not-offline-capable", "not-offline-capable"),
        ("language-pack", "language-pack"),
        ("service-pack", "service-pack"),
        ("hotpatch", "hotpatch"),
        ("truncated", "damaged:damaged-package"),
    ],
)
def test_what_the_file_alone_rules_out_is_recorded_with_its_reason(
    api: Api, practice: Practice, caplog: pytest.LogCaptureFixture, preset: str, code: str
) -> None:
    (refused,) = _import(api, practice.update(preset))["refused"]

    (line,) = [one for one in caplog.messages if one.startswith("Refused ")]
    assert line.endswith(f"({code})")
    update = api.get(f"/updates/{refused['id']}")
    assert (update["state"], update["reason_code"]) == ("refused", code)
    assert update["reason_text"]
    assert list(api.site.store.list()) == []


def test_a_file_that_is_no_package_is_recorded_too(api: Api) -> None:
    path = api.media / "setup.cab"
    path.write_bytes(b"MZ" + b"\x00" * 4096)

    (refused,) = _import(api, path)["refused"]

    assert refused["code"]
    assert api.get(f"/updates/{refused['id']}")["identity"] == ""


def test_an_update_of_deltas_in_two_branches_is_ready(api: Api, practice: Practice) -> None:
    (number,) = _import(api, practice.update("container-index"))["imported"]

    update = api.get(f"/updates/{number}")
    assert (update["state"], update["article"]) == ("ready", "KB5000040")
    assert sorted(update["branches"]) == ["gdr", "ldr"]
    assert (update["findings"], update["parts"], update["needed"]) == ([], [], "")


def test_where_an_update_leads_to_is_shown_also_if_it_is_refused(
    api: Api, practice: Practice
) -> None:
    (ready,) = _import(api, practice.update("rollup"))["imported"]
    (refused,) = _import(api, practice.update("wim-update"))["refused"]

    assert api.get(f"/updates/{ready}")["leads_to"] == "19041.501"
    update = api.get(f"/updates/{refused['id']}")
    assert (update["state"], update["reason_code"]) == ("refused", "container-wim")
    assert (update["needs_build"], update["leads_to"]) == ("10.0.19041.1", "19041.701")
    assert update["identity"].startswith("Package_for_RollupFix~")
    assert update["servicing_stacks"] == ["SSU-26100.1000-x64.cab"]
    assert "opens WIM containers" in update["needed"]


def several(api: Api, practice: Practice, *names: str) -> Path:
    """A `.msu` with the cabinets of these updates, in this order."""
    members = {f"{name}.cab": practice.update(name).read_bytes() for name in names}
    order = "".join(f"{name}.cab\r\n" for name in names).encode()
    path = api.media / "set.msu"
    path.write_bytes(build_cabinet({"WSUSSCAN.cab": b"", "PkgInstallOrder.txt": order, **members}))
    return path


def test_of_several_packages_in_one_file_each_is_shown(api: Api, practice: Practice) -> None:
    """What is in the way of one of them is in the way only where that one applies."""
    (ready,) = _import(api, several(api, practice, "small", "driver"))["imported"]

    update = api.get(f"/updates/{ready}")
    assert (update["state"], update["reason_code"], update["identity"]) == ("ready", "", "")
    first, second = update["parts"]
    assert (first["name"], first["findings"]) == ("small.cab", [])
    assert first["identity"].startswith("Package_for_KB5000006~")
    assert [one["code"] for one in second["findings"]] == ["driver-element"]
    (condition,) = update["conditions"]
    assert condition["code"] == "driver-element"
    assert condition["text"].startswith("driver.cab: ")
    assert len(list(api.site.store.list())) == 1


def test_a_file_all_of_whose_packages_are_refused_is_refused(api: Api, practice: Practice) -> None:
    (refused,) = _import(api, several(api, practice, "psfx", "driver"))["refused"]

    update = api.get(f"/updates/{refused['id']}")
    assert (update["state"], update["reason_code"]) == ("refused", "psfx")
    assert update["reason_text"].startswith("psfx.cab: ")
    assert list(api.site.store.list()) == []


def test_a_stop_of_the_service_is_no_property_of_a_package(
    api: Api, practice: Practice, tmp_path: Path
) -> None:
    """What is interrupted goes on later; it must not be noted as a part that cannot be read."""

    def stop(event: Event) -> None:
        raise Interrupted("the service stops")

    path = practice.update("wim-update")
    obstacle = Obstacle("container-wim", "a WIM container")
    with pytest.raises(Interrupted):
        planned_facts(path, tmp_path / "work", obstacle, progress=stop)


def test_the_same_file_is_kept_once(api: Api, practice: Practice) -> None:
    first = _import(api, practice.update("small"))
    second = _import(api, practice.update("small"))

    assert second == {"imported": [], "known": first["imported"], "refused": []}
    assert len(api.get("/updates")["items"]) == 1


def test_nothing_is_left_of_the_work(api: Api, practice: Practice) -> None:
    _import(api, _folder(api, practice, "small", "psfx"))

    drive = Path(api.get("/site")["servicing_dir"])
    assert list(drive.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/nowhere/at/all", "path-unreachable"),
        ("relative/folder", "invalid-input"),
        ("\\\\files\\updates", "path-not-mapped"),
    ],
)
def test_a_path_that_is_not_there_is_refused_before_the_job(api: Api, path: str, code: str) -> None:
    assert api.refused("POST", "/updates/import", {"path": path})["code"] == code
    assert api.get("/jobs")["items"] == []


def test_a_folder_without_updates_fails_the_job(api: Api) -> None:
    job = api.job("/updates/import", {"path": os.fspath(api.media)})

    assert (job["state"], job["error_code"]) == ("failed", "path-unreachable")
    assert "no .cab or .msu file" in job["error_text"]


def test_an_article_of_several_updates_is_refused_with_the_choice(
    api: Api, practice: Practice
) -> None:
    (number,) = _import(api, practice.update("small"))["imported"]
    with api.site.database.write() as session:
        known = session.get_one(Update, number)
        twin = Update(
            file_digest="0" * 64,
            identity="Package_for_KB5000006~31bf3856ad364e35~x86~~1.0.0.0",
            article=known.article,
            state=UpdateState.REFUSED,
            file_name="twin.cab",
            size_bytes=1,
            source_path="/twin.cab",
            actor="alice",
        )
        session.add(twin)

    problem = api.refused("GET", "/updates/KB5000006")

    assert problem["code"] == "invalid-input"
    assert "names 2 updates" in problem["detail"]
    assert f"{number} Package_for_KB5000006" in problem["hint"]


def test_updates_are_searched_and_filtered(api: Api, practice: Practice) -> None:
    _import(api, _folder(api, practice, "rollup", "small", "wrong-arch", "psfx"))

    def articles(**query: str) -> set[str]:
        return {one["article"] for one in api.get("/updates", **query)["items"]}

    assert articles(q="rollup") == {"KB5000001"}
    assert articles(architecture="arm64") == {"KB5000016"}
    assert articles(architecture="x64") == {"KB5000001", "KB5000006", "KB5000018"}
    assert len(api.get("/updates", architecture="All")["items"]) == 4
    assert len(api.get("/updates", state="refused")["items"]) == 1
    assert len(api.get("/updates", q="psfx")["items"]) == 1
