"""What stories of installing have in common."""

from collections.abc import Callable
from dataclasses import replace

from wimsmith.offline.changes import (
    ChangeSet,
    PutFile,
)
from wimsmith.offline.components.outcome import Outcome
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.packages.package import ExpandedPackage
from wimsmith.offline.verdicts import Verdict
from wimsmith.offline.wim.format.container import Wim
from wimsmith.practice.presets import internet_explorer
from wimsmith.practice.spec import ImageSpec

NOW = 133_500_000_000_000_000
CBS = r"Microsoft\Windows\CurrentVersion\Component Based Servicing"
WINNERS = r"Microsoft\Windows\CurrentVersion\SideBySide\Winners"
FEATURE = "Internet-Explorer-Optional-amd64"
SMALL = ImageSpec(size_bytes=1 << 19, components=4)

Build = Callable[[ImageSpec], Wim]
Expand = Callable[..., ExpandedPackage]


def changes_of(outcome: Outcome) -> ChangeSet:
    assert (outcome.verdict, outcome.code) == (Verdict.APPLIED, "applied"), outcome
    assert outcome.changes is not None
    return outcome.changes


def after(wim: Wim, *changes: ChangeSet) -> ImageView:
    return open_view(wim, 1, changes)


def key_of(changes: ChangeSet, start: str) -> str:
    """Keyform of the first component whose name begins so."""
    folder = "Windows/WinSxS/Manifests/"
    found = [e.path for e in changes.tree if isinstance(e, PutFile) and e.path.startswith(folder)]
    return next(
        path.removeprefix(folder).removesuffix(".manifest")
        for path in found
        if path.removeprefix(folder).startswith(start)
    )


def ie_image(*, base: bytes | None, enabled: bool = True, parents: bool = True) -> ImageSpec:
    names = (FEATURE, "Microsoft-Windows-InternetExplorer-Package-ua")
    return replace(
        SMALL,
        base_manifest=base,
        extra_packages=internet_explorer() if parents else (),
        features=dict.fromkeys(names, enabled),
    )
