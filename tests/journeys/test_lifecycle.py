"""The service as a process: its socket, its lock, its end, and what goes on after it."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from journeys.live import LiveSite, live_site
from sitekit import Practice
from wimsmith.app import serve
from wimsmith.config import Config, load_config
from wimsmith.errors import InvalidInput, TcpNeedsAuthentication
from wimsmith.jobs.engine_dbos import MAX_RECOVERY_ATTEMPTS


@pytest.fixture(scope="module")
def site() -> Iterator[LiveSite]:
    with live_site() as found:
        yield found


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_group_of_its_folder_reaches_the_socket(site: LiveSite) -> None:
    assert stat.S_ISSOCK((site.state / "run" / "wimsmith.sock").stat().st_mode)
    assert _mode(site.state / "run") == 0o750
    assert _mode(site.state / "run" / "wimsmith.sock") == 0o660
    assert _mode(site.state) == 0o750


def test_it_listens_on_nothing_else(site: LiveSite) -> None:
    assert site.process is not None
    own = {
        os.readlink(f"/proc/{site.process.pid}/fd/{number}")  # noqa: PTH115 - text, not a Path
        for number in range(256)
        if Path(f"/proc/{site.process.pid}/fd/{number}").is_symlink()
    }
    sockets = {text.removeprefix("socket:[").rstrip("]") for text in own if "socket:" in text}
    listening = [
        line.split()
        for name in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]
    ]

    assert [fields for fields in listening if fields[9] in sockets] == []


def test_whoever_asks_is_known_by_name(site: LiveSite, practice: Practice) -> None:
    job = site.done("POST", "/images", {"path": str(practice.image()), "name": "known"})

    import pwd  # noqa: PLC0415 - only here

    assert job["actor"] == pwd.getpwuid(os.geteuid()).pw_name


def test_a_second_process_is_refused_by_name(site: LiveSite) -> None:
    environment = dict(os.environ) | {
        "WIMSMITH_STATE_DIR": str(site.state),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    second = subprocess.run(
        [sys.executable, "-m", "wimsmith.cli", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert second.returncode == 63
    assert site.process is not None
    assert f"process {site.process.pid}" in second.stderr
    assert site.get("/site")["state_dir"] == str(site.state)


def test_a_network_port_is_refused_until_users_can_be_told_apart(tmp_path: Path) -> None:
    config = Config(tmp_path, tmp_path / "logs", "sqlite://", listen="0.0.0.0:8443")

    with pytest.raises(TcpNeedsAuthentication, match=r"0\.0\.0\.0:8443"):
        serve(config)

    assert list(tmp_path.iterdir()) == []


def test_a_path_too_long_for_a_socket_is_refused_with_what_to_do(tmp_path: Path) -> None:
    state = tmp_path / ("x" * 120)
    config = Config(state, state / "logs", f"sqlite:///{state / 'site.sqlite'}")

    with pytest.raises(InvalidInput) as refused:
        serve(config)

    assert "shorter state directory" in (refused.value.hint or "")


def _schedule(site: LiveSite, practice: Practice, name: str) -> Any:
    source = site.folder / f"{name}.wim"
    shutil.copyfile(practice.image(3), source)
    site.done("POST", "/images", {"path": str(source), "name": name})
    found = site.done("POST", "/updates/import", {"path": str(practice.update("rollup"))})
    update = (found["result"]["imported"] + found["result"]["known"])[0]
    site.send("PUT", "/settings/trusted_test_roots", {"value": [practice.fingerprint]})
    site.send("PUT", "/settings/experimental_native_servicing", {"value": True})
    body = {"image": name, "updates": [update], "run_now": True}
    return site.send("POST", "/servicing/schedules", body)["run"]


def _wait_for_step(site: LiveSite, job: str, step: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if site.get(f"/jobs/{job}")["step"].startswith(step):
            return
        time.sleep(0.01)
    raise AssertionError(step)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_goes_on_after_an_orderly_stop(
    site: LiveSite, practice: Practice, number: signal.Signals
) -> None:
    run = _schedule(site, practice, f"stopped-{number.name}")
    _wait_for_step(site, run["job"], "apply")

    begun = time.monotonic()
    code = site.stop(number)
    assert (code, time.monotonic() - begun < 25) == (0, True)

    site.start()
    job = site.ended(run["job"])
    assert job["state"] == "succeeded", job
    assert site.get(f"/servicing/runs/{run['id']}")["status"] == "Successful"


def test_a_stop_does_not_wait_for_those_who_watch(site: LiveSite, practice: Practice) -> None:
    run = _schedule(site, practice, "watched")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as watcher:
        watcher.connect(str(site.state / "run" / "wimsmith.sock"))
        watcher.sendall(
            f"GET /api/v1/jobs/{run['job']}/events HTTP/1.1\r\nHost: site\r\n\r\n".encode()
        )
        assert b"event: state" in watcher.recv(65536) + watcher.recv(65536)
        begun = time.monotonic()

        assert site.stop() == 0

    assert time.monotonic() - begun < 25
    site.start()
    assert site.ended(run["job"])["state"] == "succeeded"


def test_a_run_is_cancelled_and_leaves_the_old_image(site: LiveSite, practice: Practice) -> None:
    run = _schedule(site, practice, "cancelled")
    _wait_for_step(site, run["job"], "apply")

    site.send("POST", f"/servicing/schedules/{run['schedule']}/cancel")
    job = site.ended(run["job"])

    found = site.get(f"/servicing/runs/{run['id']}")
    assert (job["state"], found["status"]) == ("cancelled", "Cancelled")
    assert site.get("/images/cancelled")["current_version"] == 1
    assert list((site.state / "ConfigMgr_OfflineImageServicing").iterdir()) == []


def test_two_runs_of_one_image_follow_one_another(site: LiveSite, practice: Practice) -> None:
    first = _schedule(site, practice, "twice")
    found = site.done("POST", "/updates/import", {"path": str(practice.update("small"))})
    update = (found["result"]["imported"] + found["result"]["known"])[0]
    body = {"image": "twice", "updates": [update], "run_now": True}
    second = site.send("POST", "/servicing/schedules", body)["run"]

    jobs = [site.ended(run["job"]) for run in (first, second)]

    assert [job["state"] for job in jobs] == ["succeeded", "succeeded"]
    assert jobs[0]["ended_at"] <= jobs[1]["started_at"]
    runs = [site.get(f"/servicing/runs/{run['id']}") for run in (first, second)]
    assert [(run["base_version"], run["result_version"]) for run in runs] == [(1, 2), (2, 3)]


@pytest.mark.slow
def test_a_job_that_kills_the_service_every_time_is_given_up(practice: Practice) -> None:
    with live_site() as site:
        site.arm("service-image", "verify", "during")
        run = _schedule(site, practice, "poison")
        deaths = 0
        while site.died(within_s=15):
            deaths += 1
            site.arm("service-image", "verify", "during")
            site.start()

        job = site.ended(run["job"])
        assert (job["state"], job["error_code"]) == ("failed", "gave-up")
        assert deaths == 1 + MAX_RECOVERY_ATTEMPTS
        assert site.get(f"/servicing/runs/{run['id']}")["status"] == "Failed"
        assert site.get("/images/poison")["current_version"] == 1
        assert list((site.state / "ConfigMgr_OfflineImageServicing").iterdir()) == []


def test_settings_of_the_process_come_from_file_and_environment(tmp_path: Path) -> None:
    file = tmp_path / "wimsmith.toml"
    file.write_text('state_dir = "/srv/wimsmith"\nworkers = 4\n', encoding="utf-8")

    config = load_config(file, {"WIMSMITH_WORKERS": "8", "WIMSMITH_LOGS_DIR": "/var/log/wimsmith"})

    assert config.socket_path == Path("/srv/wimsmith/run/wimsmith.sock")
    assert (config.workers, config.logs_dir) == (8, Path("/var/log/wimsmith"))
    assert config.database_url == "sqlite:////srv/wimsmith/site.sqlite"
    assert config.jobs_database_url == "sqlite:////srv/wimsmith/jobs.sqlite"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 1", "unknown setting colour"),
        ("workers = 'many'", "invalid literal"),
        ("=", "Invalid statement"),
    ],
)
def test_a_settings_file_that_is_wrong_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "wimsmith.toml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(InvalidInput, match=words):
        load_config(file, {})


def test_events_are_json(site: LiveSite) -> None:
    job = site.get("/jobs")["items"][0]
    assert site.client is not None

    with site.client.stream("GET", f"/api/v1/jobs/{job['id']}/events") as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]

    assert json.loads(lines[-1].removeprefix("data: "))["id"] == job["id"]
