"""Hives of an image: each read by two readers that share no code, and compared key by key."""

from collections.abc import Mapping
from types import MappingProxyType

from wimsmith.errors import (
    DamagedHive,
    DamagedWim,
    LimitExceeded,
    NotFound,
    VerificationFailed,
)
from wimsmith.offline import hiveproof
from wimsmith.offline.components.verification.report import Area, Findings
from wimsmith.offline.image import HIVE_PATHS, ImageView
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.registry.base import MAX_HIVE_BYTES, BaseBlock
from wimsmith.offline.registry.hive import Hive

_NEEDED = ("SOFTWARE", "SYSTEM")
_FURTHER: Mapping[str, str] = MappingProxyType(
    {
        "SAM": "Windows/System32/config/SAM",
        "SECURITY": "Windows/System32/config/SECURITY",
    }
)


def check_hives(view: ImageView, findings: Findings, progress: Progress) -> frozenset[str]:
    """Check every hive of the image; the mount names of those that can be read."""
    readable = set()
    hives = {**HIVE_PATHS, **_FURTHER}
    for done, (name, path) in enumerate(hives.items()):
        progress(Event("check hives", done, len(hives)))
        if not view.exists(path):
            if name in _NEEDED:
                findings.add("hive-missing", path, name)
            continue
        findings.checked(Area.HIVES)
        try:
            data = view.read(path, MAX_HIVE_BYTES)
            hive = view.hive(name) if name in HIVE_PATHS else Hive.parse(data)
        except (DamagedHive, DamagedWim, LimitExceeded, NotFound) as error:
            findings.add("hive-damaged", f"{path}: {error}", name)
            continue
        readable.add(name)
        if name in view.changed_hives() or not findings.covers(name):
            continue  # changed ones are not written yet, and checked when they are
        if BaseBlock.is_clean(data):
            _compare(path, data, hive, findings, name)
        else:
            findings.add("hive-dirty", path, name)
    return frozenset(readable)


def _compare(path: str, data: bytes, hive: Hive, findings: Findings, name: str) -> None:
    try:
        hive.check()
        hiveproof.compare(data, hive.walk())
    except DamagedHive as error:
        findings.add("hive-damaged", f"{path}: {error}", name)
    except VerificationFailed as error:
        findings.add("hive-readers-differ", f"{path}: {error.args[0]}", name)
