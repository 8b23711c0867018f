"""The HTTP face: its contract, the shape of errors, health, and the events of a job."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

import wimsmith
from sitekit import Api, Practice
from wimsmith import errors
from wimsmith.api.app import build_api
from wimsmith.api.depends import _revision
from wimsmith.api.peers import LOCAL_ADMINISTRATOR, user_of
from wimsmith.errors import InvalidInput, WimsmithError

OPENAPI = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
TABLE = Path(__file__).parents[2] / "docs" / "internals" / "api.md"


def _contract() -> dict[str, Any]:
    return json.loads(json.dumps(build_api(None).openapi()))  # type: ignore[no-any-return]


def test_the_committed_contract_is_the_one_that_is_served() -> None:
    """To renew it: python -m api.renew, in the folder tests."""
    assert json.loads(OPENAPI.read_text(encoding="utf-8")) == _contract()


def test_every_route_is_in_the_table_of_the_documentation() -> None:
    table = TABLE.read_text(encoding="utf-8")

    missing = [path for path in _contract()["paths"] if path.removeprefix("/api/v1") not in table]

    assert missing == []


def test_every_operation_says_what_it_does() -> None:
    operations = [one for path in _contract()["paths"].values() for one in path.values()]

    assert all(one["description"] for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)


def test_health_needs_no_prefix(api: Api) -> None:
    answer = api.client.get("/healthz")

    assert answer.json() == {"status": "ok", "version": wimsmith.__version__}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_dead_database_is_not_healthy(api: Api) -> None:
    api.site.database.close()
    database = api.site.database.url.database
    assert database is not None
    Path(database).write_bytes(b"spoilt" * 4096)
    for suffix in ("-wal", "-shm"):
        Path(database + suffix).unlink(missing_ok=True)

    assert api.client.get("/healthz").status_code == 500


def test_the_site_tells_where_it_keeps_its_things(api: Api) -> None:
    site = api.get("/site")

    assert site["state_dir"] == os.fspath(api.site.config.state_dir)
    assert site["servicing_dir"].endswith("/ConfigMgr_OfflineImageServicing")
    assert site["settings"]["site_code"] == "WIM"
    assert site["time_zone"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/images/nobody", 404, "not-found"),
        ("GET", "/nothing", 404, "not-found"),
        ("PUT", "/images", 405, "method-not-allowed"),
        ("GET", "/images?limit=0", 422, "invalid-input"),
        ("GET", "/images?limit=501", 422, "invalid-input"),
        ("GET", "/images?cursor=!!", 422, "invalid-input"),
        ("GET", "/images?sort=colour", 422, "invalid-input"),
        ("POST", "/images", 422, "invalid-input"),
        ("GET", "/jobs/none", 404, "not-found"),
        ("GET", "/servicing/runs/1", 404, "not-found"),
        ("GET", "/servicing/schedules/16777217", 404, "not-found"),
    ],
)
def test_every_error_is_a_problem_document(
    api: Api, method: str, path: str, status: int, code: str
) -> None:
    problem = api.refused(method, path)

    assert (problem["status"], problem["code"]) == (status, code)
    assert set(problem) == {"type", "title", "status", "detail", "code", "hint", "job"}
    assert problem["type"] == f"urn:wimsmith:error:{code}"


def test_an_unexpected_error_is_a_problem_document_too(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from wimsmith.images import service  # noqa: PLC0415 - only here

    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(service, "search", fail)

    problem = api.refused("GET", "/images")

    assert (problem["status"], problem["code"]) == (500, "internal")
    assert "GET /api/v1/images failed" in caplog.text


def test_every_error_has_a_status_that_http_knows() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, WimsmithError)
    ]

    assert all(400 <= kind.status < 600 for kind in kinds)


def test_started_work_says_where_to_watch_it(api: Api, practice: Practice) -> None:
    answer = api.client.post("/api/v1/images", json={"path": os.fspath(practice.image())})

    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert job["actor"] == LOCAL_ADMINISTRATOR
    assert api.client.get(answer.headers["location"]).json()["id"] == job["id"]


def _stream(api: Api, job: str, **headers: str) -> list[dict[str, str]]:
    text = api.client.get(f"/api/v1/jobs/{job}/events", headers=headers).text
    blocks = [block for block in text.split("\n\n") if block]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_the_events_of_a_job_come_as_a_stream_that_ends(api: Api, practice: Practice) -> None:
    job = api.job("/images", {"path": os.fspath(practice.image())})

    events = _stream(api, job["id"])

    assert [int(event["id"]) for event in events[:-1]] == list(range(1, len(events)))
    states = [json.loads(one["data"])["text"] for one in events if one["event"] == "state"]
    assert states == ["queued", "running", "succeeded"]
    assert "progress" in {event["event"] for event in events}
    assert events[-1]["event"] == "end"
    assert json.loads(events[-1]["data"])["result"] == job["result"]


def test_a_reader_who_was_cut_off_goes_on_where_it_was(api: Api, practice: Practice) -> None:
    job = api.job("/images", {"path": os.fspath(practice.image())})
    everything = _stream(api, job["id"])

    rest = _stream(api, job["id"], **{"Last-Event-ID": "2"})

    assert rest == everything[2:]


def test_the_events_so_far_can_be_read_as_json(api: Api, practice: Practice) -> None:
    job = api.job("/images", {"path": os.fspath(practice.image())})

    answer = api.client.get(
        f"/api/v1/jobs/{job['id']}/events", headers={"Accept": "application/json"}
    )

    assert [event["seq"] for event in answer.json()["items"]][:2] == [1, 2]


def test_jobs_are_listed_newest_first_and_filtered(api: Api, practice: Practice) -> None:
    api.add(practice.image(), name="one")
    image = api.add(practice.image(), name="two")
    api.job(f"/images/{image}/reload")

    kinds = [job["kind"] for job in api.get("/jobs")["items"]]

    assert kinds == ["reload-image", "add-image", "add-image"]
    assert len(api.get("/jobs", kind="add-image")["items"]) == 2
    assert len(api.get("/jobs", subject=image)["items"]) == 1
    assert api.get("/jobs", state="failed")["items"] == []


def test_an_ended_job_is_not_cancelled(api: Api, practice: Practice) -> None:
    job = api.job("/images", {"path": os.fspath(practice.image())})

    assert api.refused("POST", f"/jobs/{job['id']}/cancel")["code"] == "invalid-state"


def test_a_job_that_waits_is_cancelled(api: Api, practice: Practice) -> None:
    api.engine.held = True
    job = api.post("/images", {"path": os.fspath(practice.image())})

    answer = api.post(f"/jobs/{job['id']}/cancel")

    assert (answer["state"], answer["cancel_requested"]) == ("cancelled", True)
    assert answer["error_text"] == f"Cancelled: by {LOCAL_ADMINISTRATOR}"


@pytest.mark.parametrize(
    ("etag", "number"), [('"7"', 7), ('W/"7"', 7), ("7", 7), ("*", None), (' "7" ', 7)]
)
def test_if_match_takes_the_forms_of_an_etag(etag: str, number: int | None) -> None:
    assert _revision(etag).number == number


def test_if_match_of_somebody_else_is_refused() -> None:
    with pytest.raises(InvalidInput):
        _revision('"abc"')


def test_the_peer_of_a_unix_socket_is_known_by_name() -> None:
    assert user_of(("uid:0", 1)) == "root"
    assert user_of(("uid:4000000000", 1)) == "uid:4000000000"
    assert user_of(None) == LOCAL_ADMINISTRATOR
