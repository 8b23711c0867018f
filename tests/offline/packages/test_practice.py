"""Updates of the practice generator, which shares no code with what reads them here."""

from pathlib import Path

import pytest

from wimsmith.errors import DamagedPackage, Untrusted
from wimsmith.offline.manifests.component import parse_component
from wimsmith.offline.packages.facts import inspect
from wimsmith.offline.packages.package import ExpandedPackage, expand
from wimsmith.offline.packages.trust.following import Link, TrustPolicy, verify
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Generation
from wimsmith.practice.updates import build_update


def expanded(
    name: str, root: PracticeRoot, folder: Path, generation: Generation = Generation.WINDOWS_10
) -> ExpandedPackage:
    update = build_update(preset(name, generation), folder / "update", root=root)
    return expand(update, folder / "work")


@pytest.mark.parametrize("generation", list(Generation))
@pytest.mark.parametrize(
    "name", ["small", "small-msu", "rollup", "every-element", "branches", "languages"]
)
def test_generated_updates_hold_in_every_link(
    name: str,
    generation: Generation,
    root: PracticeRoot,
    policy: TrustPolicy,
    tmp_path: Path,
) -> None:
    package = expanded(name, root, tmp_path, generation)
    links = verify(package, policy)
    assert {Link.CATALOG_CHAIN, Link.MANIFEST_HASH, Link.PAYLOAD_HASH} <= {
        link.link for link in links
    }
    for keyform in package.manifests:
        assert parse_component(package.decoded_manifest(keyform)).advanced == ()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("corrupt-payload", "untrusted:payload-hash"),
        ("missing-payload", "untrusted:payload-hash"),
        ("corrupt-manifest", "untrusted:manifest-hash"),
        ("wrong-catalog", "untrusted:package-hash"),
        ("unsigned", "untrusted:catalog-signature"),
        ("broken-signature", "untrusted:catalog-signature"),
        ("foreign-root", "untrusted:catalog-chain"),
    ],
)
def test_generated_damage_is_named(
    name: str, reason: str, root: PracticeRoot, policy: TrustPolicy, tmp_path: Path
) -> None:
    with pytest.raises(Untrusted) as refusal:
        verify(expanded(name, root, tmp_path), policy)
    assert refusal.value.reason == reason


def test_a_truncated_update_is_damage(root: PracticeRoot, tmp_path: Path) -> None:
    with pytest.raises(DamagedPackage):
        expanded("truncated", root, tmp_path)


@pytest.mark.parametrize(
    "code",
    ["driver", "not-offline-capable", "psfx", "language-pack", "service-pack", "hotpatch"],
)
def test_generated_obstacles_are_named(code: str, root: PracticeRoot, tmp_path: Path) -> None:
    update = build_update(preset(code), tmp_path / "update", root=root)
    facts = inspect(update, tmp_path / "work")
    assert [one.code for one in facts.obstacles] == ["driver-element" if code == "driver" else code]
