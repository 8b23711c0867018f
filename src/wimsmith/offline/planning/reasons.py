"""What the identity of a package, or what an image has already, says against an update."""

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.package import PackageManifest
from wimsmith.offline.planning.state import Image, ImageState
from wimsmith.offline.verdicts import Finding, Verdict

_EDITION = re.compile(r"microsoft-windows-(.+)edition", re.IGNORECASE)


class Change(StrEnum):
    """What a version of a component would be among those of its family in the image."""

    NEW = "new"
    UPGRADE = "upgrade"
    SAME = "same"
    DOWNGRADE = "downgrade"


def identity_findings(image: Image, identity: AssemblyIdentity) -> Iterator[Finding]:
    """Another architecture, or a language that the image does not have."""
    architecture = identity.architecture.lower()
    if architecture not in _architectures_of(image):
        text = f"made for {architecture}; the image is {image.architecture}"
        yield Finding(Verdict.NOT_APPLICABLE, "arch", text)
    languages = [language.lower() for language in image.languages]
    if not identity.neutral_language and languages and identity.language.lower() not in languages:
        text = f"made for {identity.language}; the image has {', '.join(image.languages)}"
        yield Finding(Verdict.NOT_APPLICABLE, "language", text)


def _architectures_of(image: Image) -> frozenset[str]:
    """Those of packages that an image can hold; 64-bit Windows has its 32-bit parts as `wow64`."""
    own = {"", "neutral", image.architecture}
    return frozenset(own if image.architecture == "x86" else own | {"wow64"})


def edition_of(identity: AssemblyIdentity) -> str:
    """The edition whose package this is, as `Professional`, or the empty text.

    Packages of editions are called `Microsoft-Windows-ProfessionalEdition`.
    """
    found = _EDITION.fullmatch(identity.name)
    return found[1] if found else ""


def other_edition(image: Image, wanted: Sequence[AssemblyIdentity]) -> Finding | None:
    """The finding for packages that all belong to other editions than that of the image.

    None if one of them belongs to none or to that of the image, or the image does not say.
    """
    editions = [edition_of(one) for one in wanted]
    own = {one.lower() for one in image.editions}
    if not own or not editions or any(not one or one.lower() in own for one in editions):
        return None
    names = ", ".join(dict.fromkeys(editions))
    text = f"made for {names[:200]}; the image is {' and '.join(image.editions)}"
    return Finding(Verdict.NOT_APPLICABLE, "edition", text)


def presence_findings(state: ImageState, identity: AssemblyIdentity) -> Iterator[Finding]:
    """The package is there already, or a higher version of it."""
    name = identity.package_name
    present = state.package_state(identity)
    if present >= PackageState.PERMANENT:
        text = f"{name} is installed, and permanent"
        yield Finding(Verdict.INSTALLED, "permanent", text)
    elif present >= PackageState.INSTALLED:
        yield Finding(Verdict.INSTALLED, "installed", f"{name} is installed")
    elif present == PackageState.SUPERSEDED:
        yield Finding(Verdict.SUPERSEDED, "superseded", f"{name} is superseded in the image")
    for one in reversed(state.packages_of(identity)):
        if one.identity.version > identity.version and one.state >= PackageState.SUPERSEDED:
            yield Finding(Verdict.SUPERSEDED, "superseded", f"the image has {one.name}")
            return


def stack_findings(state: ImageState, manifest: PackageManifest) -> Iterator[Finding]:
    """The servicing stack of the image is older than a package asks for."""
    wanted = manifest.installer_assembly
    if wanted is None:
        return
    found = state.servicing_stack()
    if found is None or found < wanted.version:
        has = f"the image has {found}" if found else "the image has none"
        text = f"servicing stack {wanted.version} ({has})"
        yield Finding(Verdict.PREREQUISITE_MISSING, "stack-too-old", text)


def change_of(state: ImageState, identity: AssemblyIdentity) -> Change:
    """What a component would be in the image; those side by side count within `major.minor`."""
    versions = [
        one
        for one in state.installed_versions(identity)
        if identity.is_alone or one.branch == identity.version.branch
    ]
    if not versions:
        return Change.NEW
    if versions[-1] > identity.version:
        return Change.DOWNGRADE
    return Change.SAME if versions[-1] == identity.version else Change.UPGRADE


def newer_components(
    state: ImageState, components: Iterable[AssemblyIdentity]
) -> Iterator[Finding]:
    """An update all of whose components are there in higher versions is superseded."""
    count = 0
    for component in components:
        if change_of(state, component) is not Change.DOWNGRADE:
            return
        count += 1
    if count:
        text = f"the image has all {count} components in higher versions"
        yield Finding(Verdict.SUPERSEDED, "superseded", text)


def stack_reached(state: ImageState, components: Sequence[AssemblyIdentity]) -> Iterator[Finding]:
    """An update of the servicing stack that brings nothing newer than the image has."""
    if not any(one.is_servicing_stack for one in components):
        return
    if all(change_of(state, one) in {Change.SAME, Change.DOWNGRADE} for one in components):
        text = f"the image has servicing stack {state.servicing_stack()}"
        yield Finding(Verdict.SUPERSEDED, "superseded", text)
