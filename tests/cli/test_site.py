"""Commands against a real service: what is typed, what comes back, which code it ends with."""

import contextlib
import hashlib
import io
import json
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wimsmith import errors
from wimsmith.cli.main import run
from wimsmith.practice.image import build_image
from wimsmith.practice.presets import preset
from wimsmith.practice.root import ROOT_FILE, practice_root
from wimsmith.practice.spec import ImageSpec
from wimsmith.practice.updates import build_update

START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class SiteAtHand:
    state: Path
    files: Path

    def run(self, *words: object) -> Answer:
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.files),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run([*map(str, words), "--state", str(self.state)])
        return Answer(code, out.getvalue(), err.getvalue())

    def ok(self, *words: object) -> Any:
        answer = self.run(*words, "--json")
        assert answer.code == 0, answer.err
        return answer.data

    def add(self, name: str) -> str:
        job = self.ok("image", "add", "install.wim", "--name", name)
        return str(job["result"]["package_id"])


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteAtHand]:
    folder = tmp_path_factory.mktemp("site")
    at_hand = SiteAtHand(folder / "state", folder / "files")
    at_hand.files.mkdir()
    root = practice_root(at_hand.files)
    build_image(ImageSpec(indexes=2), at_hand.files / "install.wim", root=root, codec=None)
    for name in ("small", "unsupported-service"):
        update = preset(name)
        build_update(update, at_hand.files / f"{name}.cab", root=root)
    serve = subprocess.Popen(
        [sys.executable, "-m", "wimsmith.cli", "serve", "--state", str(at_hand.state)],
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(at_hand.state / "run" / "wimsmith.sock"):
        assert serve.poll() is None, "the service ended"
        assert time.monotonic() < deadline, "the service does not answer"
        time.sleep(0.1)
    yield at_hand
    serve.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        serve.wait(20)
    serve.kill()
    serve.wait()


def test_the_socket_stands_where_only_the_group_may_enter(site: SiteAtHand) -> None:
    assert stat.S_IMODE((site.state / "run").stat().st_mode) == 0o750


def test_an_image_is_inspected_before_it_is_added(site: SiteAtHand) -> None:
    found = site.ok("image", "inspect", "install.wim")
    assert [index["number"] for index in found["indexes"]] == [1, 2]
    assert found["suggested"]["name"] == "install"
    text = site.run("image", "inspect", "install.wim").out
    assert "suggested name: install" in text
    assert all(index["name"] in text for index in found["indexes"])


def test_an_image_lives_from_adding_to_removing(site: SiteAtHand) -> None:
    source = hashlib.sha256((site.files / "install.wim").read_bytes()).hexdigest()
    image = site.add("Windows 10 of / 2004")
    row = site.ok("image", "show", image)
    assert (row["name"], row["current_version"], row["index_count"]) == (
        "Windows 10 of / 2004",
        1,
        2,
    )
    assert [index["number"] for index in row["indexes"]] == [1, 2]
    assert [one["package_id"] for one in site.ok("image", "list", "2004")] == [image]
    assert site.ok("image", "set", image, "--comment", "first")["comment"] == "first"
    assert [one["origin"] for one in site.ok("image", "versions", image)] == ["import"]
    assert site.ok("image", "packages", image, "--index", 1)
    exported = site.ok("image", "export", image, "out.wim")["result"]
    assert exported["sha256"] == source
    assert hashlib.sha256((site.files / "out.wim").read_bytes()).hexdigest() == source
    assert site.ok("image", "reload", image)["result"]["changed"] is False
    assert site.ok("image", "rm", image) == {"removed": image}
    assert site.run("image", "show", image).code == errors.NotFound.exit
    assert hashlib.sha256((site.files / "install.wim").read_bytes()).hexdigest() == source


def test_one_index_is_extracted_into_a_new_file_beside_the_source(site: SiteAtHand) -> None:
    image = site.add("extracted")
    before = (site.files / "install.wim").read_bytes()
    result = site.ok("image", "extract", image, "--index", 2, "--file-name", "two.wim")["result"]
    assert result["path"] == str(site.files / "two.wim")
    assert (site.files / "install.wim").read_bytes() == before
    row = site.ok("image", "show", image)
    assert (row["index_count"], row["source_path"]) == (1, str(site.files / "two.wim"))
    events = [one["kind"] for one in site.ok("image", "lineage", image)]
    assert events == ["import", "index extract"]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("image", "add", "nowhere.wim"), errors.PathUnreachable),
        (("image", "add", r"\\server\images\install.wim"), errors.PathNotMapped),
        (("image", "add", "install.wim", "--index", "9"), errors.NoSuchIndex),
        (("image", "add", "install.wim", "--name", "x" * 51), errors.InvalidInput),
        (("image", "show", "WIM99999"), errors.NotFound),
        (("service", "schedule", "x", "--update", "y"), errors.InvalidInput),
        (("settings", "set", "no_such_setting", "1"), errors.NotFound),
        (("job", "show", "999999"), errors.NotFound),
        (("updates", "show", "KB9999999"), errors.NotFound),
    ],
)
def test_a_refusal_ends_with_the_code_of_its_error(
    site: SiteAtHand, words: tuple[str, ...], kind: type[errors.WimsmithError]
) -> None:
    answer = site.run(*words)
    assert answer.code == kind.exit, answer.err
    assert answer.out == ""
    assert "error: " in answer.err
    assert "Traceback" not in answer.err


def test_a_name_is_given_once(site: SiteAtHand) -> None:
    site.add("taken")
    answer = site.run("image", "add", "install.wim", "--name", "taken")
    assert answer.code == errors.NameInUse.exit
    assert answer.err.splitlines()[-1] == "hint: Choose another name."


def test_servicing_is_off_until_somebody_switches_it_on(site: SiteAtHand) -> None:
    image = site.add("not yet serviced")
    (number, *_) = site.ok("updates", "import", ".")["result"]["imported"]
    words = ("service", "schedule", image, "--update", number, "--now")
    answer = site.run(*words)
    assert answer.code == errors.NativeServicingOff.exit
    assert "experimental" in answer.err
    assert site.ok("settings", "set", "experimental_native_servicing", "on")["value"] is True
    shown = site.run("settings", "show", "experimental_native_servicing").out
    assert shown.splitlines()[1].split()[1] == "on"


def test_a_schedule_waits_for_its_time_and_can_be_cleared(site: SiteAtHand) -> None:
    image = site.add("scheduled")
    site.ok("settings", "set", "experimental_native_servicing", "on")
    result = site.ok("updates", "import", ".")["result"]
    (number, *_) = result["imported"] + result["known"]
    words = ("--update", number, "--at", "2099-01-01T02:00", "--utc", "--name", "patch day")
    row = site.ok("service", "schedule", image, *words)
    assert (row["state"], row["name"]) == ("Scheduled", "patch day")
    assert "patch day" in site.run("service", "list").out
    assert site.run("service", "cancel", row["id"]).code == errors.InvalidState.exit
    assert site.ok("service", "clear", row["id"]) == {"cleared": str(row["id"])}
    assert site.run("service", "show", row["id"]).code == errors.NotFound.exit


def allow_servicing(site: SiteAtHand) -> None:
    site.ok("settings", "set", "experimental_native_servicing", "on")
    certificate = ssl.PEM_cert_to_DER_cert((site.files / ROOT_FILE).read_text(encoding="ascii"))
    fingerprint = hashlib.sha256(certificate).hexdigest()
    site.ok("settings", "set", "trusted_test_roots", json.dumps([fingerprint]))


def test_updates_are_applied_now_and_the_code_tells_what_came_of_it(site: SiteAtHand) -> None:
    image = site.add("serviced")
    allow_servicing(site)
    result = site.ok("updates", "import", ".")["result"]
    files = {
        Path(row["source_path"]).stem: row["id"]
        for row in site.ok("updates", "list")
        if row["id"] in result["imported"] + result["known"]
    }
    good, refused = files["small"], files["unsupported-service"]

    run = site.ok("service", "schedule", image, "--update", good, "--now")
    assert run["status"] == "Successful"
    assert [(row["index"], row["word"]) for row in run["results"]] == [
        (1, "Installed"),
        (2, "Installed"),
    ]
    assert site.ok("image", "show", image)["current_version"] == 2
    again = site.ok("service", "schedule", image, "--update", good, "--now")
    assert again["status"] == "Nothing applied"
    assert {row["word"] for row in again["results"]} == {"Already installed"}

    answer = site.run("service", "schedule", image, "--update", refused, "--now")
    assert answer.code == errors.NothingApplied.exit
    assert "advanced-new:" in answer.err
    log = (site.state / "logs" / "OfflineServicingMgr.log").read_text(encoding="utf-8")
    assert "Not applying this update binary, it is not supported]LOG]!>" in log
    assert site.ok("image", "show", image)["current_version"] == 2


def test_a_schedule_removes_edits_and_cleans_up_and_tells_so(site: SiteAtHand) -> None:
    allow_servicing(site)
    build_image(
        ImageSpec(size_bytes=256 << 10),
        site.files / "one.wim",
        root=practice_root(site.files),
    )
    image = str(site.ok("image", "add", "one.wim", "--name", "one")["result"]["package_id"])
    site.ok("updates", "import", ".")
    good = {row["article"]: row["id"] for row in site.ok("updates", "list")}["KB5000006"]
    edits = site.files / "edits.json"
    edits.write_text(json.dumps([{"edit": "mkdir", "path": "Windows/Made"}]))
    more = ("--remove", "KB4000001", "--edits", "edits.json", "--edit-sources", str(site.files))

    answer = site.run(
        "service", "schedule", image, "--update", good, *more, "--remove-superseded", "--now"
    )

    assert answer.code == 0, answer.err
    run = site.ok("service", "show", image)["run"]
    sizes = run["clean_up"]
    assert (run["status"], run["backend"]) == ("Successful", "native")
    assert "Removed" in answer.out
    assert "Done" in answer.out
    rules = len(run["gate"][0]["rules"])
    assert f"index 1 can be serviced: none of {rules} rules stands against it" in answer.out
    assert f"clean-up: {sizes['text']}" in answer.out
    assert f"{sizes['after_bytes']} exported; {sizes['freed_bytes']} bytes freed" in answer.out
    before = (site.files / "one.wim").stat().st_size
    assert sizes["freed_bytes"] == before - sizes["after_bytes"]
    edits.write_text("[")
    assert site.run("service", "schedule", image, *more, "--now").code == errors.InvalidInput.exit


def test_work_can_be_left_alone_and_watched_later(site: SiteAtHand) -> None:
    job = site.ok("image", "add", "install.wim", "--name", "later", "--no-wait")
    ended = site.ok("job", "watch", job["id"])
    assert (ended["id"], ended["state"]) == (job["id"], "succeeded")
    assert site.ok("job", "show", job["id"])["state"] == "succeeded"
    assert job["id"] in [row["id"] for row in site.ok("job", "list")]


def test_a_plan_is_seen_before_a_run_and_an_excluded_update_is_left_alone(
    site: SiteAtHand,
) -> None:
    image = site.add("planned")
    site.ok("settings", "set", "experimental_native_servicing", "on")
    site.ok("updates", "import", ".")
    stems = {Path(row["source_path"]).stem: row for row in site.ok("updates", "list")}
    good, article = stems["small"]["id"], stems["small"]["article"]

    planned = site.ok("service", "plan", image, "--update", good)["items"]
    row = site.ok("service", "exclude", article, "--reason", "breaks it", "--image", image)
    listed = site.ok("service", "exclusions", "--image", image)["items"]
    answer = site.run("service", "plan", image, "--update", good)
    run = site.ok("service", "schedule", image, "--update", good, "--now")

    assert [(one["index"], one["likely"]) for one in planned] == [
        (1, "applicable"),
        (2, "applicable"),
    ]
    assert [(one["id"], one["reason"]) for one in listed] == [(row["id"], "breaks it")]
    assert "Excluded" in answer.out
    assert f"{article} is excluded for image {image} since" in " ".join(answer.out.split())
    assert {(one["outcome"], one["code"]) for one in run["results"]} == {
        ("not-attempted", "excluded")
    }
    assert site.ok("service", "include", row["id"]) == {"removed": row["id"]}
    assert site.ok("service", "exclusions")["items"] == []
