"""Mutates WIM files for as many seconds as asked, and reports what is not an error of ours.

    python tests/fuzz/fuzz_wim.py SECONDS FILE...

`test_one_input` is what a coverage-guided fuzzer would call.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

from wimsmith.errors import WimsmithError
from wimsmith.offline.wim._libwim import LibwimCodec
from wimsmith.offline.wim.container import open_wim
from wimsmith.offline.wim.document import Document
from wimsmith.offline.wim.metadata import parse_metadata, serialize_metadata

_VALUES = (0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0xFFFF, 1 << 31, 0xFFFF_FFFF, 1 << 32, 1 << 63)
_CODEC = LibwimCodec()


def test_one_input(data: bytes) -> None:
    """Feed bytes to the readers; anything but an error of ours is a finding."""
    for reader in (_read_file, _read_metadata, _read_document):
        try:
            reader(data)
        except WimsmithError:
            continue


def _read_file(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with open_wim(Path(file.name), _CODEC) as wim:
            for info in wim.images:
                _read_metadata(wim.metadata(info.number))
            for sha1 in wim.blobs:
                for _block in wim.open_blob(sha1):
                    pass
            wim.verify_integrity()


def _read_metadata(data: bytes) -> None:
    serialize_metadata(parse_metadata(data))


def _read_document(data: bytes) -> None:
    document = Document.parse(data)
    document.images(1)
    document.serialize()


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Overwrite a few fields, cut, or repeat a part."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(0, max(len(changed), 1), chance.choice((1, 4, 8)))
        width = chance.choice((1, 2, 4, 8))
        value = chance.choice((*_VALUES, chance.getrandbits(64), at))
        changed[at : at + width] = value.to_bytes(8, "little")[:width]
    if not chance.randrange(20):
        del changed[chance.randrange(len(changed)) :]
    return bytes(changed)


def seeds(paths: list[Path]) -> list[bytes]:
    """The files, the metadata of their images and their documents."""
    found = []
    for path in paths:
        found.append(path.read_bytes())
        with open_wim(path, _CODEC) as wim:
            found.append(wim.document.serialize())
            found.extend(wim.metadata(info.number) for info in wim.images)
    return found


def main(seconds: float, paths: list[Path]) -> None:
    """Mutate until the time is over."""
    chance = random.Random(1)
    inputs = seeds(paths)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        test_one_input(mutate(chance.choice(inputs), chance))
        count += 1
    sys.stdout.write(f"{count} inputs\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
