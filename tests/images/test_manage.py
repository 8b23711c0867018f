"""Editing, reloading, exporting and removing images."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from sitekit import Api, Practice, sha256
from wimsmith.images.models import Origin


def _patch(api: Api, image: str, etag: str | None, **changes: Any) -> Any:
    headers = {"If-Match": etag} if etag else {}
    return api.client.patch(f"/api/v1/images/{image}", json=changes, headers=headers)


def _etag(api: Api, image: str) -> str:
    return str(api.client.get(f"/api/v1/images/{image}").headers["ETag"])


def test_properties_are_changed(api: Api, practice: Practice) -> None:
    image = api.add(practice.image(), name="Old")

    answer = _patch(api, image, _etag(api, image), name="New", comment="c", kind="captured")

    assert answer.status_code == 200
    assert answer.headers["ETag"] == '"2"'
    shown = api.get(f"/images/{image}")
    assert (shown["name"], shown["comment"], shown["kind"]) == ("New", "c", "captured")
    assert shown["package_id"] == image


def test_the_second_of_two_edits_is_refused(api: Api, practice: Practice) -> None:
    image = api.add(practice.image())
    etag = _etag(api, image)
    assert _patch(api, image, etag, comment="first").status_code == 200

    answer = _patch(api, image, etag, comment="second")

    assert (answer.status_code, answer.json()["code"]) == (412, "changed-meanwhile")
    assert api.get(f"/images/{image}")["comment"] == "first"
    assert _patch(api, image, "*", comment="second").status_code == 200


def test_an_edit_must_say_what_it_was_made_to(api: Api, practice: Practice) -> None:
    image = api.add(practice.image())

    answer = _patch(api, image, None, comment="x")

    assert (answer.status_code, answer.json()["code"]) == (428, "revision-required")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"name": "x" * 51}, "invalid-input"),
        ({"name": "taken"}, "name-in-use"),
        ({"comment": "two\nlines"}, "invalid-input"),
        ({"path": "/srv/image.iso"}, "invalid-input"),
        ({"path": "\\\\other\\share\\x.wim"}, "path-not-mapped"),
        ({"kind": "golden"}, "invalid-input"),
    ],
)
def test_edits_have_the_same_limits_as_adding(
    api: Api, practice: Practice, changes: dict[str, str], code: str
) -> None:
    api.add(practice.image(), name="Taken")
    image = api.add(practice.image(), name="Mine")

    assert _patch(api, image, "*", **changes).json()["code"] == code


def test_a_changed_source_is_seen_at_reload_and_not_before(api: Api, practice: Practice) -> None:
    source = api.copy(practice.image())
    image = api.add(source)
    shutil.copyfile(practice.image(2, seed="other"), source)
    assert api.get(f"/images/{image}")["index_count"] == 1

    job = api.job(f"/images/{image}/reload")

    assert job["result"] == {"changed": True, "version": 2}
    shown = api.get(f"/images/{image}")
    assert (shown["index_count"], shown["sha256"]) == (2, sha256(source))
    versions = api.get(f"/images/{image}/versions")["items"]
    assert [(one["number"], one["origin"], one["current"]) for one in versions] == [
        (2, "reload", True),
        (1, "import", False),
    ]


def test_an_unchanged_source_moves_the_date_only(api: Api, practice: Practice) -> None:
    image = api.add(api.copy(practice.image()))
    before = api.get(f"/images/{image}")

    job = api.job(f"/images/{image}/reload")

    after = api.get(f"/images/{image}")
    assert job["result"] == {"changed": False, "version": 1}
    assert after["refreshed_at"] > before["refreshed_at"]
    assert after | {"refreshed_at": ""} == before | {"refreshed_at": ""}


def test_reload_of_a_source_that_is_gone_is_refused(api: Api, practice: Practice) -> None:
    source = api.copy(practice.image())
    image = api.add(source)
    source.unlink()

    assert api.refused("POST", f"/images/{image}/reload")["code"] == "path-unreachable"


def test_any_version_is_exported_whole(api: Api, practice: Practice) -> None:
    source = api.copy(practice.image())
    image = api.add(source)
    shutil.copyfile(practice.image(seed="other"), source)
    api.job(f"/images/{image}/reload")

    target = api.media / "first.wim"
    job = api.job(f"/images/{image}/export", {"path": os.fspath(target), "version": 1})

    assert job["result"]["sha256"] == sha256(target) == sha256(practice.image())
    assert [path.name for path in api.media.iterdir() if path.name.startswith(".")] == []
    events = api.get(f"/images/{image}/lineage")["items"]
    assert [(one["kind"], one["version"]) for one in events] == [
        ("import", 1),
        ("reload", 2),
        ("export", 1),
    ]
    assert events[-1]["sha256"] == sha256(target)


def test_an_export_replaces_a_file_only_if_asked(api: Api, practice: Practice) -> None:
    image = api.add(practice.image())
    target = api.media / "there.wim"
    target.write_bytes(b"mine")
    body = {"path": os.fspath(target)}

    assert api.refused("POST", f"/images/{image}/export", body)["code"] == "already-exists"
    assert target.read_bytes() == b"mine"

    job = api.job(f"/images/{image}/export", body | {"overwrite": True})
    assert job["state"] == "succeeded"
    assert sha256(target) == sha256(practice.image())


def test_a_removed_image_leaves_nothing_in_the_library(api: Api, practice: Practice) -> None:
    source = practice.image()
    image = api.add(source)
    other = api.add(source, name="same content")

    assert api.client.delete(f"/api/v1/images/{image}").status_code == 204
    assert api.site.store.stat(sha256(source)).size_bytes == source.stat().st_size
    assert api.refused("GET", f"/images/{image}")["code"] == "not-found"

    assert api.client.delete(f"/api/v1/images/{other}").status_code == 204
    assert list(api.site.store.list()) == []
    assert source.exists()


def test_an_image_in_work_is_not_removed(api: Api, practice: Practice) -> None:
    source = api.copy(practice.image())
    image = api.add(source)
    api.engine.held = True
    job = api.post(f"/images/{image}/reload")

    problem = api.refused("DELETE", f"/images/{image}")

    assert (problem["status"], problem["code"]) == (409, "invalid-state")
    assert job["id"] in problem["detail"]


def test_images_are_searched_filtered_and_sorted(api: Api, practice: Practice) -> None:
    for name, comment, kind in [
        ("Beta", "office", "default"),
        ("alpha", "Office", "captured"),
        ("gamma", "lab 100%", "default"),
    ]:
        api.add(practice.image(), name=name, comment=comment, kind=kind)

    def names(**query: str) -> list[str]:
        return [one["name"] for one in api.get("/images", **query)["items"]]

    assert names(q="OFFICE", sort="package_id") == ["Beta", "alpha"]
    assert names(q="100%") == ["gamma"]
    assert names(q="1_0%") == []
    assert names(kind="default", sort="-package_id") == ["gamma", "Beta"]
    assert names(architecture="AMD64", sort="created_at") == ["Beta", "alpha", "gamma"]
    assert names(architecture="arm64") == []


def test_the_kinds_of_lineage_are_those_of_the_documentation() -> None:
    assert set(Origin) == {"import", "index extract", "reload", "serviced", "captured", "export"}


def test_a_version_that_never_was_is_not_found(api: Api, practice: Practice) -> None:
    image = api.add(practice.image())

    assert api.refused("GET", f"/images/{image}/indexes?version=9")["code"] == "not-found"
    body = {"path": os.fspath(Path(api.media) / "x.wim"), "version": 9}
    assert api.refused("POST", f"/images/{image}/export", body)["code"] == "not-found"
