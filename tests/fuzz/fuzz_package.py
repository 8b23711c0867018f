"""Mutates cabinets, manifests, catalogs and deltas, and reports what is not an error of ours.

    PYTHONPATH=tests python -m fuzz.fuzz_package SECONDS FILE...

With Atheris installed, coverage guides the search.
"""

import sys
import tempfile
from pathlib import Path

from fuzz.guided import run
from fuzz.mutation import feed
from wimsmith.offline.manifests.component import parse_component
from wimsmith.offline.manifests.package import parse_package
from wimsmith.offline.packages.containers.cablisting import list_cabinet
from wimsmith.offline.packages.deltas.dcm import base_manifest_candidates, expand_dcm
from wimsmith.offline.packages.deltas.delta import apply_delta
from wimsmith.offline.packages.trust.catalog import parse_catalog

_MAX_TARGET_BYTES = 1 << 20


def test_one_input(data: bytes) -> None:
    """Feed bytes to the readers; anything but an error of ours is a finding."""
    feed((_list, parse_catalog, _expand, _delta, _candidates, parse_package, parse_component), data)


def _list(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        list_cabinet(Path(file.name))


def _expand(data: bytes) -> None:
    expand_dcm(data, b"<assembly/>" * 100)


def _delta(data: bytes) -> None:
    apply_delta(b"reference" * 100, data, max_bytes=_MAX_TARGET_BYTES, proved_elsewhere=True)


def _candidates(data: bytes) -> None:
    list(base_manifest_candidates(data))


if __name__ == "__main__":
    run(float(sys.argv[1]), [Path(name).read_bytes() for name in sys.argv[2:]], test_one_input)
