"""A fault at every call by which a command changes the disk: the old result or the new one.

Commands are real processes, with the workers and programs they start. A first run counts the calls
of each kind; then one call after the other fails, finds the disk full, or is the last one before
the processes are killed.
"""

import errno
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from journeys.faults import KINDS, Commands, Ended, Fault, Mode, commands
from journeys.writingverbs import (
    SWEEPER,
    VERBS,
    Scene,
    Verb,
    by_name,
    make_sources,
    snapshot,
    strays,
)
from wimsmith.errors import NotEnoughSpace, WimsmithError

MOST_POINTS = 40
MIB = 1 << 20
FAULTS = {
    "broken": (Mode.FAIL, errno.EIO),
    "full": (Mode.FAIL, errno.ENOSPC),
    "crash": (Mode.CRASH, 0),
    "kill": (Mode.KILL, 0),
}
BY_WORKERS = ("capture folder", "capture NTFS", "apply to a new volume", "extract")
CANNOT_BE_FULL = frozenset(["unlink"])


@dataclass
class Bench:
    """Where commands run, and what came of it."""

    scene: Scene
    commands: Commands
    sources: dict[str, str]
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)

    def points(
        self, verb: Verb, most: int, kinds: tuple[str, ...] = KINDS
    ) -> list[tuple[str, int]]:
        """Calls to be hit, spread evenly over those that a whole run makes."""
        verb.prepare(self.scene)
        whole = self.commands.run(verb.line(self.scene))
        assert (whole.code, whole.errors) == (0, []), whole.stderr
        verb.accept(self.scene)
        assert whole.orphans == 0
        return [(kind, number) for kind in kinds for number in spread(whole.counts[kind], most)]

    def strike(self, verb: Verb, fault: Fault) -> None:
        before = verb.prepare(self.scene)
        ended = self.commands.run(verb.line(self.scene), fault)
        after = snapshot(self.scene.target)
        killed = fault.mode is Mode.KILL and ended.hit is not None
        if killed or (fault.kind == "unlink" and strays(self.scene.target)):
            self.sweep()
            after = snapshot(self.scene.target)
        label = f"{verb.name}, {fault} of {ended.hit}: {ended.stderr}"
        assert strays(self.scene.target) == [], label
        assert snapshot(self.scene.source) == self.sources, label
        is_old = after == before and not self.made_folders(verb)
        is_mixed = killed and len(verb.made) > 1 and len(after.items() & before.items()) > 0
        if is_mixed and not is_old:
            refused = self.commands.run(["wim", "verify", self.scene.target / verb.made[0]])
            assert refused.code, f"{label}: a set of old parts and new ones is read"
        elif not is_old:
            assert {name.partition("/")[0] for name in after} == set(verb.made), label
            verb.accept(self.scene)
        self.judge(fault, ended, is_old=is_old, label=label)
        state = "old" if is_old else "mixed, refused" if is_mixed else "new"
        self.outcomes[verb.name, fault.kind, f"{told(ended)}, {state}"] += 1
        self.phases[ended.phase] += 1

    def made_folders(self, verb: Verb) -> bool:
        return any((self.scene.target / name).is_dir() for name in verb.made)

    def judge(self, fault: Fault, ended: Ended, *, is_old: bool, label: str) -> None:
        if fault.mode is Mode.KILL and ended.hit is not None:
            assert ended.code == -9, label
            return
        assert len(ended.errors) == (ended.code != 0), label
        assert "Traceback" not in ended.stderr, label
        assert ended.orphans == 0, label
        if ended.code == 0:
            assert not is_old, label
        elif fault.code == errno.ENOSPC:
            assert ended.code == NotEnoughSpace.exit, label
            assert "bytes free" in ended.errors[0], label

    def sweep(self) -> None:
        """Another command in the same folder removes what a killed one left."""
        swept = self.commands.run(SWEEPER.line(self.scene))
        assert swept.code == 0, swept.stderr
        (self.scene.target / SWEEPER.made[0]).unlink()

    def tell(self) -> None:
        for (verb, kind, outcome), count in sorted(self.outcomes.items()):
            print(f"{verb:<24} {kind:<16} {outcome:<40} {count}")  # noqa: T201 - for whoever runs it
        print("phases reached:", dict(self.phases))  # noqa: T201 - same


def told(ended: Ended) -> str:
    if ended.code < 0:
        return "killed"
    errors = {one.exit: one.code for one in all_errors(WimsmithError)}
    return errors.get(ended.code, "internal") if ended.code else "done"


def all_errors(kind: type[WimsmithError]) -> Iterator[type[WimsmithError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from all_errors(one)


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 1 to `count`, the first and the last among them."""
    if count <= most:
        return list(range(1, count + 1))
    if most == 1:
        return [(count + 1) // 2]
    return sorted({1 + place * (count - 1) // (most - 1) for place in range(most)})


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("faults")
    for name in ("source", "target", "server"):
        (folder / name).mkdir()
    scene = Scene(folder / "source", folder / "target")
    make_sources(scene.source)
    with commands(folder / "server", scene.target) as running:
        yield Bench(scene, running, snapshot(scene.source))


def test_faults_spread_over_all_commands_leave_the_old_result_or_the_new(bench: Bench) -> None:
    """One fault per command and kind of call at most; the long suite has them all."""
    turn = 0
    modes = list(FAULTS.values())
    for verb in ORDINARY:
        points = bench.points(by_name(verb), 1)
        for kind, number in points:
            turn += 1
            mode, code = modes[turn % len(modes)]
            if code == errno.ENOSPC and kind in CANNOT_BE_FULL:
                mode, code = modes[0]
            if mode is Mode.CRASH and verb not in BY_WORKERS:
                mode = Mode.KILL
            bench.strike(by_name(verb), Fault(mode, kind, number, code))
    bench.tell()


ORDINARY = ("split over files", "add in place", "capture folder", "extract", "hive import in place")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_fault_leaves_the_old_result_or_the_new(bench: Bench, verb: Verb, fault: str) -> None:
    mode, code = FAULTS[fault]
    if mode is Mode.CRASH and verb.name not in BY_WORKERS:
        pytest.skip("its workers write nothing")
    kinds = tuple(kind for kind in KINDS if code != errno.ENOSPC or kind not in CANNOT_BE_FULL)
    bench.outcomes.clear()
    bench.phases.clear()
    for kind, number in bench.points(verb, MOST_POINTS, kinds):
        bench.strike(verb, Fault(mode, kind, number, code))
    bench.tell()


@contextmanager
def disk(kind: str, size_bytes: int, folder: Path, image: Path) -> Iterator[None]:
    """A file system of this size at `folder`."""
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    else:
        with image.open("wb") as file:
            file.truncate(size_bytes)
        make = ["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", str(image)]
        subprocess.run(make, check=True, capture_output=True)
        command = ["mount", "-o", "loop", str(image), str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        (folder / "lost+found").rmdir() if kind == "ext4" else None
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(bench: Bench, verb: Verb, kind: str, size_bytes: int, image: Path) -> str:
    """Run a command on a disk of a size; what came of it."""
    scene = bench.scene
    scene.clear()
    with disk(kind, size_bytes, scene.target, image):
        try:
            before = verb.prepare(scene)
        except OSError:
            return "no room for what it is given"
        ended = bench.commands.run(verb.line(scene))
        label = f"{verb.name} on {kind} of {size_bytes}: {ended.stderr}"
        assert strays(scene.target) == [], label
        assert snapshot(scene.source) == bench.sources
        if ended.code == 0:
            verb.accept(scene)
            return "done"
        assert snapshot(scene.target) == before, label
        assert not bench.made_folders(verb), label
        assert ended.code == NotEnoughSpace.exit, label
        assert len(ended.errors) == 1, label
        assert "bytes free" in ended.errors[0] or "the volume" in ended.errors[0], label
        return "not-enough-space"


@pytest.mark.parametrize(
    ("name", "size_bytes"),
    [
        ("export converting", 128 << 10),
        ("add in place", 256 << 10),
        ("capture folder", 32 << 10),
        ("extract", 128 << 10),
        ("hive import in place", 12 << 10),
    ],
)
def test_a_full_disk_is_told_and_nothing_is_left(
    bench: Bench, name: str, size_bytes: int, tmp_path: Path
) -> None:
    image = tmp_path / "disk"
    assert fill(bench, by_name(name), "tmpfs", size_bytes, image) == "not-enough-space"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_disks_of_all_sizes(bench: Bench, verb: Verb, kind: str, tmp_path: Path) -> None:
    first = 4 << 10 if kind == "tmpfs" else 256 << 10
    sizes = [first + step * (48 << 10) for step in range(14)] + [2 * MIB, 4 * MIB, 64 * MIB]
    found = Counter(fill(bench, verb, kind, size, tmp_path / "disk") for size in sizes)
    print(verb.name, kind, dict(found))  # noqa: T201 - for whoever runs it
    assert found["done"] > 0
    assert kind == "ext4" or found["done"] < len(sizes), "no disk was small enough"
