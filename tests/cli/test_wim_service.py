"""`wimsmith wim service`: updates, removals, features and clean-up on a file, without a site."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wimsmith.cli.main import run
from wimsmith.errors import (
    AlreadyExists,
    CleanUpFailed,
    ConsentNeeded,
    InvalidInput,
    NotFound,
    NothingApplied,
    PartlyApplied,
    PathUnreachable,
    UpdateFailed,
)
from wimsmith.practice.image import build_image
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot, practice_root
from wimsmith.practice.spec import ImageSpec
from wimsmith.practice.updates import build_update

KIB = 1024
NAMES = ("rollup", "rollup-v2", "small", "wrong-arch", "psfx", "corrupt-payload", "missing-parent")
SIGTERM_EXIT = 143


@dataclass(frozen=True)
class Files:
    """An image and updates for it that nobody changes."""

    folder: Path
    root: PracticeRoot

    @property
    def image(self) -> Path:
        return self.folder / "install.wim"

    @property
    def trust(self) -> list[str]:
        return ["--test-root", str(self.folder / "practice-root.pem")]

    def update(self, name: str) -> str:
        return str(self.folder / "updates" / f"{name}.cab")


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("service")
    made = Files(folder, practice_root(folder))
    build_image(ImageSpec(size_bytes=256 * KIB), made.image, root=made.root)
    made.image.chmod(0o444)
    (folder / "updates").mkdir()
    for name in NAMES:
        build_update(preset(name), Path(made.update(name)), root=made.root)
    return made


def service(*arguments: object) -> Ended:
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(["wim", "service", *map(str, arguments)])
    return Ended(code, out.getvalue(), err.getvalue())


def process(*arguments: object) -> Ended:
    """Run the command as a process of its own."""
    command = [sys.executable, "-m", "wimsmith.cli", "wim", "service", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def apply(files: Files, target: Path, *names: str, more: Sequence[object] = ()) -> Ended:
    updates = [files.update(name) for name in names]
    given = [files.image, 1, *(["--add", *updates] if updates else []), "--output", target]
    return service(*given, *files.trust, "--experimental", *more)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hive(path: Path, name: str, folder: Path) -> Path:
    inside = f"/Windows/System32/config/{name}"
    folder.mkdir(exist_ok=True)
    command = ["wimlib-imagex", "extract", str(path), "1", inside, f"--dest-dir={folder}"]
    subprocess.run([*command, "--no-acls"], check=True, capture_output=True)
    return folder / name


def hivexsh(path: Path, *lines: str, writes: bool = False) -> list[str]:
    ended = subprocess.run(
        ["hivexsh", *(["-w"] if writes else []), str(path)],
        input="".join(f"{line}\n" for line in (*lines, "quit")),
        check=True,
        capture_output=True,
        text=True,
    )
    return ended.stdout.splitlines()


def packages(path: Path, folder: Path) -> list[str]:
    """Names of the packages in the first image, as wimlib and hivexsh show them."""
    key = r"cd \Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages"
    return hivexsh(hive(path, "SOFTWARE", folder), key, "ls")


def has(path: Path, folder: Path, article: str) -> bool:
    return any(f"KB{article}~" in one for one in packages(path, folder))


def test_updates_become_a_new_file_that_outside_readers_accept(
    files: Files, tmp_path: Path
) -> None:
    before, target = digest(files.image), tmp_path / "new.wim"

    updates = [files.update(name) for name in ("small", "wrong-arch", "rollup")]
    given = [files.image, 1, "--add", *updates, "--output", target, *files.trust]
    ended = process(*given, "--experimental", "--json")

    told = ended.document
    assert ended.code == 0, ended.err
    assert {one["name"]: one["word"] for one in told["results"]} == {
        "wrong-arch.cab": "Not applicable",
        "rollup.cab": "Installed",
        "small.cab": "Installed",
    }
    assert (told["backend"], told["gate"]["findings"]) == ("native", [])
    assert told["before_bytes"] == files.image.stat().st_size
    assert told["after_bytes"] == target.stat().st_size
    assert told["sha256"] == digest(target)
    subprocess.run(["wimlib-imagex", "verify", target], check=True, capture_output=True)
    assert not has(files.image, tmp_path / "old", "5000006")
    assert has(target, tmp_path / "made", "5000006")
    assert digest(files.image) == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["made", "new.wim", "old"]


def test_the_order_is_that_of_the_kinds_not_of_the_command_line(
    files: Files, tmp_path: Path
) -> None:
    orders = []
    for names in (("small", "rollup", "rollup-v2"), ("rollup-v2", "small", "rollup")):
        ended = apply(files, tmp_path / f"{names[0]}.wim", *names, more=["--json"])
        assert ended.code == 0, ended.err
        orders.append([one["name"] for one in ended.document["results"]])
    assert orders[0] == orders[1]
    assert digest(tmp_path / "small.wim") != digest(files.image)


def test_clean_up_frees_what_the_sizes_of_the_files_say(files: Files, tmp_path: Path) -> None:
    first, second = tmp_path / "first.wim", tmp_path / "second.wim"
    assert apply(files, first, "rollup").code == 0

    ended = service(
        *(first, 1, "--add", files.update("rollup-v2"), "--reset-base", "--export"),
        *("--output", second, *files.trust, "--experimental"),
    )

    sizes = first.stat().st_size, second.stat().st_size
    assert ended.code == 0, ended.err
    assert f"{sizes[0]} bytes before, {sizes[1]} bytes after" in ended.out
    assert f"{abs(sizes[0] - sizes[1])} bytes" in ended.out.splitlines()[-1]
    assert "payload" in ended.out
    subprocess.run(["wimlib-imagex", "verify", second], check=True, capture_output=True)
    again = service(second, 1, "--remove", "KB5000002", "--output", tmp_path / "no.wim",
                    "--experimental", "--json")  # fmt: skip
    assert again.code == NothingApplied.exit
    assert [one["code"] for one in again.document["results"]] == ["reset-base"]
    assert not (tmp_path / "no.wim").exists()


def test_what_was_added_is_removed_again(files: Files, tmp_path: Path) -> None:
    first, second = tmp_path / "first.wim", tmp_path / "second.wim"
    assert apply(files, first, "small").code == 0

    ended = service(first, 1, "--remove", "KB5000006", "--output", second, "--experimental")

    assert ended.code == 0, ended.err
    assert "Removed" in ended.out
    assert not has(second, tmp_path / "made", "5000006")


def test_features_are_switched(files: Files, tmp_path: Path) -> None:
    target = tmp_path / "new.wim"

    ended = apply(files, target, more=["--enable-feature", "Practice-Games", "--json"])

    assert ended.code == 0, ended.err
    assert [(one["what"], one["word"]) for one in ended.document["results"]] == [
        ("feature-on", "Enabled")
    ]
    assert target.exists()


def test_in_place_the_file_is_replaced_when_all_is_done(files: Files, tmp_path: Path) -> None:
    image = tmp_path / "mine.wim"
    image.write_bytes(files.image.read_bytes())
    image.chmod(0o640)

    ended = service(
        image, 1, "--add", files.update("small"), "--in-place", *files.trust, "--experimental"
    )

    assert ended.code == 0, ended.err
    assert has(image, tmp_path / "made", "5000006")
    assert image.stat().st_mode & 0o777 == 0o640
    assert sorted(one.name for one in tmp_path.iterdir()) == ["made", "mine.wim"]


def test_a_failure_leaves_the_old_file_and_says_so(files: Files, tmp_path: Path) -> None:
    image = tmp_path / "mine.wim"
    image.write_bytes(files.image.read_bytes())
    names = [files.update(one) for one in ("small", "corrupt-payload", "rollup")]
    given = [image, 1, "--add", *names, "--in-place", *files.trust, "--experimental"]

    ended = service(*given)

    assert ended.code == UpdateFailed.exit
    assert digest(image) == digest(files.image)
    assert "untrusted:payload-hash" in ended.err
    assert "nothing was written" in ended.out
    assert "Rolled back: nothing was committed" in ended.out
    assert [one.name for one in tmp_path.iterdir()] == ["mine.wim"]

    partly = service(*given, "--continue-on-error", "--json")

    assert partly.code == PartlyApplied.exit
    words = {one["name"]: one["word"] for one in partly.document["results"]}
    assert words == {
        "small.cab": "Installed",
        "rollup.cab": "Installed",
        "corrupt-payload.cab": "Failed",
    }
    assert digest(image) == partly.document["sha256"]


def test_what_is_not_supported_never_counts_as_success(files: Files, tmp_path: Path) -> None:
    ended = apply(files, tmp_path / "no.wim", "psfx", "missing-parent", more=["--json"])

    assert ended.code == NothingApplied.exit
    assert {one["name"]: one["code"] for one in ended.document["results"]} == {
        "psfx.cab": "psfx",
        "missing-parent.cab": "parent",
    }
    assert not (tmp_path / "no.wim").exists()
    assert "Not applying this update binary, it is not supported" in ended.err.splitlines()


def test_a_dry_run_says_the_verdicts_and_needs_no_consent(files: Files, tmp_path: Path) -> None:
    ended = service(files.image, 1, "--add", files.folder / "updates", *files.trust, "--dry-run")

    lines = {line.split()[1]: line for line in ended.out.splitlines()[1:] if ".cab" in line}
    assert "Applicable" in lines["small.cab"]
    assert "Not applicable" in lines["wrong-arch.cab"]
    assert "Failed" in lines["corrupt-payload.cab"]
    assert len(lines) == len(NAMES)
    assert "nothing was written" in ended.out
    assert ended.code == PartlyApplied.exit
    assert "nstalled (" not in ended.err, "nothing was installed"
    assert "Update small.cab: Applicable (Package_for_KB5000006~" in ended.err
    assert f"of {len(NAMES)}, for example update " in ended.err


def test_the_log_has_the_sentences_of_the_site(files: Files, tmp_path: Path) -> None:
    log = tmp_path / "OfflineServicingMgr.log"

    ended = apply(files, tmp_path / "new.wim", "small", "psfx", more=["--log", log])

    text = log.read_text()
    assert ended.code == PartlyApplied.exit
    for sentence in (
        "Processing update small.cab on index 1",
        "Not applying this update binary, it is not supported",
        "UnMounting Image (Commit Changes = 1)...",
        "Appl: detect Parent, Package: Package_for_KB5000006",
    ):
        assert f"<![LOG[{sentence}" in text
    assert "Processing update" not in ended.err


def without_reset(folder: Path, source: Path) -> Path:
    """An image whose administrator forbids the reset of its base."""
    target = folder / "forbidden.wim"
    target.write_bytes(source.read_bytes())
    found = hive(target, "SOFTWARE", folder / "hives")
    key = r"cd \Microsoft\Windows\CurrentVersion\SideBySide\Configuration"
    hivexsh(found, key, "setval 1", "DisableResetbase", "dword:1", "commit", writes=True)
    add = f"--command=add '{found}' /Windows/System32/config/SOFTWARE"
    update = ["wimlib-imagex", "update", str(target), "1", add, "--no-acls"]
    subprocess.run(update, check=True, capture_output=True)
    return target


def test_a_base_that_the_image_does_not_let_reset_is_warned_of(
    files: Files, tmp_path: Path
) -> None:
    image = without_reset(tmp_path, files.image)
    arguments = (image, 1, "--add", files.update("rollup"), *files.trust, "--experimental")
    key = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\SideBySide\Configuration"

    ended = service(*arguments, "--reset-base", "--output", tmp_path / "out.wim")
    assert (ended.code, ended.err.count("the base was not reset")) == (0, 1)
    assert "\nwarning: the base was not reset" in ended.out
    told = service(*arguments, "--reset-base", "--output", tmp_path / "told.wim", "--json")
    cleaned = told.document["clean_up"]
    assert (cleaned["reset_base"], len(cleaned["warnings"])) == (False, 1)

    # what the warning says to do about it
    assert f"wimsmith wim edit FILE INDEX --set-value '{key}' DisableResetbase dword 0" in ended.out
    edit = ("--set-value", key, "DisableResetbase", "dword", "0", "--in-place")
    assert run(["wim", "edit", str(image), "1", *edit]) == 0
    ended = service(*arguments, "--reset-base", "--output", tmp_path / "reset.wim", "--json")
    cleaned = ended.document["clean_up"]
    assert (cleaned["reset_base"], cleaned["warnings"]) == (True, [])


def test_a_failed_clean_up_commits_nothing(files: Files, tmp_path: Path) -> None:
    image = tmp_path / "two.wim"
    build_image(ImageSpec(size_bytes=256 * KIB, indexes=2), image, root=files.root)
    before = digest(image)

    ended = service(
        *(image, 1, "--add", files.update("small"), "--reset-base", "--in-place"),
        *(*files.trust, "--experimental"),
    )

    assert ended.code == CleanUpFailed.exit
    assert "several-indexes" in ended.err
    assert digest(image) == before


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--output", "T/new.wim", "--experimental"], InvalidInput, "nothing to do"),
        (["--cleanup", "--experimental"], InvalidInput, "exactly one of --output and --in-place"),
        (
            ["--cleanup", "--experimental", "--in-place", "--output", "T/new.wim"],
            InvalidInput,
            "exactly one",
        ),
        (["--cleanup", "--export", "--in-place", "--experimental"], InvalidInput, "--output"),
        (["--cleanup", "--output", "T/new.wim"], ConsentNeeded, "--experimental"),
        (["--cleanup", "--output", "T/there.wim", "--experimental"], AlreadyExists, "there.wim"),
        (["--cleanup", "--target", "T/no/new.wim", "--experimental"], PathUnreachable, "folder"),
        (["--add", "T/nothing.cab", "--dry-run"], NotFound, "nothing.cab"),
        (["--add", "T/empty", "--dry-run"], NotFound, "update files"),
        (
            ["--enable-feature", "A", "--disable-feature", "a", "--dry-run"],
            InvalidInput,
            "on and off",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_opened(
    files: Files,
    tmp_path: Path,
    arguments: list[str],
    error: type[InvalidInput],
    words: str,
) -> None:
    (tmp_path / "there.wim").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    given = [one.replace("T/", f"{tmp_path}/") for one in arguments]

    ended = service(files.image, 1, *given)

    assert (ended.code, ended.out) == (error.exit, "")
    assert words in ended.err
    assert not (tmp_path / "new.wim").exists()


def test_a_signal_at_any_phase_leaves_nothing(files: Files, tmp_path: Path) -> None:
    """The process is told to end when it announces a phase; temporary files go with it."""
    given = [files.image, 1, "--add", files.update("small"), files.update("rollup")]
    line = [*given, "--reset-base", "--output", tmp_path / "out" / "new.wim", *files.trust]
    (tmp_path / "out").mkdir()
    for phase in ("Calibrate", "Clean up", "Check"):
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        code = stopped_at(phase, [*line, "--experimental"], scratch)
        assert code == SIGTERM_EXIT, phase
        assert list((tmp_path / "out").iterdir()) == [], phase
        assert list(scratch.iterdir()) == [], phase


def stopped_at(phase: str, arguments: Sequence[object], scratch: Path) -> int:
    """Exit code of a command that gets SIGTERM when it has announced a phase."""
    command = [sys.executable, "-m", "wimsmith.cli", "wim", "service", *map(str, arguments)]
    environment = dict(os.environ) | {"TMPDIR": str(scratch)}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stderr is not None
        for text in process.stderr:
            if text.rstrip() == phase:
                process.send_signal(signal.SIGTERM)
                break
        process.stderr.read()
        return wait(process.poll)


def wait(poll: Callable[[], int | None], seconds: float = 30.0) -> int:
    until = time.monotonic() + seconds
    while (code := poll()) is None:
        assert time.monotonic() < until, "it does not end"
        time.sleep(0.05)
    return code
