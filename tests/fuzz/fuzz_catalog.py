"""Fuzzes catalogs and signatures of files.

    PYTHONPATH=tests python -m fuzz.fuzz_catalog SECONDS [FILE...]

Files are catalogs or signed messages; made ones are used in any case.
"""

import random
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from fuzz.guided import run
from fuzz.mutation import feed
from offline.packages import madesignatures as made
from offline.packages.made import signed_catalog
from offline.packages.mutatedsignatures import changed
from wimsmith.offline.packages.trust.catalog import parse_catalog
from wimsmith.offline.packages.trust.following import TrustPolicy, verify_catalog, verify_file
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.practice.root import PracticeRoot

_WORLD = made.world()
_POLICY = TrustPolicy(Anchors(), operator=Anchors((_WORLD.root.certificate,)))
_CABINET = made.bare_cabinet()


def test_one_input(data: bytes) -> None:
    """Feed bytes to the readers; anything but an error of ours is a finding."""
    feed((_catalog, _signature), data)


def invent(seed: bytes, chance: random.Random) -> bytes:
    """A seed with some elements changed and all lengths right."""
    return changed(seed, chance)


def repair(data: bytes, chance: random.Random) -> bytes:
    """Make the outermost length right, mostly."""
    if len(data) < 4 or chance.randrange(4) == 0:
        return data
    return b"\x30\x84" + (len(data) - 6).to_bytes(4, "big", signed=True) + data[6:]


def _catalog(data: bytes) -> None:
    verify_catalog(parse_catalog(data), _POLICY)


def _signature(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(made.with_signature(_CABINET, data))
        file.flush()
        verify_file(Path(file.name), _POLICY)


def _seeds() -> list[bytes]:
    stamp = made.token(_WORLD.stamper, [_WORLD.stamper], datetime(2015, 7, 21, tzinfo=UTC))
    catalog = signed_catalog(PracticeRoot.new(), [b"one", b"two"])
    return [catalog, made.file_signature(_WORLD, _CABINET, unsigned=[stamp])]


if __name__ == "__main__":
    seeds = [*_seeds(), *(Path(name).read_bytes() for name in sys.argv[2:])]
    run(float(sys.argv[1]), seeds, test_one_input, invent=invent, repair=repair)
