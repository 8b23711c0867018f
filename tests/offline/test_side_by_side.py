"""Assemblies that programs bind to by version: they stand side by side, and policies redirect."""

from dataclasses import replace
from pathlib import Path

import pytest

from offline.workbench import Bench, agrees, bench, update_file
from oracle.names import Identity as Named
from oracle.names import winners_key
from oracle.observe import observe
from oracle.state import ImageState
from oracle.states import WINNERS
from wimsmith.offline.verdicts import Verdict
from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import PRACTICE_TOKEN, Identity, component_key
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import (
    FLAGS_A,
    FLAGS_B,
    ComponentSpec,
    FileSpec,
    Generation,
    ImageSpec,
    KeySpec,
    PackageSpec,
    StoreFlags,
    UpdateEntry,
    ValueSpec,
)

MAKER = Maker(Generation.WINDOWS_10)
SMALL = ImageSpec(size_bytes=1 << 19, components=4)
FLAGS = pytest.mark.parametrize("flags", [FLAGS_A, FLAGS_B], ids=["flags A", "flags B"])
NAME = "Practice.Windows.Controls"


@pytest.fixture(scope="module")
def root() -> PracticeRoot:
    return PracticeRoot.new()


def assembly(version: str, architecture: str = "amd64") -> ComponentSpec:
    """An assembly that describes its windows and classes, and has no place but the store."""
    library = FileSpec(
        "controls.dll",
        program(f"controls {version} {architecture}"),
        None,
        described=(
            ("windowClass", {"versioned": "yes"}),
            ("comClass", {"clsid": "{7072ACE3-0000-4000-8000-5072616374AA}", "progid": "P.C"}),
            ("typelib", {"tlbid": "{7072ACE4-0000-4000-8000-5072616374AA}", "version": "1.0"}),
        ),
    )
    identity = Identity(NAME, version, architecture, version_scope="", type="win32")
    return ComponentSpec(identity, (library,), memberships=(), side_by_side=True)


def policy(version: str) -> ComponentSpec:
    identity = Identity(f"policy.6.0.{NAME}", version, version_scope="", type="win32-policy")
    target = assembly(version).identity
    return ComponentSpec(
        identity, memberships=(), side_by_side=True, redirects=((target, "6.0.0.0-6.0.9.9"),)
    )


def package(article: str, *parts: ComponentSpec, version: str = "1.0.0.0") -> PackageSpec:
    deployment = MAKER.deployment(f"Practice-{article}", 300, *parts)
    return MAKER.package(article, version, UpdateEntry("made", deployment))


def versions(state: ImageState, branch: str) -> tuple[str, set[str]]:
    """The version that wins in a branch, and all that are entered there."""
    named = Named(NAME, "", "amd64", "neutral", PRACTICE_TOKEN, "", "win32")
    path = rf"{WINNERS}\{winners_key(named)}\{branch}"
    key = state.hives["SOFTWARE"][path.lower()]
    return key.values[""].text, {name for name in key.values if name}


@FLAGS
def test_versions_stand_side_by_side_and_the_highest_of_each_branch_wins(
    tmp_path: Path, root: PracticeRoot, flags: StoreFlags
) -> None:
    first = bench(tmp_path, root, replace(SMALL, flags=flags))
    parts = [assembly("6.0.100.1"), assembly("5.82.100.1"), assembly("6.0.100.1", "x86")]
    assert agrees(first, update_file(first, package("KB5076001", *parts))) == []
    second = first.next("second")
    assert agrees(second, update_file(second, package("KB5076002", assembly("6.0.200.1")))) == []
    after = observe(second.serviced, 1)
    assert versions(after, "6.0") == ("6.0.200.1", {"6.0.100.1", "6.0.200.1"})
    assert versions(after, "5.82") == ("5.82.100.1", {"5.82.100.1"})
    for version in ("6.0.100.1", "6.0.200.1", "5.82.100.1"):
        folder = f"windows/winsxs/{component_key(assembly(version).identity)}"
        assert f"{folder}/controls.dll" in after.entries


def test_an_older_version_side_by_side_is_installed_and_not_superseded(
    tmp_path: Path, root: PracticeRoot
) -> None:
    first = bench(tmp_path, root, SMALL)
    assert agrees(first, update_file(first, package("KB5076003", assembly("6.0.200.1")))) == []
    second = first.next("second")
    older = package("KB5076004", assembly("5.82.100.1"))
    assert agrees(second, update_file(second, older)) == []


def test_a_policy_is_refused_where_the_image_has_none(tmp_path: Path, root: PracticeRoot) -> None:
    made = bench(tmp_path, root, SMALL)
    update = update_file(made, package("KB5076005", assembly("6.0.200.1"), policy("6.0.200.1")))
    outcome = made.apply(update)
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_SUPPORTED, "sxs-policy")
    assert not outcome.changed


@FLAGS
def test_a_policy_is_kept_as_the_ones_that_the_image_has(
    tmp_path: Path, root: PracticeRoot, flags: StoreFlags
) -> None:
    older = package("KB5076006", assembly("6.0.100.1"), policy("6.0.100.1"))
    made = bench(tmp_path, root, replace(SMALL, flags=flags, extra_packages=(older,)))
    newer = package("KB5076007", assembly("6.0.200.1"), policy("6.0.200.1"))
    assert agrees(made, update_file(made, newer)) == []


def test_classes_of_an_ordinary_component_need_an_installer(
    tmp_path: Path, root: PracticeRoot
) -> None:
    plain = replace(assembly("6.0.100.1"), identity=Identity("Practice-Plain", "6.0.100.1"))
    made: Bench = bench(tmp_path, root, SMALL)
    outcome = made.apply(update_file(made, package("KB5076008", plain)))
    assert outcome.code == "advanced-new:noInheritable"
    assert {one.code for one in outcome.findings} >= {
        "advanced-new:file/comClass",
        "advanced-new:file/windowClass",
    }


@pytest.mark.parametrize("protection", ["notProtected", "readOnlyFailWrites"])
def test_a_key_that_is_not_protected_is_like_any_other(
    tmp_path: Path, root: PracticeRoot, protection: str
) -> None:
    value = ValueSpec("Name", "REG_SZ", "text")
    key = KeySpec("HKEY_LOCAL_MACHINE\\SOFTWARE\\Open", (value,), protection=protection)
    cached = {"xmlns": "urn:schemas-microsoft-com:rescache.v1", "cached": "true"}
    file = FileSpec("open.mui", program("open"), described=(("resfile", cached),))
    part = ComponentSpec(Identity("Practice-Open", "10.0.1.1"), (file,), (key,))
    made = bench(tmp_path, root, SMALL)
    update = update_file(made, package("KB5076009", part))
    if protection == "notProtected":
        assert agrees(made, update) == []
    else:
        code = "advanced-new:registryKeys/registryKey/systemProtection"
        assert made.apply(update).code == code
