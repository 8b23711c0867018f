"""Updates by name, and packages that images can be given."""

from collections.abc import Callable
from dataclasses import dataclass

from wimsmith.practice import ordinary, refused
from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import WINDOWS_TOKEN, Identity
from wimsmith.practice.spec import (
    ComponentSpec,
    Container,
    Damage,
    DeploymentSpec,
    FileSpec,
    Generation,
    PackageSpec,
    Signing,
    UpdateEntry,
    UpdateSpec,
)


@dataclass(frozen=True, slots=True)
class _Preset:
    """How an update is made, and what for."""

    summary: str
    make: Callable[[Maker], UpdateSpec]


def preset_names() -> tuple[str, ...]:
    """Names that `preset` knows, in the order they are generated."""
    return tuple(_PRESETS)


def summary(name: str) -> str:
    """What the preset `name` is for."""
    return _PRESETS[name].summary


def preset(name: str, generation: Generation = Generation.WINDOWS_10) -> UpdateSpec:
    """The update called `name`, made for images of a generation.

    Raises:
        KeyError: no such preset; `preset_names` lists them.
    """
    return _PRESETS[name].make(Maker(generation))


def internet_explorer(version: str = "19041.1") -> tuple[PackageSpec, ...]:
    """Stand-ins for two packages of Windows 10: parents of the real language package.

    Only their names are real; their components are generated.
    """
    feature = "Internet-Explorer-Optional-amd64"
    name = "Microsoft-Windows-InternetExplorer"
    wrapper = f"{name}-Package-ua"
    return (
        stand_in(
            Identity.package(f"{name}-Optional-Package~{WINDOWS_TOKEN}~amd64~~11.0.{version}"),
            feature,
        ),
        stand_in(Identity.package(f"{wrapper}~{WINDOWS_TOKEN}~amd64~~10.0.{version}"), wrapper),
    )


def stand_in(package: Identity, update: str) -> PackageSpec:
    """A package with a given name, an update with a given name, and one generated file."""
    name = f"Practice-{update}"
    component = ComponentSpec(
        Identity(name, package.version), (FileSpec(f"{update.lower()}.dll", program(name)),)
    )
    deployment = DeploymentSpec(Identity(f"{name}-Deployment", package.version), (component,))
    entry = UpdateEntry(update, deployment, selectable=True)
    return PackageSpec(
        package, (entry,), identifier=package.name, release_type="OnDemand Pack", visible=False
    )


_PRESETS = {
    "rollup": _Preset("cumulative update that raises the revision", ordinary.rollup),
    "rollup-v2": _Preset("the next one, which replaces the first", ordinary.second_rollup),
    "small": _Preset("one new file", refused.simple("KB5000006")),
    "small-msu": _Preset(
        "the same kind of update as a stored .msu",
        refused.simple("KB5000007", container=Container.MSU, compress=False),
    ),
    "every-element": _Preset("everything that needs no code to run", ordinary.every_element),
    "feature-languages": _Preset(
        "language parts that follow two optional features", ordinary.feature_update
    ),
    "branches": _Preset("two branches of one component family", ordinary.branches),
    "container-index": _Preset(
        "two branches stored as an index of deltas and copies", ordinary.container_index
    ),
    "trigger": _Preset("an update that follows another one beside it", ordinary.trigger),
    "languages": _Preset("a part per language; only one is needed", ordinary.languages),
    "several": _Preset(
        "three packages in a .msu; one is for ARM64, one needs another", ordinary.several
    ),
    "unsupported-service": _Preset("refused: installs a service", refused.service),
    "unsupported-configuration": _Preset("refused: configuration", refused.configuration),
    "unsupported-unknown": _Preset("refused: an unknown element", refused.unknown_element),
    "driver": _Preset("refused: a driver", refused.with_driver),
    "not-offline-capable": _Preset(
        "refused: says so itself", refused.package("KB5000013", offline_capable=False)
    ),
    "missing-parent": _Preset("refused: parent package absent", refused.missing_parent),
    "wrong-build": _Preset("refused: for the next build", refused.wrong_build),
    "wrong-arch": _Preset("refused: for ARM64", refused.wrong_architecture),
    "stack-too-old": _Preset("refused: needs a newer servicing stack", refused.stack_too_old),
    "psfx": _Preset("refused: differentials", refused.package("KB5000018", psfx=True)),
    "wim-update": _Preset("refused: a WIM container with differentials", ordinary.wim_rollup),
    "language-pack": _Preset("refused: an OS language pack", refused.language_pack),
    "servicing-stack": _Preset("refused: a servicing stack", refused.stack),
    "unknown-macro": _Preset("refused: a folder nobody knows", refused.macro),
    "service-pack": _Preset("refused: a service pack", refused.service_pack),
    "hotpatch": _Preset("refused: a hotpatch", refused.hotpatch),
    "corrupt-payload": _Preset(
        "fails: a file is spoilt", refused.simple("KB5000030", damage=Damage.PAYLOAD)
    ),
    "corrupt-manifest": _Preset(
        "fails: a manifest is spoilt", refused.simple("KB5000031", damage=Damage.MANIFEST)
    ),
    "missing-payload": _Preset(
        "fails: a file is missing", refused.simple("KB5000032", damage=Damage.MISSING_PAYLOAD)
    ),
    "truncated": _Preset(
        "fails: the download is cut", refused.simple("KB5000033", damage=Damage.TRUNCATED)
    ),
    "unsigned": _Preset(
        "fails: catalogs without signature", refused.simple("KB5000034", signing=Signing.NONE)
    ),
    "foreign-root": _Preset(
        "fails: signed by a stranger", refused.simple("KB5000035", signing=Signing.FOREIGN)
    ),
    "wrong-catalog": _Preset(
        "fails: catalogs of something else", refused.simple("KB5000036", signing=Signing.WRONG_HASH)
    ),
    "broken-signature": _Preset(
        "fails: a bit of the signature differs", refused.simple("KB5000037", signing=Signing.BROKEN)
    ),
}
