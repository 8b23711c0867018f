"""Kinds of updates: by them the order of a run goes, and which images an update belongs to.

Names that packages of a kind have: docs/internals/planning.md, with sources.
"""

from collections.abc import Iterator
from enum import StrEnum

from wimsmith.offline.manifests.package import PackageManifest
from wimsmith.offline.planning.state import Image
from wimsmith.offline.verdicts import Finding, Verdict


class UpdateKind(StrEnum):
    """What an update is, in the order in which kinds go into an image."""

    SERVICING_STACK = "servicing stack"
    LANGUAGE = "language pack"
    FEATURE = "feature"
    CUMULATIVE = "cumulative update"
    DOTNET = ".NET update"
    SAFE_OS = "recovery image update"
    SETUP = "setup update"
    OTHER = "update"


_STEPS = {
    "ssu": UpdateKind.SERVICING_STACK,
    "lcu": UpdateKind.CUMULATIVE,
    "safeosdu": UpdateKind.SAFE_OS,
    "setupdu": UpdateKind.SETUP,
}
_FEATURES = frozenset({"feature pack", "ondemand pack"})


def kind_of(top: PackageManifest, step: str = "") -> UpdateKind:
    """The kind of an update.

    Args:
        top: its top manifest.
        step: what its composition database is about (`lcu`, `ssu`), if it has one.
    """
    if step in _STEPS:
        return _STEPS[step]
    name, release_type = top.identity.name.lower(), top.release_type.lower()
    if top.identity.is_servicing_stack:
        return UpdateKind.SERVICING_STACK
    if "languagepack" in name or "language-pack" in name or release_type == "language pack":
        return UpdateKind.LANGUAGE
    if "safeosdu" in name:
        return UpdateKind.SAFE_OS
    if "dotnetrollup" in name:
        return UpdateKind.DOTNET
    if "rollupfix" in name:
        return UpdateKind.CUMULATIVE
    return UpdateKind.FEATURE if release_type in _FEATURES else UpdateKind.OTHER


def kind_findings(image: Image, kind: UpdateKind) -> Iterator[Finding]:
    """Why an update none of whose parents is in an image belongs to another kind of image."""
    text = ""
    if not image.is_preinstallation and image.installation_type:
        if kind is UpdateKind.SAFE_OS:
            text = "it belongs to the recovery image (winre.wim) that stands in this index"
        elif kind is UpdateKind.SETUP:
            text = "it belongs to the boot image and the sources folder of installation media"
    elif image.is_preinstallation and kind is UpdateKind.DOTNET:
        text = "this is a boot or recovery image, which has no .NET Framework to update"
    if text:
        yield Finding(Verdict.NOT_APPLICABLE, "kind", text)
