"""A site that runs as a process of its own, as users start it, and can be killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

POSTGRESQL = Path("/usr/lib/postgresql/15/bin")
START_TIMEOUT_S = 60.0
JOB_TIMEOUT_S = 90.0
_ENDED = {"succeeded", "failed", "cancelled"}


@dataclass
class LiveSite:
    """`wimsmith serve` on a state directory."""

    folder: Path
    database_url: str
    process: subprocess.Popen[bytes] | None = None
    client: httpx2.Client | None = None
    starts: int = 0
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "serve.log"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def trigger(self) -> Path:
        """The file in which a test names the place where the process is to die."""
        return self.folder / "kill-at"

    def start(self) -> None:
        environment = dict(os.environ) | {
            "WIMSMITH_STATE_DIR": str(self.state),
            "WIMSMITH_DATABASE_URL": self.database_url,
            "WIMSMITH_TEST_KILL": str(self.trigger),
            "WIMSMITH_JOB_POLL_S": "0.1",
            "WIMSMITH_SCHEDULER_INTERVAL_S": "0.5",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "wimsmith.cli", "serve"],
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.starts += 1
        transport = httpx2.HTTPTransport(uds=str(self.state / "run" / "wimsmith.sock"))
        self.client = httpx2.Client(transport=transport, base_url="http://site", timeout=30)
        self._wait_until_it_answers()

    def revive(self) -> None:
        """Run again after a test that left the site dead."""
        self.trigger.unlink(missing_ok=True)
        if self.process is not None and self.process.poll() is not None:
            self._forget()
        if self.process is None:
            self.start()

    def arm(self, kind: str, step: str, point: str) -> None:
        """Let the process die when it gets there."""
        self.trigger.write_text(f"{kind}/{step}/{point}", encoding="utf-8")

    def wait_for_death(self) -> None:
        assert self.process is not None
        assert self.process.wait(timeout=JOB_TIMEOUT_S) == -signal.SIGKILL, self.tail()
        self._forget()

    def died(self, within_s: float) -> bool:
        """Whether the process was killed within a time."""
        assert self.process is not None
        try:
            self.process.wait(timeout=within_s)
        except subprocess.TimeoutExpired:
            return False
        self.wait_for_death()
        return True

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the process and return how it ended."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=JOB_TIMEOUT_S)
        self._forget()
        return code

    def get(self, path: str, **query: Any) -> Any:
        assert self.client is not None
        answer = self.client.get(f"/api/v1{path}", params=query)
        assert answer.is_success, answer.text
        return answer.json()

    def send(self, method: str, path: str, body: Any = None) -> Any:
        assert self.client is not None
        answer = self.client.request(method, f"/api/v1{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def ended(self, job_id: str) -> Any:
        """The job once it has ended."""
        deadline = time.monotonic() + JOB_TIMEOUT_S
        while time.monotonic() < deadline:
            job = self.get(f"/jobs/{job_id}")
            if job["state"] in _ENDED:
                return job
            time.sleep(0.05)
        raise AssertionError(f"job {job_id} has not ended: {job}\n{self.tail()}")

    def done(self, method: str, path: str, body: Any = None) -> Any:
        """Start work and wait until it has succeeded."""
        job = self.ended(self.send(method, path, body)["id"])
        assert job["state"] == "succeeded", job
        return job

    def tail(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def _wait_until_it_answers(self) -> None:
        assert self.process is not None
        assert self.client is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.tail()
            if self._listens():
                assert self.client.get("/healthz").status_code == 200
                return
            time.sleep(0.05)
        raise AssertionError(f"the site does not answer\n{self.tail()}")

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(str(self.state / "run" / "wimsmith.sock")) == 0

    def _forget(self) -> None:
        if self.client is not None:
            self.client.close()
        self.process = self.client = None


@contextmanager
def short_folder(prefix: str) -> Iterator[Path]:
    """A folder with a path short enough for unix sockets, whoever runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def live_site(database_url: str = "") -> Iterator[LiveSite]:
    """A running site, whose process is gone afterwards."""
    with short_folder("wimsmith-live-") as folder:
        site = LiveSite(folder, database_url or f"sqlite:///{folder}/state/site.sqlite")
        site.start()
        try:
            yield site
        finally:
            if site.process is not None:
                site.stop(signal.SIGKILL)


@contextmanager
def postgresql() -> Iterator[str]:
    """URL of a private PostgreSQL server that listens on a unix socket only."""
    with short_folder("wimsmith-pg-") as folder:
        user = "postgres" if os.geteuid() == 0 else None
        if user:
            shutil.chown(folder, user)
        data, log = folder / "data", folder / "log"
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        control = [POSTGRESQL / "pg_ctl", "-D", data, "-l", log, "-w"]
        initialise = [POSTGRESQL / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N"]
        _quietly(initialise, user)
        _quietly([*control, "-o", options, "start"], user)
        try:
            yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
        finally:
            _quietly([*control, "-m", "immediate", "stop"], user)


def _quietly(command: list[Any], user: str | None) -> None:
    """Run a program of the server; `user` because PostgreSQL refuses to run as root."""
    subprocess.run(
        [os.fspath(part) for part in command],
        check=True,
        user=user,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
