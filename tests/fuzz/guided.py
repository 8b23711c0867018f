"""Runs a fuzz target with Atheris, which follows coverage, where it is installed; else at random.

Atheris (`pip install atheris`, wheels for Linux) is not needed for anything else. It keeps what it
finds in files named `crash-...` in the current folder.
"""

import gc
import importlib
import importlib.util
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

from fuzz.mutation import mutate

Change = Callable[[bytes, random.Random], bytes]

_MORE_BYTES = 1 << 15


def as_it_is(data: bytes, _chance: random.Random) -> bytes:
    """No repair: for formats without sums."""
    return data


def run(
    seconds: float,
    seeds: Sequence[bytes],
    target: Callable[[bytes], None],
    *,
    invent: Change = mutate,
    repair: Change = as_it_is,
) -> None:
    """Feed changed seeds to `target` until the time is over; say how many.

    Args:
        seconds: How long.
        seeds: Sound inputs.
        target: Raises what is a finding.
        invent: Changes a sound input as one who knows the format would.
        repair: Makes sums of any input right again, mostly.
    """
    if importlib.util.find_spec("atheris") is None:
        _at_random(seconds, seeds, target, invent, repair)
    else:
        _guided(importlib.import_module("atheris"), seconds, seeds, target, invent, repair)


def _at_random(
    seconds: float,
    seeds: Sequence[bytes],
    target: Callable[[bytes], None],
    invent: Change,
    repair: Change,
) -> None:
    chance = random.Random(1)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        seed = chance.choice(seeds)
        if chance.randrange(3):
            target(invent(seed, chance))
        else:
            target(repair(mutate(seed, chance), chance))
        count += 1
    sys.stdout.write(f"{count} inputs at random\n")


def _guided(
    atheris: Any,
    seconds: float,
    seeds: Sequence[bytes],
    target: Callable[[bytes], None],
    invent: Change,
    repair: Change,
) -> None:
    def change(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.randrange(8) == 0:
            return invent(chance.choice(seeds), chance)[:max_size]
        return repair(bytes(atheris.Mutate(data, max_size)), chance)

    for function in _functions():
        atheris.instrument_func(function)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        longest = max(map(len, seeds)) + _MORE_BYTES
        limits = [f"-max_total_time={int(seconds)}", f"-max_len={longest}", "-timeout=20"]
        atheris.Setup([sys.argv[0], *limits, corpus], target, custom_mutator=change)
        atheris.Fuzz()


def _functions() -> list[FunctionType]:
    """Our functions that are loaded; those of others would take minutes, and guide to nothing."""
    loaded = (one for one in gc.get_objects() if isinstance(one, FunctionType))
    return [one for one in loaded if str(one.__module__).startswith("wimsmith.offline")]
