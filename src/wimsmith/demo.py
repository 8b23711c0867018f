"""What `sh bin/demo` shows: one image serviced end to end, through the command line only.

Every step is a `wimsmith` command, printed as it can be typed. The demo looks at the results itself
and ends with an error when they are not what it says.
"""

import contextlib
import hashlib
import json
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wimsmith.cli.states import package_state

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
SHOWN_FILES = 6
PRESET = "rollup"
GOOD_OUTCOMES = frozenset({"applied", "installed", "superseded", "not-applicable"})
COMMAND = (sys.executable, "-m", "wimsmith.cli")

Files = dict[str, str]


class Disappointment(Exception):
    """Something did not come out as the demo says it does."""


class Demo:
    """A site in a folder of its own, and the commands given to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"

    @contextmanager
    def running_site(self) -> Iterator[None]:
        """Run `wimsmith serve` until the end of the block."""
        say(f"$ wimsmith serve --state {self.state} &")
        with (self.folder / "serve.log").open("wb") as log:
            service = subprocess.Popen(
                [*COMMAND, "serve", "--state", str(self.state)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_until_it_answers(service)
            yield
        finally:
            service.send_signal(signal.SIGTERM)
            try:
                service.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                service.kill()
                service.wait()
            say("The service is stopped.")

    def run(self, *words: object, shown: bool = True, accept: Sequence[int] = (0,)) -> Any:
        """Run one command; return what it prints as JSON.

        Raises:
            Disappointment: its exit code is not one of `accept`.
        """
        arguments = [str(word) for word in words]
        if shown:
            say(f"$ wimsmith {shlex.join(arguments)}")
        done = subprocess.run(
            [*COMMAND, *arguments, "--json"],
            stdout=subprocess.PIPE,
            env=os.environ | {"WIMSMITH_STATE_DIR": str(self.state)},
            check=False,
        )
        if done.returncode not in accept:
            raise Disappointment(f"wimsmith {arguments[0]} ended with code {done.returncode}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def files(self, wim: Path, index: int) -> Files:
        """SHA-1 of every file of an index, by path."""
        rows = self.run("wim", "ls", wim, index, "--recursive", shown=False)
        return {row["path"]: row["sha1"] for row in rows if "D" not in row["attributes"]}

    def packages(self, image: str, index: int) -> dict[str, int]:
        """State of every package of an index, by identity."""
        rows = self.run("image", "packages", image, "--index", index, shown=False)
        return {row["identity"]: row["state"] for row in rows}

    def _wait_until_it_answers(self, service: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        path = str(self.state / "run" / "wimsmith.sock")
        while time.monotonic() < deadline:
            if service.poll() is not None:
                break
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(path)
                return
            time.sleep(0.1)
        log = (self.folder / "serve.log").read_text(encoding="utf-8", errors="replace")
        raise Disappointment(f"the service does not start:\n{log[-2000:]}")


def say(text: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: Sequence[str]) -> int:
    """Show everything; return 0 when it came out as said."""
    began = time.monotonic()
    try:
        wims, updates = sorted_out([Path(one).absolute() for one in arguments])
        folder = Path(tempfile.mkdtemp(prefix="wimsmith-demo-"))
        show(Demo(folder), wims, updates)
    except Disappointment as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    say(f"\nAll as expected, in {time.monotonic() - began:.0f} s.")
    say(f"Logs: {folder / 'state' / 'logs'}")
    say(f"The folder stays for you to look at; remove it with: rm -r {folder}")
    return 0


def sorted_out(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Given paths as images and updates.

    Raises:
        Disappointment: a file is missing or of another kind, or there is more than one image.
    """
    wims = [path for path in paths if path.suffix.lower() == ".wim"]
    updates = [path for path in paths if path.suffix.lower() in {".cab", ".msu"}]
    for path in paths:
        if path not in wims + updates or not path.is_file():
            raise Disappointment(f"{path} is not a .wim, .cab or .msu file that is there")
    if len(wims) > 1:
        raise Disappointment("one image at a time")
    return wims, updates


def show(demo: Demo, wims: list[Path], updates: list[Path]) -> None:
    """The demo itself, with the user's files where given."""
    generated = not wims and not updates
    source = wims[0] if wims else generate_image(demo)
    folder_or_files = updates or [generate_update(demo)]
    before_hash = sha256_of(source)
    with demo.running_site():
        allow_native_servicing(demo)
        image = add(demo, source)
        chosen = bring(demo, folder_or_files)
        indexes = [row["number"] for row in demo.run("image", "indexes", image, shown=False)]
        packages = {number: demo.packages(image, number) for number in indexes}
        run, seconds = service(demo, image, chosen)
        tell_run(run, seconds)
        if run["result_version"]:
            target = demo.folder / "serviced.wim"
            demo.run("image", "export", image, target)
            demo.run("wim", "verify", target)
            tell_changes(demo, image, source, target, packages)
        if sha256_of(source) != before_hash:
            raise Disappointment("the source file was changed")
        say(f"\nThe source file is untouched: sha256 {before_hash}")
        check(run, generated=generated)
        if run["result_version"]:
            check_version(demo, image, run, packages)


def generate_image(demo: Demo) -> Path:
    """A practice image with two indexes."""
    say("\n-- A Windows-like image to practise on, generated here, nothing of Microsoft's in it")
    path = demo.folder / "practice" / "install.wim"
    demo.run("practice", "image", path, "--indexes", 2)
    return path


def generate_update(demo: Demo) -> Path:
    """A practice update for the practice image."""
    folder = demo.folder / "practice"
    made = demo.run("practice", "updates", folder, "--preset", PRESET)
    return folder / str(made["updates"][0]["file"])


def allow_native_servicing(demo: Demo) -> None:
    """Switch on what is experimental, for the demo's own site only."""
    say("\n-- Servicing by Wimsmith's own code is experimental: switched on for this site only")
    demo.run("settings", "set", "experimental_native_servicing", "on")
    root = demo.folder / "practice" / "practice-root.pem"
    if root.is_file():
        certificate = ssl.PEM_cert_to_DER_cert(root.read_text(encoding="ascii"))
        trusted = json.dumps([hashlib.sha256(certificate).hexdigest()])
        demo.run("settings", "set", "trusted_test_roots", trusted)


def add(demo: Demo, source: Path) -> str:
    """Add the image and tell what is in it."""
    say("\n-- Before")
    demo.run("image", "inspect", source)
    job = demo.run("image", "add", source)
    image = str(job["result"]["package_id"])
    tell_image(demo, image)
    return image


def bring(demo: Demo, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Import the updates and tell what they are."""
    numbers: list[int] = []
    for path in paths:
        result = demo.run("updates", "import", path)["result"]
        for refused in result["refused"]:
            say(f"   not imported: {refused['file']}: {refused['text']} ({refused['code']})")
        numbers += result["imported"] + result["known"]
    if not numbers:
        raise Disappointment("no update could be imported")
    rows = [demo.run("updates", "show", number, shown=False) for number in numbers]
    for row in rows:
        say(f"   {row['article'] or row['identity']}: {row['title']} ({row['size_bytes']:,} bytes)")
    return rows


def service(
    demo: Demo, image: str, updates: Sequence[dict[str, Any]]
) -> tuple[dict[str, Any], float]:
    """Service the image now; return the run and how long it took."""
    say("\n-- Servicing")
    chosen = [word for row in updates for word in ("--update", row["id"])]
    began = time.monotonic()
    demo.run("service", "schedule", image, *chosen, "--now", accept=range(256))
    seconds = time.monotonic() - began
    run = demo.run("service", "show", image)["run"]
    return run, seconds


def tell_run(run: dict[str, Any], seconds: float) -> None:
    """What became of each update on each index."""
    for row in run["results"]:
        name = row["article"] or row["identity"]
        say(f"   index {row['index']}: {name}: {row['word']} {row['text'] or ''}".rstrip())
    say(f"   {run['status']}, {seconds:.1f} s")


def tell_image(demo: Demo, image: str) -> None:
    """Build, size, hash and number of packages."""
    row = demo.run("image", "show", image, shown=False)
    say(f"   {image}, version {row['current_version']}: {row['size_bytes']:,} bytes")
    say(f"   sha256 {row['sha256']}")
    for index in row["indexes"]:
        installed = demo.packages(image, index["number"])
        say(
            f"   index {index['number']}: {index['name']}, build {index['os_version']}, "
            f"{len(installed)} packages"
        )


def tell_changes(
    demo: Demo, image: str, source: Path, target: Path, before: dict[int, dict[str, int]]
) -> None:
    """Packages and files that are new or changed, index by index."""
    say("\n-- After")
    tell_image(demo, image)
    for index, packages in before.items():
        after = demo.packages(image, index)
        say(f"\n   index {index}: packages")
        for identity in sorted(after):
            if packages.get(identity) != after[identity]:
                states = (packages.get(identity, 0), after[identity])
                was, now = (package_state(state) for state in states)
                say(f"     {was} -> {now}: {identity}")
        tell_files(index, demo.files(source, index), demo.files(target, index))


def tell_files(index: int, before: Files, after: Files) -> None:
    """Files that are new or changed, with their SHA-1."""
    new = sorted(path for path in after if path not in before)
    changed = sorted(path for path in after if before.get(path, after[path]) != after[path])
    say(f"   index {index}: files: {len(new)} new, {len(changed)} changed, {len(after)} in all")
    for path in changed[:SHOWN_FILES]:
        say(f"     {before[path]} -> {after[path]}  {path}")
    for path in new[:SHOWN_FILES]:
        say(f"     new {after[path]}  {path}")
    more = max(len(new) - SHOWN_FILES, 0) + max(len(changed) - SHOWN_FILES, 0)
    if more:
        say(f"     and {more} more")


def check(run: dict[str, Any], *, generated: bool) -> None:
    """Compare the results with what they should be; a generated update must be installed.

    Raises:
        Disappointment: they are others.
    """
    good = {"applied"} if generated else GOOD_OUTCOMES
    words = {str(row["outcome"]) for row in run["results"]}
    if not words or not words <= good:
        raise Disappointment(f"{run['status']}: not every update was applied, reasons above")


def check_version(
    demo: Demo, image: str, run: dict[str, Any], before: dict[int, dict[str, int]]
) -> None:
    """See that the new version holds in every index what the run says it installed.

    Raises:
        Disappointment: it does not.
    """
    for index, packages in before.items():
        installed = [
            name
            for row in run["results"]
            if row["index"] == index and row["outcome"] == "applied"
            for name in row["packages"]
        ]
        after = demo.packages(image, index)
        missing = [name for name in installed if name not in after]
        if missing or (installed and after == packages):
            raise Disappointment(f"index {index} does not list what was installed: {missing}")
    origins = [row["origin"] for row in demo.run("image", "versions", image)]
    if origins != ["serviced", "import"]:
        raise Disappointment(f"the versions of the image come from {origins}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
