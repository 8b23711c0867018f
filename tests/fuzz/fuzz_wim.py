"""Mutates WIM files for as many seconds as asked, and reports what is not an error of ours.

    PYTHONPATH=tests python -m fuzz.fuzz_wim SECONDS FILE...

With Atheris installed, coverage guides the search.
"""

import sys
import tempfile
from pathlib import Path

from fuzz.guided import run
from fuzz.mutation import feed
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.document import Document
from wimsmith.offline.wim.format.metadata import parse_metadata, serialize_metadata
from wimsmith.offline.wim.workers._libwim import LibwimCodec

_CODEC = LibwimCodec()


def test_one_input(data: bytes) -> None:
    """Feed bytes to the readers; anything but an error of ours is a finding."""
    feed((_read_file, _read_metadata, _read_document), data)


def _read_file(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with open_wim(Path(file.name), _CODEC) as wim:
            for info in wim.images:
                _read_metadata(wim.metadata(info.number))
            for _sha1, blocks in wim.open_blobs(wim.blobs):
                for _block in blocks:
                    pass
            wim.verify_integrity()


def _read_metadata(data: bytes) -> None:
    serialize_metadata(parse_metadata(data))


def _read_document(data: bytes) -> None:
    document = Document.parse(data)
    document.images(1)
    document.serialize()


def seeds(paths: list[Path]) -> list[bytes]:
    """The files, the metadata of their images and their documents."""
    found = []
    for path in paths:
        found.append(path.read_bytes())
        with open_wim(path, _CODEC) as wim:
            found.append(wim.document.serialize())
            found.extend(wim.metadata(info.number) for info in wim.images)
    return found


if __name__ == "__main__":
    run(float(sys.argv[1]), seeds([Path(name) for name in sys.argv[2:]]), test_one_input)
