"""How many workers: by cores and memory, those of the control group included."""

from pathlib import Path

import pytest

from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.workers import budget

MEBI = 1 << 20
SOLID = (Compression.LZMS, 64 * MEBI)


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 cores, whose control groups are folders of the test."""
    (tmp_path / "self").write_text("0::/site/service\n")
    (tmp_path / "site/service").mkdir(parents=True)
    monkeypatch.setattr(budget, "_CGROUP", tmp_path / "self")
    monkeypatch.setattr(budget, "_CGROUP_ROOT", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    return tmp_path


def limit(folder: Path, most: object, used: int, reclaimable: int = 0) -> None:
    (folder / "memory.max").write_text(f"{most}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {reclaimable}\nslab 3\n")


def test_a_solid_worker_takes_700_megabytes() -> None:
    assert 700 * MEBI <= budget.codec_memory_bytes(64 * MEBI) <= 800 * MEBI
    assert budget.codec_memory_bytes(1 << 15) < 50 * MEBI


@pytest.mark.parametrize(
    ("most", "used", "reclaimable", "workers"),
    [(1600, 0, 0, 2), (1600, 1000, 0, 1), (1600, 1000, 950, 2), (100, 90, 0, 1)],
)
def test_workers_for_solid_packing_fit_the_memory_of_the_group(
    groups: Path, most: int, used: int, reclaimable: int, workers: int
) -> None:
    limit(groups / "site", most * MEBI, used * MEBI, reclaimable * MEBI)
    limit(groups / "site/service", "max", used * MEBI)
    assert budget.codec_workers(*SOLID) == workers


def test_the_tightest_group_counts(groups: Path) -> None:
    limit(groups / "site", 1000 * MEBI, 0)
    limit(groups / "site/service", 800 * MEBI, 100 * MEBI)
    assert budget.available_memory_bytes() == 700 * MEBI


def test_groups_of_the_first_version_count_too(groups: Path) -> None:
    (groups / "self").write_text("5:memory:/box\n3:cpu,cpuacct:/box\n")
    (groups / "memory/box").mkdir(parents=True)
    (groups / "memory/box/memory.limit_in_bytes").write_text(str(900 * MEBI))
    (groups / "memory/box/memory.usage_in_bytes").write_text(str(500 * MEBI))
    (groups / "memory/box/memory.stat").write_text(f"total_inactive_file {100 * MEBI}\n")
    assert budget.available_memory_bytes() == 500 * MEBI


def test_without_groups_the_memory_of_the_machine_counts(groups: Path) -> None:
    (groups / "self").unlink()
    assert budget.available_memory_bytes() > 100 * MEBI
    assert budget.cores() == 8


@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 8), ("150000 100000", 2), ("1 10", 1)])
def test_a_quota_of_processor_time_limits_the_workers(groups: Path, quota: str, cores: int) -> None:
    (groups / "site/cpu.max").write_text(f"{quota}\n")
    assert budget.cores() == cores


def test_nothing_is_packed_by_one(groups: Path) -> None:
    assert budget.codec_workers(Compression.NONE, 0) == 1
    limit(groups, 1000 * MEBI, 990 * MEBI)
    assert budget.codec_workers(Compression.LZX, 1 << 15) == 1
    assert budget.reading_workers(64 * MEBI) == 1
