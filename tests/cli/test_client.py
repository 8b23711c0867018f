"""The client of the API, against a service that answers what a test tells it to."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any, ClassVar

import pytest

from wimsmith.cli import client
from wimsmith.cli.client import Reported, Site, parse_events
from wimsmith.errors import Cancelled, NameInUse, SiteUnreachable, WimsmithError
from wimsmith.offline.progress import Event

Answer = tuple[int, dict[str, str], bytes]


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the script of the test and sends what that returns."""

    protocol_version = "HTTP/1.1"
    script: ClassVar[Callable[[str, str, dict[str, str], bytes], Answer]]

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        status, headers, body = type(self).script(
            self.command, self.path, dict(self.headers), self.rfile.read(length)
        )
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - names of the base class

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_arguments: object) -> None:
        """Keep the output of tests clean."""


Serve = Callable[[Callable[..., Answer]], Site]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    opened: list[tuple[ThreadingUnixStreamServer, Site]] = []

    def start(script: Callable[..., Answer]) -> Site:
        handler = type("Scripted", (Handler,), {"script": staticmethod(script)})
        path = tmp_path / "s.sock"
        server = ThreadingUnixStreamServer(str(path), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        site = Site(path)
        opened.append((server, site))
        return site

    yield start
    for server, site in opened:
        site.close()
        server.shutdown()
        server.server_close()


def document(value: object, status: int = 200, **headers: str) -> Answer:
    return status, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()


def stream(*events: str) -> Answer:
    return 200, {"Content-Type": "text/event-stream"}, "".join(events).encode()


def event(kind: str, sequence: int, data: dict[str, Any]) -> str:
    return f"id: {sequence}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"


def test_what_is_not_given_is_not_sent(serve: Serve) -> None:
    seen: list[tuple[str, bytes]] = []

    def script(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        seen.append((f"{method} {path}", body))
        return document({})

    site = serve(script)
    site.get("/images", q=None, sort="name")
    site.post("/images", {"path": "/a b.wim", "index": None})
    assert seen[0][0] == "GET /api/v1/images?sort=name"
    assert json.loads(seen[1][1]) == {"path": "/a b.wim"}


def test_a_list_is_read_page_after_page(serve: Serve) -> None:
    pages = {"": ([{"n": 1}, {"n": 2}], "2"), "2": ([{"n": 3}], None)}

    def script(_method: str, path: str, _headers: dict[str, str], _body: bytes) -> Answer:
        cursor = path.partition("cursor=")[2]
        items, after = pages[cursor]
        return document({"items": items, "next": after})

    assert [row["n"] for row in serve(script).everything("/images")] == [1, 2, 3]


def test_a_change_names_what_it_was_based_on(serve: Serve) -> None:
    seen = []

    def script(method: str, _path: str, headers: dict[str, str], _body: bytes) -> Answer:
        seen.append((method, headers.get("If-Match")))
        return document({"name": "x"}, ETag='"7"')

    site = serve(script)
    _row, revision = site.read("/images/WSM00001")
    site.patch("/images/WSM00001", {"name": "y"}, revision)
    assert seen == [("GET", None), ("PATCH", '"7"')]


def test_a_problem_becomes_the_error_it_names(serve: Serve) -> None:
    problem = {"title": "x", "detail": "The name is in use: a", "code": "name-in-use", "hint": "h"}
    site = serve(lambda *_: document(problem, 409))
    with pytest.raises(Reported, match=r"^The name is in use: a$") as caught:
        site.post("/images", {})
    assert caught.value.kind is NameInUse
    assert caught.value.hint == "h"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}"])
def test_an_answer_nobody_understands_is_told_with_its_number(serve: Serve, body: bytes) -> None:
    site = serve(lambda *_: (502, {}, body))
    with pytest.raises(WimsmithError, match="502 Bad Gateway"):
        site.get("/images")


def test_waiting_goes_on_where_a_broken_stream_ended(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client, "_RECONNECT_PAUSE_S", 0)
    asked = []
    ended = {"id": 3, "state": "succeeded", "result": {"version": 2}}

    def script(_method: str, path: str, headers: dict[str, str], _body: bytes) -> Answer:
        asked.append((path, headers.get("Last-Event-ID")))
        moving = {"phase": "Copying", "done": len(asked), "total": 2, "unit": "bytes"}
        if len(asked) == 1:
            return stream(event("progress", 4, moving))
        told = {"level": "warning", "text": "drive missing"}
        return stream(
            event("message", 5, told), event("progress", 6, moving), event("end", 7, ended)
        )

    progress: list[Event] = []
    assert serve(script).wait({"id": 3}, progress=progress.append) == ended
    assert asked == [("/api/v1/jobs/3/events", None), ("/api/v1/jobs/3/events", "4")]
    assert progress == [Event("Copying", 1, 2, "bytes"), Event("Copying", 2, 2, "bytes")]
    assert capsys.readouterr().err == "warning: drive missing\n"


@pytest.mark.parametrize(
    ("ended", "kind", "text"),
    [
        (
            {"state": "failed", "error_code": "name-in-use", "error_text": "taken"},
            NameInUse,
            "taken",
        ),
        ({"state": "cancelled", "error_code": None, "error_text": None}, Cancelled, "job 3"),
    ],
)
def test_a_job_that_failed_is_its_error(
    serve: Serve, ended: dict[str, Any], kind: type[WimsmithError], text: str
) -> None:
    site = serve(lambda *_: stream(event("end", 1, {"id": 3, **ended})))
    with pytest.raises(Reported, match=text) as caught:
        site.wait({"id": 3})
    assert caught.value.kind is kind


def test_nobody_listening_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SiteUnreachable, match=r"s\.sock"):
        Site(tmp_path / "s.sock")


def test_events_follow_the_standard() -> None:
    lines = [
        ": keep-alive",
        "",
        "id:1",
        "data: {",
        'data: "a": 1}',
        "",
        "event: end",
        "data:{}",
        "",
        "event: lost",
        "",
    ]
    assert list(parse_events(iter(lines))) == [("message", "1", {"a": 1}), ("end", "1", {})]


def test_paths_mean_the_callers_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert client.server_path("a.wim") == str(tmp_path / "a.wim")
    assert client.server_path(r"\\server\images\a.wim") == r"\\server\images\a.wim"
    assert client.part("Windows 11/Pro") == "Windows%2011%2FPro"
