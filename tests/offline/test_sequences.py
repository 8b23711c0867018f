"""Updates one after the other: each sees what those before it did, in one run or in two."""

from dataclasses import replace
from pathlib import Path

import pytest

from offline.workbench import Bench, agrees, bench, update_file
from oracle.compare import differences
from oracle.observe import observe
from wimsmith.offline.changes import ChangeSet, Content, ReplaceContent, SetValue
from wimsmith.offline.facts import PackageState as State
from wimsmith.offline.verdicts import Verdict
from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import WINDOWS_TOKEN, Identity, component_key
from wimsmith.practice.presets import stand_in
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
    PackageState,
    ParentSpec,
    StoreFlags,
    UpdateEntry,
    ValueSpec,
)

MAKER = Maker(Generation.WINDOWS_10)
PACKAGES = r"Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages"
SMALL = ImageSpec(size_bytes=1 << 19, components=4)
FLAGS = pytest.mark.parametrize("flags", [FLAGS_A, FLAGS_B], ids=["flags A", "flags B"])


@pytest.fixture(scope="module")
def root() -> PracticeRoot:
    return PracticeRoot.new()


def part(name: str, revision: int) -> ComponentSpec:
    """A component whose file, value and key say which revision they are of."""
    value = ValueSpec("Revision", "REG_DWORD", f"{revision}")
    return MAKER.component(
        name, revision, keys=(KeySpec(f"HKEY_LOCAL_MACHINE\\SOFTWARE\\{name}", (value,)),)
    )


def package(article: str, revision: int, *parts: ComponentSpec) -> PackageSpec:
    deployment = MAKER.deployment(f"Practice-{article}", revision, *parts)
    return MAKER.package(article, f"1.0.0.{revision}", UpdateEntry("made", deployment))


@FLAGS
def test_a_newer_version_replaces_an_older_in_the_same_run_as_in_the_next(
    tmp_path: Path, root: PracticeRoot, flags: StoreFlags
) -> None:
    first = bench(tmp_path, root, replace(SMALL, flags=flags))
    old = update_file(first, package("KB5077001", 300, part("Seq", 300)), "old.cab")
    new = update_file(first, package("KB5077001", 400, part("Seq", 400)), "new.cab")
    assert agrees(first, old) == []
    second = first.next("second")
    assert agrees(second, new) == []
    run = Bench(tmp_path / "run", root, flags)
    run.folder.mkdir()
    run.base.hardlink_to(first.base)
    assert run.apply(new, previous=[first.changes]).verdict is Verdict.APPLIED
    assert differences(second.expected(new), observe(run.serviced, 1)) == []
    third = second.next("third")
    assert third.apply(old).verdict is Verdict.SUPERSEDED
    assert not third.serviced.exists()


def test_what_is_newer_in_the_image_stays_in_use(tmp_path: Path, root: PracticeRoot) -> None:
    first = bench(tmp_path, root, SMALL)
    newer = package("KB5077002", 1, part("Mixed", 400), part("Other", 100))
    assert agrees(first, update_file(first, newer)) == []
    second = first.next("second")
    mixed = package("KB5077003", 1, part("Mixed", 300), part("Other", 300))
    assert agrees(second, update_file(second, mixed)) == []
    linked = observe(second.serviced, 1).entries["windows/system32/mixed.dll"].links
    assert not any(component_key(part("Mixed", 300).identity) in name for name in linked)
    third = second.next("third")
    all_older = package("KB5077004", 1, part("Mixed", 200), part("Other", 200))
    outcome = third.apply(update_file(third, all_older))
    assert (outcome.verdict, outcome.code) == (Verdict.SUPERSEDED, "superseded")


def test_a_version_of_an_older_branch_is_registered_and_not_shown(
    tmp_path: Path, root: PracticeRoot
) -> None:
    def of(version: str) -> ComponentSpec:
        return ComponentSpec(
            Identity("Practice-Branched", version), (FileSpec("branched.dll", program(version)),)
        )

    first = bench(tmp_path, root, SMALL)
    newer = package("KB5077005", 1, of("11.0.19041.5"))
    assert agrees(first, update_file(first, newer)) == []
    second = first.next("second")
    older = package("KB5077006", 1, of("10.0.19041.900"), part("Beside", 1))
    assert agrees(second, update_file(second, older)) == []
    linked = observe(second.serviced, 1).entries["windows/system32/branched.dll"].links
    assert any("_11.0.19041.5_" in name for name in linked)


def parented(parent: PackageSpec) -> PackageSpec:
    made = package("KB5077007", 300, part("Staged", 300))
    return replace(made, parents=(ParentSpec((parent.identity,)),))


@FLAGS
def test_a_staged_package_is_installed_once_its_parent_is(
    tmp_path: Path, root: PracticeRoot, flags: StoreFlags
) -> None:
    name = f"Practice-Parent~{WINDOWS_TOKEN}~amd64~~10.0.19041.1"
    parent = replace(stand_in(Identity.package(name), "up"), state=PackageState.STAGED)
    first = bench(tmp_path, root, replace(SMALL, flags=flags, extra_packages=(parent,)))
    update = update_file(first, parented(parent))
    assert agrees(first, update) == []
    after = observe(first.serviced, 1)
    assert "windows/system32/staged.dll" not in after.entries
    assert not any("staged_" in key and "winners" in key for key in after.hives["SOFTWARE"])
    installed = SetValue("SOFTWARE", rf"{PACKAGES}\{name}", "CurrentState", 4, b"\x70\0\0\0")
    second = first.next("second", ChangeSet(registry=(installed,)))
    assert agrees(second, update) == []
    third = first.next("third")
    assert third.apply(update).verdict is Verdict.INSTALLED, "staged is as far as it goes"


def test_a_spoilt_file_in_the_store_is_made_good(tmp_path: Path, root: PracticeRoot) -> None:
    name = f"Practice-Parent~{WINDOWS_TOKEN}~amd64~~10.0.19041.1"
    parent = replace(stand_in(Identity.package(name), "up"), state=PackageState.STAGED)
    first = bench(tmp_path, root, replace(SMALL, extra_packages=(parent,)))
    update = update_file(first, parented(parent))
    assert agrees(first, update) == []
    spoilt = tmp_path / "spoilt"
    spoilt.write_bytes(b"not what the manifest says")
    content = Content.of_file(spoilt)
    path = f"Windows/WinSxS/{component_key(part('Staged', 300).identity)}/staged.dll"
    changes = ChangeSet(
        (ReplaceContent(path, content.sha1),),
        (SetValue("SOFTWARE", rf"{PACKAGES}\{name}", "CurrentState", 4, b"\x70\0\0\0"),),
        {content.sha1: content},
    )
    second = first.next("second", changes)
    assert agrees(second, update) == []


def test_a_state_is_never_lowered(tmp_path: Path, root: PracticeRoot) -> None:
    """A child that is installed stays installed where another carrier would only stage it."""
    name = f"Practice-Parent~{WINDOWS_TOKEN}~amd64~~10.0.19041.1"
    parent = replace(stand_in(Identity.package(name), "up"), state=PackageState.STAGED)
    first = bench(tmp_path, root, replace(SMALL, extra_packages=(parent,)))
    child = package("KB5077008", 300, part("Shared", 300))
    assert agrees(first, update_file(first, child)) == []
    carrier = MAKER.package("KB5077009", "1.0.0.0", UpdateEntry("carrier", child=child))
    carrier = replace(carrier, parents=(ParentSpec((parent.identity,)),))
    second = first.next("second")
    outcome = second.apply(update_file(second, carrier))
    assert outcome.verdict is Verdict.APPLIED
    after = observe(second.serviced, 1)
    key = rf"{PACKAGES}\{child.identity.package_name}"
    value = after.value("SOFTWARE", key, "CurrentState")
    update = after.value("SOFTWARE", rf"{key}\Updates", "made")
    assert value is not None
    assert update is not None
    assert (value.number, update.number) == (State.INSTALLED, State.INSTALLED)
