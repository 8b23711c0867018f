"""Feeds changed cabinets, container indexes and descriptions to their readers.

    PYTHONPATH=tests python -m fuzz.fuzz_container SECONDS [FILE...]

Files may be cabinets, container indexes, streams of differentials or composition databases; without
any, seeds are made. With Atheris installed, coverage guides the search.
"""

import random
import struct
import sys
import tempfile
from pathlib import Path

from fuzz.guided import run
from fuzz.mutation import feed, mutate
from offline.packages.made import mum
from offline.packages.madeindex import made_index
from offline.packages.mutatedcontainers import mutated_cabinet, mutated_index, seed_cabinet
from wimsmith.offline.packages.compdb import parse_compdb
from wimsmith.offline.packages.containers.cablisting import MAGIC, list_cabinet
from wimsmith.offline.packages.containers.containerindex import ordered, parse_container_index
from wimsmith.offline.packages.containers.ipd import summarize
from wimsmith.offline.packages.containers.msu import parse_order, parse_properties
from wimsmith.offline.packages.containers.psfx import stream_index, summarize_differentials

_TOP = mum("Made-Package")
_COMPOSITION = b'<CompDB Type="BuildUpdate" OSVersion="10.0.26100.1"><Packages/></CompDB>'


def test_one_input(data: bytes) -> None:
    """Feed bytes to the readers; anything but an error of ours is a finding."""
    feed((_list, _index, _stream, _composition, parse_order, parse_properties), data)


def _list(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        list_cabinet(Path(file.name))


def _index(data: bytes) -> None:
    index = parse_container_index(data)
    summarize_differentials(index)
    summarize(index)
    bases = {file.id: one.basis for file in index.files for one in file.recipes if one.basis}
    list(ordered(index.files, {number: basis for number, basis in bases.items() if basis in bases}))


def _stream(data: bytes) -> None:
    """Only the header: an index that is a delta is expanded elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stream"
        path.write_bytes(data.replace(b"PA30", b"____"))
        stream_index(path, Path(folder))


def _composition(data: bytes) -> None:
    parse_compdb("LCUCompDB_KB1234567.xml", data)


def invent(data: bytes, chance: random.Random) -> bytes:
    """A container changed by someone who knows the format."""
    if data.startswith(MAGIC):
        return mutated_cabinet(chance)
    if b"urn:ContainerIndex" in data:
        return mutated_index(chance, _TOP).xml()
    return mutate(data, chance)


def repair(data: bytes, _chance: random.Random) -> bytes:
    """The size that a cabinet states, made right."""
    if not data.startswith(MAGIC) or len(data) < 12:
        return data
    return data[:8] + struct.pack("<I", len(data)) + data[12:]


if __name__ == "__main__":
    given = [Path(name).read_bytes() for name in sys.argv[2:]]
    stream = b"PSTREAM\0".ljust(0x28, b"\0") + struct.pack("<II", 128, 5)
    made = [
        seed_cabinet(random.Random(1)),
        made_index(_TOP).xml(),
        stream.ljust(128, b"\0") + b"<a/> ",
        _COMPOSITION,
    ]
    run(float(sys.argv[1]), given or made, test_one_input, invent=invent, repair=repair)
