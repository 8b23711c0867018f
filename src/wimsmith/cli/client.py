"""The site's HTTP API, as the commands use it: over the unix socket, errors as our own.

The routes and shapes are those of docs/internals/api.md.
"""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from wimsmith import errors
from wimsmith.cli.output import note, options, progress_bar
from wimsmith.config import load_config
from wimsmith.errors import SiteUnreachable, WimsmithError
from wimsmith.offline.progress import Event, Progress

PREFIX = "/api/v1"
REQUEST_TIMEOUT_S = 120.0
SILENCE_TIMEOUT_S = 60.0
RECONNECT_FOR_S = 120.0
_RECONNECT_PAUSE_S = 1.0
_PAGE_SIZE = 200

Row = dict[str, Any]


class Reported(WimsmithError):
    """{}"""

    code = "reported"

    def __init__(self, text: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(text, hint=hint)
        self.kind = error_class(code)


class Site:
    """A connection to the service behind a unix socket."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path
        self.check()
        self._http = httpx2.Client(
            transport=httpx2.HTTPTransport(uds=str(socket_path)),
            base_url="http://wimsmith",
            timeout=httpx2.Timeout(REQUEST_TIMEOUT_S, connect=5.0),
            trust_env=False,
        )

    def close(self) -> None:
        self._http.close()

    def check(self) -> None:
        """See whether somebody listens.

        Raises:
            SiteUnreachable: nobody does.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self._socket_path))
            except OSError as error:
                raise self._unreachable(error) from error

    def get(self, path: str, **query: object) -> Any:
        """The document at `path`; query values that are None are left out."""
        return self._request("GET", path, query=query).json()

    def read(self, path: str) -> tuple[Any, str]:
        """The document at `path` and its ETag, for a later `patch`."""
        answer = self._request("GET", path)
        return answer.json(), answer.headers.get("ETag", "*")

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        """What came of a POST; body values that are None are left out."""
        return _document(self._request("POST", path, body=_given(body or {})))

    def put(self, path: str, body: Mapping[str, object]) -> Any:
        return _document(self._request("PUT", path, body=body))

    def patch(self, path: str, body: Mapping[str, object], revision: str) -> Any:
        """Change what was read at `revision`, its ETag."""
        headers = {"If-Match": revision}
        return _document(self._request("PATCH", path, body=body, headers=headers))

    def delete(self, path: str) -> None:
        self._request("DELETE", path)

    def everything(self, path: str, **query: object) -> Iterator[Row]:
        """All rows of a list, page after page."""
        cursor: str | None = None
        while True:
            page = self.get(path, **{"limit": _PAGE_SIZE, **query, "cursor": cursor})
            yield from page["items"]
            cursor = page.get("next")
            if not cursor:
                return

    def wait(self, job: Row, *, progress: Progress | None = None) -> Row:
        """Follow a job to its end, also when the service starts anew in between.

        Raises:
            Reported: the job failed or was cancelled, with the job's own code and text.
        """
        if progress is None:
            with progress_bar() as shown:
                return self.wait(job, progress=shown)
        try:
            ended = self._follow(job["id"], progress)
        except KeyboardInterrupt:
            note(f"note: job {job['id']} goes on; `wimsmith job watch {job['id']}` shows it")
            raise
        if ended["state"] != "succeeded":
            text = ended.get("error_text") or f"job {ended['id']} {ended['state']}"
            code = ended.get("error_code") or ended["state"]
            raise Reported(text, code=code, hint=ended.get("error_hint"))
        return ended

    def _follow(self, number: object, progress: Progress) -> Row:
        seen = ""
        deadline = time.monotonic() + RECONNECT_FOR_S
        while True:
            try:
                self.check()
                for kind, sequence, data in self._events(number, seen):
                    deadline = time.monotonic() + RECONNECT_FOR_S
                    if kind == "end":
                        return data
                    seen = sequence or seen
                    _tell(kind, data, progress)
            except (httpx2.TransportError, SiteUnreachable) as error:
                if time.monotonic() > deadline:
                    raise self._unreachable(error) from error
            time.sleep(_RECONNECT_PAUSE_S)

    def _events(self, number: object, after: str) -> Iterator[tuple[str, str, Row]]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        timeout = httpx2.Timeout(REQUEST_TIMEOUT_S, connect=5.0, read=SILENCE_TIMEOUT_S)
        path = f"{PREFIX}/jobs/{number}/events"
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
            if not answer.is_success:
                answer.read()
                raise _problem(answer)
            yield from parse_events(answer.iter_lines())

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        try:
            answer = self._http.request(
                method,
                f"{PREFIX}{path}",
                params={name: str(value) for name, value in _given(query or {}).items()},
                json=body,
                headers=headers,
            )
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if not answer.is_success:
            raise _problem(answer)
        return answer

    def _unreachable(self, error: Exception) -> SiteUnreachable:
        if isinstance(error, SiteUnreachable):
            return error
        return SiteUnreachable(f"{self._socket_path}: {str(error) or type(error).__name__}")


@contextmanager
def site() -> Iterator[Site]:
    """The site that `--state`, the environment or the configuration names."""
    environment = dict(os.environ)
    if options.state is not None:
        environment["WIMSMITH_STATE_DIR"] = str(options.state)
    one = Site(load_config(environment=environment).socket_path)
    try:
        yield one
    finally:
        one.close()


def part(text: object) -> str:
    """Text as one part of an API path: names may hold spaces and slashes."""
    return quote(str(text), safe="")


def server_path(path: str) -> str:
    r"""A path as the service understands it: absolute, or as given if it is a `\\server` one."""
    return path if path.startswith("\\\\") else str(Path(path).absolute())


def error_class(code: str) -> type[WimsmithError]:
    """The error class with this code; the base class for a code this version does not know."""
    kinds = (kind for kind in vars(errors).values() if isinstance(kind, type))
    known = [kind for kind in kinds if issubclass(kind, WimsmithError) and kind.code == code]
    return known[0] if known else WimsmithError


def parse_events(lines: Iterator[str]) -> Iterator[tuple[str, str, Row]]:
    """Server-sent events as (event, id, data); comments and events without data are dropped.

    The format is that of the WHATWG HTML standard, section "Server-sent events".
    """
    kind, sequence, data = "message", "", ""
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "id":
            sequence = value
        elif name == "data":
            data += value + "\n"
        elif not line:
            if data:
                yield kind, sequence, json.loads(data)
            kind, data = "message", ""


def _tell(kind: str, data: Row, progress: Progress) -> None:
    if kind == "progress":
        progress(
            Event(
                data.get("phase") or "",
                data.get("done") or 0,
                data.get("total") or 0,
                data.get("unit") or "items",
            )
        )
    elif kind == "message" and data.get("text"):
        level = data.get("level", "info")
        note(data["text"] if level == "info" else f"{level}: {data['text']}")


def _problem(answer: httpx2.Response) -> WimsmithError:
    try:
        problem = answer.json()
        text = problem.get("detail") or problem["title"]
        return Reported(text, code=problem.get("code", ""), hint=problem.get("hint"))
    except (ValueError, KeyError, AttributeError):
        return WimsmithError(f"the service answered {answer.status_code} {answer.reason_phrase}")


def _given(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _document(answer: httpx2.Response) -> Any:
    return answer.json() if answer.content else None
