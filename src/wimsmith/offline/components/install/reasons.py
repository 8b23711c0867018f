"""What in a component stands in the way wherever it is installed, whatever the image."""

from collections.abc import Callable, Iterator
from functools import partial

from wimsmith.errors import NotSupported
from wimsmith.offline.components.install.destinations import Places
from wimsmith.offline.components.install.macros import Expander
from wimsmith.offline.components.install.registry_rules import KeyTarget, target_of
from wimsmith.offline.manifests.component import ComponentManifest
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.packages.obstacles import Reason

_ARCHITECTURE = "amd64"
_SYSTEM_ROOT = "C:\\Windows"
_CONTROL_SET = "ControlSet001"


def component_reasons(manifest: ComponentManifest) -> Iterator[Reason]:
    r"""Destinations and registry keys of a component that the engine does not know.

    Judged as in an amd64 image with its Windows in `C:\Windows`.
    """
    places = Places(_ARCHITECTURE, _SYSTEM_ROOT, manifest.identity.architecture)
    checks: tuple[Callable[[], object], ...] = (
        *(partial(places.in_image, text) for text in _destinations(manifest)),
        *(partial(_target, manifest, places, key.key_name) for key in manifest.registry_keys),
    )
    for check in checks:
        try:
            check()
        except NotSupported as refusal:
            where = f"{keyform(manifest.identity)}.manifest"
            yield Reason(refusal.reason, str(refusal.args[1]), where)


def _destinations(manifest: ComponentManifest) -> Iterator[str]:
    for file in manifest.files:
        if file.destination_path:
            yield file.destination_path
        yield from file.links
    for directory in manifest.directories:
        yield directory.destination_path


def _target(manifest: ComponentManifest, places: Places, key_name: str) -> KeyTarget:
    expander = Expander(places, tuple(manifest.strings.values()))
    return target_of(
        expander.expand(key_name),
        component_architecture=manifest.identity.architecture,
        image_architecture=_ARCHITECTURE,
        control_set=_CONTROL_SET,
    )
