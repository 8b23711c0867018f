"""Damaged hives and logs: whatever is broken, the answer is one of our errors, soon."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from offline.registry import mutators
from offline.registry.replay import checksum
from wimsmith.errors import WimsmithError
from wimsmith.offline.registry import Hive, ValueType

TESTS = Path(__file__).resolve().parents[2]
SLOWEST_S = 10.0
HIVE_STAGES = ("base block", "bins", "nk", "lists", "vk", "db", "sk", "whole tree")
LOG_STAGES = ("log header", "log entry", "replay", "proof")


def mutate(kind: str, count: int, seed: int) -> dict[str, Any]:
    """Feed mutated files in a process of their own; what came of it, which is printed."""
    command = [sys.executable, "-m", "offline.registry.mutation_run", kind, str(count), str(seed)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    lines = [f"{times:7} {reason}" for reason, times in report["errors"]]
    lines += [f"{share:7.1%} {stage}" for stage, share in report["stages"].items()]
    lines.append(f"slowest {report['slowest_s']:.3f} s, memory {report['peak_bytes'] >> 20} MiB")
    sys.stdout.write("\n".join([f"{count} mutated {kind}", *lines, ""]))
    return report


def judge(report: dict[str, Any], stages: tuple[str, ...], *, half_reach: str) -> None:
    assert report["findings"] == []
    assert report["slowest_s"] < SLOWEST_S, "measured 0.03 s"
    assert report["stages"][half_reach] >= 0.5
    assert all(report["stages"][stage] > 0.2 for stage in stages)
    assert len(report["errors"]) > 10, "many checks were met"


@pytest.mark.parametrize(
    "count", [300, pytest.param(5000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_mutated_hives_end_in_our_errors(count: int) -> None:
    judge(mutate("hives", count, seed=count), HIVE_STAGES, half_reach="lists")


@pytest.mark.parametrize(
    "count", [120, pytest.param(5000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_mutated_logs_end_in_our_errors(count: int) -> None:
    judge(mutate("logs", count, seed=count), LOG_STAGES, half_reach="replay")


def test_truncated_hives_end_in_our_errors() -> None:
    data = mutators.seed_hives()[-1]
    for size in [*range(0, 600, 37), *range(600, len(data), 4001)]:
        with pytest.raises(WimsmithError):
            Hive.parse(data[:size])


def test_a_small_file_cannot_ask_for_much_memory() -> None:
    hive = Hive.new()
    hive.set_value("Key", "big", ValueType.BINARY, bytes(33_000))
    data = bytearray(hive.serialize(1))
    record = data.index(b"vk\3\0")
    struct.pack_into("<I", data, record + 4, 0x3FFFFFFF)
    struct.pack_into("<I", data, 508, checksum(data))
    with pytest.raises(WimsmithError, match="claims"):
        Hive.parse(bytes(data)).value("Key", "big")
