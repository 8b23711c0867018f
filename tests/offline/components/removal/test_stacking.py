"""What updates and removals change stacks: one by one, as one set, saved in between, or written."""

from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from offline.components.removal.kit import Workshop
from offline.components.removal.test_sequences import (
    CONTENTS,
    STACKS,
    Bench,
    Contents,
    Updates,
    facts,
    package,
)
from offline.edits.test_stacking import image_of
from offline.workbench import NOW
from wimsmith.offline.changes import ChangeSet, load, save, stack
from wimsmith.offline.commit import commit
from wimsmith.offline.image import open_view
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec

Opened = Callable[..., Workshop]
CUTS = st.sets(st.integers(0, 5), max_size=2)


@pytest.fixture
def opened(workshop: Opened, tmp_path: Path) -> Iterator[Bench]:
    made = workshop()
    with open_wim(made.bench.base) as wim:
        yield Bench(made, wim, tmp_path)


def steps(opened: Bench, contents: Contents, drawn: list[Updates]) -> list[ChangeSet]:
    """Change sets of updates, and of the removal of the last; each builds on those before it."""
    sets: list[ChangeSet] = []
    name = ""
    for number, updates in enumerate(drawn):
        spec = package(opened.made.maker, contents, number, updates)
        found = opened.install(sets, spec) if spec else None
        if found is not None:
            name, changes = found
            sets.append(changes)
    removed = opened.remove(sets, name) if name else None
    return [*sets, removed] if removed else sets


@pytest.mark.parametrize(
    "examples", [2, pytest.param(40, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_steps_stack(opened: Bench, tmp_path: Path, examples: int) -> None:
    numbers = count()
    longest = 0

    def saved(changes: ChangeSet) -> ChangeSet:
        folder = tmp_path / f"saved-{next(numbers)}"
        save(changes, folder)
        return load(folder)

    def written(parts: list[list[ChangeSet]]) -> dict[str, object]:
        """What is in a file after each part was written to one on top of the file before."""
        path = opened.made.bench.base
        for part in parts:
            before, path = path, tmp_path / f"{next(numbers)}.wim"
            with WorkerCodec() as codec, open_wim(before, codec) as wim:
                commit(wim, {1: part}, path, codec=codec, modified=NOW)
        with WorkerCodec() as codec, open_wim(path, codec) as wim:
            return facts(open_view(wim, 1))

    @settings(
        max_examples=examples,
        phases=(Phase.explicit, Phase.generate),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(CONTENTS, STACKS, CUTS)
    def check(contents: Contents, drawn: list[Updates], cuts: set[int]) -> None:
        nonlocal longest
        sets = steps(opened, contents, drawn)
        if not sets:
            return
        expected = image_of(opened.view(sets))
        assert image_of(opened.view([stack(*sets)])) == expected
        assert image_of(opened.view([saved(one) for one in sets])) == expected
        assert image_of(opened.view([saved(stack(*sets))])) == expected
        bounds = [0, *sorted(one for one in cuts if 0 < one < len(sets)), len(sets)]
        parts = [sets[start:end] for start, end in pairwise(bounds)]
        assert written(parts) == written([sets])
        longest = max(longest, len(sets))

    check()
    assert longest > 1
