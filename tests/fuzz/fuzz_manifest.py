"""Mutates manifests of components, deployments and packages, and reports what is no error of ours.

    PYTHONPATH=tests python -m fuzz.fuzz_manifest SECONDS [FILE...]

With Atheris installed, coverage guides the search. Manifests of a made update are always among the
seeds.
"""

import sys
from pathlib import Path

from fuzz.guided import run
from fuzz.mutation import feed
from offline.components.hostile.xmlchanges import changed
from wimsmith.errors import UnreadableFacts
from wimsmith.offline.components.install.reasons import component_reasons
from wimsmith.offline.manifests.component import parse_component
from wimsmith.offline.manifests.identity import AssemblyIdentity, parse_package_name
from wimsmith.offline.manifests.names import deployment_key, identity_string, keyform
from wimsmith.offline.manifests.package import parse_package
from wimsmith.offline.planning.manifestdata import manifest_data, manifest_from
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.updates import cabinet_files

_PRESETS = ("every-element", "branches", "languages", "trigger", "language-pack")
_MAX_NAME = 255


def test_one_input(data: bytes) -> None:
    """Feed bytes to the readers; anything but an error of ours is a finding."""
    feed((_component, _package), data)


def _component(data: bytes) -> None:
    """What is read has names that can stand in a store, and reasons against it."""
    manifest = parse_component(data)
    _named(manifest.identity)
    for identity in manifest.installs:
        _named(identity)
    assert all(one.code and one.text for one in component_reasons(manifest))


def _named(identity: AssemblyIdentity) -> None:
    for name in (keyform(identity), deployment_key(identity)):
        assert 0 < len(name) <= _MAX_NAME
        assert "\\" not in name
        assert "/" not in name
    assert identity_string(identity)


def _package(data: bytes) -> None:
    """What is read can be named, and is the same after it was kept as plain data."""
    manifest = parse_package(data)
    parse_package_name(manifest.identity.package_name)
    kept = manifest_data(manifest)
    try:
        again = manifest_data(manifest_from(kept))
    except UnreadableFacts as error:
        raise AssertionError(f"kept data that cannot be read: {error}") from error
    assert again == kept


def _seeds() -> list[bytes]:
    root = PracticeRoot.new()
    return [
        data
        for name in _PRESETS
        for path, data in cabinet_files(preset(name), root).items()
        if path.endswith((".mum", ".manifest"))
    ]


if __name__ == "__main__":
    seeds = [*_seeds(), *(Path(name).read_bytes() for name in sys.argv[2:])]
    run(float(sys.argv[1]), seeds, test_one_input, invent=changed)
