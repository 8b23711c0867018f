"""Feeds mutated hives or logs to the engine in a process with little memory and time.

    PYTHONPATH=tests python -m offline.registry.mutation_run hives|logs COUNT SEED

Prints, as JSON: the errors by reason, in how many cases each decoder was reached, and what was not
an error of ours.
"""

import json
import random
import re
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

from offline.registry import mutators
from wimsmith.errors import WimsmithError
from wimsmith.offline.registry import Hive, ValueType, hive, index, logs, records, tree
from wimsmith.offline.registry.base import BaseBlock
from wimsmith.offline.registry.cells import Cells
from wimsmith.offline.registry.security import SecurityRing

MEMORY_BYTES = 400 << 20
CASE_SECONDS = 20
_DECODERS: dict[str, tuple[tuple[Any, str], ...]] = {
    "base block": ((BaseBlock, "check_primary"),),
    "bins": ((Cells, "__init__"),),
    "nk": ((records, "read_key"),),
    "lists": ((tree, "read_subkeys"), (index, "list_cells")),
    "vk": ((records, "read_value"),),
    "db": ((records, "_read_big"),),
    "sk": ((SecurityRing, "_node"),),
    "whole tree": ((hive, "check_tree"),),
    "log header": ((logs, "_open"),),
    "log entry": ((logs, "_entry"), (logs, "_apply_one_old")),
    "replay": ((logs, "_finished"),),
    "proof": ((hive, "read_everything"),),
}


def use(data: bytes, logs: list[bytes]) -> None:
    """All that anybody reads of a hive."""
    read = Hive.parse(data, logs)
    for key in read.walk():
        assert len(key.class_name) < len(data)
        assert len(key.security) < len(data)
        for value in key.values():
            assert len(value.data) < len(data) + sum(map(len, logs))
    read.check(strict=True)


def change(data: bytes, logs: list[bytes]) -> None:
    """Edits of every kind."""
    edited = Hive.parse(data, logs)
    edited.set_value("Many\\12\\New", "value", ValueType.BINARY, bytes(20_000))
    edited.set_value("Values", "text 5", ValueType.BINARY, bytes(300))
    edited.delete_value("Values", "big")
    edited.delete_key("Many\\10")
    edited.delete_key("Class")
    edited.create_key("Many\\10")
    if edited.key("Special") is not None:
        edited.rename_key("Special", "A very much longer name")
    edited.delete_key("Many")
    edited.serialize(1 << 57)


def spy(reached: set[str]) -> None:
    """Note which decoders are entered."""
    for stage, places in _DECODERS.items():
        for owner, name in places:
            setattr(owner, name, _noting(getattr(owner, name), stage, reached))


def _noting(function: Callable[..., Any], stage: str, reached: set[str]) -> Callable[..., Any]:
    def noting(*arguments: Any, **options: Any) -> Any:
        reached.add(stage)
        return function(*arguments, **options)

    return noting


def run(kind: str, count: int, seed: int) -> dict[str, Any]:
    chance = random.Random(seed)
    seeds = mutators.seed_hives()
    reached: set[str] = set()
    spy(reached)
    stages: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    findings: list[str] = []
    slowest = 0.0
    for case in range(count):
        crashed_logs: list[bytes] = []
        data = chance.choice(seeds if case % 10 == 0 else seeds[:3])
        if kind == "hives":
            damaged = mutators.mutate_hive(data, chance)
        else:
            damaged, crashed_logs = mutators.mutate_logs(data, chance)
        reached.clear()
        for action in (use, change):
            started = time.process_time()
            signal.alarm(CASE_SECONDS)
            try:
                action(damaged, crashed_logs)
                errors["none"] += 1
            except WimsmithError as error:
                errors[_reason(error)] += 1
            except BaseException:  # noqa: BLE001 - that is what is looked for
                findings.append(f"case {case} {action.__name__}: {traceback.format_exc()}")
            signal.alarm(0)
            slowest = max(slowest, time.process_time() - started)
        stages.update(reached)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return {
        "errors": errors.most_common(),
        "stages": {stage: stages[stage] / count for stage in _DECODERS},
        "findings": findings[:5],
        "slowest_s": slowest,
        "peak_bytes": peak,
    }


def _reason(error: WimsmithError) -> str:
    """The kind of error and its text without names and numbers."""
    text = re.sub(r"(?i)0x[0-9a-f]+|\d+|'.*'|b'.*?'|\".*\"", "#", str(error))
    return f"{type(error).__name__}: {text.split(': ', 1)[-1]}"


def _out_of_time(*_: object) -> None:
    raise TimeoutError


if __name__ == "__main__":
    _, kind, count, seed = sys.argv
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, _out_of_time)
    sys.stdout.write(json.dumps(run(kind, int(count), int(seed))))
