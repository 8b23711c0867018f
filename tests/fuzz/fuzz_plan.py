"""Mutates what is kept of images and updates as plain data, and plans with what can be read of it.

    PYTHONPATH=tests python -m fuzz.fuzz_plan SECONDS [FILE...]

With Atheris installed, coverage guides the search. An input is JSON: a list of a snapshot and
descriptions of updates.
"""

import json
import random
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

from fuzz.guided import run
from fuzz.mutation import feed, mutate
from offline.planning.kit import carrying, component, manifest, named, snapshot, update
from wimsmith.offline.planning.description import UpdateDescription
from wimsmith.offline.planning.order import Chosen
from wimsmith.offline.planning.plan import plan
from wimsmith.offline.planning.snapshot import Snapshot

_WORDS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0x70, 1 << 80, 0.5, "", "x", "a~b~c~~1.0.0.0", "1.2.3.4"),
    *("99999.1.1.1", [], [[]], {}, {"": ""}, "EQ", "GEGEGEGEGE", "not-supported", "staged"),
)
_DEPTH = 600


def test_one_input(data: bytes) -> None:
    """Feed bytes to the readers; anything but an error of ours is a finding."""
    feed((planned,), data)


def planned(data: bytes) -> None:
    """Plan with the data, if they can be read; what was read is kept as it was."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not found or not isinstance(found, list):
        return
    if not all(isinstance(one, dict) for one in found):
        return
    state = Snapshot.from_data(found[0])
    chosen = [Chosen(key, UpdateDescription.from_data(one)) for key, one in enumerate(found[1:])]
    steps = plan(state, chosen).steps
    assert sorted(one.key for one in steps) == list(range(len(chosen)))
    for one in chosen:
        kept = json.loads(json.dumps(one.description.as_data()))
        assert UpdateDescription.from_data(kept).as_data() == kept


def invent(data: bytes, chance: random.Random) -> bytes:
    """Sound JSON in which one to three values are others."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return mutate(data, chance)
    for _ in range(chance.choice((1, 1, 1, 3))):
        _change(found, chance)
    return json.dumps(found).encode()


def _change(data: Any, chance: random.Random) -> None:
    """Change one place of a structure, a random number of levels down."""
    while isinstance(data, dict | list) and data:
        places: list[Any] = list(data) if isinstance(data, dict) else list(range(len(data)))
        place = chance.choice(places)
        if isinstance(data[place], dict | list) and data[place] and chance.randrange(6):
            data = data[place]
            continue
        match chance.randrange(4):
            case 0:
                del data[place]
            case 1 if isinstance(data, list):
                data.insert(place, data[place])
            case 2:
                data[place] = _nested(deepcopy(chance.choice(_WORDS)), chance)
            case _:
                data[place] = deepcopy(chance.choice(_WORDS))
        return


def _nested(word: Any, chance: random.Random) -> Any:
    for _ in range(chance.choice((1, 2, _DEPTH))):
        word = [word]
    return word


def seeds() -> list[bytes]:
    """A snapshot of an image, and two updates that it could be given."""
    foundation = named("Microsoft-Windows-Foundation-Package", "10.0.19041.1")
    part = component("Part", "10.0.19041.5")
    state = snapshot({named("Inbox"): 0x70}, part, updates={named("Inbox"): {"one": 0x40}})
    child = manifest(named("Child"), (foundation,))
    top = manifest(named("Top"), (foundation, named("Inbox")), carrying(child))
    rollup = manifest(named("Package_for_RollupFix", "19041.5.1.0"), (foundation,))
    descriptions = [
        update(top, child),
        update(rollup, step=("10.0.19041.1", "10.0.19041.5")),
    ]
    return [json.dumps([state.as_data(), *(one.as_data() for one in descriptions)]).encode()]


if __name__ == "__main__":
    inputs = [Path(name).read_bytes() for name in sys.argv[2:]]
    run(float(sys.argv[1]), [*seeds(), *inputs], test_one_input, invent=invent)
