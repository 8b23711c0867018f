"""Ctrl-C and a signal to terminate end every command soon, and leave nothing behind.

At each call by which a command changes the disk, and at random moments of long work: packing with
chunks of 64 MiB is silent for minutes.
"""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from journeys.faults import KINDS, Fault, Mode, commands
from journeys.test_wim_faults import Bench, spread
from journeys.writingverbs import (
    VERBS,
    Scene,
    Verb,
    by_name,
    make_sources,
    snapshot,
    strays,
)
from offline.wim import ntfs
from offline.wim.judges import run
from wimsmith.cli.main import INTERRUPTED_EXIT, TERMINATED_EXIT

CODES = {signal.SIGINT: INTERRUPTED_EXIT, signal.SIGTERM: TERMINATED_EXIT}
SOON_S = 5.0
"""Two seconds are what is wanted; the machine that tests may have much else to do."""
STARTS_S = 120.0
LARGE_BYTES = 150 << 20
ORDINARY = ("split", "capture folder", "hive import to a target")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("cancel")
    for name in ("source", "target", "server"):
        (folder / name).mkdir()
    scene = Scene(folder / "source", folder / "target")
    make_sources(scene.source)
    with commands(folder / "server", scene.target) as running:
        yield Bench(scene, running, snapshot(scene.source))


def interrupt(bench: Bench, verb: Verb, kind: str, number: int, code: signal.Signals) -> None:
    before = verb.prepare(bench.scene)
    ended = bench.commands.run(verb.line(bench.scene), Fault(Mode.SIGNAL, kind, number, code))
    after = snapshot(bench.scene.target)
    label = f"{verb.name}, {code.name} at {kind} {number} of {ended.hit}: {ended.stderr}"
    assert ended.code in {0, CODES[code]}, label
    assert ended.errors == [], label
    assert "Traceback" not in ended.stderr, label
    assert strays(bench.scene.target) == [], label
    assert snapshot(bench.scene.source) == bench.sources, label
    assert ended.orphans_s < SOON_S, label
    is_old = after == before and not bench.made_folders(verb)
    assert not (is_old and ended.code == 0), label
    if not is_old:
        assert {name.partition("/")[0] for name in after} == set(verb.made), label
        verb.accept(bench.scene)
    state = "old" if is_old else "new"
    bench.outcomes[verb.name, kind, f"{code.name}, {ended.code}, {state}"] += 1
    bench.phases[ended.phase] += 1


def test_a_signal_at_any_call_ends_a_command_with_the_old_result_or_the_new(bench: Bench) -> None:
    """One signal per command and kind of call; the long suite has them all."""
    turn = 0
    for name in ORDINARY:
        for kind, number in bench.points(by_name(name), 1):
            turn += 1
            code = signal.SIGINT if turn % 2 else signal.SIGTERM
            interrupt(bench, by_name(name), kind, number, code)
    bench.tell()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_a_signal_at_every_call(bench: Bench, verb: Verb, code: signal.Signals) -> None:
    bench.outcomes.clear()
    bench.phases.clear()
    for kind, number in bench.points(verb, 40):
        interrupt(bench, verb, kind, number, code)
    bench.tell()


@dataclass(frozen=True)
class Long:
    """A command that takes long, and what it says when it is in the middle of it."""

    name: str
    arguments: Sequence[str]
    phase: str
    given: str = ""

    def __str__(self) -> str:
        return self.name


SOLID = ("--solid",)
LONG = (
    Long("export solid", ["export", "S/large.wim", "1", "T/new.wim", *SOLID], "Compress"),
    Long("capture solid", ["capture", "S/folder", "T/new.wim", *SOLID], "Writing"),
    Long("capture NTFS solid", ["capture", "S/volume.img", "T/new.wim", *SOLID], "Writing"),
    Long(
        "export at level 100",
        ["export", "S/large.wim", "1", "T/new.wim", "--compress=lzx", "--level=100"],
        "Compress",
    ),
    Long(
        "optimize anew",
        ["optimize", "T/whole.wim", "--in-place", "--compress=lzms", "--level=100"],
        "Compress",
        "large.wim",
    ),
    Long(
        "append",
        ["append", "S/large.wim", "1", "T/whole.wim", "--level=100"],
        "Compress",
        "lzx.wim",
    ),
    Long(
        "add",
        ["add", "T/whole.wim", "1", "S/folder", "/Added", "--in-place"],
        "Compress",
        "lzx.wim",
    ),
    Long("export", ["export", "S/large.wim", "1", "T/new.wim"], "Copy"),
    Long("split", ["split", "S/large.wim", "T/new.swm", "40M"], "Copy"),
    Long("extract", ["extract", "S/large.wim", "1", "T/tree"], "Extracting"),
    Long("verify", ["verify", "S/large.wim"], "Verifying"),
    Long("apply", ["apply", "S/large.wim", "1", "T/new.img", "--new=256M"], "Extracting"),
    Long("capture folder", ["capture", "S/folder", "T/new.wim"], "Writing"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Large files that cannot be packed, which takes longest to find out."""
    folder = tmp_path_factory.mktemp("long")
    for name in ("source/folder", "target"):
        (folder / name).mkdir(parents=True)
    source = folder / "source"
    chance = random.Random(1)
    for number in range(3):
        path = source / f"folder/{number}.bin"
        path.write_bytes(chance.randbytes(LARGE_BYTES // 3))
    run("wimlib-imagex", "capture", source / "folder", source / "large.wim", "A", "--compress=none")
    return Scene(source, folder / "target")


@pytest.fixture(scope="module")
def everything(place: Scene) -> Scene:
    """What only some of the long commands need."""
    (place.source / "small").mkdir()
    (place.source / "small/file").write_bytes(b"small")
    run("wimlib-imagex", "capture", place.source / "small", place.source / "lzx.wim", "S")
    volume = ntfs.make_volume(place.source / "volume.img", 256 << 20)
    run("wimlib-imagex", "apply", place.source / "large.wim", 1, volume)
    return place


class Running:
    """A command line process, and what it says on stderr."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wimsmith.cli", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        self.lines.extend(iter(self.process.stderr.readline, ""))

    def reached(self, phase: str) -> bool:
        """Wait until it has begun a phase; whether it did before it ended."""
        deadline = time.monotonic() + STARTS_S
        while time.monotonic() < deadline:
            if any(line.startswith(phase) for line in list(self.lines)):
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.01)
        return False

    def descendants(self) -> set[tuple[int, str]]:
        """Process ids with their start times, of all below this one."""
        found: set[tuple[int, str]] = set()
        pending = [self.process.pid]
        while pending:
            for children in Path(f"/proc/{pending.pop()}/task").glob("*/children"):
                with suppress(OSError):
                    pids = [int(pid) for pid in children.read_text().split()]
                    found |= {(pid, started) for pid in pids if (started := start_time(pid))}
                    pending += pids
        return found

    def end(self) -> tuple[int, float]:
        """Exit code, and the seconds until it came."""
        before = time.monotonic()
        try:
            code = self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()
            assert self.process.stderr
            self.process.stderr.close()
        return code, time.monotonic() - before


def start_time(pid: int) -> str:
    """When a process started, in ticks; nothing if it has ended."""
    with suppress(OSError):
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state == "Z" else fields[18]
    return ""


def cancel(scene: Scene, long: Long, code: signal.Signals, delay_s: float) -> tuple[int, float]:
    """Cancel a command so long after it has begun its phase; exit code and seconds to the end."""
    scene.clear()
    if long.given:
        target = scene.target / "whole.wim"
        target.write_bytes((scene.source / long.given).read_bytes())
    before = snapshot(scene.target)
    line = Verb(long.name, ["wim", *long.arguments], []).line(scene)
    running = Running(line)
    try:
        reached = running.reached(long.phase)
        time.sleep(delay_s)
        workers = running.descendants()
        running.process.send_signal(code)
    finally:
        ended, seconds = running.end()
    text = "".join(running.lines)
    assert reached, text
    left = [pid for pid, started in workers if start_time(pid) == started]
    deadline = time.monotonic() + SOON_S
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = [pid for pid, started in workers if start_time(pid) == started]
    assert left == [], text
    assert "Traceback" not in text
    assert strays(scene.target) == [], text
    if ended == CODES[code]:
        assert seconds < SOON_S, text
        accept_if_new(scene, before, text)
        assert not re.search("^error", text, re.MULTILINE), text
    else:
        assert ended == 0, text
    return ended, seconds


def accept_if_new(scene: Scene, before: dict[str, str], text: str) -> None:
    """A signal may come when the result has its name already: then it is whole."""
    after = snapshot(scene.target)
    for name in after.keys() - {name for name in after if after[name] == before.get(name)}:
        assert name.endswith((".wim", ".swm")), text
        run("wimlib-imagex", "info", scene.target / name, "--check")
    for path in scene.target.glob("*.wim"):
        run("wimlib-imagex", "verify", path)
    assert before.keys() <= after.keys(), text


@pytest.mark.parametrize(("name", "code"), [(0, signal.SIGINT), (1, signal.SIGTERM)])
def test_solid_packing_is_cancelled_soon(place: Scene, name: int, code: signal.Signals) -> None:
    ended, seconds = cancel(place, LONG[name], code, 1.0)
    print(f"{LONG[name]}, {code.name}: {seconds:.2f} s")  # noqa: T201 - for whoever runs it
    assert ended == CODES[code]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("long", LONG, ids=str)
def test_long_work_is_cancelled_at_any_moment(
    everything: Scene, long: Long, code: signal.Signals
) -> None:
    chance = random.Random(f"{long} {code}")
    delays = [0.0, 0.05, *(chance.uniform(0, 3) for _ in range(4))]
    found = [cancel(everything, long, code, delay) for delay in delays]
    cancelled = [seconds for ended, seconds in found if ended]
    assert cancelled, "it had always ended before"
    most = max(cancelled)
    count = len(cancelled)
    print(f"{long}, {code.name}: {count} times, at most {most:.2f} s")  # noqa: T201 - same


@pytest.mark.parametrize("code", CODES)
def test_a_command_that_has_only_just_started_ends_as_well(
    place: Scene, code: signal.Signals
) -> None:
    """Before it has taken the signals in hand it ends as any Python process does."""
    place.clear()
    codes = Counter[int]()
    for step in range(4):
        line = ["wim", "export", f"{place.source}/large.wim", "1", f"{place.target}/new.wim"]
        running = Running(line)
        time.sleep(0.02 + step * 0.15)
        running.process.send_signal(code)
        ended, seconds = running.end()
        codes[ended] += 1
        said = "".join(running.lines)
        in_interpreter = "Fatal Python error" in said or "KeyboardInterrupt" in said
        assert ended in {0, -code, CODES[code]} or in_interpreter
        assert seconds < SOON_S or not ended
        assert strays(place.target) == []
        assert not ended or list(place.target.iterdir()) == []
        place.clear()
    print(code.name, dict(codes))  # noqa: T201 - for whoever runs it


def test_points_are_spread() -> None:
    assert spread(3, 40) == [1, 2, 3]
    assert spread(100, 3) == [1, 50, 100]
    assert spread(9, 1) == [5]
    assert len(spread(532, 40)) == 40
    assert len(KINDS) == 12


def test_nobody_here_ignores_these_signals() -> None:
    """Else the tests above would show nothing."""
    assert os.getpid() > 1
    for code in CODES:
        assert signal.getsignal(code) is not signal.SIG_IGN
