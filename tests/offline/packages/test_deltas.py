"""Many deltas in one confined child process."""

from pathlib import Path

import pytest

from offline.packages.indexed import real_indexes
from offline.packages.interpreted import interpreted
from offline.packages.made import Copy, delta, patch_stream
from offline.packages.madepa19 import Source, compressed, patch
from wimsmith.errors import Cancelled, DamagedDelta, LimitExceeded, NotSupported, WorkerFailed
from wimsmith.offline.packages.deltas import batch
from wimsmith.offline.packages.deltas.batch import DeltaJob, _failure, expand_deltas
from wimsmith.offline.packages.limits import PackageLimits
from wimsmith.offline.progress import Event
from wimsmith.process import Completed

FIRST = b"the first of two texts, " * 40
SECOND = FIRST[:500] + b"with another end"


@pytest.fixture
def jobs(tmp_path: Path) -> list[DeltaJob]:
    """A null delta, and one against what it becomes."""
    folder = tmp_path / "out"
    folder.mkdir()
    (tmp_path / "null").write_bytes(delta(patch_stream([FIRST]), FIRST))
    stream = patch_stream([Copy(500, slot=3), SECOND[500:]])
    (tmp_path / "next").write_bytes(delta(stream, SECOND))
    return [
        DeltaJob("a.txt", tmp_path / "null", None, folder / "1", len(FIRST)),
        DeltaJob("b.txt", tmp_path / "next", folder / "1", folder / "2", len(SECOND)),
    ]


def test_deltas_build_on_one_another(jobs: list[DeltaJob], tmp_path: Path) -> None:
    events: list[Event] = []
    expand_deltas(jobs, tmp_path / "out", progress=events.append)
    assert [job.target.read_bytes() for job in jobs] == [FIRST, SECOND]
    assert events[-1] == Event("expand", 2, 2, "files")


def test_a_manifest_against_its_base(tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(FIRST)
    made = delta(patch_stream([Copy(500, slot=3), SECOND[500:]]), SECOND, digest=b"", algorithm=0)
    (tmp_path / "m").write_bytes(b"DCM\x01" + made)
    (tmp_path / "out").mkdir()
    job = DeltaJob("m", tmp_path / "m", tmp_path / "base", tmp_path / "out" / "m")
    expand_deltas([job], tmp_path / "out")
    assert job.target.read_bytes() == SECOND


def test_an_older_patch(jobs: list[DeltaJob], tmp_path: Path) -> None:
    jobs[1].delta.write_bytes(patch(SECOND, Source(FIRST, compressed([SECOND]))))
    expand_deltas(jobs, tmp_path / "out")
    assert jobs[1].target.read_bytes() == SECOND


def test_the_first_failure_is_named_and_nothing_of_it_stays(
    jobs: list[DeltaJob], tmp_path: Path
) -> None:
    jobs[1].delta.write_bytes(delta(patch_stream([b"x"]), b"y" * len(SECOND)))
    with pytest.raises(DamagedDelta, match=r"^The delta is damaged: b\.txt: "):
        expand_deltas(jobs, tmp_path / "out")
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["1"]


def test_kinds_that_are_not_expanded_keep_their_reason(
    jobs: list[DeltaJob], tmp_path: Path
) -> None:
    jobs[0].delta.write_bytes(delta(patch_stream([FIRST]), FIRST, file_type=0x80))
    with pytest.raises(NotSupported, match=r"a\.txt: .*ARM64") as refusal:
        expand_deltas(jobs, tmp_path / "out")
    assert refusal.value.reason == "delta-arch"


def test_sizes_are_those_the_caller_knows(jobs: list[DeltaJob], tmp_path: Path) -> None:
    job = DeltaJob("a.txt", jobs[0].delta, None, jobs[0].target, len(FIRST) + 1)
    with pytest.raises(DamagedDelta, match="instead of 961"):
        expand_deltas([job], tmp_path / "out")
    with pytest.raises(LimitExceeded, match=r"a\.txt"):
        expand_deltas([job], tmp_path / "out", limits=PackageLimits(file_bytes=900))
    with pytest.raises(LimitExceeded):
        expand_deltas(jobs, tmp_path / "out", limits=PackageLimits(total_bytes=1000))
    assert not list((tmp_path / "out").iterdir())


def test_targets_stay_in_their_folder_and_replace_nothing(
    jobs: list[DeltaJob], tmp_path: Path
) -> None:
    outside = DeltaJob("a.txt", jobs[0].delta, None, tmp_path / "outside", len(FIRST))
    with pytest.raises(ValueError, match="outside"):
        expand_deltas([outside], tmp_path / "out")
    jobs[0].target.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        expand_deltas(jobs, tmp_path / "out")
    assert jobs[0].target.read_bytes() == b"mine"


def test_a_bomb_ends_at_the_limits_of_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    size = 300 << 20
    made = delta(patch_stream([b"a", Copy(100, distance=1)]), b"", size=size, digest=bytes(32))
    (tmp_path / "bomb").write_bytes(made)
    job = DeltaJob("bomb", tmp_path / "bomb", None, tmp_path / "out" / "bomb", size)
    with pytest.raises(DamagedDelta, match="bomb: "):
        expand_deltas([job], tmp_path / "out")
    monkeypatch.setattr(batch, "_MEMORY_PER_BYTE", 0)
    with pytest.raises(LimitExceeded, match="memory"):
        expand_deltas([job], tmp_path / "out", limits=PackageLimits(memory_bytes=1))
    assert not list((tmp_path / "out").iterdir())


def test_cancelling_ends_the_child(jobs: list[DeltaJob], tmp_path: Path) -> None:
    def cancel(_event: Event) -> None:
        raise Cancelled("by the user")

    with pytest.raises(Cancelled):
        expand_deltas(jobs, tmp_path / "out", progress=cancel)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (-11, DamagedDelta),
        (-6, DamagedDelta),
        (-24, LimitExceeded),
        (4, LimitExceeded),
        (-9, WorkerFailed),
        (1, WorkerFailed),
    ],
)
def test_each_end_of_the_child_is_one_error(status: int, error: type[Exception]) -> None:
    done = Completed(("python",), status, b"", b"trouble\n", 0.1)
    assert type(_failure(done, [])) is error


def test_real_packages_expand_with_every_hash_in_both_forms(real: Path, tmp_path: Path) -> None:
    for name, index, expected in real_indexes(real, tmp_path):
        folder = tmp_path / f"{name} expanded"
        folder.mkdir()
        paths = index.expand(folder)
        assert len(paths) == len(expected) == {"KB2999226": 118, "KB2883457-amd64": 22}[name]
        assert index.wrong(paths, expected) == []  # type: ignore[arg-type]
        for number, (stored, kind, basis) in index.sources.items():
            if stored is not None and kind == "PA30":
                base = b"" if basis is None else paths[basis].read_bytes()
                in_python = interpreted()["delta"].apply_delta(base, stored.read_bytes())
                assert in_python == paths[number].read_bytes()
